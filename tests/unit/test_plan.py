"""What is wrong with the splits of a config is found before any job starts."""

import hashlib
from pathlib import Path

import polars as pl
import pytest

from stratiome.config import ConfigError
from stratiome.plan import _check_results, plan
from stratiome.resample.names import resample_names


def _with_years(config: dict) -> pl.DataFrame:
    path = Path(config["data"]["folder"]) / "clinical.tsv"
    table = pl.read_csv(path, separator="\t").with_columns(
        year=2000 + pl.int_range(pl.len()) % 10, day=pl.format("20{}-05-01", 10 + pl.int_range(pl.len()) % 10)
    )
    table.write_csv(path, separator="\t")
    return table


def _problems(config: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(config, "x")
    return str(caught.value)


def test_every_name_is_known_before_any_job(tiny):
    table = _with_years(tiny)
    splits = table.select("patient_id", b2=pl.lit("train"), b10=pl.lit("test"))
    splits = splits.with_columns(pl.when(pl.int_range(pl.len()) < 9).then(pl.lit("test")).otherwise("b2").alias("b2"))
    splits = splits.with_columns(pl.when(pl.col("b2") == "test").then(pl.lit("train")).otherwise("b10").alias("b10"))
    splits.write_csv(Path(tiny["data"]["folder"]) / "splits.csv")
    tiny["resamples"] = {
        "folds": 2,
        "leave_site_out": True,
        "min_site": 5,
        "temporal": {"column": "year", "train_until": 2004},
        "test_fraction": 0.2,
        "file": "splits.csv",
    }
    config, found = plan(tiny, "x")
    made = resample_names(config.resamples, found.sites, found.given)
    assert made == [
        "full", "cv-1-1", "cv-1-2", "site-north", "site-south", "temporal", "given-b2", "given-b10", "locked"
    ]  # fmt: skip
    tiny["resamples"] |= {"temporal": {"column": "day", "train_until": "2014-12-31"}}
    assert plan(tiny, "x")[0].resamples.temporal.train_until.year == 2014


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temporal": {"column": "yaer", "train_until": 2004}}, "Did you mean `year`?"),
        ({"temporal": {"column": "year", "train_until": 1990}}, "has no patient up to 1990"),
        ({"temporal": {"column": "year", "train_until": 2050}}, "has no patient later than 2050"),
        ({"temporal": {"column": "year", "train_until": "2004-01-01"}}, "holds numbers, but `train_until` is a date"),
        (
            {"temporal": {"column": "hospital", "train_until": 2004}},
            "60 values that are neither a year nor an ISO date",
        ),
        ({"temporal": {"column": "os_months", "train_until": 20}}, "is the outcome"),
        ({"folds": 0}, "without folds nobody is held out"),
        ({"folds": 0, "leave_site_out": True, "min_site": 50}, "with no site to hold out, nobody is held out"),
        ({"file": "split.csv"}, "Did you mean `splits.csv`?"),
        ({"file": "clinical.tsv"}, "remove columns that are no splits"),
    ],
)
def test_each_mistake_has_its_message(tiny, change, message):
    table = _with_years(tiny)
    table.select("patient_id", a=pl.lit("train")).write_csv(Path(tiny["data"]["folder"]) / "splits.csv")
    tiny["resamples"] |= change
    text = _problems(tiny)
    assert message in text
    assert "Suggestion" in text or "Did you mean" in text


def test_no_event_on_one_side(tiny):
    path = Path(tiny["data"]["folder"]) / "clinical.tsv"
    late = pl.col("year") > 2007
    _with_years(tiny).with_columns(os_event=pl.when(late).then(0).otherwise("os_event")).write_csv(path, separator="\t")
    tiny["resamples"]["temporal"] = {"column": "year", "train_until": 2007}
    assert "has no event in a patient later than 2007" in _problems(tiny)


def test_splits_of_another_cohort_are_refused_without_telling_who(tiny):
    table = _with_years(tiny)
    strange = table.select(pl.col("patient_id").str.replace("P00", "Q00"), a=pl.lit("train"))
    strange.write_csv(Path(tiny["data"]["folder"]) / "splits.csv")
    tiny["resamples"]["file"] = "splits.csv"
    assert "10 patients who are not in the clinical table (Q000, Q001" in _problems(tiny)
    assert "Q000" not in _problems(tiny | {"audit": {"ids_in_messages": False}})


def test_sites_count_patients_who_are_not_locked(tiny):
    path = Path(tiny["data"]["folder"]) / "clinical.tsv"
    table = pl.read_csv(path, separator="\t")
    half = pl.when(pl.int_range(pl.len()) < 30).then(pl.lit("north")).otherwise(pl.lit("south"))
    table.with_columns(hospital=half).write_csv(path, separator="\t")
    tiny["resamples"] |= {"leave_site_out": True, "min_site": 30}
    assert len(plan(tiny, "x")[1].sites) == 2
    tiny["resamples"]["test_fraction"] = 0.1
    assert plan(tiny, "x")[1].sites == {}


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        ({"apply": "RESULTS/bundle"}, "is the bundle that a run with this config makes itself"),
        ({"apply": "nowhere"}, "nowhere holds no `bundle.json`"),
        ({"align": {"rna": "quantiles"}}, "`bundle.align.rna`: the config has no omic `rna`"),
        ({"features": {"mrna": "TABLE"}}, r"has no column \['bundle'\]"),
    ],
)
def test_a_bundle_that_cannot_be_applied_is_refused_before_any_job(tiny, tmp_path, bundle, said):
    table = tmp_path / "names.tsv"
    table.write_text("feature\tgene\nmrna0\tA\n")
    places = {"RESULTS/bundle": f"{tiny['results']}/bundle", "TABLE": str(table)}
    tiny["bundle"] = {
        key: {k: places.get(v, v) for k, v in given.items()} if isinstance(given, dict) else places.get(given, given)
        for key, given in bundle.items()
    }
    with pytest.raises(ConfigError, match=said):
        plan(tiny, "config.yaml")


# --- a bundle is applied --------------------------------------------------------------------------------------------


def _applied(config: dict, folder: Path, **bundle: object) -> dict:
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    return config | {"bundle": {"apply": str(folder)} | bundle}


def test_patients_who_are_only_scored_may_be_too_few_for_an_analysis(tiny, tmp_path):
    path = Path(tiny["data"]["folder"]) / "clinical.tsv"
    pl.read_csv(path, separator="\t").with_columns(os_event=pl.lit(0)).write_csv(path, separator="\t")
    assert "has only one value" in _problems(tiny)
    _, found = plan(_applied(tiny, tmp_path / "bundle"), "x")
    assert any("has only one value" in text for text in found.too_few)


def test_the_endpoint_may_be_left_out_only_beside_a_bundle(tiny, tmp_path):
    without = {k: v for k, v in tiny.items() if k != "endpoint"}
    assert "`endpoint`" in _problems(without)
    _, found = plan(_applied(without, tmp_path / "bundle"), "x")
    assert found.too_few[0].startswith("`endpoint`: missing")


def test_another_bundle_than_the_one_that_is_meant_is_refused(tiny, tmp_path):
    digest = hashlib.sha256(b"{}").hexdigest()
    meant = _applied(tiny, tmp_path / "bundle", digest=digest[:16])
    assert plan(meant, "x")[0].bundle.digest == digest[:16]
    (tmp_path / "bundle" / "bundle.json").write_text("{ }")
    assert f"not {digest[:16]}" in _problems(meant)


@pytest.mark.parametrize(
    ("digest", "right"), [("AB" * 8, True), ("ab" * 4, False), ("zz" * 8, False), ("ab" * 33, False)]
)
def test_a_digest_is_hexadecimal(tiny, tmp_path, digest, right):
    said = _problems(_applied(tiny, tmp_path / "bundle", digest=digest))
    assert ("is no digest. Suggestion: give 16 to 64 hexadecimal digits" in said) is not right


def test_too_few_patients_to_align_are_told_before_any_job(tiny, tmp_path):
    omic = next(iter(tiny["data"]["omics"]))
    raw = _applied(tiny, tmp_path / "bundle", align={omic: "quantiles"})
    plan(raw, "x")
    path = Path(tiny["data"]["folder"]) / "clinical.tsv"
    pl.read_csv(path, separator="\t").head(40).write_csv(path, separator="\t")
    assert f"`bundle.align.{omic}`: it takes 50 patients" in _problems(raw)


def test_a_finished_folder_that_cannot_be_written_is_refused_by_the_job_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "is not yours to write to" in _check_results(tmp_path)[0]
    (tmp_path / "report.html").touch()
    assert _check_results(tmp_path) == []
