"""From many coordinates to few: principal components learned on training patients."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Projection:
    """Centre and leading principal components.

    Attributes
    ----------
    mean
        Shape `(n_columns,)`, of the training patients.
    components
        Shape `(n_columns, n_latent)`, orthonormal columns by falling variance, each with its largest entry positive;
        zero columns where the data have fewer directions.
    variance
        Shape `(n_latent,)`, of the training patients along the components.
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Scores of any patients, shape `(n_patients, n_latent)`."""
        return (values - self.mean) @ self.components

    def tensors(self) -> dict[str, np.ndarray]:
        """Numbers to store, with a prefix."""
        return {f"projection.{f.name}": getattr(self, f.name) for f in fields(self)}

    @classmethod
    def of(cls, tensors: dict[str, np.ndarray]) -> Projection:
        """The projection among stored numbers."""
        return cls(*(tensors[f"projection.{f.name}"] for f in fields(cls)))


def fit_projection(values: np.ndarray, dims: int) -> Projection:
    """Principal components by eigendecomposition of the smaller of covariance and Gram matrix.

    Parameters
    ----------
    values
        Shape `(n_train, n_columns)`, finite.
    dims
        Number of components.
    """
    from scipy.linalg import eigh

    n, p = values.shape
    mean = values.mean(axis=0)
    centred = values - mean
    rank = min(dims, n - 1, p)
    small = centred @ centred.T if n < p else centred.T @ centred
    size = len(small)
    eigenvalues, vectors = (
        eigh(small, subset_by_index=(size - rank, size - 1)) if rank else (np.zeros(0), np.zeros((p, 0)))
    )
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    if n < p:
        vectors = centred.T @ vectors
    lengths = np.sqrt((vectors**2).sum(axis=0))
    real = eigenvalues > 1e-12 * max(eigenvalues.max(initial=0.0), 1e-300)
    vectors = np.where(real, vectors / np.where(real, lengths, 1.0), 0.0)
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    components, variance = np.zeros((p, dims)), np.zeros(dims)
    components[:, :rank] = vectors * np.where(signs < 0, -1.0, 1.0)
    variance[:rank] = np.where(real, eigenvalues, 0.0) / max(n - 1, 1)
    return Projection(mean, components, variance)
