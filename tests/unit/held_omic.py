"""An omic held in memory, read in small pieces as a stored one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Held:
    """Values `(n_patients, n_features)` behind the interface `stratiome.cohort.store.OmicValues`."""

    name: str
    patient_ids: tuple[str, ...]
    features: tuple[str, ...]
    whole: np.ndarray
    step: int = 4

    def rows(self, cells: int = 0) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(self.patient_ids), self.step):
            part = slice(start, min(start + self.step, len(self.patient_ids)))
            yield part, self.whole[part]

    def columns(self, cells: int = 0) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(self.features), self.step):
            part = slice(start, min(start + self.step, len(self.features)))
            yield part, self.whole[:, part]

    def take(self, rows: slice | np.ndarray) -> np.ndarray:
        return self.whole[rows]
