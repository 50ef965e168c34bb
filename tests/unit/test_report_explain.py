"""What the models use, in the report: wording, disclosure, and what is said where nothing is known."""

from __future__ import annotations

import dataclasses

import pytest

import report_fixtures as fixtures
from report_fixtures import render
from stratiome import tables
from stratiome.config import PrognosisConfig
from stratiome.report import blocks, section_prognosis_explain
from stratiome.report.inputs import CONTRACTS, ReportInputs

COLOURS = {"clinical_omics": 2, "clinical_latent": 3}


def changed(inputs: ReportInputs, **frames: list[dict]) -> ReportInputs:
    new = {name: tables.from_rows(rows, CONTRACTS[name]) for name, rows in frames.items()}
    return dataclasses.replace(inputs, tables=dict(inputs.tables) | new)


def told(inputs: ReportInputs) -> str:
    """All that the part says, drawings left out."""

    def text(block: object) -> str:
        if isinstance(block, blocks.Figure):
            return f"{block.title} {block.caption}"
        if isinstance(block, blocks.Fold):
            return " ".join([block.summary, *map(text, block.blocks)])
        if isinstance(block, blocks.Table):
            cells = [c.text if isinstance(c, blocks.Cell) else c for row in block.rows for c in row]
            return " ".join([block.caption, *block.head, *cells, block.note])
        return str(getattr(block, "text", block))

    return " ".join(map(text, section_prognosis_explain.explanation(inputs, COLOURS)))


def test_an_omic_that_nothing_misses_is_named():
    said = told(fixtures.inputs("demo"))
    assert "No evidence that methylation adds anything to the ranking (C) given the rest." in said
    assert "No evidence that RNA" not in said
    assert "+0.060" in said


def test_a_model_that_does_not_see_an_omic_is_not_given_a_zero():
    inputs = fixtures.inputs("demo")
    none = {"estimate": 1e-17, "lower": 0.0, "upper": 0.0}  # means of equal numbers round
    rows = inputs.rows("importance")
    blind = [r | (none if (r["model"], r["block"]) == ("clinical_omics", "rna") else {}) for r in rows]
    assert "not used" in told(changed(inputs, importance=blind))
    assert "not used" not in told(inputs)


def test_that_nothing_was_exchanged_is_said():
    inputs = changed(fixtures.inputs("demo"), importance=[])
    assert "was not asked" not in told(inputs)
    prognosis = PrognosisConfig(permutations=0)
    off = dataclasses.replace(inputs, settings=dataclasses.replace(inputs.settings, prognosis=prognosis))
    assert "not asked (`prognosis.permutations: 0`)" in told(off)


def test_wording_is_not_causal():
    said = told(fixtures.inputs("demo")).lower()
    assert "not what would happen if a value were changed" in said
    for word in ("cause", "effect of", "drives", "leads to"):
        assert word not in said


def test_directions_are_named_only_where_they_are_clear():
    said = told(fixtures.inputs("demo"))
    assert all(w in said for w in ("higher risk", "lower risk", "no clear direction"))


def test_a_blind_model_with_the_same_order_is_warned_of():
    said = told(fixtures.inputs("demo"))
    assert "A model that has learned nothing gives the features of methylation a similar order" in said
    inputs = fixtures.inputs("demo")
    quiet = changed(inputs, attribution_checks=[r | {"shuffled": 0.1} for r in inputs.rows("attribution_checks")])
    assert "learned nothing" not in told(quiet)


def test_an_omic_of_few_patients_is_not_told_of():
    inputs = fixtures.inputs("demo")
    few = [r | {"value": 3.0} if r["omic"] == "protein" else r for r in inputs.rows("quality_summary")]
    said = told(changed(inputs, quality_summary=few))
    assert "Protein" in told(inputs)
    assert "rotein" not in said


@pytest.mark.parametrize("case", fixtures.CASES)
def test_the_page_holds_the_part(case):
    assert "What do the models use?" in render(fixtures.inputs(case))


def test_nothing_is_said_where_nothing_was_explained():
    inputs = fixtures.inputs("demo")
    empty = changed(inputs, importance=[], shares=[], explained=[], attribution_checks=[])
    assert section_prognosis_explain.explanation(empty, COLOURS) == []
    unknown = [r | {"estimate": None, "lower": None, "upper": None} for r in inputs.rows("importance")]
    assert "not estimable" in told(changed(inputs, importance=unknown))
