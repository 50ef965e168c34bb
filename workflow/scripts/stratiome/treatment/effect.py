"""Difference in survival and in restricted mean survival between two arms, crude and weighted, with bootstrap.

Nothing here knows tables or configs: patients in, arrays out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stratiome.survival.censoring import StepCurve, survival_curve
from stratiome.survival.competing import aalen_johansen
from stratiome.survival.curves import area, is_determined
from stratiome.survival.interval import ENOUGH_DRAWS, percentile_ends
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.weight import (
    PropensityModel,
    fit_logistic,
    fit_propensity,
    independent_columns,
    overlap_weights,
)

MIN_ARM = 20
"""Patients in an arm below which nothing is estimated."""
MIN_ARM_EVENTS = 5
"""Events in an arm below which nothing is estimated."""

_BATCH = 1_000_000  # elements of the weight matrix of one batch of draws
_LEAST_WEIGHT = 1e-6  # mean overlap weight of an arm below which a draw compares nobody


@dataclass(frozen=True)
class Question:
    """What is asked of every comparison.

    Attributes
    ----------
    horizons
        Times in months at which survival is compared.
    tau
        Upper limit of restricted mean survival, in months.
    grid
        Shape `(n_times,)`, months, times at which curves are kept.
    """

    horizons: tuple[float, ...]
    tau: float
    grid: np.ndarray

    @property
    def contrasts(self) -> list[tuple[str, float]]:
        """Estimand and its time, in the order of every array of contrasts."""
        return [("rmst_difference", self.tau), *(("survival_difference", h) for h in self.horizons)]


@dataclass(frozen=True)
class Curves:
    """Survival by arm and contrasts, treated minus untreated, of one or many draws.

    Attributes
    ----------
    survival
        Shape `(n_draws, 2, n_times)`; arm 0 is untreated.
    contrasts
        Shape `(n_draws, n_contrasts)`, in months or probability; NaN where an arm has no weight.
    """

    survival: np.ndarray
    contrasts: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Estimates under one weighting with their bootstrap draws.

    Attributes
    ----------
    weights
        Shape `(n_patients,)`.
    estimate
        Shape `(n_contrasts,)`, treated minus untreated; NaN where not estimable.
    reasons
        Length `n_contrasts`, why an estimate is NaN, or "".
    draws
        Shape `(n_usable_draws, n_contrasts)`; empty where too many draws could not be estimated.
    survival, lower, upper
        Shape `(2, n_times)`, curves by arm with pointwise percentile bands.
    """

    weights: np.ndarray
    estimate: np.ndarray
    reasons: tuple[str, ...]
    draws: np.ndarray
    survival: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Bootstrap standard error of each contrast, shape `(n_contrasts,)`; NaN without enough draws."""
        if len(self.draws) < 2:
            return np.full(len(self.estimate), np.nan)
        return self.draws.std(axis=0, ddof=1)


def too_few(sample: Sample) -> str:
    """Why a comparison is not made, or "". No count is named, as the text may be printed."""
    for arm in (sample.treated, ~sample.treated):
        if arm.sum() < MIN_ARM:
            return f"fewer than {MIN_ARM} patients in an arm"
        if sample.event[arm].sum() < MIN_ARM_EVENTS:
            return f"fewer than {MIN_ARM_EVENTS} events in an arm"
    return ""


def curves(sample: Sample, weights: np.ndarray, question: Question) -> Curves:
    """Weighted curves by arm, their values at the horizons, and the areas under them up to tau.

    Where other causes compete, a curve is one minus the Aalen-Johansen cumulative incidence of the event, and its area
    the mean time free of the event (tau less the time lost to it; Andersen 2013, Stat Med 32:5278).

    Parameters
    ----------
    sample
        Patients.
    weights
        Shape `(n_draws, n_patients)`, not negative.
    question
        Horizons, tau and grid.
    """
    horizons = np.asarray(question.horizons)
    survival, at, means = [], [], []
    for arm in (~sample.treated, sample.treated):
        share = weights[:, arm]
        curve = event_free(sample, arm, share)
        survival.append(curve.at(question.grid))
        nobody = ~(share.sum(axis=1) > 0)
        at.append(np.where(nobody[:, None], np.nan, curve.at(horizons)))
        means.append(np.where(nobody, np.nan, area(curve, question.tau)))
    contrasts = np.column_stack([means[1] - means[0], at[1] - at[0]])
    return Curves(np.stack(survival, axis=1), contrasts)


def event_free(sample: Sample, rows: np.ndarray, weights: np.ndarray) -> StepCurve:
    """Probability of being free of the event: Kaplan-Meier, or one minus Aalen-Johansen where other causes compete.

    Parameters
    ----------
    sample
        Patients.
    rows
        Shape `(n_patients,)`, True = counts.
    weights
        Shape `(n_draws, n_rows)`, not negative.
    """
    if sample.other is None:
        return survival_curve(sample.time[rows], sample.event[rows], weights)
    found = aalen_johansen(sample.time[rows], sample.cause[rows], weights, causes=2)
    return StepCurve(found.times, np.clip(1.0 - found.incidence[:, 0], 0.0, 1.0))


def curve_name(sample: Sample) -> str:
    """What `event_free` is, to be printed."""
    return "Kaplan-Meier" if sample.other is None else "one minus Aalen-Johansen cumulative incidence"


def compare_crude(
    sample: Sample, question: Question, bootstraps: int, level: float, rng: np.random.Generator
) -> Comparison:
    """Unweighted comparison of the arms.

    Parameters
    ----------
    sample
        Patients; both arms present.
    question
        What is asked.
    bootstraps
        Draws of patients with replacement.
    level
        Level of the bands.
    rng
        Source of the draws.
    """
    parts = [curves(sample, counts, question) for counts in _draws(len(sample), bootstraps, rng)]
    return _comparison(sample, np.ones(len(sample)), question, parts, level)


def compare_weighted(
    sample: Sample,
    design: np.ndarray,
    model: PropensityModel,
    question: Question,
    bootstraps: int,
    level: float,
    rng: np.random.Generator,
    weigh: Callable[[np.ndarray, np.ndarray], np.ndarray] = overlap_weights,
) -> Comparison:
    """Comparison with weights of the propensity, by default overlap weights; it is estimated anew in each draw.

    With overlap weights the estimand is the effect in patients in proportion to `e (1 - e)` (Li, Morgan & Zaslavsky
    2018); the curves are weighted Kaplan-Meier curves (Mao, Li, Yang & Shen 2018). Valid where treatment is as good as
    random given the design, and censoring is independent within each arm.

    Parameters
    ----------
    sample
        Patients.
    design
        Shape `(n_patients, n_columns)`, confounders.
    model
        Propensity fitted on the same patients.
    question, bootstraps, level, rng
        As `compare_crude`.
    weigh
        Treated, shape `(n_patients,)`, and propensity, shape `(..., n_patients)` -> weights.
    """
    weights = weigh(sample.treated, model.probability)
    if not model.comparable.all():
        weights = np.where(model.comparable, weights, 0.0)
    # Where covariates determine treatment in the sample they do so in every draw of it: such patients never count.
    rows = np.flatnonzero(model.comparable)
    inner, treated = sample.take(model.comparable), sample.treated[rows]
    matrix = design[rows][:, independent_columns(design[rows])]
    matrix = np.column_stack([np.ones(len(rows)), matrix])
    start = fit_logistic(matrix, treated, np.ones((1, len(rows)))).coefficients[0]
    parts = []
    for counts in _draws(len(sample), bootstraps, rng):
        drawn = counts[:, rows]
        fit = fit_logistic(matrix, treated, drawn, start)
        share = drawn * weigh(treated, fit.probability)
        thin = np.minimum(share[:, treated].mean(axis=1), share[:, ~treated].mean(axis=1)) < _LEAST_WEIGHT
        parts.append(curves(inner, np.where((fit.settled & ~thin)[:, None], share, 0.0), question))
    return _comparison(sample, weights, question, parts, level)


def compare_headline(
    sample: Sample,
    design: np.ndarray,
    randomised: bool,
    question: Question,
    bootstraps: int,
    level: float,
    rng: np.random.Generator,
) -> tuple[Comparison | None, str]:
    """The comparison that an answer rests on: unweighted where assignment was by chance, else with overlap weights.

    Parameters
    ----------
    sample, design
        Patients and their confounders, shape `(n_patients, n_columns)`.
    randomised
        Whether assignment was by chance.
    question, bootstraps, level, rng
        As `compare_crude`.

    Returns
    -------
    tuple
        The comparison, or None, and why it is not made, or "".
    """
    if why := too_few(sample):
        return None, why
    if randomised:
        return compare_crude(sample, question, bootstraps, level, rng), ""
    try:
        model = fit_propensity(design, sample.treated)
    except TreatmentError as error:
        return None, str(error).split(" Suggestion")[0].rstrip(".")
    if why := too_few(sample.take(model.comparable)):
        return None, why
    return compare_weighted(sample, design, model, question, bootstraps, level, rng), ""


def _draws(n: int, bootstraps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each patient is drawn, in batches of shape `(n_draws, n)`."""
    size = max(1, _BATCH // n)
    for begin in range(0, bootstraps, size):
        rows = min(size, bootstraps - begin)
        picked = rng.integers(0, n, size=(rows, n)) + np.arange(rows)[:, None] * n
        yield np.bincount(picked.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def _comparison(
    sample: Sample, weights: np.ndarray, question: Question, parts: list[Curves], level: float
) -> Comparison:
    counted = sample.take(weights > 0)
    point = curves(counted, weights[weights > 0][None], question)
    reasons = tuple(undetermined(counted, time) for _, time in question.contrasts)
    estimate = np.where([bool(r) for r in reasons], np.nan, point.contrasts[0])
    draws = np.concatenate([p.contrasts for p in parts])
    survival = np.concatenate([p.survival for p in parts])
    usable = np.isfinite(draws).all(axis=1)
    enough = usable.mean() >= ENOUGH_DRAWS
    bands = percentile_ends(survival[usable], level) if enough else np.stack([point.survival[0]] * 2)
    # The estimate lies within its own band, also where the draws hardly vary.
    lower, upper = np.minimum(bands[0], point.survival[0]), np.maximum(bands[1], point.survival[0])
    return Comparison(
        weights, estimate, reasons, draws[usable if enough else slice(0)], point.survival[0], lower, upper
    )


def normal_claim(estimate: float, error: float, level: float) -> dict[str, float | None]:
    """Estimate with its normal interval and two-sided p-value; neither without a standard error."""
    from scipy.stats import norm

    found: dict[str, float | None] = {"estimate": float(estimate), "lower": None, "upper": None, "p_value": None}
    if error > 0:
        z = float(norm.ppf(0.5 + level / 2))
        found |= {"lower": float(estimate - z * error), "upper": float(estimate + z * error)}
        found["p_value"] = float(2 * norm.sf(abs(estimate) / error))
    return found


def undetermined(sample: Sample, until: float) -> str:
    """Why survival of an arm is not known up to a time in months, or ""."""
    for arm in (sample.treated, ~sample.treated):
        if not is_determined(sample.time[arm], sample.ended[arm], until):
            return f"follow-up of an arm ends before {until:g} months"
    return ""
