"""What may be printed: counts of few patients are suppressed, and so is what would give them away in the same table.

Cells of 1 to `min_cell` - 1 are printed as `<min_cell` (primary suppression). Where a part is printed beside its whole,
a part whose *complement* is small is blurred too, and where cells of one table add up to a printed total, a lone small
cell takes the next smallest with it (secondary suppression; Hundepool et al. 2012, Statistical Disclosure Control).
A count a little below a whole that the same page prints in another table (`beside`) is rounded wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from stratiome.report.traced import shown

PEOPLE = frozenset(
    {
        "at_risk", "count", "events", "events_test", "events_train", "missing", "n", "n_in", "n_like", "n_locked",
        "n_missing", "n_out", "n_test", "n_train", "n_treat", "n_treated", "n_unplaced", "n_untreated",
        "out_of_distribution",
    }
)  # fmt: skip
"""Columns of tables that count patients or events."""
MISSING = "–"
STEP_EVENTS = 6
"""Events of a step of a survival curve in a page to share."""


_WHOLES: ContextVar[frozenset[int]] = ContextVar("wholes", default=frozenset())


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
    if is_small(n, min_cell):
        return f"<{min_cell}"
    if any(is_small(whole - n, min_cell) for whole in _WHOLES.get()):
        return about(n, min_cell)
    return shown(f"{int(n):,}", n)


def part(n: int | None, whole: int | None, min_cell: int) -> str:
    """A count beside its printed whole: suppressed if it is small, blurred if the rest of the whole is.

    With `min_cell` 10, 597 of 600 is `>590`, since 597 would tell that 3 are missing.
    """
    if n is not None and whole is not None and is_small(whole - n, min_cell) and not is_small(n, min_cell):
        return f">{whole - min_cell:,}"
    return count(n, min_cell)


def share(n: int | None, whole: int | None, min_cell: int) -> str:
    """Percentage that `n` is of `whole`, suppressed where `part` would suppress the count."""
    if n is None or not whole:
        return MISSING
    if is_small(n, min_cell):
        return f"<{max(1.0, 100 * min_cell / whole):.0f} %" if whole >= min_cell else MISSING
    if is_small(whole - n, min_cell):
        return f">{100 * (whole - min_cell) / whole:.0f} %"
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
    small = [i for i, n in enumerate(cells) if is_small(n, min_cell)]
    large = sorted((n, i) for i, n in enumerate(cells) if n >= min_cell)
    if len(small) == 1 and large:
        n, i = large[0]
        printed[i] = about(n, min_cell)
    return printed


def shares(cells: Sequence[int], whole: int, min_cell: int) -> list[str]:
    """Percentages of classes that add up to a printed whole; as in `counts`, none can be had by subtraction."""
    printed = [share(n, whole, min_cell) for n in cells]
    small = [i for i, n in enumerate(cells) if is_small(n, min_cell)]
    large = sorted((n, i) for i, n in enumerate(cells) if n >= min_cell and not is_small(whole - n, min_cell))
    if len(small) == 1 and large:
        n, i = large[0]
        printed[i] = f"≈{100 * max(min_cell, min_cell * round(n / min_cell)) / whole:.0f} %"
    return printed


def merged(rows: Sequence[Mapping[str, Any]], least: int = STEP_EVENTS) -> list[dict[str, Any]]:
    """Rows of a survival curve whose steps are of at least `least` events each.

    Between steps the curve, its band and the count of events stay what they were; the last few events make no step.

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
        told.append({**row, **{name: last[name] for name in ("survival", "lower", "upper", "events")}})
    return told


def about(n: int, min_cell: int) -> str:
    """A count rounded to a multiple of `min_cell`, marked `≈`, so that what it leaves of a total is not told."""
    return f"≈{max(min_cell, min_cell * round(n / min_cell)):,}"
