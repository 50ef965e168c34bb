"""Who is learned from and who is held out: everyone, folds, sites, later patients, given splits, a locked test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from stratiome.cohort.errors import CohortError
from stratiome.config import ResampleConfig
from stratiome.resample.given import GivenSplits
from stratiome.resample.names import FULL, LOCKED, TEMPORAL, design_of
from stratiome.resample.temporal import DateError, is_later
from stratiome.tables import ResampleSummary, order

_LOCK = 0
"""Stream of the seed that draws the locked test set; the repeats of the folds have streams 1, 2, ..."""

_TRAIN, _TEST, _OUT = pl.lit("train"), pl.lit("test"), pl.lit("out")


def patients_to_split(
    clinical: pl.DataFrame,
    outcome: pl.DataFrame,
    settings: ResampleConfig,
    strata: Sequence[str],
    site: str | None,
    seed: int,
) -> pl.DataFrame:
    """What the splits are drawn from, one row per patient, sorted by patient, whatever the order of the rows.

    Parameters
    ----------
    clinical
        `patient_id` and the clinical columns, one row per patient.
    outcome
        `patient_id`, `time_months`, `event` of the patients with a usable outcome.
    settings
        Designs asked for.
    strata
        Columns to balance beside event and site (treatments), or conditions in SQL on them (arms).
    site
        Column of the site, or None.
    seed
        Seed of the locked test set.

    Returns
    -------
    polars.DataFrame
        `patient_id`; `event` (1, 0, null = no outcome); `site` (text, null = not given); `later` (Boolean, null = no
        date); `locked`; and the strata to balance, the most important first, as `stratum_0` (event), `stratum_1`, ...
        (treatments, site), whole numbers by first appearance, so that renaming classes draws the same splits.

    Raises
    ------
    CohortError
        If a patient has several rows, or a column of dates holds none.
    """
    clinical = clinical.sort("patient_id")
    repeated = int(clinical["patient_id"].is_duplicated().sum())
    if repeated:
        raise CohortError(
            f"{repeated} rows of the clinical table share their patient with another row. "
            "Suggestion: keep one row per patient; samples of one patient must not be split"
        )
    ids = clinical.select("patient_id")
    event = ids.join(outcome, on="patient_id", how="left", maintain_order="left")["event"]
    where = clinical[site].cast(pl.String) if site else pl.Series([None] * ids.height, dtype=pl.String)
    later = pl.Series([None] * ids.height, dtype=pl.Boolean)
    if settings.temporal is not None:
        try:
            later = is_later(clinical[settings.temporal.column], settings.temporal)
        except DateError as error:
            raise CohortError(str(error)) from None
    levels = [event, *(_stratum(clinical, c) for c in strata), *([where] if site else [])]
    codes = [_codes(values) for values in levels]
    locked = _lock(codes, ids.height, settings.test_fraction, np.random.default_rng([seed, _LOCK]))
    columns = [ids["patient_id"], event, where.alias("site"), later.alias("later")]
    balanced = [pl.Series(f"stratum_{i}", c) for i, c in enumerate(codes)]
    return pl.DataFrame([*columns, pl.Series("locked", locked), *balanced])


def _stratum(clinical: pl.DataFrame, named: str) -> pl.Series:
    return clinical[named] if named in clinical.columns else clinical.select(met=pl.sql_expr(named))["met"]


def _codes(values: pl.Series) -> np.ndarray:
    first = values.to_frame("value").with_row_index("row").group_by("value").agg(pl.col("row").min()).sort("row")
    code = first.select("value").with_row_index("code")
    return (
        values.to_frame("value")
        .join(code, on="value", how="left", nulls_equal=True, maintain_order="left")["code"]
        .to_numpy()
    )


def _order(codes: list[np.ndarray], n: int, rng: np.random.Generator) -> np.ndarray:
    """Patients sorted by the strata, in random order within equal strata; the order of the strata is random, too."""
    keys = [rng.permutation(int(c.max(initial=0)) + 1)[c] for c in codes]
    return np.lexsort([rng.random(n), *reversed(keys)])


def _lock(codes: list[np.ndarray], n: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Systematic sample of a share of the patients: of m neighbours in the order, within 1 of `fraction * m` are in."""
    locked = np.zeros(n, dtype=bool)
    steps = np.floor(np.arange(n + 1) * fraction + rng.random())
    locked[_order(codes, n, rng)] = np.diff(steps) > 0
    return locked


def _deal(codes: list[np.ndarray], n: int, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each patient from 1, dealt in turn, so that neighbours in the order are spread within 1 of even."""
    fold = np.empty(n, dtype=np.int64)
    fold[_order(codes, n, rng)] = rng.permutation(folds)[np.arange(n) % folds] + 1
    return fold


def design_resamples(
    patients: pl.DataFrame,
    settings: ResampleConfig,
    sites: Mapping[str, list[str]],
    given: GivenSplits | None,
    seed: int,
) -> pl.DataFrame:
    """Role of each patient in each resample (contract `Resamples`).

    Locked patients are set aside first. Folds are dealt from the others sorted by the strata, so that every stratum is
    spread over the folds within 1 of even, however many strata there are (systematic sampling). `full` and every other
    resample leave the locked patients out; `locked` trains on everyone else and holds them out.

    Parameters
    ----------
    patients
        As made by `patients_to_split`.
    settings
        Designs asked for.
    sites
        As made by `site_groups`.
    given
        Splits of a file, if there is one.
    seed
        Seed of the folds.
    """
    table, names = patients, {FULL: pl.lit(False)}
    for repeat in range(1, settings.repeats + 1) if settings.folds else ():
        table = _with_folds(table, settings.folds, repeat, seed)
        for fold in range(1, settings.folds + 1):
            names[f"cv-{repeat}-{fold}"] = pl.col(f"fold_{repeat}") == fold
    for name, members in sites.items():
        names[name] = pl.col("site").is_in(members).fill_null(False)
    if settings.temporal is not None:
        names[TEMPORAL] = pl.col("later")  # null without a date: neither side
    roles = {name: pl.when(test).then(_TEST).when(~test).then(_TRAIN).otherwise(_OUT) for name, test in names.items()}
    if given is not None:
        table = table.join(given.roles, on="patient_id", how="left", maintain_order="left")
        roles |= {name: pl.col(name).fill_null("out") for name in given.names}
    wide = table.select("patient_id", **{n: pl.when("locked").then(_OUT).otherwise(role) for n, role in roles.items()})
    if settings.test_fraction > 0:
        last = pl.when(table["locked"]).then(_TEST).otherwise(_TRAIN)
        wide = wide.with_columns(last.alias(LOCKED))
    return wide.unpivot(index="patient_id", variable_name="resample", value_name="role")


def _with_folds(table: pl.DataFrame, folds: int, repeat: int, seed: int) -> pl.DataFrame:
    free = table.filter(~pl.col("locked"))
    codes = [free[c].to_numpy() for c in free.columns if c.startswith("stratum_")]
    fold = pl.Series(f"fold_{repeat}", _deal(codes, free.height, folds, np.random.default_rng([seed, repeat])))
    dealt = free.select("patient_id").with_columns(fold)
    return table.join(dealt, on="patient_id", how="left", maintain_order="left")


def summarise_resamples(resamples: pl.DataFrame, patients: pl.DataFrame, given: GivenSplits | None) -> pl.DataFrame:
    """Size of each resample (contract `ResampleSummary`).

    Parameters
    ----------
    resamples, patients, given
        As made by `design_resamples`, and its arguments.
    """
    train, test, out = (pl.col("role") == r for r in ("train", "test", "out"))
    died = pl.col("event").fill_null(0) == 1
    sizes = (
        resamples.join(patients.select("patient_id", "event", "locked"), on="patient_id", how="left")
        .group_by("resample", maintain_order=True)
        .agg(
            n_train=train.sum(),
            n_test=test.sum(),
            n_out=out.sum(),
            n_locked=(out & pl.col("locked")).sum(),
            events_train=(train & died).sum(),
            events_test=(test & died).sum(),
        )
    )
    names = resamples["resample"].unique(maintain_order=True).to_list()
    unplaced = _unplaced(patients, given)
    notes = pl.DataFrame(
        {"resample": names, "design": [design_of(n) for n in names], "n_unplaced": [unplaced.get(n, 0) for n in names]}
    )
    return order(notes.join(sizes, on="resample", how="left", maintain_order="left"), ResampleSummary)


def _unplaced(patients: pl.DataFrame, given: GivenSplits | None) -> dict[str, int]:
    """Unlocked patients whom a split cannot place, by resample: without a date, or of whom the file says nothing."""
    free = patients.filter(~pl.col("locked"))
    found = {TEMPORAL: free["later"].null_count()}
    if given is not None:
        placed = free.select("patient_id").join(given.roles, on="patient_id", how="left")
        found |= {name: placed[name].null_count() for name in given.names}
    return found


def check_summary(summary: pl.DataFrame) -> list[str]:
    """What is wrong with the splits that are asked for: nobody, or for a split by time no event, on one side."""
    problems = []
    for row in summary.filter(~pl.col("design").is_in(["full", "cross-validation", "leave-site-out"])).to_dicts():
        advice = "take another split, or a smaller `resamples.test_fraction`" if row["n_locked"] else "take another one"
        for side, what in (("train", "training"), ("test", "held-out")):
            events = row[f"events_{side}"] if row["design"] == TEMPORAL else 1
            if not row[f"n_{side}"] or not events:
                lacking = "patient" if not row[f"n_{side}"] else "patient with an event"
                problems.append(f"resample {row['resample']} has no {what} {lacking}. Suggestion: {advice}")
    return problems
