"""Lower bounds on survival time, learned from predictions of training patients by models that had not seen them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.prognosis.conformal import ConformalError, ConformalLevel, calibrate
from stratiome.prognosis.models import Fit, Inputs
from stratiome.survival.censoring_model import fit_censoring
from stratiome.survival.cox import CoxError
from stratiome.survival.cox_path import stratified_folds

BOUNDED = ("clinical", "stacked")
"""Models that give bounds: the yardstick and the one to apply."""


@dataclass(frozen=True)
class Bounds:
    """Lower bounds of one model.

    Attributes
    ----------
    model
        Name of the model.
    lower
        Shape `(n_patients,)`, months.
    note
        How they were learned.
    calibrated
        Level and limit that give bounds of other patients.
    """

    model: str
    lower: np.ndarray
    note: str
    calibrated: ConformalLevel


def learn_bounds(
    inputs: Inputs, fits: tuple[Fit, ...], grid: np.ndarray, *, share: float, folds: int, rng: np.random.Generator
) -> tuple[tuple[Bounds, ...], np.ndarray]:
    """Bounds of every patient, and the probability of being under observation that judges them.

    Training patients are the calibration patients: their curves are those that the models of other inner folds
    predicted, and so are their probabilities of being uncensored, by a Cox model of censoring on clinical columns.

    With competing risks there are no bounds: who dies of another cause has no time of failing of the event, and what it
    would have been in a world without other causes cannot be checked against what is observed. The probability of being
    under observation is the same all the same: failing of another cause is no censoring.

    Parameters
    ----------
    inputs
        Patients, roles, outcome and predictors.
    fits
        Models; those without held-in predictions, or for which another stands in, give no bounds.
    grid
        Shape `(n_times,)`, increasing months from 0.
    share
        Share of patients who should outlive their bound.
    folds
        Inner folds of the censoring model.
    rng
        Source of these folds.

    Returns
    -------
    tuple
        Bounds, and `P(C >= t | x)` of every patient by the censoring model of all training patients,
        `(n_patients, n_times)`.
    """
    train = np.flatnonzero(inputs.train)
    time, event, x = inputs.time[train], inputs.event[train], inputs.clinical
    ended = event if inputs.competing is None else event | inputs.competing[train]
    uncensored = fit_censoring(x[train], time, ended).uncensored(x, grid)
    if inputs.competing is not None:
        return (), uncensored
    held_in = np.empty((len(train), len(grid)))
    try:
        fold = stratified_folds(event, folds, rng)
    except CoxError:
        return (), uncensored
    for k in range(int(fold.max()) + 1):
        own, rest = fold == k, fold != k
        held_in[own] = fit_censoring(x[train][rest], time[rest], event[rest]).uncensored(x[train][own], grid)
    found = []
    for fit in fits:
        if fit.model not in BOUNDED or fit.held_in is None or fit.stand_in is not None:
            continue
        try:
            level = calibrate(time, event, fit.held_in, held_in, grid, 1.0 - share)
        except ConformalError:
            continue
        found.append(Bounds(fit.model, level.lower_bounds(fit.survival, grid), level.note, level))
    return tuple(found), uncensored
