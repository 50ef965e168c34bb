"""Read a page that is to be shared as an attacker would, and say what it gives away.

Looked for: identifiers of patients, in text, attributes, comments and what is embedded; counts of few patients, printed
or behind a percentage or an estimate; counts that come out by subtraction within a table; whatever is not rounded, and
so tells a hidden count by subtraction or division (`disclosure_recovery`); steps of survival curves that stand for few
events; scripts. What estimates tell, as the height of a curve, and what several runs tell together is not looked for.
"""

from __future__ import annotations

import ast
import base64
import binascii
import gzip
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from html import unescape
from itertools import groupby, pairwise
from typing import Any
from urllib.parse import unquote

import polars as pl

from stratiome.report.check import HIDDEN
from stratiome.report.disclosure import PEOPLE, STEP_EVENTS, is_small
from stratiome.report.disclosure_recovery import Piece, exact_counts, of_table
from stratiome.report.explore import loader, packed, points
from stratiome.report.inputs import CURVES
from stratiome.report.reader import VOID, Reader

CELL = re.compile(r"(\w+)\[(\d+)\]\.(\w+)")
WORDS = re.compile(r"(?<![\d.,])([1-9]\d*) (?:other )?(?:patients?|events?|deaths?|women|men|people)\b")
CURVE = re.compile(r"stroke-width: 2(?![.\d])")
"""Style of a survival curve."""
BOUNDS = re.compile(r"(?:least|most|than|under|below|of every|takes|<|≥|>|≈)\s*$")
SHORTEST = 4
"""Letters of an identifier that can be told from other text."""
LONG_NUMBER = 7
"""Digits of an identifier that can be told from a count."""
MOST_WITHIN = 5000
"""Identifiers up to which they are looked for within words as well."""
SHOWN = 60
BANDS = frozenset({"lower", "upper"})
"""Columns that may be told at the points of a curve, beside its height and time."""
GZIP = b"\x1f\x8b"

Cell = Callable[[str, int, str], Any]


@dataclass(frozen=True)
class Leak:
    """Something that a page gives away, without giving it away again."""

    kind: str
    where: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}"


@dataclass
class _Grid:
    """A table of the page."""

    caption: str = ""
    rows: list[list[list[Piece]]] = field(default_factory=list)


class _Content(Reader):
    """Pieces of text, tables and curves of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[Piece] = []
        self.tables: list[_Grid] = []
        self.scripts: list[str] = []
        self.handlers = 0
        self.charts: list[str] = []
        self._script: list[str] | None = None
        self.curves: list[tuple[list[str], list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        given = {name: value or "" for name, value in attrs}
        self.handlers += any(name.startswith("on") for name in given)
        if tag == "script":
            self._script = self.charts if given.get("class") == "chart" else self.scripts
            self._script.append("")
        if tag == "svg" and given.get("data-curves"):
            self.curves.append((given["data-curves"].split(), []))
        drawn = given.get("d", "")
        if tag == "path" and self.curves and CURVE.search(given.get("style", "")) and "Q" not in drawn:
            self.curves[-1][1].append(drawn)  # lines of the legend are bent ones
        if tag == "table":
            self.tables.append(_Grid())
        if tag == "tr" and self.tables:
            self.tables[-1].rows.append([])
        if tag in ("td", "th") and self.tables and self.tables[-1].rows:
            self.tables[-1].rows[-1].append([])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            super().handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        super().handle_endtag(tag)
        if tag == "svg" and self.curves:
            self.curves.append(([], []))  # what follows belongs to no curves

    def handle_data(self, data: str) -> None:
        within = set(self.within)
        if "script" in within and self._script:
            self._script[-1] += data
        if within & HIDDEN:
            return
        piece = Piece(data, self.origin)
        self.pieces.append(piece)
        if "table" not in within or not self.tables:
            return
        grid = self.tables[-1]
        if "caption" in within:
            grid.caption += data
        elif within & {"td", "th"} and grid.rows and grid.rows[-1]:
            grid.rows[-1][-1].append(piece)


def leaks(
    page: str, ids: Collection[str], min_cell: int, cell: Cell, table: Callable[[str], pl.DataFrame]
) -> list[Leak]:
    """What a page gives away.

    Parameters
    ----------
    page
        HTML.
    ids
        Identifiers of the patients.
    min_cell
        Smallest count that may be told.
    cell
        Value of a table, row and column.
    table
        The whole of a table.
    """
    reader = _Content()
    reader.feed(page)
    reader.close()
    unknown = [s for s in reader.scripts if s not in (loader(), packed())]
    for script in set(reader.scripts) - set(unknown):
        page = page.replace(script, "")
    found = [*identifiers(page, ids)]
    if strange := len(unknown) + reader.handlers:
        found.append(Leak("script", f"{strange} scripts or handlers that are not of Stratiome"))
    pieces = reader.pieces
    for chart in reader.charts:
        told, given = _chart(chart, table)
        pieces = [*pieces, *told]
        found += given
    found += _counts(pieces, min_cell, cell)
    found += [Leak(kind, where) for kind, where in exact_counts(pieces, min_cell)]
    found += prose("".join(p.text if not p.origin else "#" for p in pieces), min_cell)
    for grid in reader.tables:
        found += _subtraction(grid, min_cell, cell)
        found += [Leak(kind, where) for kind, where in of_table(grid.caption, grid.rows, min_cell)]
    found += _steps(reader.curves, min_cell, table)
    return list(dict.fromkeys(found))


def _column(at: tuple[str, int, str]) -> tuple[str, str]:
    return at[0], at[2]


def _chart(text: str, table: Callable[[str], pl.DataFrame]) -> tuple[list[Piece], list[Leak]]:
    """Numbers and words of a chart, and what the points of its curves give away."""
    try:
        told, said = points(text)
    except ValueError:
        return [], [Leak("script", "a chart that cannot be read")]
    found = []
    curves = [at for _, origin in told for at in _cells(origin) if at[0] in CURVES]
    for (name, column), same in groupby(sorted(curves, key=_column), key=_column):
        if column not in ("survival", "time_months"):
            found += [Leak("curve", f"a chart of {name} tells {column} at its points")] * (column not in BANDS)
            continue
        frame = table(name)
        for curve in frame[sorted({row for _, row, _ in same})].partition_by(CURVES[name], maintain_order=True):
            told_events = curve.sort("time_months")["events"].to_list()
            gaps = [b - a for a, b in pairwise(told_events)]
            if any(gap < STEP_EVENTS for gap in (gaps[:-1] if column == "time_months" else gaps)):
                found.append(Leak("curve", f"a chart of {name}: more than one point for {STEP_EVENTS} events"))
    return [*(Piece(value, at) for value, at in told), Piece(said, "")], list(dict.fromkeys(found))


# --- identifiers -----------------------------------------------------------------------------------------------------


def findable(ids: Iterable[str]) -> set[str]:
    """Identifiers that can be told from other text: not those that look like a count or a short word."""
    return {i for i in ids if len(i) >= (LONG_NUMBER if i.isdigit() else SHORTEST)}


def identifiers(page: str, ids: Collection[str]) -> Iterator[Leak]:
    """That identifiers of patients stand in a text, or in what is embedded in it."""
    known = findable(map(str, ids))
    if not known:
        return
    lower = {i.lower() for i in known}
    texts = {"page": page, "text": unescape(page), "embedded": " ".join(_embedded(page))}
    for where, text in texts.items():
        words = set(re.findall(r"[^\s\"'<>=,;()\[\]{}|]+", text.lower()))
        hits = len(lower & {w.strip(".:") for w in words})
        if not hits and len(lower) <= MOST_WITHIN:
            small = text.lower()
            hits = sum(i in small for i in lower)
        if hits:
            yield Leak("identifier", f"{hits} identifiers of patients ({where})")
            return


def _embedded(page: str) -> Iterator[str]:
    """What is embedded in the page in another writing."""
    for given in re.findall(r"base64,\s*([A-Za-z0-9+/=\s]+)", page) + re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", page):
        try:
            held = base64.b64decode(given + "=" * (-len(given) % 4))
        except (binascii.Error, ValueError):
            continue
        yield held.decode("utf-8", errors="ignore")
        with suppress(OSError, EOFError, zlib.error):
            unpacked = gzip.decompress(held) if held[:2] == GZIP else zlib.decompress(held)
            yield unpacked.decode("utf-8", errors="ignore")
    yield unquote(page)
    yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), page)


# --- counts ----------------------------------------------------------------------------------------------------------


def _cells(origin: str) -> list[tuple[str, int, str]]:
    return [(name, int(row), column) for name, row, column in CELL.findall(origin)]


def _without_sums(origin: str) -> str:
    """An expression without its sums: a sum tells a part of it only beside all other parts (`_subtraction`)."""
    if not origin:
        return ""
    try:
        tree = ast.parse(origin, mode="eval")
    except SyntaxError:
        return origin
    return ast.unparse(_Sums().visit(tree))


class _Sums(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if isinstance(node.op, ast.Add):
            return ast.Constant(0)
        return self.generic_visit(node)


def _value(cell: Cell, at: tuple[str, int, str]) -> Any:
    try:
        return cell(*at)
    except (KeyError, IndexError, pl.exceptions.PolarsError):
        return None


def _counts(pieces: Sequence[Piece], min_cell: int, cell: Cell) -> Iterator[Leak]:
    for piece in pieces:
        for name, row, column in _cells(_without_sums(piece.origin)):
            counted = [column] if column in PEOPLE else ["n"]
            values = [_value(cell, (name, row, c)) for c in counted]
            if any(isinstance(v, int | float) and is_small(int(v), min_cell) for v in values):
                yield Leak("count", f"a number of {name}, row {row}, {column}, rests on fewer than {min_cell}")


def prose(text: str, min_cell: int) -> Iterator[Leak]:
    """Few patients or events in words, as `3 patients`, in a text without numbers of tables."""
    for m in WORDS.finditer(text):
        before = text[max(0, m.start() - 20) : m.start()]
        suppressed = m[1] == str(min_cell - 1) and before.endswith(" 1 to ")  # what is suppressed, in words
        if is_small(int(m[1]), min_cell) and not BOUNDS.search(before) and not suppressed:
            yield Leak("count", f"`{re.sub(r'[0-9]', '#', text[max(0, m.start() - 30) : m.end() + 10]).strip()}`")


# --- subtraction -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Count:
    """A count in a table: exact, suppressed (`<10`), blurred, or none at all."""

    state: str
    value: int = 0


def _count(pieces: Sequence[Piece], min_cell: int, cell: Cell) -> _Count:
    text = "".join(p.text for p in pieces).strip()
    if text.startswith(f"<{min_cell}"):
        return _Count("suppressed")
    if text.startswith(("≈", ">")):
        return _Count("blurred")
    first = next((p for p in pieces if p.text.strip()), None)
    if first is None or not first.origin or not re.fullmatch(r"[\d,]+", first.text.strip()):
        return _Count("none")
    columns = {column for _, _, column in _cells(first.origin)}
    return _Count("exact", int(first.text.replace(",", ""))) if columns <= PEOPLE else _Count("none")


def _subtraction(grid: _Grid, min_cell: int, cell: Cell) -> Iterator[Leak]:
    body = [(_text(row[0]), [_count(c, min_cell, cell) for c in row]) for row in grid.rows[1:] if row]
    for head, counts in body:
        exact = [c.value for c in counts if c.state == "exact"]
        hidden = [c for c in counts if c.state == "suppressed"]
        gaps = {abs(a - b) for i, a in enumerate(exact) for b in exact[i + 1 :]}
        if len(hidden) == 1 and any(is_small(gap, min_cell) for gap in gaps):
            yield Leak("subtraction", f"`{grid.caption.strip()[:SHOWN]}`, row `{head[:SHOWN]}`")
    width = max((len(counts) for _, counts in body), default=0)
    for column in range(width):
        yield from _down(
            grid.caption, [(head, counts[column]) for head, counts in body if column < len(counts)], min_cell
        )


def _down(caption: str, column: Sequence[tuple[str, _Count]], min_cell: int) -> Iterator[Leak]:
    """A lone suppressed count beneath a total and beside exact ones."""
    totals = [c.value for head, c in column if c.state == "exact" and re.match(r"(?i)(all\b|total)", head)]
    parts = [(head, c) for head, c in column if not re.match(r"(?i)(all\b|total)", head)]
    for group, members in groupby(parts, key=lambda pair: pair[0].partition(": ")[0] if ": " in pair[0] else ""):
        counts = [c for _, c in members]
        exact = [c.value for c in counts if c.state == "exact"]
        states = [c.state for c in counts]
        if states.count("suppressed") != 1 or "blurred" in states or not exact:
            continue
        if any(is_small(total - sum(exact), min_cell) for total in totals):
            yield Leak("subtraction", f"`{caption.strip()[:SHOWN]}` {group[:SHOWN]}".strip())


def _text(pieces: Sequence[Piece]) -> str:
    return "".join(p.text for p in pieces).strip()


# --- curves ----------------------------------------------------------------------------------------------------------


def _steps(
    curves: Sequence[tuple[Sequence[str], Sequence[str]]], min_cell: int, table: Callable[[str], pl.DataFrame]
) -> Iterator[Leak]:
    """Curves with more steps than their events allow."""
    for origins, paths in curves:
        if not origins:
            continue
        if len(paths) != len(origins):
            yield Leak("curve", f"{len(paths)} curves are drawn where {len(origins)} are named ({origins[0]})")
            continue
        for origin, path in zip(origins, paths, strict=True):
            name, row, _ = _cells(origin)[0]
            frame = table(name)
            if drops(path) * STEP_EVENTS > _events(frame, name, frame.row(row, named=True), min_cell):
                yield Leak("curve", f"{name}, row {row}: more than one step for {STEP_EVENTS} events")


def _events(frame: pl.DataFrame, name: str, row: dict[str, Any], min_cell: int) -> int:
    """Events of the curve of a row, as far as it is drawn."""
    same = frame.filter(*(pl.col(k).eq_missing(pl.lit(row[k])) for k in CURVES[name]))
    return int(same.filter(pl.col("at_risk") >= min_cell)["events"].max() or 0)  # type: ignore[arg-type]


def drops(path: str) -> int:
    """Steps of a curve as it is drawn, an SVG path of straight lines."""
    heights = [float(y) for _, y in re.findall(r"(-?[\d.]+)[ ,](-?[\d.]+)", path)]
    return sum(abs(a - b) > 0.005 for a, b in pairwise(heights))
