"""The outcome of the clinical table: time, event, and deaths of other causes."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stratiome.cohort.condition import judge
from stratiome.cohort.errors import TooFew, some_ids
from stratiome.cohort.spelling import SHOWN_TEXTS, UNKNOWN, entry, written
from stratiome.config import Config, EndpointConfig
from stratiome.tables import TELLS_OUTCOME, OutcomeCounts, from_rows

LONGEST_YEARS, LONG_YEARS = 100, 50
"""Follow-up in years that is refused, and that is remarked on."""
MIN_AT_RISK = 10
"""Patients who must still be followed at the last horizon."""
FEWEST_OF_CLASS = 5
"""Patients of a class below which its event rate says nothing."""
AT_ASSESSMENT, BEYOND = 1e-4, 2.0
"""Times in months of no response and of a response, about the only horizon of 1: the restricted mean up to there is the
probability of a response, no one is censored before, and all that is estimated of survival holds."""
TELLS = 0.98
"""Area under the ROC curve from which a covariate is said to tell the outcome; none known at time zero comes near."""
YES = {"yes", "y", "true", "t", "dead", "deceased", "died", "event", "treated", "given", "recurred", "progressed"}
NO = {"no", "n", "false", "f", "alive", "living", "censored", "untreated", "none", "not given"}


def codes(levels: list[Any]) -> dict[Any, int | None]:
    """What the levels of a column of events or treatments may mean: 1 = yes, 0 = no, null = left out.

    A guess that is printed as a suggestion and never applied.
    """
    if sorted(map(written, levels)) == ["1", "2"]:
        return {level: int(written(level)) - 1 for level in sorted(levels)}
    meant = {level: _code(written(level)) for level in levels}
    named = [level for level, code in meant.items() if code is None and written(level).strip().lower() not in UNKNOWN]
    if 1 not in meant.values() and 0 in meant.values():  # no beside names, as of drugs: each of them is a yes
        meant |= dict.fromkeys(named, 1)
    if not {0, 1} <= set(meant.values()):
        places = (0, 1, *[None] * len(levels))
        meant = dict(zip(sorted(levels, key=written), places, strict=False))
    return dict(sorted(meant.items(), key=lambda pair: (pair[1] is None, pair[1] or 0, written(pair[0]))))


def _code(text: str) -> int | None:
    numbered = re.match(r"([01])(?:\.0)?\s*(?:[:=]|$)", text)
    if numbered:
        return int(numbered[1])
    word = text.strip().lower()
    return 1 if word in YES else 0 if word in NO else None


def as_values(column: str, series: pl.Series) -> str:
    """The entry of the config that would make 0 and 1 of a column, where it has few levels."""
    levels = series.drop_nulls().unique().to_list()
    if not 2 <= len(levels) <= SHOWN_TEXTS:
        return f"give each value its meaning, as {entry(column, {'no': 0, 'yes': 1, 'unknown': None})}"
    return f"say what they mean, as {entry(column, codes(levels))} if that is it"


def is_binary(series: pl.Series) -> bool:
    """Whether a column holds 0 and 1 and nothing else but missing cells."""
    return series.dtype.is_numeric() and bool(series.drop_nulls().is_in([0.0, 1.0]).all())


def some_levels(series: pl.Series) -> str:
    """The first few levels of a column for a message."""
    levels = sorted(written(v) for v in series.drop_nulls().unique().to_list())
    more = f" and {len(levels) - SHOWN_TEXTS} more" if len(levels) > SHOWN_TEXTS else ""
    return ", ".join(repr(v[:20]) for v in levels[:SHOWN_TEXTS]) + more if levels else "no value at all"


def check_endpoint(path: Path, frame: pl.DataFrame, config: Config) -> list[str]:
    """What is wrong with time and event, or with the response."""
    problems: list[str] = []
    if config.endpoint.response is not None:
        named = config.endpoint.response
        return _check_response(path, frame[named], config) if named in frame.columns else problems
    if config.endpoint.event in frame.columns:
        problems += _check_event(path, frame[config.endpoint.event], config)
    if config.endpoint.time in frame.columns:
        problems += _check_time(path, frame, config)
    return problems


def _check_event(path: Path, event: pl.Series, config: Config) -> list[str]:
    name = config.endpoint.event
    if not is_binary(event):
        return [
            f"`endpoint.event`: {path}, column `{name}` must be 1 (event) or 0 (censored), but holds "
            f"{some_levels(event)}. Suggestion: {as_values(name, event)}"
        ]
    if event.drop_nulls().n_unique() < 2:
        return [
            TooFew(
                f"`endpoint.event`: {path}, column `{name}` has only one value. "
                "Suggestion: both events and censored patients are needed; is it the right column?"
            )
        ]
    return []


def _check_response(path: Path, response: pl.Series, config: Config) -> list[str]:
    name = config.endpoint.response
    where = f"`endpoint.response`: {path}, column `{name}`"
    if not is_binary(response):
        return [
            f"{where} must be 1 (response), 0 (none) or empty (not assessed), but holds {some_levels(response)}. "
            f"Suggestion: {as_values(response.name, response)}"
        ]
    n = [int((response == code).sum()) for code in (1, 0)]
    if min(n) < MIN_AT_RISK:
        least = config.audit.min_cell
        told, assessed = (f"fewer than {least}" if 0 < k < least else str(k) for k in (min(n), sum(n)))
        return [
            TooFew(
                f"{where}: of {assessed} patients who were assessed, {told} "
                f"{'responded' if n[0] <= n[1] else 'did not respond'}; it takes {MIN_AT_RISK} to estimate anything. "
                "Suggestion: is it the right column, and 1 a response?"
            )
        ]
    return []


def with_outcome(frame: pl.DataFrame, config: Config) -> pl.DataFrame:
    """The clinical table with the time and event that a response amounts to, or that are not known of anybody."""
    endpoint = config.endpoint
    if not endpoint.given:
        unknown = pl.lit(None, dtype=pl.Float64)
        return frame.with_columns(unknown.alias(endpoint.time), unknown.alias(endpoint.event))
    if endpoint.response is None:
        return frame
    none = 1 - pl.col(endpoint.response)
    time = pl.when(none == 1).then(AT_ASSESSMENT).otherwise(BEYOND)
    return frame.with_columns(none.alias(endpoint.event), time.alias(endpoint.time))


def _check_time(path: Path, frame: pl.DataFrame, config: Config) -> list[str]:
    endpoint, problems = config.endpoint, []
    time, ids = frame[endpoint.time], frame[config.data.patient_id]
    if time.dtype == pl.String and time.null_count() < len(time):
        return []  # texts are a matter of `check_columns`
    if not time.dtype.is_numeric():
        return [
            f"`endpoint.time`: {path}, column `{endpoint.time}` holds no number. Suggestion: is it the right column?"
        ]
    wrong = ids.filter((time < 0).fill_null(False) | time.is_infinite().fill_null(False)).to_list()
    if wrong:
        problems.append(
            f"`endpoint.time`: {path}, column `{endpoint.time}` is negative or infinite for {len(wrong)} patients "
            f"({some_ids(wrong, config.audit.ids_in_messages)}). Suggestion: check the dates it was computed from, "
            f"or declare the values missing, as {entry(endpoint.time, {-1: None})}"
        )
    longest = _longest(time) * endpoint.months_per_unit
    if longest > 12 * LONGEST_YEARS:
        problems.append(
            f"`endpoint.unit`: {path}, column `{endpoint.time}` reaches {longest / 12:.0f} years when read as "
            f"{endpoint.unit}. Suggestion: set `endpoint.unit` to the unit of the file"
        )
    elif endpoint.tau_months > longest:
        problems.append(
            TooFew(
                f"`{_latest(endpoint)}`: {endpoint.tau_months:g} months lie beyond the longest follow-up of "
                f"{longest:.1f} months ({path}). Suggestion: choose times within follow-up, or check `endpoint.unit`"
            )
        )
    return problems


def _latest(endpoint: EndpointConfig) -> str:
    """Key of the config that holds the latest time that is asked for."""
    return "endpoint.tau" if endpoint.tau_months > endpoint.horizons_months[-1] else "endpoint.horizons"


def _longest(time: pl.Series) -> float:
    finite = time.filter(time.is_finite().fill_null(False)).to_numpy()
    return float(np.max(finite, initial=0.0))


def endpoint_notes(frame: pl.DataFrame, config: Config) -> tuple[str, ...]:
    """What is unusual about the outcome, but possible."""
    endpoint = config.endpoint
    longest = _longest(frame[endpoint.time]) * endpoint.months_per_unit / 12
    notes = []
    if longest > LONG_YEARS:
        read = f"reaches {longest:.0f} years when read as {endpoint.unit}"
        notes.append(f"column `{endpoint.time}` {read}; check `endpoint.unit`")
    if endpoint.competing is not None:
        met, _ = judge(frame, endpoint.competing, "endpoint.competing", Path())
        if met is not None and _nobody_censored(frame, met, endpoint):
            notes.append(
                f"everybody without an event meets `{endpoint.competing}`, so that nobody is censored; check"
                " `endpoint.competing`"
            )
    return (*notes, *(n for c in config.covariates if (n := _tells_outcome(frame, c, endpoint))))


def _tells_outcome(frame: pl.DataFrame, column: str, endpoint: EndpointConfig) -> str:
    """That a covariate nearly tells who has the event, as what is recorded after it would; "" if it does not.

    By the area under the ROC curve of a number, or of the event rates of the classes; those of fewer than
    `FEWEST_OF_CLASS` patients count together.
    """
    if column not in frame.columns:
        return ""
    known = frame.select(x=pl.col(column), event=pl.col(endpoint.event)).drop_nulls()
    events = int((known["event"] == 1).sum())
    if min(events, int((known["event"] == 0).sum())) < MIN_AT_RISK:
        return ""
    if known["x"].dtype.is_numeric() and known["x"].n_unique() > SHOWN_TEXTS:
        score = known["x"].cast(pl.Float64)
    else:
        text = known.select(x=pl.col("x").cast(pl.String), event="event")
        size = pl.len().over("x")
        text = text.with_columns(x=pl.when(size < FEWEST_OF_CLASS).then(pl.lit("")).otherwise("x"))
        score = text.select(rate=pl.col("event").mean().over("x"))["rate"]
    area = _area_under_roc(score, known["event"] == 1)
    if max(area, 1.0 - area) < TELLS:
        return ""
    return (
        f"covariate `{column}` {TELLS_OUTCOME} (area under the ROC curve above {TELLS:g}), as something recorded after"
        " it or made from it would; leave it out of `covariates`, or every comparison with the clinical model is void,"
        " and out of `confounders`, or the effect of the treatment is"
    )


def _area_under_roc(score: pl.Series, event: pl.Series) -> float:
    """Area under the ROC curve from ranks (Mann, Whitney); scikit-learn takes long to import, and each job plans."""
    n = int(event.sum())
    above = float(score.rank("average").filter(event).sum()) - n * (n + 1) / 2
    return above / (n * (len(event) - n))


def check_horizons(path: Path, outcome: pl.DataFrame, config: Config) -> list[str]:
    """Horizons at which nothing can be estimated: nobody has had an event yet, or hardly anybody is followed still.

    All of it stands in the way of an analysis, not of scores (`TooFew`).

    Parameters
    ----------
    path
        The clinical table, for messages.
    outcome
        Usable outcomes, as `Clinical.outcome`.
    config
        The config.
    """
    endpoint = config.endpoint
    problems: list[str] = []
    if not outcome.height or not outcome["event"].sum():
        return problems  # that nobody has had the event is told by `check_endpoint`
    if endpoint.response is not None or not endpoint.given:
        return problems  # enough of both is a matter of `check_endpoint`
    first, last = endpoint.horizons_months[0], max(*endpoint.horizons_months, endpoint.tau_months)
    if not outcome.filter((pl.col("event") == 1) & (pl.col("time_months") <= first)).height:
        problems.append(
            f"`endpoint.horizons`: no event occurs within {first:g} months ({path}). "
            "Suggestion: choose a later first horizon, or check `endpoint.unit`"
        )
    if (
        endpoint.tau is not None
        and not outcome.filter((pl.col("event") == 1) & (pl.col("time_months") <= endpoint.tau_months)).height
    ):
        problems.append(
            f"`endpoint.tau`: no event occurs within {endpoint.tau_months:g} months ({path}), so that nothing can be "
            "scored up to there. Suggestion: choose a later `tau`, or check `endpoint.unit`"
        )
    at_risk = outcome.filter(pl.col("time_months") >= last).height
    if at_risk < min(MIN_AT_RISK, outcome.height):
        if outcome.height < MIN_AT_RISK:
            return [
                TooFew(
                    f"`endpoint`: {path} has {outcome.height} patients with an outcome, and it takes {MIN_AT_RISK} who "
                    "are followed to a horizon to estimate anything. Suggestion: wait for more patients"
                )
            ]
        usable = math.floor(outcome["time_months"].sort(descending=True).head(MIN_AT_RISK)[-1])
        problems.append(
            f"`{_latest(endpoint)}`: only {at_risk} patients are followed up to {last:g} months ({path}), too few to "
            f"estimate anything there. Suggestion: choose horizons (and `tau`) of at most {usable:.0f} months"
        )
    return [TooFew(text) for text in problems]


def died_otherwise(path: Path, frame: pl.DataFrame, config: Config) -> tuple[pl.Series, list[str]]:
    """Who died of another cause, True/False of shape `(n_patients,)`, and what is wrong with it."""
    nobody = pl.Series([False]).new_from_index(0, frame.height)
    endpoint = config.endpoint
    if endpoint.competing is None:
        return nobody, []
    met, problems = judge(frame, endpoint.competing, "endpoint.competing", path)
    if met is None:
        return nobody, problems
    where = f"`endpoint.competing`: {path}, condition `{endpoint.competing}`"
    both = frame[config.data.patient_id].filter(met & (frame[endpoint.event] == 1).fill_null(False)).to_list()
    if both:
        problems.append(
            f"{where} is met by {len(both)} patients with an event "
            f"({some_ids(both, config.audit.ids_in_messages)}). Suggestion: who died of another cause must be 0 in "
            f"`{endpoint.event}`; code it so, or narrow the condition"
        )
    if _nobody_censored(frame, met, endpoint) and endpoint.event in pl.sql_expr(endpoint.competing).meta.root_names():
        problems.append(
            f"{where} is met by everybody without an event, so that nobody would be censored. Suggestion: who is alive "
            "when last seen must not meet it; name the column of the cause of death"
        )
    if not met.any():
        problems.append(TooFew(f"{where} is met by nobody. Suggestion: check the values it names, or remove it"))
    return met, problems


def _nobody_censored(frame: pl.DataFrame, met: pl.Series, endpoint: EndpointConfig) -> bool:
    free = (frame[endpoint.event] == 0).fill_null(False)
    return bool(free.any() and met.filter(free).all())


def outcome(frame: pl.DataFrame, otherwise: pl.Series, config: Config) -> tuple[pl.DataFrame, dict[str, int]]:
    """Contract `Outcome` of the patients with a usable outcome, and why others have none."""
    endpoint = config.endpoint
    table = frame.select(
        patient_id=pl.col(config.data.patient_id),
        time_months=pl.col(endpoint.time) * endpoint.months_per_unit,
        event=pl.col(endpoint.event),
        competing=otherwise.cast(pl.Int64),
    )
    no_time, no_event = pl.col("time_months").is_null(), pl.col("event").is_null()
    reasons = {
        "no follow-up recorded": no_time & no_event,
        "no follow-up time": no_time & ~no_event,
        "no event status": ~no_time & no_event,
        "follow-up of zero, never at risk": ~no_time & ~no_event & (pl.col("time_months") == 0),
    }
    if endpoint.response is not None:
        reasons = {"not assessed for a response": no_event}
    if not endpoint.given:
        reasons = {"the config names no outcome": no_event}
    counts = {reason: int(table.select(rule.sum()).item()) for reason, rule in reasons.items()}
    usable = table.filter(~no_time & ~no_event & (pl.col("time_months") > 0)).with_columns(
        pl.col("event").cast(pl.Int64)
    )
    return usable, {reason: n for reason, n in counts.items() if n}


def count_outcomes(table: pl.DataFrame) -> pl.DataFrame:
    """Contract `OutcomeCounts` of a table of outcomes."""
    event, competing = int(table["event"].sum()), int(table["competing"].sum())
    counted = {"event": event, "competing": competing, "censored": table.height - event - competing}
    return from_rows([{"status": s, "n": n} for s, n in counted.items()], OutcomeCounts)
