"""The demo finds what was planted, and its null twin finds nothing. Thresholds are those the project promises."""

from pathlib import Path

import polars as pl
import pytest

from conftest import ROOT, as_read, snakemake
from own_report import CHROMIUM, seen, unpacked
from stratiome.check_disclosure import main as check_disclosure
from stratiome.check_report import main as check_report

pytestmark = [pytest.mark.e2e]


def _run(config: str, folder: Path, *targets: str) -> Path:
    done = snakemake("--cores", "2", *targets, "--configfile", str(ROOT / config), cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:]
    return next((folder / "results").iterdir())


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return _run("config/config.yaml", tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def null(tmp_path_factory) -> Path:
    return _run("config/cohorts/null.yaml", tmp_path_factory.mktemp("null"))


def _table(results: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(results / f"evaluation/{name}.parquet")


def test_held_out_subgroups_are_the_planted_ones(demo):
    agreement = _table(demo, "subgroup_agreement").filter(
        pl.col("model") == "vae", pl.col("label") == "planted", pl.col("metric") == "adjusted_rand_index"
    )
    assert agreement["held_out"].all()
    summary = _table(demo, "subgroup_summary").filter(pl.col("model") == "vae")
    unassigned = summary.filter(pl.col("subgroup") == 0)["n"].max() or 0
    assert agreement["n"].item() == 600 - unassigned
    assert unassigned <= 12  # one in fifty; a few patients have only omics that tell little
    assert agreement["estimate"].item() >= 0.8


def test_every_resample_chose_the_planted_number(demo):
    chosen = _table(demo, "subgroup_selection").filter(pl.col("chosen"), pl.col("model") == "vae")
    assert chosen["k"].to_list() == [3] * 10


def test_intervals_of_the_subgroup_effects_cover_the_truth(demo):
    effects = _table(demo, "treatment_effects").filter(
        pl.col("subgroup") > 0, pl.col("weighting") == "overlap", pl.col("truth").is_not_null()
    )
    assert effects.height == 9  # three subgroups; survival at two horizons and restricted mean
    assert effects["held_out"].all()
    missed = effects.filter((pl.col("truth") < pl.col("lower")) | (pl.col("truth") > pl.col("upper")))
    assert missed.height == 0, missed


def test_the_naive_effect_is_wrong(demo):
    effects = _table(demo, "treatment_effects").filter(pl.col("subgroup") == 0, pl.col("estimand") == "rmst_difference")
    crude = effects.row(by_predicate=pl.col("weighting") == "none", named=True)
    weighted = effects.row(by_predicate=pl.col("weighting") == "overlap", named=True)
    assert crude["upper"] < crude["truth"]
    assert weighted["lower"] < weighted["truth"] < weighted["upper"]


def test_balance_is_exact(demo):
    assert _table(demo, "treatment_balance")["weighted"].abs().max() < 1e-8


def test_report_shows_planted_beside_found(demo):
    page = as_read((demo / "report.html").read_text())
    assert "Planted truth" in page
    assert "three subgroups" in page
    assert "SIM00001" not in page


@pytest.mark.parametrize("run", ["demo", "null"])
def test_every_number_of_the_report_is_that_of_its_table(run, request):
    folder = request.getfixturevalue(run)
    assert check_report([str(folder)]) == 0
    assert check_disclosure([str(folder)]) == 0


def test_snakemakes_report_holds_every_figure_with_its_caption(demo):
    made = unpacked(demo.parents[1], ROOT / "config/config.yaml")
    page = (made / "report.html").read_text()
    figures = {path.stem for path in (demo / "figures").glob("*.svg")}
    held = {path.name for path in made.glob("data/raw/*/*")}
    assert len(figures) > 30
    assert held == {f"{f}.{kind}" for f in figures for kind in ("svg", "csv")} | {
        "report.html",
        "model_card.html",
        "run.html",
        "guidelines.tsv",
    }
    assert "system-message" not in page  # of captions that cannot be read
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    told, asked, errors = seen(made / "report.html", "Subgroups", "survival")
    assert "n = 600, 378 events; held out. Kaplan–Meier curves with pointwise 95 % bands." in " ".join(told.split())
    assert asked == []
    assert errors == []


def test_nothing_planted_nothing_found(null):
    chosen = _table(null, "subgroup_selection").filter(pl.col("chosen"), pl.col("model") == "vae")
    assert chosen.row(by_predicate=pl.col("resample") == "full", named=True)["k"] == 1
    tests = _table(null, "subgroup_tests").filter(pl.col("grouping") == "vae subgroups")
    assert tests["p_value"].item() is None
    assert "No evidence of subgroups" in as_read((null / "report.html").read_text())


def test_no_effect_planted_no_effect_claimed(null):
    effects = _table(null, "treatment_effects").filter(
        pl.col("subgroup") == 0, pl.col("weighting") == "overlap", pl.col("estimand") == "rmst_difference"
    )
    row = effects.row(0, named=True)
    assert abs(row["truth"]) < 1e-9
    assert row["lower"] < 0 < row["upper"]
    assert "No evidence of an effect" in as_read((null / "report.html").read_text())


def test_the_cohort_inside_a_dependency(tmp_path):
    results = _run("config/cohorts/transbig.yaml", tmp_path)
    metrics = _table(results, "prognosis_metrics")
    rows = metrics.filter(pl.col("model") == "clinical", pl.col("metric") == "uno_c", pl.col("versus").is_null())
    row = rows.row(0, named=True)
    assert row["n"] == 198
    assert row["lower"] < row["estimate"] < row["upper"]
    assert "Treatment" not in [line.strip() for line in as_read((results / "report.html").read_text()).splitlines()]
