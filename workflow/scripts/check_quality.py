"""Rule check_quality: one table per omic, the bars of their figures, and a summary."""

from pathlib import Path

from stratiome import omics
from stratiome.cohort.store import read_stored
from stratiome.quality.bars import quality_bars
from stratiome.quality.metrics import feature_quality, omic_quality, summary_table
from stratiome.tables import QualityBars, QualityFeatures, QualitySummary, from_rows, write_table


def main(*, cohort_file: str, tables: list[str], bars: str, summary: str) -> None:
    """Measure the quality of every omic of the cohort."""
    obs, stored = read_stored(cohort_file)
    by_name = {omic.name: omic for omic in stored}
    rows, drawn = [], []
    for table_path in tables:
        omic = by_name[Path(table_path).stem]
        kind = omics.get(omic.kind, omic.unit)
        table = feature_quality(omic, kind)
        write_table(table, table_path, QualityFeatures)
        drawn += quality_bars(omic, table, kind)
        rows += omic_quality(omic, table, kind, len(obs))
    write_table(from_rows(drawn, QualityBars), bars, QualityBars)
    write_table(summary_table(rows), summary, QualitySummary)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
