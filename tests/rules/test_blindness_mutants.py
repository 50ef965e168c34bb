"""The hash tests of `test_blindness_of_features.py` fail where they must: leaking variants of the features are seen.

Each mutant replaces one step of `build_features` by one that has seen held-out patients or outcomes, all else being as
it is. The cohort is small and has what each step works on: sites that differ in location and spread, heavy tails, gaps.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import build_features
from blindness import Run, changed, differing, first_run, learned, run_on_noise, run_on_other_times
from conftest import write_tiny
from stratiome.features.adjust import protected_design
from stratiome.features.build import OmicTransform, fit_transform, make_block
from stratiome.omics import get as kind_of

RESAMPLE = "cv-1-1"
FEATURES = {"adjust_scale": True, "protect": ["age"]}


FEW = 4


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Run, dict[str, list[str]]]:
    folder = tmp_path_factory.mktemp("small")
    return first_run(_write_hard(folder / "data") | {"features": FEATURES}, folder / "results")


@pytest.fixture(scope="module")
def noisy(first, tmp_path_factory) -> Run:
    return run_on_noise(first[0], RESAMPLE, tmp_path_factory.mktemp("noisy"))


def _write_hard(folder: Path, n: int = 120) -> dict:
    raw = write_tiny(folder, n)
    rng = np.random.default_rng(1)
    clinical = pl.read_csv(folder / "clinical.tsv", separator="\t")
    north = clinical["hospital"].to_numpy() == "north"
    unknown = pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise(pl.col("age"))
    clinical.with_columns(age=unknown).write_csv(folder / "clinical.tsv", separator="\t")
    for name in ("mrna", "protein"):
        table = pl.read_csv(folder / f"{name}.tsv", separator="\t")
        values = table.drop("patient_id").to_numpy() * np.linspace(1, 2, table.width - 1)
        values[north] = 1 + 2 * values[north]
        values[:, ::3] = np.sinh(2 * values[:, ::3])
        values[rng.random(values.shape) < 0.05] = np.nan
        cells = pl.DataFrame(values, schema=table.columns[1:], orient="row").fill_nan(None)
        table.select("patient_id").hstack(cells).write_parquet(folder / f"{name}.parquet")
        raw["data"]["omics"][name]["path"] = f"{name}.parquet"
    return raw


def test_the_true_features_are_blind(first, noisy):
    for run in (first[0], noisy):
        run.build(RESAMPLE)
    found = learned(first[0], RESAMPLE)
    assert differing(found, learned(noisy, RESAMPLE)) == []
    assert changed(first[0], noisy, RESAMPLE) == {"mrna": 1.0, "protein": 1.0}
    # What the mutants leak is there to be learned.
    assert {f"mrna.{part}" for part in ("mean", "scale", "shifts", "spreads", "rank_quantiles")} <= found.keys()
    assert np.frombuffer(found["mrna.rank_columns"], dtype=np.int64).size
    assert np.abs(np.frombuffer(found["mrna.shifts"])).max() > 0.1
    assert np.ptp(np.frombuffer(found["mrna.spreads"])) > 0.1


# ---- held-out patients -----------------------------------------------------------------------------------------------


def _learned_on_all(*parts: str) -> Callable:
    """`fit_transform`, of which some parts come from all patients."""

    def leaking(values, train, settings, **how):
        honest = fit_transform(values, train, settings, **how)
        anything = settings.model_copy(update={"max_missing": 0.99})  # the same features, whatever held-out ones lack
        of_all = fit_transform(values, np.ones_like(train), anything, **how)
        assert of_all.keep.tolist() == honest.keep.tolist()
        known = [of_all.sites.index(site) for site in honest.sites]
        of_all = replace(of_all, shifts=of_all.shifts[known], spreads=of_all.spreads[known])
        return replace(honest, **{part: getattr(of_all, part) for part in parts})

    return leaking


def _chosen_on_all(most: int) -> Callable:
    """`fit_transform` of features that were chosen by missing values and variance in all patients."""

    def leaking(values, train, settings, **how):
        chosen = settings.model_copy(update={"max_features": most})
        return _fitted_to(fit_transform(values, np.ones_like(train), chosen, **how).keep, values, train, settings, how)

    return leaking


def _fitted_to(keep: np.ndarray, values, train, settings, how) -> OmicTransform:
    honest = fit_transform(values[:, keep], train, settings.model_copy(update={"max_missing": 0.99}), **how)
    return replace(honest, keep=keep[honest.keep])


def _protected_on_all(obs, columns, train):
    return protected_design(obs, columns, np.ones_like(train))


def _standardised_before(kind, unit=""):
    def scale(values):
        return (values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0)

    return replace(kind_of(kind, unit), scale=scale)


def _imputed_on_all(*arguments):
    block = make_block(*arguments)
    return replace(block, values=np.where(np.isnan(block.values), np.nanmean(block.values, axis=0), block.values))


MUTANTS = {
    "scaling": ("fit_transform", _learned_on_all("mean", "scale"), "mrna.scale"),
    "rank reference": ("fit_transform", _learned_on_all("ranks"), "mrna.rank_quantiles"),
    "location of sites": ("fit_transform", _learned_on_all("shifts"), "mrna.shifts"),
    "spread of sites": ("fit_transform", _learned_on_all("spreads"), "mrna.spreads"),
    "most variable features": ("fit_transform", _chosen_on_all(FEW), "names"),
    "screen of missing values": ("fit_transform", _chosen_on_all(100), "names"),
    "protected columns": ("protected_design", _protected_on_all, "mrna.shifts"),
    "standardised before": ("omics.get", _standardised_before, "mrna.mean"),
    "imputation": ("make_block", _imputed_on_all, "mrna: training patients"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_what_was_learned_on_all_patients_is_seen(first, noisy, monkeypatch, mutant):
    name, leaking, seen = MUTANTS[mutant]
    monkeypatch.setattr(f"build_features.{name}", leaking)
    for run in (first[0], noisy):
        run.build(RESAMPLE)
    assert seen in differing(learned(first[0], RESAMPLE), learned(noisy, RESAMPLE))


# ---- outcomes --------------------------------------------------------------------------------------------------------


def _screened_by_outcome(run: Run) -> Callable:
    """`fit_transform` of the features that go most with follow-up time in the training patients."""
    patients = pl.read_parquet(run.path("cohort/clinical.parquet")).select("patient_id").sort("patient_id")
    outcome = pl.read_parquet(run.path("cohort/outcome.parquet"))
    time = patients.join(outcome, on="patient_id", how="left", maintain_order="left")["time_months"].to_numpy()

    def leaking(values, train, settings, **how):
        deviation = np.nan_to_num(values - np.nanmean(values[train], axis=0))[train]
        strength = np.abs((time[train] - time[train].mean()) @ deviation) / np.sqrt((deviation**2).sum(axis=0))
        return _fitted_to(np.sort(np.argsort(-strength)[:FEW]), values, train, settings, how)

    return leaking


@pytest.mark.parametrize("screened", [False, True])
def test_a_screen_by_outcome_is_seen(first, tmp_path, monkeypatch, screened):
    run, sites = first
    other = run_on_other_times(run, sites, tmp_path)
    for one in (run, other):
        if screened:
            monkeypatch.setattr(build_features, "fit_transform", _screened_by_outcome(one))
        one.build(RESAMPLE)
    assert bool(differing(learned(run, RESAMPLE), learned(other, RESAMPLE))) == screened
