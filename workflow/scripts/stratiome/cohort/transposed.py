"""Matrices with features as rows and patients as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from stratiome.cohort.errors import CohortError, some_ids, some_of
from stratiome.cohort.matrix import MatrixFile
from stratiome.cohort.names import check_features, some_names, stripped, to_patients
from stratiome.cohort.source import MATRIX_NULL_TEXTS, TableSource, advice

ANNOTATIONS = frozenset(
    {
        "hugo_symbol", "entrez_gene_id", "cytoband", "locus_id", "gene", "gene_id", "gene_name", "gene_symbol",
        "symbol", "description",
        "name", "id", "id_ref", "probe", "probe_id", "feature", "chromosome", "chr", "start", "end",
        "locus id", "gene symbol", "composite.element.ref", "entity_stable_id",
    }
)  # fmt: skip
"""Names (in lower case) of leading columns that describe features, even where they hold numbers."""
DECIMAL_COMMA = r"^\s*[-+]?\d+,\d+(?:[eE][-+]?\d+)?\s*$"

MOST_LETTERS, MOST_TEXTS = 20, 3
"""Letters of a text that an error may tell where numbers are asked for, and the number of such texts."""


@dataclass(frozen=True)
class Choice:
    """Which columns of a matrix are read as which patients.

    Attributes
    ----------
    columns
        Sample identifiers as in the header.
    patients
        The patient of each.
    notes
        What was left out.
    """

    columns: list[str]
    patients: list[str]
    notes: tuple[str, ...] = ()


def open_transposed(
    source: TableSource, known: frozenset[str], show_ids: bool, choice: Mapping[str, str] | None = None,
    first_of_repeated: bool = False,
) -> MatrixFile:  # fmt: skip
    """Open a matrix with patients as columns.

    Values are read some patients at a time, for which a text file is gone through once a piece. The piece limits the
    values that are held here, not what parsing a wide text takes beside it, which can be several times as much: a
    matrix near the size of the memory is better given as Parquet.

    Parameters
    ----------
    known
        Patients of the clinical table, or samples where `choice` is given.
    choice
        Sample -> patient, of the samples to read; other samples of `known` are left out. Default: columns are patients.
    first_of_repeated
        Whether the first row of a feature listed more than once is taken (as cBioPortal does), not refused.

    Raises
    ------
    CohortError
        If identifiers or feature names are missing or repeated, or a column is not numeric.
    """
    path = source.path
    _refuse_repeated_patients(source, known, show_ids)
    schema = _schema(source)
    described = _annotations(source, schema, known)
    columns = [c for c in source.columns if c not in described]
    if not columns or not described:
        raise CohortError(
            f"{path}: has {'no patients' if described else 'no names of features'} in its columns. "
            "Suggestion: the first column must name the features, the others are patients"
        )
    picked = _choose(source, columns, known, choice, show_ids)
    named, where, notes = _features(source, described, first_of_repeated)
    order = np.asarray(sorted(range(len(named)), key=named.__getitem__), dtype=np.int64)
    rows_of = where[order]
    repaired = check_numeric(source, picked.columns, tuple(described), show_ids)

    def blocks(rows: int) -> Iterator[np.ndarray]:
        for start in range(0, len(picked.columns), rows):
            part = picked.columns[start : start + rows]
            values = source.read(part, tuple(described)).select(finite_or_null(part, repaired)).to_numpy()
            yield np.ascontiguousarray(values[rows_of].T)

    said = ["features are rows and patients are columns, found by the identifiers of the clinical table"]
    if repaired:
        said.append(f"{some_of(len(repaired), 'columns')} {stored_as_text(source)}")
    return MatrixFile(
        path,
        tuple(picked.patients),
        tuple(named[i] for i in order),
        blocks,
        (*said, *source.notes, *notes, *picked.notes),
    )


def _schema(source: TableSource) -> pl.Schema:
    try:
        return source.schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CohortError(
            f"{source.path}: cannot be read as a table ({type(error).__name__}). {advice(source.path)}"
        ) from None


def _refuse_repeated_patients(source: TableSource, known: frozenset[str], show_ids: bool) -> None:
    twice = sorted(c for c, n in Counter(source.columns).items() if n > 1)
    if not twice:
        return
    mine = [c for c in twice if c.lower() not in ANNOTATIONS]
    raise CohortError(
        f"{source.path}: {len(twice)} columns are listed more than once "
        f"({some_ids(mine, show_ids) if mine else some_names(twice)}). "
        "Suggestion: keep one column (one sample) per patient"
    )


def _annotations(source: TableSource, schema: pl.Schema, known: frozenset[str]) -> list[str]:
    """Leading columns that describe features: the first one, texts, and those with a name that says so."""
    found: list[str] = []
    for name in source.columns:
        if name in known:
            break
        text = schema[name] in (pl.String, pl.Categorical)
        if found and not text and name.lower() not in ANNOTATIONS:
            break
        if found and text and _mostly_numbers(source, name):
            break
        found.append(name)
    return found


def _mostly_numbers(source: TableSource, name: str) -> bool:
    values = source.read([name], (name,))[name].drop_nulls()
    return 2 * int(values.str.contains(r"^\s*[-+]?[\d.,]+(?:[eE][-+]?\d+)?\s*$").sum()) > len(values)


def _choose(
    source: TableSource, columns: list[str], known: frozenset[str], choice: Mapping[str, str] | None, show_ids: bool
) -> Choice:
    if choice is None:
        patients, notes = to_patients(source.path, columns, known, show_ids)
        return Choice(columns, patients, tuple(notes))
    read = [c for c in columns if c in choice or c not in known]
    left = len(columns) - len(read)
    left_out = f"{some_of(left, 'samples')} are left out, as their patients have another sample that was chosen"
    notes = [left_out] if left else []
    return Choice(read, [choice.get(c, c) for c in read], tuple(notes))


def _features(
    source: TableSource, described: list[str], first_of_repeated: bool
) -> tuple[list[str], np.ndarray, list[str]]:
    """Names of the features that are read, their rows in the file, and notes."""
    path = source.path
    frame = source.read(described, tuple(described)).cast(pl.String)
    if frame.height == 0:
        raise CohortError(f"{path}: has a header but no rows. Suggestion: check how the file was exported")
    texts = [frame[c].set(frame[c].is_in(MATRIX_NULL_TEXTS).fill_null(False), None) for c in described]
    filled = [t for t in texts if t.null_count() < len(t)]
    if not filled:
        raise CohortError(f"{path}: the features have no names. Suggestion: name them in the first column")
    first, notes = filled[0], []
    for other in filled[1:2]:  # cBioPortal: the Entrez identifier where there is no symbol
        n = int((first.is_null() & other.is_not_null()).sum())
        if n:
            notes.append(f"{n} features without {first.name} are named by {other.name}")
            first = first.fill_null(other)
    names, blanks = stripped(first.fill_null("").to_list(), "feature names")
    notes += blanks
    where = np.arange(len(names))
    if first_of_repeated:
        seen: dict[str, int] = {}
        for i, name in enumerate(names):
            seen.setdefault(name, i)
        if len(seen) < len(names):
            twice = sorted(n for n, count in Counter(names).items() if count > 1)
            notes.append(f"{len(twice)} features are listed more than once, the first row is kept: {some_names(twice)}")
            names, where = list(seen), np.asarray(list(seen.values()))
    return names, where, notes + check_features(path, names)


def check_numeric(
    source: TableSource, columns: list[str], texts: tuple[str, ...], show_ids: bool | None = None
) -> list[str]:
    """Refuse columns that hold anything but numbers; returns those that are numbers with blanks around them.

    Parameters
    ----------
    texts
        Other columns, which are kept as text.
    show_ids
        Where columns are patients: whether they may be named.
    """
    path, schema = source.path, source.schema(texts)
    doubtful = [c for c in columns if not (schema[c].is_numeric() or schema[c] in (pl.Boolean, pl.Null))]
    bad, commas, repaired = [], [], []
    told, n_wrong, n_values = Counter[str](), 0, 0
    for start in range(0, len(doubtful), 500):
        read = source.read(doubtful[start : start + 500], texts)
        part = read.select(pl.all().cast(pl.String).str.strip_chars())
        for column in part.iter_columns():
            values = column.filter(column.is_not_null() & ~column.is_in(MATRIX_NULL_TEXTS).fill_null(False))
            numbers = values.cast(pl.Float64, strict=False)
            wrong = values.filter(numbers.is_null())
            if len(wrong) == 0:
                repaired += [column.name] if len(values) else []
            elif wrong.str.contains(DECIMAL_COMMA).all():
                commas.append(column.name)
            else:
                bad.append(column.name)
                n_wrong, n_values = n_wrong + len(wrong), n_values + len(values)
                # A column of text alone may hold names of people, and no value is told beside its patient.
                if not show_ids and len(wrong) < len(values) / 2:
                    told.update(wrong.filter(wrong.str.len_chars() <= MOST_LETTERS).to_list())

    def named(found: list[str]) -> str:
        return some_names(found) if show_ids is None else some_ids(found, show_ids)

    if commas and not bad:
        raise CohortError(
            f"{path}: numbers are written with a decimal comma in {len(commas)} columns ({named(commas)}). "
            "Suggestion: export them with a decimal point"
        )
    if bad:
        raise CohortError(
            f"{path}: columns that are not numeric: {named(bad)}. {_texts(n_wrong, n_values, told)}. "
            "Suggestion: remove annotation columns; write decimals with a point; leave missing cells empty"
        )
    return repaired


def _texts(n_wrong: int, n_values: int, told: Counter[str]) -> str:
    """How many values are text, and the most frequent of those that may be told."""
    said = f"{n_wrong:,} of their {n_values:,} values {'is' if n_wrong == 1 else 'are'} text"
    return said + (f", as {', '.join(repr(text) for text, _ in told.most_common(MOST_TEXTS))}" if told else "")


def stored_as_text(source: TableSource) -> str:
    """What is said of columns that are not stored as numbers, but are read as such."""
    return "had blanks around their numbers, which were removed" if source.layout else "hold numbers stored as text"


def finite_or_null(columns: list[str], repaired: list[str]) -> list[pl.Expr]:
    """Columns as 4-byte numbers, null where missing."""
    blanks = set(repaired)
    return [(pl.col(c).str.strip_chars() if c in blanks else pl.col(c)).cast(pl.Float32, strict=False) for c in columns]
