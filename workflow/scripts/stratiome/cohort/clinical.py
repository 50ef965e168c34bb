"""The clinical table: only the columns that the config names, with declared types, and the outcome apart from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from stratiome.cohort.columns import at_time_zero, check_columns, typed
from stratiome.cohort.condition import columns_of
from stratiome.cohort.controls import Controls, control_columns, control_outcomes, controls_of
from stratiome.cohort.endpoint import (
    as_values,
    check_endpoint,
    died_otherwise,
    endpoint_notes,
    is_binary,
    outcome,
    some_levels,
    with_outcome,
)
from stratiome.cohort.errors import CohortError, TooFew
from stratiome.cohort.groups import check_groups
from stratiome.cohort.read import missing_column, read_patients
from stratiome.cohort.sentinel import sentinel_notes
from stratiome.cohort.spelling import apply_values, cell_notes, meant_columns, meant_texts, spelling_notes, written
from stratiome.cohort.study import read_study
from stratiome.cohort.trials import check_comparisons, check_profiles
from stratiome.config import Config, resolve
from stratiome.tables import NegativeControls, from_rows


@dataclass(frozen=True)
class Clinical:
    """Clinical data of a cohort, rows sorted by patient.

    Attributes
    ----------
    covariates
        `patient_id` and every clinical column that the config names, without the outcome.
    outcome
        Contract `Outcome`: the patients with a usable outcome.
    without_outcome
        Reason -> number of patients whose outcome cannot be used.
    notes
        What was changed on reading or looks wrong, one sentence each; counts of few patients are not given.
    flow
        Rows of `PatientFlow` on what was known only after time zero.
    controls
        Contract `NegativeControls`.
    too_few
        What stands in the way of an analysis, where that was not asked for.
    """

    covariates: pl.DataFrame
    outcome: pl.DataFrame
    without_outcome: dict[str, int]
    notes: tuple[str, ...] = ()
    flow: tuple[dict[str, Any], ...] = ()
    controls: pl.DataFrame = field(default_factory=lambda: from_rows([], NegativeControls))
    too_few: tuple[TooFew, ...] = ()


def read_clinical(path: Path, config: Config, controls: Controls | None = None, *, enough: bool = True) -> Clinical:
    """Read and check the clinical table.

    Parameters
    ----------
    path
        The table.
    config
        The config.
    controls
        Treatment -> negative-control outcome; default those of the config.
    enough
        Whether a table is refused that is too small, or followed up too briefly, for an analysis.

    Raises
    ------
    CohortError
        With every problem found: absent columns, values that do not fit, an outcome that makes no sense.
    """
    config = config.at_time_zero()
    controls = controls_of(config) if controls is None else controls
    frame, found = _rows(path, config)
    named = meant_columns(frame, config, path)
    mapped = apply_values(named.frame, config)
    columns, problems = _columns(path, mapped.frame.columns, config, controls)
    for check in (check_columns, check_endpoint, _check_treatments, _check_sex, check_groups):
        problems += check(path, mapped.frame, config)
    refuse = _Refusals(enough)
    refuse(problems)
    cast = typed(mapped.frame, config)
    complete = with_outcome(cast.frame, config)
    otherwise, problems = died_otherwise(path, complete, config)
    usable, reasons = outcome(complete, otherwise, config)
    controlled, texts = control_outcomes(path, complete, usable, config, controls)
    problems += texts
    early = at_time_zero(cast.frame, config)
    texts, doubts = check_comparisons(path, early.frame, usable, config)
    refuse(problems + texts + check_profiles(early.frame, config))
    kept = [config.data.patient_id] + [c for c in early.frame.columns if c in columns]
    covariates = early.frame.select(kept).rename({config.data.patient_id: "patient_id"})
    notes = found + cell_notes(path, config) + named.notes + mapped.notes + cast.notes
    notes += spelling_notes(covariates, config)
    numbers = [c for c in early.frame.columns if c in columns]
    numbers = [c for c in config.endpoint.columns if c == config.endpoint.time] + numbers
    notes += sentinel_notes(cast.frame, numbers) + endpoint_notes(complete, config) + early.notes + doubts
    return Clinical(covariates, usable, reasons, notes, early.flow, controlled, tuple(refuse.put_aside))


class _Refusals:
    """Raises problems; puts aside those that only an analysis has, where none is meant."""

    def __init__(self, enough: bool) -> None:
        self.enough, self.put_aside = enough, list[TooFew]()

    def __call__(self, problems: list[str]) -> None:
        few = [p for p in problems if isinstance(p, TooFew)]
        if problems and (self.enough or len(few) < len(problems)):
            raise CohortError(problems)
        self.put_aside += few


def _rows(path: Path, config: Config) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """One row per patient as in the file or the study, and notes on how they were read."""
    if config.data.study is not None:
        folder = resolve(config.data.folder, config.data.study)
        study = read_study(folder, config.data.patient_id, meant_texts(config))
        return study.clinical, study.notes
    notes: list[str] = []
    show_ids = config.audit.ids_in_messages
    return read_patients(path, config.data.patient_id, show_ids, notes, meant_texts(config)), tuple(notes)


def _columns(path: Path, present: list[str], config: Config, controls: Controls) -> tuple[set[str], list[str]]:
    """Columns to keep beside identifier and outcome, and what is wrong with those that the config names."""
    asked = config.clinical_columns()
    problems = [missing_column(path, c, present, key) for c, key in asked.items() if c not in present]
    late = {name for name, c in config.data.columns.items() if c.known_late}
    eligible: set[str] = set()
    arms: set[str] = set()
    for name, treatment in config.treatments.items():
        key = f"treatments.{name}.eligible"
        found, texts = columns_of(treatment.eligible, key, path, present)
        for arm, condition in treatment.arms.items():
            of_arm, wrong = columns_of(condition, f"treatments.{name}.arms.{arm}", path, present)
            arms |= of_arm
            texts += wrong
        eligible |= found
        problems += texts + [
            f"`{key}`: column `{c}` is known only after time zero (`data.columns.{c}.available_at`). "
            "Suggestion: who is eligible must be known when the treatment is chosen"
            for c in sorted(found & late)
        ]
    cause, texts = columns_of(config.endpoint.competing, "endpoint.competing", path, present)
    problems += texts
    predictors = {*config.covariates, *(c for t in config.treatments.values() for c in t.confounders)}
    predictors |= eligible | arms
    problems += [
        f"`endpoint.competing`: column `{c}` tells how patients died, and is a predictor or in `eligible` as well. "
        "Suggestion: remove it there; a predictor must be known at time zero"
        for c in sorted(cause & predictors)
    ]
    named, texts = control_columns(path, present, config, controls)
    problems += texts
    # A column that is declared only because the outcome or an availability needs it is no part of the clinical data.
    only_declared = {c for c, key in asked.items() if key.startswith("data.columns.") and c in cause | set(named)}
    only_dates = {c for c, key in asked.items() if key.endswith(".available_at")}
    fixed = {config.data.patient_id, *config.endpoint.columns}
    return (set(asked) - only_declared - only_dates - fixed) | eligible | arms, problems


def _check_treatments(path: Path, frame: pl.DataFrame, config: Config) -> list[str]:
    problems = []
    for name, treatment in config.treatments.items():
        if treatment.column is None or treatment.column not in frame.columns:
            continue
        values = frame[treatment.column]
        key = f"`treatments.{name}.column`: {path}, column `{treatment.column}`"
        if not is_binary(values):
            problems.append(
                f"{key} must be 0 (untreated) or 1 (treated), but holds {some_levels(values)}. "
                f"Suggestion: {as_values(treatment.column, values)}; unknown is null, not 0"
            )
        elif values.drop_nulls().n_unique() < 2:
            problems.append(
                TooFew(
                    f"{key} is the same for everybody. Suggestion: a treatment effect needs treated and untreated "
                    "patients"
                )
            )
    return problems


def _check_sex(path: Path, frame: pl.DataFrame, config: Config) -> list[str]:
    sex = config.quality.sex
    if sex is None or sex.column not in frame.columns:
        return []
    recorded = frame[sex.column]
    if sex.female in map(written, recorded.drop_nulls().unique()):
        return []
    return [
        TooFew(
            f"`quality.sex.female`: {path}, column `{sex.column}` never holds `{sex.female}`, but "
            f"{some_levels(recorded)}. Suggestion: set it to the value for women, as the file spells it"
        )
    ]


def site_counts(clinical: pl.DataFrame, site: str) -> dict[str, int]:
    """Patients per site, sites in sorted order; patients without a site are not counted."""
    table = clinical[site].drop_nulls().cast(pl.String).value_counts().sort(site)
    return {str(s): int(n) for s, n in table.iter_rows()}
