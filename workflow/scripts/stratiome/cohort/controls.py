"""Negative-control outcomes: what a treatment cannot change, so that a difference in it is confounding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from stratiome.cohort.condition import columns_of, judge
from stratiome.cohort.errors import TooFew, some_ids
from stratiome.cohort.read import missing_column
from stratiome.config import Config, NegativeControlConfig
from stratiome.tables import NegativeControls, from_rows

Controls = Mapping[str, NegativeControlConfig]


def controls_of(config: Config) -> dict[str, NegativeControlConfig]:
    """Treatment -> its negative-control outcome, of treatments that have one."""
    return {name: t.negative_control for name, t in config.treatments.items() if t.negative_control is not None}


def control_columns(
    path: Path, present: list[str], config: Config, controls: Controls
) -> tuple[dict[str, str], list[str]]:
    """Column -> key of the config that names it, and what is wrong: columns that are absent or predictors as well.

    Parameters
    ----------
    path, present
        Clinical table and its columns.
    config
        The config, which says what the predictors are.
    controls
        Treatment -> negative-control outcome.
    """
    problems: list[str] = []
    named: dict[str, str] = {}
    for name, control in controls.items():
        key = f"treatments.{name}.negative_control"
        found, texts = columns_of(control.event, f"{key}.event", path, present)
        problems += texts
        if control.time is not None:
            if control.time in present:
                found = found | {control.time}
            else:
                problems.append(missing_column(path, control.time, present, f"{key}.time"))
        named = dict.fromkeys(sorted(found), key) | named
    predictors = {*config.covariates, *(c for t in config.treatments.values() for c in t.confounders)}
    problems += [
        f"`{key}`: column `{c}` tells what happened after time zero, and is a predictor as well. "
        "Suggestion: remove it there; a predictor must be known at time zero"
        for c, key in named.items()
        if c in predictors
    ]
    return named, problems


def control_outcomes(
    path: Path, frame: pl.DataFrame, outcome: pl.DataFrame, config: Config, controls: Controls
) -> tuple[pl.DataFrame, list[str]]:
    """Contract `NegativeControls`, and what is wrong with it.

    Whoever does not meet the condition counts as censored at the end of follow-up: the event of the endpoint is no more
    than the end of being watched.

    Parameters
    ----------
    path
        Clinical table, for messages.
    frame
        Its rows, all columns.
    outcome
        Contract `Outcome`.
    config, controls
        As in `control_columns`.
    """
    rows, problems = [], []
    ids = frame[config.data.patient_id]
    for name, control in controls.items():
        key = f"treatments.{name}.negative_control"
        met, texts = judge(frame, control.event, f"{key}.event", path)
        problems += texts
        if met is None:
            continue
        if control.time is None:
            times = pl.DataFrame({"patient_id": ids}).join(outcome, on="patient_id", how="left", maintain_order="left")
            time = times["time_months"]
        elif not frame[control.time].dtype.is_numeric():
            problems.append(
                f"`{key}.time`: {path}, column `{control.time}` holds no number. Suggestion: is it the right column?"
            )
            continue
        else:
            time = frame[control.time].cast(pl.Float64) * config.endpoint.months_per_unit
            if wrong := ids.filter((time < 0).fill_null(False) | time.is_infinite().fill_null(False)).to_list():
                problems.append(
                    f"`{key}.time`: {path}, column `{control.time}` is negative or infinite for {len(wrong)} patients"
                    f" ({some_ids(wrong, config.audit.ids_in_messages)}). Suggestion: check the dates it came from"
                )
                continue
        if not met.any():
            problems.append(
                TooFew(
                    f"`{key}.event`: {path}, condition `{control.event}` is met by nobody. Suggestion: check the values"
                    " it names, or remove the negative control"
                )
            )
        elif control.time is None and times.filter((times["event"] == 1) != met).is_empty():
            problems.append(
                TooFew(
                    f"`{key}.event`: {path}, condition `{control.event}` is the event `{config.endpoint.event}` "
                    "itself. Suggestion: name something that the treatment cannot change"
                )
            )
        usable = (time > 0).fill_null(False)
        rows.append(
            pl.DataFrame(
                {"patient_id": ids, "treatment": name, "time_months": time, "event": met.cast(pl.Int64)}
            ).filter(usable)
        )
    table = pl.concat(rows) if rows else from_rows([], NegativeControls)
    return table, problems
