"""What the report says on how the models bear worse data."""

from __future__ import annotations

import dataclasses

import pytest

import report_fixtures as fixtures
from report_fixtures import render
from stratiome.config import AuditConfig
from stratiome.report.section_audit_robustness import robustness
from test_report_trust import changed, texts, without


def _said(inputs) -> list[str]:
    return next(list(b.items) for b in robustness(inputs) if b.kind == "items")


@pytest.mark.parametrize("case", fixtures.CASES)
def test_every_case_has_a_sentence_on_each_concept(case):
    inputs = fixtures.inputs(case)
    assert len(_said(inputs)) == 8
    assert "Does it bear worse data?" in render(inputs)


def test_sentences_tell_the_largest_dose_and_the_worst_part():
    said = _said(fixtures.inputs("demo"))
    assert said[0].startswith("Noise of 1 SD")
    assert "C moves by −0.060 (−0.070 to −0.050)" in said[0]
    assert "with 50 % of the features missing at random C moves by −0.030" in said[1]
    assert "error of the judgement, not of the models" in said[2]
    assert "observed over expected risk from 1.00 to 1.03" in said[3]
    assert "at sites that were left out C is 0.59, −0.06 against patients of the same sites" in said[6]


def test_the_table_holds_every_stress_and_dose():
    (fold,) = (b for b in robustness(fixtures.inputs("demo")) if b.kind == "fold")
    rows = fixtures.inputs("demo").rows("robustness", model="stacked", metric="uno_c")
    with_dose = [r for r in rows if r["dose"] is not None]
    assert len(fold.blocks[0].rows) == len(with_dose)


def test_nothing_judged_gives_nothing_and_not_asked_is_said():
    inputs = fixtures.inputs("demo")
    assert robustness(without(inputs, "robustness")) == []
    settings = dataclasses.replace(inputs.settings, audit=AuditConfig(robustness=False))
    assert "Not asked" in texts(robustness(dataclasses.replace(inputs, settings=settings)))


def test_too_few_held_out_patients_are_said():
    inputs = fixtures.inputs("demo")
    gone = ("estimate", "lower", "upper", "difference", "difference_lower", "difference_upper")
    rows = [r | dict.fromkeys(gone) for r in inputs.rows("robustness")]
    assert "Too few patients or events are held out" in texts(robustness(changed(inputs, robustness=rows)))


def test_rare_omics_are_not_named():
    inputs = fixtures.inputs("demo")
    rare = "mutation"
    assert rare in texts(robustness(inputs))
    few = [
        r | ({"value": 3.0} if r["omic"] == rare and r["metric"] == "patients" else {})
        for r in inputs.rows("quality_summary")
    ]
    assert rare not in texts(robustness(changed(inputs, quality_summary=few)))
