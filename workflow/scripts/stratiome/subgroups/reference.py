"""Cohorts without subgroups, as like the observed one as can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from stratiome.features.block import Block, FeatureSet

if TYPE_CHECKING:
    from stratiome.latent.baselines import PcaModel
    from stratiome.latent.model import LatentModel

PENALTIES = 10.0 ** np.arange(-8, 1)
"""Ridge penalties tried, as shares of the largest squared singular value."""


def without_subgroups(features: FeatureSet, rows: np.ndarray, rng: np.random.Generator) -> FeatureSet:
    """Draw the features of patients from one Gaussian with the covariance of the observed patients.

    Each new patient is a random Gaussian combination of the observed ones, over all omics together, which has their
    covariance exactly in expectation and needs no covariance matrix. 0/1 features are such Gaussians cut where their
    frequency asks for it (Emrich & Piedmonte 1991, Am Stat 45:302), so that the groups that a single common mutation
    makes are in the reference too and are not taken for subgroups. Cells are missing where they were observed to be.

    Parameters
    ----------
    features
        Features of all patients.
    rows
        Shape `(n_patients,)`, True for the patients to draw for.
    rng
        Source of the draw.
    """
    from scipy.special import ndtri

    n = int(rows.sum())
    mixing = rng.standard_normal((n, n), dtype=np.float32) / np.float32(np.sqrt(n))
    blocks = []
    for block in features.blocks:
        values = block.values[rows]
        seen = np.isfinite(values)
        counts = np.maximum(seen.sum(axis=0), 1)
        mean = np.where(seen, values, 0).sum(axis=0, dtype=np.float64) / counts
        centred = np.where(seen, values - mean, 0.0)
        # Missing cells are zeros in the combination: scaled up by the share observed, variances come out right.
        drawn = (mixing @ (centred / np.sqrt(counts / n)).astype(np.float32)).astype(np.float64)
        if block.likelihood == "bernoulli":
            deviation = np.sqrt(np.clip(mean * (1 - mean), 1e-12, None))
            drawn = (drawn / deviation > -ndtri(np.clip(mean, 1e-12, 1 - 1e-12))).astype(np.float64)
        else:
            drawn = drawn + mean
        blocks.append(
            Block(block.name, np.where(seen, drawn, np.nan).astype(np.float32), block.likelihood, block.features)
        )
    ids = tuple(p for p, here in zip(features.patient_ids, rows, strict=True) if here)
    return FeatureSet(ids, features.roles[rows], tuple(blocks))


def match_moments(drawn: np.ndarray, latents: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Move and stretch drawn latents so that mean and covariance are the observed ones, by omics that patients have.

    Patients who lack omics lie nearer the centre, so that even without subgroups a latent space is a mixture of clouds
    of different width; moments are matched within patients of the same omics, and together in the rest, where fewer
    than three times the dimensions (at least 20) share a pattern. The map is the linear one that moves points least
    (Gelbrich 1990, Math Nachr 147:185), so that the shape of the draw stays.

    Parameters
    ----------
    drawn
        Shape `(n_patients, n_latent)`, latents of a reference cohort.
    latents
        Shape `(n_patients, n_latent)`, observed.
    patterns
        Shape `(n_patients,)`, a code of which omics the patient has.
    """
    dims = latents.shape[1]
    codes, group, counts = np.unique(patterns, return_inverse=True, return_counts=True)
    group = np.where((counts < max(20, 3 * dims))[group], len(codes), group)
    matched = np.empty_like(latents)
    for code in np.unique(group):
        rows = group == code
        goal, have = latents[rows], drawn[rows]
        stretch = _transport(_covariance(have), _covariance(goal))
        matched[rows] = goal.mean(axis=0) + (have - have.mean(axis=0)) @ stretch
    return matched


def _covariance(points: np.ndarray) -> np.ndarray:
    centred = points - points.mean(axis=0)
    return centred.T @ centred / len(points)


def _transport(have: np.ndarray, goal: np.ndarray) -> np.ndarray:
    floor = 1e-9 * max(float(np.trace(have)) / len(have), 1e-30)
    root = _power(have + floor * np.eye(len(have)), 0.5)
    inverse = _power(have + floor * np.eye(len(have)), -0.5)
    return inverse @ _power(root @ goal @ root, 0.5) @ inverse


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    values = np.maximum(values, 0.0 if exponent > 0 else 1e-300)
    return (vectors * values**exponent) @ vectors.T


def linear_stand_in(features: FeatureSet, rows: np.ndarray, latents: np.ndarray) -> Callable[[FeatureSet], np.ndarray]:
    """Linear map from features to latents, by ridge regression.

    A trained encoder has bent the latent space around the subgroups that it saw, and shows them in any cohort that goes
    through it. Its linear part passes on what covariance, common mutations and missing omics make of a cohort. The
    penalty has the smallest leave-one-out error (Golub, Heath & Wahba 1979, Technometrics 21:215).

    Parameters
    ----------
    features
        Features of all patients.
    rows
        Shape `(n_patients,)`, True for the patients to learn from.
    latents
        Shape `(n_rows, n_latent)`, of those patients.

    Returns
    -------
    callable
        Latents of other patients, shape `(n_patients, n_latent)`, from features with the same blocks.
    """
    seen = [np.isfinite(block.values[rows]).sum(axis=0) for block in features.blocks]
    means = [
        np.nansum(block.values[rows], axis=0, dtype=np.float64) / np.maximum(count, 1)
        for block, count in zip(features.blocks, seen, strict=True)
    ]

    def design(cohort: FeatureSet) -> np.ndarray:
        parts = []
        for block, mean in zip(cohort.blocks, means, strict=True):
            parts += [np.nan_to_num(block.values - mean), block.present[:, None].astype(np.float64)]
        return np.concatenate(parts, axis=1)

    inputs = design(features)[rows]
    centre, goal = inputs.mean(axis=0), latents.mean(axis=0)
    left, size, right = np.linalg.svd(inputs - centre, full_matrices=False)
    target = left.T @ (latents - goal)
    best, coefficients = np.inf, np.zeros((inputs.shape[1], latents.shape[1]))
    for penalty in size[0] ** 2 * PENALTIES:
        shrunk = size**2 / (size**2 + penalty)
        residual = latents - goal - left @ (shrunk[:, None] * target)
        error = float(np.mean((residual / np.maximum(1 - left**2 @ shrunk, 1e-9)[:, None]) ** 2))
        if error < best:
            best, coefficients = error, right.T @ ((size / (size**2 + penalty))[:, None] * target)
    return lambda cohort: (design(cohort) - centre) @ coefficients


def reference_sampler(
    model: LatentModel | PcaModel, features: FeatureSet, rows: np.ndarray, latents: np.ndarray
) -> Callable[[np.random.Generator], np.ndarray]:
    """Function that draws latents of cohorts without subgroups.

    Principal components are learned anew on every drawn cohort, as they were on the observed one. A trained model would
    take too long for that: the drawn features go through its linear stand-in, and moments are matched to the observed
    latents, because patients that a model was trained on lie wider than new ones.

    Parameters
    ----------
    model
        Model that made the latents.
    features
        Features of all patients.
    rows
        Shape `(n_patients,)`, True for training patients with any omic.
    latents
        Shape `(n_rows, n_latent)`, observed latents of those.
    """
    from stratiome.latent.baselines import PcaModel

    present = np.stack([block.present[rows] for block in features.blocks], axis=1)
    patterns = np.unique(present, axis=0, return_inverse=True)[1].ravel()

    def anew(rng: np.random.Generator) -> np.ndarray:
        cohort = without_subgroups(features, rows, rng)
        return PcaModel.fit(cohort, latents.shape[1]).transform(cohort)

    if isinstance(model, PcaModel):
        return anew
    project = linear_stand_in(features, rows, latents)
    return lambda rng: match_moments(project(without_subgroups(features, rows, rng)), latents, patterns)
