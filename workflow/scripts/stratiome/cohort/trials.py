"""Treatments that the clinical table does not allow to compare, told before anything is fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from stratiome.cohort.condition import judge
from stratiome.cohort.errors import TooFew, some_of
from stratiome.config import Config, TreatmentConfig
from stratiome.strategies import (
    Received,
    StrategyError,
    check_measured,
    judged,
    profile_value,
    received,
    start_months,
)


def check_comparisons(
    path: Path, frame: pl.DataFrame, outcome: pl.DataFrame, config: Config
) -> tuple[list[str], tuple[str, ...]]:
    """Treatments for which nobody could be compared with anybody, or whose times cannot be; and notes on times.

    Parameters
    ----------
    path
        The clinical table, for messages.
    frame
        One row per patient, columns in their final types.
    outcome
        Contract `Outcome`.
    config
        The config.
    """
    problems: list[str] = []
    notes: list[str] = []
    followed = outcome.select(pl.col("patient_id").alias(config.data.patient_id), followed="time_months")
    for name, treatment in config.treatments.items():
        eligible = frame
        if treatment.eligible is not None:
            met, texts = judge(frame, treatment.eligible, f"treatments.{name}.eligible", path)
            if met is None:
                problems += texts
                continue
            eligible = frame.filter(met)
        compared = eligible.join(followed, on=config.data.patient_id, how="inner", maintain_order="left")
        try:
            found = received(compared.drop("followed"), treatment)
        except StrategyError as error:
            problems.append(f"`treatments.{name}.{'arms' if treatment.arms else 'column'}`: {path}, {error}")
            continue
        problems += _check_arms(path, name, treatment, compared, found)
        known = found.treated.is_not_null()
        texts, doubts = _check_times(path, name, treatment, compared.filter(known), found.treated.drop_nulls(), config)
        problems += texts
        notes += doubts
    return problems, tuple(notes)


def _check_arms(
    path: Path, name: str, treatment: TreatmentConfig, compared: pl.DataFrame, found: Received
) -> list[str]:
    """That nobody is in one of the two arms."""
    if found.treated.drop_nulls().n_unique() > 1:
        return []
    key = f"`treatments.{name}.{'arms' if treatment.arms else 'column'}`: {path}"
    if treatment.eligible is not None:
        key = f"`treatments.{name}.eligible`: {path}, condition `{treatment.eligible}`"
    both = "treated and untreated ones" if treatment.column else f"{treatment.compared} and {treatment.control}"
    asked = {a: c for a, c in treatment.arms.items() if a.replace("_", " ") in (treatment.compared, treatment.control)}
    empty = [f"`{arm}: {c}`" for arm, c in asked.items() if not judged(compared, c).fill_null(False).any()]
    which = f"`arms`: nobody meets {' or '.join(empty)}" if empty else f"column `{', '.join(treatment.columns)}`"
    return [
        TooFew(
            f"{key}: among {compared.height} eligible patients with an outcome there are not both {both} ({which}). "
            f"Suggestion: widen the condition{'s' if treatment.arms else ''}, or check "
            f"{'their' if empty else 'its'} values"
        )
    ]


def _check_times(
    path: Path,
    name: str,
    treatment: TreatmentConfig,
    compared: pl.DataFrame,
    treated: pl.Series,
    config: Config,
) -> tuple[list[str], list[str]]:
    """Starts that contradict the treatment or follow-up, and confounders measured after it; and notes."""
    key = "start"
    try:
        start = None
        if treatment.start is not None:
            start = start_months(compared, treatment, treated.to_numpy() == 1.0)
        key = "measured"
        check_measured(compared, treatment, start)
    except StrategyError as error:
        return [f"`treatments.{name}.{key}`: {path}, {error}"], []
    if start is None or config.endpoint.response is not None or compared.is_empty():
        return [], []
    return _check_starts(path, name, treatment, start, compared["followed"].to_numpy())


def _check_starts(
    path: Path, name: str, treatment: TreatmentConfig, start: np.ndarray, followed: np.ndarray
) -> tuple[list[str], list[str]]:
    """Starts after the end of follow-up and a landmark that nobody reaches; months, shape `(n_patients,)` each."""
    where = f"`treatments.{name}.start`: {path}, column `{treatment.start}`"
    given = int(np.isfinite(start).sum())
    late = int((np.isfinite(start) & (start > followed + 1e-6)).sum())
    if 2 * late > given:
        return [
            f"{where}: more than half of the starts lie after the end of follow-up of their patient when read as "
            f"{treatment.unit}. Suggestion: is `unit` right? Set `treatments.{name}.unit` to the unit of the column, "
            "and check `endpoint.unit`"
        ], []
    longest, landmark = float(followed.max()), treatment.landmark_months
    if landmark is not None and landmark >= longest:
        return [
            TooFew(
                f"`treatments.{name}.landmark`: {landmark:g} months lie beyond the longest follow-up of the compared "
                f"patients, {longest:.1f} months ({path}). Suggestion: choose an earlier landmark, or check "
                f"`treatments.{name}.unit`"
            )
        ], []
    note = (
        f"treatment `{name}`: {some_of(late, 'starts')} in column `{treatment.start}` lie after the end of follow-up of"
        " their patient, who counts as not started while followed; check the times"
    )
    return [], [note] * bool(late)


def check_profiles(frame: pl.DataFrame, config: Config) -> list[str]:
    """Values of profiles that are of no patient, all together.

    Parameters
    ----------
    frame
        One row per patient, columns in their final types.
    config
        The config.
    """
    problems = []
    for name, treatment in config.treatments.items():
        for profile, values in treatment.profiles.items():
            for column, given in values.items():
                key = f"`treatments.{name}.profiles.{profile}.{column}`"
                if column not in frame.columns:
                    problems.append(f"{key}: known only after time zero. Suggestion: remove it from the profile")
                    continue
                series = frame[column]
                numeric = series.dtype.is_numeric() or series.dtype == pl.Boolean
                kind = config.data.types.get(column) or ("numeric" if numeric else "categorical")
                try:
                    profile_value(given, series, kind)
                except StrategyError as error:
                    problems.append(TooFew(f"{key}: {error}"))
    return problems
