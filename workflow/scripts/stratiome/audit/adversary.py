"""The worst small change: it lowers the risk of patients at high risk and raises that of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stratiome.audit.frozen import Frozen, Patients, Score
from stratiome.audit.stresses import Scale, moved
from stratiome.features.block import FeatureSet
from stratiome.latent.inputs import align
from stratiome.latent.model import LatentModel
from stratiome.prognosis.predictor import AbsolutePredictor, CoxPredictor, Predictor

DOSES = (0.05, 0.1, 0.25)
"""Radii of the balls, in SDs of training."""
RANDOM = 4
"""Random directions that are tried beside the gradients."""


@dataclass(frozen=True)
class Slope:
    """Slope of the score of a model in what it sees.

    Attributes
    ----------
    features
        Omic -> shape `(n_patients, n_features)`.
    covariates
        Numeric clinical column -> shape `(n_patients,)`.
    """

    features: dict[str, np.ndarray]
    covariates: dict[str, np.ndarray]


def slopes(frozen: Frozen, patients: Patients) -> dict[str, Slope]:
    """Slope of the log hazard of each proportional hazards model on clinical columns, features or latents.

    A Cox score is linear in its columns; through the latent model the slope is taken by automatic differentiation.
    Others (forest, deep model, stack, models on MOFA+ factors) have none here.
    """
    found = {}
    for name, model in frozen.prognosis.models.items():
        cox = _cox(model)
        if cox is not None and not any(part.source == "factors" for part in cox.parts):
            found[name] = _slope(cox, frozen, patients)
    return found


def _cox(model: Predictor) -> CoxPredictor | None:
    inner = model.inner if isinstance(model, AbsolutePredictor) else model
    return inner if isinstance(inner, CoxPredictor) else None


def _slope(cox: CoxPredictor, frozen: Frozen, patients: Patients) -> Slope:
    n = len(patients)
    features = {b.name: np.zeros(b.values.shape) for b in patients.blocks}
    covariates: dict[str, np.ndarray] = {}
    numeric = {t.column for t in frozen.prognosis.design.terms if t.type == "numeric"}
    start, width = 0, sum(len(part.names) for part in cox.parts)
    each = np.tile(cox.model.coefficients[:width], (n, 1))
    present = {b.name: b.present for b in patients.blocks}
    for filled in cox.expected:
        each[~present[filled.omic]] += filled.weights
    for part in cox.parts:
        own = each[:, start : start + len(part.names)] / part.scale
        start += len(part.names)
        if part.source == "clinical":
            covariates |= {c: b for c, b in zip(part.names, own.T, strict=True) if c in numeric}
        elif part.source == "omic":
            features[part.omic][:, part.columns] += own
        elif part.source == "latents" and isinstance(frozen.latent, LatentModel):
            for omic, values in _through(frozen.latent, patients, part.columns, own).items():
                features[omic] += values
    return Slope(features, covariates)


def _through(
    latent: LatentModel, patients: Patients, columns: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Slope of a sum of latents in the features, shape `(n_patients, n_features)` by omic; weights by patient."""
    import torch

    n = len(patients)
    aligned = align(FeatureSet(tuple(map(str, range(n))), np.full(n, "test"), patients.blocks), latent.specs)
    x = torch.from_numpy(aligned.centred).requires_grad_()
    places = latent.differentiable()(x, torch.from_numpy(aligned.observed))
    (places[:, torch.from_numpy(columns)] * torch.from_numpy(weights)).sum().backward()
    assert x.grad is not None
    widths = np.cumsum([len(s.features) for s in latent.specs])[:-1]
    parts = np.split(x.grad.numpy(), widths, axis=1)
    return {spec.name: part / spec.scale for spec, part in zip(latent.specs, parts, strict=True)}


def feature_weights(found: dict[str, Slope], patients: Patients, scale: Scale) -> np.ndarray:
    """How much models rely on each feature: mean absolute slope per SD, each model's adding up to one.

    Returns
    -------
    numpy.ndarray
        Shape `(n_all_features,)`, features of the omics side by side.
    """
    total = np.zeros(sum(len(b.features) for b in patients.blocks))
    for slope in found.values():
        sizes = [np.abs(slope.features[b.name]).mean(axis=0) * scale.spread[b.name] for b in patients.blocks]
        own = np.concatenate(sizes)
        total += own / own.sum() if own.sum() > 0 else 0.0
    return total


def attacked(
    frozen: Frozen,
    patients: Patients,
    plain: dict[str, Score],
    found: dict[str, Slope],
    scale: Scale,
    dose: float,
    rng: np.random.Generator,
) -> dict[str, Score]:
    """Scores after the worst change that was found within `dose` SD of each feature and numeric covariate.

    The sign of the gradient is the worst change of a linear score (Goodfellow, Shlens & Szegedy 2015). Signs of the
    slopes of all models that have one and `RANDOM` random signs are tried, forth and back, on every model, and the one
    that moves the patient's own risk furthest towards the other end counts, so that models without a slope are attacked
    by those of others. Patients are at high risk above the median of the held-out patients.

    Parameters
    ----------
    frozen
        The models.
    patients
        Held-out patients.
    plain
        Their scores as they are.
    found
        From `slopes`.
    scale
        Of the training patients.
    dose
        Radius.
    rng
        Source of the random directions.
    """
    tried = [
        moved(patients, scale, *_step(d, sign * dose))
        for d in _directions(found, patients, scale, rng)
        for sign in (1, -1)
    ]
    scores = frozen.score(tried)
    made = {}
    for model, own in plain.items():
        risk = np.stack([own.risk, *(s[model].risk for s in scores)])
        survival = np.stack([own.survival, *(s[model].survival for s in scores)])
        towards = np.where(own.risk > np.median(own.risk), -1.0, 1.0)
        worst = np.argmax(towards * (risk - own.risk), axis=0)
        at = np.arange(len(worst))
        made[model] = Score(risk[worst, at], survival[worst, at])
    return made


def _directions(found: dict[str, Slope], patients: Patients, scale: Scale, rng: np.random.Generator) -> Sequence[Slope]:
    n = len(patients)
    random = [
        Slope(
            {b.name: rng.choice([-1.0, 1.0], size=b.values.shape) for b in patients.blocks},
            {c: rng.choice([-1.0, 1.0], size=n) for c in scale.covariates},
        )
        for _ in range(RANDOM)
    ]
    return [*found.values(), *random]


def _step(direction: Slope, size: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return (
        {o: size * np.sign(v) for o, v in direction.features.items()},
        {c: size * np.sign(v) for c, v in direction.covariates.items()},
    )
