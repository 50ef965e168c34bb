"""The report of an outcome without time: its words, its numbers, and what is left out."""

from __future__ import annotations

import dataclasses
import re

import polars as pl
import pytest

import report_fixtures as fixtures
from report_fixtures import render
from stratiome import tables
from stratiome.config import DataConfig, EndpointConfig, EvaluationConfig
from stratiome.report.inputs import CONTRACTS, ReportInputs
from stratiome.report.outcome_words import TIMED, OutcomeWords
from stratiome.report.page import sections
from stratiome.report.page import verdicts as answers
from stratiome.report.section_treatment import differences
from stratiome.report.without_time import method, without_time
from stratiome.report.words import FOLLOW_UP
from stratiome.treatment.emulate import target_trial
from test_report import Page

NAMES = (
    "random survival forest",
    "Random survival forest",
    "discrete-time survival model for neural networks",
    "calibration and the integrated calibration index (ICI) for survival models",
    "curves and the integrated calibration index (ICI) for survival models",
    "treatment-specific survival curves",
    "function for censored data",
    "Cox's proportional hazards model",
)
"""Names of methods, and titles of references, that stand as they are."""
GONE = (
    "months",
    "survival",
    "hazard",
    "follow-up",
    "Kaplan",
    "censor",
    "log-rank",
    "Uno's C",
    "immortal",
    "live longer",
)
TIME = ("horizon_months", "tau_months", "time_months", "until_months")


def at_the_assessment(frame: pl.DataFrame, last: float = 60.0) -> pl.DataFrame:
    """Rows of the last horizon alone, which becomes the assessment."""
    for column in [c for c in TIME if c in frame.columns]:
        if column in ("horizon_months", "tau_months"):
            frame = frame.filter(pl.col(column).is_null() | (pl.col(column) == last))
        frame = frame.with_columns(pl.col(column) / last)
    if "estimand" in frame.columns:
        months = pl.col("estimand") == "rmst_difference"
        names = ("estimate", "lower", "upper", "prediction_lower", "prediction_upper", "standard_error")
        ends = [c for c in names if c in frame.columns]
        frame = frame.with_columns(pl.when(months).then(pl.col(c) / last).otherwise(pl.col(c)).alias(c) for c in ends)
    if "variable" in frame.columns and frame.schema["variable"] == pl.String:
        frame = frame.filter(pl.col("variable") != FOLLOW_UP)
    return frame


def responding(case: str = "demo", event_name: str | None = None) -> ReportInputs:
    """The inputs of a case as if the outcome were a response; what the config refuses of one is not among them."""
    inputs = fixtures.inputs(case)
    frames = {name: at_the_assessment(frame) for name, frame in inputs.tables.items()}
    trial = target_trial(
        "treatment", inputs.settings.treatments["treatment"], EndpointConfig(response="pcr"), EvaluationConfig()
    )
    frames |= {
        "treatment_trial": tables.from_rows(trial, tables.TreatmentTrial),
        "notes": frames["notes"].clear(),
        "treatment_robustness": frames["treatment_robustness"].filter(pl.col("check") != "negative control"),
        "risks_by_outcome": frames["risks_by_outcome"].filter(pl.col("outcome").is_in(["failed", "alive"])),
        "flow": frames["flow"].with_columns(pl.col("reason").str.replace("no follow-up time", "not assessed")),
    }
    settings = dataclasses.replace(
        inputs.settings,
        data=DataConfig(example="transbig"),
        endpoint=EndpointConfig(response="pcr"),
        event_name=event_name,
        treatments={
            key: t.model_copy(update={"start": None, "landmark": None}) for key, t in inputs.settings.treatments.items()
        },
    )
    return dataclasses.replace(inputs, settings=settings, tables=without_time(frames))


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return responding()


@pytest.fixture(scope="module")
def shown(inputs) -> str:
    text = Page(render(inputs)).text
    text = text[: text.index("Where numbers come from")]  # files are named as everywhere
    for name in NAMES:
        text = text.replace(name, "")
    return text


@pytest.mark.parametrize("word", GONE)
def test_nothing_is_said_of_time(shown, word):
    found = [shown[max(0, m.start() - 90) : m.end() + 40] for m in re.finditer(re.escape(word), shown, re.IGNORECASE)]
    assert found == []


def test_tables_keep_their_contracts(inputs):
    for name, frame in inputs.tables.items():
        CONTRACTS[name].validate(frame)


def test_gains_are_percentage_points_with_the_numbers_of_the_table(inputs):
    row = inputs.row("treatment_effects", treatment="treatment", subgroup=0, weighting="overlap")
    text = f"{100 * row['estimate']:+.1f} ({100 * row['lower']:.1f} to {100 * row['upper']:.1f})".replace("-", "−")
    facts = next(v for v in answers(inputs) if "drug A" in v.question).facts
    assert ("Average, treated minus untreated, percentage points", text) in facts
    assert row["estimand"] == "rmst_difference"


def test_one_row_stays_of_what_is_the_same(inputs):
    assert set(inputs.tables["treatment_effects"]["estimand"]) == {"rmst_difference"}
    assert not set(inputs.tables["prognosis_metrics"]["metric"]) & {"auc", "harrell_c", "uno_c_cox", "brier", "ibs_cox"}
    scores = inputs.tables["prognosis_metrics"].filter(pl.col("metric").is_in(["ibs", "ipa"]))
    assert scores.height > 0
    assert scores["horizon_months"].null_count() == scores.height
    keys = scores.select("design", "model", "metric", "versus")
    assert keys.is_unique().all()


def test_the_brier_score_is_that_at_the_assessment():
    before = at_the_assessment(fixtures.inputs("demo").tables["prognosis_metrics"])
    after = without_time({"prognosis_metrics": before})["prognosis_metrics"]
    kept = before.filter(metric="brier").sort("design", "model", "estimate")["estimate"].to_list()
    assert after.filter(metric="ibs").sort("design", "model", "estimate")["estimate"].to_list() == kept


def test_the_section_on_treatment_says_what_a_response_lacks(shown):
    assert "no ratio of rates is given" in shown
    assert "patients who were not assessed are left out" in shown
    assert "E-value" in shown


def test_the_event_is_called_by_its_name():
    words = responding(event_name="tumour left at surgery").settings.words
    assert words.failure == "tumour left at surgery"
    assert OutcomeWords(False).failure == "no response"
    assert TIMED.failure == "event"


def test_effects_differ_in_percentage_points(inputs):
    table = next(b for b in differences(inputs, "treatment") if getattr(b, "caption", "") == "Effect by group.")
    assert "Percentage points gained" in table.head
    assert "Hazard ratio" not in table.head


def test_subgroups_have_shares_in_the_place_of_curves(inputs):
    section = next(s for s in sections(inputs) if s.anchor == "subgroups")
    headings = [b.text for b in section.blocks if getattr(b, "kind", "") == "heading"]
    assert "Do they respond differently? Response of the subgroups" in headings
    assert not any(h.startswith("Do they live differently?") for h in headings)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "Uno's C, tau 1 months, pairs within folds, an event precedes a censoring at the same time; Kaplan-Meier "
            "censoring weights truncated at G = 0.05 (0 patients); 95 % interval",
            "area under the ROC curve, pairs within folds; 95 % interval",
        ),
        ("Brier score at 1 months, patients pooled", "Brier score, patients pooled"),
        ("log-rank, stratified by site", "Mantel-Haenszel chi-squared test of response by group, stratified by site"),
        ("Kaplan-Meier by arm, unweighted", "proportions by arm, unweighted"),
    ],
)
def test_methods_are_told_without_time(given, told):
    assert method(given) == told
