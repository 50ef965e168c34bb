"""Attribute the predicted risk of the held-out patients of one resample to omics, features and gene sets."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.config import DataConfig, EndpointConfig, PrognosisConfig
from stratiome.features.block import read_features
from stratiome.latent.inputs import Inputs as LatentInputs
from stratiome.latent.inputs import align
from stratiome.latent.model import LatentModel
from stratiome.prognosis.attributions import BlockOf, Named, by_block, of_features, of_gene_sets, rank_agreement
from stratiome.prognosis.explain import Attribution, attribute_risk
from stratiome.prognosis.models import Inputs, Linear, Omic, fit_models
from stratiome.prognosis.permute import CLINICAL
from stratiome.prognosis.read import read_inputs, read_roles
from stratiome.subgroups.gmt import read_gmt
from stratiome.survival.outcome import time_grid

logger = logging.getLogger("stratiome.prognosis")

MODEL = "clinical_latent"
"""The model that is explained."""
MOST_PATIENTS = 1000
"""Held-out patients that are explained; of more, so many at random."""


def main(
    *,
    clinical: str,
    outcome: str,
    resamples: str,
    features: str,
    latents: str,
    weights: str,
    description: str,
    contributions: str,
    attributions: str,
    checks: str,
    data: DataConfig,
    endpoint: EndpointConfig,
    covariates: tuple[str, ...],
    prognosis: PrognosisConfig,
    min_genes: int,
    seed: int,
    resample: str,
    gene_sets: list[str] | None = None,
) -> None:
    """Fit the model on latents as `fit_prognosis` does, attribute, and write the three tables."""
    measured = read_features(features)
    roles = read_roles(resamples, resample, measured.patient_ids)
    omics = tuple(Omic(b.name, b.values, b.features) for b in measured.blocks)
    # Deaths of other causes count as censored here: the cause-specific risk is explained, and the report says so.
    read = read_inputs(measured.patient_ids, omics, roles, clinical, outcome, latents, data, covariates)
    model = LatentModel.load(weights, description)
    aligned = align(measured, model.specs)
    held_out = np.flatnonzero((roles == "test") & aligned.has_any)
    rng = np.random.default_rng([seed, 3])
    rows = np.sort(rng.choice(held_out, MOST_PATIENTS, replace=False)) if len(held_out) > MOST_PATIENTS else held_out
    linear = _fitted(read.inputs, endpoint, prognosis, seed) if len(rows) else None
    parts: list[dict] = []
    named: list[Named] = []
    said: list[dict] = []
    if linear is not None:
        sets = {s.name: s.genes for path in gene_sets or [] for s in read_gmt(Path(path))}
        found = _attribute(linear, model, aligned, read.inputs, rows, endpoint)
        blind = _attribute(linear, model.shuffled(seed), aligned, read.inputs, rows, endpoint)
        blocks = _blocks(model, aligned, rows)
        logger.info("%d patients explained, %d steps, error %.2g", len(rows), found.steps, found.error)
        for block in blocks:
            own = found.omics[:, block.columns]
            named += of_features(block, own, aligned.centred[rows][:, block.columns])
            named += of_gene_sets(block, own, sets, min_genes, rng)
            shuffled = rank_agreement(own[block.present], blind.omics[:, block.columns][block.present])
            said.append(_check(resample, block.name, int(block.present.sum()), found, shuffled))
        named += _of_variables(read.inputs, found.clinical, rows)
        present = {b.name: b.present for b in blocks}  # an omic that a patient lacks contributes nothing to the mean
        for name, values in by_block(blocks, found, CLINICAL).items():
            has = present.get(name, np.ones(len(rows), dtype=bool))
            parts += [
                {"patient_id": measured.patient_ids[i], "resample": resample, "block": name, "contribution": float(v)}
                for i, v in zip(rows[has], values[has], strict=True)
            ]
    tables.write_table(
        tables.from_rows(parts, tables.PrognosisContributions), contributions, tables.PrognosisContributions
    )
    tables.write_table(_named(named, resample), attributions, tables.PrognosisAttributions)
    tables.write_table(
        tables.from_rows(said, tables.PrognosisAttributionChecks), checks, tables.PrognosisAttributionChecks
    )


def _fitted(inputs: Inputs, endpoint: EndpointConfig, prognosis: PrognosisConfig, seed: int) -> Linear | None:
    """The model that is explained; None where it was not asked for or another stands in."""
    if MODEL not in prognosis.models:
        return None
    alone = prognosis.model_copy(update={"models": (MODEL,)})
    rng = np.random.default_rng(seed)
    fits = fit_models(inputs, time_grid(endpoint), alone, tau=endpoint.tau_months, rng=rng)
    return next((f.linear for f in fits if f.model == MODEL), None)


def _attribute(
    linear: Linear,
    model: LatentModel,
    aligned: LatentInputs,
    inputs: Inputs,
    rows: np.ndarray,
    endpoint: EndpointConfig,
) -> Attribution:
    import torch

    places = model.differentiable()
    with torch.no_grad():
        found = places(torch.from_numpy(aligned.centred), torch.from_numpy(aligned.observed)).numpy()
    return attribute_risk(
        linear,
        places,
        aligned.centred,
        aligned.observed,
        inputs.clinical,
        inputs.clinical_names,
        np.where(aligned.has_any[:, None], found, 0.0),
        inputs.train,
        rows,
        endpoint.horizons_months[-1],
    )


def _of_variables(inputs: Inputs, contributions: np.ndarray, rows: np.ndarray) -> list[Named]:
    """Clinical columns by variable: classes of one are added up, as which of them is the reference differs by fold."""
    variable = [name.split(": ")[0] for name in inputs.clinical_names]
    names = tuple(dict.fromkeys(variable))
    parts = [[j for j, v in enumerate(variable) if v == name] for name in names]
    sums = np.column_stack([contributions[:, own].sum(axis=1) for own in parts]) if parts else contributions
    values = np.column_stack([inputs.clinical[rows][:, own[0]] for own in parts]) if parts else contributions
    everyone = BlockOf(CLINICAL, names, slice(0, 0), np.ones(len(rows), dtype=bool))
    return [
        n if len(own) == 1 and ": " not in inputs.clinical_names[own[0]] else replace(n, direction=None)
        for n, own in zip(of_features(everyone, sums, values), parts, strict=True)
    ]


def _blocks(model: LatentModel, aligned: LatentInputs, rows: np.ndarray) -> list[BlockOf]:
    made, start = [], 0
    for o, spec in enumerate(model.specs):
        stop = start + len(spec.features)
        made.append(BlockOf(spec.name, spec.features, slice(start, stop), aligned.observed[rows, o] > 0))
        start = stop
    return made


def _check(resample: str, block: str, n: int, found: Attribution, shuffled: float | None) -> dict:
    return {
        "resample": resample, "block": block, "n": n, "steps": found.steps, "error": found.error, "shuffled": shuffled,
    }  # fmt: skip


def _named(named: list[Named], resample: str) -> pl.DataFrame:
    rows = [{"resample": resample} | vars(n) for n in named]
    return tables.from_rows(rows, tables.PrognosisAttributions)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
