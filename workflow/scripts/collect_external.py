"""Rule collect_external: what was found in other cohorts, one table beneath the other."""

from pathlib import Path

import polars as pl

from stratiome import tables

CONTRACTS = {
    "metrics": (tables.ExternalMetrics, tables.OtherCohortMetrics),
    "subgroups": (tables.ExternalSubgroups, tables.OtherCohortSubgroups),
    "effects": (tables.ExternalEffects, tables.OtherCohortEffects),
    "order": (tables.ExternalOrder, tables.OtherCohortOrder),
}


def main(
    *,
    metrics: str,
    subgroups: str,
    effects: str,
    order: str,
    patients: str,
    names: list[str],
    of_metrics: list[str],
    of_subgroups: list[str],
    of_effects: list[str],
    of_order: list[str],
    of_patients: list[str],
    of_omics: list[str],
) -> None:
    """Add the name of the cohort to the rows of each."""
    given = {"metrics": of_metrics, "subgroups": of_subgroups, "effects": of_effects, "order": of_order}
    made = {"metrics": metrics, "subgroups": subgroups, "effects": effects, "order": order}
    for key, (contract, whole) in CONTRACTS.items():
        pairs = zip(names, given[key], strict=True)
        parts = [tables.read_table(path, contract).with_columns(cohort=pl.lit(name)) for name, path in pairs]
        tables.write_table(pl.concat(parts), made[key], whole)
    rows = [_patients(*one) for one in zip(names, map(Path, of_patients), map(Path, of_omics), strict=True)]
    tables.write_table(tables.from_rows(rows, tables.OtherCohortPatients), patients, tables.OtherCohortPatients)


def _patients(name: str, path: Path, omics: Path) -> dict:
    scored = tables.read_table(path, tables.ScoredPatients)
    notes = tables.read_table(omics, tables.ScoredOmics).select("omic", "note").iter_rows()
    return {
        "cohort": name,
        "n": scored.height,
        "out_of_distribution": int(scored["out_of_distribution"].sum()),
        "missing": scored["missing"].median(),
        "remarks": "; ".join(f"{omic}: {note}" for omic, note in notes if note),
    }


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
