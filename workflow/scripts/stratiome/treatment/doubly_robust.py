"""Doubly robust effects of treatment on survival: cross-fitted augmented inverse probability weighting.

Right if the model of survival is, or if those of treatment and of censoring are. With competing risks "survival" is one
minus the cumulative incidence of the event. Nothing here knows tables or configs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stratiome.survival.censoring_model import CensoringModel, fit_censoring
from stratiome.survival.cox import CoxModel, fit_or_marginal
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.incidence import incidence_scores
from stratiome.treatment.weight import TRIM, fit_propensity

MIN_UNCENSORED = 0.05
"""Probability of being uncensored to which smaller ones are raised."""
MIN_PROPENSITY = 0.01
"""Probability of the arm received to which smaller ones are raised; patients below 0.05 are outside `trimmed`."""
POPULATIONS = ("all", "trimmed", "overlap")
"""Patients an effect is an average over: everybody, those who could have had either, or in proportion to e(1 - e)."""

_MAX_HAZARD = 500.0


@dataclass(frozen=True)
class Nuisance:
    """Models of one training set.

    Attributes
    ----------
    propensity
        Design -> probability of treatment.
    survival, censoring
        Of the untreated and of the treated; with competing risks `survival` is of the hazard of the event.
    other
        Of the hazard of other causes; None without competing risks.
    """

    propensity: Callable[[np.ndarray], np.ndarray]
    survival: tuple[CoxModel, CoxModel]
    censoring: tuple[CensoringModel, CensoringModel]
    other: tuple[CoxModel, CoxModel] | None = None


@dataclass(frozen=True)
class Scores:
    """Contributions of patients, whose means estimate survival under each arm.

    Attributes
    ----------
    survival
        Shape `(2, n_patients, n_horizons)`; arm 0 is untreated.
    restricted
        Shape `(2, n_patients)`, months up to tau.
    predicted_survival, predicted_restricted
        The same, as the model of survival alone predicts.
    propensity
        Shape `(n_patients,)`, held out.
    truncated
        Number of patients with a probability of their arm, or of being uncensored, that was raised.
    """

    survival: np.ndarray
    restricted: np.ndarray
    predicted_survival: np.ndarray
    predicted_restricted: np.ndarray
    propensity: np.ndarray
    truncated: int

    @property
    def contrasts(self) -> np.ndarray:
        """Treated less untreated, RMST first, shape `(n_patients, 1 + n_horizons)`."""
        return np.column_stack([self.restricted[1] - self.restricted[0], self.survival[1] - self.survival[0]])

    @property
    def predicted(self) -> np.ndarray:
        """The same of the predictions."""
        months = self.predicted_restricted[1] - self.predicted_restricted[0]
        return np.column_stack([months, self.predicted_survival[1] - self.predicted_survival[0]])


def fit_nuisance(
    design: np.ndarray,
    sample: Sample,
    *,
    outcome: np.ndarray | None = None,
    censoring: np.ndarray | None = None,
) -> Nuisance:
    """Propensity by unpenalised logistic regression, and Cox models of survival and of censoring in each arm.

    Where treatment was given by chance the propensity is the share treated: no covariate can separate the arms then.

    Parameters
    ----------
    design
        Shape `(n_patients, n_columns)`, confounders; without columns all are marginal.
    sample
        Training patients; both arms present.
    outcome, censoring
        Other columns for the models of survival and of censoring; default `design`. What predicts needs the same.

    Raises
    ------
    TreatmentError
        If the confounders determine the treatment.
    """
    outcome = design if outcome is None else outcome
    censoring = design if censoring is None else censoring
    propensity = propensity_of(design, sample)
    survival, observed, other = [], [], []
    for arm in (~sample.treated, sample.treated):
        x, time = outcome[arm], sample.time[arm]
        survival.append(fit_or_marginal(x, time, sample.event[arm]))
        observed.append(fit_censoring(censoring[arm], time, sample.ended[arm]))
        if sample.other is not None:
            other.append(fit_or_marginal(x, time, sample.other[arm]))
    competing = (other[0], other[1]) if other else None
    return Nuisance(propensity, (survival[0], survival[1]), (observed[0], observed[1]), competing)


def propensity_of(design: np.ndarray, sample: Sample) -> Callable[[np.ndarray], np.ndarray]:
    """Confounders to probabilities of treatment; the share treated in a randomised design, or without columns.

    Parameters
    ----------
    design
        Shape `(n_patients, n_columns)`, confounders of the training patients.
    sample
        Training patients; both arms present.

    Raises
    ------
    TreatmentError
        If the confounders determine the treatment.
    """
    if sample.randomised or not design.shape[1]:
        share = float(sample.treated.mean())
        return lambda given: np.full(len(given), share)
    return fit_propensity(design, sample.treated).predict


def influence(
    nuisance: Nuisance,
    design: np.ndarray,
    sample: Sample,
    horizons: np.ndarray,
    tau: float,
    *,
    outcome: np.ndarray | None = None,
    censoring: np.ndarray | None = None,
) -> Scores:
    """Uncentred efficient influence functions of survival and restricted mean survival under each arm.

    For arm a, with `S`, `Lambda` of its survival model, `G` of its censoring model, `p` the probability of arm a:

    `S(t|x) [1 - 1{A = a} / p(x) (1{Y <= t, D = 1} / (S(Y|x) G(Y-|x)) - int_0^{min(t, Y)} dLambda(u|x) / (S(u|x)
    G(u-|x)))]`

    (Hubbard, van der Laan & Robins 2000; Westling, Luedtke, Gilbert & Carone 2024, J Am Stat Assoc 119:1541), and its
    integral over t from 0 to tau.

    Parameters
    ----------
    nuisance
        Models that have not seen these patients.
    design, sample
        Patients to judge.
    horizons
        Shape `(n_horizons,)`, months.
    tau
        Months.
    outcome, censoring
        As in `fit_nuisance`.
    """
    outcome = design if outcome is None else outcome
    censoring = design if censoring is None else censoring
    probability = nuisance.propensity(design)
    made, raised = [], np.zeros(len(sample), dtype=bool)
    for arm in (0, 1):
        here = sample.treated == bool(arm)
        of_arm = probability if arm else 1.0 - probability
        raised |= here & (of_arm < MIN_PROPENSITY)
        weight = here / np.maximum(of_arm, MIN_PROPENSITY)
        observed, model = nuisance.censoring[arm], nuisance.survival[arm]
        if nuisance.other is None:
            score, low = _of_arm(model, observed, outcome, censoring, sample, weight, horizons, tau)
        else:
            causes = (model, nuisance.other[arm])
            score, low = _with_other(causes, observed, outcome, censoring, sample, weight, horizons, tau)
        raised |= here & low
        made.append(score)
    survival, restricted, plain, plain_restricted = (np.stack(part) for part in zip(*made, strict=True))
    return Scores(survival, restricted, plain, plain_restricted, probability, int(raised.sum()))


def _of_arm(
    model: CoxModel,
    observed: CensoringModel,
    outcome: np.ndarray,
    censoring: np.ndarray,
    sample: Sample,
    weight: np.ndarray,
    horizons: np.ndarray,
    tau: float,
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    n, y = len(sample), sample.time
    steps = model.times
    relative = np.exp(np.clip(model.risk(outcome), -50.0, 50.0))
    total = np.minimum(np.outer(relative, np.concatenate([[0.0], model.cumulative_hazard])), _MAX_HAZARD)
    survival = np.exp(-total)  # column k: from the k-th step on, column 0 before the first
    known = np.maximum(observed.uncensored(censoring, steps), MIN_UNCENSORED)
    # Jumps 1 - S(u) / S(u-) belong to the curve as it is drawn: its product limit is exp(-Lambda).
    jump = -np.expm1(-np.diff(total, axis=1))
    paid = np.cumsum(np.where(steps <= y[:, None], jump / (survival[:, 1:] * known), 0.0), axis=1)
    paid = np.column_stack([np.zeros(n), paid])
    rows = np.arange(n)
    own = np.searchsorted(steps, y, side="right")
    at_end = _diagonal(observed, censoring, y)
    low = sample.event & (at_end < MIN_UNCENSORED) & (y <= max(tau, float(np.max(horizons, initial=0.0))))
    seen = np.where(sample.event, 1.0 / (survival[rows, own] * np.maximum(at_end, MIN_UNCENSORED)), 0.0)
    column = np.searchsorted(steps, horizons, side="right")
    plain = survival[:, column]
    martingale = np.where(y[:, None] <= horizons, seen[:, None], 0.0) - paid[:, column]
    score = plain * (1.0 - weight[:, None] * martingale)
    edges = np.concatenate([[0.0], np.minimum(steps, tau), [tau]])
    width = np.diff(edges)
    area = np.column_stack([np.zeros(n), np.cumsum(survival * width, axis=1)])
    whole = area[:, -1]
    until = np.minimum(y, tau)
    reached = area[rows, own] + survival[rows, own] * np.maximum(until - edges[own], 0.0)
    augmented = (survival * paid * width).sum(axis=1) - seen * (whole - reached)
    return (score, whole + weight * augmented, plain, whole), low


def _with_other(
    causes: tuple[CoxModel, CoxModel],
    observed: CensoringModel,
    outcome: np.ndarray,
    censoring: np.ndarray,
    sample: Sample,
    weight: np.ndarray,
    horizons: np.ndarray,
    tau: float,
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    steps = np.union1d(causes[0].times, causes[1].times)
    known = np.maximum(observed.uncensored(censoring, steps), MIN_UNCENSORED)
    at_end = _diagonal(observed, censoring, sample.time)
    low = sample.ended & (at_end < MIN_UNCENSORED) & (sample.time <= max(tau, float(np.max(horizons, initial=0.0))))
    end = np.maximum(at_end, MIN_UNCENSORED)
    found = incidence_scores(causes, outcome, sample.time, sample.cause, weight, known, end, horizons, tau)
    return (found.score, found.restricted, found.predicted, found.predicted_restricted), low


def _diagonal(observed: CensoringModel, x: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`G(t_i- | x_i)` of each patient at a time of his own."""
    distinct, which = np.unique(times, return_inverse=True)
    found = np.empty(len(times))
    for begin in range(0, len(times), 500):
        rows = slice(begin, begin + 500)
        found[rows] = observed.uncensored(x[rows], distinct)[np.arange(len(which[rows])), which[rows]]
    return found


def cross_fit(
    design: np.ndarray,
    sample: Sample,
    horizons: np.ndarray,
    tau: float,
    *,
    folds: int,
    rng: np.random.Generator,
    outcome: np.ndarray | None = None,
    censoring: np.ndarray | None = None,
) -> Scores:
    """Scores of all patients, each by models of the other folds (Chernozhukov et al. 2018).

    Folds are balanced by arm and event.

    Parameters
    ----------
    design, sample
        Patients; both arms present.
    horizons, tau
        Months.
    folds
        Number of folds.
    rng
        Source of the folds.
    outcome, censoring
        As in `fit_nuisance`.

    Raises
    ------
    TreatmentError
        If the confounders determine the treatment in a training set.
    """
    others = {"outcome": outcome, "censoring": censoring}
    fold = balanced_folds(sample, folds, rng)
    parts, order = [], []
    for k in range(folds):
        train, test = fold != k, fold == k
        taken = {name: None if x is None else x[train] for name, x in others.items()}
        held = {name: None if x is None else x[test] for name, x in others.items()}
        part = sample.take(train)
        if not (part.treated.any() and (~part.treated).any()):
            raise TreatmentError("a training set has one arm only. Suggestion: fewer folds")
        nuisance = fit_nuisance(design[train], part, **taken)
        parts.append(influence(nuisance, design[test], sample.take(test), horizons, tau, **held))
        order.append(np.flatnonzero(test))
    back = np.argsort(np.concatenate(order))
    survival, restricted, plain, plain_restricted = (
        np.concatenate([getattr(p, name) for p in parts], axis=1)[:, back]
        for name in ("survival", "restricted", "predicted_survival", "predicted_restricted")
    )
    probability = np.concatenate([p.propensity for p in parts])[back]
    return Scores(survival, restricted, plain, plain_restricted, probability, sum(p.truncated for p in parts))


def balanced_folds(sample: Sample, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each patient, shape `(n_patients,)`, balanced by arm and event."""
    fold = np.empty(len(sample), dtype=np.int64)
    stratum = sample.treated * 3 + sample.cause
    begin = 0
    for s in np.unique(stratum):
        rows = rng.permutation(np.flatnonzero(stratum == s))
        fold[rows] = (np.arange(len(rows)) + begin) % folds
        begin += len(rows)
    return fold


@dataclass(frozen=True)
class Effect:
    """Average effects over a population with standard errors, RMST first.

    Attributes
    ----------
    estimate, error
        Shape `(1 + n_horizons,)`.
    n
        Patients who count.
    influence
        Shape `(n_patients, 1 + n_horizons)`, centred influence functions over the mean weight.
    """

    estimate: np.ndarray
    error: np.ndarray
    n: int
    influence: np.ndarray


def average(scores: Scores, treated: np.ndarray, population: str) -> Effect:
    """Average effect over a population.

    `all`: the mean of the contrasts of the scores. `trimmed`: over patients with propensity within `TRIM` to
    `1 - TRIM`, taken as given (Crump et al. 2009). `overlap`: in proportion to `e (1 - e)`, with the contribution of
    not knowing e (Hirano, Imbens & Ridder 2003): this one needs the right propensity, as its very target is defined by
    it. Standard errors from influence functions.

    Parameters
    ----------
    scores
        From `cross_fit`.
    treated
        Shape `(n_patients,)`, True = treated.
    population
        One of `POPULATIONS`.
    """
    e, contrast = scores.propensity, scores.contrasts
    weight = {
        "all": np.ones(len(e)),
        "trimmed": ((e >= TRIM) & (e <= 1.0 - TRIM)).astype(np.float64),
        "overlap": e * (1.0 - e),
    }[population]
    mean = weight.mean()
    if not mean > 0:
        nothing = np.full(contrast.shape[1], np.nan)
        return Effect(nothing, nothing, 0, np.full_like(contrast, np.nan))
    estimate = (weight[:, None] * contrast).mean(axis=0) / mean
    centred = weight[:, None] * (contrast - estimate)
    if population == "overlap":
        move = ((1.0 - 2.0 * e) * (treated - e))[:, None] * (scores.predicted - estimate)
        estimate = estimate + move.mean(axis=0) / mean
        centred = weight[:, None] * (contrast - estimate) + move
    centred = centred / mean
    error = centred.std(axis=0, ddof=1) / np.sqrt(len(e))
    return Effect(estimate, error, int((weight > 0).sum()), centred)


def over_splits(effects: Sequence[Effect]) -> Effect:
    """Median of the estimates of several splits into folds, with their spread in the standard error.

    The variance is the median of `error^2 + (estimate - median)^2` (Chernozhukov et al. 2018, definition 3.3): in one
    split a training set may lack what a rare column needs, and such an estimate would stand for itself.

    Parameters
    ----------
    effects
        One for each split, of the same patients.
    """
    estimates = np.stack([e.estimate for e in effects])
    estimate = np.median(estimates, axis=0)
    variances = np.stack([e.error for e in effects]) ** 2 + (estimates - estimate) ** 2
    mean = np.mean([e.influence for e in effects], axis=0)
    return Effect(estimate, np.sqrt(np.median(variances, axis=0)), effects[0].n, mean)
