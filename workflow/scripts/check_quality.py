"""Rule check_quality: one table and one figure per omic, and a summary."""

from pathlib import Path

import numpy as np

from stratiome import omics
from stratiome.quality.figure import write_figure
from stratiome.quality.metrics import feature_quality, omic_quality, summary_table
from stratiome.tables import QualityFeatures, QualitySummary, write_table


def main(*, cohort_file: str, tables: list[str], figures: list[str], summary: str) -> None:
    """Measure the quality of every omic of the cohort."""
    import mudata

    with mudata.set_options(pull_on_update=False):
        data = mudata.read_h5mu(cohort_file)
    rows = []
    for table_path, figure_path in zip(tables, figures, strict=True):
        name = Path(table_path).stem
        part = data.mod[name]
        kind = omics.get(str(part.uns["kind"]))
        values = np.asarray(part.X)
        table = feature_quality(name, values, tuple(map(str, part.var_names)), kind)
        write_table(table, table_path, QualityFeatures)
        write_figure(name, values, kind, figure_path)
        rows += omic_quality(name, values, table, kind, data.n_obs)
    write_table(summary_table(rows), summary, QualitySummary)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
