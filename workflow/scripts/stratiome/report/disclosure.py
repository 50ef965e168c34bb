"""What may be printed: counts of few patients are suppressed, and so is what would give them away in the same table.

Cells of 1 to `min_cell` - 1 are printed as `<min_cell` (primary suppression). Where a part is printed beside its whole,
a part whose *complement* is small is blurred too, and where cells of one table add up to a printed total, a lone small
cell takes the next smallest with it (secondary suppression; Hundepool et al. 2012, Statistical Disclosure Control).
A count a little below a whole that the same page prints in another table (`beside`) is rounded wherever it stands.

In a page to share, differences between tables, headings and figures must tell nothing either. There every count of
patients and events is rounded to a multiple of `min_cell` where it is read (`shareable`), and every percentage is that
of rounded counts (`rounded`). That none or all of a group have something is not told (group disclosure).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

from stratiome.report.traced import Ledger, TracedFloat, TracedInt, origin, shown

PEOPLE = frozenset(
    {
        "at_risk", "count", "events", "events_test", "events_train", "flagged", "missing", "n", "n_column", "n_in",
        "n_like", "n_locked", "n_missing", "n_out", "n_row", "n_test", "n_train", "n_treat", "n_treated", "n_unplaced",
        "n_untreated", "out_of_distribution",
    }
)  # fmt: skip
"""Columns of tables that count patients or events."""
EFFECTIVE = "effective_n"
"""Column of effective sample sizes, which equal the size where all weights are one."""
EVENTS_OF = {"events": "n", "events_train": "n_train", "events_test": "n_test"}
"""Columns that count events -> columns that count the patients in whom they are."""
SAID = re.compile(r"(?<![\d.,])(\d[\d,]*)( (?:other )?(?:patients?|events?|deaths?)\b)")
MISSING = "–"
STEP_EVENTS = 6
"""Events of a step of a survival curve in a page to share."""
HEIGHTS = ("survival", "lower", "upper")
HEIGHT = 2
"""Decimals of the heights of a survival curve in a page to share."""


_WHOLES: ContextVar[frozenset[int]] = ContextVar("wholes", default=frozenset())
_ROUNDED: ContextVar[bool] = ContextVar("rounded", default=False)


class Rounded(TracedInt):
    """A count as a page to share knows it: its value is rounded, and sums and differences are rounded once.

    Attributes
    ----------
    exact, raw
        The count, and the expression of the cells it comes from.
    step
        What it is rounded to multiples of.
    text
        Printed in place of the number, as `>40`; "" where the number is.
    """

    exact: int
    raw: str
    step: int
    text: str

    @classmethod
    def of(cls, exact: int, raw: str, ledger: Ledger | None, step: int) -> Self:
        """A count, rounded."""
        made = cls(nearest(exact, step), f"near({raw}, {step})" if raw else "", ledger)  # type: ignore[arg-type]
        made.exact, made.raw, made.step, made.text = int(exact), raw, step, ""
        return made

    def told(self, value: int, expression: str, text: str = "") -> Self:
        """The same count of which another value is told."""
        made = type(self)(value, expression, self.ledger)
        made.exact, made.raw, made.step, made.text = self.exact, self.raw, self.step, text
        return made

    def __format__(self, form: str) -> str:
        if self.text or self.ledger is None:
            return self.text or format(int(self), form)
        return super().__format__(form)

    def _with(self, other: Any, sign: str, turned: bool) -> Any:
        exact, raw = getattr(other, "exact", other), getattr(other, "raw", "") or origin(other) or repr(other)
        first, second = ((exact, raw), (self.exact, self.raw))[:: 1 if turned else -1]
        value = first[0] + second[0] if sign == "+" else first[0] - second[0]
        return type(self).of(value, f"({first[1]} {sign} {second[1]})" if self.raw else "", self.ledger, self.step)

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, int):
            return super().__add__(other)
        return self._with(other, "+", False) if other or hasattr(other, "exact") else self

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._with(other, "-", False) if isinstance(other, int) else super().__sub__(other)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, "-", True) if isinstance(other, int) else super().__rsub__(other)


def exact(n: Any) -> Any:
    """A count before it was rounded, to decide by; never to be printed or drawn."""
    return getattr(n, "exact", n)


@contextmanager
def rounded(active: bool = True) -> Iterator[None]:
    """Print counts as multiples of `min_cell`, and percentages of such counts, while a page to share is made."""
    token = _ROUNDED.set(active)
    try:
        yield
    finally:
        _ROUNDED.reset(token)


def nearest(n: float, min_cell: int) -> int:
    """A count as a page to share knows it: a multiple of `min_cell`; half of it for all that are small; 0 for none."""
    if n <= 0:
        return 0
    return min_cell // 2 if n < min_cell else max(min_cell, min_cell * round(n / min_cell))


def near(n: Any, min_cell: int) -> Any:
    """A number of people, rounded; where it is traced it is `near(table[row].column, min_cell)`."""
    if min_cell < 2 or isinstance(n, Rounded):
        return n
    return Rounded.of(int(n), origin(n), getattr(n, "ledger", None), min_cell)


def shareable(row: Mapping[str, Any], min_cell: int) -> dict[str, Any]:
    """A row of a table as a page to share knows it.

    Counts are `Rounded`; so that nothing is told of all of a group, events are a bound where nearly every patient has
    one, and small where none has.

    Parameters
    ----------
    row
        Of traced numbers or plain ones.
    min_cell
        Smallest count that may be told.
    """
    if min_cell < 2:
        return dict(row)
    told = {column: _shareable(column, value, min_cell) for column, value in row.items()}
    for events, n in EVENTS_OF.items():
        if row.get(events) is not None and row.get(n) is not None:
            told[events] = _events(told[events], told[n], min_cell)
    return told


def _shareable(column: str, value: Any, min_cell: int) -> Any:
    if isinstance(value, bool):
        return value
    if (column in PEOPLE and isinstance(value, int)) or (column == EFFECTIVE and isinstance(value, float)):
        return near(value, min_cell)
    if isinstance(value, str) and any(letter.isdigit() for letter in value):
        return SAID.sub(lambda m: _said(m, min_cell), value)
    return value


def _said(found: re.Match[str], min_cell: int) -> str:
    n = int(found[1].replace(",", ""))
    return f"{count(near(n, min_cell), min_cell)}{found[2]}"


def _events(events: Rounded, n: Rounded, min_cell: int) -> Rounded:
    """Events of a group as a page to share knows them, so that it does not tell that nobody or everybody has one."""
    if events.exact == 0 and n.exact > 0:
        return events.told(min_cell // 2, str(min_cell // 2) if events.raw else "")
    if n.exact < min_cell or (n.exact - events.exact >= min_cell and int(n) > int(events)):
        return events
    bound = max(0, int(n) - min_cell)
    expression = f"({n.expression} - {min_cell})" if bound else "0"
    return events.told(bound, expression if events.raw else "", f">{bound:,}" if bound else MISSING)


@contextmanager
def beside(wholes: Iterable[int]) -> Iterator[None]:
    """Round counts that lie less than `min_cell` below one of the wholes, while a page is made.

    Who is left out between two tables of a page, as the treated with a record and those with an outcome too, would
    come out by subtraction else.

    Parameters
    ----------
    wholes
        Counts that the page prints as they are.
    """
    token = _WHOLES.set(frozenset(int(n) for n in wholes))
    try:
        yield
    finally:
        _WHOLES.reset(token)


def is_small(n: int | None, min_cell: int) -> bool:
    """Whether a count is one of 1..`min_cell` - 1, so that it may not be printed."""
    return n is not None and 0 < n < min_cell


def count(n: int | None, min_cell: int) -> str:
    """A count of patients or events as it may be printed: `1,204`, `0`, `<10`, or `≈1,200` a little below a whole."""
    if n is None:
        return MISSING
    if isinstance(n, Rounded) and n.text:
        return n.text
    if is_small(n, min_cell):
        return f"<{min_cell}"
    if _ROUNDED.get():
        n = near(n, min_cell)
    elif any(is_small(whole - n, min_cell) for whole in _WHOLES.get()):
        return about(n, min_cell)
    return shown(f"{int(n):,}", n)


def part(n: int | None, whole: int | None, min_cell: int) -> str:
    """A count beside its printed whole: suppressed if it is small, blurred if the rest of the whole is.

    With `min_cell` 10, 597 of 600 is `>590`, since 597 would tell that 3 are missing.
    """
    if n is None or whole is None or _ROUNDED.get():
        return count(n, min_cell)
    if is_small(whole - n, min_cell) and not is_small(n, min_cell):
        return f">{whole - min_cell:,}"
    return count(n, min_cell)


def share(n: int | None, whole: int | None, min_cell: int) -> str:
    """Percentage that `n` is of `whole`, suppressed where `part` would suppress the count."""
    if n is None or not whole:
        return MISSING
    if _ROUNDED.get():
        return _shared(n, whole, min_cell)
    if is_small(n, min_cell):
        return f"<{max(1.0, 100 * min_cell / whole):.0f} %" if whole >= min_cell else MISSING
    if is_small(whole - n, min_cell):
        return f">{100 * (whole - min_cell) / whole:.0f} %"
    return _percent(n, whole)


def _shared(n: int, whole: int, min_cell: int) -> str:
    """`share` for a page to share: of rounded counts, and never that none or all of a whole are meant."""
    n, whole = (nearest(int(k), min_cell) for k in (n, whole))
    if whole < 2 * min_cell:
        return MISSING
    if n < min_cell:
        return f"<{max(1.0, 100 * min_cell / whole):.0f} %"
    if whole - n < min_cell:
        return f">{min(99.0, 100 * (whole - min_cell) / whole):.0f} %"
    return _percent(n, whole)


def _percent(n: int, whole: int) -> str:
    """A share in whole per cent; `<1 %` and `>99 %` where it would read as none or all."""
    if 0 < 100 * n / whole < 0.5:
        return "<1 %"
    if 99.5 <= 100 * n / whole < 100:
        return ">99 %"
    return f"{100 * n / whole:.0f} %"


def counts(cells: Sequence[int], min_cell: int) -> list[str]:
    """Counts that add up to a printed total.

    A single small cell could be had by subtraction; then the next smallest cell is printed rounded to a multiple of
    `min_cell`, marked `≈`.
    """
    printed = [count(n, min_cell) for n in cells]
    if _ROUNDED.get():
        return printed
    small = [i for i, n in enumerate(cells) if is_small(n, min_cell)]
    large = sorted((n, i) for i, n in enumerate(cells) if n >= min_cell)
    if len(small) == 1 and large:
        n, i = large[0]
        printed[i] = about(n, min_cell)
    return printed


def shares(cells: Sequence[int], whole: int, min_cell: int) -> list[str]:
    """Percentages of classes that add up to a printed whole; as in `counts`, none can be had by subtraction."""
    printed = [share(n, whole, min_cell) for n in cells]
    if _ROUNDED.get():
        return printed
    small = [i for i, n in enumerate(cells) if is_small(n, min_cell)]
    large = sorted((n, i) for i, n in enumerate(cells) if n >= min_cell and not is_small(whole - n, min_cell))
    if len(small) == 1 and large:
        n, i = large[0]
        printed[i] = f"≈{100 * max(min_cell, min_cell * round(n / min_cell)) / whole:.0f} %"
    return printed


def merged(rows: Sequence[Mapping[str, Any]], least: int = STEP_EVENTS) -> list[dict[str, Any]]:
    """Rows of a survival curve whose steps are of at least `least` events each.

    Between steps the curve, its band and the count of events stay what they were; the last few events make no step.
    Heights are rounded to `HEIGHT` decimals: a first step to 1 - 6 / n would tell n.

    Parameters
    ----------
    rows
        With `survival`, `lower`, `upper` and `events` (up to and including each time), by time.
    """
    told: list[dict[str, Any]] = []
    last: Mapping[str, Any] | None = None
    for row in rows:
        if last is None or row["events"] - last["events"] >= least:
            last = row
        told.append({**row, **{name: _height(last[name]) for name in HEIGHTS}, "events": last["events"]})
    return told


def _height(value: Any) -> Any:
    """A height of a curve, rounded; it is still that of its cell, as far as it is told."""
    if value is None:
        return None
    coarse, ledger = round(float(value), HEIGHT), getattr(value, "ledger", None)
    return TracedFloat(coarse, origin(value), ledger) if isinstance(ledger, Ledger) else coarse


def about(n: int, min_cell: int) -> str:
    """A count rounded to a multiple of `min_cell`, marked `≈`, so that what it leaves of a total is not told.

    Where all counts of a page are `rounded` it says so once, and none is marked.
    """
    if _ROUNDED.get():
        return count(near(max(n, min_cell), min_cell), min_cell)
    return f"≈{max(min_cell, min_cell * round(n / min_cell)):,}"
