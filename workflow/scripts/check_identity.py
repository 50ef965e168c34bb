"""Rule check_identity: who patients are, how they were measured and treated, and what they lack."""

import logging
from pathlib import Path
from typing import Any

import polars as pl

from stratiome.cohort.spelling import written
from stratiome.cohort.store import read_stored
from stratiome.config import Config
from stratiome.quality.batch import batch_associations, refuse_protection
from stratiome.quality.identity import check_identity
from stratiome.quality.missingness import block_subjects, column_subject, missingness_rows, omic_subject
from stratiome.quality.treatments import treatment_rows
from stratiome.quality.variables import Variable, all_variables, read_samples
from stratiome.strategies import received
from stratiome.tables import (
    QualityBatch,
    QualityIdentity,
    QualityIdentitySummary,
    QualityMissingness,
    QualityTreatment,
    from_rows,
    write_table,
)

logger = logging.getLogger(__name__)


def main(
    *,
    cohort_file: str,
    clinical: str,
    outcome: str,
    samples: list[str],
    identity: str,
    identity_summary: str,
    batches: str,
    missingness: str,
    treatments: str,
    gate: str,
    analysis: Config,
) -> None:
    """Write what is found, and refuse a correction that would carry the outcome into the features."""
    _, stored = read_stored(cohort_file)
    table = pl.read_parquet(clinical)
    recorded = [name for name, omic in analysis.data.omics.items() if omic.samples is not None]
    measured = read_samples(analysis, dict(zip(recorded, map(Path, samples), strict=True)))
    follow = pl.read_parquet(outcome)
    variables = all_variables(analysis, table, follow, measured)
    rows = batch_associations(variables, analysis.quality.limit)
    write_table(from_rows(rows, QualityBatch), batches, QualityBatch)
    patients = table["patient_id"].to_list()
    columns = [v for v in variables if ": " not in v.name]
    lacking = [omic_subject(o, patients) for o in stored] + [s for o in stored for s in block_subjects(o, patients)]
    # Who is in neither of two arms lacks nothing.
    made = {"event", *(name for name, treatment in analysis.treatments.items() if treatment.arms)}
    lacking += [column_subject(v) for v in columns if v.name not in made]
    tests = missingness_rows(lacking, variables)
    write_table(from_rows(tests, QualityMissingness), missingness, QualityMissingness)
    recorded_as = _treatments(analysis, table, follow, variables)
    write_table(from_rows(recorded_as, QualityTreatment), treatments, QualityTreatment)
    found = check_identity(stored, analysis.quality.duplicate, _women(table, analysis), analysis.seed)
    write_table(from_rows(found.rows, QualityIdentity), identity, QualityIdentity)
    write_table(from_rows(found.summary, QualityIdentitySummary), identity_summary, QualityIdentitySummary)
    refuse_protection(rows, analysis.site, analysis.features.protect)
    # The same bytes whatever was found: what is learned further on knows only that it may go on.
    Path(gate).write_text("passed\n", encoding="utf-8")


def _treatments(
    analysis: Config, table: pl.DataFrame, outcome: pl.DataFrame, variables: list[Variable]
) -> list[dict[str, Any]]:
    follow = table.select("patient_id").join(outcome, on="patient_id", how="left", maintain_order="left")
    time = follow["time_months"].cast(pl.Float64).to_numpy()
    event = follow["event"].fill_null(0).to_numpy() == 1
    by_name = {v.name: v for v in variables}
    rows = []
    for key, treatment in analysis.treatments.items():
        names = dict.fromkeys((*treatment.confounders, *analysis.covariates))
        given = by_name[treatment.column or key]
        here = treatment_rows(key, given, [by_name[n] for n in names], time, event)
        # Patients of another arm, or of none, are recorded all the same.
        unknown = int((~received(table, treatment).recorded).sum())
        rows += [r | {"n_missing": unknown} if r["finding"] == "recorded" else r for r in here]
    return rows


def _women(table: pl.DataFrame, analysis: Config) -> dict[str, bool] | None:
    sex = analysis.quality.sex
    if sex is None:
        return None
    known = table.select("patient_id", sex.column).drop_nulls()
    return {patient: written(value) == sex.female for patient, value in known.iter_rows()}


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
