"""What each block of data adds to a fitted model, given the others: loss when it is exchanged among patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.prognosis.evaluate import Problem, draw_weights, enough
from stratiome.prognosis.metrics import brier
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.interval import percentile_interval


@dataclass(frozen=True)
class Exchanged:
    """Predictions of one model for held-out patients, as they are and with one block exchanged.

    Attributes
    ----------
    rows
        Shape `(n_held_out,)`, positions in the table of patients with an outcome.
    fold
        Shape `(n_held_out,)`, which resample predicted the patient.
    risk
        Shape `(n_held_out,)`, log partial hazard.
    survival
        Shape `(n_held_out,)`, probability of being event-free at the horizon.
    other_risk, other_survival
        Shape `(n_draws, n_held_out)`, the same with the block exchanged.
    """

    rows: np.ndarray
    fold: np.ndarray
    risk: np.ndarray
    survival: np.ndarray
    other_risk: np.ndarray
    other_survival: np.ndarray


@dataclass(frozen=True)
class Loss:
    """Loss of one metric, positive = worse without the block; None where not estimable."""

    metric: str
    horizon: float | None
    estimate: float | None
    lower: float | None
    upper: float | None
    n: int
    events: int


def losses(
    problem: Problem,
    given: Exchanged,
    horizon: float,
    *,
    by_site: bool,
    bootstraps: int,
    level: float,
    rng: np.random.Generator,
) -> list[Loss]:
    """Loss of Uno's C and of the Brier score at a horizon, mean over exchanges, on held-out patients.

    Interval by patients drawn with replacement, the model and the exchanges kept: it holds the chance of who was held
    out, not that of training.

    Parameters
    ----------
    problem
        Outcome and times.
    given
        Predictions.
    horizon
        Months of the Brier score.
    by_site
        Whether each fold has its own censoring distribution.
    bootstraps, level
        Draws and level of intervals.
    rng
        Source of the draws.
    """
    time, event = problem.time[given.rows], problem.event[given.rows]
    n, events = len(time), int(event.sum())
    if not enough(problem, given.rows):
        return [Loss(m, h, None, None, None, n, events) for m, h in (("uno_c", None), ("brier", horizon))]
    weights = np.concatenate([np.ones((1, n)), *draw_weights(np.arange(n), n, bootstraps, rng)])
    others = problem.others(given.rows)
    sample = Sample.make(time, event, competing=others, fold=given.fold, weights=weights, censoring_by_fold=by_site)
    c = uno_c(sample, given.risk, problem.tau) - _mean([uno_c(sample, r, problem.tau) for r in given.other_risk])
    at = np.array([horizon])
    score = _mean([brier(sample, s[:, None], at)[:, 0] for s in given.other_survival])
    score = score - brier(sample, given.survival[:, None], at)[:, 0]
    found = []
    for metric, when, values in (("uno_c", None, c), ("brier", horizon, score)):
        known = bool(np.isfinite(values[0])) and (metric == "uno_c" or time.max(initial=0.0) >= horizon)
        ends = percentile_interval(values[1:], level) if known else (None, None)
        found.append(Loss(metric, when, float(values[0]) if known else None, *ends, n, events))
    return found


def _mean(parts: list[np.ndarray]) -> np.ndarray:
    return np.mean(parts, axis=0)
