"""Gates of the latent model on linear-Gaussian data, and wrong models that must fail them (METHODS §4)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import subspace_angles

from stratiome.config import LatentConfig
from stratiome.features.block import Block, FeatureSet
from stratiome.latent.likelihood import gaussian_log_likelihood
from stratiome.latent.model import LatentModel

MOST_DEGREES = 5.0
"""Largest angle between the latent subspace and that of closed-form probabilistic PCA."""

MOST_LOST = 0.05
"""Share of the variance of places by which a patient with a single omic may be placed worse than by the true model."""

DIMS = 3
NOISE = 1.2
WIDTHS = (20, 20)

Fit = Callable[[FeatureSet, int], LatentModel]


def linear_gaussian(
    n: int, seed: int, *, missing: float = 0.0, test: float = 0.0, widths: tuple[int, ...] = WIDTHS
) -> FeatureSet:
    """Omics driven by common factors, standardised; whole omics missing at random, but never all."""
    return with_truth(n, seed, missing=missing, test=test, widths=widths)[0]


def with_truth(
    n: int, seed: int, *, missing: float, test: float, widths: tuple[int, ...]
) -> tuple[FeatureSet, list[tuple[np.ndarray, np.ndarray]]]:
    """The same with loadings `(DIMS, n_features)` and noise variances `(n_features,)` of each omic."""
    rng = np.random.default_rng([seed, 77])
    factors = rng.normal(size=(n, DIMS))
    lacks = rng.random((n, len(widths))) < missing
    lacks[lacks.all(axis=1), rng.integers(len(widths))] = False
    blocks, truth = [], []
    for o, width in enumerate(widths):
        loadings = rng.normal(size=(DIMS, width))
        values = factors @ loadings + NOISE * rng.normal(size=(n, width))
        spread = values.std(0)
        truth.append((loadings / spread, (NOISE / spread) ** 2))
        values = (values - values.mean(0)) / spread
        values[lacks[:, o]] = np.nan
        blocks.append(
            Block(f"omic{o}", values.astype(np.float32), "gaussian", tuple(f"o{o}f{j}" for j in range(width)))
        )
    roles = np.where(np.arange(n) < test * n, "test", "train")
    return FeatureSet(tuple(f"P{i:04d}" for i in range(n)), roles, tuple(blocks)), truth


def changed(features: FeatureSet, change: Callable[[np.ndarray, int], np.ndarray]) -> FeatureSet:
    """The same patients with other values of each omic."""
    blocks = [Block(b.name, change(b.values, o), b.likelihood, b.features) for o, b in enumerate(features.blocks)]
    return FeatureSet(features.patient_ids, features.roles, tuple(blocks))


# --- models, right and wrong -----------------------------------------------------------------------------------------

SETTINGS = LatentConfig(dims=DIMS, hidden=16, members=1, epochs=80, warmup_epochs=10, learning_rate=0.005)


def ours(features: FeatureSet, seed: int) -> LatentModel:
    """The latent model as it is."""
    return LatentModel.fit(features, SETTINGS, seed)


def stopped_early(features: FeatureSet, seed: int) -> LatentModel:
    """Mutant: it stops long before it has converged."""
    return LatentModel.fit(features, SETTINGS.model_copy(update={"epochs": 4}), seed)


def rows_mixed_up(features: FeatureSet, seed: int) -> LatentModel:
    """Mutant: the patients of the second omic are in another order than those of the first."""
    order = np.random.default_rng(seed).permutation(len(features.roles))
    return ours(changed(features, lambda values, o: values[order] if o else values), seed)


def never_hiding(features: FeatureSet, seed: int) -> LatentModel:
    """Mutant: no omic is hidden in training."""
    return LatentModel.fit(features, SETTINGS.model_copy(update={"modality_dropout": 0.0}), seed)


def mean_imputing(features: FeatureSet, seed: int) -> LatentModel:
    """Mutant, and what the model is compared with: missing omics are filled with the training mean and then counted."""

    def filled(values: np.ndarray, o: int) -> np.ndarray:
        mean = np.nanmean(values[features.train], axis=0)
        return np.where(np.isfinite(values), values, mean).astype(np.float32)

    return ours(changed(features, filled), seed)


# --- gates -----------------------------------------------------------------------------------------------------------


def angle(fit: Fit, seed: int, n: int = 400) -> float:
    """Largest principal angle in degrees between decoder and the leading eigenvectors (Tipping & Bishop 1999)."""
    features = linear_gaussian(n, seed)
    model = fit(features, seed)
    values = np.concatenate([b.values for b in features.blocks], axis=1)
    loadings = np.linalg.svd(values - values.mean(0), full_matrices=False)[2][:DIMS].T
    decoder = np.concatenate([model.weights[f"decoder_{o}"][0] for o in range(len(features.blocks))], axis=1)
    return float(np.degrees(subspace_angles(loadings, decoder.T)).max())


def gain_over_imputing(fit: Fit, seed: int, n: int = 400) -> float:
    """Mean held-out log-likelihood of a model less that of the mean-imputing one, nats per patient.

    Three in ten omics are missing as a whole, in training and held-out patients. The mean-imputing reference is trained
    from another seed, so that it is no better than itself.
    """
    features = linear_gaussian(n, seed, missing=0.3, test=0.3, widths=(20, 12, 16))
    held = features.take(np.flatnonzero(~features.train))
    found, reference = (
        gaussian_log_likelihood(model, held).mean()
        for model in (fit(features, seed), mean_imputing(features, seed + 100_000))
    )
    return float(found - reference)


def lost_alone(fit: Fit, seed: int, n: int = 500) -> float:
    """How much worse than by the true model held-out patients are placed by one omic of three, mean over the omics.

    All training patients have all omics. A place is judged by the share of the variance of places by all omics that it
    tells (coefficient of determination); the true model's are means of its exact posterior.
    """
    features, truth = with_truth(n, seed, missing=0.0, test=0.4, widths=(20, 12, 16))
    held = features.take(np.flatnonzero(~features.train))
    model = fit(features, seed)
    names = [b.name for b in held.blocks]
    found, best = (
        np.mean([_told(place(names), place([name])) for name in names])
        for place in (lambda own: model.transform(held.only(own)), lambda own: _true_places(held, truth, own))
    )
    return float(best - found)


def _told(whole: np.ndarray, part: np.ndarray) -> float:
    return float(1.0 - ((whole - part) ** 2).sum() / ((whole - whole.mean(axis=0)) ** 2).sum())


def _true_places(held: FeatureSet, truth: list[tuple[np.ndarray, np.ndarray]], own: list[str]) -> np.ndarray:
    """Posterior mean of the factors given some omics."""
    precision, weighted = np.eye(DIMS), np.zeros((len(held.roles), DIMS))
    for block, (loadings, noise) in zip(held.blocks, truth, strict=True):
        if block.name in own:
            precision = precision + (loadings / noise) @ loadings.T
            weighted = weighted + block.values @ (loadings / noise).T
    return weighted @ np.linalg.inv(precision)
