"""Simulators of METHODS §5 for conformal lower bounds, the method, and wrong ones that must fail.

Survival times are simulated, so coverage is counted, not estimated. Base and censoring models are Cox models; the
calibration patients are the training patients with out-of-fold curves, as in the workflow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from stratiome.prognosis.conformal import ConformalLevel, calibrate, coverage, curve_at, lower_bounds, risk_quarters
from stratiome.survival.censoring import censoring_curve
from stratiome.survival.censoring_model import fit_censoring
from stratiome.survival.cox import fit_cox

ALPHA = 0.1
LOWEST, HIGHEST = 0.890, 0.920
"""Bounds of the mean coverage of the 90 % bound."""

GRID = np.linspace(0.0, 120.0, 61)
FOLDS = 5


@dataclass(frozen=True)
class Simulator:
    """How patients fail and leave, and what the base model sees.

    Attributes
    ----------
    hazard, censoring
        Log hazard ratios for failing and for being censored of a normal covariate and of being one of the sick, three
        in ten patients.
    follow_up
        Mean months to censoring of a patient with zeros.
    seen
        Covariates that the base model sees; the censoring model sees both.
    """

    hazard: tuple[float, float]
    censoring: tuple[float, float]
    follow_up: float
    seen: tuple[int, ...]


SIMULATORS = {
    # The base model is right, and censoring has nothing to do with patients.
    "easy": Simulator((0.7, 1.0), (0.0, 0.0), 60.0, (0, 1)),
    # The base model does not see who is sick, and the sick are censored early.
    "hard": Simulator((0.7, 3.0), (0.0, 2.5), 60.0, (0,)),
    # The base model is right, the sick are censored early: a wrong model of censoring should do no harm.
    "right base": Simulator((0.7, 3.0), (0.0, 2.5), 60.0, (0, 1)),
}


@dataclass(frozen=True)
class Patients:
    """Outcome, survival curves and probabilities of not being censored, by models that have not seen the patients."""

    time: np.ndarray
    event: np.ndarray
    survival: np.ndarray
    uncensored: np.ndarray


@dataclass(frozen=True)
class Replicate:
    """One simulated cohort: what the level is learned from, and new patients with true survival times and risks."""

    calibration: Patients
    new: Patients
    true_time: np.ndarray
    true_risk: np.ndarray


def draw(simulator: Simulator, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariates, Weibull survival times (shape 2) and exponential censoring times in months."""
    x = np.column_stack([rng.normal(size=n), rng.random(n) < 0.3])
    failed = 60.0 * np.sqrt(rng.exponential(size=n) * np.exp(-x @ simulator.hazard))
    return x, failed, simulator.follow_up * rng.exponential(size=n) * np.exp(-x @ simulator.censoring)


def replicate(simulator: Simulator, seed: int, n: int = 1000, folds: int = FOLDS) -> Replicate:
    """Simulate n training and n new patients and fit the models."""
    rng = np.random.default_rng([seed, 55])
    x, failed, left = draw(simulator, n, rng)
    time, event, seen = np.minimum(failed, left), failed <= left, list(simulator.seen)
    survival, uncensored = np.ones((n, len(GRID))), np.ones((n, len(GRID)))
    fold = rng.permutation(n) % folds
    for k in range(folds):
        out, train = fold == k, fold != k
        survival[out] = fit_cox(x[train][:, seen], time[train], event[train]).survival(x[out][:, seen], GRID)
        uncensored[out] = fit_censoring(x[train], time[train], event[train]).uncensored(x[out], GRID)
    new, true_time, new_left = draw(simulator, n, rng)
    held_out = Patients(
        np.minimum(true_time, new_left),
        true_time <= new_left,
        fit_cox(x[:, seen], time, event).survival(new[:, seen], GRID),
        fit_censoring(x, time, event).uncensored(new, GRID),
    )
    return Replicate(Patients(time, event, survival, uncensored), held_out, true_time, new @ simulator.hazard)


# --- methods, right and wrong ----------------------------------------------------------------------------------------

Method = Callable[[Patients], tuple[float, float]]
"""Level and limit in months of the bounds."""


def _found(made: ConformalLevel) -> tuple[float, float]:
    return made.level, made.limit


def ours(given: Patients) -> tuple[float, float]:
    """The method as it is."""
    return _found(calibrate(given.time, given.event, given.survival, given.uncensored, GRID, ALPHA))


def no_conformal(given: Patients) -> tuple[float, float]:
    """Mutant: the model's own quantile."""
    return ALPHA, np.inf


def _all_known(given: Patients, rows: np.ndarray) -> tuple[float, float]:
    time, n = given.time[rows], int(rows.sum())
    known = calibrate(time, np.ones(n, bool), given.survival[rows], np.ones((n, len(GRID))), GRID, ALPHA)
    return _found(known)


def events_only(given: Patients) -> tuple[float, float]:
    """Mutant: split conformal prediction on patients with an event."""
    return _all_known(given, given.event)


def time_as_event(given: Patients) -> tuple[float, float]:
    """Mutant: a censoring counts as an event."""
    return _all_known(given, np.ones(len(given.time), dtype=bool))


def unweighted(given: Patients) -> tuple[float, float]:
    """Mutant: patients whose status at their bound is known count once, others not at all."""
    score = 1.0 - curve_at(given.survival, GRID, given.time)
    level = 0.0
    for candidate in np.sort(score[given.event]):
        known = given.event | (score >= candidate)
        if (np.sum(known & (score < candidate)) + 1) / (known.sum() + 1) > ALPHA:
            break
        level = float(candidate)
    return level, np.inf


def same_censoring_for_all(given: Patients) -> tuple[float, float]:
    """Mutant: the Kaplan-Meier curve of censoring where censoring depends on covariates."""
    curve = censoring_curve(given.time, given.event).at(GRID, left=True)
    return ours(replace(given, uncensored=np.repeat(curve, len(given.time), axis=0)))


def wrong_censoring(given: Patients) -> tuple[float, float]:
    """The method with a model that says that nobody is censored: right only where the survival model is."""
    return ours(replace(given, uncensored=np.ones_like(given.uncensored)))


def wrong_censoring_no_augmentation(given: Patients) -> tuple[float, float]:
    """Mutant: as `wrong_censoring`, but with the first term of the estimate only."""
    score = 1.0 - curve_at(given.survival, GRID, given.time)
    level = 0.0
    for candidate in np.sort(score[given.event]):
        if (np.sum(given.event & (score < candidate)) + 1) / (len(score) + 1) > ALPHA:
            break
        level = float(candidate)
    return level, np.inf


GATES: dict[str, tuple[Method, ...]] = {
    "easy": (ours, no_conformal, unweighted, events_only, time_as_event),
    "hard": (ours, no_conformal, unweighted, events_only, time_as_event, same_censoring_for_all),
    "right base": (ours, wrong_censoring, wrong_censoring_no_augmentation),
}
RIGHT = {*((name, "ours") for name in GATES), ("right base", "wrong_censoring")}
"""Simulator and method whose mean coverage must be within bounds; every other method must be outside somewhere."""


# --- coverage --------------------------------------------------------------------------------------------------------


class Shares(NamedTuple):
    """Shares of new patients who outlive their bound, counted and as estimated from follow-up, and median bound."""

    everyone: float
    estimated: float
    predicted_sickest: float
    truly_sickest: float
    median_bound: float


def shares(method: Method, made: Replicate) -> Shares:
    """Coverage of all and of the sickest quarters, by the base model's risk and by the true one."""
    new = made.new
    bound = lower_bounds(new.survival, GRID, *method(made.calibration))
    covered = made.true_time >= bound
    predicted = risk_quarters(1.0 - new.survival[:, len(GRID) // 2]) == 4
    true = risk_quarters(made.true_risk) == 4
    uncensored = curve_at(new.uncensored, GRID, np.minimum(new.time, bound))
    estimated = coverage(new.time, new.event, bound, uncensored=uncensored)[0].covered[0]
    everyone, sickest, truly = (float(covered[rows].mean()) for rows in (slice(None), predicted, true))
    return Shares(everyone, float(estimated), sickest, truly, float(np.median(bound)))
