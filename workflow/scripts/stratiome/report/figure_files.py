"""The files of figures for papers: drawings, the rows that are drawn, and captions."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from stratiome.report import paper
from stratiome.report.disclosure import EFFECTIVE, MISSING, PEOPLE, count, is_small
from stratiome.report.paper import Print, Row
from stratiome.report.traced import bare, origin

CAPTIONS = "captions.md"
CELL = re.compile(r"(\w+)\[(\d+)\]")
TABLE, PLACE = "table", "table_row"
"""Columns that say where a row stands: the table, and its place in it from 0."""
SIZES = ("n", "n_row", "n_column")
"""Columns that tell how many patients the other numbers of a row rest on."""
UNSHARED = frozenset({"of_all", "of_overlap", "share_treated"})
"""Columns that are not drawn and may tell of few patients."""
FEW = re.compile(r"\b(\d+) (patients?|events?|deaths?)\b")


def write(
    folder: Path, figures: Sequence[Print], files: Mapping[str, Sequence[str]], min_cell: int | None = None
) -> None:
    """Write every figure of a page as SVG, PDF, CSV and text, and all captions as one file.

    What else lies in the folder is removed.

    Parameters
    ----------
    folder
        Where to; it is made.
    figures
        From `paper.prints`.
    files
        Table -> its files, as captions name them.
    min_cell
        Where the files are to be shared, the smallest count that may be told (`shared`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.is_file():
            old.unlink()
    for figure in figures:
        at = folder / figure.name
        at.with_suffix(".svg").write_text(paper.drawing(figure), encoding="utf-8")
        at.with_suffix(".pdf").write_bytes(paper.document(figure))
        at.with_suffix(".csv").write_text(data(figure.rows, min_cell), encoding="utf-8")
        at.with_suffix(".txt").write_text(caption(figure, files), encoding="utf-8")
    (folder / CAPTIONS).write_text(captions(figures, files), encoding="utf-8")


def source(row: Row) -> tuple[str, int | None]:
    """Table of a row and its place in it, as its numbers know them; ("", None) where none is traced."""
    found = [m for value in row.values() if (m := CELL.search(origin(value)))]
    # Steps of merged curves carry numbers of earlier rows of the same curve.
    return (found[0][1], max(int(m[2]) for m in found)) if found else ("", None)


def data(rows: Sequence[Row], min_cell: int | None = None) -> str:
    """Rows as comma-separated text: the table, the place of the row in it, and its columns.

    Numbers have full precision; in a file to be shared, what `shared` leaves of them.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    every = [{c: _written(v) for c, v in row.items()} if min_cell is None else shared(row, min_cell) for row in rows]
    columns = list(dict.fromkeys(column for told in every for column in told))
    writer.writerow([TABLE, PLACE, *columns])
    for row, told in zip(rows, every, strict=True):
        table, place = source(row)
        writer.writerow([table, "" if place is None else place, *(told.get(c, "") for c in columns)])
    return buffer.getvalue()


def counts(column: str) -> bool:
    """Whether a column counts patients or events."""
    return column in PEOPLE or column == EFFECTIVE or column.startswith("n_")


def shared(row: Row, min_cell: int) -> dict[str, str]:
    """A row as it may be shared.

    Counts are rounded to multiples of `min_cell`, so that no difference tells of few, and small ones suppressed; other
    numbers have three digits, and there are none of a row of few patients.
    """
    few = any(is_small(row.get(column), min_cell) for column in SIZES)
    told = {}
    for column, value in row.items():
        if column in UNSHARED:
            continue
        if text := getattr(value, "text", ""):
            told[column] = text if text != MISSING else ""
            continue
        if isinstance(value, int) and not isinstance(value, bool) and counts(column):
            told[column] = (
                str(min_cell * round(value / min_cell)) if value >= min_cell else bare(count(value, min_cell))
            )
        elif isinstance(value, float):
            told[column] = "" if few and not column.endswith("_months") else f"{float(value):.3g}"
        elif isinstance(value, str):
            told[column] = FEW.sub(lambda m: f"<{min_cell} {m[2]}" if is_small(int(m[1]), min_cell) else m[0], value)
        else:
            told[column] = _written(value)
    return told


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(float(value))
    return str(int(value)) if isinstance(value, int) else str(value)


def made_of(figure: Print, files: Mapping[str, Sequence[str]]) -> str:
    """Files of the tables whose rows are drawn, in words."""
    tables = dict.fromkeys(source(row)[0] for row in figure.rows)
    named = dict.fromkeys(path for table in tables for path in files.get(table, ()))
    return ", ".join(named)


def caption(figure: Print, files: Mapping[str, Sequence[str]]) -> str:
    """Title, caption and source of a figure as reStructuredText, which Snakemake's report includes."""
    paragraphs = [f"{figure.title}.".replace("?.", "?"), figure.caption]
    if known := made_of(figure, files):
        paragraphs.append(f"Data: {known}.")
    return "\n\n".join(fill(_plain(p), 100, break_long_words=False, break_on_hyphens=False) for p in paragraphs) + "\n"


def _plain(text: str) -> str:
    """A text in which nothing is markup."""
    return re.sub(r"([*|\\]|_\b|_$)", r"\\\1", text.replace("`", ""))


def captions(figures: Iterable[Print], files: Mapping[str, Sequence[str]]) -> str:
    """All captions as Markdown, by section."""
    lines, section = ["# Figures"], ""
    for figure in figures:
        if figure.section != section:
            section = figure.section
            lines.append(f"## {section}")
        title = f"{figure.title}.".replace("?.", "?")
        known = made_of(figure, files)
        drawn = f" Data: `{figure.name}.csv`" + (f", rows of {known}." if known else ".")
        lines.append(
            f"**{title}** {figure.caption}{drawn} Files: {', '.join(f'`{figure.name}.{k}`' for k in ('svg', 'pdf'))}."
        )
    return "\n\n".join(lines) + "\n"
