"""Effects on restricted mean survival as differences of what models of survival predict under each arm.

Where other causes compete, models are cause-specific, one of the event and one of other causes, and months are those
free of the event (`incidence.mean_free`): a model of the event alone tells of a world in which nobody fails otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stratiome.survival.competing import absolute_risk
from stratiome.survival.cox import CoxError, CoxModel, with_baseline
from stratiome.survival.cox_path import stratified_folds
from stratiome.survival.forest import grow_forest
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.incidence import mean_free
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
        Of the untreated and of the treated, of the event.
    plain
        Whether the model of each has no columns, since none could be fitted.
    other
        The same of other causes; None without competing risks. Without columns where none could be fitted.
    """

    models: tuple[CoxModel, CoxModel]
    plain: tuple[bool, bool]
    other: tuple[CoxModel, CoxModel] | None = None

    def effect(self, x: np.ndarray, tau: float) -> np.ndarray:
        """Treated less untreated, months, shape `(n_patients,)`."""
        other = self.other or (None, None)
        return mean_free(self.models[1], other[1], x, tau) - mean_free(self.models[0], other[0], x, tau)


def fit_arm_cox(x: np.ndarray, sample: Sample, rng: np.random.Generator) -> ArmCox:
    """Elastic-net Cox model of each arm, of each cause; where there is none, a baseline alone.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    sample
        Training patients.
    rng
        Source of inner folds.
    """
    models, plain = _of_arms(x, sample, sample.event, rng)
    other = None if sample.other is None else _of_arms(x, sample, sample.other, rng)[0]
    return ArmCox(models, plain, other)


def _of_arms(
    x: np.ndarray, sample: Sample, failed: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[CoxModel, CoxModel], tuple[bool, bool]]:
    """Models of the hazard of one cause, and whether they have no columns."""
    models, plain = [], []
    for arm in (~sample.treated, sample.treated):
        own, time, event = x[arm], sample.time[arm], failed[arm]
        try:
            models.append(fit_penalised(own, time, event, stratified_folds(event, _FOLDS, rng)))
            plain.append(False)
        except CoxError:
            models.append(with_baseline(own, time, event, np.zeros(x.shape[1])))
            plain.append(True)
    return (models[0], models[1]), (plain[0], plain[1])


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

    def columns(values: np.ndarray, treated: np.ndarray) -> np.ndarray:
        own, code = (values - centre) / scale, treated[:, None] - 0.5
        return np.column_stack([code, own, 2.0 * code * own])

    seen = columns(x, sample.treated.astype(np.float64))
    try:
        event = _with_interactions(seen, sample.time, sample.event, rng)
    except CoxError as error:
        raise TreatmentError(str(error)) from error
    other = None if sample.other is None else _rivals(seen, sample.time, sample.other, sample.treated, rng)
    months = [mean_free(event, other, columns(new, np.full(len(new), arm)), tau) for arm in (0.0, 1.0)]
    return months[1] - months[0]


def _with_interactions(columns: np.ndarray, time: np.ndarray, event: np.ndarray, rng: np.random.Generator) -> CoxModel:
    """Model of one cause; columns are treatment, covariates, and their products."""
    fold, p = stratified_folds(event, _FOLDS, rng), (columns.shape[1] - 1) // 2
    code, z, products = columns[:, :1], columns[:, 1 : p + 1], columns[:, p + 1 :]
    main = fit_penalised(columns[:, : p + 1], time, event, fold, np.arange(p + 1) == 0).coefficients[1:]
    model = fit_penalised(np.column_stack([code, z @ main, products]), time, event, fold, np.arange(p + 2) < 2)
    b = model.coefficients
    return replace(model, coefficients=np.concatenate([b[:1], b[1] * main, b[2:]]), centre=columns.mean(axis=0))


def _rivals(
    columns: np.ndarray, time: np.ndarray, other: np.ndarray, treated: np.ndarray, rng: np.random.Generator
) -> CoxModel:
    """Model of other causes with interactions; where there is none, a baseline alone."""
    try:
        if min(other[treated].sum(), other[~treated].sum()) < 2:  # treatment has no penalty
            raise CoxError("fewer than two failures of another cause in an arm")
        return _with_interactions(columns, time, other, rng)
    except CoxError:
        return with_baseline(columns, time, other, np.zeros(columns.shape[1]))


def forest_effects(x: np.ndarray, sample: Sample, new: np.ndarray, tau: float, seed: int) -> np.ndarray:
    """Random survival forests of each arm, difference in restricted mean survival, shape `(n_new,)`.

    Where other causes compete there is one of each cause, combined as other cause-specific models are.

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
        try:
            free = _grown(x[arm], sample.time[arm], sample.event[arm], new, grid, seed)
        except CoxError as error:
            raise TreatmentError(str(error)) from error
        if sample.other is not None and (sample.other & (sample.time <= tau))[arm].any():
            rival = _grown(x[arm], sample.time[arm], sample.other[arm], new, grid, seed)
            free = 1.0 - absolute_risk(free, rival)[0]
        months.append(np.trapezoid(free, grid, axis=1))
    return months[1] - months[0]


def _grown(
    x: np.ndarray, time: np.ndarray, failed: np.ndarray, new: np.ndarray, grid: np.ndarray, seed: int
) -> np.ndarray:
    """Cause-specific survival of new patients by a forest of one arm, shape `(n_new, n_times)`."""
    everybody = np.ones(len(x), dtype=bool)
    return grow_forest(x, time, failed, everybody, grid, trees=TREES, seed=seed).survival(new)
