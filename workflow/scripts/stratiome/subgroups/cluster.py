"""Soft subgroups: a Gaussian mixture learned on training patients, applied to everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.subgroups.partition import partition, symmetric

UNASSIGNED = 0


@dataclass(frozen=True)
class Mixture:
    """Gaussian mixture with one shared covariance.

    Attributes
    ----------
    weights
        Shape `(k,)`, falling: subgroup 1 is the largest.
    means
        Shape `(k, n_latent)`.
    covariance
        Shape `(n_latent, n_latent)`.
    """

    weights: np.ndarray
    means: np.ndarray
    covariance: np.ndarray

    @property
    def k(self) -> int:
        """Number of subgroups."""
        return len(self.weights)

    def probabilities(self, latents: np.ndarray) -> np.ndarray:
        """Probability of each subgroup, shape `(n_patients, k)`; rows sum to one.

        Parameters
        ----------
        latents
            Shape `(n_patients, n_latent)`.
        """
        direction = np.linalg.solve(self.covariance, self.means.T)
        score = latents @ direction - 0.5 * (self.means.T * direction).sum(axis=0) + np.log(self.weights)
        score = np.exp(score - score.max(axis=1, keepdims=True))
        return score / score.sum(axis=1, keepdims=True)

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers for JSON, without loss."""
        return {
            "k": self.k,
            "weights": self.weights.tolist(),
            "means": self.means.tolist(),
            "covariance": self.covariance.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Mixture:
        """The mixture of `to_dict`."""
        return cls(*(np.asarray(data[name], dtype=np.float64) for name in ("weights", "means", "covariance")))


def fit_mixture(latents: np.ndarray, k: int, seed: int | list[int], *, starts: int = 30) -> Mixture:
    """Maximum-likelihood Gaussian mixture with one shared covariance, by expectation-maximisation.

    One covariance keeps borders between subgroups linear, needs few parameters at a few hundred patients, and is the
    soft form of the clustering whose stability was measured (`partition`), from which it starts.

    Parameters
    ----------
    latents
        Shape `(n_train, n_latent)`, patients with at least one omic.
    k
        Number of subgroups.
    seed
        Seed of the starts.
    starts
        Random starts of the hard clustering.
    """
    from sklearn.mixture import GaussianMixture

    regular = 1e-6 * max(float(latents.var(axis=0).mean()), 1e-30)
    start: dict[str, Any] = {}
    if k > 1:
        hard = partition(latents[None], k, np.random.default_rng(seed), starts=starts, iterations=100)
        precision = symmetric(hard.metric[0])
        start = {"means_init": hard.centres[0], "precisions_init": precision, "weights_init": np.full(k, 1 / k)}
    model = GaussianMixture(
        k, covariance_type="tied", reg_covar=regular, max_iter=500, tol=1e-5, random_state=0, **start
    )
    model.fit(latents)
    order = np.argsort(-model.weights_, kind="stable")
    return Mixture(model.weights_[order], model.means_[order], model.covariances_)


def assign(probabilities: np.ndarray, measured: np.ndarray, min_probability: float) -> tuple[np.ndarray, np.ndarray]:
    """Subgroup of each patient and its probability.

    Parameters
    ----------
    probabilities
        Shape `(n_patients, k)`.
    measured
        Shape `(n_patients,)`, True where the patient has any omic; the others are unassigned with probability 0.
    min_probability
        Below it a patient stays unassigned.

    Returns
    -------
    tuple of numpy.ndarray
        Subgroup from 1 to k, 0 = unassigned, and the probability of the most probable subgroup.
    """
    best = np.where(measured, probabilities.max(axis=1), 0.0)
    label = np.where(measured & (best >= min_probability), probabilities.argmax(axis=1) + 1, UNASSIGNED)
    return label.astype(np.int64), np.clip(best, 0.0, 1.0)
