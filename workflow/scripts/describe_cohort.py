"""Rule describe_cohort: who the patients are and how long they were followed."""

import polars as pl

from stratiome.cohort.baseline import baseline_rows
from stratiome.cohort.endpoint import is_binary
from stratiome.config import DataConfig, TreatmentConfig
from stratiome.survival.design import column_type
from stratiome.tables import CohortBaseline, Outcome, from_rows, read_table, write_table


def main(
    *,
    clinical: str,
    outcome: str,
    baseline: str,
    columns: list[str],
    known_labels: tuple[str, ...],
    site: str | None,
    data: DataConfig,
    level: float,
    treatments: dict[str, TreatmentConfig],
) -> None:
    """Describe every clinical column of the analysis."""
    table = pl.read_parquet(clinical)
    shown = [c for c in columns if c in table.columns]
    classes = {*known_labels, site, *(c for c in shown if is_binary(table[c]))}
    numeric = {c: c not in classes and (data.types.get(c) or column_type(table[c])) == "numeric" for c in shown}
    given = {key: t.column for key, t in treatments.items() if t.column in shown and is_binary(table[t.column])}
    rows = baseline_rows(table, read_table(outcome, Outcome), shown, numeric, level, given)
    write_table(from_rows(rows, CohortBaseline), baseline, CohortBaseline)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
