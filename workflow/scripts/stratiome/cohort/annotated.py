"""Matrices in AnnData and MuData files (`.h5ad`, `.h5mu`), dense or sparse, read in pieces."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stratiome.cohort.errors import CohortError, some_ids
from stratiome.cohort.matrix import MatrixFile
from stratiome.cohort.names import check_features, n_known, some_names, stripped, to_patients
from stratiome.cohort.source import check_present

SUFFIXES = (".h5ad", ".h5mu")


def annotated_names(path: Path) -> list[str]:
    """Names of the parts of an AnnData or MuData file: modalities, or `X` and layers.

    Raises
    ------
    CohortError
        If the file is absent or cannot be read.
    """
    with _open(path) as file:
        if path.suffix.lower() == ".h5mu":
            return sorted(file["mod"]) if "mod" in file else []
        return [*(["X"] if "X" in file else []), *sorted(file.get("layers", {}))]


def open_annotated(
    path: Path, patient_id: str, show_ids: bool, known: frozenset[str] | None, layer: str | None, modality: str | None
) -> MatrixFile:
    """Open a matrix of an AnnData or MuData file with patients as observations.

    Identifiers are those of the `obs` column `patient_id` if there is one, else the names of the observations. What a
    sparse matrix does not store is zero.

    Raises
    ------
    CohortError
        If the modality or layer is absent, identifiers or feature names are repeated, or values are no numbers.
    """
    with _open(path) as file:
        place, notes = _place(path, file, modality)
        values = _values_at(path, file, place, layer)
        ids, said = _observations(path, file, place, patient_id)
        names, blanks = stripped(map(str, _index(file[f"{place}var"])), "feature names")
        notes += [*said, *blanks, *_check_values(path, file, values)]
        shape = _shape(file[values])
    if known and n_known(ids, known) < n_known(names, known):
        raise CohortError(
            f"{path}: patients are variables, not observations. Suggestion: transpose it, as with `data.T.write_h5ad()`"
        )
    if shape != (len(ids), len(names)):
        raise CohortError(
            f"{path}: `{values}` is {shape[0]} x {shape[1]}, but there are {len(ids)} observations and {len(names)} "
            "variables. Suggestion: the file may be damaged; write it again"
        )
    _refuse_bad_identifiers(path, ids, show_ids)
    notes += check_features(path, names)
    patients, cut = to_patients(path, ids, known, show_ids)
    order = np.asarray(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)

    def blocks(rows: int) -> Iterator[np.ndarray]:
        yield from _blocks(path, values, len(ids), rows, order)

    return MatrixFile(path, tuple(patients), tuple(names[i] for i in order), blocks, (*notes, *cut))


def _open(path: Path) -> Any:
    import h5py

    check_present(path)
    try:
        return h5py.File(path, "r")
    except OSError:
        raise CohortError(
            f"{path}: not a readable {path.suffix} file. "
            "Suggestion: the file may be truncated; copy it again and compare its checksum"
        ) from None


def _place(path: Path, file: Any, modality: str | None) -> tuple[str, list[str]]:
    """Prefix of the matrix inside the file."""
    if path.suffix.lower() == ".h5ad":
        return "", []
    found = sorted(file["mod"]) if "mod" in file else []
    if modality is None and len(found) == 1:
        return f"mod/{found[0]}/", [f"the only modality of the file, {found[0]}, is read"]
    if modality in found:
        return f"mod/{modality}/", []
    near = difflib.get_close_matches(modality or "", found, n=1, cutoff=0.5)
    which = "no `modality` is given" if modality is None else f"there is no modality `{modality}`"
    fix = f"Did you mean `{near[0]}`?" if near else f"Suggestion: set `modality` to one of {some_names(found)}"
    raise CohortError(f"{path}: {which}. {fix}")


def _values_at(path: Path, file: Any, place: str, layer: str | None) -> str:
    where = f"{place}X" if layer is None else f"{place}layers/{layer}"
    if where in file:
        return where
    layers = sorted(file.get(f"{place}layers", {}))
    if layer is None:
        raise CohortError(f"{path}: has no `X`. Suggestion: set `layer` to one of {some_names(layers) or 'its layers'}")
    near = difflib.get_close_matches(layer, layers, n=1, cutoff=0.5)
    have = f"it has {some_names(layers)}" if layers else "it has none, leave the key out"
    fix = f"Did you mean `{near[0]}`?" if near else f"Suggestion: {have}"
    raise CohortError(f"{path}: has no layer `{layer}`. {fix}")


def _observations(path: Path, file: Any, place: str, patient_id: str) -> tuple[list[str], list[str]]:
    from anndata.io import read_elem

    obs = file[f"{place}obs"]
    if patient_id not in obs:
        ids, notes = stripped(map(str, _index(obs)), "identifiers")
        return ids, [f"identifiers are the names of the observations (`obs` has no column `{patient_id}`)", *notes]
    values = np.asarray(read_elem(obs[patient_id]), dtype=object)
    return stripped(("" if v is None or v != v else str(v) for v in values), "identifiers")


def _index(group: Any) -> Any:
    from anndata.io import read_elem

    return read_elem(group[group.attrs["_index"]])


def _shape(values: Any) -> tuple[int, int]:
    shape = values.attrs["shape"] if hasattr(values, "keys") else values.shape
    return int(shape[0]), int(shape[1])


def _check_values(path: Path, file: Any, where: str) -> list[str]:
    values = file[where]
    encoding = str(values.attrs.get("encoding-type", "array"))
    if hasattr(values, "keys") and encoding not in ("csr_matrix", "csc_matrix"):
        raise CohortError(f"{path}: `{where}` is stored as {encoding}. Suggestion: store it as an array or as CSR")
    stored = values["data"] if hasattr(values, "keys") else values
    if stored.dtype.kind not in "fiub":
        raise CohortError(f"{path}: `{where}` holds no numbers ({stored.dtype}). Suggestion: store it as numbers")
    if encoding == "csc_matrix":
        return ["stored by columns (CSC), so that its non-zero values are read whole"]
    return []


def _refuse_bad_identifiers(path: Path, ids: list[str], show_ids: bool) -> None:
    blank = sum(not i for i in ids)
    if blank:
        raise CohortError(f"{path}: {blank} observations have no identifier. Suggestion: name every patient")
    seen: set[str] = set()
    twice = sorted({i for i in ids if i in seen or seen.add(i)})  # type: ignore[func-returns-value]
    if twice:
        raise CohortError(
            f"{path}: {len(twice)} patients have several observations ({some_ids(twice, show_ids)}). "
            "Suggestion: keep one sample per patient; sum the counts of single cells to one row per patient"
        )


def _blocks(path: Path, where: str, n: int, rows: int, order: np.ndarray) -> Iterator[np.ndarray]:
    import h5py
    from anndata.io import sparse_dataset

    with h5py.File(path, "r") as file:
        stored = file[where]
        sparse = None
        if hasattr(stored, "keys"):
            sparse = sparse_dataset(stored)
            if sparse.format == "csc":
                sparse = sparse.to_memory().tocsr()
        for start in range(0, n, rows):
            stop = min(start + rows, n)
            part = stored[start:stop] if sparse is None else sparse[start:stop].toarray()
            yield np.ascontiguousarray(np.asarray(part, dtype=np.float32)[:, order])
