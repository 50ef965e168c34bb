"""The section that asks whether findings travel, and what the first screen says of other cohorts."""

from __future__ import annotations

from dataclasses import replace

import report_fixtures as fixtures
from report_fixtures import render
from stratiome import tables
from stratiome.report.page import sections, verdicts
from test_report_validation import _metric


def _abroad(c=(0.7, 0.65, 0.75), far=4):
    """The demo, with one other cohort of 200 patients."""
    inputs = fixtures.inputs("demo")
    metrics = [
        _metric("uno_c", *c),
        _metric("calibration_slope", 1.0, 0.8, 1.2),
        _metric("observed_expected", 1.0, 0.9, 1.1),
        _metric("calibration_slope", 1.0, 0.8, 1.2, update="baseline"),
    ]
    sharp = {
        "quantity": "sharpness",
        "subgroup": 1,
        "versus": None,
        "tau_months": None,
        "p_value": 0.002,
        "estimate": 0.95,
        "lower": None,
        "upper": None,
        "n": 190,
        "events": 70,
        "held_out": True,
        "method": "how",
    }
    near = sharp | {"quantity": "in_group_proportion", "p_value": None}
    cohort = {"cohort": "Elsewhere"}
    size = cohort | {"n": 200, "out_of_distribution": far, "missing": 0.25, "remarks": "rna: names by `probes.tsv`"}
    more = {
        "external_metrics": tables.from_rows([m | cohort for m in metrics], tables.OtherCohortMetrics),
        "external_subgroups": tables.from_rows([r | cohort for r in (sharp, near)], tables.OtherCohortSubgroups),
        "external_effects": tables.from_rows([], tables.OtherCohortEffects),
        "external_order": tables.from_rows([], tables.OtherCohortOrder),
        "external_patients": tables.from_rows([size], tables.OtherCohortPatients),
    }
    return replace(inputs, tables={**inputs.tables, **more})


def _travel(inputs):
    return next(s for s in sections(inputs) if s.anchor == "travel")


def test_without_another_cohort_the_section_says_so():
    inputs = fixtures.inputs("demo")
    assert any("nothing here is an external validation" in getattr(b, "text", "") for b in _travel(inputs).blocks)
    assert not any("Elsewhere" in v.question for v in verdicts(inputs))


def test_another_cohort_has_its_answer_on_the_first_screen():
    inputs = _abroad()
    answer = next(v for v in verdicts(inputs) if "Elsewhere" in v.question)
    assert answer.tone == "yes"
    assert answer.link == "travel"
    harm = next(v for v in verdicts(_abroad(c=(0.4, 0.35, 0.45))) if "Elsewhere" in v.question)
    assert harm.tone == "harm"


def test_small_counts_of_another_cohort_are_not_told():
    page = render(_abroad(far=4))
    assert "200 patients were scored" in page
    assert "&lt;10 are unlike its training patients" in page or "fewer than 10 are unlike" in page
    assert "The median patient lacks 25 % of the features." in page
    assert "probes.tsv" in page
    assert "Subgroups in Elsewhere" in page
