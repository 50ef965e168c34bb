"""Calibration in the report: what is said, drawn and kept back, and caveats of the verdicts."""

from __future__ import annotations

import dataclasses
import re

import pytest

import report_fixtures as fixtures
from stratiome import tables
from stratiome.report import charts_calibration, section_prognosis, section_prognosis_calibration, verdicts
from stratiome.report.inputs import CONTRACTS, ReportInputs

OF_OMICS = section_prognosis.OF_OMICS
COLOURS = {m: i for i, m in enumerate(tables.PROGNOSIS_MODELS)}
MODELS = ["clinical", "clinical_omics", "clinical_latent"]


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return fixtures.inputs("demo")


def changed(inputs: ReportInputs, **frames: list[dict]) -> ReportInputs:
    new = {name: tables.from_rows(rows, CONTRACTS[name]) for name, rows in frames.items()}
    return dataclasses.replace(inputs, tables=dict(inputs.tables) | new)


def blocks(inputs: ReportInputs) -> list:
    judged = {"cross-validation": MODELS, "leave-site-out": MODELS}
    return section_prognosis_calibration.calibration(inputs, "cross-validation", judged, OF_OMICS, COLOURS)


def kinds(found: list, kind: str) -> list:
    return [b for b in found if b.kind == kind]


def row(lower: float, upper: float) -> dict:
    return {"estimate": (lower + upper) / 2, "lower": lower, "upper": upper, "horizon_months": 60.0}


def with_slope(inputs, model, lower, upper, metric="calibration_slope", horizons=(36.0, 60.0)):
    rows = [
        r | row(lower, upper) | {"horizon_months": r["horizon_months"]}
        if (r["model"], r["metric"], r["design"]) == (model, metric, "cross-validation")
        and r["horizon_months"] in horizons
        else r
        for r in inputs.rows("prognosis_metrics")
    ]
    return changed(inputs, prognosis_metrics=rows)


@pytest.mark.parametrize(
    ("slope", "level", "said"),
    [
        (row(0.5, 0.9), None, "too extreme (slope 0.70 (0.50 to 0.90))"),
        (row(1.1, 1.5), row(0.1, 0.3), "too tame (slope 1.30 (1.10 to 1.50)) too low (intercept 0.20 (0.10 to 0.30))"),
        (row(0.9, 1.1), row(-0.4, -0.2), "too high (intercept −0.30 (−0.40 to −0.20))"),
        (row(0.9, 1.1), row(-0.1, 0.1), ""),
        (None, {"estimate": None, "lower": None, "upper": None}, ""),
    ],
)
def test_tendencies(slope, level, said):
    assert " ".join(section_prognosis_calibration.tendencies(slope, level)) == said


def test_models_that_matter_stand_open_and_the_others_in_a_fold(inputs):
    found = blocks(inputs)
    panels = kinds(found, "panels")
    assert [p.title for p in panels] == [
        "Calibration at 36 months",
        "Calibration at 60 months",
        "Predicted risks by outcome",
    ]
    # Clinical + omics has the higher C of the two with omics.
    assert [title for title, _ in panels[0].figures] == ["Clinical", "Clinical + omics"]
    folds = kinds(found, "fold")
    assert folds[0].summary == "Calibration of the other models: clinical + latent"
    assert [title for title, _ in folds[0].blocks[0].figures] == ["Clinical + latent"]
    assert kinds(found, "items") == []
    assert "clinical, clinical + omics and clinical + latent" in kinds(found, "text")[1].text


def test_a_model_that_is_off_is_named_in_a_plain_sentence(inputs):
    found = blocks(with_slope(inputs, "clinical_latent", 0.5, 0.8))
    assert kinds(found, "items")[0].items == [
        "Clinical + latent: risks are too extreme (slope 0.65 (0.50 to 0.80)) at 36 months; too extreme (slope 0.65"
        " (0.50 to 0.80)) at 60 months."
    ]
    said = kinds(found, "text")[1].text
    assert "risks of the others are off" in said
    assert "clinical and clinical + omics" in said


def test_table_sets_the_ici_beside_chance_and_says_what_is_not_estimable(inputs):
    table = kinds(blocks(inputs), "table")[0]
    assert table.head[:5] == ["Model", "Intercept", "Slope", "ICI", "ICI by chance"]
    first = table.rows[0]
    assert (first[0], first[3].text, first[4].text, first[4].below) == ("Clinical", "0.021", "0.018", "at most 0.035")
    assert (first[6].text, first[6].below) == ("p = 0.52", "χ² 8.1, 9 df")
    lost = [
        r | {"estimate": None, "lower": None, "upper": None, "chance": None, "chance_upper": None}
        | {"p_value": None, "df": None, "method": "not estimable: too few; a method"}
        for r in inputs.rows("calibration_measures")
    ]  # fmt: skip
    table = kinds(blocks(changed(inputs, calibration_measures=lost)), "table")[0]
    assert table.rows[0][1].text == "not estimable"
    assert "Not estimable: Calibration intercept of clinical (too few)" in table.note


def test_every_measure_stands_in_a_fold_with_its_method(inputs):
    table = kinds(blocks(inputs), "fold")[-1].blocks[0]
    assert len(table.rows) == len(inputs.rows("calibration_measures"))
    values = [r[4] for r in table.rows]
    assert "0.021 (0.009 to 0.033); by chance 0.018, at most 0.035" in values
    assert "χ² 8.1, 9 df, p = 0.52" in values


def test_panels_tell_in_words_what_they_show_and_draw_a_band(inputs):
    drawing = kinds(blocks(inputs), "panels")[0].figures[0][1]
    label = re.search(r'aria-label="([^"]*)"', drawing)[1]
    assert "Smooth curve: 5 % predicted, 6 % observed (0 % to 12 %)" in label
    assert "Observed against predicted risk of groups: 8 % predicted" in label
    bare = kinds(blocks(changed(inputs, calibration_curves=[])), "panels")[0].figures[0][1]
    assert "opacity: 0.18" in drawing
    assert "opacity: 0.18" not in bare
    assert "Smooth curve" not in bare
    assert blocks(changed(inputs, calibration=[], calibration_curves=[])) == []


def test_few_patients_are_not_told_by_a_histogram(inputs):
    rows = inputs.rows("risks_by_outcome", model="clinical", horizon_months=60.0)
    other = [r | {"n": 9 if r["n"] < 10 else r["n"]} for r in rows]
    small, same = (charts_calibration.risks(r, "a", "b", 10) for r in (rows, other))
    assert any(r["n"] < 9 for r in rows)
    assert small == same
    # Nor by the total less the others, since heights are rounded.
    near = [r | {"n": r["n"] + 1 if r["n"] in (20, 40) else r["n"]} for r in rows]
    assert charts_calibration.risks(near, "a", "b", 10) == small
    label = re.search(r'aria-label="([^"]*)"', kinds(blocks(inputs), "panels")[2].figures[0][1])[1]
    assert "event by then: half have a risk below 25 %" in label.lower()
    assert not re.search(r"n = \d", label)


def test_a_curve_of_few_events_is_called_unstable(inputs):
    assert "unstable" not in kinds(blocks(inputs), "panels")[0].caption
    rows = [r | {"n": 5} for r in inputs.rows("risks_by_outcome")]
    assert "Fewer than 100 events" in kinds(blocks(changed(inputs, risks_by_outcome=rows)), "panels")[0].caption


# --- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slope", "ratio", "said"),
    [
        (row(0.5, 0.79), None, "too extreme (calibration slope 0.65 (0.50 to 0.79))"),
        (row(0.5, 0.81), None, ""),
        (row(1.24, 1.6), row(0.9, 1.1), ""),
        (row(1.26, 1.6), row(1.3, 1.5), "too tame (calibration slope 1.43 (1.26 to 1.60)) and too low (observed over"),
        (None, row(0.5, 0.7), "too high (observed over expected 0.60 (0.50 to 0.70))"),
        ({"estimate": 1.0, "lower": None, "upper": None}, None, ""),
    ],
)
def test_only_a_whole_interval_outside_the_limits_counts(slope, ratio, said):
    found = verdicts.miscalibrated(slope, ratio)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_praise_of_a_miscalibrated_model_has_a_caveat(inputs):
    plain = section_prognosis.verdict(inputs)
    assert plain.tone == "yes"
    assert "not to be read as they are" not in plain.caveat
    off = section_prognosis.verdict(with_slope(inputs, "clinical_latent", 0.5, 0.7))
    assert (
        "The risks that the clinical + latent model predicts are too extreme (calibration slope 0.60 (0.50 to 0.70)) at"
        " 36 months and too extreme (calibration slope 0.60 (0.50 to 0.70)) at 60 months: not to be read as they are."
        in off.caveat
    )
    early = section_prognosis.verdict(with_slope(inputs, "clinical_latent", 0.5, 0.7, horizons=(36.0,)))
    assert "are too extreme (calibration slope 0.60 (0.50 to 0.70)) at 36 months: not to be read" in early.caveat
    assert (off.answer, off.tone) == (plain.answer, plain.tone)
    low = section_prognosis.verdict(with_slope(inputs, "clinical_omics", 1.3, 1.5, "observed_expected"))
    assert "clinical + omics model predicts are too low" in low.caveat
    # A model that is not praised needs no caveat.
    null = fixtures.inputs("null")
    assert section_prognosis.verdict(null).tone != "yes"
    assert "not to be read" not in section_prognosis.verdict(with_slope(null, "clinical_latent", 0.5, 0.7)).caveat
