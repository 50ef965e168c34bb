"""Missingness: what depends on patients is found, whole levels are named, and nothing is found where nothing is."""

import numpy as np
import pytest
from scipy import stats

from held_omic import Held
from stratiome.quality.missingness import Subject, block_subjects, column_subject, missingness_rows, omic_subject
from stratiome.quality.variables import Variable
from stratiome.tables import QualityMissingness, from_rows

IDS = tuple(f"P{i:03d}" for i in range(200))


def _variables(seed=0):
    rng = np.random.default_rng(seed)
    return [
        Variable("site", "batch", np.array(["a", "b", "c", "d"] * 50, dtype=object)),
        Variable("event", "outcome", rng.integers(0, 2, 200).astype(str).astype(object)),
        Variable("age", "covariate", rng.normal(60, 10, 200)),
    ]


def _omic(has):
    ids = tuple(np.array(IDS)[has])
    return Held("rna", ids, ("g1", "g2"), np.ones((len(ids), 2), dtype=np.float32))


def test_a_level_that_lacks_an_omic_altogether_is_a_finding_of_its_own(caplog):
    has = np.array([i % 4 != 2 for i in range(200)])
    has[[0, 5]] = False
    rows = missingness_rows([omic_subject(_omic(has), IDS)], _variables(), 10)
    QualityMissingness.validate(from_rows(rows, QualityMissingness), lazy=True)
    found = [r for r in rows if r["finding"] == "all missing"]
    assert [(r["variable"], r["level"], r["n"], r["missing"]) for r in found] == [("site", "c", 50, 50)]
    assert "all 50 patients of `site` = c lack omic `rna`" in caplog.text
    test = next(r for r in rows if r["variable"] == "site" and r["finding"] == "test")
    assert test["effect"] > 0.9
    assert test["p_holm"] < 1e-20
    assert missingness_rows([omic_subject(_omic(has), IDS)], _variables(), 51)[-1]["finding"] == "test"  # too small


def test_that_a_group_lacks_what_hardly_anybody_has_is_no_finding(caplog):
    for few, found in ((1, False), (9, False), (10, True)):
        caplog.clear()
        has = np.zeros(200, dtype=bool)
        has[: 4 * few : 4] = True  # all of site a, which would tell where these few are
        rows = missingness_rows([omic_subject(_omic(has), IDS)], _variables()[:1], 10)
        assert any(r["finding"] == "all missing" for r in rows) == found
        assert ("lack omic" in caplog.text) == found


def test_tests_and_effects_are_those_of_scipy():
    variables = _variables()
    lacks = np.random.default_rng(1).random(200) < 0.3
    rows = missingness_rows([omic_subject(_omic(~lacks), IDS)], variables, 10)
    age = variables[2].values
    test = stats.mannwhitneyu(age[lacks], age[~lacks])
    row = {r["variable"]: r for r in rows}
    assert row["age"]["test"] == "Mann-Whitney"
    assert row["age"]["effect"] == pytest.approx(np.mean(age[lacks][:, None] > age[~lacks]))
    assert row["age"]["p_value"] == pytest.approx(test.pvalue)
    assert row["event"]["test"] == "chi-squared"
    p = np.array([r["p_value"] for r in rows])
    order = np.argsort(p)
    holm = np.minimum(np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))), 1)
    assert [rows[i]["p_holm"] for i in order] == pytest.approx(holm.tolist())


def test_small_tables_are_tested_exactly():
    lacks = np.zeros(200, dtype=bool)
    lacks[:4] = True
    event = Variable("event", "outcome", np.array(["1"] * 8 + ["0"] * 192, dtype=object))
    row = missingness_rows([omic_subject(_omic(~lacks), IDS)], [event], 10)[0]
    assert row["test"] == "Fisher"
    assert row["p_value"] == pytest.approx(stats.fisher_exact([[192, 4], [0, 4]]).pvalue)


def test_blocks_are_features_that_the_same_patients_lack():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(150, 12)).astype(np.float32)
    site = np.array(["a", "b", "c", "d"] * 50, dtype=object)
    has = np.arange(200) < 150
    values[site[:150] == "b", 3:8] = np.nan  # antibodies that one site did not measure
    values[4, 0] = np.nan  # a single cell is no block
    omic = Held("rppa", IDS[:150], tuple(f"ab{j:02d}" for j in range(12)), values)
    (block,) = block_subjects(omic, IDS)
    assert block.block == "ab03, ab04, ab05 and 2 more"
    assert (block.asked == has).all()
    rows = missingness_rows([block], [Variable("site", "batch", site), Variable("rppa: plate", "batch", site)], 10)
    assert {(r["variable"], r["finding"], r["level"]) for r in rows} == {
        ("site", "test", ""),
        ("site", "all missing", "b"),
        ("rppa: plate", "test", ""),  # its plate may explain a block, but not who lacks the omic
        ("rppa: plate", "all missing", "b"),
    }
    plate = Variable("rppa: plate", "batch", np.where(has, site, None))
    assert missingness_rows([omic_subject(omic, IDS)], [plate], 10) == []


def test_columns_are_tested_against_outcome_and_not_against_themselves():
    age = np.random.default_rng(3).normal(size=200)
    event = np.array(["0", "1"] * 100, dtype=object)
    age[event == "1"] = np.nan
    variable = Variable("age", "covariate", age)
    rows = missingness_rows([column_subject(variable)], [variable, Variable("event", "outcome", event)], 10)
    assert {(r["subject"], r["variable"], r["finding"]) for r in rows} == {
        ("clinical column", "event", "test"),
        ("clinical column", "event", "all missing"),
    }


def test_missing_at_random_is_rarely_called_otherwise():
    rng = np.random.default_rng(4)
    variables = _variables()
    called = 0
    for _ in range(60):
        subject = Subject("omic", "x", "", rng.random(200) < 0.3, np.ones(200, dtype=bool))
        called += any(r["p_holm"] < 0.05 for r in missingness_rows([subject], variables, 10))
    assert called <= 9  # family-wise 5 % of 60: more than 9 less than once in 1000


def test_what_the_same_patients_lack_is_one_question():
    lacks = np.random.default_rng(5).random(200) < 0.3
    event = Variable("event", "outcome", np.array(["0", "1"] * 100, dtype=object))
    columns = [
        Variable(name, "covariate", np.where(gone, np.nan, 1.0 + np.arange(200)))
        for name, gone in (("grade", lacks), ("stage", lacks), ("age", ~lacks))
    ]
    omics = [Subject("omic", name, "", lacks, np.ones(200, dtype=bool)) for name in ("rna", "cna")]
    rows = missingness_rows([*omics, *map(column_subject, columns)], [event, *columns], 10)
    QualityMissingness.validate(from_rows(rows, QualityMissingness), lazy=True)
    together = {(r["subject"], r["name"], r["n"], r["missing"]) for r in rows if r["finding"] == "missing together"}
    n = int(lacks.sum())
    assert together == {("omic", "rna + cna", 200, n), ("clinical column", "grade + stage", 200, n)}
    tested = {(r["name"], r["variable"]) for r in rows if r["finding"] == "test"}
    assert ("grade + stage", "event") in tested
    assert not {("grade + stage", "grade"), ("grade + stage", "stage")} & tested  # missing with it
