"""Tables on disk, text or Parquet, opened without reading their values."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stratiome.cohort.errors import CohortError
from stratiome.cohort.names import some_names, stripped
from stratiome.cohort.parquet import read_columns, schema_of
from stratiome.cohort.text import SEPARATORS, TextLayout, examine, table_suffix

NULL_TEXTS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "."]
"""Texts that are missing cells in every table."""
MATRIX_NULL_TEXTS = [*NULL_TEXTS, "None", "none"]
"""Those of matrices; in a clinical table none is a class, as in `treatment: none`."""


@dataclass(frozen=True)
class TableSource:
    """A table whose rows are read later.

    Attributes
    ----------
    path
        The file.
    columns
        Names of the columns, without blanks around them; a name may be repeated.
    raw
        Names as in the file.
    layout
        Layout of a text file, None for Parquet.
    comments
        Whether lines that start with `#` are left out.
    notes
        What was found or repaired.
    """

    path: Path
    columns: tuple[str, ...]
    raw: tuple[str, ...]
    layout: TextLayout | None
    comments: bool
    notes: tuple[str, ...]

    def scan(
        self, texts: tuple[str, ...] = (), as_written: bool = False, null_texts: Sequence[str] = MATRIX_NULL_TEXTS
    ) -> pl.LazyFrame:
        """Lazy table with the names of `columns`; the columns `texts` of a text file are kept as text (007 stays 007).

        With `as_written` every cell of a text file is text, and none is missing but the empty ones; otherwise those
        that hold one of `null_texts` are missing as well.

        Raises
        ------
        CohortError
            If a column is listed more than once.
        """
        self._refuse_repeats()
        if self.layout is None:
            scan = pl.scan_parquet(self.path)
            return scan.rename(dict(zip(self.raw, self.columns, strict=True)))
        return pl.scan_csv(
            self.path,
            separator=self.layout.separator,
            eol_char=self.layout.line_end,
            comment_prefix="#" if self.comments else None,
            n_rows=self.layout.rows if self.layout.blank_lines else None,
            null_values=None if as_written else list(null_texts),
            infer_schema=not as_written,
            infer_schema_length=None,
            schema_overrides=pl.Schema(dict.fromkeys(texts, pl.String)),
            with_column_names=lambda _: list(self.columns),  # polars keeps the doubled marks of a quoted name
            encoding="utf8",
        )

    def schema(self, texts: tuple[str, ...] = ()) -> pl.Schema:
        """Names and types of the columns; arguments and errors as in `scan`."""
        if self.layout is not None:
            return self.scan(texts).collect_schema()
        self._refuse_repeats()
        return pl.Schema(zip(self.columns, schema_of(self.path).dtypes(), strict=True))

    def read(self, names: Sequence[str], texts: tuple[str, ...] = ()) -> pl.DataFrame:
        """Some columns; arguments and errors as in `scan`."""
        if self.layout is not None:
            return self.scan(texts).select(names).collect()
        self._refuse_repeats()
        return read_columns(self.path, self.raw_names(names)).rename(
            dict(zip(self.raw_names(names), names, strict=True))
        )

    def raw_names(self, names: Sequence[str]) -> list[str]:
        """Names as in the file."""
        raw = dict(zip(self.columns, self.raw, strict=True))
        return [raw[name] for name in names]

    def _refuse_repeats(self) -> None:
        repeated = sorted({c for c in self.columns if self.columns.count(c) > 1}) if self._has_repeats() else []
        if repeated:
            raise CohortError(
                f"{self.path}: columns listed more than once: {some_names(repeated)}. "
                "Suggestion: keep one column of each name"
            )

    def _has_repeats(self) -> bool:
        return len(set(self.columns)) < len(self.columns)


def open_source(path: Path, comments: bool = False, whole: bool = True) -> TableSource:
    """Open a table.

    Parameters
    ----------
    comments
        Whether lines that start with `#` are left out, as in files of cBioPortal.
    whole
        Whether every line of a text file is checked, or only its header.

    Raises
    ------
    CohortError
        If the file is absent, empty, of an unknown kind or cannot be read.
    """
    check_present(path)
    if table_suffix(path) == ".parquet":
        try:
            raw = schema_of(path).names()
        except (pl.exceptions.PolarsError, OSError, ValueError) as error:
            raise CohortError(f"{path}: not a readable parquet file ({type(error).__name__}). {advice(path)}") from None
        layout = None
    elif table_suffix(path) in SEPARATORS:
        layout = examine(path, comments, whole)
        raw = list(layout.columns)
    else:
        raise CohortError(
            f"{path}: unknown kind of file `{path.suffix}`. "
            "Suggestion: use one of .tsv, .txt, .csv (also with .gz), .parquet, .h5ad, .h5mu"
        )
    columns, notes = stripped(raw, "column names")
    return TableSource(path, tuple(columns), tuple(raw), layout, comments, (*(layout.notes if layout else ()), *notes))


def check_present(path: Path) -> None:
    """Refuse a file that is absent or empty, with the nearest name that is present."""
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


def advice(path: Path) -> str:
    """What to do about a file that cannot be read."""
    return {
        ".parquet": "Suggestion: the file may be truncated; copy it again and compare its checksum",
    }.get(
        table_suffix(path),
        "Suggestion: save it as UTF-8 text with one header line and equal numbers of columns in every row",
    )
