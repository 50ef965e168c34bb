"""Similarity network fusion (Wang et al. 2014, Nat Methods 11:333) as a latent space.

Each omic gives a network of patients; the networks exchange their neighbourhoods until they agree. The coordinates are
the leading eigenvectors of the normalised Laplacian of the fused network, as in spectral clustering. The published
method imputes missing omics and has no rule for new patients but to fuse again; what is done here is stated where it is
written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.features.block import FeatureSet
from stratiome.latent.errors import LatentError
from stratiome.latent.inputs import Inputs, OmicSpec, align, learn_specs

NEIGHBOURS = 20
WIDTH = 0.5
STEPS = 20
"""Number of neighbours, width of the kernel and number of exchanges as in the article and in SNFtool."""

DONORS = 10
"""Neighbours whose mean stands for a missing omic."""

MAX_PATIENTS = 10_000
"""All pairs of patients are compared: 10,000 take about 6 GB."""


@dataclass(frozen=True)
class FusionModel:
    """Coordinates of the training patients in the fused network, and what is needed to place others beside them.

    A network has no weights that could stand for its patients: the stored model holds their features, and must be kept
    like them.

    Attributes
    ----------
    specs
        One per omic.
    features
        One array per omic, shape `(n_train, n_features)`, float64, NaN where missing.
    coordinates
        Shape `(n_train, n_latent)`.
    """

    specs: tuple[OmicSpec, ...]
    features: tuple[np.ndarray, ...]
    coordinates: np.ndarray

    @classmethod
    def fit(cls, features: FeatureSet, dims: int) -> FusionModel:
        """Fuse the networks of the training patients who have at least one omic.

        Single missing cells count as the training mean; a missing omic is imputed (`impute`).

        Parameters
        ----------
        features
            Features of all patients.
        dims
            Number of eigenvectors.

        Raises
        ------
        LatentError
            If there are too many patients to compare all pairs.
        """
        specs = learn_specs(features, balance=True)
        inputs = align(features, specs)
        rows = features.train & inputs.has_any
        if rows.sum() > MAX_PATIENTS:
            raise LatentError(
                f"similarity network fusion compares all pairs of patients, and {rows.sum()} are more than "
                f"{MAX_PATIENTS}. Suggestion: take snf out of `latent.baselines`"
            )
        measured = tuple(raw[rows] for raw in inputs.raw)
        centred = [_centre(values, spec) for values, spec in zip(measured, specs, strict=True)]
        whole = impute(centred, inputs.observed[rows] > 0)
        fused = fuse([affinity(_distances(values, values)) for values in whole])
        return cls(specs, measured, spectral_coordinates(fused, dims))

    def refit(self, features: FeatureSet) -> FusionModel:
        """The same model learned on other features."""
        return FusionModel.fit(features, self.coordinates.shape[1])

    def transform(self, features: FeatureSet) -> np.ndarray:
        """Coordinates of any patients; a training patient, recognised by its measurements, keeps its own.

        A new patient is placed one exchange away from the fused network, with which the extension of Nystrom becomes a
        weighted mean: of the coordinates of the nearest training patients by each omic that both have, and of the
        omics. Each patient is placed alone, so others make no difference, and the network is not touched.

        Returns
        -------
        numpy.ndarray
            Shape `(n_patients, n_latent)`, float64; 0 for patients without any omic.
        """
        inputs = align(features, self.specs)
        known = {key: row for row, key in reversed(list(enumerate(_keys(self.features))))}
        own = np.array([known.get(key, -1) for key in _keys(inputs.raw)])
        placed = self.coordinates[np.maximum(own, 0)]
        new = (own < 0) & inputs.has_any
        if new.any():
            placed[new] = self._place(inputs, new)
        return np.where(inputs.has_any[:, None], placed, 0.0)

    def _place(self, inputs: Inputs, new: np.ndarray) -> np.ndarray:
        total = np.zeros((int(new.sum()), self.coordinates.shape[1]))
        omics = np.zeros(len(total))
        for spec, raw, known in zip(self.specs, inputs.raw, self.features, strict=True):
            values = raw[new]
            has, theirs = (np.isfinite(v).any(axis=1) for v in (values, known))
            if not has.any() or not theirs.any():
                continue
            network = _centre(known[theirs], spec)
            distance = _distances(_centre(values[has], spec), network)
            reach = _reach(distance), _reach(_distances(network, network), itself=True)
            total[has] += _strongest(_kernel(distance, *reach)) @ self.coordinates[theirs]
            omics[has] += 1
        return total / np.maximum(omics, 1)[:, None]

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Numbers and description to store."""
        values = {f"features.{s.name}": v for s, v in zip(self.specs, self.features, strict=True)}
        return {"coordinates": self.coordinates, **values}, {"kind": "snf"}

    @classmethod
    def from_state(
        cls, tensors: dict[str, np.ndarray], description: dict[str, Any], specs: tuple[OmicSpec, ...]
    ) -> FusionModel:
        """The model of a stored state."""
        return cls(specs, tuple(tensors[f"features.{s.name}"] for s in specs), tensors["coordinates"])


def affinity(distance: np.ndarray) -> np.ndarray:
    """Similarity by a Gaussian kernel whose width follows the density around both patients.

    Parameters
    ----------
    distance
        Shape `(n_patients, n_patients)`, symmetric, 0 on the diagonal.
    """
    reach = _reach(distance, itself=True)
    return _kernel(distance, reach, reach)


def impute(omics: list[np.ndarray], present: np.ndarray) -> list[np.ndarray]:
    """Give patients who lack an omic the mean of it in the nearest patients who have it (ties count).

    The article imputes by nearest neighbours as well. Distances are over the omics that both have, each with mean
    square one; a patient who shares none with anybody gets the training mean. (To fuse over the omics that a pair
    shares was tried and fails: those who have little but an omic of few distinct profiles, as mutations, become
    islands.)

    Parameters
    ----------
    omics
        One array per omic, shape `(n_patients, n_features)`, about the training mean.
    present
        Shape `(n_patients, n_omics)`, True where the patient has the omic.
    """
    n = len(present)
    total, shared = np.zeros((n, n)), present.astype(np.float64) @ present.T
    for values, has in zip(omics, present.T, strict=True):
        square = _distances(values[has], values[has]) ** 2
        total[np.ix_(has, has)] += square / max(float(square.mean()), np.finfo(float).tiny) if has.any() else 0.0
    distance = np.where(shared > 0, total / np.maximum(shared, 1.0), np.inf)
    whole = []
    for values, has in zip(omics, present.T, strict=True):
        filled, donors = values.copy(), np.flatnonzero(has)
        for i in np.flatnonzero(~has):
            far = distance[i, donors]
            limit = np.sort(far)[:DONORS][-1:] * (1 + 1e-9)
            near = donors[(far <= limit) & np.isfinite(far)] if len(donors) else donors
            filled[i] = values[near].mean(axis=0) if len(near) else 0.0
        whole.append(filled)
    return whole


def fuse(networks: list[np.ndarray]) -> np.ndarray:
    """Fused network of all patients.

    In each exchange the network of an omic becomes `S P S'`: `S` its own nearest neighbours, `P` the mean of the other
    networks (its own, if there is but one).

    Parameters
    ----------
    networks
        One per omic, shape `(n_patients, n_patients)`, similarities.

    Returns
    -------
    numpy.ndarray
        Shape `(n_patients, n_patients)`, symmetric, the diagonal at least one half.
    """
    one = np.eye(len(networks[0]))
    now = [_symmetric(_share(network)) for network in networks]
    local = [_strongest(network) for network in now]
    for _ in range(STEPS):
        total = np.sum(now, axis=0)
        others = [(total - own) / (len(now) - 1) if len(now) > 1 else own for own in now]
        now = [_symmetric((near @ (near @ p).T).T + one) for near, p in zip(local, others, strict=True)]
    fused = _share(np.mean(now, axis=0))
    return (fused + fused.T + one) / 2


def _share(similarity: np.ndarray) -> np.ndarray:
    return similarity / np.maximum(similarity.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def spectral_coordinates(network: np.ndarray, dims: int) -> np.ndarray:
    """Leading eigenvectors of the random walk on a network, without the constant one.

    They are those of the normalised Laplacian over the root of the degree (Shi & Malik 2000, IEEE Trans Pattern Anal
    22:888), scaled to mean square one by degree. Zero columns where there are fewer patients than coordinates.

    Parameters
    ----------
    network
        Shape `(n_patients, n_patients)`, symmetric, not negative.
    dims
        Number of coordinates.

    Returns
    -------
    numpy.ndarray
        Shape `(n_patients, n_latent)`, by falling eigenvalue, each with its largest entry positive.
    """
    from scipy.linalg import eigh

    n = len(network)
    rank = min(dims, n - 1)
    root = np.sqrt(network.sum(axis=1))
    coordinates = np.zeros((n, dims))
    if rank > 0:
        vectors = eigh(network / root[:, None] / root, subset_by_index=(n - 1 - rank, n - 2))[1][:, ::-1]
        vectors = vectors / root[:, None] * np.sqrt((root**2).sum())
        signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)])
        coordinates[:, :rank] = vectors * np.where(signs < 0, -1.0, 1.0)
    return coordinates


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distances, `(n_first, n_second)`."""
    from scipy.spatial.distance import cdist

    return cdist(first, second)


def _reach(distance: np.ndarray, *, itself: bool = False) -> np.ndarray:
    """Mean distance to the nearest neighbours, `(n_patients,)`; the nearest of all is left out if it is oneself."""
    return np.sort(distance, axis=1)[:, int(itself) : NEIGHBOURS + int(itself)].mean(axis=1) + np.spacing(1)


def _kernel(distance: np.ndarray, row_reach: np.ndarray, column_reach: np.ndarray) -> np.ndarray:
    width = (row_reach[:, None] + column_reach + distance) / 3
    width = WIDTH * (width * (width > np.spacing(1)) + np.spacing(1))
    return np.exp(-0.5 * (distance / width) ** 2) / (np.sqrt(2 * np.pi) * width)


def _strongest(similarity: np.ndarray) -> Any:
    """Similarity to the nearest neighbours (ties stay), rows scaled to sum one; sparse."""
    from scipy.sparse import csr_array

    share = 100 - 100 * min(NEIGHBOURS / similarity.shape[1], 1.0)
    kept = np.where(similarity >= np.percentile(similarity, share, axis=1, keepdims=True), similarity, 0.0)
    return csr_array(_share(kept))


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.T) / 2


def _centre(values: np.ndarray, spec: OmicSpec) -> np.ndarray:
    """Values about the training mean, 0 where missing."""
    return np.where(np.isfinite(values), values - spec.mean, 0.0)


def _keys(omics: Sequence[np.ndarray]) -> list[bytes]:
    """All measurements of each patient as one key."""
    rows = np.concatenate([np.where(np.isfinite(v), v + 0.0, np.nan) for v in omics], axis=1)
    return [row.tobytes() for row in rows]
