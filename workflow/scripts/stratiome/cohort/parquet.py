"""Parquet matrices with patients in rows, read in pieces whatever the size of their row groups.

A table of 20,000 columns has a footer of about 1 KB for every column of every row group, so it is parsed by one library
only, and one column group is decoded at a time: a reader that goes along the rows would hold a page of every column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from stratiome.cohort.scratch import scratch

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS_AT_ONCE = 500
"""Columns decoded at a time."""
HELD_CELLS = 100_000_000
"""Values of the largest row group that is put together in memory (400 MB); larger ones pass through a file."""


def schema_of(path: Path) -> pl.Schema:
    """Names and types of the columns, as in the file."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        empty = file.schema_arrow.empty_table()
    return pl.DataFrame(empty).schema


def read_columns(path: Path, names: list[str]) -> pl.DataFrame:
    """Some columns, in the order of `names`."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return pl.DataFrame(file.read(columns=names, use_threads=False)).select(names)


def read_rows(path: Path, names: list[str], step: int) -> Iterator[np.ndarray]:
    """Values of at most `step` rows at a time, shape `(n_rows, n_columns)`, float32, NaN where missing.

    Texts are read as numbers, with blanks around them left out; a text that is no number is missing.

    Parameters
    ----------
    path
        The file.
    names
        Columns, in the order of the values.
    step
        Most rows at a time.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        for group, size in enumerate(sizes):
            if size * len(names) <= max(HELD_CELLS, len(names)):
                whole = np.empty((size, len(names)), dtype=np.float32)
                for first, part in _column_groups(file, group, names):
                    whole[:, first : first + part.shape[1]] = part
                yield from (whole[start : start + step] for start in range(0, size, step))
                continue
            with scratch(size, len(names)) as kept:
                for first, part in _column_groups(file, group, names):
                    kept.put(np.arange(size), first, part)
                yield from (values for _, values in kept.rows(step))


def _column_groups(file: Any, group: int, names: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    """Position of the first column, and the values of some columns."""
    for first in range(0, len(names), COLUMNS_AT_ONCE):
        wanted = names[first : first + COLUMNS_AT_ONCE]
        table = file.read_row_group(group, columns=wanted, use_threads=False)
        yield first, np.stack([_numbers(table.column(name)) for name in wanted], axis=1)


def _numbers(column: Any) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_floating(column.type) and not column.null_count:
        return column.to_numpy().astype(np.float32, copy=False)
    values = pl.Series(values=column)
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        values = values.cast(pl.String).str.strip_chars()
    return values.cast(pl.Float32, strict=False).to_numpy()
