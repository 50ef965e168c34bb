"""What is wrong with a cohort."""

from __future__ import annotations

from collections.abc import Sequence

from stratiome.config import MOST_MIN_CELL


class CohortError(ValueError):
    """Data that cannot be analysed as they are."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class TooFew(str):
    """A problem of a cohort that only an analysis has: too few patients, events, classes or months.

    Patients who are only scored by a bundle may be few, alike, and without an outcome.
    """

    __slots__ = ()


def some_ids(ids: Sequence[object], show: bool, limit: int = 5) -> str:
    """The first few identifiers for a message, or only their number where the config forbids identifiers."""
    if not show:
        return f"{len(ids)} patients"
    more = f" and {len(ids) - limit} more" if len(ids) > limit else ""
    return ", ".join(str(i) for i in ids[:limit]) + more


def some_of(n: int, what: str) -> str:
    """A number of cells, patients or samples for a note; it reaches the report, where few must not be counted out.

    The limit is the largest that `audit.min_cell` can be, so that reading does not depend on it; the patient flow has
    the exact numbers, which the report suppresses as the config says.
    """
    return f"fewer than {MOST_MIN_CELL} {what}" if 0 < n < MOST_MIN_CELL else f"{n:,} {what}"


def some_cells(n: int) -> str:
    """A number of cells for a note, as `some_of`."""
    return some_of(n, "cells")
