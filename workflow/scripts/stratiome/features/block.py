"""The numbers that models see: one block per omic, rows of the whole cohort, NaN where nothing was measured."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Likelihood = Literal["gaussian", "bernoulli"]

CHUNK = 4096
"""Patients that are looked at together where a cohort passes in pieces."""


@dataclass(frozen=True)
class Block:
    """Features of one omic.

    Attributes
    ----------
    name
        Name of the omic.
    values
        Shape `(n_patients, n_features)`, float32, NaN where missing; the whole row is NaN where the patient lacks the
        omic. Gaussian blocks are standardised on the training patients.
    likelihood
        Distribution that a generative model gives to the values.
    features
        Feature names, length `n_features`.
    counts
        Shape of `values`, float32, the raw counts behind them, NaN where missing; None unless asked for.
    library
        Shape `(n_patients,)`, float32, total count of the patient over all features, kept or not; None without counts.
    """

    name: str
    values: np.ndarray
    likelihood: Likelihood
    features: tuple[str, ...]
    counts: np.ndarray | None = None
    library: np.ndarray | None = None

    @property
    def present(self) -> np.ndarray:
        """Shape `(n_patients,)`, True where the patient has any value of this omic."""
        return np.isfinite(self.values).any(axis=1)

    @property
    def has_counts(self) -> bool:
        """Whether raw counts came along."""
        return self.counts is not None

    def take(self, rows: np.ndarray) -> Block:
        """The same omic of some of the patients."""
        counts, library = (None if part is None else part[rows] for part in (self.counts, self.library))
        return Block(self.name, self.values[rows], self.likelihood, self.features, counts, library)

    def hidden(self) -> Block:
        """The same omic, measured in nobody."""
        counts, library = (None if part is None else np.full_like(part, np.nan) for part in (self.counts, self.library))
        return Block(self.name, np.full_like(self.values, np.nan), self.likelihood, self.features, counts, library)


@dataclass(frozen=True)
class FeatureSet:
    """All blocks of a cohort in one resample, rows in the same order.

    Attributes
    ----------
    patient_ids
        Length `n_patients`, sorted.
    roles
        Length `n_patients`: train, test or out.
    blocks
        One block per omic, in the order of the config.
    """

    patient_ids: tuple[str, ...]
    roles: np.ndarray
    blocks: tuple[Block, ...]

    @property
    def train(self) -> np.ndarray:
        """Shape `(n_patients,)`, True for training patients."""
        return self.roles == "train"

    def take(self, rows: np.ndarray) -> FeatureSet:
        """Some of the patients, by index, in that order."""
        ids = tuple(self.patient_ids[i] for i in rows)
        return FeatureSet(ids, self.roles[rows], tuple(b.take(rows) for b in self.blocks))

    def only(self, omics: Collection[str]) -> FeatureSet:
        """The same patients seen with some of the omics; the others are hidden."""
        blocks = tuple(b if b.name in omics else b.hidden() for b in self.blocks)
        return FeatureSet(self.patient_ids, self.roles, blocks)


def pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Indices in groups of `CHUNK`."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def write_features(features: FeatureSet, path: str) -> None:
    """Write as MuData: one modality per omic holding only the patients who have it."""
    import anndata
    import mudata
    import pandas as pd

    modalities = {}
    for block in features.blocks:
        here = block.present
        ids = np.asarray(features.patient_ids, dtype=object)[here]
        modalities[block.name] = anndata.AnnData(
            X=block.values[here],
            obs=pd.DataFrame(
                {} if block.library is None else {"library": block.library[here]}, index=pd.Index(ids, dtype=object)
            ),
            var=pd.DataFrame(index=pd.Index(block.features, dtype=object)),
            layers={} if block.counts is None else {"counts": block.counts[here]},
            uns={"likelihood": block.likelihood},
        )
    with mudata.set_options(pull_on_update=False):
        data = mudata.MuData(modalities)
    roles = pd.Series(features.roles.astype(str), index=list(features.patient_ids))
    data.obs["role"] = pd.Categorical(roles.reindex(data.obs_names))
    data.uns["patient_ids"] = np.asarray(features.patient_ids, dtype=str)
    data.uns["roles"] = features.roles.astype(str)
    data.uns["omics"] = np.asarray([b.name for b in features.blocks], dtype=str)
    data.write_h5mu(path)


def read_features(path: str) -> FeatureSet:
    """Read what `write_features` wrote, all of it."""
    with StoredFeatures(path) as stored:
        return stored.take(np.arange(len(stored.patient_ids)))


class _Rows:
    """Rows of a two-dimensional float32 dataset of an HDF5 file, read in any order without mapping the file.

    An uncompressed dataset is read from its place in the file: HDF5's own selection of scattered rows takes a
    hundred times as long, and a memory map would count as memory.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.width = dataset, int(dataset.shape[1])
        plain = dataset.chunks is None and dataset.dtype == np.dtype("<f4") and dataset.external is None
        self.start = dataset.id.get_offset() if plain else None

    def read(self, descriptor: int, at: np.ndarray) -> np.ndarray:
        """Rows `at`, shape `(len(at), n_columns)`, float32."""
        order = np.argsort(at, kind="stable")
        place = at[order]
        ordered = np.empty((len(at), self.width), dtype=np.float32)
        starts = np.flatnonzero(np.diff(place, prepend=-2) != 1)
        ends = np.append(starts[1:], len(at)) if len(at) else starts
        for first, last in zip(starts, ends, strict=True):
            if self.start is None:
                ordered[first:last] = self.dataset[place[first] : place[last - 1] + 1]
            else:
                _read_into(descriptor, ordered[first:last], self.start + int(place[first]) * 4 * self.width)
        found = np.empty_like(ordered)
        found[order] = ordered
        return found


def _read_into(descriptor: int, target: np.ndarray, offset: int) -> None:
    left = memoryview(target).cast("B")  # type: ignore[arg-type]
    while len(left):
        n = os.preadv(descriptor, [left], offset)
        if n <= 0:
            raise OSError("the features end before their last patient. Suggestion: run build_features again")
        left, offset = left[n:], offset + n


class StoredBlock:
    """One omic of stored features; the numbers stay on disk.

    Attributes
    ----------
    name, likelihood, features, library
        As in `Block`.
    present
        Shape `(n_patients,)`, True where the patient has the omic.
    """

    def __init__(self, name: str, group: Any, row: dict[str, int]) -> None:
        from anndata.io import read_elem

        self.name = name
        obs, layers = read_elem(group["obs"]), group.get("layers", {})
        self.features = tuple(str(v) for v in read_elem(group["var"]).index)
        likelihood = str(read_elem(group["uns"]["likelihood"]))
        self.likelihood: Likelihood = "bernoulli" if likelihood == "bernoulli" else "gaussian"
        self._at = np.full(len(row), -1, dtype=np.int64)
        self._at[[row[str(i)] for i in obs.index]] = np.arange(len(obs))
        self._values = _Rows(group["X"])
        self._counts = _Rows(layers["counts"]) if "counts" in layers else None
        self.present = self._at >= 0
        self.library: np.ndarray | None = None
        if "library" in obs:
            self.library = np.full(len(row), np.nan, dtype=np.float32)
            self.library[self.present] = obs["library"].to_numpy(np.float32)[self._at[self.present]]

    @property
    def has_counts(self) -> bool:
        """Whether raw counts came along."""
        return self._counts is not None

    def take(self, rows: np.ndarray, descriptor: int) -> Block:
        """The omic of some patients, in memory."""
        read = [None if part is None else self._fill(part, rows, descriptor) for part in (self._values, self._counts)]
        library = None if self.library is None else self.library[rows]
        return Block(self.name, read[0], self.likelihood, self.features, read[1], library)  # type: ignore[arg-type]

    def _fill(self, part: _Rows, rows: np.ndarray, descriptor: int) -> np.ndarray:
        at = self._at[rows]
        values = np.full((len(rows), part.width), np.nan, dtype=np.float32)
        values[at >= 0] = part.read(descriptor, at[at >= 0])
        return values


class StoredFeatures:
    """Features of a cohort as `write_features` wrote them, of which only the asked-for patients come into memory.

    Attributes
    ----------
    patient_ids, roles
        As in `FeatureSet`.
    blocks
        One `StoredBlock` per omic.
    """

    def __init__(self, path: str) -> None:
        import h5py
        from anndata.io import read_elem

        self._file = h5py.File(path, "r")
        self._descriptor = os.open(path, os.O_RDONLY)
        uns = {key: read_elem(self._file["uns"][key]) for key in ("patient_ids", "roles", "omics")}
        self.patient_ids = tuple(str(i) for i in uns["patient_ids"])
        self.roles = np.asarray(uns["roles"]).astype(str)
        row = {patient: i for i, patient in enumerate(self.patient_ids)}
        self.blocks = tuple(StoredBlock(str(o), self._file["mod"][str(o)], row) for o in uns["omics"])

    @property
    def train(self) -> np.ndarray:
        """Shape `(n_patients,)`, True for training patients."""
        return self.roles == "train"

    def take(self, rows: np.ndarray) -> FeatureSet:
        """Some of the patients, by index, in that order."""
        ids = tuple(self.patient_ids[i] for i in rows)
        return FeatureSet(ids, self.roles[rows], tuple(b.take(rows, self._descriptor) for b in self.blocks))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        os.close(self._descriptor)

    def __enter__(self) -> StoredFeatures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
