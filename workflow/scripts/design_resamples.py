"""Rule design_resamples: who is learned from and who is held out."""

import logging
from pathlib import Path

import polars as pl

from stratiome.cohort.errors import CohortError
from stratiome.config import ResampleConfig
from stratiome.resample.design import check_summary, design_resamples, patients_to_split, summarise_resamples
from stratiome.resample.given import GivenSplits, check_given, read_given
from stratiome.tables import Outcome, Resamples, ResampleSummary, read_table, write_table

logger = logging.getLogger("stratiome.resample")


def main(
    *,
    clinical: str,
    outcome: str,
    resample_table: str,
    resample_summary: str,
    resamples: ResampleConfig,
    site: str | None,
    strata: list[str],
    seed: int,
    sites: dict[str, list[str]],
    patient_id: str,
    show_ids: bool,
    splits: list[str] | None = None,
) -> None:
    """Set locked patients aside, deal the folds (by event, `strata`, i.e. treatments, and site), add other designs."""
    outcomes = read_table(outcome, Outcome)
    patients = patients_to_split(pl.read_parquet(clinical), outcomes, resamples, strata, site, seed)
    given = _given(splits or [], patients, patient_id, show_ids)
    table = design_resamples(patients, resamples, sites, given, seed)
    summary = summarise_resamples(table, patients, given)
    problems = check_summary(summary)
    if problems:
        raise CohortError(problems)
    _tell(summary)
    if resamples.leave_site_out:
        _tell_sites(patients, sites, resamples.min_site)
    write_table(table, resample_table, Resamples)
    write_table(summary, resample_summary, ResampleSummary)


def _given(splits: list[str], patients: pl.DataFrame, patient_id: str, show_ids: bool) -> GivenSplits | None:
    if not splits:
        return None
    path = Path(splits[0])
    given = read_given(path, patient_id, show_ids)
    problems = check_given(given, patients["patient_id"], path, show_ids)
    if problems:
        raise CohortError(problems)
    return given


def _tell(summary: pl.DataFrame) -> None:
    for row in summary.to_dicts():
        if row["n_unplaced"]:
            why = "have no date" if row["design"] == "temporal" else "are not in the file of splits"
            logger.warning("%s: %d patients %s and are out", row["resample"], row["n_unplaced"], why)
        if row["design"] == "given splits" and row["n_locked"]:
            text = "%s: %d patients are locked and hence out, so it is not the split as given"
            logger.warning(text, row["resample"], row["n_locked"])


def _tell_sites(patients: pl.DataFrame, sites: dict[str, list[str]], min_site: int) -> None:
    members = [site for together in sites.values() for site in together]
    never = patients.filter(pl.col("site").is_not_null() & ~pl.col("site").is_in(members), ~pl.col("locked"))
    if not sites:
        logger.warning(
            "`resamples.leave_site_out`: no site is held out, as there are not two groups of at least %d patients with "
            "an outcome among %d sites. Suggestion: a smaller `resamples.min_site`, or `leave_site_out: false`",
            min_site,
            never["site"].n_unique(),
        )
    elif never.height:
        text = "`resamples.leave_site_out`: %d sites are together smaller than `resamples.min_site` and never held out"
        logger.warning(text, never["site"].n_unique())


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
