"""Rule check_quality: one table and one figure per omic, and a summary."""

from pathlib import Path

from stratiome import omics
from stratiome.cohort.store import read_stored
from stratiome.quality.figure import write_figure
from stratiome.quality.metrics import feature_quality, omic_quality, summary_table
from stratiome.tables import QualityFeatures, QualitySummary, write_table


def main(*, cohort_file: str, tables: list[str], figures: list[str], summary: str) -> None:
    """Measure the quality of every omic of the cohort."""
    obs, stored = read_stored(cohort_file)
    by_name = {omic.name: omic for omic in stored}
    rows = []
    for table_path, figure_path in zip(tables, figures, strict=True):
        omic = by_name[Path(table_path).stem]
        kind = omics.get(omic.kind, omic.unit)
        table = feature_quality(omic, kind)
        write_table(table, table_path, QualityFeatures)
        write_figure(omic, table, kind, figure_path)
        rows += omic_quality(omic, table, kind, len(obs))
    write_table(summary_table(rows), summary, QualitySummary)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
