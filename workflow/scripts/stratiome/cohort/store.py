"""The cohort file: MuData on disk, its matrices written and read in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stratiome.cohort.matrix import CELLS_AT_ONCE, CHUNK


class OmicValues(Protocol):
    """An omic whose values are read in pieces; `StoredOmic` says what each part means."""

    @property
    def name(self) -> str: ...
    @property
    def patient_ids(self) -> tuple[str, ...]: ...
    @property
    def features(self) -> tuple[str, ...]: ...
    def rows(self, cells: int = CELLS_AT_ONCE) -> Iterator[tuple[slice, np.ndarray]]: ...
    def columns(self, cells: int = CELLS_AT_ONCE) -> Iterator[tuple[slice, np.ndarray]]: ...
    def take(self, rows: slice | np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class StoredOmic:
    """One omic of a cohort file.

    Attributes
    ----------
    path
        The cohort file.
    name, kind
        Name of the omic and its kind.
    patient_ids
        Length `n_patients`, sorted; the patients who have the omic.
    features
        Length `n_features`, sorted.
    unit
        `linear` where abundances came on a linear scale that their kind does not mean, else "".
    """

    path: str
    name: str
    kind: str
    patient_ids: tuple[str, ...]
    features: tuple[str, ...]
    unit: str = ""

    def rows(self, cells: int = CELLS_AT_ONCE) -> Iterator[tuple[slice, np.ndarray]]:
        """Values of some patients at a time, shape `(n_rows, n_features)`, float32, NaN where missing."""
        yield from self._pieces(cells, axis=0)

    def columns(self, cells: int = CELLS_AT_ONCE) -> Iterator[tuple[slice, np.ndarray]]:
        """Values of some features at a time, shape `(n_patients, n_columns)`, float32, NaN where missing."""
        yield from self._pieces(cells, axis=1)

    def values(self) -> np.ndarray:
        """The whole matrix, shape `(n_patients, n_features)`."""
        return self.take(slice(None))

    def take(self, rows: slice | np.ndarray) -> np.ndarray:
        """Values of a slice of the patients, or of increasing row numbers."""
        import h5py

        with h5py.File(self.path, "r") as file:
            return np.asarray(file[f"mod/{self.name}/X"][rows], dtype=np.float32)

    def _pieces(self, cells: int, axis: int) -> Iterator[tuple[slice, np.ndarray]]:
        import h5py

        shape = (len(self.patient_ids), len(self.features))
        step = max(1, cells // max(shape[1 - axis], 1))
        step = max(step // CHUNK[axis], 1) * CHUNK[axis] if step > CHUNK[axis] else step
        with h5py.File(self.path, "r") as file:
            stored = file[f"mod/{self.name}/X"]
            for start in range(0, shape[axis], step):
                piece = slice(start, min(start + step, shape[axis]))
                yield piece, np.asarray(stored[piece] if axis == 0 else stored[:, piece], dtype=np.float32)


def read_stored(path: str) -> tuple[Any, tuple[StoredOmic, ...]]:
    """Open a cohort file.

    Returns
    -------
    tuple
        `obs` of all patients (pandas, index = patient), and the omics in the order of the config. No value is read.
    """
    import mudata

    with mudata.set_options(pull_on_update=False):
        data = mudata.read_h5mu(path, backed="r")
    obs = data.obs.copy()
    found = []
    for name in map(str, data.uns["omics"]):
        part = data.mod[name]
        found.append(
            StoredOmic(
                path,
                name,
                str(part.uns["kind"]),
                tuple(map(str, part.obs_names)),
                tuple(map(str, part.var_names)),
                str(part.uns.get("unit", "")),
            )
        )
    data.file.close()
    return obs, tuple(found)


def create_matrix(file: Any, name: str, shape: tuple[int, int]) -> Any:
    """Make the place of an omic's values in an open cohort file (`h5py.File`); returns the data set to fill."""
    chunks = (min(CHUNK[0], max(shape[0], 1)), min(CHUNK[1], max(shape[1], 1)))
    group = file[f"mod/{name}"]
    if "X" in group:  # the mark of a matrix without values
        del group["X"]
    made = group.create_dataset("X", shape, np.float32, chunks=chunks, fillvalue=np.nan)
    made.attrs["encoding-type"] = "array"
    made.attrs["encoding-version"] = "0.2.0"
    return made


def write_unit(file: Any, name: str, unit: str) -> None:
    """Note the unit of an omic in an open cohort file."""
    import anndata

    anndata.io.write_elem(file[f"mod/{name}/uns"], "unit", unit)
