"""Omics matrices that are read in pieces, so that a matrix larger than the memory is no obstacle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stratiome.cohort.errors import CohortError

CELLS_AT_ONCE = 20_000_000
"""Largest piece of a matrix held in memory (80 MB as 4-byte numbers)."""


CHUNK = (512, 512)
"""Patients and features of a piece on disk (1 MB): rows and columns can both be read without the rest."""


def rows_at_once(n_features: int) -> int:
    """Patients of a piece held in memory: whole pieces on disk, where these are not larger."""
    rows = max(1, CELLS_AT_ONCE // max(n_features, 1))
    return rows - rows % CHUNK[0] if rows > CHUNK[0] else rows


@dataclass(frozen=True)
class MatrixFile:
    """One omics matrix in a file; identifiers and names are known, values are read in pieces.

    Attributes
    ----------
    path
        The file.
    patient_ids
        Length `n_patients`, unique, in the order of the file.
    features
        Length `n_features`, unique, sorted, so that the order of features in a file changes no result.
    read_blocks
        Function of a number of patients that yields the values of the next ones: shape `(n_rows, n_features)`, float32,
        NaN where missing, rows in the order of the file.
    notes
        What was found or repaired on reading, one sentence each, for the log and the report.
    """

    path: Path
    patient_ids: tuple[str, ...]
    features: tuple[str, ...]
    read_blocks: Callable[[int], Iterator[np.ndarray]]
    notes: tuple[str, ...] = ()

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows in the order of the file, a piece at a time, each checked to hold finite numbers or gaps only.

        Raises
        ------
        CohortError
            If a value is infinite, or the file holds other rows than it announced.
        """
        start = 0
        for values in self.read_blocks(rows_at_once(len(self.features))):
            self._refuse_infinite(values)
            yield slice(start, start + len(values)), values
            start += len(values)
        if start != len(self.patient_ids):
            raise CohortError(
                f"{self.path}: {start} rows could be read of {len(self.patient_ids)}. "
                "Suggestion: the file may be truncated; copy it again and compare its checksum"
            )

    def values(self) -> np.ndarray:
        """The whole matrix, shape `(n_patients, n_features)`, float32, rows in the order of the file."""
        whole = np.empty((len(self.patient_ids), len(self.features)), dtype=np.float32)
        for rows, part in self.blocks():
            whole[rows] = part
        return whole

    def _refuse_infinite(self, values: np.ndarray) -> None:
        infinite = np.isinf(values)
        if infinite.any():
            columns = [self.features[j] for j in np.flatnonzero(infinite.any(axis=0))[:5]]
            raise CohortError(
                f"{self.path}: {int(infinite.sum())} infinite values, or beyond 3.4e38, the largest number of 4 bytes "
                f"(columns {', '.join(columns)}). Suggestion: write missing values as empty cells, and "
                "take logarithms of positive numbers only"
            )
