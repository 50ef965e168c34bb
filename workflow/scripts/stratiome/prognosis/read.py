"""What the survival models of one resample see, read from the files of the stages before."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.config import DataConfig
from stratiome.prognosis.models import Inputs, Omic
from stratiome.survival.design import ClinicalDesign
from stratiome.survival.outcome import check_outcome

logger = logging.getLogger("stratiome.prognosis")


@dataclass(frozen=True)
class Read:
    """Inputs of the models, and what they were made of.

    Attributes
    ----------
    inputs
        Inputs, rows in the order of the patients that were asked for.
    design
        How the clinical columns became numbers.
    clinical
        Clinical table in the same order.
    """

    inputs: Inputs
    design: ClinicalDesign
    clinical: pl.DataFrame


def read_roles(path: str, resample: str, patients: tuple[str, ...]) -> np.ndarray:
    """Role of each patient in a resample, `out` where the table does not name the patient; shape `(n_patients,)`."""
    table = tables.read_table(path, tables.Resamples).filter(pl.col("resample") == resample)
    known = dict(zip(table["patient_id"], table["role"], strict=True))
    return np.array([known.get(p, "out") for p in patients], dtype=str)


def read_inputs(
    patients: tuple[str, ...],
    omics: tuple[Omic, ...],
    roles: np.ndarray,
    clinical: str,
    outcome: str,
    latents: str,
    data: DataConfig,
    covariates: tuple[str, ...],
    *,
    competing: bool = False,
) -> Read:
    """Inputs of the models; patients without an outcome do not train.

    Parameters
    ----------
    patients
        Identifiers in the order of the rows.
    omics
        Features of the resample, rows in this order.
    roles
        Shape `(n_patients,)`, as of `read_roles`.
    clinical, outcome, latents
        Paths.
    data
        Types of clinical columns.
    covariates
        Clinical columns of the baseline model.
    competing
        Whether deaths of other causes are told apart from censoring (`endpoint.competing`).

    Raises
    ------
    OutcomeError
        If a time is not positive and finite, or an event is not 0 or 1.
    """
    ids = pl.DataFrame({"patient_id": list(patients)}, schema={"patient_id": pl.String})
    table = ids.join(pl.read_parquet(clinical), on="patient_id", how="left", maintain_order="left")
    times = ids.join(tables.read_table(outcome, tables.Outcome), on="patient_id", how="left", maintain_order="left")
    usable = times["time_months"].is_not_null().to_numpy()
    train = usable & (roles == "train")
    time, event = np.zeros(len(roles)), np.zeros(len(roles), dtype=bool)
    known = times.filter(pl.Series(usable))
    time[usable], event[usable] = check_outcome(known["time_months"].to_numpy(), known["event"].to_numpy())
    counts = (int((roles == "train").sum()), int(train.sum()), int(event[train].sum()))
    logger.info("%d training patients, %d with an outcome, %d events", *counts)
    design = ClinicalDesign.fit(table, covariates, data.types, train)
    scores, factors, n_omics = _latents(latents, patients)
    inputs = Inputs(train, time, event, design.transform(table), tuple(design.names), omics, scores, n_omics, factors)
    if competing:
        others = np.zeros(len(roles), dtype=bool)
        others[usable] = known["competing"].to_numpy() == 1
        inputs = replace(inputs, competing=others)
    return Read(inputs, design, table)


def _latents(path: str, patients: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Latents, MOFA+ factors (None where it did not run), and the number of omics of every patient."""
    import anndata

    stored = anndata.read_h5ad(path)
    row = {str(p): i for i, p in enumerate(stored.obs_names)}
    here = [i for i, p in enumerate(patients) if p in row]
    there = [row[patients[i]] for i in here]

    def of(name: str) -> np.ndarray:
        # A patient without any omic has no latent: kept as missing here, at the training mean in the model.
        values = np.asarray(stored.obsm[name], dtype=np.float64)
        scores = np.full((len(patients), values.shape[1]), np.nan)
        scores[here] = values[there]
        return scores

    n_omics = np.zeros(len(patients), dtype=np.int64)
    n_omics[here] = stored.obs["n_omics"].to_numpy()[there]
    return of("vae"), of("mofa") if "mofa" in stored.obsm else None, n_omics
