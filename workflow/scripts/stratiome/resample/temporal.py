"""Earlier and later patients, by a year or a date of the clinical table."""

from __future__ import annotations

from datetime import date

import polars as pl

from stratiome.cohort.columns import dates
from stratiome.config import TemporalConfig


class DateError(ValueError):
    """A column that cannot be compared with `train_until`."""


def is_later(values: pl.Series, settings: TemporalConfig) -> pl.Series:
    """Whether each patient is later than `train_until`, null without a date.

    Numbers are compared as they are. Dates are compared by day, or by year where `train_until` is a year.

    Raises
    ------
    DateError
        If the column holds neither years nor ISO dates, or `train_until` is of the other kind.
    """
    until, key = settings.train_until, f"`resamples.temporal`: column `{settings.column}`"
    if values.dtype.is_numeric() or values.dtype == pl.Null:
        if isinstance(until, date):
            raise DateError(f"{key} holds numbers, but `train_until` is a date. Suggestion: give a year, as {until:%Y}")
        return values.cast(pl.Float64) > until
    days = dates(values)
    undated = values.filter(days.is_null() & values.is_not_null()).cast(pl.String)
    if len(undated):
        years = undated.str.contains(r"^\d{4}(\.0)?$")
        wrong = int((~years).sum()) or len(undated)  # years beside dates are wrong, years beside other texts are not
        raise DateError(
            f"{key} holds {wrong} values that are neither a year nor an ISO date. "
            "Suggestion: write dates as 2005-06-30; leave unknown ones empty"
        )
    if isinstance(until, date):
        return days > until
    if until != round(until):
        raise DateError(f"{key} holds dates, but `train_until` is {until:g}. Suggestion: give a whole year, or a date")
    return days.dt.year() > round(until)


def check_sides(later: pl.Series, event: pl.Series, settings: TemporalConfig) -> list[str]:
    """What is wrong with a split by time: nobody, or no event, on one side.

    Parameters
    ----------
    later
        As made by `is_later`.
    event
        1 = event, 0 = censored, null = no outcome.
    settings
        Column and limit, for messages.
    """
    problems = []
    until = f"{settings.train_until:g}" if isinstance(settings.train_until, float) else str(settings.train_until)
    for side, what, move in ((~later, f"up to {until}", "later"), (later, f"later than {until}", "earlier")):
        here = side.fill_null(False)
        lacking = "patient" if not here.any() else "" if (event.filter(here) == 1).any() else "event in a patient"
        if lacking:
            problems.append(
                f"`resamples.temporal`: column `{settings.column}` has no {lacking} {what}. "
                f"Suggestion: set `train_until` {move}, within the dates of the cohort"
            )
    return problems
