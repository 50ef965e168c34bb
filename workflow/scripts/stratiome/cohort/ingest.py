"""From files to one checked cohort: the union of patients, each omic with its own subset, nobody lost in silence."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stratiome import omics
from stratiome.cohort.clinical import Clinical, read_clinical
from stratiome.cohort.errors import CohortError, some_ids
from stratiome.cohort.manifest import describe_input
from stratiome.cohort.read import Matrix, read_matrix
from stratiome.config import Config
from stratiome.tables import OmicOverlap, PatientFlow, from_rows

logger = logging.getLogger(__name__)

MIN_SHARED = 0.2
"""Patients of a matrix who are in the clinical table, as a share of the smaller of both, below which identifiers are
taken not to match."""


@dataclass(frozen=True)
class Cohort:
    """A checked cohort.

    Attributes
    ----------
    clinical
        Clinical columns and outcome; its patients are the cohort.
    matrices
        Omic name -> matrix of the patients who have it.
    flow, overlap
        Contracts `PatientFlow` and `OmicOverlap`.
    inputs
        Lines of the manifest.
    """

    clinical: Clinical
    matrices: dict[str, Matrix]
    flow: pl.DataFrame
    overlap: pl.DataFrame
    inputs: list[dict[str, Any]]


def read_cohort(config: Config, clinical_path: Path, omic_paths: dict[str, Path]) -> Cohort:
    """Read and check all files of a cohort.

    Raises
    ------
    CohortError
        With the problems of every file together.
    """
    problems: list[str] = []
    clinical = None
    try:
        clinical = read_clinical(clinical_path, config)
    except CohortError as error:
        problems += error.problems
    matrices: dict[str, Matrix] = {}
    for name, path in omic_paths.items():
        try:
            matrix = read_matrix(path, config.data.patient_id, config.audit.ids_in_messages)
            omics.get(config.omics[name]).check(matrix.values, matrix.features, str(path))
            matrices[name] = matrix
        except (CohortError, omics.OmicError) as error:
            problems += getattr(error, "problems", [str(error)])
    if clinical is None or problems:
        raise CohortError(problems)
    return _join(config, clinical, matrices, clinical_path, omic_paths)


def _join(
    config: Config, clinical: Clinical, matrices: dict[str, Matrix], clinical_path: Path, omic_paths: dict[str, Path]
) -> Cohort:
    ids = clinical.covariates["patient_id"].to_list()
    known = set(ids)
    inputs = [describe_input("clinical", clinical_path, len(ids), clinical.covariates.width)]
    flow = [_step("read", "clinical table", len(ids), len(ids), "kept")]
    kept: dict[str, Matrix] = {}
    for name, matrix in matrices.items():
        inputs.append(describe_input(name, omic_paths[name], len(matrix.patient_ids), len(matrix.features)))
        here = np.array([i in known for i in matrix.patient_ids])
        strangers = [i for i, yes in zip(matrix.patient_ids, here, strict=True) if not yes]
        if not here.any():
            raise CohortError(
                f"{omic_paths[name]}: none of its {len(here)} patients is in the clinical table "
                f"(first ones: {some_ids(strangers, config.audit.ids_in_messages)}). "
                "Suggestion: check that patients are "
                "rows, not columns, and that both files use the same identifiers"
            )
        shared = int(here.sum()) / min(len(here), len(ids))
        if shared < MIN_SHARED:
            raise CohortError(
                f"{omic_paths[name]}: only {int(here.sum())} of its {len(here)} patients are in the clinical table of "
                f"{len(ids)} (others: {some_ids(strangers, config.audit.ids_in_messages)}). "
                "Suggestion: check that both files write identifiers alike; if most of its patients really belong to "
                "another cohort, remove them from the file"
            )
        if strangers:
            logger.warning("%s: %d patients are not in the clinical table and are left out", name, len(strangers))
        n_in = len(here)
        flow.append(_step("read", name, n_in, int(here.sum()), "not in the clinical table" if strangers else "kept"))
        kept[name] = Matrix(
            tuple(i for i, yes in zip(matrix.patient_ids, here, strict=True) if yes),
            matrix.features,
            matrix.values[here],
        )
    n_left = len(ids)
    for reason, count in clinical.without_outcome.items():
        flow.append(_step("outcome", "endpoint", n_left, n_left - count, reason))
        n_left -= count
    flow.append(_step("outcome", "endpoint", n_left, n_left, "usable outcome"))
    return Cohort(clinical, kept, from_rows(flow, PatientFlow), _overlap(ids, kept), inputs)


def _overlap(ids: list[str], matrices: dict[str, Matrix]) -> pl.DataFrame:
    members = {name: set(m.patient_ids) for name, m in matrices.items()}
    sets = [" + ".join(n for n in members if i in members[n]) or "none" for i in ids]
    counts = pl.Series("omics", sets).value_counts().sort(["count", "omics"], descending=[True, False])
    return counts.select(pl.col("omics"), n=pl.col("count").cast(pl.Int64)).cast({"n": pl.Int64}).pipe(_ordered)


def _ordered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select([pl.col(c) for c in OmicOverlap.to_schema().columns])


def _step(step: str, scope: str, n_in: int, n_out: int, reason: str) -> dict[str, Any]:
    return {"step": step, "scope": scope, "n_in": n_in, "n_out": n_out, "reason": reason}


def write_cohort(cohort: Cohort, config: Config, path: str) -> None:
    """Write as MuData: `obs` = all patients with their clinical columns, each modality its own subset.

    `X` holds the values as read, layer `scaled` the values on the scale that models use (a change of scale within each
    patient, nothing fitted).
    """
    import anndata
    import mudata
    import pandas as pd

    modalities = {}
    for name, matrix in cohort.matrices.items():
        kind = omics.get(config.omics[name])
        modalities[name] = anndata.AnnData(
            X=matrix.values,
            obs=pd.DataFrame(index=pd.Index(matrix.patient_ids, dtype=object)),
            var=pd.DataFrame(index=pd.Index(matrix.features, dtype=object)),
            layers={"scaled": kind.scale(matrix.values)},
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
    data.write_h5mu(path)


def _clinical_modality(covariates: pl.DataFrame) -> Any:
    """An empty modality of all patients, so that a patient without any omic is still part of the cohort."""
    import anndata
    import pandas as pd

    ids = pd.Index(covariates["patient_id"].to_list(), dtype=object)
    return anndata.AnnData(X=np.zeros((len(ids), 0), dtype=np.float32), obs=pd.DataFrame(index=ids))
