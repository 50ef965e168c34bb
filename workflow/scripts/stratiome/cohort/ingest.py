"""From files to one checked cohort: the union of patients, each omic with its own subset, nobody lost in silence."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stratiome import omics
from stratiome.cohort.clinical import Clinical, read_clinical
from stratiome.cohort.controls import Controls
from stratiome.cohort.errors import CohortError, some_ids
from stratiome.cohort.manifest import describe_input
from stratiome.cohort.matrix import MatrixFile, rows_at_once
from stratiome.cohort.read import open_matrix
from stratiome.cohort.scratch import scratch
from stratiome.cohort.sentinel import SentinelScreen
from stratiome.cohort.store import create_matrix, write_unit
from stratiome.cohort.study import Study, open_study_matrix, read_study
from stratiome.config import Config, resolve
from stratiome.omics.screen import UnitScreen
from stratiome.tables import OmicOverlap, PatientFlow, ReadNotes, from_rows

logger = logging.getLogger(__name__)

MIN_SHARED = 0.2
"""Patients of a matrix who are in the clinical table, as a share of the smaller of both, below which identifiers are
taken not to match."""


@dataclass(frozen=True)
class Measured:
    """One omic of a cohort.

    Attributes
    ----------
    source
        The file.
    patient_ids
        Patients of the cohort who have the omic, sorted.
    place
        Shape `(n_rows_of_the_file,)`, position of each row in `patient_ids`, -1 = not of the cohort.
    """

    source: MatrixFile
    patient_ids: tuple[str, ...]
    place: np.ndarray

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Increasing positions in `patient_ids` and the values of these patients, a piece at a time, in order.

        Rows in another order than that of the identifiers pass through a temporary file: written where they belong one
        by one, each would rewrite a piece of the cohort file.
        """
        pieces = ((self.place[rows], values) for rows, values in self.source.blocks())
        members = ((place[place >= 0], values[place >= 0] if (place < 0).any() else values) for place, values in pieces)
        if (np.diff(self.place[self.place >= 0]) > 0).all():
            yield from ((place, values) for place, values in members if len(place))
            return
        n_features = len(self.source.features)
        with scratch(len(self.patient_ids), n_features) as kept:
            for place, values in members:
                kept.put(place, 0, values)
            for rows, values in kept.rows(rows_at_once(n_features)):
                yield np.arange(rows.start, rows.stop), values

    def values(self) -> np.ndarray:
        """The whole matrix, shape `(n_patients, n_features)`, float32, rows as `patient_ids`."""
        whole = np.empty((len(self.patient_ids), len(self.source.features)), dtype=np.float32)
        for place, values in self.blocks():
            whole[place] = values
        return whole


@dataclass(frozen=True)
class Cohort:
    """A checked cohort.

    Attributes
    ----------
    clinical
        Clinical columns and outcome; its patients are the cohort.
    matrices
        Omic name -> the patients who have it, and where its values are.
    flow, overlap
        Contracts `PatientFlow` and `OmicOverlap`.
    inputs
        Lines of the manifest.
    notes
        Contract `ReadNotes`.
    """

    clinical: Clinical
    matrices: dict[str, Measured]
    flow: pl.DataFrame
    overlap: pl.DataFrame
    inputs: list[dict[str, Any]]
    notes: pl.DataFrame


def read_cohort(
    config: Config, clinical_path: Path, omic_paths: dict[str, Path], controls: Controls | None = None
) -> Cohort:
    """Read the clinical table and open every matrix; the values of matrices are read by `write_cohort`.

    Parameters
    ----------
    config
        The config.
    clinical_path, omic_paths
        Files, those of omics by name.
    controls
        Treatment -> negative-control outcome; default those of the config.

    Raises
    ------
    CohortError
        With the problems of every file together.
    """
    problems: list[str] = []
    clinical = None
    try:
        # Files have been looked at before any job started (`plan`); whether they are enough is said there.
        clinical = read_clinical(clinical_path, config, controls, enough=not config.data.from_files)
    except CohortError as error:
        problems += error.problems
    matrices: dict[str, MatrixFile] = {}
    known = None if clinical is None else frozenset(clinical.covariates["patient_id"].to_list())
    study = None
    if config.data.study is not None and clinical is not None:
        study = read_study(resolve(config.data.folder, config.data.study), config.data.patient_id)
    for name, path in omic_paths.items():
        try:
            matrices[name] = _open(config, name, path, known, study)
        except CohortError as error:
            problems += error.problems
    if clinical is None or problems:
        raise CohortError(problems)
    return _join(config, clinical, matrices, clinical_path, omic_paths)


def _open(config: Config, name: str, path: Path, known: frozenset[str] | None, study: Study | None) -> MatrixFile:
    omic, show_ids = config.data.omics.get(name), config.audit.ids_in_messages
    layer, modality = (omic.layer, omic.modality) if omic is not None else (None, None)
    if study is not None and path.suffix.lower() not in (".h5ad", ".h5mu", ".parquet"):
        matrix = open_study_matrix(study, path, show_ids)
    else:
        matrix = open_matrix(path, config.data.patient_id, show_ids, known, layer, modality)
    return matrix if omic is None or omic.only is None else _only(matrix, resolve(config.data.folder, omic.only), name)


def _only(matrix: MatrixFile, path: Path, omic: str) -> MatrixFile:
    """The features of a matrix that a text file lists."""
    asked = dict.fromkeys(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    kept = np.array([j for j, feature in enumerate(matrix.features) if feature in asked], dtype=np.int64)
    if not len(kept):
        raise CohortError(
            f"`data.omics.{omic}.only`: {path} lists none of the {len(matrix.features)} features of {matrix.path}. "
            "Suggestion: one feature a line, spelt as in the matrix"
        )
    note = f"{len(kept)} of {len(matrix.features)} features kept, those that `{path.name}` lists"
    lacking = len(asked) - len(kept)
    note += f"; {lacking} that it lists are not there" if lacking else ""

    def read_blocks(rows: int) -> Iterator[np.ndarray]:
        for values in matrix.read_blocks(rows):
            yield np.ascontiguousarray(values[:, kept])

    features = tuple(matrix.features[j] for j in kept)
    return replace(matrix, features=features, read_blocks=read_blocks, notes=(*matrix.notes, note))


def _join(
    config: Config,
    clinical: Clinical,
    matrices: dict[str, MatrixFile],
    clinical_path: Path,
    omic_paths: dict[str, Path],
) -> Cohort:
    ids = clinical.covariates["patient_id"].to_list()
    inputs = [describe_input("clinical", clinical_path, len(ids), clinical.covariates.width)]
    flow = [_step("read", "clinical table", len(ids), len(ids), "kept")]
    problems: list[str] = []
    kept: dict[str, Measured] = {}
    notes = [_note("clinical table", clinical_path, text) for text in clinical.notes]
    for name, matrix in matrices.items():
        notes += [_note(name, matrix.path, text) for text in matrix.notes]
        inputs.append(describe_input(name, omic_paths[name], len(matrix.patient_ids), len(matrix.features)))
        try:
            kept[name] = _members(name, matrix, ids, config.audit.ids_in_messages)
        except CohortError as error:
            problems += error.problems
            continue
        n_in, n_out = len(matrix.patient_ids), len(kept[name].patient_ids)
        flow.append(_step("read", name, n_in, n_out, "not in the clinical table" if n_out < n_in else "kept"))
    if problems:
        raise CohortError(problems)
    with_any = len(set().union(*(m.patient_ids for m in kept.values())))
    flow.append(_step("omics", "any omic", len(ids), with_any, "no omic measured" if with_any < len(ids) else "kept"))
    flow += clinical.flow
    n_left = len(ids)
    for reason, count in clinical.without_outcome.items():
        flow.append(_step("outcome", "endpoint", n_left, n_left - count, reason))
        n_left -= count
    flow.append(_step("outcome", "endpoint", n_left, n_left, "usable outcome"))
    return Cohort(
        clinical, kept, from_rows(flow, PatientFlow), _overlap(ids, kept), inputs, from_rows(notes, ReadNotes)
    )


def _members(name: str, matrix: MatrixFile, ids: list[str], show_ids: bool) -> Measured:
    """Rows of a matrix that are patients of the cohort."""
    known = set(ids)
    mine = sorted(known.intersection(matrix.patient_ids))
    strangers = sorted(set(matrix.patient_ids) - known)
    n = len(matrix.patient_ids)
    if not mine:
        raise CohortError(
            f"{matrix.path}: none of its {n} patients is in the clinical table "
            f"(first ones: {some_ids(strangers, show_ids)}; in the clinical table: {some_ids(ids, show_ids)})"
            f"{_alike(strangers, known, show_ids)}. "
            "Suggestion: check that both files use the same identifiers and that patients are rows, not columns"
        )
    if len(mine) / min(n, len(ids)) < MIN_SHARED:
        raise CohortError(
            f"{matrix.path}: only {len(mine)} of its {n} patients are in the clinical table of "
            f"{len(ids)} (others: {some_ids(strangers, show_ids)}). "
            "Suggestion: check that both files write identifiers alike; if most of its patients really belong to "
            "another cohort, remove them from the file"
        )
    if strangers:
        what = "%s: %d patients are not in the clinical table and are left out (%s)%s"
        logger.warning(what, name, len(strangers), some_ids(strangers, show_ids), _alike(strangers, known, show_ids))
    place = {patient: i for i, patient in enumerate(mine)}
    return Measured(matrix, tuple(mine), np.array([place.get(p, -1) for p in matrix.patient_ids], dtype=np.int64))


def _alike(strangers: list[str], known: set[str], show_ids: bool) -> str:
    """Hint at identifiers that differ in case, Unicode form, leading zeros, separators or an appended part only."""

    def bare(patient: str) -> str:
        return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", patient.lower())).lstrip("0")

    by_form = {bare(p): p for p in sorted(known)}
    for stranger in strangers[:100]:
        parts = re.split(r"[-_. ]", stranger)
        forms = [bare(stranger), *(bare("".join(parts[:j])) for j in range(len(parts) - 1, 0, -1))]
        match = next((by_form[f] for f in forms if f in by_form), None)
        if match is not None:
            example = f", as {stranger} for {match}" if show_ids else ""
            return f"; some differ in case, Unicode form, zeros, separators or an appended part only{example}"
    return ""


def _overlap(ids: list[str], matrices: dict[str, Measured]) -> pl.DataFrame:
    members = {name: set(m.patient_ids) for name, m in matrices.items()}
    sets = [" + ".join(n for n in members if i in members[n]) or "none" for i in ids]
    counts = pl.Series("omics", sets).value_counts().sort(["count", "omics"], descending=[True, False])
    return counts.select(pl.col("omics"), n=pl.col("count").cast(pl.Int64)).cast({"n": pl.Int64}).pipe(_ordered)


def _ordered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select([pl.col(c) for c in OmicOverlap.to_schema().columns])


def _note(scope: str, path: Path, text: str) -> dict[str, Any]:
    logger.warning("%s: %s", scope, text)
    return {"scope": scope, "file": path.name, "note": text}


def _step(step: str, scope: str, n_in: int, n_out: int, reason: str) -> dict[str, Any]:
    return {"step": step, "scope": scope, "n_in": n_in, "n_out": n_out, "reason": reason}


def write_cohort(cohort: Cohort, config: Config, path: str) -> pl.DataFrame:
    """Write as MuData: `obs` = all patients with their clinical columns, each modality its own subset.

    `X` holds the values as read. Values pass through memory in pieces, and the file takes its place when it is whole.

    Returns
    -------
    polars.DataFrame
        Contract `ReadNotes`: those of the cohort, and what its values said.

    Raises
    ------
    CohortError
        With what is wrong with the values of every matrix.
    """
    import anndata
    import h5py
    import mudata
    import pandas as pd

    modalities = {}
    for name, omic in cohort.matrices.items():
        modalities[name] = anndata.AnnData(
            obs=pd.DataFrame(index=pd.Index(omic.patient_ids, dtype=object)),
            var=pd.DataFrame(index=pd.Index(omic.source.features, dtype=object)),
            uns={"kind": config.omics[name]},
        )
    modalities["clinical"] = _clinical_modality(cohort.clinical.covariates)
    with mudata.set_options(pull_on_update=False):
        data = mudata.MuData(modalities)
    clinical = cohort.clinical.covariates.to_pandas().set_index("patient_id").reindex(data.obs_names)
    for column in clinical.columns:
        values = clinical[column]
        data.obs[column] = values if values.dtype.kind == "f" else pd.Categorical(values)
    data.uns["omics"] = np.asarray(list(cohort.matrices), dtype=str)
    target = Path(path)
    partial = target.with_name(f".{target.stem}.partial.h5mu")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        data.write_h5mu(partial)
        problems: list[str] = []
        notes: list[dict[str, Any]] = []
        with h5py.File(partial, "r+") as file:
            for name, omic in cohort.matrices.items():
                try:
                    kind = omics.get(config.omics[name])
                    said = _write_values(file, name, omic, kind, config.audit.ids_in_messages)
                    notes += [_note(name, omic.source.path, text) for text in said]
                except (CohortError, omics.OmicError) as error:
                    problems += getattr(error, "problems", [str(error)])
        if problems:
            raise CohortError(problems)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return pl.concat([cohort.notes, from_rows(notes, ReadNotes)])


def _write_values(file: Any, name: str, omic: Measured, kind: omics.OmicKind, show_ids: bool) -> list[str]:
    """Write the values of an omic; returns what is to be noted."""
    stored = create_matrix(file, name, (len(omic.patient_ids), len(omic.source.features)))
    screen, codes = UnitScreen(kind, len(omic.patient_ids)), SentinelScreen()
    anything = False
    for place, values in omic.blocks():
        kind.check(values, str(omic.source.path))
        screen.add(place, values)
        codes.add(values)
        anything = anything or bool(np.isfinite(values).any())
        stored[place[0] : place[-1] + 1] = values
    if not anything:
        raise CohortError(f"{omic.source.path}: no values. Suggestion: check how the matrix was exported")
    return codes.notes() + _settle_unit(file, name, omic, screen, show_ids)


def _settle_unit(file: Any, name: str, omic: Measured, screen: UnitScreen, show_ids: bool) -> list[str]:
    """Refuse a matrix in two units, and note down a linear scale, so that all that follows takes logarithms."""
    path, kind = omic.source.path, screen.kind
    two = screen.two_scales()
    if two is not None:
        ids = [patient for patient, member in zip(omic.patient_ids, two.members, strict=True) if member]
        said = (
            f"{path}: {len(ids)} of {len(omic.patient_ids)} patients seem to be measured in another unit "
            f"than the others ({some_ids(ids, show_ids)}): {two.text}"
        )
        if two.beyond_doubt and kind.name != "features":
            raise CohortError(
                f"{said}. Suggestion: bring all patients to one unit (a logarithm or a factor is missing in some, "
                "often those of one site or batch), or give the groups as two omics"
            )
        logger.warning("%s", said)
    if not screen.linear:
        return []
    write_unit(file, name, omics.LINEAR)
    return [
        f"kind `{kind.name}` is on a logarithmic scale, but the values are never negative, right-skewed and large: "
        "taken to be linear, log2(x + 1) is used within each patient; kind `features` keeps values as they are"
    ]


def _clinical_modality(covariates: pl.DataFrame) -> Any:
    """An empty modality of all patients, so that a patient without any omic is still part of the cohort."""
    import anndata
    import pandas as pd

    ids = pd.Index(covariates["patient_id"].to_list(), dtype=object)
    return anndata.AnnData(X=np.zeros((len(ids), 0), dtype=np.float32), obs=pd.DataFrame(index=ids))
