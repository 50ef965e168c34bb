"""The survival models of one resample, each learned on its training patients and applied to everyone.

Order of ambition: `kaplan_meier` gives everyone the same curve, `clinical` is the yardstick, `clinical_omics`,
`clinical_latent` and `clinical_factors` (those of MOFA+) add molecular data to the same clinical columns in a Cox
model, `forest` and `deep` see latents and clinical columns without proportional hazards (`clinical_forest` clinical
columns only, so that what a forest adds is not taken for what omics add), and `stacked` combines all. A model that
cannot be fitted falls back to a simpler one and says so in its note; predictions are never missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from stratiome.config import PrognosisConfig
from stratiome.prognosis.deep import fit_deep_hazard
from stratiome.prognosis.elastic_net import (
    ERRORS,
    REPEATS,
    ElasticNet,
    fit_elastic_net,
)
from stratiome.prognosis.expected import expected_part
from stratiome.prognosis.incidence import fit_other_causes
from stratiome.prognosis.predictor import (
    AbsolutePredictor,
    CoxPredictor,
    CurvePredictor,
    DeepPredictor,
    Expected,
    ForestPredictor,
    Part,
    Predictor,
    StackPredictor,
    columns_of,
    expected_score,
    mixed,
    raw,
)
from stratiome.prognosis.stack import stack_weights
from stratiome.survival.censoring import survival_curve
from stratiome.survival.cox import CoxError, CoxModel, fit_cox, with_baseline
from stratiome.survival.cox_path import stratified_folds
from stratiome.survival.forest import MIN_LEAF, grow_forest
from stratiome.survival.outcome import OutcomeError
from stratiome.tables import EVENTS_PER_COEFFICIENT, NOT_FITTED, PROGNOSIS_MODELS

MODELS = PROGNOSIS_MODELS

MIN_LEVEL = 5
"""Training patients who must lack, and who must have, an omic for its absence to be a column."""

FLEXIBLE = ("forest", "deep")
"""Models that learn any shape from latents: they need more events than Cox models (`prognosis.deep_min_events`)."""

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
    factors
        Shape `(n_patients, n_factors)`, MOFA+ factors, NaN rows where a patient has no omic; None where MOFA+ did not
        run.
    competing
        Shape `(n_patients,)`, True = failed of another cause (event False); read in training rows only. None where
        other causes are not told apart from censoring.
    """

    train: np.ndarray
    time: np.ndarray
    event: np.ndarray
    clinical: np.ndarray
    clinical_names: tuple[str, ...]
    omics: tuple[Omic, ...]
    latents: np.ndarray
    n_omics: np.ndarray
    factors: np.ndarray | None = None
    competing: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Inputs:
        """Some of the patients, by index, in that order."""
        optional: dict[str, Any] = {n: None if getattr(self, n) is None else getattr(self, n)[rows] for n in OPTIONAL}
        return replace(
            self,
            train=self.train[rows],
            time=self.time[rows],
            event=self.event[rows],
            clinical=self.clinical[rows],
            omics=tuple(Omic(o.name, o.values[rows], o.features) for o in self.omics),
            latents=self.latents[rows],
            n_omics=self.n_omics[rows],
            **optional,
        )


ANY_MISSING = "omics: any missing"
"""Column that flags patients who lack an omic."""

OPTIONAL = ("factors", "competing")
"""Fields of `Inputs` that may be None and else have a row per patient."""


@dataclass(frozen=True)
class Coefficient:
    """One coefficient: log hazard ratio (positive = higher hazard), 95 % Wald limits, None where penalised."""

    feature: str
    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Linear:
    """A proportional hazards model and the names of its columns."""

    model: CoxModel
    names: tuple[str, ...]


@dataclass(frozen=True)
class Fit:
    """One model after fitting.

    Attributes
    ----------
    model
        Name of the model.
    risk
        Shape `(n_patients,)`, log partial hazard of every patient; higher = worse. With competing risks it stays
        cause-specific, but for the stacked model, whose score is read from its curves.
    survival
        Shape `(n_patients, n_times)`, 1 at time 0, not increasing. With competing risks: the probability of not having
        failed of the event, one minus its cumulative incidence.
    coefficients
        All clinical coefficients and those of other columns that are not zero.
    note
        How it was fitted and what it fell back to.
    plain
        False where a penalty was needed for convergence, or predictions are those of a simpler model.
    stand_in
        That simpler model; None where this one was fitted.
    held_in
        Shape `(n_train, n_times)`, survival of each training patient predicted by the same kind of model fitted on the
        training patients of other inner folds; None where no model was stacked.
    predictor
        What gives these predictions, for any patients.
    linear
        The proportional hazards model behind it, of models on few columns; None for others.
    spread
        Shape `(n_patients, n_times)`, standard deviation of the predicted risk over the members of an ensemble; None
        where there is one member.
    """

    model: str
    risk: np.ndarray
    survival: np.ndarray
    coefficients: tuple[Coefficient, ...]
    note: str
    predictor: Predictor
    plain: bool = True
    stand_in: str | None = None
    held_in: np.ndarray | None = None
    linear: Linear | None = None
    spread: np.ndarray | None = None

    @property
    def parameters(self) -> int:
        """Number of coefficients that are not zero."""
        return sum(c.value != 0.0 for c in self.coefficients)


@dataclass(frozen=True)
class Columns:
    """A standardised matrix of all patients, and the parts that it was made of."""

    x: np.ndarray
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, inputs: Inputs, *parts: Part) -> Columns:
        """The columns of these parts."""
        return cls(columns_of(parts, inputs), parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(name for part in self.parts for name in part.names)


def fit_models(
    inputs: Inputs, grid: np.ndarray, settings: PrognosisConfig, *, tau: float, rng: np.random.Generator
) -> tuple[Fit, ...]:
    """Fit the models of `MODELS` that the settings name; the first two always.

    Parameters
    ----------
    inputs
        Patients, roles, outcome and predictors.
    grid
        Shape `(n_times,)`, months at which survival is predicted, starting at 0.
    settings
        Models, penalties, folds, trees.
    tau
        Months up to which the stacked model is judged in training.
    rng
        Source of inner folds, trees and starts.

    Raises
    ------
    OutcomeError
        If no training patient has an outcome.
    """
    if not inputs.train.any():
        raise OutcomeError("no training patient has an outcome. Suggestion: check the endpoint columns and the split")
    seed = int(rng.integers(2**31))
    wanted = [m for m in MODELS if m in ("kaplan_meier", "clinical", *settings.models)]
    if inputs.factors is None:
        wanted = [m for m in wanted if m != "clinical_factors"]
    events = int(inputs.event[inputs.train].sum())
    if events < settings.min_events:
        null = _kaplan_meier(inputs, grid)
        reason = f"{NOT_FITTED}fewer than {settings.min_events} training events (`prognosis.min_events`)"
        fallen = (null, *(_fall_back(null, model, reason) for model in wanted[1:]))
        return tuple(_absolute(inputs, grid, settings, {f.model: f for f in fallen}).values())
    held_back = _held_back(settings, events)
    fits = _fit_each(inputs, grid, settings, [m for m in wanted if m != "stacked" and m not in held_back], seed)
    made = tuple(fits.values())
    if "stacked" in wanted:
        try:
            made = _stacked(inputs, grid, settings, fits, tau, seed)
        except CoxError as error:
            made = (*made, _fall_back(fits["clinical"], "stacked", f"{NOT_FITTED}{error}"))
    clinical = next(f for f in made if f.model == "clinical")
    reason = f"{NOT_FITTED}fewer than {settings.deep_min_events} training events (`prognosis.deep_min_events`)"
    made = (*made, *(_fall_back(clinical, m, reason) for m in held_back if m in wanted))
    return tuple(sorted(made, key=lambda fit: MODELS.index(fit.model)))


def _held_back(settings: PrognosisConfig, events: int) -> tuple[str, ...]:
    """Models that so few events do not feed, unless the config says why they run all the same."""
    enough = events >= settings.deep_min_events or settings.deep_override is not None
    return () if enough else FLEXIBLE


def _fit_each(
    inputs: Inputs, grid: np.ndarray, settings: PrognosisConfig, wanted: list[str], seed: int
) -> dict[str, Fit]:
    """Every single model by name; random numbers of a model do not depend on which others are fitted."""
    null = _kaplan_meier(inputs, grid)
    clinical = _guard("clinical", null, lambda: _clinical(inputs, null, grid))
    makers: dict[str, Callable[[np.random.Generator], Fit]] = {
        "clinical_omics": lambda rng: _clinical_omics(
            inputs, clinical, grid, l1_ratio=settings.l1_ratio, inner_folds=settings.inner_folds, rng=rng
        ),
        "clinical_latent": lambda _: _clinical_scores("clinical_latent", "latents", "latent", inputs, clinical, grid),
        "clinical_factors": lambda _: _clinical_scores("clinical_factors", "factors", "factor", inputs, clinical, grid),
        "clinical_forest": lambda rng: _forest("clinical_forest", inputs, clinical, grid, settings.trees, rng),
        "forest": lambda rng: _forest("forest", inputs, clinical, grid, settings.trees, rng),
        "deep": lambda rng: _deep(inputs, clinical, grid, rng),
    }
    fits = {"kaplan_meier": null, "clinical": clinical}
    for model in [m for m in makers if m in wanted]:
        rng = np.random.default_rng([seed, MODELS.index(model)])
        fits[model] = _guard(model, clinical, partial(makers[model], rng))
    return _absolute(inputs, grid, settings, fits)


def _absolute(inputs: Inputs, grid: np.ndarray, settings: PrognosisConfig, fits: dict[str, Fit]) -> dict[str, Fit]:
    """The models with curves of absolute risk where other causes compete, and as they are where none do."""
    if inputs.competing is None:
        return fits
    train, x = inputs.train, inputs.clinical
    others = fit_other_causes(
        x[train], inputs.time[train], inputs.event[train], inputs.competing[train], settings.min_events
    )
    made = {}
    for model, fit in fits.items():
        marginal = (fit.stand_in or fit.model) == "kaplan_meier"
        predictor = AbsolutePredictor(fit.predictor, others, marginal)
        note = f"{fit.note}; {'Aalen-Johansen' if marginal else others.note}"
        survival = predictor.absolute(fit.survival, x, grid)
        made[model] = replace(fit, survival=survival, note=note, predictor=predictor)
    return made


def _stacked(
    inputs: Inputs, grid: np.ndarray, settings: PrognosisConfig, fits: dict[str, Fit], tau: float, seed: int
) -> tuple[Fit, ...]:
    """All models with their held-in predictions, and the stacked one."""
    own = inputs.take(np.flatnonzero(inputs.train))
    rng = np.random.default_rng([seed, len(MODELS)])
    fold = stratified_folds(own.event, settings.inner_folds, rng)
    held_in = {model: np.empty((len(fold), len(grid))) for model in fits}
    for k in range(int(fold.max()) + 1):
        made = _fit_each(replace(own, train=fold != k), grid, settings, list(fits), seed + k + 1)
        for model, one in made.items():
            held_in[model][fold == k] = one.survival[fold == k]
    parts = [m for m, one in fits.items() if one.stand_in is None]
    curves = np.stack([held_in[m] for m in parts])
    weights, _ = stack_weights(own.time, own.event, curves, grid, tau, own.competing)
    survival = mixed(weights, np.stack([fits[m].survival for m in parts]))
    predictor = StackPredictor(weights, tuple((m, fits[m].predictor) for m in parts), tau)
    said = ", ".join(f"{m} {w:.2f}" for m, w in zip(parts, weights, strict=True) if w > 0)
    note = (
        "weights by the integrated Brier score of training patients left out in"
        f" {int(fold.max()) + 1} inner folds: {said}"
    )
    held = mixed(weights, curves)
    stacked = Fit("stacked", predictor.score(survival, grid), survival, (), note, predictor, held_in=held)
    return (*(replace(one, held_in=held_in[m]) for m, one in fits.items()), stacked)


def columns_of_scores(source: str, name: str, inputs: Inputs) -> tuple[Columns | None, int]:
    """Clinical columns, scores and a flag of missing omics, standardised; and how many scores were left out."""
    names = tuple(f"{name} {j + 1}" for j in range(raw(inputs, source).shape[1]))
    varying = _learn(inputs, source, names)
    if not varying.names:
        return None, len(names)
    parts = [_as_it_is(inputs), varying]
    if _varies(raw(inputs, "any missing"), inputs.train):
        parts.append(_learn(inputs, "any missing", (ANY_MISSING,)))
    return Columns.of(inputs, *parts), len(names) - len(varying.names)


def _flexible_columns(inputs: Inputs) -> Columns:
    """What forest and deep model see: clinical columns, latents, and a flag of each omic that some lack."""
    scores, _ = columns_of_scores("latents", "latent", inputs)
    parts = [_as_it_is(inputs)] if scores is None else list(scores.parts[:2])
    parts += [flag for omic in inputs.omics if (flag := _missing(inputs, omic)) is not None]
    return Columns.of(inputs, *parts)


def _forest(model: str, inputs: Inputs, clinical: Fit, grid: np.ndarray, trees: int, rng: np.random.Generator) -> Fit:
    columns = Columns.of(inputs, _as_it_is(inputs)) if model == "clinical_forest" else _flexible_columns(inputs)
    if not columns.names:
        return _fall_back(clinical, model, "no column varies in training")
    seed = int(rng.integers(2**31))
    grown = grow_forest(columns.x, inputs.time, inputs.event, inputs.train, grid, trees=trees, seed=seed)
    note = f"random survival forest, {trees} trees, leaves of at least {MIN_LEAF}, {len(columns.names)} columns"
    return _predicted(model, ForestPredictor(columns.parts, grown), inputs, grid, (), note)


def _deep(inputs: Inputs, clinical: Fit, grid: np.ndarray, rng: np.random.Generator) -> Fit:
    columns = _flexible_columns(inputs)
    if not columns.names:
        return _fall_back(clinical, "deep", "no column varies in training")
    made = fit_deep_hazard(columns.x, inputs.time, inputs.event, inputs.train, grid, rng)
    note = (
        f"discrete-time hazard network, {made.intervals} intervals, {made.epochs} epochs by inner validation,"
        f" {len(columns.names)} columns"
    )
    fit = _predicted("deep", DeepPredictor(columns.parts, made.network), inputs, grid, (), note)
    return replace(fit, spread=made.spread)


def _predicted(
    model: str,
    predictor: Predictor,
    inputs: Inputs,
    grid: np.ndarray,
    coefficients: tuple[Coefficient, ...],
    note: str,
    **more: Any,
) -> Fit:
    """A fit whose predictions are those of its predictor."""
    risk, survival = predictor.predict(inputs, grid)
    return Fit(model, risk, survival, coefficients, note, predictor, **more)


def _kaplan_meier(inputs: Inputs, grid: np.ndarray) -> Fit:
    curve = survival_curve(inputs.time[inputs.train], inputs.event[inputs.train]).at(grid)
    return _predicted("kaplan_meier", CurvePredictor(curve[0]), inputs, grid, (), "the same curve for every patient")


def _fall_back(simpler: Fit, model: str, reason: str) -> Fit:
    used = simpler.stand_in or simpler.model
    return replace(
        simpler, model=model, note=f"{reason}; predictions are those of {used}", plain=False, stand_in=used, linear=None
    )


def _guard(model: str, simpler: Fit, fit: Callable[[], Fit]) -> Fit:
    try:
        return fit()
    except CoxError as error:
        return _fall_back(simpler, model, f"{NOT_FITTED}{error}")


def _clinical(inputs: Inputs, null: Fit, grid: np.ndarray) -> Fit:
    if not inputs.clinical_names:
        return _fall_back(null, "clinical", "no covariates vary in training, or none are configured (`covariates`)")
    return _cox("clinical", Columns.of(inputs, _as_it_is(inputs)), inputs, grid, "Cox, Efron ties")


def _clinical_scores(model: str, source: str, name: str, inputs: Inputs, clinical: Fit, grid: np.ndarray) -> Fit:
    columns, dropped = columns_of_scores(source, name, inputs)
    if columns is None:
        return _fall_back(clinical, model, f"no {name} varies in training")
    note = "Cox, Efron ties" + (f"; {dropped} {name}s constant in training left out" if dropped else "")
    return _cox(model, columns, inputs, grid, note)


def _cox(model: str, columns: Columns, inputs: Inputs, grid: np.ndarray, note: str) -> Fit:
    train = inputs.train
    fitted = fit_cox(columns.x[train], inputs.time[train], inputs.event[train])
    aliased = [columns.names[j] for j in fitted.aliased]
    notes = [
        note,
        fitted.note,
        f"left out as linear combinations of others: {', '.join(aliased)}" if aliased else "",
        _sparse_note(inputs, len(columns.names) - len(aliased)),
    ]
    return _predicted(
        model,
        CoxPredictor(columns.parts, fitted),
        inputs,
        grid,
        tuple(c for j, c in enumerate(_coefficients(fitted, columns.names)) if j not in fitted.aliased),
        "; ".join(n for n in notes if n),
        plain=fitted.standard_errors is not None,
        linear=Linear(fitted, columns.names),
    )


def _sparse_note(inputs: Inputs, parameters: int) -> str:
    ratio = int(inputs.event[inputs.train].sum()) / parameters
    return f"only {ratio:.1f} {EVENTS_PER_COEFFICIENT}" if ratio < _ENOUGH_EVENTS else ""


def _clinical_omics(
    inputs: Inputs, clinical: Fit, grid: np.ndarray, *, l1_ratio: float, inner_folds: int, rng: np.random.Generator
) -> Fit:
    train = inputs.train
    parts = [_omic_parts(inputs, omic) for omic in inputs.omics]
    sizes = [sum(len(part.names) for part in own) for own in parts]
    if not any(sizes):
        return _fall_back(clinical, "clinical_omics", "no omics feature varies in training")
    if inputs.clinical_names and clinical.stand_in:
        raise CoxError("the clinical model, to which omics are added, could not be fitted")
    estimated = {c.feature for c in clinical.coefficients}
    yardstick = _learn(inputs, "clinical", inputs.clinical_names, keep_scale=True, only=estimated)
    columns = Columns.of(inputs, yardstick, *(part for own in parts for part in own))
    own = len(yardstick.names)
    blocks = np.split(columns.x[train], np.cumsum([own, *sizes[:-1]]), axis=1)
    net = fit_elastic_net(
        blocks[0],
        tuple(blocks[1:]),
        inputs.time[train],
        inputs.event[train],
        l1_ratio=l1_ratio,
        inner_folds=inner_folds,
        rng=rng,
    )
    kept = [c for j, c in enumerate(_coefficients(net.model, columns.names)) if j < own or c.value != 0.0]
    predictor = _with_expected(inputs, columns, net.model) if any(net.chosen) else clinical.predictor
    note = _net_note(net, [omic.name for omic in inputs.omics], sizes, own)
    return _predicted("clinical_omics", predictor, inputs, grid, tuple(kept), note)


def _with_expected(inputs: Inputs, columns: Columns, model: CoxModel) -> CoxPredictor:
    """The model, and what each chosen omic adds on average given the others, learned where it was measured."""
    train, owner = inputs.train, [part.omic for part in columns.parts for _ in part.names]
    expected = []
    for omic in inputs.omics:
        own = np.array([name == omic.name for name in owner])
        has = train & (raw(inputs, "missing", omic.name)[:, 0] == 0)
        made = expected_part(columns.x[has], own, model.coefficients)
        expected += [Expected(omic.name, *made)] if made is not None else []
    if not expected:
        return CoxPredictor(columns.parts, model)
    x = np.column_stack([columns.x, expected_score(expected, columns.x, inputs)])
    whole = with_baseline(x[train], inputs.time[train], inputs.event[train], np.append(model.coefficients, 1.0))
    return CoxPredictor(columns.parts, whole, tuple(expected))


def _net_note(net: ElasticNet, names: list[str], sizes: list[int], n_clinical: int) -> str:
    """How the penalties were chosen, and how many columns of each omic."""
    judged = f"log partial likelihood {net.gain:+.2f} against the clinical model, standard error {net.error:.2f}"
    by = f"{REPEATS} times {net.folds}-fold cross-validation in training"
    notes = []
    if any(net.chosen):
        each = [
            f"{name} left out" if penalty is None else f"{name} {penalty:.4g} ({chosen} of {size} columns chosen)"
            for name, penalty, chosen, size in zip(names, net.penalties, net.chosen, sizes, strict=True)
        ]
        notes.append(f"elastic-net Cox, Breslow ties, penalties by {by} ({judged}): {', '.join(each)}")
    else:
        each = [f"{name} {size}" for name, size in zip(names, sizes, strict=True)]
        notes.append(
            f"no omics columns chosen of {', '.join(each)}, so this is the clinical model: in {by} no elastic-net"
            f" penalty was better by more than {ERRORS:g} standard error ({judged} at best)"
        )
    if n_clinical and not net.free:
        notes.append("clinical columns enter as the one score of their ridge fit, as the plain fit failed")
    if net.at_end:
        notes.append("smallest penalty of the path chosen")
    return "; ".join(notes)


def columns_of_omics(inputs: Inputs) -> Columns:
    """Every column of every omic that varies in training, shape `(n_patients, n_columns)`."""
    return Columns.of(inputs, *(part for omic in inputs.omics for part in _omic_parts(inputs, omic)))


def _omic_parts(inputs: Inputs, omic: Omic) -> list[Part]:
    """Features of an omic and a flag of lacking it, held within their range in training.

    A column that hardly varies there may be a hundred of its standard deviations away in another patient.
    """
    names = tuple(f"{omic.name}: {feature}" for feature in omic.features)
    parts = [_learn(inputs, "omic", names, omic=omic.name), _missing(inputs, omic)]
    return [_within_range(inputs, part) for part in parts if part is not None and part.names]


def _missing(inputs: Inputs, omic: Omic) -> Part | None:
    """A flag of lacking an omic, where that varies."""
    if not _varies(raw(inputs, "missing", omic.name), inputs.train):
        return None
    return _learn(inputs, "missing", (f"{omic.name}: missing",), omic=omic.name)


def _varies(flag: np.ndarray, train: np.ndarray) -> bool:
    n = int(flag[train].sum())
    return MIN_LEVEL <= n <= int(train.sum()) - MIN_LEVEL


def _as_it_is(inputs: Inputs) -> Part:
    """The clinical columns, which are standardised already."""
    n = len(inputs.clinical_names)
    return Part("clinical", "", np.arange(n), inputs.clinical_names, np.zeros(n), np.ones(n), np.zeros(0), np.zeros(0))


def _learn(
    inputs: Inputs,
    source: str,
    names: tuple[str, ...],
    *,
    omic: str = "",
    keep_scale: bool = False,
    only: set[str] | None = None,
) -> Part:
    """Mean 0 and SD 1 in the training rows, constant columns left out; all columns, or those named in `only`."""
    centre, scale, kept = standardisation(raw(inputs, source, omic), inputs.train)
    kept = np.array([j for j in kept if only is None or names[j] in only], dtype=np.int64)
    scale = np.ones_like(scale) if keep_scale else scale
    chosen = tuple(names[j] for j in kept)
    return Part(source, omic, kept, chosen, centre[kept], scale[kept], np.zeros(0), np.zeros(0))


def _within_range(inputs: Inputs, part: Part) -> Part:
    x = part.apply(inputs)[inputs.train]
    return replace(part, low=x.min(axis=0), high=x.max(axis=0))


def standardisation(values: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and SD of each column in the training rows, and the columns that vary there.

    Parameters
    ----------
    values
        Shape `(n_patients, n_columns)`, float64, NaN where missing; a missing value counts as the mean.
    train
        Shape `(n_patients,)`, True for training patients.

    Returns
    -------
    tuple of numpy.ndarray
        Mean `(n_columns,)`, SD `(n_columns,)`, and numbers of the columns that vary.
    """
    rows = values[train]
    known = np.isfinite(rows)
    centre = np.where(known, rows, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    scale = np.where(known, rows - centre, 0.0).std(axis=0)
    return centre, scale, np.flatnonzero(scale > 1e-8 * np.maximum(1.0, np.abs(centre)))


def _coefficients(model: CoxModel, names: tuple[str, ...]) -> list[Coefficient]:
    if model.standard_errors is None:
        return [Coefficient(n, float(b), None, None) for n, b in zip(names, model.coefficients, strict=True)]
    made = []
    for name, value, error in zip(names, model.coefficients, model.standard_errors, strict=True):
        half = _NORMAL_975 * float(error)
        limits = (float(value) - half, float(value) + half) if np.isfinite(half) else (None, None)
        made.append(Coefficient(name, float(value), *limits))
    return made
