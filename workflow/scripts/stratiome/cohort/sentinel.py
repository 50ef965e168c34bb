"""Numbers that stand for missing values, as 999: found by where they lie, remarked on, never removed."""

from __future__ import annotations

import numpy as np
import polars as pl

from stratiome.cohort.errors import some_cells
from stratiome.cohort.spelling import entry

CODES = (-9999, -999, -99, -9, -1, 88, 99, 888, 999, 9999)
"""Codes that programs and registries use for missing."""
MATRIX_CODES = (-9999, -999, -99)
"""Those that are looked for in matrices."""
FAR = 1.5
"""Distance from all other values, in ranges of them, from which a code cannot be a measurement among them."""


def _outside(code: float, low: float, high: float) -> bool:
    far = FAR * (high - low)
    return low < high and (code > high + far or code < low - far or (code < 0 <= low))


def sentinel_notes(frame: pl.DataFrame, names: list[str]) -> tuple[str, ...]:
    """Columns of numbers in which a typical code for missing lies far outside of all other values."""
    notes = []
    for name in names:
        known = frame[name].drop_nulls()
        if not known.dtype.is_numeric() or known.is_empty():
            continue
        rest = known.filter(~known.is_in([float(c) for c in CODES])).to_numpy()
        low, high = float(rest.min(initial=np.inf)), float(rest.max(initial=-np.inf))
        found = [code for code in CODES if (known == code).any() and _outside(code, low, high)]
        if found:
            notes.append(
                f"column `{name}`: {', '.join(f'`{c}`' for c in found)} looks like a code for missing, far from all "
                f"other values, but counts as a number. Suggestion: {entry(name, dict.fromkeys(found))} if it is one"
            )
    return tuple(notes)


class SentinelScreen:
    """Looks for codes for missing in a matrix, a piece at a time."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(MATRIX_CODES, 0)
        self._low, self._high = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        """Take in values of any shape, NaN where missing."""
        rest = values[np.isfinite(values)]
        if rest.size and rest.min() <= max(MATRIX_CODES):
            for code in MATRIX_CODES:
                self._counts[code] += int((rest == code).sum())
            rest = rest[~np.isin(rest, MATRIX_CODES)]
        self._low = min(self._low, float(rest.min(initial=np.inf)))
        self._high = max(self._high, float(rest.max(initial=-np.inf)))

    def notes(self) -> list[str]:
        """What was found, one sentence a code."""
        return [
            f"{some_cells(n)} hold {code}, far from all other values, and count as a number. "
            "Suggestion: leave these cells empty if it is a code for missing"
            for code, n in self._counts.items()
            if n and _outside(code, self._low, self._high)
        ]
