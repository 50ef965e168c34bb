"""Treatments that the clinical table does not allow to compare: refused, or remarked on, when it is read."""

from pathlib import Path

import polars as pl
import pytest

from stratiome.cohort.clinical import read_clinical
from stratiome.cohort.errors import CohortError
from stratiome.config import load_config
from stratiome.plan import clinical_file


def _read(raw):
    config = load_config(raw)
    return read_clinical(clinical_file(config), config)


def _refused(raw):
    with pytest.raises(CohortError) as caught:
        _read(raw)
    return caught.value.problems


def _edit(raw, **columns):
    path = Path(raw["data"]["folder"]) / "clinical.tsv"
    table = pl.read_csv(path, separator="\t").with_columns(**columns)
    table.write_csv(path, separator="\t")
    return table


def test_values_of_profiles_that_nobody_has_are_refused_together(tiny):
    _edit(tiny, er=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("+")).otherwise(pl.lit("-")))
    drug = tiny["treatments"]["drug"]
    drug["confounders"].append("er")
    drug["profiles"] = {"young": {"er": "positive", "age": "young"}, "old": {"er": "none"}, "right": {"er": "+"}}
    assert _refused(tiny) == [
        "`treatments.drug.profiles.young.er`: no patient has the class 'positive'. Suggestion: one of +, -",
        "`treatments.drug.profiles.young.age`: 'young' is no number, but the column has numbers. "
        "Suggestion: give a number",
        "`treatments.drug.profiles.old.er`: no patient has the class 'none'. Suggestion: one of +, -",
    ]
    drug["profiles"] = {"right": {"er": "+", "age": 150}}
    _read(tiny)


def _with_starts(raw, start, **more):
    raw["treatments"]["drug"] |= {"design": "observational", "start": "begun", "landmark": 1, **more}
    return _edit(raw, begun=pl.when(pl.col("drug") == 1).then(start))


def test_starts_after_the_end_of_follow_up(tiny):
    table = _with_starts(tiny, pl.col("os_months") / 2)
    assert not any("begun" in n for n in _read(tiny).notes)
    first = pl.col("patient_id") == table.filter(pl.col("drug") == 1)["patient_id"][0]
    _with_starts(tiny, pl.when(first).then(pl.col("os_months") + 1).otherwise(pl.col("os_months")))
    assert _read(tiny).notes[-1] == (
        "treatment `drug`: fewer than 100 starts in column `begun` lie after the end of follow-up of their patient, who"
        " counts as not started while followed; check the times"
    )
    _with_starts(tiny, pl.col("os_months") * 30.4 / 2)
    (problem,) = _refused(tiny)
    assert "more than half of the starts lie after the end of follow-up" in problem
    assert "is `unit` right?" in problem
    tiny["treatments"]["drug"] |= {"unit": "days", "landmark": 30}
    _read(tiny)


def test_a_landmark_beyond_follow_up_is_refused(tiny):
    _with_starts(tiny, pl.col("os_months") / 2, landmark=600)
    (problem,) = _refused(tiny)
    assert problem.startswith("`treatments.drug.landmark`: 600 months lie beyond the longest follow-up")


def test_an_arm_that_nobody_meets_is_named(tiny):
    arms = {"high": "grade > 3", "low": "grade <= 3"}
    tiny["treatments"]["drug"] = {"design": "randomised", "arms": arms, "reference": "low"}
    (problem,) = _refused(tiny)
    assert problem.startswith("`treatments.drug_high.arms`: ")
    assert "`arms`: nobody meets `high: grade > 3`" in problem


def test_texts_in_double_quotes_are_told_from_columns(tiny):
    _edit(tiny, er=pl.lit("+"))
    tiny["treatments"]["drug"]["eligible"] = 'er = "+"'
    (problem,) = _refused(tiny)
    assert problem.startswith("`treatments.drug.eligible`: ")
    assert problem.endswith("Suggestion: texts stand in single quotes, as '+'")
