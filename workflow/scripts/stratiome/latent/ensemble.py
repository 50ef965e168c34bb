"""From many coordinates to few: principal components learned on training patients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    n, p = values.shape
    mean = values.mean(axis=0)
    centred = values - mean
    rank = min(dims, n - 1, p)
    eigenvalues, vectors = _leading(centred @ centred.T if n < p else centred.T @ centred, rank)
    if n < p:
        vectors = centred.T @ vectors
    return _projection(mean, eigenvalues, vectors, n, dims)


def fit_projection_in_pieces(values: Callable[[], Iterable[np.ndarray]], dims: int) -> Projection:
    """The same from patients who pass in pieces, by the covariance of the columns alone.

    Parameters
    ----------
    values
        Function that gives the pieces anew, `(n_rows, n_columns)` each, finite; they pass twice.
    dims
        Number of components.
    """
    n, total = 0, np.zeros(0)
    for piece in values():
        n, total = n + len(piece), (total if n else 0.0) + piece.sum(axis=0)
    mean = total / max(n, 1)
    small = np.zeros((len(mean), len(mean)))
    for piece in values():
        centred = piece - mean
        small += centred.T @ centred
    eigenvalues, vectors = _leading(small, min(dims, n - 1, len(mean)))
    return _projection(mean, eigenvalues, vectors, n, dims)


def _leading(small: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The `rank` largest eigenvalues of a symmetric matrix and their vectors as columns, falling."""
    from scipy.linalg import eigh

    size = len(small)
    if not rank:
        return np.zeros(0), np.zeros((size, 0))
    eigenvalues, vectors = eigh(small, subset_by_index=(size - rank, size - 1))
    return eigenvalues[::-1], vectors[:, ::-1]


def _projection(mean: np.ndarray, eigenvalues: np.ndarray, vectors: np.ndarray, n: int, dims: int) -> Projection:
    """Orthonormal components of `n` patients from eigenvectors of any length."""
    p, rank = len(mean), len(eigenvalues)
    lengths = np.sqrt((vectors**2).sum(axis=0))
    real = eigenvalues > 1e-12 * max(eigenvalues.max(initial=0.0), 1e-300)
    vectors = np.where(real, vectors / np.where(real, lengths, 1.0), 0.0)
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    components, variance = np.zeros((p, dims)), np.zeros(dims)
    components[:, :rank] = vectors * np.where(signs < 0, -1.0, 1.0)
    variance[:rank] = np.where(real, eigenvalues, 0.0) / max(n - 1, 1)
    return Projection(mean, components, variance)
