"""Numbers that know the cell of the table they came from, all the way to the page.

A number read from a table is an `int` or `float` that carries an expression, as `prognosis_metrics[14].estimate`;
arithmetic extends it. When such a number is formatted, the text is enclosed in marks of no width, which sentences,
tables and figures carry along without knowing. `annotate` turns the marks of a finished page into elements.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol, Self, SupportsIndex

_DIGITS = "\u2061\u2062\u2063\u2064"
_OPEN, _THEN, _CLOSE = "\u206a", "\u206b", "\u206c"
_MARK = re.compile(f"{_OPEN}([{_DIGITS}]+){_THEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")
_ANY = re.compile(f"{_OPEN}[{_DIGITS}]+{_THEN}|[{_OPEN}{_THEN}{_CLOSE}{_DIGITS}]")
_TAG = re.compile(r"(<[^>]*>)")
_SILENT = frozenset({"style", "script", "title", "desc", "option"})
"""Elements whose text cannot hold an element."""
LABELS = frozenset({"subgroup", "versus", "k", "fold", "repeat", "step", "arm", "leaf", "node", "parent", "cluster"})
"""Columns of whole numbers that are names."""


class Ledger:
    """Expressions of the numbers of one page, each once, in the order of their first use."""

    def __init__(self) -> None:
        self.expressions: list[str] = []
        self._place: dict[str, int] = {}

    def mark(self, text: str, expression: str) -> str:
        """A text with marks that lead to an expression."""
        place = self._place.setdefault(expression, len(self.expressions))
        if place == len(self.expressions):
            self.expressions.append(expression)
        digits = _DIGITS[place % 4]
        while place := place // 4:
            digits = _DIGITS[place % 4] + digits
        return f"{_OPEN}{digits}{_THEN}{text}{_CLOSE}"

    def expression(self, digits: str) -> str:
        """The expression of a mark."""
        place = 0
        for digit in digits:
            place = 4 * place + _DIGITS.index(digit)
        return self.expressions[place]


class Traced(Protocol):
    """A number with its origin."""

    expression: str
    ledger: Ledger


def _expression(value: object) -> str:
    own = getattr(value, "expression", None)
    return own if isinstance(own, str) else repr(value)


def _binary(plain: Callable[[Any, Any], Any], sign: str, turned: bool = False) -> Any:
    def apply(self: Any, other: Any) -> Any:
        if isinstance(other, bool) or not isinstance(other, int | float):
            return NotImplemented
        first, second = (other, self) if turned else (self, other)
        value = plain(_bare(first), _bare(second))
        if sign == "+" and not hasattr(other, "expression") and other == 0:
            return self  # as `sum` begins
        return traced(value, f"({_expression(first)} {sign} {_expression(second)})", self.ledger)

    return apply


def _unary(plain: Callable[[Any], Any], name: str) -> Any:
    def apply(self: Any) -> Any:
        return traced(plain(_bare(self)), f"{name}({self.expression})", self.ledger)

    return apply


class _Arithmetic:
    """What both kinds of number do."""

    expression: str
    ledger: Ledger

    __add__, __radd__ = _binary(operator.add, "+"), _binary(operator.add, "+", True)
    __sub__, __rsub__ = _binary(operator.sub, "-"), _binary(operator.sub, "-", True)
    __mul__, __rmul__ = _binary(operator.mul, "*"), _binary(operator.mul, "*", True)
    __truediv__, __rtruediv__ = _binary(operator.truediv, "/"), _binary(operator.truediv, "/", True)
    __neg__, __abs__ = _unary(operator.neg, "-"), _unary(abs, "abs")

    def __round__(self, digits: SupportsIndex | None = None) -> Any:
        value = round(_bare(self), digits)
        given = "" if digits is None else f", {int(digits)}"
        return traced(value, f"round({self.expression}{given})", self.ledger)

    def __format__(self, form: str) -> str:
        return self.ledger.mark(format(_bare(self), form), self.expression)


class TracedInt(_Arithmetic, int):
    """A whole number with its origin."""

    def __new__(cls, value: int, expression: str, ledger: Ledger) -> Self:
        made = super().__new__(cls, value)
        made.expression, made.ledger = expression, ledger
        return made


class TracedFloat(_Arithmetic, float):
    """A number with its origin."""

    def __new__(cls, value: float, expression: str, ledger: Ledger) -> Self:
        made = super().__new__(cls, value)
        made.expression, made.ledger = expression, ledger
        return made


def _bare(value: Any) -> Any:
    return int(value) if isinstance(value, int) else float(value)


def traced(value: float, expression: str, ledger: Ledger) -> Any:
    """A number with its origin; whole numbers stay whole."""
    if isinstance(value, int):
        return TracedInt(value, expression, ledger)
    return TracedFloat(value, expression, ledger)


def exponential(value: float) -> Any:
    """The exponential of a number, with its origin where it has one."""
    expression, ledger = (getattr(value, name, None) for name in ("expression", "ledger"))
    found = math.exp(_bare(value))
    known = isinstance(ledger, Ledger) and isinstance(expression, str)
    return traced(found, f"exp({expression})", ledger) if known else found  # type: ignore[arg-type]


def cells(row: dict[str, Any], table: str, place: int, ledger: Ledger) -> dict[str, Any]:
    """A row of a table whose numbers, other than names and times that label it, know where they stand."""
    return {
        column: traced(value, f"{table}[{place}].{column}", ledger)
        if type(value) in (int, float) and column not in LABELS and not column.endswith("_months")
        else value
        for column, value in row.items()
    }


def shown(text: str, value: object) -> str:
    """A text that stands for a number, marked where the number is traced."""
    expression, ledger = (getattr(value, name, None) for name in ("expression", "ledger"))
    return ledger.mark(text, expression) if isinstance(ledger, Ledger) and isinstance(expression, str) else text


def origin(value: object) -> str:
    """Expression of a traced number, else ""."""
    own = getattr(value, "expression", "")
    return own if isinstance(own, str) else ""


def bare(text: str) -> str:
    """A text without marks."""
    return _ANY.sub("", text)


def annotate(page: str, ledger: Ledger) -> str:
    """The HTML of a page with each marked number in an element that tells where it comes from.

    In text it is `<span class="n" title="EXPRESSION">`, in figures `<tspan data-from="EXPRESSION">`. Marks within
    tags, and where there can be no element, are removed.
    """
    made: list[str] = []
    silent, drawing = "", 0
    for part in _TAG.split(page):
        if part.startswith("<"):
            name = re.match(r"</?([a-zA-Z0-9]*)", part)
            tag = name[1].lower() if name else ""
            closing = part.startswith("</")
            if tag == "svg":
                drawing += -1 if closing else 1
            if tag in _SILENT and not part.endswith("/>"):
                silent = "" if closing else tag
            made.append(bare(part))
        elif silent:
            made.append(bare(part))
        else:
            made.append(bare(_MARK.sub(_Element(ledger, drawing > 0), part)))  # marks without a partner go
    return "".join(made)


@dataclass(frozen=True)
class _Element:
    """What stands in the page in the place of a mark."""

    ledger: Ledger
    in_figure: bool

    def __call__(self, found: re.Match[str]) -> str:
        told = escape(self.ledger.expression(found[1]), quote=True)
        if self.in_figure:
            return f'<tspan data-from="{told}">{found[2]}</tspan>'
        return f'<span class="n" title="{told}">{found[2]}</span>'
