"""Batches: measures against closed forms, the refusal gate, and what a protected correction does to a null outcome."""

import importlib.util

import numpy as np
import polars as pl
import pytest
from scipy import stats

from conftest import ROOT, write_tiny
from stratiome.cohort.errors import CohortError
from stratiome.config import ConfigError, FeatureConfig, load_config
from stratiome.features.adjust import protected_design, site_scales, site_shifts
from stratiome.features.build import fit_transform
from stratiome.quality.batch import association, batch_associations, cramers_v, eta_squared, refuse_protection
from stratiome.quality.variables import Variable
from stratiome.tables import QualityBatch, from_rows


def _classes(name, values, role="batch"):
    return Variable(name, role, np.array(values, dtype=object))


# ---- measures --------------------------------------------------------------------------------------------------------


def test_cramers_v_is_one_where_classes_agree_and_unbiased_where_they_do_not():
    assert cramers_v(np.diag([30, 20, 50]))[0] == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    tables = [np.histogram2d(rng.integers(0, 20, 200), rng.integers(0, 2, 200), bins=(20, 2))[0] for _ in range(200)]
    plain = np.mean([np.sqrt(stats.chi2_contingency(t, correction=False).statistic / 200) for t in tables])
    assert plain > 0.28  # the mutant: without correction, twenty sites look associated with anything
    assert np.mean([cramers_v(t)[0] for t in tables]) < 0.1
    assert 0.02 < np.mean([cramers_v(t)[1] < 0.05 for t in tables]) < 0.1


def test_cramers_v_by_hand():
    table = np.array([[30, 10], [10, 30]])
    chi2, n = 20.0, 80
    phi = chi2 / n - 1 / (n - 1)
    least = 2 - 1 / (n - 1) - 1
    assert cramers_v(table)[0] == pytest.approx(np.sqrt(phi / least))
    assert cramers_v(table)[1] == pytest.approx(stats.chi2.sf(20, 1))


def test_eta_squared_is_that_of_the_analysis_of_variance():
    rng = np.random.default_rng(1)
    classes = np.repeat(["a", "b", "c"], 40)
    values = rng.normal(size=120) + np.repeat([0.0, 0.5, 1.0], 40)
    value, p_value = eta_squared(classes, values)
    test = stats.f_oneway(*values.reshape(3, 40))
    assert p_value == pytest.approx(test.pvalue)
    assert value == pytest.approx(1 - (120 - 1) / (120 - 3) / (1 + test.statistic * 2 / 117))
    noise = [eta_squared(rng.integers(0, 30, 200).astype(str), rng.normal(size=200))[0] for _ in range(100)]
    assert np.mean(noise) < 0.03  # without correction 29 / 199 = 0.15


def test_associations_of_quantities_and_of_what_cannot_be_judged():
    x = np.arange(50.0)
    both = association(Variable("x", "batch", x), Variable("y", "outcome", 2 * x))
    assert both[:2] == ("r squared", pytest.approx(1.0))
    few = association(_classes("a", ["u", "v"] * 4), _classes("b", ["u", "v"] * 4))
    assert few[1] is None
    assert "fewer than 10" in few[4]
    same = association(_classes("a", ["u"] * 40), _classes("b", ["u", "v"] * 20))
    assert "does not vary" in same[4]


# ---- the gate --------------------------------------------------------------------------------------------------------


def _confounded(strength):
    rng = np.random.default_rng(2)
    event = rng.integers(0, 2, 300)
    site = np.where(rng.random(300) < 0.5 + strength / 2, event, 1 - event)
    return [
        _classes("hospital", [f"h{s}" for s in site]),
        _classes("event", [str(e) for e in event], "outcome"),
        _classes("drug", [str(e) for e in rng.integers(0, 2, 300)], "treatment"),
    ]


def test_protection_is_refused_where_batch_and_outcome_go_together(caplog):
    rows = batch_associations(_confounded(0.8), 0.3)
    QualityBatch.validate(from_rows(rows, QualityBatch), lazy=True)
    assert "batch `hospital` is associated with outcome `event`" in caplog.text
    with pytest.raises(CohortError) as error:
        refuse_protection(rows, "hospital", ("subtype",))
    text = error.value.problems[0]
    assert len(error.value.problems) == 1  # the drug is not associated
    for part in ("`features.protect`", "`hospital`", "`event`", f"{rows[0]['value']:.2f}", "limit 0.30", "Suggestion"):
        assert part in text
    refuse_protection(rows, "hospital", ())  # without protection it is said and allowed


def test_protection_is_allowed_where_they_do_not(caplog):
    rows = batch_associations(_confounded(0.0), 0.3)
    assert not any(r["beyond"] for r in rows)
    assert caplog.text == ""
    refuse_protection(rows, "hospital", ("subtype",))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"features": {"protect": ["os_event"]}}, "contains the outcome ['os_event']"),
        ({"features": {"protect": ["grade"], "adjust_site": False}}, "no site differences are removed"),
        ({"features": {"protect": ["hospital"]}}, "contains the site `hospital`"),
    ],
)
def test_config_refuses_to_protect(tmp_path, change, text):
    with pytest.raises(ConfigError, match=r"features\.protect") as error:
        load_config(write_tiny(tmp_path) | change)
    assert text in str(error.value)


# ---- the adjuster ----------------------------------------------------------------------------------------------------


def _auroc(score, y):
    return stats.mannwhitneyu(score[y == 1], score[y == 0]).statistic / ((y == 1).sum() * (y == 0).sum())


def _centroid(train_x, train_y, test_x):
    return test_x @ (train_x[train_y == 1].mean(axis=0) - train_x[train_y == 0].mean(axis=0))


def _null_cohort(rng, n=120, p=300):
    """An outcome without any effect, a batch confounded with it, and features that know the batch alone."""
    y = rng.integers(0, 2, n)
    site = np.where(rng.random(n) < 0.8, y, 1 - y).astype(str).astype(object)
    return rng.normal(size=(n, p)) + (site == "1")[:, None] * rng.normal(0, 1, p), y, site


def _held_out_auroc(rng, protected_on_all):
    values, y, site = _null_cohort(rng)
    fold = rng.permutation(len(y)) % 5
    scores = np.zeros(len(y))
    if protected_on_all:  # the mutant: correct once, on everybody, keeping what the outcome explains
        names, shifts = site_shifts(values, site, y[:, None].astype(float))
        values = values - shifts[[names.index(s) for s in site]]
    for f in range(5):
        train = fold != f
        if protected_on_all:
            x = values
        else:
            t = fit_transform(values.astype(np.float32), train, FeatureConfig(), continuous=True, site=site)
            x = t.apply(values.astype(np.float32), site).astype(float)
        scores[~train] = _centroid(x[train], y[train], x[~train])
    return np.mean([_auroc(scores[fold == f], y[fold == f]) for f in range(5)])


def test_a_null_outcome_stays_null_inside_the_fold_and_not_with_the_outcome_protected_on_all_data():
    ours = np.mean([_held_out_auroc(np.random.default_rng(s), False) for s in range(12)])
    mutant = np.mean([_held_out_auroc(np.random.default_rng(s), True) for s in range(12)])
    # Twelve replicates have a standard error of 0.02.
    assert 0.42 < ours < 0.57
    assert mutant > 0.7


def test_site_shifts_shrunk_by_each_feature_alone_would_leave_the_site(monkeypatch):
    from stratiome.features import build

    def alone(work, site, protected=None):  # the mutant: the variance between two sites from one feature
        parts = [site_shifts(work[:, [j]], site) for j in range(work.shape[1])]
        return parts[0][0], np.hstack([shifts for _, shifts in parts])

    monkeypatch.setattr(build, "site_shifts", alone)
    assert np.mean([_held_out_auroc(np.random.default_rng(s), False) for s in range(4)]) > 0.54


def test_protected_effect_survives_and_the_unprotected_is_partly_taken():
    rng = np.random.default_rng(3)
    kind = rng.integers(0, 2, 2000).astype(float)
    site = np.where(rng.random(2000) < 0.2 + 0.6 * kind, "a", "b").astype(object)
    values = rng.normal(size=(2000, 4)) + 2 * kind[:, None] + (site == "a")[:, None]
    values[rng.random(values.shape) < 0.05] = np.nan
    for design, expected in ((kind[:, None], 1.0), (None, 2.2)):
        names, shifts = site_shifts(values, site, design)
        np.testing.assert_allclose(shifts[names.index("a")] - shifts[names.index("b")], expected, atol=0.15)


def test_protected_columns_are_learned_on_training_patients():
    import pandas as pd

    obs = pd.DataFrame({"age": [50.0, 60.0, np.nan, 900.0], "kind": ["x", "y", "x", "z"]})
    design = protected_design(obs, ["age", "kind"], np.array([True, True, True, False]))
    np.testing.assert_allclose(design[:3], [[-1, 0], [1, 1], [0, 0]])
    assert protected_design(obs, [], np.ones(4, bool)) is None


def test_whole_numbers_are_protected_as_quantities():
    # As the cohort file gives them back: a column of whole numbers is not a class per number.
    import pandas as pd

    train = np.array([True, True, True, False])
    whole = pd.DataFrame({"age": pd.array([50, 60, None, 900], dtype="Int64"), "n": np.array([1, 2, 3, 9])})
    real = pd.DataFrame({"age": [50.0, 60.0, np.nan, 900.0], "n": [1.0, 2.0, 3.0, 9.0]})
    found = protected_design(whole, ["age", "n"], train)
    assert found.shape == (4, 2)
    np.testing.assert_array_equal(found, protected_design(real, ["age", "n"], train))


def test_spread_of_sites_is_evened_shrunk_and_frozen():
    rng = np.random.default_rng(4)
    site = np.repeat(["a", "b"], 300).astype(object)
    values = rng.normal(size=(600, 30)).astype(np.float32)
    values[site == "b"] *= 3
    settings = FeatureConfig(adjust_scale=True)
    t = fit_transform(values, np.ones(600, bool), settings, continuous=True, site=site)
    out = t.apply(values, site)
    ratio = out[site == "b"].std(axis=0) / out[site == "a"].std(axis=0)
    np.testing.assert_allclose(ratio, 1, atol=0.1)
    np.testing.assert_allclose(np.nanstd(out, axis=0), 1, atol=1e-5)
    plain = fit_transform(values, np.ones(600, bool), FeatureConfig(), continuous=True, site=site)
    assert (plain.spreads == 1).all()
    few = rng.normal(size=(600, 200))
    few[site == "b", :100] *= 1.3
    small = np.where(np.arange(600) % 10 == 0, site, "")
    raw = np.log(few[small == "b"].std(axis=0, ddof=1) / few.std(axis=0))
    assert np.abs(np.log(site_scales(few, small, ("a", "b"))[1])).mean() < np.abs(raw).mean()


# ---- real cohorts ----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_platform_of_mirna_goes_with_site_in_tcga_brca(shared_data, tmp_path):
    tables = _check(shared_data, "tcga_brca", tmp_path)
    rows = tables["batches"].filter((pl.col("batch") == "site") & (pl.col("variable") == "mirna: platform"))
    assert rows["strength"].item() > 0.5
    assert rows["beyond"].item()
    summary = tables["identity_summary"].filter(pl.col("check") == "sex")
    assert summary["flagged"].sum() == 0  # twelve men, and no sex-linked genes among the features
    assert summary["note"].str.contains("no sex-linked genes").all()


@pytest.mark.real
def test_glioblastoma_lacks_mirna_in_tcga_gbmlgg(shared_data, tmp_path, caplog):
    tables = _check(shared_data, "tcga_gbmlgg", tmp_path)
    found = tables["missingness"].filter(
        (pl.col("finding") == "all missing") & (pl.col("name") == "mirna") & (pl.col("variable") == "tcga_cohort")
    )
    assert found.select("level", "n", "missing").rows() == [("GBM", 595, 595)]
    assert "all 595 patients of `tcga_cohort` = GBM lack omic `mirna`" in caplog.text
    tests = tables["missingness"].filter((pl.col("name") == "mirna") & (pl.col("finding") == "test"))
    assert tests.filter(pl.col("variable") == "tcga_cohort")["effect"].item() > 0.9
    assert tests.filter(pl.col("variable") == "event")["p_holm"].item() < 1e-6
    blocks = tables["missingness"].filter(pl.col("subject") == "feature block")
    assert blocks.filter((pl.col("name") == "rppa") & (pl.col("variable") == "tcga_cohort"))["effect"].max() > 0.5


def _check(shared_data, cohort, folder):
    """Run the stages up to the checks on a real cohort; returns their tables by name."""
    import logging

    from stratiome.cohort.ingest import read_cohort, write_cohort
    from stratiome.plan import omic_files, sample_files

    kinds = {"mrna": "expression", "cna": "copy_number", "mutation": "mutation", "rppa": "protein"}
    omics = {name: {"path": f"{name}.parquet", "kind": kind} for name, kind in kinds.items()}
    samples = {"path": "mirna_samples.tsv", "columns": ["platform", "plate"]}
    omics["mirna"] = {"path": "mirna_counts.parquet", "kind": "mirna", "samples": samples}
    config = load_config(
        {
            "cohort": cohort,
            "data": {"folder": str(shared_data / cohort), "clinical": "clinical_checked.tsv", "omics": omics},
            "endpoint": {"time": "os_time_months", "event": "os_event", "horizons": [24]},
            "covariates": ["age", "sex"],
            "site": "site",
            "known_labels": ["tcga_cohort"] if cohort == "tcga_gbmlgg" else ["oncotree_code"],
            "quality": {"batches": ["year_of_diagnosis"], "sex": {"column": "sex"}},
        }
    )
    clinical = folder / "clinical.tsv"
    table = pl.read_csv(shared_data / cohort / "clinical.tsv", separator="\t", infer_schema_length=None)
    table.filter((pl.col("os_time_months") >= 0) | pl.col("os_time_months").is_null()).write_csv(
        clinical, separator="\t"
    )
    read = read_cohort(config, clinical, omic_files(config))
    write_cohort(read, config, str(folder / "cohort.h5mu"))
    read.clinical.covariates.write_parquet(folder / "clinical.parquet")
    read.clinical.outcome.write_parquet(folder / "outcome.parquet")
    names = ("identity", "identity_summary", "batches", "missingness", "treatments", "gate")
    with_level = logging.getLogger("stratiome")
    with_level.setLevel(logging.INFO)
    script = importlib.util.spec_from_file_location("rule", ROOT / "workflow/scripts/check_identity.py")
    module = importlib.util.module_from_spec(script)
    script.loader.exec_module(module)
    module.main(
        cohort_file=str(folder / "cohort.h5mu"),
        clinical=str(folder / "clinical.parquet"),
        outcome=str(folder / "outcome.parquet"),
        samples=[str(p) for p in sample_files(config).values()],
        analysis=config,
        **{name: str(folder / f"{name}.parquet") for name in names},
    )
    return {name: pl.read_parquet(folder / f"{name}.parquet") for name in names[:-1]}
