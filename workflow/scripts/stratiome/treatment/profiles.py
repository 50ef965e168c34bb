"""Survival under both arms for patients like a profile of the config: rows of tables.

Each arm has a Cox model of the confounders. What the profile gives is set in every eligible patient, the rest stays as
it is, and the predicted curves are averaged (standardisation; Robins 1986).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from stratiome.config import TreatmentConfig
from stratiome.strategies import Given, StrategyError, profile_value
from stratiome.survival.curves import at_risk, events_by
from stratiome.survival.design import ClinicalDesign, ColumnType, column_type
from stratiome.survival.interval import ENOUGH_DRAWS, percentile_ends
from stratiome.treatment.averages import Settings
from stratiome.treatment.effect import normal_claim, too_few, undetermined
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.standardise import arm_models, standardised
from stratiome.treatment.weight import TRIM, PropensityModel, fit_propensity

Row = dict[str, Any]
INSIDE = 0.9
"""Share of those averaged over who must have a propensity within `TRIM` to `1 - TRIM`."""
NEAR = 0.5
"""Standard deviations up to which a patient's number counts as like the profile's."""


def profile_rows(
    name: str,
    treatment: TreatmentConfig,
    sample: Sample,
    clinical: pl.DataFrame,
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[list[Row], list[Row]]:
    """Rows of `TreatmentProfiles` and `TreatmentProfileEffects`; a profile that cannot be shown has no curves.

    Parameters
    ----------
    name, treatment
        Key and settings of the treatment.
    sample
        All eligible patients.
    clinical
        All patients, eligible or not, whose classes a profile may name.
    settings
        What all comparisons share.
    rng
        Source of the draws.

    Raises
    ------
    TreatmentError
        If a profile gives a text for a number, or a class that nobody has.
    """
    if not treatment.profiles:
        return [], []
    profiles = {
        key: {
            c: _value(name, key, c, v, clinical[c], settings.types.get(c) or column_type(clinical[c]))
            for c, v in profile.items()
        }
        for key, profile in treatment.profiles.items()
    }
    design = ClinicalDesign.fit(
        sample.clinical, treatment.confounders, settings.types, np.ones(len(sample), dtype=bool)
    )
    x = design.transform(sample.clinical)
    reason, model = too_few(sample), None
    if sample.other is not None:
        reason = "other causes compete, and curves of one cause alone would be of nobody"
    if not reason:
        try:
            model = fit_propensity(x, sample.treated)
        except TreatmentError as error:
            reason = str(error).split(" Suggestion")[0].rstrip(".")
    shown: dict[str, _Rows] = {}
    hidden: dict[str, str] = {}
    propensity: dict[str, float] = {}
    for key, profile in profiles.items():
        why = reason or _outside(sample.clinical, profile, design)
        rows = design.transform(_like(sample.clinical, profile))
        if model is not None:
            propensity[key], unlikely = _propensity(model, rows)
            why = why or unlikely
        if why:
            hidden[key] = why
        else:
            shown[key] = _Rows.of(rows)
    curves, effects = _estimate(sample, x, shown, settings, rng) if shown else ({}, {})
    made, claims = [], []
    for key, profile in profiles.items():
        base = {
            "treatment": name,
            "profile": key,
            "n": len(sample),
            "events": int(sample.event.sum()),
            "held_out": False,
            "propensity": propensity.get(key),
            "n_like": int(_alike(sample.clinical, profile).sum()),
        }
        for i, (estimand, time) in enumerate(settings.question.contrasts):
            row: Row = base | {"estimand": estimand, "horizon_months": time}
            row |= dict.fromkeys(("estimate", "lower", "upper", "p_value"))
            why = hidden.get(key, "") or undetermined(sample, time)
            row["method"] = f"not estimable: {why}" if why else _method(effects[key].usable)
            if not why:
                row |= normal_claim(effects[key].estimate[i], effects[key].error[i], settings.evaluation.level)
            claims.append(row)
        if key in shown:
            made += [{"treatment": name, "profile": key, **row} for row in _curve_rows(sample, curves[key], settings)]
    return made, claims


def _method(usable: int) -> str:
    interval = (
        f"normal interval from {usable} bootstrap samples of patients with the models fitted anew"
        if usable
        else "too few bootstrap samples estimable for an interval"
    )
    return (
        "Cox models of survival in each arm, with the values of the profile set in every eligible patient, averaged;"
        f" {interval}"
    )


def _value(name: str, profile: str, column: str, given: Given, series: pl.Series, kind: ColumnType) -> float | str:
    """A value of a profile as the column has it."""
    try:
        return profile_value(given, series, kind)
    except StrategyError as error:
        raise TreatmentError(f"`treatments.{name}.profiles.{profile}.{column}`: {error}") from None


def _like(clinical: pl.DataFrame, profile: dict[str, float | str]) -> pl.DataFrame:
    return clinical.with_columns(**{c: pl.lit(v) for c, v in profile.items()})


def _outside(clinical: pl.DataFrame, profile: dict[str, float | str], design: ClinicalDesign) -> str:
    """Why no eligible patient is like this, or ""."""
    rare = {t.column: t.joined for t in design.terms}
    for column, value in profile.items():
        if isinstance(value, str):
            if value in rare.get(column, ()) or not (clinical[column].cast(pl.String) == value).any():
                return f"too few eligible patients have {column} {value}"
            continue
        known = clinical[column].cast(pl.Float64).drop_nulls().to_numpy()
        if not known.min(initial=np.inf) <= value <= known.max(initial=-np.inf):
            return f"{column} {value:g} is outside the range of the eligible patients"
    return ""


def _propensity(model: PropensityModel, rows: np.ndarray) -> tuple[float, str]:
    """Mean probability of treatment of those averaged over, and why it does not allow a comparison, or ""."""
    probability = model.predict(rows)
    mean = float(probability.mean())
    if ((probability >= TRIM) & (probability <= 1.0 - TRIM)).mean() >= INSIDE:
        return mean, ""
    which = "hardly any of such patients is treated" if mean < 0.5 else "nearly all of such patients are treated"
    return mean, f"{which}, propensity outside {TRIM:g} to {1 - TRIM:g}"


def _alike(clinical: pl.DataFrame, profile: dict[str, float | str]) -> np.ndarray:
    found = np.ones(clinical.height, dtype=bool)
    for column, value in profile.items():
        if isinstance(value, str):
            found &= (clinical[column].cast(pl.String) == value).fill_null(False).to_numpy()
        else:
            x = clinical[column].cast(pl.Float64).to_numpy().astype(np.float64)
            found &= np.abs(x - value) <= NEAR * np.nanstd(x)
    return found


@dataclass(frozen=True)
class _Rows:
    """Distinct rows of a design, and which of them each patient is: they are few where a profile gives much."""

    x: np.ndarray
    which: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> _Rows:
        distinct, which = np.unique(x, axis=0, return_inverse=True)
        return cls(distinct, which.ravel())

    def weights(self, counts: np.ndarray) -> np.ndarray:
        return np.bincount(self.which, counts, minlength=len(self.x))


@dataclass(frozen=True)
class _Effect:
    """Contrasts with their bootstrap errors, NaN without enough draws, and the number of draws used."""

    estimate: np.ndarray
    error: np.ndarray
    usable: int


@dataclass(frozen=True)
class _Curves:
    """Shape `(2, n_times)` each; arm 0 is untreated."""

    survival: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def _estimate(
    sample: Sample, x: np.ndarray, shown: dict[str, _Rows], settings: Settings, rng: np.random.Generator
) -> tuple[dict[str, _Curves], dict[str, _Effect]]:
    """Curves and contrasts of each profile; draws are the same for all."""
    n, draws = len(sample), settings.evaluation.bootstraps
    point = _predict(sample, x, shown, np.ones(n), settings)
    drawn = []
    for _ in range(draws):
        counts = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        if all((counts[arm] * sample.event[arm]).sum() > 0 for arm in (sample.treated, ~sample.treated)):
            drawn.append(_predict(sample, x, shown, counts, settings))
    enough = len(drawn) >= max(ENOUGH_DRAWS * draws, 2)
    curves, effects = {}, {}
    for key in shown:
        survival, contrasts = point[key]
        bands, error = np.stack([survival] * 2), np.full(len(contrasts), np.nan)
        if enough:
            bands = percentile_ends(np.stack([d[key][0] for d in drawn]), settings.evaluation.level)
            error = np.std([d[key][1] for d in drawn], axis=0, ddof=1)
        lower, upper = np.minimum(bands[0], survival), np.maximum(bands[1], survival)
        curves[key] = _Curves(survival, lower, upper)
        effects[key] = _Effect(contrasts, error, len(drawn) if enough else 0)
    return curves, effects


def _predict(
    sample: Sample, x: np.ndarray, shown: dict[str, _Rows], counts: np.ndarray, settings: Settings
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Curves by arm on the grid, and contrasts as `Question.contrasts`, of each profile in one draw."""
    question = settings.question
    models = arm_models(x, sample, counts)
    times = np.concatenate([question.grid, question.horizons])
    found = {}
    for key, rows in shown.items():
        arms = [standardised(m, rows.x, rows.weights(counts), times, question.tau) for m in models]
        survival = np.stack([a.survival for a in arms])
        contrasts = [arms[1].restricted - arms[0].restricted, *(survival[1] - survival[0])[len(question.grid) :]]
        found[key] = (np.clip(survival[:, : len(question.grid)], 0.0, 1.0), np.array(contrasts))
    return found


def _curve_rows(sample: Sample, curves: _Curves, settings: Settings) -> list[Row]:
    grid, rows = settings.question.grid, []
    for arm in (0, 1):
        here = sample.treated == bool(arm)
        counted = at_risk(sample.time[here], grid), events_by(sample.time[here], sample.event[here], grid)
        values = zip(grid, curves.survival[arm], curves.lower[arm], curves.upper[arm], *counted, strict=True)
        rows += [
            {
                "arm": arm,
                "time_months": float(t),
                "survival": float(s),
                "lower": float(lo),
                "upper": float(up),
                "at_risk": int(k),
                "events": int(d),
            }
            for t, s, lo, up, k, d in values
        ]
    return rows
