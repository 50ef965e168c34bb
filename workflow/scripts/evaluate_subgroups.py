"""Rule evaluate_subgroups: what the subgroups are and whether they hold on patients they were not learned on."""

from pathlib import Path

import polars as pl

from stratiome.config import Config, DataConfig, EndpointConfig, EvaluationConfig
from stratiome.features.block import read_features
from stratiome.quality.variables import all_variables, read_samples
from stratiome.subgroups import describe, survival
from stratiome.subgroups.batch import association_table, measured_omics, sites_table
from stratiome.subgroups.match import chosen_k, pool_held_out
from stratiome.subgroups.single import single_features_table
from stratiome.subgroups.sites import site_labels, site_summary_table, site_survival_table
from stratiome.survival.design import column_type
from stratiome.tables import (
    Outcome,
    Resamples,
    SubgroupAgreement,
    SubgroupAssignment,
    SubgroupAssociations,
    SubgroupCurves,
    SubgroupMarkers,
    SubgroupProfile,
    Subgroups,
    SubgroupSelection,
    SubgroupSingleFeatures,
    SubgroupSites,
    SubgroupSiteSummary,
    SubgroupSiteSurvival,
    SubgroupStability,
    SubgroupSummary,
    SubgroupSurvival,
    SubgroupTests,
    SurvivalTests,
    Truth,
    read_table,
    write_table,
)


def main(
    *,
    clinical: str,
    outcome: str,
    resamples: str,
    features: str,
    assignments: list[str],
    selections: list[str],
    stabilities: list[str],
    assignment: str,
    summary: str,
    agreement: str,
    profile: str,
    markers: str,
    single: str,
    curves: str,
    tests: str,
    comparisons: str,
    restricted: str,
    associations: str,
    sites: str,
    site_survival: str,
    site_summary: str,
    selection: str,
    endpoint: EndpointConfig,
    covariates: tuple[str, ...],
    known_labels: tuple[str, ...],
    site: str | None,
    evaluation: EvaluationConfig,
    data: DataConfig,
    seed: int,
    analysis: Config,
    samples: list[str] | None = None,
    truth: list[str] | None = None,
) -> None:
    """Pool held-out labels over the folds and describe subgroups; `features` are those of `full`."""
    # Locked patients take no part in any of this, not even in the tests of known labels or in the map.
    roles = read_table(resamples, Resamples).filter(pl.col("resample") == "full", pl.col("role") == "train")
    table, usable = (
        read.join(roles, on="patient_id", how="semi", maintain_order="left")
        for read in (pl.read_parquet(clinical), read_table(outcome, Outcome))
    )
    found = pl.concat([read_table(p, Subgroups) for p in assignments])
    selected = pl.concat([read_table(p, SubgroupSelection) for p in selections])
    stability = pl.concat([read_table(p, SubgroupStability) for p in stabilities]).filter(pl.col("resample") == "full")
    full = found.filter(pl.col("resample") == "full", pl.col("role") == "train")
    counts = chosen_k(selected)
    held_out = pool_held_out(found, counts)
    planted = {
        p: s
        for path in truth or []
        for p, s in read_table(path, Truth).select("patient_id", "subgroup").unique().iter_rows()
    }
    known = {name: _column(table, name) for name in known_labels}
    compared = known | ({"planted": {p: str(s) for p, s in planted.items()}} if planted else {})
    level = evaluation.level
    sizes = {model: k for (resample, model), k in counts.items() if resample == "full"}
    numeric = {
        name: name not in known_labels and (data.types.get(name) or column_type(table[name])) == "numeric"
        for name in dict.fromkeys((*covariates, *known_labels))
    }
    where = _column(table, site) if site else {}
    recorded = [name for name, omic in analysis.data.omics.items() if omic.samples is not None]
    measured = read_samples(analysis, dict(zip(recorded, map(Path, samples or []), strict=True)))
    omics = read_features(features)
    variables = [*all_variables(analysis, table, usable, measured), *measured_omics(omics, table["patient_id"])]
    patients, limit = table["patient_id"].to_list(), analysis.quality.limit
    by_site = sites_table(found, counts, usable, evaluation, seed)
    at_sites = site_survival_table(site_labels(found, counts), usable, counts, endpoint.tau_months, level)
    comparable = (held_out, found, usable, table, covariates, data.types, where)
    for made, path, contract in (
        (held_out, assignment, SubgroupAssignment),
        (describe.summary_table(held_out, usable, sizes, stability, endpoint, level), summary, SubgroupSummary),
        (describe.agreement_table(held_out, compared, usable, evaluation, seed), agreement, SubgroupAgreement),
        (describe.profile_table(held_out, table, numeric), profile, SubgroupProfile),
        (describe.markers_table(omics, full), markers, SubgroupMarkers),
        (single_features_table(omics, full), single, SubgroupSingleFeatures),
        (describe.curves_table(held_out, usable, endpoint, level), curves, SubgroupCurves),
        (describe.tests_table(held_out, found, known, usable, where), tests, SurvivalTests),
        (survival.tests_table(*comparable), comparisons, SubgroupTests),
        (survival.survival_table(*comparable, endpoint.tau_months, evaluation, seed), restricted, SubgroupSurvival),
        (association_table(held_out, variables, patients, usable, limit, level), associations, SubgroupAssociations),
        (by_site, sites, SubgroupSites),
        (at_sites, site_survival, SubgroupSiteSurvival),
        (site_summary_table(by_site, at_sites, evaluation), site_summary, SubgroupSiteSummary),
        (selected, selection, SubgroupSelection),
    ):
        write_table(made, path, contract)


def _column(table: pl.DataFrame, name: str) -> dict[str, str]:
    """Patient -> value as text, without the patients who have none."""
    rows = table.select("patient_id", pl.col(name).cast(pl.String)).drop_nulls()
    return dict(rows.iter_rows())


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
