"""Read the figures that are to be shared as an attacker would, and say what they give away.

Nothing may be drawn or told but what the page to share draws and tells, which `disclosure_check` reads number by
number: each panel of an SVG has the texts and lines of a picture of the page, each text of a PDF stands in the SVG, and
captions are those of the page. Rows are compared with their tables.
"""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import groupby, pairwise
from pathlib import Path

import polars as pl

from stratiome.report.check import Artefacts
from stratiome.report.disclosure import STEP_EVENTS, is_small
from stratiome.report.disclosure_check import Leak, identifiers, prose
from stratiome.report.figure_files import CAPTIONS, PLACE, SIZES, TABLE, UNSHARED, counts
from stratiome.report.inputs import CURVES

KINDS = (".csv", ".pdf", ".svg", ".txt")
REDRAWN = frozenset({"subgroups-consensus"})
"""Figures that are drawn anew on paper; their texts are compared, not their lines."""
SINGLE = frozenset({"x", "y", "patient_id"})
"""Columns of single patients."""
DIGITS = 3
"""Digits of a number."""
CODE = re.compile(r"[^\x20-\x7e]")
LIGATURES = re.compile("ffi|ffl|ff|fi|fl")

Picture = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Shared:
    """The page to share and the tables behind it, with which figures are compared."""

    page: str
    ids: Collection[str]
    min_cell: int
    tables: Artefacts


def leaks(folder: Path, shared: Shared) -> list[Leak]:
    """What the files of a folder of figures give away.

    Parameters
    ----------
    folder
        Of the figures to share.
    shared
        What they may tell.
    """
    known = {_picture(text) for text in re.findall(r"<svg\b.*?</svg>", shared.page, re.S)}
    told = _words(shared.page)
    found: list[Leak] = []
    for path in sorted(p for p in folder.iterdir() if p.stat().st_size):
        if path.name != CAPTIONS and path.suffix not in KINDS:
            found.append(Leak("file", f"{path.name} is none of the files of a figure"))
            continue
        raw = path.read_bytes()
        text = pdf_text(raw) if path.suffix == ".pdf" else raw.decode("utf-8")
        found += [Leak(leak.kind, f"{path.name}: {leak.where}") for leak in identifiers(text, shared.ids)]
        found += [Leak(leak.kind, f"{path.name}: {leak.where}") for leak in prose(_plain(text), shared.min_cell)]
        if path.suffix == ".svg":
            found += _drawn(path, text, known, told)
        elif path.suffix == ".pdf":
            found += _printed(path, text)
        elif path.suffix == ".csv":
            found += [Leak(kind, f"{path.name}: {where}") for kind, where in _rows(text, shared)]
        else:
            found += _captions(path, text, told)
    return list(dict.fromkeys(found))


def _plain(text: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", text))


def _words(text: str) -> str:
    """Text without tags, ticks and spaces."""
    return re.sub(r"[\s`\\]+", "", _plain(text))


# --- drawings --------------------------------------------------------------------------------------------------------


def _picture(text: str) -> Picture:
    """Texts and lines of a picture, in their order."""
    texts = tuple(_plain(t) for t in re.findall(r"<text\b[^>]*>(.*?)</text>", text, re.S))
    return texts, tuple(re.findall(r'\sd="([^"]*)"', text))


def _drawn(path: Path, text: str, known: Collection[Picture], told: str) -> Iterator[Leak]:
    if re.search(r"<script|\son\w+=|javascript:|<image\b|<foreignObject", text):
        yield Leak("script", f"{path.name}: scripts or what is embedded")
    panels = re.split(r'<g class="panel"[^>]*>', text)
    for panel in panels[1:]:
        drawn = _picture(panel.rpartition("</g>")[0])
        stands = all(_words(t) in told for t in drawn[0]) if path.stem in REDRAWN else drawn in known
        if not stands:
            yield Leak("drawing", f"{path.name}: not what the page draws")
    rest = _picture(panels[0])
    if rest != ((), ()):
        yield Leak("drawing", f"{path.name}: drawn beside the panels")


def _printed(path: Path, text: str) -> Iterator[Leak]:
    beside = path.with_suffix(".svg")
    drawn = _plain(beside.read_text(encoding="utf-8")) if beside.is_file() else ""
    whole = _letters(drawn)
    if any(_letters(line) not in whole for line in text.splitlines()):
        yield Leak("drawing", f"{path.name}: text that {beside.name} does not have")


def _letters(text: str) -> str:
    """What of a text is the same in both files: a PDF may hold a ligature as one sign, which is no letter of ASCII."""
    return LIGATURES.sub("", CODE.sub("", text).replace(" ", ""))


def pdf_text(raw: bytes) -> str:
    """Letters of a PDF that matplotlib wrote, a line for each text; letters beyond ASCII are left out."""
    lines = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", raw, re.S):
        try:
            content = zlib.decompress(stream)
        except zlib.error:
            content = stream
        for text in re.findall(rb"\bBT\b(.*?)\bET\b", content, re.S):
            letters = b"".join(re.findall(rb"\(((?:\\.|[^\\()])*)\)", text, re.S))
            lines.append(CODE.sub("", re.sub(rb"\\(.)", rb"\1", letters, flags=re.S).decode("latin-1")))
    titles = re.findall(rb"/Title \(((?:\\.|[^\\()])*)\)", raw)
    return "\n".join([*lines, *(CODE.sub("", re.sub(rb"\\(.)", rb"\1", t).decode("latin-1")) for t in titles)])


def _captions(path: Path, text: str, told: str) -> Iterator[Leak]:
    for part in re.split(r"\n\n|\*\*", text):
        said = _words(re.sub(r"\bData: .*\Z", "", part, flags=re.S)).lstrip("#").rstrip(".")
        if said != "Figures" and said not in told:
            yield Leak("caption", f"{path.name}: not what the page says")


# --- rows ------------------------------------------------------------------------------------------------------------


def _rows(text: str, shared: Shared) -> Iterator[tuple[str, str]]:
    """Kind and place of each leak of the rows of a figure."""
    rows = list(csv.DictReader(text.splitlines()))
    columns = set(rows[0]) if rows else set()
    if columns & (SINGLE | UNSHARED):
        yield "row", f"columns {', '.join(sorted(columns & (SINGLE | UNSHARED)))}"
    for number, row in enumerate(rows, 1):
        frame = _table(shared, row)
        if frame is None:
            yield "row", f"line {number} is of no table"
            continue
        true = frame.row(int(row[PLACE]), named=True)
        for column, value in row.items():
            if column in (TABLE, PLACE) or not value:
                continue
            if column not in true:
                yield "row", f"line {number}: {row[TABLE]} has no {column}"
            elif counts(column) and isinstance(true[column], int | float):
                bare = value.removeprefix(">")
                if value != f"<{shared.min_cell}" and (not bare.isdigit() or int(bare) % shared.min_cell):
                    yield "count", f"line {number}, {column}: neither suppressed nor rounded"
            elif isinstance(true[column], float):
                yield from (
                    (kind, f"line {number}, {column}: {why}") for kind, why in _number(value, column, true, shared)
                )
    yield from _steps([r for r in rows if r[TABLE] in CURVES], shared)


def _table(shared: Shared, row: Mapping[str, str]) -> pl.DataFrame | None:
    try:
        frame = shared.tables.table(row[TABLE])
    except KeyError:
        return None
    return frame if row[PLACE].isdigit() and int(row[PLACE]) < frame.height else None


def _number(value: str, column: str, true: Mapping[str, object], shared: Shared) -> Iterator[tuple[str, str]]:
    sizes = [n for c in SIZES if isinstance(n := true.get(c), int)]
    if not column.endswith("_months") and any(is_small(n, shared.min_cell) for n in sizes):
        yield "count", f"rests on fewer than {shared.min_cell}"
    digits = re.sub(r"e.*|[-.]", "", value).lstrip("0")
    if len(digits.rstrip("0") if "." not in value else digits) > DIGITS:
        yield "precision", f"more than {DIGITS} digits"


def _steps(rows: Sequence[Mapping[str, str]], shared: Shared) -> Iterator[tuple[str, str]]:
    """Curves with more steps than their events allow."""
    for (name, *keys), curve in groupby(rows, key=lambda r: [r[TABLE], *(r[k] for k in CURVES[r[TABLE]])]):
        own = list(curve)
        frame = shared.tables.table(name)
        same = frame.filter(*(pl.col(k).cast(pl.String) == v for k, v in zip(CURVES[name], keys, strict=True)))
        events = int(same.filter(pl.col("at_risk") >= shared.min_cell)["events"].max() or 0)  # type: ignore[arg-type]
        if sum(a["survival"] != b["survival"] for a, b in pairwise(own)) * STEP_EVENTS > events:
            yield "curve", f"{name} {' '.join(keys)}: more than one step for {STEP_EVENTS} events"
