"""The survival models of one resample, each learned on its training patients and applied to everyone.

Order of ambition: `kaplan_meier` gives everyone the same curve, `clinical` is the yardstick, `clinical_omics` and
`clinical_latent` add molecular data to the same clinical columns. A model that cannot be fitted falls back to the
next simpler one and says so in its note; predictions are never missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from stratiome.prognosis.elastic_net import fit_elastic_net
from stratiome.survival.censoring import survival_curve
from stratiome.survival.cox import CoxError, CoxModel, fit_cox
from stratiome.survival.outcome import OutcomeError
from stratiome.tables import NOT_FITTED

MODELS = ("kaplan_meier", "clinical", "clinical_omics", "clinical_latent")
"""Models by name, the simplest first."""

MIN_LEVEL = 5
"""Training patients who must lack, and who must have, an omic for its absence to be a column."""

_NORMAL_975 = 1.959963984540054
_ENOUGH_EVENTS = 10  # events per coefficient below which the note warns


@dataclass(frozen=True)
class Omic:
    """One omic as a matrix.

    Attributes
    ----------
    name
        Name of the omic.
    values
        Shape `(n_patients, n_features)`, NaN where missing; whole rows are NaN where the patient lacks the omic.
    features
        Feature names, length `n_features`.
    """

    name: str
    values: np.ndarray
    features: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """Everything the models see, rows in one order.

    Attributes
    ----------
    train
        Shape `(n_patients,)`, True for training patients with an outcome; only these rows are learned from.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed; read in training rows only.
    clinical
        Shape `(n_patients, n_clinical)`, finite.
    clinical_names
        Names of its columns.
    omics
        Omics in the order of the config.
    latents
        Shape `(n_patients, n_latent)`, NaN rows where a patient has no omic.
    n_omics
        Shape `(n_patients,)`, number of omics each patient has.
    """

    train: np.ndarray
    time: np.ndarray
    event: np.ndarray
    clinical: np.ndarray
    clinical_names: tuple[str, ...]
    omics: tuple[Omic, ...]
    latents: np.ndarray
    n_omics: np.ndarray


@dataclass(frozen=True)
class Coefficient:
    """One coefficient: log hazard ratio (positive = higher hazard), 95 % Wald limits, None where penalised."""

    feature: str
    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Fit:
    """One model after fitting.

    Attributes
    ----------
    model
        Name of the model.
    risk
        Shape `(n_patients,)`, log partial hazard of every patient; higher = worse.
    survival
        Shape `(n_patients, n_times)`, 1 at time 0, not increasing.
    coefficients
        All clinical coefficients and those of other columns that are not zero.
    note
        How it was fitted and what it fell back to.
    plain
        False where a penalty was needed for convergence, or predictions are those of a simpler model.
    stand_in
        That simpler model; None where this one was fitted.
    """

    model: str
    risk: np.ndarray
    survival: np.ndarray
    coefficients: tuple[Coefficient, ...]
    note: str
    plain: bool = True
    stand_in: str | None = None

    @property
    def parameters(self) -> int:
        """Number of coefficients that are not zero."""
        return sum(c.value != 0.0 for c in self.coefficients)


@dataclass(frozen=True)
class _Columns:
    """A standardised matrix of all patients with the names of its columns."""

    x: np.ndarray
    names: tuple[str, ...]


def fit_models(
    inputs: Inputs,
    grid: np.ndarray,
    *,
    l1_ratio: float,
    inner_folds: int,
    min_events: int,
    rng: np.random.Generator,
) -> tuple[Fit, ...]:
    """Fit every model of `MODELS`.

    Parameters
    ----------
    inputs
        Patients, roles, outcome and predictors.
    grid
        Shape `(n_times,)`, months at which survival is predicted, starting at 0.
    l1_ratio, inner_folds
        Of the elastic net.
    min_events
        Training events below which only the Kaplan-Meier curve is fitted.
    rng
        Source of the inner folds.

    Raises
    ------
    OutcomeError
        If no training patient has an outcome.
    """
    if not inputs.train.any():
        raise OutcomeError("no training patient has an outcome. Suggestion: check the endpoint columns and the split")
    null = _kaplan_meier(inputs, grid)
    events = int(inputs.event[inputs.train].sum())
    if events < min_events:
        reason = f"{NOT_FITTED}fewer than {min_events} training events (`prognosis.min_events`)"
        return (null, *(_fall_back(null, model, reason) for model in MODELS[1:]))
    clinical = _guard("clinical", null, lambda: _clinical(inputs, null, grid))
    omics = _guard(
        "clinical_omics",
        clinical,
        lambda: _clinical_omics(inputs, clinical, grid, l1_ratio=l1_ratio, inner_folds=inner_folds, rng=rng),
    )
    latent = _guard("clinical_latent", clinical, lambda: _clinical_latent(inputs, clinical, grid))
    return null, clinical, omics, latent


def _kaplan_meier(inputs: Inputs, grid: np.ndarray) -> Fit:
    curve = survival_curve(inputs.time[inputs.train], inputs.event[inputs.train]).at(grid)
    n = len(inputs.train)
    return Fit("kaplan_meier", np.zeros(n), np.repeat(curve, n, axis=0), (), "the same curve for every patient")


def _fall_back(simpler: Fit, model: str, reason: str) -> Fit:
    used = simpler.stand_in or simpler.model
    return replace(simpler, model=model, note=f"{reason}; predictions are those of {used}", plain=False, stand_in=used)


def _guard(model: str, simpler: Fit, fit: Callable[[], Fit]) -> Fit:
    try:
        return fit()
    except CoxError as error:
        return _fall_back(simpler, model, f"{NOT_FITTED}{error}")


def _clinical(inputs: Inputs, null: Fit, grid: np.ndarray) -> Fit:
    if not inputs.clinical_names:
        return _fall_back(null, "clinical", "no covariates vary in training, or none are configured (`covariates`)")
    return _cox("clinical", _Columns(inputs.clinical, inputs.clinical_names), inputs, grid, "Cox, Efron ties")


def _clinical_latent(inputs: Inputs, clinical: Fit, grid: np.ndarray) -> Fit:
    names = tuple(f"latent {j + 1}" for j in range(inputs.latents.shape[1]))
    latent = _standardise(inputs.latents, names, inputs.train)
    if not latent.names:
        return _fall_back(clinical, "clinical_latent", "no latent dimension varies in training")
    parts = [_Columns(inputs.clinical, inputs.clinical_names), latent]
    lacking = (inputs.n_omics < max(len(inputs.omics), 1)).astype(np.float64)
    if _varies(lacking, inputs.train):
        parts.append(_standardise(lacking[:, None], ("omics: any missing",), inputs.train))
    dropped = len(names) - len(latent.names)
    note = "Cox, Efron ties" + (f"; {dropped} latent dimensions constant in training left out" if dropped else "")
    return _cox("clinical_latent", _joined(parts), inputs, grid, note)


def _cox(model: str, columns: _Columns, inputs: Inputs, grid: np.ndarray, note: str) -> Fit:
    train = inputs.train
    fitted = fit_cox(columns.x[train], inputs.time[train], inputs.event[train])
    aliased = [columns.names[j] for j in fitted.aliased]
    notes = [
        note,
        fitted.note,
        f"left out as linear combinations of others: {', '.join(aliased)}" if aliased else "",
        _sparse_note(inputs, len(columns.names) - len(aliased)),
    ]
    return Fit(
        model,
        fitted.risk(columns.x),
        fitted.survival(columns.x, grid),
        tuple(c for j, c in enumerate(_coefficients(fitted, columns.names)) if j not in fitted.aliased),
        "; ".join(n for n in notes if n),
        plain=fitted.standard_errors is not None,
    )


def _sparse_note(inputs: Inputs, parameters: int) -> str:
    ratio = int(inputs.event[inputs.train].sum()) / parameters
    return f"only {ratio:.1f} events per coefficient" if ratio < _ENOUGH_EVENTS else ""


def _clinical_omics(
    inputs: Inputs, clinical: Fit, grid: np.ndarray, *, l1_ratio: float, inner_folds: int, rng: np.random.Generator
) -> Fit:
    train = inputs.train
    omics = _joined([part for omic in inputs.omics for part in _omic_columns(omic, train)])
    if not omics.names:
        return _fall_back(clinical, "clinical_omics", "no omics feature varies in training")
    # A clinical model that needed a penalty would run away unpenalised here too.
    clinical_free = clinical.plain
    estimated = [c.feature for c in clinical.coefficients] if clinical_free else list(inputs.clinical_names)
    used = [j for j, name in enumerate(inputs.clinical_names) if name in estimated]
    names = tuple(inputs.clinical_names[j] for j in used)
    yardstick = _standardise(inputs.clinical[:, used], names, train, keep_scale=clinical_free)
    columns = _joined([yardstick, omics])
    penalised = np.arange(len(columns.names)) >= (len(yardstick.names) if clinical_free else 0)
    net = fit_elastic_net(
        columns.x[train],
        inputs.time[train],
        inputs.event[train],
        penalised,
        l1_ratio=l1_ratio,
        inner_folds=inner_folds,
        rng=rng,
    )
    chosen = int((net.model.coefficients[len(yardstick.names) :] != 0).sum())
    notes = [
        f"elastic-net Cox, Breslow ties, penalty {net.penalty:.4g} by {net.folds}-fold cross-validated partial "
        f"likelihood in training; {chosen} of {len(omics.names)} omics columns chosen",
        "" if clinical_free or not yardstick.names else "clinical columns penalised too, as the plain fit failed",
        "smallest penalty of the path chosen" if net.at_end else "",
    ]
    kept = [
        c for j, c in enumerate(_coefficients(net.model, columns.names)) if j < len(yardstick.names) or c.value != 0.0
    ]
    return Fit(
        "clinical_omics",
        net.model.risk(columns.x),
        net.model.survival(columns.x, grid),
        tuple(kept),
        "; ".join(n for n in notes if n),
    )


def _omic_columns(omic: Omic, train: np.ndarray) -> list[_Columns]:
    names = tuple(f"{omic.name}: {feature}" for feature in omic.features)
    parts = [_standardise(omic.values, names, train)]
    missing = (~np.isfinite(omic.values).any(axis=1)).astype(np.float64)
    if _varies(missing, train):
        parts.append(_standardise(missing[:, None], (f"{omic.name}: missing",), train))
    return parts


def _varies(flag: np.ndarray, train: np.ndarray) -> bool:
    n = int(flag[train].sum())
    return MIN_LEVEL <= n <= int(train.sum()) - MIN_LEVEL


def _standardise(
    values: np.ndarray, names: tuple[str, ...], train: np.ndarray, *, keep_scale: bool = False
) -> _Columns:
    """Mean 0 and SD 1 in the training rows, missing values at the training mean, constant columns left out."""
    values = np.asarray(values, dtype=np.float64)
    rows = values[train]
    known = np.isfinite(rows)
    count = known.sum(axis=0)
    centre = np.where(known, rows, 0.0).sum(axis=0) / np.maximum(count, 1)
    scale = np.where(known, rows - centre, 0.0).std(axis=0)
    kept = np.flatnonzero(scale > 1e-8 * np.maximum(1.0, np.abs(centre)))
    if keep_scale:
        scale = np.ones_like(scale)
    x = (values[:, kept] - centre[kept]) / scale[kept]
    x[~np.isfinite(x)] = 0.0
    return _Columns(x, tuple(names[j] for j in kept))


def _joined(parts: list[_Columns]) -> _Columns:
    if not parts:
        return _Columns(np.zeros((0, 0)), ())
    return _Columns(np.column_stack([p.x for p in parts]), tuple(name for p in parts for name in p.names))


def _coefficients(model: CoxModel, names: tuple[str, ...]) -> list[Coefficient]:
    if model.standard_errors is None:
        return [Coefficient(n, float(b), None, None) for n, b in zip(names, model.coefficients, strict=True)]
    made = []
    for name, value, error in zip(names, model.coefficients, model.standard_errors, strict=True):
        half = _NORMAL_975 * float(error)
        limits = (float(value) - half, float(value) + half) if np.isfinite(half) else (None, None)
        made.append(Coefficient(name, float(value), *limits))
    return made
