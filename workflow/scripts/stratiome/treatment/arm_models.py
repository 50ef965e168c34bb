"""Effects on restricted mean survival as differences of what models of survival predict under each arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.cox import CoxError, CoxModel, with_baseline
from stratiome.survival.cox_path import stratified_folds
from stratiome.survival.forest import fit_forest
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.penalised import fit_penalised

TREES = 100
"""Trees of a forest of one arm."""
_FOLDS = 5  # that choose a penalty
_GRID = 41  # points of time up to tau at which a forest is read


@dataclass(frozen=True)
class ArmCox:
    """Penalised Cox models of the untreated and of the treated.

    Attributes
    ----------
    models
        Of the untreated and of the treated.
    plain
        Whether the model of each has no columns, since none could be fitted.
    """

    models: tuple[CoxModel, CoxModel]
    plain: tuple[bool, bool]

    def effect(self, x: np.ndarray, tau: float) -> np.ndarray:
        """Treated less untreated, months, shape `(n_patients,)`."""
        return self.models[1].restricted_mean(x, tau) - self.models[0].restricted_mean(x, tau)


def fit_arm_cox(x: np.ndarray, sample: Sample, rng: np.random.Generator) -> ArmCox:
    """Elastic-net Cox model of each arm; where there is none, a baseline alone.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    sample
        Training patients.
    rng
        Source of inner folds.
    """
    models, plain = [], []
    for arm in (~sample.treated, sample.treated):
        own, time, event = x[arm], sample.time[arm], sample.event[arm]
        try:
            models.append(fit_penalised(own, time, event, stratified_folds(event, _FOLDS, rng)))
            plain.append(False)
        except CoxError:
            models.append(with_baseline(own, time, event, np.zeros(x.shape[1])))
            plain.append(True)
    return ArmCox((models[0], models[1]), (plain[0], plain[1]))


def interaction_effects(
    x: np.ndarray, sample: Sample, new: np.ndarray, tau: float, rng: np.random.Generator
) -> np.ndarray:
    """One Cox model with treatment, prognosis, and penalised products of treatment and covariates; shape `(n_new,)`.

    Prognosis is the linear predictor of a penalised model of covariates and treatment; its coefficient and that of
    treatment are free, so that the penalty is that of the products alone. Treatment is coded -1/2, 1/2 (Tian, Alizadeh,
    Gentles & Tibshirani 2014, J Am Stat Assoc 109:1517). Models of each arm alone differ wherever their penalties do,
    and take that for an effect.

    Parameters
    ----------
    x, sample
        Training patients: shape `(n_patients, n_columns)`, finite.
    new
        Shape `(n_new, n_columns)`.
    tau
        Months.
    rng
        Source of inner folds.

    Raises
    ------
    TreatmentError
        If there is no such model.
    """
    centre, scale = x.mean(axis=0), np.where(x.std(axis=0) > 1e-9, x.std(axis=0), 1.0)
    time, event, z = sample.time, sample.event, (x - centre) / scale
    try:
        fold = stratified_folds(event, _FOLDS, rng)
        both = np.column_stack([sample.treated, z])
        main = fit_penalised(both, time, event, fold, np.arange(both.shape[1]) == 0).coefficients[1:]

        def columns(values: np.ndarray, arm: np.ndarray | float) -> np.ndarray:
            own = (values - centre) / scale
            code = np.broadcast_to(np.asarray(arm, dtype=np.float64) - 0.5, len(own))[:, None]
            return np.column_stack([code, own @ main, 2.0 * code * own])

        model = fit_penalised(columns(x, sample.treated), time, event, fold, np.arange(2 + x.shape[1]) < 2)
    except CoxError as error:
        raise TreatmentError(str(error)) from error
    return model.restricted_mean(columns(new, 1.0), tau) - model.restricted_mean(columns(new, 0.0), tau)


def forest_effects(x: np.ndarray, sample: Sample, new: np.ndarray, tau: float, seed: int) -> np.ndarray:
    """Random survival forests of each arm, difference in restricted mean survival, shape `(n_new,)`.

    Parameters
    ----------
    x, sample, new, tau
        As in `interaction_effects`.
    seed
        Seed of the forests.

    Raises
    ------
    TreatmentError
        If an arm has no event up to tau.
    """
    grid, months = np.linspace(0.0, tau, _GRID), []
    for arm in (~sample.treated, sample.treated):
        rows = np.concatenate([x[arm], new])
        train = np.arange(len(rows)) < arm.sum()
        time, event = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
        time[train], event[train] = sample.time[arm], sample.event[arm]
        try:
            survival = fit_forest(rows, time, event, train, grid, trees=TREES, seed=seed)[~train]
        except CoxError as error:
            raise TreatmentError(str(error)) from error
        months.append(np.trapezoid(survival, grid, axis=1))
    return months[1] - months[0]
