"""The clinical table: only the columns that the config names, with declared types, and the outcome apart from them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from stratiome.cohort.errors import CohortError, some_ids
from stratiome.cohort.read import missing_column, read_patients
from stratiome.config import Config

logger = logging.getLogger(__name__)

MIN_AT_RISK = 10
"""Patients who must still be followed at the last horizon."""


@dataclass(frozen=True)
class Clinical:
    """Clinical data of a cohort, rows sorted by patient.

    Attributes
    ----------
    covariates
        `patient_id` and every clinical column that the config names, without the outcome.
    outcome
        `patient_id`, `time_months`, `event` of the patients with a usable outcome.
    without_outcome
        Reason -> number of patients whose outcome cannot be used.
    """

    covariates: pl.DataFrame
    outcome: pl.DataFrame
    without_outcome: dict[str, int]


def read_clinical(path: Path, config: Config) -> Clinical:
    """Read and check the clinical table.

    Raises
    ------
    CohortError
        With every problem found: absent columns, values that do not fit, an outcome that makes no sense.
    """
    frame = read_patients(path, config.data.patient_id, config.audit.ids_in_messages)
    problems = [
        missing_column(path, column, frame.columns, key)
        for column, key in config.clinical_columns().items()
        if column not in frame.columns
    ]
    wanted = set(config.clinical_columns()) - {config.endpoint.time, config.endpoint.event}
    for name, treatment in config.treatments.items():
        found, texts = eligible_columns(treatment.eligible, f"treatments.{name}.eligible", path, frame.columns)
        wanted |= found
        problems += texts
    if problems:
        raise CohortError(problems)
    problems += (
        _check_types(path, frame, config) + _check_treatments(path, frame, config) + _check_outcome(path, frame, config)
    )
    if problems:
        raise CohortError(problems)
    frame = _cast(frame, config)
    outcome, reasons = _outcome(frame, config)
    problems = _check_comparisons(path, frame, outcome, config)
    if problems:
        raise CohortError(problems)
    kept = [config.data.patient_id] + [c for c in frame.columns if c in wanted and c != config.data.patient_id]
    covariates = frame.select(kept).rename({config.data.patient_id: "patient_id"})
    return Clinical(covariates, outcome, reasons)


def eligible_columns(condition: str | None, key: str, path: Path, columns: list[str]) -> tuple[set[str], list[str]]:
    """Columns that an eligibility condition names, and what is wrong with it."""
    if condition is None:
        return set(), []
    try:
        names = set(pl.sql_expr(condition).meta.root_names())
    except (pl.exceptions.PolarsError, AttributeError) as error:
        text = str(error).splitlines()[0]
        return set(), [
            f"`{key}`: not a valid condition ({text}). Suggestion: SQL, as `stage IN (1, 2, 3) AND age >= 18`"
        ]
    return names & set(columns), [missing_column(path, n, columns, key) for n in sorted(names - set(columns))]


def _cast(frame: pl.DataFrame, config: Config) -> pl.DataFrame:
    casts = []
    for name in frame.columns:
        if name == config.data.patient_id:
            continue
        categorical = config.data.types.get(name) == "categorical" or name in (*config.known_labels, config.site)
        if categorical and frame[name].dtype.is_float():
            # 3.0 read from "3" is the class "3"
            whole = frame[name].drop_nulls()
            integer = bool((whole == whole.round()).all())
            casts.append(pl.col(name).cast(pl.Int64).cast(pl.String) if integer else pl.col(name).cast(pl.String))
    return frame.with_columns(casts)


def _check_types(path: Path, frame: pl.DataFrame, config: Config) -> list[str]:
    problems = []
    for name, kind in config.data.types.items():
        if kind == "numeric" and not frame[name].dtype.is_numeric():
            bad = frame[name].drop_nulls().cast(pl.Float64, strict=False).null_count()
            problems.append(
                f"`data.types.{name}`: {path}, column `{name}` is declared numeric but {bad} values are not numbers. "
                "Suggestion: correct them, leave missing cells empty, or declare it categorical"
            )
    for name in dict.fromkeys((*config.covariates, *(c for t in config.treatments.values() for c in t.confounders))):
        if frame[name].null_count() == frame.height:
            problems.append(f"{path}: column `{name}` has no value at all. Suggestion: remove it from the config")
        elif frame[name].null_count() == 0 and frame[name].n_unique() == 1:
            problems.append(
                f"{path}: column `{name}` is the same for everybody and can neither predict nor confound. "
                "Suggestion: remove it from the config"
            )
        levels = frame[name].drop_nulls().n_unique() if frame[name].dtype == pl.String else 0
        if levels > max(20, frame.height // 10):
            problems.append(
                f"{path}: column `{name}` is text with {levels} different values. "
                "Suggestion: it may hold numbers written "
                "with a comma or unit; make it numeric, or group its values"
            )
    return problems


def _check_treatments(path: Path, frame: pl.DataFrame, config: Config) -> list[str]:
    problems = []
    for name, treatment in config.treatments.items():
        values = frame[treatment.column].drop_nulls()
        if not values.dtype.is_numeric() or not values.is_in([0.0, 1.0]).all():
            problems.append(
                f"`treatments.{name}.column`: {path}, column `{treatment.column}` must be 0 (untreated) or 1 "
                f"(treated), but holds {_some_values(values)}. Suggestion: recode it; leave unknown cells empty"
            )
        elif values.n_unique() < 2:
            problems.append(
                f"`treatments.{name}.column`: {path}, column `{treatment.column}` is the same for everybody. "
                "Suggestion: a treatment effect needs treated and untreated patients"
            )
    return problems


def _some_values(values: pl.Series) -> str:
    levels = values.unique().sort().cast(pl.String).to_list()
    return ", ".join(repr(v) for v in levels[:4]) + (f" and {len(levels) - 4} more" if len(levels) > 4 else "")


def _check_comparisons(path: Path, frame: pl.DataFrame, outcome: pl.DataFrame, config: Config) -> list[str]:
    """Treatments for which nobody could be compared with anybody."""
    problems = []
    for name, treatment in config.treatments.items():
        key = f"`treatments.{name}.eligible`: {path}, condition `{treatment.eligible}`"
        eligible = frame
        if treatment.eligible is not None:
            try:
                met = frame.select(met=pl.sql_expr(treatment.eligible))["met"]
            except pl.exceptions.PolarsError as error:
                text = str(error).splitlines()[0]
                problems.append(
                    f"{key} cannot be judged ({text}). Suggestion: compare numbers with numbers and texts with quoted "
                    "texts, as `stage IN (1, 2, 3) AND sex = 'female'`"
                )
                continue
            if met.dtype != pl.Boolean or len(met) != frame.height:
                problems.append(f"{key} is not true or false for each patient. Suggestion: as `stage IN (1, 2, 3)`")
                continue
            eligible = frame.filter(met.fill_null(False))
        known = outcome["patient_id"].implode()
        compared = eligible.filter(pl.col(config.data.patient_id).is_in(known))
        if compared[treatment.column].drop_nulls().n_unique() < 2:
            key = key if treatment.eligible is not None else f"`treatments.{name}.column`: {path}"
            problems.append(
                f"{key}: among {compared.height} eligible patients with an outcome there are not both treated and "
                f"untreated ones (column `{treatment.column}`). Suggestion: widen the condition, or check its values"
            )
    return problems


def _check_outcome(path: Path, frame: pl.DataFrame, config: Config) -> list[str]:
    endpoint, ids = config.endpoint, frame[config.data.patient_id]
    problems = []
    event, time = frame[endpoint.event], frame[endpoint.time]
    if not event.dtype.is_numeric() or not event.drop_nulls().is_in([0.0, 1.0]).all():
        coded = event.drop_nulls().unique().sort().cast(pl.String).to_list()[:4]
        problems.append(
            f"`endpoint.event`: {path}, column `{endpoint.event}` must be 1 (event) or 0 (censored), but holds "
            f"{', '.join(repr(c) for c in coded)}. Suggestion: recode it, as 1/2 to 0/1 or yes/no to 1/0"
        )
    elif event.drop_nulls().n_unique() < 2:
        problems.append(
            f"`endpoint.event`: {path}, column `{endpoint.event}` has only one value. "
            "Suggestion: both events and censored patients are needed; is it the right column?"
        )
    if not time.dtype.is_numeric():
        problems.append(
            f"`endpoint.time`: {path}, column `{endpoint.time}` is not numeric. "
            "Suggestion: write decimals with a point "
            "and remove units"
        )
        return problems
    negative = ids.filter((time < 0).fill_null(False) | time.is_infinite().fill_null(False)).to_list()
    if negative:
        problems.append(
            f"`endpoint.time`: {path}, column `{endpoint.time}` is negative or infinite for {len(negative)} patients "
            f"({some_ids(negative, config.audit.ids_in_messages)}). Suggestion: check the dates it was computed from"
        )
    longest = float(np.nanmax(time.to_numpy(), initial=0.0)) * endpoint.months_per_unit
    if longest > 12 * 100:
        problems.append(
            f"`endpoint.unit`: {path}, column `{endpoint.time}` reaches {longest / 12:.0f} years when read as "
            f"{endpoint.unit}. Suggestion: set `endpoint.unit` to the unit of the file"
        )
    elif config.endpoint.tau_months > longest:
        problems.append(
            f"`endpoint.horizons`: {config.endpoint.tau_months:g} months lie beyond the longest follow-up of "
            f"{longest:.1f} months ({path}). Suggestion: choose horizons within follow-up, or check `endpoint.unit`"
        )
    return problems


def check_horizons(path: Path, outcome: pl.DataFrame, config: Config) -> list[str]:
    """Horizons at which nothing can be estimated: nobody has had an event yet, or hardly anybody is followed still.

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
    problems = []
    first, last = endpoint.horizons_months[0], max(*endpoint.horizons_months, endpoint.tau_months)
    if not outcome.filter((pl.col("event") == 1) & (pl.col("time_months") <= first)).height:
        problems.append(
            f"`endpoint.horizons`: no event occurs within {first:g} months ({path}). "
            "Suggestion: choose a later first horizon, or check `endpoint.unit`"
        )
    at_risk = outcome.filter(pl.col("time_months") >= last).height
    if at_risk < min(MIN_AT_RISK, outcome.height):
        usable = outcome["time_months"].sort(descending=True).head(MIN_AT_RISK)[-1]
        problems.append(
            f"`endpoint.horizons`: only {at_risk} patients are followed up to {last:g} months ({path}), too few to "
            f"estimate anything there. Suggestion: choose horizons (and `tau`) of at most {usable:.0f} months"
        )
    return problems


def _outcome(frame: pl.DataFrame, config: Config) -> tuple[pl.DataFrame, dict[str, int]]:
    endpoint = config.endpoint
    table = frame.select(
        patient_id=pl.col(config.data.patient_id),
        time_months=pl.col(endpoint.time) * endpoint.months_per_unit,
        event=pl.col(endpoint.event),
    )
    no_time, no_event = pl.col("time_months").is_null(), pl.col("event").is_null()
    reasons = {
        "no follow-up recorded": no_time & no_event,
        "no follow-up time": no_time & ~no_event,
        "no event status": ~no_time & no_event,
        "follow-up of zero, never at risk": ~no_time & ~no_event & (pl.col("time_months") == 0),
    }
    counts = {reason: int(table.select(rule.sum()).item()) for reason, rule in reasons.items()}
    usable = table.filter(~no_time & ~no_event & (pl.col("time_months") > 0)).with_columns(
        pl.col("event").cast(pl.Int64)
    )
    return usable, {reason: n for reason, n in counts.items() if n}


def site_counts(clinical: pl.DataFrame, site: str) -> dict[str, int]:
    """Patients per site, sites in sorted order; patients without a site are not counted."""
    table = clinical[site].drop_nulls().cast(pl.String).value_counts().sort(site)
    return {str(s): int(n) for s, n in table.iter_rows()}
