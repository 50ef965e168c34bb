"""What the report says of groups of patients."""

from __future__ import annotations

import dataclasses
import re

import pytest

import report_fixtures as fixtures
from report_fixtures import render
from stratiome.config import AuditConfig
from stratiome.report.methods import write
from stratiome.report.section_audit_fairness import fairness, verdict
from test_report_trust import changed, texts


def _rows(block) -> dict[str, list[str]]:
    return {row[0]: [getattr(c, "text", c) for c in row] for row in block.rows}


def _table(blocks, start: str):
    return next(b for b in blocks if b.kind == "table" and b.caption.startswith(start))


def test_without_groups_that_is_said():
    text = texts(fairness(fixtures.inputs("null")))
    assert "No groups of patients were named" in text
    assert "audit.groups" in text


def test_nobody_held_out():
    inputs = changed(fixtures.inputs("demo"), fairness_groups=[], fairness_tests=[], fairness_recalibration=[])
    assert "Nobody was held out" in texts(fairness(inputs))


def test_flags_are_said_with_what_is_wrong():
    blocks = fairness(fixtures.inputs("demo"))
    flags = next(b for b in blocks if b.kind == "items").items
    assert "Calibration of the stacked model differs between the groups of sex (p = 0.003, corrected)." in flags
    own = next(f for f in flags if "do not hold in sex: female" in f and "stacked" in f)
    assert "slope 0.68 (0.58 to 0.78), too extreme" in own
    assert not any("age" in f for f in flags)


def test_nothing_flagged_is_no_proof():
    inputs = fixtures.inputs("demo")
    tests = [
        r | {"flagged": False, "p_holm": None if r["p_holm"] is None else 0.5} for r in inputs.rows("fairness_tests")
    ]
    text = texts(fairness(changed(inputs, fairness_tests=tests)))
    assert "Nothing is flagged at 5 %" in text
    assert "no proof" in text


def test_tests_that_could_not_be_made_are_said():
    inputs = fixtures.inputs("demo")
    gone = {"p_holm": None, "p_value": None, "flagged": False, "method": "not estimable: fewer than 20 events; x"}
    tests = [r | gone for r in inputs.rows("fairness_tests")]
    assert "could not be tested: fewer than 20 events." in texts(fairness(changed(inputs, fairness_tests=tests)))


def test_small_groups_and_what_would_tell_them_are_suppressed():
    blocks = fairness(fixtures.inputs("demo"))
    crossed = _rows(_table(blocks, "sex × age: the stacked"))
    assert crossed["male, below 55"][1] == "<10 / <10"
    assert "too few" in crossed["male, below 55"]
    assert crossed["female, below 55"][1] == "≈100 / ≈60"
    assert crossed["male, 55 and above"][1] == "≈280 / ≈180"
    sex = _rows(_table(blocks, "sex: the stacked"))
    assert sex["female"][1].startswith("310 / ")
    assert sex["male"][1].startswith("≈290 / ")  # four more have no sex, and would be had by subtraction
    assert not re.search(r"\b[1-9] / |/ [1-9]\b", texts(blocks))


def test_groups_of_few_events_are_not_judged():
    blocks = fairness(fixtures.inputs("demo"))
    inputs = fixtures.inputs("demo")
    rows = [
        r
        | {"n": 40, "events": 15, "estimate": None, "method": "not estimable: fewer than 20 events up to 60 months; x"}
        if r["group"] == "male, below 55" and r["model"]
        else r
        for r in inputs.rows("fairness_groups")
    ]
    found = _rows(_table(fairness(changed(inputs, fairness_groups=rows)), "sex × age: the stacked"))
    assert "not estimable" in found["male, below 55"]
    assert _rows(_table(blocks, "age: the stacked"))["below 55"][-1] == "not refuted"


def test_gains_of_updates():
    blocks = fairness(fixtures.inputs("demo"))
    table = _table(blocks, "The stacked model before and after")
    rows = _rows(table)
    assert rows["sex: female"][1] == "0.68 → 0.98"
    assert rows["sex: female"][4] == "+12"
    assert rows["sex × age: male, below 55"][1:] == ["–"] * 5
    assert "1,000 patients" in table.note


@pytest.mark.parametrize("case", fixtures.CASES)
def test_every_case_is_printed_and_nothing_is_called_fair(case):
    page = render(fixtures.inputs(case))
    assert "Fairness: does it hold in every group of patients?" in page
    assert not re.search(r"\b(un)?fair(ly|er|est)?\b", page, flags=re.I)
    asked = re.findall(r"\bfairness\b(.{0,24})", page, flags=re.I | re.S)
    assert asked
    assert all(after.startswith((": do", ")", "</a>", "_")) for after in asked)  # a question, or a place to look


def test_the_verdict_names_who_it_fails_and_what_cannot_be_judged():
    inputs = fixtures.inputs("demo")
    found = verdict(inputs)
    assert (found.tone, found.badge) == ("harm", "Evidence against")
    said = "No, not in all: those of the clinical model fail in sex: female; those of the stacked"
    assert found.answer.startswith(said)
    assert ("Asked about", "sex and age") in found.facts
    assert "Not judged, for too few events: sex × age: male, below 55." in found.caveat
    assert "cannot be judged: race or ethnicity and income or deprivation." in found.caveat
    assert found.changes == "predictions were updated within sex: female and held there in new patients"
    assert any(b.kind == "finding" and b.verdict == found for b in fairness(inputs))


def test_a_verdict_without_flags_is_no_praise():
    inputs = fixtures.inputs("demo")
    tests = [
        r | {"flagged": False, "p_holm": None if r["p_holm"] is None else 0.5} for r in inputs.rows("fairness_tests")
    ]
    found = verdict(changed(inputs, fairness_tests=tests))
    assert found.tone == "no"
    assert "no proof that there is none" in found.answer
    assert found.changes == "1 group with too few events could be judged"


def test_a_verdict_that_was_not_asked_for_or_could_not_be_given():
    assert verdict(fixtures.inputs("null")).answer.startswith("Not asked")
    inputs = fixtures.inputs("demo")
    gone = {"p_holm": None, "p_value": None, "flagged": False, "method": "not estimable: fewer than 20 events; x"}
    tests = [r | gone for r in inputs.rows("fairness_tests")]
    assert verdict(changed(inputs, fairness_tests=tests)).answer == "Not answered: fewer than 20 events."


def test_models_that_fail_stand_open_and_the_others_are_folded():
    inputs = fixtures.inputs("demo")
    for fails, holds in (("stacked", "clinical"), ("clinical", "stacked")):
        tests = [r | {"flagged": r["flagged"] and r["model"] == fails} for r in inputs.rows("fairness_tests")]
        blocks = fairness(changed(inputs, fairness_tests=tests))
        opened = [b.caption for b in blocks if b.kind == "table" and "by group" in b.caption]
        assert opened
        assert all(f"the {fails} model" in caption for caption in opened)
        assert f"The same for the {holds} model" in [b.summary for b in blocks if b.kind == "fold"]
        assert f"of the {fails} model" in next(b.title for b in blocks if b.kind == "figure")


def test_a_response_has_no_times():
    inputs = fixtures.inputs("demo")
    rows = [r for r in inputs.rows("fairness_groups") if r["metric"] not in ("auc", "censored", "bound_coverage")]
    table = _table(fairness(changed(inputs, fairness_groups=rows)), "sex: the stacked")
    assert "Lost before" not in table.head
    assert "AUC(t)" not in table.head


def test_methods_tell_how_groups_were_tested():
    inputs = fixtures.inputs("demo")
    text, cited = write(inputs)
    assert "judged by sex and age, and by pairs of these," in " ".join(text)
    assert any(c.startswith("Holm S.") for c in cited)
    assert "judged by sex" not in " ".join(write(changed(inputs, fairness_tests=[]))[0])


def test_negative_slopes_are_drawn():
    inputs = fixtures.inputs("demo")
    worse = {"estimate": -0.4, "lower": -1.5, "upper": 0.7}
    rows = [
        r | worse if r["metric"] == "calibration_slope" and r["estimate"] else r for r in inputs.rows("fairness_groups")
    ]
    figures = [b for b in fairness(changed(inputs, fairness_groups=rows)) if b.kind == "figure"]
    assert len(figures) == 2
    assert "−0.40 (−1.50 to 0.70)" in figures[0].svg


def test_a_larger_limit_hides_more():
    inputs = fixtures.inputs("demo")
    audit = AuditConfig(min_cell=100, groups=("sex", "age"), cuts={"age": (55.0,)})
    hidden = dataclasses.replace(inputs, settings=dataclasses.replace(inputs.settings, audit=audit))
    assert "104" not in texts(fairness(hidden))
