"""Reading of tables and matrices; every file is checked before a number of it is used."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from stratiome.cohort.errors import CohortError, some_ids
from stratiome.cohort.matrix import MatrixFile

logger = logging.getLogger(__name__)

NULL_TEXTS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "none", "."]
SEPARATORS = {".tsv": "\t", ".txt": "\t", ".csv": ","}


def read_header(path: Path) -> list[str]:
    """Column names of a table, without reading its rows.

    Raises
    ------
    CohortError
        If the file is absent, empty, of an unknown kind or cannot be read.
    """
    return list(_scan(path).collect_schema().names())


def read_table(path: Path) -> pl.DataFrame:
    """Read a clinical table; numbers become Float64, true/false Boolean, texts String, missing cells null.

    Raises
    ------
    CohortError
        If the file is absent, empty, of an unknown kind or cannot be read.
    """
    try:
        frame = _scan(path).collect()
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise CohortError(f"{path}: cannot be read ({type(error).__name__}). {_advice(path)}") from None
    if frame.height == 0:
        raise CohortError(f"{path}: has a header but no rows. Suggestion: check how the file was exported")
    numeric = [n for n in frame.columns if frame[n].dtype.is_numeric()]
    texts = [n for n in frame.columns if frame[n].dtype == pl.String]
    return frame.with_columns(
        pl.col(numeric).cast(pl.Float64).fill_nan(None), pl.col(texts).str.strip_chars()
    ).with_columns(pl.when(pl.col(texts).is_in(NULL_TEXTS)).then(None).otherwise(pl.col(texts)).name.keep())


def read_as_text(path: Path) -> pl.DataFrame:
    """Read a table with every cell as text, so that identifiers as 007 keep their zeros; missing cells null.

    Raises
    ------
    CohortError
        If the file is absent, empty, of an unknown kind or cannot be read, or lists a column twice.
    """
    names = read_header(path)
    _refuse_repeated_columns(path, names)
    try:
        types = pl.Schema(dict.fromkeys(names, pl.String)) if path.suffix in SEPARATORS else None
        frame = _scan(path, types).select(pl.all().cast(pl.String).str.strip_chars()).collect()
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise CohortError(f"{path}: cannot be read ({type(error).__name__}). {_advice(path)}") from None
    if frame.height == 0:
        raise CohortError(f"{path}: has a header but no rows. Suggestion: check how the file was exported")
    return frame.with_columns(pl.when(~pl.all().is_in(NULL_TEXTS)).then(pl.all()))


def read_patients(path: Path, patient_id: str, show_ids: bool) -> pl.DataFrame:
    """Read a table with one row per patient, sorted by identifier.

    Raises
    ------
    CohortError
        If the identifier column is absent, has gaps or has duplicates.
    """
    frame = read_table(path)
    _refuse_repeated_columns(path, frame.columns)
    ids = _identifiers(path, patient_id, frame.columns, show_ids)
    return frame.with_columns(ids).sort(patient_id)


def open_matrix(path: Path, patient_id: str, show_ids: bool) -> MatrixFile:
    """Open an omics matrix with patients as rows; its values are read later, in pieces.

    Raises
    ------
    CohortError
        If identifiers or feature names are missing or repeated, or a column is not numeric.
    """
    scan = _scan(path)
    schema = scan.collect_schema()
    _refuse_repeated_columns(path, list(schema))
    ids = _identifiers(path, patient_id, list(schema), show_ids).to_list()
    if not ids:
        raise CohortError(f"{path}: has a header but no rows. Suggestion: check how the file was exported")
    features = sorted(c for c in schema if c != patient_id)
    if not features:
        raise CohortError(f"{path}: no feature columns beside `{patient_id}`. Suggestion: check the separator")
    texts = [c for c in features if not (schema[c].is_numeric() or schema[c] in (pl.Boolean, pl.Null))]
    texts = [c for c in texts if scan.select(pl.col(c).is_not_null().any()).collect().item()]  # empty ones are gaps
    if texts:
        raise CohortError(
            f"{path}: columns that are not numeric: {', '.join(texts[:5])}{' ...' if len(texts) > 5 else ''}. "
            "Suggestion: remove annotation columns; write decimals with a point; leave missing cells empty"
        )

    def blocks(rows: int) -> Iterator[np.ndarray]:
        for frame in _batches(path, scan, features, rows):
            values = frame.select(pl.col(features).cast(pl.Float32, strict=False)).to_numpy()
            yield np.ascontiguousarray(values)

    return MatrixFile(path, tuple(ids), tuple(features), blocks)


def _batches(path: Path, scan: pl.LazyFrame, features: list[str], rows: int) -> Iterator[pl.DataFrame]:
    if path.suffix != ".parquet":
        yield from scan.select(features).collect_batches(chunk_size=rows, maintain_order=True)
        return
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=rows, columns=features):
            yield pl.DataFrame(batch)


def missing_column(path: Path, column: str, present: list[str], key: str) -> str:
    """Text on a column that a file lacks, with the nearest one it has."""
    near = difflib.get_close_matches(column, present, n=1, cutoff=0.5)
    by_case = [c for c in present if c.lower() == column.lower()]
    hint = next(iter(by_case or near), None)
    fix = (
        f"Did you mean `{hint}`?"
        if hint
        else f"Suggestion: use one of its {len(present)} columns, as {', '.join(present[:8])}"
    )
    return f"`{key}`: {path} has no column `{column}`. {fix}"


def _refuse_repeated_columns(path: Path, columns: list[str]) -> None:
    # polars renames a repeated header to name_duplicated_0
    repeated = sorted({f.rsplit("_duplicated_", 1)[0] for f in columns if "_duplicated_" in f})
    if repeated:
        raise CohortError(
            f"{path}: columns listed more than once: {', '.join(repeated[:5])}. "
            "Suggestion: keep one column of each name"
        )


def _refuse_bare_carriage_returns(path: Path) -> None:
    with path.open("rb") as handle:
        start = handle.read(1 << 16)
    if b"\r" in start and b"\n" not in start:
        raise CohortError(
            f"{path}: lines end with a carriage return alone (old Macintosh text). "
            "Suggestion: convert the line ends, as with `tr '\\r' '\\n' <file >new_file`"
        )


def _identifiers(path: Path, patient_id: str, columns: list[str], show_ids: bool) -> pl.Series:
    """Patient identifiers as text, in the order of the file; refused where missing or repeated."""
    if patient_id not in columns:
        raise CohortError(missing_column(path, patient_id, columns, "data.patient_id"))
    # Identifiers as 007 would lose their zeros as numbers.
    scan = _scan(path, pl.Schema({patient_id: pl.String})) if path.suffix in SEPARATORS else _scan(path)
    ids = scan.select(pl.col(patient_id).cast(pl.String).str.strip_chars()).collect()[patient_id]
    ids = ids.set(ids.is_in(NULL_TEXTS).fill_null(False), None)
    if ids.null_count():
        raise CohortError(
            f"{path}: column `{patient_id}` is empty in {ids.null_count()} rows. "
            "Suggestion: give every row an identifier"
        )
    twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True).sort().to_list()
    if twice:
        raise CohortError(
            f"{path}: column `{patient_id}` has {len(twice)} identifiers on more than one row "
            f"({some_ids(twice, show_ids)}). "
            "Suggestion: keep one row (one sample) per patient"
        )
    return ids


def _scan(path: Path, types: pl.Schema | None = None) -> pl.LazyFrame:
    if not path.exists():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1, cutoff=0.5)
        hint = (
            f"Did you mean `{near[0]}`?"
            if near
            else "Suggestion: check the path, and the working folder it is relative to"
        )
        raise CohortError(f"{path}: no such file. {hint}")
    if path.is_dir() or path.stat().st_size == 0:
        raise CohortError(
            f"{path}: {'is a folder' if path.is_dir() else 'is empty'}. Suggestion: give the path of the table"
        )
    if path.suffix == ".parquet":
        try:
            scan = pl.scan_parquet(path)
            scan.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise CohortError(
                f"{path}: not a readable parquet file ({type(error).__name__}). {_advice(path)}"
            ) from None
        return scan
    _refuse_bare_carriage_returns(path)
    if path.suffix not in SEPARATORS:
        raise CohortError(f"{path}: unknown kind of file `{path.suffix}`. Suggestion: use one of .tsv, .csv, .parquet")
    try:
        scan = pl.scan_csv(
            path,
            separator=SEPARATORS[path.suffix],
            null_values=NULL_TEXTS,
            infer_schema_length=None,
            schema_overrides=types,
            encoding="utf8",
        )
        names = scan.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CohortError(f"{path}: cannot be read as a table ({type(error).__name__}). {_advice(path)}") from None
    if len(names) == 1:
        raise CohortError(
            f"{path}: only one column found. Suggestion: .tsv needs tabs, .csv needs commas between columns"
        )
    return scan


def _advice(path: Path) -> str:
    return {
        ".parquet": "Suggestion: the file may be truncated; copy it again and compare its checksum",
    }.get(
        path.suffix, "Suggestion: save it as UTF-8 text with one header line and equal numbers of columns in every row"
    )
