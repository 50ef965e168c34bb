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
    """A number that does not agree."""

    printed: str
    origin: str
    context: str
    why: str

    def __str__(self) -> str:
        where = f" ({self.origin})" if self.origin else ""
        return f"`{self.printed}`{where} in `{self.context.strip()}`: {self.why}"


class _Numbers(Reader):
    """Collects the numbers of a page in reading order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Printed] = []
        self._held: list[str] = []
        self._chart = False

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
        if self.origin:
            self.found.append(Printed(text, self.origin, text))
            return
        for m in NUMBER.finditer(text):
            around = text[max(0, m.start() - 30) : m.end() + 30].replace("\n", " ")
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
    """Value of an expression of cells: numbers, `table[row].column`, `+ - * /`, `abs`, `exp` and `round`.

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
        case ast.Attribute(
            value=ast.Subscript(value=ast.Name(id=table), slice=ast.Constant(value=int() as row)), attr=column
        ):
            return cell(table, row, column)
    raise ValueError(f"`{ast.unparse(node)}` is no expression of cells")


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
    for here, written in zip_longest(plain, prose):
        if here is None or here.text != written:
            text = here.text if here else "(nothing)"
            faults.append(Fault(text, "", here.context if here else "", f"was written as `{written or '(nothing)'}`"))
            break  # all that follows is shifted
    return len(traced), len(plain), faults


def _fault(printed: Printed, cell: Callable[[str, int, str], Any]) -> Fault | None:
    try:
        value = value_of(printed.origin, cell)
    except (ValueError, TypeError, SyntaxError, ZeroDivisionError, KeyError, IndexError) as error:
        return Fault(printed.text, printed.origin, printed.context, f"cannot be computed ({type(error).__name__})")
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


def written(pages: Mapping[str, str], files: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What is kept beside pages to check them later: files of their tables, and their numbers of prose.

    Parameters
    ----------
    pages
        HTML by the name of its file.
    files
        Table -> its files.
    """
    prose = {name: [p.text for p in numbers(page) if not p.origin] for name, page in pages.items()}
    return {"tables": {n: list(f) for n, f in files.items()}, "prose": prose}


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
