"""The features as a latent model takes them: matched by name, centred, missing cells marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.features.block import FeatureSet
from stratiome.latent.errors import LatentError


@dataclass(frozen=True)
class OmicSpec:
    """What a latent model remembers of one omic.

    Attributes
    ----------
    name
        Name of the omic.
    likelihood
        gaussian or bernoulli.
    features
        Names, in the order of the weights.
    mean
        Shape `(n_features,)`, of the training patients; what a missing cell is worth.
    scale
        Number by which all features of the omic are divided in the input.
    """

    name: str
    likelihood: str
    features: tuple[str, ...]
    mean: np.ndarray
    scale: float

    def describe(self) -> dict[str, Any]:
        """As plain data, without the numbers that belong to the weights."""
        return {"name": self.name, "likelihood": self.likelihood, "features": list(self.features)}


@dataclass(frozen=True)
class Inputs:
    """Features of all omics side by side.

    Attributes
    ----------
    raw
        One array per omic, shape `(n_patients, n_features)`, float64, NaN where missing.
    centred
        Shape `(n_patients, n_all_features)`, centred and scaled by omic, 0 where missing.
    observed
        Shape `(n_patients, n_omics)`, share of the features of each omic that was measured.
    """

    raw: list[np.ndarray]
    centred: np.ndarray
    observed: np.ndarray

    @property
    def has_any(self) -> np.ndarray:
        """Shape `(n_patients,)`, True where any omic was measured."""
        return np.any(self.observed > 0, axis=1)


def learn_specs(features: FeatureSet, *, balance: bool) -> tuple[OmicSpec, ...]:
    """Centre and scale of each omic, from training patients only.

    Parameters
    ----------
    features
        Features of all patients.
    balance
        True: each omic is divided by the root of its total variance, so that all count the same. False: by the root of
        its mean variance, so that a feature has variance one on average.

    Raises
    ------
    LatentError
        If no training patient has any omic.
    """
    train = features.train
    if not any(b.present[train].any() for b in features.blocks):
        raise LatentError("no training patient has any omic. Suggestion: look at the patient flow of the cohort")
    return tuple(_learn(b, train, balance) for b in features.blocks)


def _learn(block: Any, train: np.ndarray, balance: bool) -> OmicSpec:
    values = block.values[train].astype(np.float64)
    seen = np.isfinite(values)
    n = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, values, 0.0).sum(axis=0) / n
    variance = (np.where(seen, values - mean, 0.0) ** 2).sum(axis=0) / (len(values) if balance else n)
    scale = float(np.sqrt(variance.sum() if balance else variance.mean())) if block.features else 1.0
    return OmicSpec(block.name, block.likelihood, block.features, mean, scale if scale > 0 else 1.0)


def align(features: FeatureSet, specs: tuple[OmicSpec, ...]) -> Inputs:
    """Features in the order of the model; features or omics that are lacking count as missing.

    Raises
    ------
    LatentError
        If an omic has another likelihood than the one the model was trained with.
    """
    blocks = {b.name: b for b in features.blocks}
    raw, centred, observed = [], [], []
    for spec in specs:
        values = _values(blocks.get(spec.name), spec, len(features.patient_ids))
        seen = np.isfinite(values)
        raw.append(values)
        centred.append(np.where(seen, values - spec.mean, 0.0) / spec.scale)
        observed.append(seen.sum(axis=1) / max(values.shape[1], 1))
    return Inputs(raw, np.concatenate(centred, axis=1), np.stack(observed, axis=1))


def _values(block: Any, spec: OmicSpec, n: int) -> np.ndarray:
    if block is None:
        return np.full((n, len(spec.features)), np.nan)
    if block.likelihood != spec.likelihood:
        raise LatentError(
            f"omic {spec.name} has likelihood {block.likelihood}, the model was trained with {spec.likelihood}. "
            "Suggestion: give it the kind that it had in the training config"
        )
    if block.features == spec.features:
        return block.values.astype(np.float64)
    values = np.full((n, len(spec.features)), np.nan)
    column = {name: j for j, name in enumerate(block.features)}
    for j, name in enumerate(spec.features):
        if name in column:
            values[:, j] = block.values[:, column[name]]
    return values
