"""Rule design_resamples: who is learned from and who is held out."""

import polars as pl

from stratiome.config import ResampleConfig
from stratiome.resample.design import design_resamples
from stratiome.tables import Outcome, Resamples, read_table, write_table


def main(
    *,
    clinical: str,
    outcome: str,
    resample_table: str,
    resamples: ResampleConfig,
    site: str | None,
    strata: list[str],
    seed: int,
    sites: dict[str, list[str]],
) -> None:
    """Deal the folds, stratified by event, the columns of `strata` (treatments) and site."""
    table = pl.read_parquet(clinical)
    events = table.join(read_table(outcome, Outcome), on="patient_id", how="left", maintain_order="left")["event"]
    balanced = [column.cast(pl.String).fill_null("none").to_numpy() for column in (events, *(table[c] for c in strata))]
    where = table[site].cast(pl.String).fill_null("").to_numpy() if site else None
    if where is not None:
        balanced.append(where)
    ids = table["patient_id"].to_list()
    write_table(design_resamples(ids, balanced, resamples, where, sites, seed), resample_table, Resamples)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
