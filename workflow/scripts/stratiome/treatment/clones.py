"""Strategies with a grace period from time zero on: copies of patients, censored where they deviate, and weighted.

Each patient is copied into both strategies, "start within the grace period" and "do not start within it", and a copy is
censored when the patient does what the strategy forbids. Copies that remain are weighted by the inverse probability of
remaining, given the confounders (Hernán et al. 2016; Hernán 2018; Maringe et al. 2020, Int J Epidemiol 49:1719). Time
zero is that of the endpoint, so nobody had to live for the treatment, and early deaths count, in both strategies.

Nothing here knows tables or configs: patients in, arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.censoring import StepCurve, survival_curve
from stratiome.survival.censoring_model import fit_censoring
from stratiome.survival.curves import area
from stratiome.survival.interval import ENOUGH_DRAWS
from stratiome.treatment.doubly_robust import MIN_PROPENSITY, MIN_UNCENSORED
from stratiome.treatment.effect import Question
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.weight import effective_sample_size, fit_logistic, independent_columns

_FEWEST = 2  # patients of an arm who are followed beyond the grace period, below which a draw tells nothing


@dataclass(frozen=True)
class Cohort:
    """Patients from time zero on, with their starts of treatment.

    Attributes
    ----------
    design
        Shape `(n_patients, n_columns)`, confounders at time zero.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    start
        Shape `(n_patients,)`, months from time zero to the start of treatment, infinite where there is none.
    grace
        Grace period in months.
    """

    design: np.ndarray
    time: np.ndarray
    event: np.ndarray
    start: np.ndarray
    grace: float

    @classmethod
    def of(cls, sample: Sample, start: np.ndarray, design: np.ndarray, grace: float) -> Cohort:
        """From patients from time zero on; arguments as the attributes."""
        return cls(design, sample.time, sample.event, start, grace)

    @property
    def started(self) -> np.ndarray:
        """Shape `(n_patients,)`, True where treatment started within the grace period, and while followed."""
        return self.start <= np.minimum(self.time, self.grace)

    @property
    def beyond(self) -> np.ndarray:
        """Shape `(n_patients,)`, True where followed beyond the grace period."""
        return self.time > self.grace

    def take(self, rows: np.ndarray) -> Cohort:
        """The patients at `rows`, which may name one more than once."""
        return Cohort(self.design[rows], self.time[rows], self.event[rows], self.start[rows], self.grace)


@dataclass(frozen=True)
class Strategies:
    """Contrasts of both strategies, started minus not started.

    Attributes
    ----------
    estimate
        Shape `(n_contrasts,)`.
    error
        Shape `(n_contrasts,)`, bootstrap standard errors; NaN without enough draws.
    effective
        Effective sample size beyond the grace period, both strategies together.
    draws
        Number of bootstrap samples behind the errors.
    note
        Models that are not the ones asked for, and probabilities of remaining that were raised, or "".
    """

    estimate: np.ndarray
    error: np.ndarray
    effective: float
    draws: int
    note: str


def compare_strategies(cohort: Cohort, question: Question, bootstraps: int, rng: np.random.Generator) -> Strategies:
    """Starting treatment within a grace period against not starting within it, from time zero on.

    Copies that are to start are censored at the end of the grace period where treatment has not started; of those
    followed so long, the ones who started have weight `1 / P(started | x, followed beyond the grace period)` from then
    on, from an unpenalised logistic regression. Those who had not started, and would have to at the last moment, are
    thus stood for by patients alike who had. Copies that are not to start are censored when treatment starts, with
    weight `1 / P(start >= t | x)` at t from a Cox model of the time to start, constant after the grace period. Survival
    is the weighted Kaplan-Meier estimate, whose weights change with time, and the interval is from samples of patients
    in which all models are fitted anew.

    Valid where, given the confounders at time zero, who starts when is as good as random among those alive, and loss to
    follow-up is unrelated to prognosis.

    Parameters
    ----------
    cohort
        Patients from time zero on.
    question
        Horizons and tau in months from time zero.
    bootstraps
        Samples of patients with replacement.
    rng
        Source of the samples.
    """
    estimate, effective, note = _contrasts(cohort, question)
    n = len(cohort.time)
    draws = [_contrasts(cohort.take(rng.integers(0, n, n)), question)[0] for _ in range(bootstraps)]
    found = np.array(draws).reshape(bootstraps, len(estimate))
    usable = np.isfinite(found).all(axis=1)
    enough = bootstraps > 1 and usable.mean() >= ENOUGH_DRAWS
    error = found[usable].std(axis=0, ddof=1) if enough else np.full(len(estimate), np.nan)
    return Strategies(estimate, error, effective, int(usable.sum()) if enough else 0, note)


def strategy_curves(cohort: Cohort) -> tuple[tuple[StepCurve, StepCurve], float, str]:
    """Survival under "do not start" and under "start", effective sample size beyond the grace period, and a note.

    Parameters
    ----------
    cohort
        Patients from time zero on; both strategies have patients beyond the grace period.

    Raises
    ------
    TreatmentError
        If the model of starting treatment did not converge.
    """
    beyond, started = cohort.beyond, cohort.started
    untreated, kept, note = _not_started(cohort)
    begun = _started(cohort)
    curves, effective, raised = [], 0.0, 0
    early = np.minimum(cohort.time, cohort.grace)
    before = survival_curve(early, cohort.event & ~beyond)
    for first, own, remaining, least in (
        (untreated, beyond & ~started, kept, MIN_UNCENSORED),
        ((before.times, before.values[0, 1:]), beyond & started, begun, MIN_PROPENSITY),
    ):
        weights = 1.0 / np.maximum(remaining[own], least)
        raised += int((remaining[own] < least).sum())
        later = survival_curve(cohort.time[own], cohort.event[own], weights)
        curves.append(_joined(first, later, cohort.grace))
        effective += effective_sample_size(weights)
    if raised:
        low = (
            f"probabilities of remaining of {raised} copies followed beyond the grace period raised to"
            f" {MIN_UNCENSORED:g} (not started) or {MIN_PROPENSITY:g} (started): patients who nearly always do"
            " otherwise count too little"
        )
        note = f"{note}; {low}" if note else low
    return (curves[0], curves[1]), effective, note


def _contrasts(cohort: Cohort, question: Question) -> tuple[np.ndarray, float, str]:
    """Started minus not started at tau and the horizons; NaN where a strategy has nobody beyond the grace period."""
    nothing = np.full(len(question.contrasts), np.nan)
    here = cohort.started[cohort.beyond]
    if min(here.sum(), (~here).sum()) < _FEWEST:
        return nothing, 0.0, "fewer than two patients of a strategy are followed beyond the grace period"
    try:
        (untreated, treated), effective, note = strategy_curves(cohort)
    except TreatmentError as error:
        return nothing, 0.0, str(error)
    horizons = np.asarray(question.horizons)
    at = treated.at(horizons)[0] - untreated.at(horizons)[0]
    return np.concatenate([area(treated, question.tau) - area(untreated, question.tau), at]), effective, note


def _started(cohort: Cohort) -> np.ndarray:
    """Probability of having started of those followed beyond the grace period, 1 of others, shape `(n_patients,)`."""
    here = cohort.beyond
    x, started = cohort.design[here], cohort.started[here]
    matrix = np.column_stack([np.ones(len(x)), x[:, independent_columns(x)]])
    fit = fit_logistic(matrix, started, np.ones((1, len(x))))
    if not fit.settled[0]:
        raise TreatmentError("the logistic regression of starting treatment did not converge")
    probability = np.ones(len(here))
    probability[here] = fit.probability[0]
    return probability


def _not_started(cohort: Cohort) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, str]:
    """Survival within the grace period of copies that are not to start, their probability of remaining, and a note.

    Within it, `S(t) = prod_{s <= t} (1 - sum_i w_i(s) dN_i(s) / sum_i w_i(s) Y_i(s))`, `w_i(s) = 1 / P(start >= s | x)`
    (Robins & Finkelstein 2000): a start that ties an event comes after it.
    """
    started = cohort.started
    # Who is followed beyond the grace period could have started at its very end.
    end = np.nextafter(cohort.grace, np.inf)
    until = np.where(started, cohort.start, np.where(cohort.beyond, end, cohort.time))
    died = cohort.event & ~started & ~cohort.beyond
    # The start is what censors here, and all else ends the time to it.
    model = fit_censoring(cohort.design, until, ~started)
    steps = np.unique(until[died])
    weights = 1.0 / np.maximum(model.uncensored(cohort.design, steps), MIN_UNCENSORED)
    weights *= until[:, None] >= steps
    deaths = (weights * (died[:, None] & (until[:, None] == steps))).sum(axis=0)
    survival = np.cumprod(1.0 - deaths / weights.sum(axis=0)) if len(steps) else np.zeros(0)
    return (steps, survival), model.uncensored(cohort.design, np.array([end]))[:, 0], model.note


def _joined(first: tuple[np.ndarray, np.ndarray], later: StepCurve, grace: float) -> StepCurve:
    """A curve up to the end of the grace period, and one of those followed beyond it, as one."""
    times, values = first
    inside, after = times <= grace, later.times > grace
    last = values[inside][-1] if inside.any() else 1.0
    values = np.concatenate([[1.0], values[inside], last * later.values[0, 1:][after]])
    return StepCurve(np.concatenate([times[inside], later.times[after]]), values[None])
