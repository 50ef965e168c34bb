"""The model card says what was evaluated, and marks what only the authors know."""

from __future__ import annotations

from dataclasses import replace

import report_fixtures as fixtures
from stratiome.config import AuditConfig
from stratiome.report.model_card import AUTHOR, ModelCard, render
from test_report_audit import _abroad

CARD = {
    "stratiome": "0.1.0",
    "cohort": "demo",
    "title": "Demo",
    "intended_use": "Research use only; not a medical device.",
    "out_of_scope": "Children.",
    "covariates": ["age", "stage"],
    "omics": {"rna": {"kind": "counts", "unit": ""}},
    "min_cell": 10,
    "n": 593,
    "events": 360,
}
TRAINING = {"patterns": {"rna": 580}, "classes": {"stage": {"1": 200, "2": 393}}}


def _card(inputs=None, **changes) -> str:
    return render(ModelCard(CARD | changes, "ab" * 32, TRAINING, inputs or fixtures.inputs("demo")))


def test_what_only_authors_know_is_marked():
    page = _card()
    assert page.count(AUTHOR) >= 5
    assert "As by default. " + AUTHOR in page
    told = _card(intended_use="Adults with newly found glioma.")
    assert "Adults with newly found glioma." in told
    assert told.count(AUTHOR) == page.count(AUTHOR) - 1


def test_performance_is_that_of_held_out_patients():
    inputs = fixtures.inputs("demo")
    row = inputs.row("prognosis_metrics", design=inputs.headline, model="clinical", metric="uno_c", versus=None)
    page = _card(inputs)
    assert f"{row['estimate']:.3f}" in page
    assert "learned without the patients that they are judged on" in page


def test_no_external_validation_and_no_groups_are_said():
    inputs = fixtures.inputs("demo")
    without = replace(inputs, settings=replace(inputs.settings, audit=AuditConfig()))
    page = _card(without)
    assert "There is no external validation." in page
    assert "it is not known in whom the models fail" in page
    assert "Do the models hold in Elsewhere?" in _card(_abroad())
    assert "There is no external validation." not in _card(_abroad())


def test_small_classes_are_not_told_and_nothing_is_loaded():
    few = {"patterns": {"rna": 580}, "classes": {"stage": {"1": 4, "2": 589}}}
    page = render(ModelCard(CARD, "ab" * 32, few, fixtures.inputs("demo")))
    assert "1 &lt;10" in page or "1 fewer than 10" in page
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page
