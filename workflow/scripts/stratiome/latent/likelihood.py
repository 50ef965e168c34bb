"""How probable a latent model finds patients that it has not seen."""

from __future__ import annotations

import numpy as np

from stratiome.features.block import FeatureSet
from stratiome.latent.errors import LatentError
from stratiome.latent.inputs import align
from stratiome.latent.model import LatentModel
from stratiome.latent.module import MIN_LOG_NOISE


def gaussian_log_likelihood(model: LatentModel, features: FeatureSet) -> np.ndarray:
    r"""Logarithm of the density of the observed values of each patient, latent positions integrated out.

    With a linear decoder, loadings `W` and noise variances `D`, the observed values `S` of a patient are

    .. math:: x_S \sim N(b_S, W_S^\top W_S + D_S)

    (Tipping & Bishop 1999, J R Stat Soc B 61:611), computed by the Woodbury identity in `n_latent` dimensions. Missing
    values are integrated out by leaving them out; the encoder has no part in it.

    Parameters
    ----------
    model
        A model of Gaussian omics.
    features
        Features of any patients.

    Returns
    -------
    numpy.ndarray
        Shape `(n_members, n_patients)`, nats, on the scale of the features; 0 for patients without any omic.

    Raises
    ------
    LatentError
        If an omic has another likelihood.
    """
    other = [spec.name for spec in model.specs if spec.likelihood != "gaussian"]
    if other:
        raise LatentError(
            f"omics {', '.join(other)} are not Gaussian, so that the likelihood has no closed form. "
            "Suggestion: compare validation losses of the training history"
        )
    inputs = align(features, model.specs)
    seen = np.concatenate([np.isfinite(values) for values in inputs.raw], axis=1)
    log_scale = np.concatenate([np.full(len(s.features), np.log(s.scale)) for s in model.specs])
    jacobian = np.where(seen, log_scale, 0.0).sum(axis=1)
    return np.stack([_member(model, m, inputs.centred, seen) - jacobian for m in range(model.settings["members"])])


def _member(model: LatentModel, member: int, x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Log density of centred and scaled values, shape `(n_patients,)`."""

    def side_by_side(name: str) -> np.ndarray:
        parts = [model.weights[f"{name}_{o}"][member] for o in range(len(model.specs))]
        return np.concatenate(parts, axis=1).astype(np.float64)

    loadings, bias = side_by_side("decoder"), side_by_side("bias")[0]
    log_noise = np.maximum(side_by_side("log_noise")[0], MIN_LOG_NOISE)
    precision, dims = np.exp(-log_noise), len(loadings)
    residual = np.where(seen, x - bias, 0.0)
    pairs = (loadings[:, None, :] * loadings[None, :, :] * precision).reshape(dims * dims, -1)
    inner = np.eye(dims) + (seen @ pairs.T).reshape(-1, dims, dims)
    slope = (residual * precision) @ loadings.T
    explained = (slope * np.linalg.solve(inner, slope[..., None])[..., 0]).sum(axis=1)
    square = (residual**2 * precision).sum(axis=1) - explained
    log_determinant = np.where(seen, log_noise, 0.0).sum(axis=1) + np.linalg.slogdet(inner)[1]
    return np.asarray(-0.5 * (square + log_determinant + np.log(2 * np.pi) * seen.sum(axis=1)))
