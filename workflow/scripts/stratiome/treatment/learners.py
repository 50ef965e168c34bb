"""Effects on restricted mean survival of single patients: several learners, and one prediction out of them.

Where other causes compete, on the mean time free of the event in a world with them (`incidence.mean_free`).
Learned from training patients alone. What a patient contributes to an effect comes from models of other training
patients, and so does what each learner predicts when learners are weighed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from stratiome.survival.censoring_model import fit_censoring
from stratiome.treatment.arm_models import ArmCox, fit_arm_cox, forest_effects, interaction_effects
from stratiome.treatment.doubly_robust import Nuisance, Scores, balanced_folds, influence, propensity_of
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.final_stage import Uncensored, fit_dr, fit_r
from stratiome.treatment.stack import stack
from stratiome.treatment.weight import TRIM

logger = logging.getLogger(__name__)

CONSTANT, COMBINED = "constant", "combined"
LEARNERS = ("cox", "interactions", "forest", "dr", "r")
"""Learners that are weighed, beside the average effect and their combination."""
FOLDS = 5
MIN_EVENTS = 20
"""Events in each arm, up to tau, below which everybody is given the average effect."""


@dataclass(frozen=True)
class Effects:
    """Predicted effects.

    Attributes
    ----------
    predicted
        Learner -> shape `(n_new,)`, months; learners that could not be fitted are not in it.
    reasons
        Learner -> why it is not.
    weights
        Learner -> its weight in the combination; empty where there is nothing to weigh.
    """

    predicted: dict[str, np.ndarray]
    reasons: dict[str, str]
    weights: dict[str, float]

    @property
    def remark(self) -> str:
        """What the combination is made of."""
        parts = [f"{name} {weight:.2f}" for name, weight in self.weights.items() if weight > 0]
        if not parts:
            return "every patient is given the average effect"
        return f"weights of the combination: {', '.join(parts)}"


@dataclass(frozen=True)
class Training:
    """Training patients.

    Attributes
    ----------
    confounders
        Shape `(n_patients, n_confounders)`, on which treatment and censoring are modelled.
    covariates
        Shape `(n_patients, n_columns)`, by which effects and survival may differ; may be more than patients.
    sample
        Treatment and outcome.
    """

    confounders: np.ndarray
    covariates: np.ndarray
    sample: Sample

    def take(self, rows: np.ndarray) -> Training:
        """Those where `rows`, shape `(n_patients,)`, is True."""
        return Training(self.confounders[rows], self.covariates[rows], self.sample.take(rows))


def learn_effects(training: Training, new: np.ndarray, tau: float, *, seed: int) -> Effects:
    """Learn effects and predict them for other patients.

    Parameters
    ----------
    training
        Training patients, both arms.
    new
        Shape `(n_new, n_columns)`, covariates of the patients to predict for, who take no other part.
    tau
        Months.
    seed
        Seed of folds, forests and lasso.

    Raises
    ------
    TreatmentError
        If the confounders determine the treatment, or a part of the training patients has one arm only.
    """
    rng = np.random.default_rng([seed, 31])
    fold = balanced_folds(training.sample, FOLDS, rng)
    few = _few(training.sample, tau)
    left_out, scores = _cross_fit(training, fold, tau, seed, rng, few)
    inside = (scores.propensity >= TRIM) & (scores.propensity <= 1.0 - TRIM)
    if not inside.any():
        raise TreatmentError(
            f"no training patient has a propensity of {TRIM:g} to {1 - TRIM:g}. Suggestion: narrow `eligible`"
        )
    contrast = scores.contrasts[:, 0]
    average = float(contrast[inside].mean())
    flat = np.full(len(new), average)
    if few:
        return Effects({CONSTANT: flat, COMBINED: flat}, dict.fromkeys(LEARNERS, few), {})
    reasons: dict[str, str] = {}
    both = np.concatenate([training.covariates, new])
    n = len(training.covariates)
    predicted: dict[str, np.ndarray] = {}
    for name in ("cox", "interactions", "forest"):
        made = _by_survival(name, training, both, tau, seed, rng)
        if isinstance(made, str) or name not in left_out:
            reasons[name] = made if isinstance(made, str) else "it could not be fitted without some of the patients"
        else:
            predicted[name] = made
    outcome = Uncensored.of(scores, training.sample.treated)
    _final_stage(training.covariates, outcome, inside, fold, both, seed, predicted, left_out)
    names = [name for name in LEARNERS if name in predicted and name in left_out]
    table = np.column_stack([left_out[name] for name in names])
    found_weights = stack(contrast[inside], table[inside], fold[inside])
    weights = {name: float(weight) for name, weight in zip(names, found_weights, strict=True)}
    combined = flat.copy()
    for name, weight in weights.items():
        combined += weight * (predicted[name][n:] - predicted[name][:n][inside].mean())
    found = {CONSTANT: flat} | {name: predicted[name][n:] for name in names} | {COMBINED: combined}
    return Effects(found, reasons, weights)


def _few(sample: Sample, tau: float) -> str:
    seen = sample.event & (sample.time <= tau)
    if min(seen[sample.treated].sum(), seen[~sample.treated].sum()) < MIN_EVENTS:
        return f"fewer than {MIN_EVENTS} events in an arm"
    return ""


def _cross_fit(
    training: Training, fold: np.ndarray, tau: float, seed: int, rng: np.random.Generator, few: str
) -> tuple[dict[str, np.ndarray], Scores]:
    """Predictions of learners for training patients they have not seen, and scores of all."""
    n = len(training.sample)
    left_out: dict[str, np.ndarray] = {}
    failed: set[str] = set()
    parts, order = [], []
    for k in np.unique(fold):
        rest, own = training.take(fold != k), training.take(fold == k)
        nuisance, cox = _nuisance(rest, rng)
        parts.append(influence(nuisance, own.confounders, own.sample, np.zeros(0), tau, outcome=own.covariates))
        order.append(np.flatnonzero(fold == k))
        if few:
            continue
        if any(cox.plain):
            failed.add("cox")
        left_out.setdefault("cox", np.empty(n))[fold == k] = cox.effect(own.covariates, tau)
        for name in ("interactions", "forest"):
            made = _by_survival(name, rest, own.covariates, tau, seed, rng)
            if isinstance(made, str):
                failed.add(name)
            else:
                left_out.setdefault(name, np.empty(n))[fold == k] = made
    back = np.argsort(np.concatenate(order))
    joined = {
        name: np.concatenate([getattr(p, name) for p in parts], axis=1)[:, back]
        for name in ("survival", "restricted", "predicted_survival", "predicted_restricted")
    }
    probability = np.concatenate([p.propensity for p in parts])[back]
    scores = Scores(**joined, propensity=probability, truncated=sum(p.truncated for p in parts))
    return {k: v for k, v in left_out.items() if k not in failed}, scores


def _nuisance(training: Training, rng: np.random.Generator) -> tuple[Nuisance, ArmCox]:
    """Models of treatment and censoring by confounders, and penalised ones of survival by all covariates."""
    sample, x = training.sample, training.confounders
    if not (sample.treated.any() and (~sample.treated).any()):
        raise TreatmentError("a part of the training patients has one arm only. Suggestion: widen `eligible`")
    propensity = propensity_of(x, sample)
    cox = fit_arm_cox(training.covariates, sample, rng)
    observed = [fit_censoring(x[arm], sample.time[arm], sample.ended[arm]) for arm in (~sample.treated, sample.treated)]
    return Nuisance(propensity, cox.models, (observed[0], observed[1]), cox.other), cox


def _by_survival(
    name: str, training: Training, new: np.ndarray, tau: float, seed: int, rng: np.random.Generator
) -> np.ndarray | str:
    """Predicted effects by models of survival, or why there are none."""
    x, sample = training.covariates, training.sample
    try:
        if name == "cox":
            cox = fit_arm_cox(x, sample, rng)
            return "no Cox model of an arm could be fitted" if any(cox.plain) else cox.effect(new, tau)
        if name == "interactions":
            return interaction_effects(x, sample, new, tau, rng)
        return forest_effects(x, sample, new, tau, seed)
    except TreatmentError as error:
        return str(error)


def _final_stage(
    x: np.ndarray,
    outcome: Uncensored,
    inside: np.ndarray,
    fold: np.ndarray,
    both: np.ndarray,
    seed: int,
    predicted: dict[str, np.ndarray],
    left_out: dict[str, np.ndarray],
) -> None:
    """Add the DR- and the R-learner to both."""
    found = np.empty(len(x))
    for k in np.unique(fold):
        rest = inside & (fold != k)
        found[fold == k] = fit_dr(x[rest], outcome.take(rest), seed)(x[fold == k])
    left_out["dr"] = found
    predicted["dr"] = fit_dr(x[inside], outcome.take(inside), seed)(both)
    forest = fit_r(x[inside], outcome.take(inside), seed)
    left_out["r"] = np.full(len(x), np.nan)
    left_out["r"][inside] = forest.out_of_bag
    predicted["r"] = forest.predict(both)
