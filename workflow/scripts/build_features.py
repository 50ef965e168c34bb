"""Rule build_features: features learned on training patients, applied to all."""

import numpy as np
import polars as pl

from stratiome import omics
from stratiome.cohort.store import read_stored
from stratiome.config import FeatureConfig
from stratiome.features.adjust import protected_design
from stratiome.features.block import FeatureSet, write_features
from stratiome.features.build import add_counts, fit_transform, make_block, save_transforms, summarise
from stratiome.tables import FeatureSummary, Resamples, from_rows, read_table, write_table


def main(
    *,
    cohort_file: str,
    resample_table: str,
    feature_file: str,
    transforms: str,
    summary: str,
    features: FeatureConfig,
    site: str | None,
    resample: str,
    counts: bool = False,
) -> None:
    """Make the features of one resample."""
    obs, stored = read_stored(cohort_file)
    roles = read_table(resample_table, Resamples).filter(pl.col("resample") == resample).sort("patient_id")
    ids = roles["patient_id"].to_list()
    role = roles["role"].to_numpy().astype(str)
    row = {patient: i for i, patient in enumerate(ids)}
    where = None
    if site and features.adjust_site:
        where = obs[site].reindex(ids).astype(object).fillna("").astype(str).to_numpy()
    protected = protected_design(obs.reindex(ids), features.protect, role == "train") if where is not None else None
    blocks, fitted, names, rows = [], {}, {}, []
    for omic in sorted(stored, key=lambda o: o.name):  # the order of omics in the config changes no result
        kind = omics.get(omic.kind, omic.unit)
        values = np.full((len(ids), len(omic.features)), np.nan, dtype=np.float32)
        place = np.array([row[patient] for patient in omic.patient_ids])
        for part, read in omic.rows():
            values[place[part]] = kind.scale(read)
        name = omic.name
        names[name] = omic.features
        at = where if kind.continuous else None
        fitted[name] = fit_transform(
            values, role == "train", features, continuous=kind.continuous, site=at, protected=protected
        )
        block = make_block(name, values, names[name], fitted[name], kind.likelihood, at)
        if counts and omic.kind == "counts":
            block = add_counts(block, fitted[name], place, omic.rows())
        measured = (role == "train") & np.isfinite(values).any(axis=1)
        rows.append({"resample": resample} | summarise(name, block, fitted[name], measured))
        if len(fitted[name].keep):
            blocks.append(block)
    if not blocks:
        raise omics.OmicError(
            f"resample {resample}: no feature of any omic varies in the training patients. "
            "Suggestion: see the quality tables; raise `features.max_missing` if values are missing"
        )
    write_features(FeatureSet(tuple(ids), role, tuple(blocks)), feature_file)
    save_transforms(fitted, names, transforms, {omic.name: omic.unit for omic in stored})
    write_table(from_rows(rows, FeatureSummary), summary, FeatureSummary)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
