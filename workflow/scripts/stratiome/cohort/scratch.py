"""Rows of a matrix set in order on disk, where memory does not hold them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from stratiome.cohort.errors import CohortError


class Scratch:
    """A matrix in a temporary file, filled in any order and read row by row.

    Parameters
    ----------
    file
        Open for reading and writing, without a buffer.
    n_rows, n_columns
        Shape of the matrix of 4-byte numbers.
    """

    def __init__(self, file: IO[bytes], n_rows: int, n_columns: int) -> None:
        self._file = file
        self._shape = (n_rows, n_columns)

    def put(self, rows: np.ndarray, first_column: int, values: np.ndarray) -> None:
        """Write values `(len(rows), n)` into the rows `rows`, from the column `first_column` on."""
        ordered = np.ascontiguousarray(values, dtype=np.float32)
        width = 4 * self._shape[1]
        for row, line in zip(rows.tolist(), ordered, strict=True):
            os.pwrite(self._file.fileno(), line, row * width + 4 * first_column)

    def rows(self, step: int) -> Iterator[tuple[slice, np.ndarray]]:
        """The rows in order, `step` at a time, shape `(n, n_columns)`."""
        n, columns = self._shape
        self._file.seek(0)
        for start in range(0, n, step):
            stop = min(start + step, n)
            values = np.fromfile(self._file, dtype=np.float32, count=(stop - start) * columns)
            yield slice(start, stop), values.reshape(stop - start, columns)


@contextmanager
def scratch(n_rows: int, n_columns: int) -> Iterator[Scratch]:
    """A scratch matrix in the folder for temporary files (`TMPDIR`), gone when left; its cells are zero at first.

    Raises
    ------
    CohortError
        If the folder has no room for it.
    """
    needed, folder = 4 * n_rows * n_columns, tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CohortError(
            f"{folder}: {needed / 1e9:.1f} GB are needed for temporary values, {free / 1e9:.1f} GB are free. "
            "Suggestion: set TMPDIR to a folder with more room, or sort the matrix by patient"
        )
    with tempfile.TemporaryFile(buffering=0) as file:
        file.truncate(needed)
        yield Scratch(file, n_rows, n_columns)
