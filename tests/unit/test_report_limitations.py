"""Limitations in the report are those of the run, and the best calibrated model is that of the rule."""

from __future__ import annotations

import dataclasses
import re

import pytest

import report_fixtures as fixtures
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_limitations import limitations
from stratiome.report.section_prognosis_calibration import _best
from test_report_trust import changed

MODELS = ("clinical", "clinical_omics", "clinical_latent")


def told(inputs: ReportInputs) -> dict[str, tuple[str, list[str]]]:
    """Text -> what it affects, and anchors."""
    table = limitations(inputs).blocks[0]
    return {row[0]: (row[1], [a for a, _ in getattr(row[2], "links", ())]) for row in table.rows}


def one(found: dict, start: str) -> tuple[str, tuple[str, list[str]]]:
    """The limitation that starts so."""
    return next((text, rest) for text, rest in found.items() if text.startswith(start))


def test_a_failed_control_is_a_limitation_only_where_it_failed():
    inputs = fixtures.inputs("demo")
    assert not any(text.startswith("The negative control shows") for text in told(inputs))
    moved = {"estimate": 3.0, "lower": 0.9, "upper": 5.1}
    rows = [r | moved if r["check"] == "negative control" else r for r in inputs.rows("treatment_robustness")]
    _, (affects, links) = one(told(changed(inputs, treatment_robustness=rows)), "The negative control shows")
    assert affects == "bias"
    assert links == ["treatment-changed-treatment"]


def test_groups_in_which_predictions_fail_are_limitations():
    inputs = fixtures.inputs("demo")
    text, (_, links) = one(told(inputs), "Predictions fail in some groups")
    assert "sex: female" in text
    assert links == ["travel-groups"]
    assert not any("fail in some groups" in t for t in told(changed(inputs, fairness_tests=[])))


def test_one_cohort_is_a_limitation_and_sites_held_out_are_said():
    assert any("only sites of it were held out" in t for t in told(fixtures.inputs("demo")))
    assert any("no site of it was held out" in t for t in told(fixtures.inputs("survival_only")))


def test_variables_that_are_often_missing_are_named_with_their_share():
    inputs = fixtures.inputs("demo")
    name = inputs.settings.covariates[0]
    rows = [r | ({"missing": 200, "n": 400} if r["variable"] == name else {}) for r in inputs.rows("baseline")]
    text, _ = one(told(changed(inputs, baseline=rows)), "Clinical variables are often missing")
    assert "(33 %)" in text


def test_every_place_that_is_linked_is_on_the_page():
    page = fixtures.render(fixtures.inputs("demo"))
    anchors = {a for _, links in told(fixtures.inputs("demo")).values() for a in links}
    assert anchors
    assert all(f'id="{a}"' in page for a in anchors)


def _calibrated(ici: dict[str, float], slopes: dict[str, tuple[float, float]]) -> ReportInputs:
    inputs = fixtures.inputs("demo")
    measures = [
        r | ({"estimate": ici[r["model"]], "chance_upper": 0.02} if r["metric"] == "ici" else {})
        for r in inputs.rows("calibration_measures")
    ]
    metrics = [
        r | dict(zip(("lower", "upper"), slopes[r["model"]], strict=True))
        if r["metric"] == "calibration_slope" and r["model"] in slopes
        else r
        for r in inputs.rows("prognosis_metrics")
    ]
    return changed(inputs, calibration_measures=measures, prognosis_metrics=metrics)


@pytest.mark.parametrize(
    ("ici", "slopes", "said"),
    [
        ((0.03, 0.025, 0.04), {}, "clinical + omics at 36 months (ICI 0.025)"),
        ((0.03, 0.025, 0.04), {"clinical_omics": (1.1, 1.4)}, "clinical at 36 months (ICI 0.030)"),
        ((0.0101, 0.0103, 0.04), {}, "clinical and clinical + omics at 36 months (ICI 0.010, a tie)"),
        ((0.010, 0.015, 0.04), {}, "clinical at 36 months (ICI 0.010), with clinical + omics within what chance gives"),
        ((0.03, 0.025, 0.04), dict.fromkeys(MODELS, (1.1, 1.4)), "none at 36 months, as for no model both intervals"),
    ],
)
def test_the_best_calibrated_model_is_named_by_a_rule(ici, slopes, said):
    inputs = _calibrated(dict(zip(MODELS, ici, strict=True)), slopes)
    (text,) = _best(inputs, "cross-validation", MODELS)
    assert said in re.sub(r" with slope [^)]*\)", "", text.text)
    assert said.startswith("none") or re.search(r" with slope \d\.\d\d \(\d\.\d\d to \d\.\d\d\)", text.text)
    assert "differences in ICI are not tested" in text.text


def test_without_a_distance_nothing_is_called_best():
    inputs = fixtures.inputs("demo")
    rows = [r for r in inputs.rows("calibration_measures") if r["metric"] != "ici"]
    assert _best(changed(inputs, calibration_measures=rows), "cross-validation", MODELS) == []
    none = dataclasses.replace(inputs, tables=dict(inputs.tables))
    assert _best(none, "leave-site-out", MODELS) == []
