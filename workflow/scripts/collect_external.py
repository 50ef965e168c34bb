"""Rule collect_external: what the models are worth in other cohorts, one table beneath the other."""

import polars as pl

from stratiome import tables


def main(
    *,
    metrics: str,
    subgroups: str,
    patients: str,
    names: list[str],
    of_metrics: list[str],
    of_subgroups: list[str],
    of_patients: list[str],
) -> None:
    """Add the name of the cohort to the rows of each."""
    for given, made, contract, whole in (
        (of_metrics, metrics, tables.ExternalMetrics, tables.OtherCohortMetrics),
        (of_subgroups, subgroups, tables.ExternalSubgroups, tables.OtherCohortSubgroups),
    ):
        parts = [
            tables.read_table(path, contract).with_columns(cohort=pl.lit(name))
            for name, path in zip(names, given, strict=True)
        ]
        tables.write_table(pl.concat(parts), made, whole)
    rows = [_patients(name, path) for name, path in zip(names, of_patients, strict=True)]
    tables.write_table(tables.from_rows(rows, tables.OtherCohortPatients), patients, tables.OtherCohortPatients)


def _patients(name: str, path: str) -> dict:
    scored = tables.read_table(path, tables.ScoredPatients)
    return {
        "cohort": name,
        "n": scored.height,
        "out_of_distribution": int(scored["out_of_distribution"].sum()),
        "missing": scored["missing"].median(),
    }


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
