"""Read a finished report and compare every number with the table it says it comes from.

The page is read as a browser would, without the code that wrote it. Numbers with an origin (`traced`) are computed anew
from the tables and must be what is printed, to its last digit. All other numbers (of prose, headings, references and
axes) must be those that were written down when the page was made.
"""

from __future__ import annotations

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl

from stratiome.report.explore import points
from stratiome.report.reader import Reader

HIDDEN = frozenset({"style", "script"})
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")
CELL = re.compile(r"(\w+)\[(\d+)\]\.(\w+)")
AROUND = 30
"""Letters before and after a number that are told with it."""
SMALL_P = 0.001
"""P-values below are told as below."""
SLACK = 1e-9
"""Rounding error of arithmetic, relative."""


@dataclass(frozen=True)
class Printed:
    """A number as it is printed.

    Attributes
    ----------
    text
        As printed.
    origin
        Expression of the cells that it comes from; "" in prose.
    context
        The text around it.
    """

    text: str
    origin: str
    context: str


@dataclass(frozen=True)
class Fault:
    """A number that does not agree.

    Attributes
    ----------
    printed
        As it stands in the page.
    origin
        Expression of the cells that it should come from; "" in prose.
    context
        The text around it, or the file and line.
    why
        What should stand there.
    """

    printed: str
    origin: str
    context: str
    why: str

    def __str__(self) -> str:
        cells = "; ".join(f"table {t}, row {r}, column {c}" for t, r, c in CELL.findall(self.origin))
        return f"`{self.printed}` stands in `{self.context.strip()}`, but {self.why}" + (f" ({cells})" if cells else "")


class _Numbers(Reader):
    """Collects the numbers of a page in reading order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Printed] = []
        self._held: list[str] = []
        self._chart = False
        self._before = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._flush()
        super().handle_starttag(tag, attrs)
        self._chart = tag == "script" and dict(attrs).get("class") == "chart"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._flush()

    def handle_endtag(self, tag: str) -> None:
        self._flush()
        super().handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        self._held.append(data)

    def close(self) -> None:
        super().close()
        self._flush()

    def _flush(self) -> None:
        text, self._held = "".join(self._held), []
        if self._chart:
            self._chart = False
            try:
                told, text = points(text)
            except ValueError as error:
                told = [("chart", "?")]
                text = str(error)
            self.found += [Printed(value, at, value) for value, at in told]
        elif not text.strip() or HIDDEN.intersection(self.within):
            return
        before = self._before
        self._before = f"{before}{text}".replace("\n", " ")[-AROUND:]
        if self.origin:
            self.found.append(Printed(text, self.origin, f"{before}{text}".strip()))
            return
        for m in NUMBER.finditer(text):
            around = text[max(0, m.start() - AROUND) : m.end() + AROUND].replace("\n", " ")
            self.found.append(Printed(m[0], "", around))


def numbers(page: str) -> list[Printed]:
    """Numbers of a page in reading order."""
    reader = _Numbers()
    reader.feed(page)
    reader.close()
    return reader.found


# --- what they should be ---------------------------------------------------------------------------------------------

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def value_of(expression: str, cell: Callable[[str, int, str], Any]) -> float:
    """Value of an expression of cells: numbers, `table[row].column`, `+ - * /`, `abs`, `exp`, `round` and `near`.

    Parameters
    ----------
    expression
        As written by `traced`.
    cell
        Value of a table, row and column.

    Raises
    ------
    ValueError
        If it holds anything else.
    """
    return float(_value(ast.parse(expression, mode="eval").body, cell))


def _value(node: ast.expr, cell: Callable[[str, int, str], Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left, cell), _value(right, cell))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, cell)
        case ast.Call(func=ast.Name(id="abs"), args=[operand], keywords=[]):
            return abs(_value(operand, cell))
        case ast.Call(func=ast.Name(id="exp"), args=[operand], keywords=[]):
            return math.exp(_value(operand, cell))
        case ast.Call(func=ast.Name(id="round"), args=[operand, *rest], keywords=[]):
            return round(_value(operand, cell), *(_value(r, cell) for r in rest))
        case ast.Call(func=ast.Name(id="near"), args=[operand, ast.Constant(value=int() as step)], keywords=[]):
            return _near(_value(operand, cell), step)
        case ast.Attribute(
            value=ast.Subscript(value=ast.Name(id=table), slice=ast.Constant(value=int() as row)), attr=column
        ):
            return cell(table, row, column)
    raise ValueError(f"`{ast.unparse(node)}` is no expression of cells")


def _near(n: float, step: int) -> int:
    """A count of a page to share: a multiple of the step; half of it below it."""
    if 0 < n < step:
        return step // 2
    return max(step, step * round(n / step)) if n > 0 else 0


def agrees(text: str, value: float) -> bool:
    """Whether a printed number is the value, rounded as it is printed."""
    plain = text.strip().replace("−", "-").replace(",", "").replace("\u00a0", " ")
    if plain == f"< {SMALL_P}":
        return value < SMALL_P
    found = re.fullmatch(r"([+-]?\d+(?:\.(\d+))?(?:e([+-]\d+))?)(%?)", plain)
    if not found:
        return False
    scale = 100.0 if found[4] else 1.0
    step = 10.0 ** (int(found[3] or 0) - len(found[2] or ""))
    return abs(scale * value - float(found[1])) <= 0.5 * step + SLACK * max(1.0, abs(scale * value))


def compare(page: str, prose: Sequence[str], cell: Callable[[str, int, str], Any]) -> tuple[int, int, list[Fault]]:
    """Numbers with an origin, numbers of prose, and what does not agree.

    Parameters
    ----------
    page
        HTML.
    prose
        Numbers without an origin as they were written, in order.
    cell
        Value of a table, row and column.
    """
    found = numbers(page)
    traced = [p for p in found if p.origin]
    plain = [p for p in found if not p.origin]
    faults = [f for p in traced if (f := _fault(p, cell)) is not None]
    place = next((i for i, (p, w) in enumerate(zip_longest(plain, prose)) if p is None or p.text != w), None)
    if place is not None:  # all that follows is shifted
        faults.append(_of_prose(plain, prose, place))
    return len(traced), len(plain), faults


def _of_prose(plain: Sequence[Printed], prose: Sequence[str], place: int) -> Fault:
    """The first number of no table that is not what was written."""
    texts = [p.text for p in plain]
    if texts[place + 1 :] == list(prose[place:]):
        why = "the report was written without it"
    elif texts[place:] == list(prose[place + 1 :]):
        why = f"the report was written with `{prose[place]}` before it, which is gone"
    elif place < len(prose):
        why = f"the report was written with `{prose[place]}` there"
    else:
        why = "the report was written with fewer numbers"
    here = plain[place] if place < len(plain) else Printed("(nothing)", "", "the end of the page")
    return Fault(here.text, "", here.context, f"{why}; it is no number of a table")


def _fault(printed: Printed, cell: Callable[[str, int, str], Any]) -> Fault | None:
    try:
        value = value_of(printed.origin, cell)
    except (ValueError, TypeError, SyntaxError, ZeroDivisionError, KeyError, IndexError) as error:
        return Fault(
            printed.text,
            printed.origin,
            printed.context,
            f"what it should be cannot be computed ({type(error).__name__})",
        )
    if agrees(printed.text, value):
        return None
    return Fault(printed.text, printed.origin, printed.context, f"the table says {value:.6g}")


# --- files -----------------------------------------------------------------------------------------------------------


class Artefacts:
    """Tables of a run, read as they are needed.

    Parameters
    ----------
    folder
        Of the results.
    files
        Name -> files, relative to `folder`, read one beneath the other.
    """

    def __init__(self, folder: Path, files: Mapping[str, Sequence[str]]) -> None:
        self.folder, self.files = folder, files
        self._read: dict[str, pl.DataFrame] = {}

    def __call__(self, table: str, row: int, column: str) -> Any:
        """Value of a cell.

        Raises
        ------
        KeyError, IndexError
            If there is no such table, column or row.
        """
        return self.table(table).get_column(column)[row]

    def table(self, name: str) -> pl.DataFrame:
        """The whole of a table."""
        if name not in self._read:
            self._read[name] = pl.concat([pl.read_parquet(self.folder / f) for f in self.files[name]])
        return self._read[name]


def written(
    pages: Mapping[str, str], files: Mapping[str, Sequence[str]], min_cell: int | None = None
) -> dict[str, Any]:
    """What is kept beside pages to check them later: files of their tables, and their numbers of prose.

    Parameters
    ----------
    pages
        HTML by the name of its file.
    files
        Table -> its files.
    min_cell
        What counts of a page to share are rounded to multiples of, where there is such a page.
    """
    prose = {name: [p.text for p in numbers(page) if not p.origin] for name, page in pages.items()}
    said: dict[str, Any] = {"tables": {n: list(f) for n, f in files.items()}, "prose": prose}
    return said if min_cell is None else said | {"min_cell": min_cell}


def check(page: Path, kept: Path) -> tuple[int, int, list[Fault]]:
    """Compare a page with the tables of its run; see `compare`.

    Parameters
    ----------
    page
        The HTML file, in the folder of the results.
    kept
        What `written` gave, as JSON.
    """
    said = json.loads(kept.read_text(encoding="utf-8"))
    cell = Artefacts(page.parent, said["tables"])
    return compare(page.read_text(encoding="utf-8"), said["prose"][page.name], cell)
