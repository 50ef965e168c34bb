"""Reading of tables and matrices; every file is checked before a number of it is used.

Notes on what was found or repaired are logged by those who ask for them, and name no patient.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from stratiome.cohort.annotated import SUFFIXES, annotated_names, open_annotated
from stratiome.cohort.errors import CohortError, some_ids
from stratiome.cohort.matrix import MatrixFile
from stratiome.cohort.names import check_features, n_known, stripped, to_patients
from stratiome.cohort.parquet import read_rows
from stratiome.cohort.source import MATRIX_NULL_TEXTS, NULL_TEXTS, TableSource, advice, open_source
from stratiome.cohort.transposed import check_numeric, finite_or_null, open_transposed, stored_as_text


def read_header(path: Path) -> list[str]:
    """Column names of a table, without reading its rows.

    Raises
    ------
    CohortError
        If the file is absent, empty, of an unknown kind or cannot be read.
    """
    return list(open_source(path, whole=False).columns)


def check_matrix_header(
    path: Path, patient_id: str, key: str, known: frozenset[str] | None, comments: bool = False
) -> list[str]:
    """What is wrong with a matrix, as far as its header tells (patients in rows or in columns).

    Parameters
    ----------
    key
        Key path of the config that names the file.
    known
        Patients of the clinical table, or None where it cannot be read.
    """
    try:
        if path.suffix.lower() in SUFFIXES:
            annotated_names(path)
            return []
        header = open_source(path, comments, whole=False).columns
    except CohortError as error:
        return [f"`{key}`: {text}" for text in error.problems]
    if patient_id in header or (known is not None and n_known(header, known)):
        return []
    return [_neither(path, patient_id, list(header), key, known is not None)]


Meant = Mapping[str, frozenset[str]]
"""Column -> texts in it that look like missing cells, as NA, but have a meaning."""


def read_table(
    path: Path,
    notes: list[str] | None = None,
    comments: bool = False,
    texts: tuple[str, ...] = (),
    meant: Meant | None = None,
) -> pl.DataFrame:
    """Read a clinical table; numbers become Float64, true/false Boolean, texts String, missing cells null.

    Parameters
    ----------
    notes
        Receives what was found or repaired.
    comments
        Whether lines that start with `#` are left out, as in files of cBioPortal.
    texts
        Columns that are kept as text, where the file has them.
    meant
        Texts that are not missing cells; a column that holds one is read as text.

    Raises
    ------
    CohortError
        If the file is absent, empty, of an unknown kind or cannot be read.
    """
    source = open_source(path, comments)
    if notes is not None:
        notes += source.notes
    return _read(source, tuple(c for c in texts if c in source.columns), meant)


def read_as_text(path: Path) -> pl.DataFrame:
    """Read a table with every cell as text, so that identifiers as 007 keep their zeros; missing cells null.

    Raises
    ------
    CohortError
        If the file is absent, empty, of an unknown kind or cannot be read, or lists a column twice.
    """
    source = open_source(path)
    frame = _read(source, source.columns)
    return frame.with_columns(pl.all().cast(pl.String))


def read_patients(
    path: Path, patient_id: str, show_ids: bool, notes: list[str] | None = None, meant: Meant | None = None
) -> pl.DataFrame:
    """Read a table with one row per patient, sorted by identifier; `notes` and `meant` as in `read_table`.

    Raises
    ------
    CohortError
        If the identifier column is absent, has gaps or has duplicates.
    """
    source = open_source(path)
    ids, found = _identifiers(source, patient_id, show_ids)
    if notes is not None:
        notes += [*source.notes, *found]
    return _read(source, (patient_id,), meant).with_columns(pl.Series(patient_id, ids)).sort(patient_id)


def open_matrix(
    path: Path,
    patient_id: str,
    show_ids: bool,
    known: frozenset[str] | None = None,
    layer: str | None = None,
    modality: str | None = None,
) -> MatrixFile:
    """Open an omics matrix; its values are read later, in pieces.

    Patients may be rows, with their identifiers in column `patient_id`, or columns, with the names of features in the
    first columns; the orientation is the one in which identifiers are those of the clinical table.

    Parameters
    ----------
    known
        Patients of the clinical table; without them patients must be rows.
    layer, modality
        Layer of an AnnData file in place of `X`, and modality of a MuData file.

    Raises
    ------
    CohortError
        If identifiers or feature names are missing or repeated, or a column is not numeric.
    """
    if path.suffix.lower() in SUFFIXES:
        return open_annotated(path, patient_id, show_ids, known, layer, modality)
    source = open_source(path)
    turned = n_known(source.columns, known) if known else 0
    if patient_id in source.columns and turned:
        ids = source.read([patient_id], (patient_id,))[patient_id].cast(pl.String).str.strip_chars()
        turned = turned if n_known(ids.drop_nulls().to_list(), known or frozenset()) < turned else 0
    if turned:
        return open_transposed(source, known or frozenset(), show_ids)
    if patient_id not in source.columns:
        raise CohortError(_neither(path, patient_id, list(source.columns), "data.patient_id", known is not None))
    return _open_upright(source, patient_id, show_ids, known)


def _open_upright(source: TableSource, patient_id: str, show_ids: bool, known: frozenset[str] | None) -> MatrixFile:
    path = source.path
    features = sorted(c for c in source.columns if c != patient_id)
    if not features:
        raise CohortError(f"{path}: no feature columns beside `{patient_id}`. Suggestion: check the separator")
    names = check_features(path, features)
    ids, found = _identifiers(source, patient_id, show_ids)
    if not ids:
        raise CohortError(f"{path}: has a header but no rows. Suggestion: check how the file was exported")
    patients, cut = to_patients(path, ids, known, show_ids)
    repaired = check_numeric(source, features, (patient_id,))

    def blocks(rows: int) -> Iterator[np.ndarray]:
        try:
            if source.layout is None:
                yield from read_rows(path, source.raw_names(features), rows)
                return
            scan = source.scan((patient_id,)).select(finite_or_null(features, repaired))
            for frame in scan.collect_batches(chunk_size=rows, maintain_order=True):
                yield np.ascontiguousarray(frame.to_numpy())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise CohortError(f"{path}: its values cannot be read ({type(error).__name__}). {advice(path)}") from None

    notes = [*source.notes, *found, *cut, *names]
    if repaired:
        notes.append(f"{len(repaired)} columns {stored_as_text(source)}")
    return MatrixFile(path, tuple(patients), tuple(features), blocks, tuple(notes))


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


def _neither(path: Path, patient_id: str, header: list[str], key: str, compared: bool) -> str:
    """Text on a matrix whose patients are found neither in a column nor in the header."""
    if {"Hugo_Symbol", "Tumor_Sample_Barcode"} <= set(header):
        return (
            f"`{key}`: {path} is a list of mutations (MAF), not a matrix. "
            "Suggestion: read the folder it comes from with `data.study`"
        )
    # A header may hold identifiers, so only names near to the wanted one are shown.
    near = next((c for c in header if c.lower() == patient_id.lower()), None)
    near = near or next(iter(difflib.get_close_matches(patient_id, header, n=1, cutoff=0.6)), None)
    else_where = ", and none of its columns is a patient of the clinical table" if compared else ""
    fix = (
        f"Did you mean `{near}`?"
        if near
        else "Suggestion: name the column of the identifiers as `data.patient_id` says (patients in rows), or write "
        "identifiers as in the clinical table into the header (patients in columns)"
    )
    return f"`{key}`: {path} has no column `{patient_id}`{else_where}. {fix}"


def _identifiers(source: TableSource, patient_id: str, show_ids: bool) -> tuple[list[str], list[str]]:
    """Patient identifiers as text, in the order of the file; refused where missing or repeated."""
    path = source.path
    if patient_id not in source.columns:
        raise CohortError(missing_column(path, patient_id, list(source.columns), "data.patient_id"))
    try:
        raw = source.read([patient_id], (patient_id,))[patient_id].cast(pl.String)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CohortError(f"{path}: cannot be read as a table ({type(error).__name__}). {advice(path)}") from None
    ids = raw.str.strip_chars()
    ids = ids.set(ids.is_in(MATRIX_NULL_TEXTS).fill_null(False), None)
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
    return stripped(raw.to_list(), "identifiers")


def _read(source: TableSource, texts: tuple[str, ...], meant: Meant | None = None) -> pl.DataFrame:
    path = source.path
    meant = {name: words for name, words in (meant or {}).items() if name in source.columns}
    try:
        frame = source.scan(texts, null_texts=NULL_TEXTS).collect()
        as_written = source.scan(as_written=True).select(list(meant)).collect()
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise CohortError(f"{path}: cannot be read ({type(error).__name__}). {advice(path)}") from None
    if frame.height == 0:
        raise CohortError(f"{path}: has a header but no rows. Suggestion: check how the file was exported")
    numeric = [n for n in frame.columns if frame[n].dtype.is_numeric()]
    strings = [n for n in frame.columns if frame[n].dtype == pl.String]
    frame = frame.with_columns(
        pl.col(numeric).cast(pl.Float64).fill_nan(None), pl.col(strings).str.strip_chars()
    ).with_columns(pl.when(pl.col(strings).is_in(NULL_TEXTS)).then(None).otherwise(pl.col(strings)).name.keep())
    return frame.with_columns(_with_meant(frame[name], as_written[name], words) for name, words in meant.items())


def _with_meant(series: pl.Series, as_written: pl.Series, words: frozenset[str]) -> pl.Series:
    """A column in which texts that look like missing cells are kept, where it holds any."""
    cells = as_written.str.strip_chars() if as_written.dtype == pl.String else pl.Series([None], dtype=pl.String)
    found = cells.is_in(list(words)).fill_null(False)
    return cells.set(cells.is_in(NULL_TEXTS).fill_null(False) & ~found, None) if found.any() else series
