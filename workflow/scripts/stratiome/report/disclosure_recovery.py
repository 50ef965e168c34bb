"""What can be recovered from a page to share: by exact counts, by division, or from groups that are alike.

Every count of a page to share is rounded (`disclosure.rounded`). Looked for is what breaks that rule wherever it
stands: an exact count, which tells a hidden one by subtraction from another total; a percentage of exact counts;
percentages of classes that only one number of patients fits; and that none or all of a group have something.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from stratiome.report.disclosure import EFFECTIVE, EVENTS_OF, PEOPLE

CELL = re.compile(r"(\w+)\[(\d+)\]\.(\w+)")
WHOLE = re.compile(r"\d[\d,]*")
SIZE = re.compile(r"\bn\s*=\s*≈?\s*(\d[\d,]*)(?![\d.])")
CLASS = re.compile(r"(≈?)(\d[\d,]*) \((≈?)(\d+) %\)")
ALIKE = re.compile(r"(?:≈?\d[\d,]* \()?≈?(?:0|100) %\)?")
"""A cell that says that none or all of a group have something."""
OF = re.compile(r"(\d[\d,]*) / (\d[\d,]*)")
APART = 1
"""Difference of the possible counts of a class from which it is not determined."""
SHOWN = 60


@dataclass
class Piece:
    """Text of a page with the expression of the number it is, if it is one."""

    text: str
    origin: str


Row = Sequence[Sequence[Piece]]
Found = tuple[str, str]
"""Kind of a leak and where it is."""


def exact_counts(pieces: Sequence[Piece], min_cell: int) -> Iterator[Found]:
    """Counts of patients or events that are printed as they are, and percentages of such counts.

    Parameters
    ----------
    pieces
        Numbers with their expression, and all other text.
    min_cell
        What counts are rounded to multiples of.
    """
    if min_cell < 2:
        return
    for piece in pieces:
        known = [m for m in CELL.finditer(_unrounded(piece.origin)) if m[3] in PEOPLE or m[3] == EFFECTIVE]
        text = piece.text.strip()
        if known and not (WHOLE.fullmatch(text) and _number(text) % min_cell == 0):
            table, row, column = known[0].groups()
            yield "exact count", f"a number of {table}, row {row}, {column}, is not rounded"
    said = "".join("#" if p.origin else p.text for p in pieces)
    for m in SIZE.finditer(said):
        if _number(m[1]) % min_cell:
            around = said[max(0, m.start() - 30) : m.end()]
            yield "exact count", f"`{re.sub(r'[0-9]', '#', around).strip()}` is not rounded"


def _unrounded(origin: str) -> str:
    """An expression without what is rounded in it."""
    if "near(" not in origin:
        return origin
    try:
        return ast.unparse(_Near().visit(ast.parse(origin, mode="eval")))
    except SyntaxError:
        return origin


class _Near(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        rounded = isinstance(node.func, ast.Name) and node.func.id == "near"
        return ast.Constant(0) if rounded else self.generic_visit(node)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


# --- tables ----------------------------------------------------------------------------------------------------------


def of_table(caption: str, rows: Sequence[Row], min_cell: int) -> Iterator[Found]:
    """What a table gives away by division, and of groups that are alike.

    Parameters
    ----------
    caption
        Of the table.
    rows
        Pieces of each cell, the heading first.
    min_cell
        Smallest count that may be told.
    """
    texts = [[_text(cell) for cell in row] for row in rows]
    name = caption.strip()[:SHOWN]
    yield from (("group", f"`{name}`, row `{head[:SHOWN]}`: {why}") for head, why in _alike(rows, texts, min_cell))
    yield from (("division", f"`{name}`, classes of `{head[:SHOWN]}`") for head in _divisible(texts, min_cell))


def _text(cell: Sequence[Piece]) -> str:
    return re.sub(r"\s+", " ", "".join(p.text for p in cell)).strip()


def _alike(rows: Sequence[Row], texts: Sequence[Sequence[str]], min_cell: int) -> Iterator[tuple[str, str]]:
    heads = texts[0] if texts else []
    for row, said in zip(rows, texts, strict=True):
        head = said[0] if said else ""
        if ": " in head and any(ALIKE.fullmatch(text) for text in said[1:]):
            yield head, "none or all of a group"
        pairs = [m for h, text in zip(heads, said, strict=False) if "/ events" in h and (m := OF.fullmatch(text))]
        if any(_told(_number(m[1]), _number(m[2]), min_cell) for m in pairs) or _events(row, min_cell):
            yield head, "events of none or nearly all of a group"


def _told(n: int, events: int, min_cell: int) -> bool:
    return n > 0 and (events == 0 or n - events < min_cell)


def _events(row: Row, min_cell: int) -> bool:
    """Whether patients and events of one row of a table of the run stand here, and are nearly as many."""
    printed: dict[tuple[str, str, str], int] = {}
    for piece in (p for cell in row for p in cell):
        at = CELL.findall(piece.origin)
        if len(at) == 1 and WHOLE.fullmatch(piece.text.strip()):
            printed[at[0]] = _number(piece.text.strip())
    pairs = [
        (printed[table, place, EVENTS_OF[column]], events)
        for (table, place, column), events in printed.items()
        if column in EVENTS_OF and (table, place, EVENTS_OF[column]) in printed
    ]
    return any(_told(n, events, min_cell) for n, events in pairs)


def _divisible(texts: Sequence[Sequence[str]], min_cell: int) -> Iterator[str]:
    """Variables of which a hidden class follows from the percentages of the others."""
    body = [row for row in texts[1:] if row and ": " in row[0]]
    for variable, group in groupby(body, key=lambda row: row[0].partition(": ")[0]):
        members = list(group)
        for column in range(1, max(len(row) for row in members)):
            cells = [row[column] for row in members if column < len(row)]
            known = [m for text in cells if (m := CLASS.fullmatch(text))]
            hidden = sum(text.startswith("<") for text in cells)
            if not hidden or len(known) + hidden < len(cells) or not known:
                continue
            possible = hidden_counts([_class(m, known, min_cell) for m in known], hidden, min_cell)
            if possible and max(possible) - min(possible) < APART:
                yield variable


def _class(found: re.Match[str], known: Sequence[re.Match[str]], min_cell: int) -> tuple[int, int, int | None]:
    """Least and greatest count of a class, and its percentage where it is exact."""
    n = _number(found[2])
    rounded = bool(found[1]) or all(_number(m[2]) % min_cell == 0 for m in known)
    off = min_cell // 2 if rounded else 0
    return max(min_cell, n - off), n + off, None if found[3] else int(found[4])


def hidden_counts(classes: Sequence[tuple[int, int, int | None]], hidden: int, min_cell: int) -> set[int]:
    """Numbers of patients that the hidden classes of a variable can have together.

    Parameters
    ----------
    classes
        Least and greatest count of each class that is told, and its percentage of all, rounded; None if it is not told.
    hidden
        Number of hidden classes, each of 1 to `min_cell` - 1.
    min_cell
        Smallest count that is told.
    """
    least, greatest = sum(lo for lo, _, _ in classes), sum(hi for _, hi, _ in classes)
    found: set[int] = set()
    for whole in range(least + hidden, greatest + hidden * (min_cell - 1) + 1):
        ranges = [_fits(lo, hi, share, whole) for lo, hi, share in classes]
        if all(lo <= hi for lo, hi in ranges):
            fewest, most = whole - sum(hi for _, hi in ranges), whole - sum(lo for lo, _ in ranges)
            found.update(range(max(fewest, hidden), min(most, hidden * (min_cell - 1)) + 1))
    return found


def _fits(lo: int, hi: int, share: int | None, whole: int) -> tuple[int, int]:
    """Counts from `lo` to `hi` that are the given percentage of a whole, to half of one."""
    if share is None:
        return lo, hi
    return max(lo, -((50 - 100 * share) * whole // 10_000)), min(hi, (100 * share + 50) * whole // 10_000)
