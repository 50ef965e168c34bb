"""What the report says on how far models of prognosis can be trusted."""

from __future__ import annotations

import dataclasses

import pytest

import report_fixtures as fixtures
from report_fixtures import render
from stratiome import tables
from stratiome.config import PrognosisConfig
from stratiome.report import charts, section_prognosis, section_prognosis_sites, section_prognosis_trust
from stratiome.report.inputs import CONTRACTS, ReportInputs

OURS = ("sample_size", "instability", "bands", "optimism", "proportional", "contrasts", "spread", "site_summary")


def changed(inputs: ReportInputs, **frames: list[dict]) -> ReportInputs:
    new = {name: tables.from_rows(rows, CONTRACTS[name]) for name, rows in frames.items()}
    return dataclasses.replace(inputs, tables=dict(inputs.tables) | new)


def without(inputs: ReportInputs, *names: str) -> ReportInputs:
    return changed(inputs, **{name: [] for name in names})


def with_prognosis(inputs: ReportInputs, **keys) -> ReportInputs:
    return dataclasses.replace(inputs, settings=dataclasses.replace(inputs.settings, prognosis=PrognosisConfig(**keys)))


def texts(blocks) -> str:
    """Everything that blocks say."""
    said = []
    for block in blocks:
        if block.kind == "fold":
            said.append(texts(block.blocks))
        elif block.kind == "table":
            said += [block.caption, block.note, *block.head]
            said += [getattr(c, "text", c) for row in block.rows for c in row]
        else:
            said += [getattr(block, name, "") for name in ("text", "caption", "svg", "title")]
            said += [text for pair in getattr(block, "figures", ()) for text in pair]
    return "\n".join(said)


@pytest.mark.parametrize("case", fixtures.CASES)
def test_every_case_is_printed(case):
    page = render(fixtures.inputs(case))
    assert "How far can these models be trusted?" in page
    assert "Are there patients enough for so many columns?" in page
    assert ("Spread of the ensemble, not an interval" in page) == (case == "demo")


def test_nothing_computed_gives_no_block():
    empty = without(fixtures.inputs("demo"), *OURS)
    assert section_prognosis_trust.trust(empty) == []
    assert section_prognosis_sites.sites(empty) == []
    assert section_prognosis_trust.hazards(empty) == []
    assert section_prognosis_trust.too_few(empty, ["clinical_latent"]) == ""
    assert "How far can these models" not in render(empty)


def test_sample_size_says_what_is_too_small_and_why_it_is_not_known():
    table = section_prognosis_trust.trust(fixtures.inputs("demo"))[1]
    rows = {row[0]: [getattr(c, "text", c) for c in row] for row in table.rows}
    assert rows["Clinical"][1] == "enough"
    assert rows["Clinical + latent"][1:5] == ["too few", ">594", "371", "25"]
    assert rows["Clinical + omics"][5] == "72,000"
    alone = section_prognosis_trust.trust(fixtures.inputs("survival_only"))[1]
    assert "Not known: no column varies in training." in alone.note


def test_a_praised_model_with_too_few_patients_has_a_caveat():
    inputs = fixtures.inputs("demo")
    caveat = section_prognosis.verdict(inputs).caveat
    assert "Riley's criteria ask for more patients than there are (n >594)" in caveat
    assert "clinical + latent 1,500 for 25 candidate columns" in caveat
    assert "clinical 4" not in caveat
    # One that is not praised needs none.
    assert "Riley" not in section_prognosis.verdict(fixtures.inputs("null")).caveat
    met = [r | {"met": True} for r in inputs.rows("sample_size")]
    assert "Riley" not in section_prognosis.verdict(changed(inputs, sample_size=met)).caveat


def test_the_reason_for_running_deep_models_on_few_events_is_printed():
    inputs = fixtures.inputs("demo")
    fits = inputs.rows("models") + [r | {"model": "deep"} for r in inputs.rows("models", model="clinical_omics")]
    reason = "agreed with the board, exploratory only"
    said = texts(section_prognosis_trust.trust(with_prognosis(changed(inputs, models=fits), deep_override=reason)))
    assert f"“{reason}”" in said
    assert reason not in texts(section_prognosis_trust.trust(with_prognosis(inputs, deep_override=reason)))


def test_small_groups_are_not_drawn_and_no_number_of_few_patients_is_told():
    inputs = fixtures.inputs("demo")
    blocks = section_prognosis_trust.trust(inputs)
    panels = next(b for b in blocks if b.kind == "panels")
    assert "80 %" not in panels.figures[0][1].split('aria-label="')[1].split('"')[0]  # the tenth group has 5 patients
    assert "72 %" in panels.figures[0][1]
    few = [r | {"n": 5} for r in inputs.rows("bands")]
    assert not any(b.kind == "panels" for b in section_prognosis_trust.trust(changed(inputs, bands=few)))
    rows = [r | {"n": 7, "events": 3} for r in inputs.rows("sample_size")]
    table = section_prognosis_trust.trust(changed(inputs, sample_size=rows))[1]
    assert [table.rows[0][k] for k in (2, 3)] == ["<10", "<10"]
    assert "n <10" in texts(
        section_prognosis_trust.trust(changed(inputs, spread=[r | {"n": 7} for r in inputs.rows("spread")]))
    )


def test_instability_that_is_switched_off_is_said():
    inputs = without(fixtures.inputs("demo"), "instability", "bands", "optimism")
    assert "`prognosis.instability: 0`" in texts(section_prognosis_trust.trust(with_prognosis(inputs, instability=0)))
    assert "not looked at" not in texts(section_prognosis_trust.trust(with_prognosis(inputs)))


def test_optimism_stands_beside_what_was_held_out():
    blocks = section_prognosis_trust.trust(fixtures.inputs("demo"))
    table = next(b for b in blocks if b.kind == "table" and b.head[-1] == "Held out")
    assert table.rows[0] == ["Clinical", "Uno's C", "0.660", "0.020", "0.640", "0.645 (0.620 to 0.670)"]
    assert table.rows[1][1:] == ["Calibration slope at 60 months", "1.00", "0.02", "0.98", "0.97 (0.82 to 1.12)"]


def test_hazard_ratios_are_no_headline_where_hazards_are_not_proportional():
    inputs = fixtures.inputs("demo")
    blocks = section_prognosis_trust.hazards(inputs)
    assert blocks[0].tone == "care"
    assert blocks[0].text.startswith("Hazards are not proportional: in the clinical (p = 0.002) model ")
    assert "No evidence against proportional hazards in the clinical + latent (p = 0.40) model" in blocks[1].text
    table = blocks[-1]
    assert [getattr(c, "text", c) for c in table.rows[0]][1:4] == [
        "age",
        "above the median against the others",
        "−4.2 (−5.7 to −2.7)",
    ]
    assert "Descriptive" in table.note
    beside = next(
        b for b in section_prognosis.prognosis(inputs).blocks if getattr(b, "summary", "").startswith("Coeff")
    )
    assert "Hazards are not proportional" in texts(beside.blocks)
    plain = section_prognosis_trust.hazards(fixtures.inputs("null"))
    assert "not proportional" not in texts(plain)


def test_contrasts_of_omics_that_hardly_anybody_has_are_not_shown():
    inputs = fixtures.inputs("demo")
    rare = [r | {"value": 4.0} if r["metric"] == "patients" else r for r in inputs.rows("quality_summary", omic="rna")]
    rest = [r for r in inputs.rows("quality_summary") if r["omic"] != "rna"]
    rows = [r | {"feature": "rna: g1"} for r in inputs.rows("contrasts")]
    shown = section_prognosis_trust.hazards(changed(inputs, quality_summary=rest + rare, contrasts=rows))
    assert "rna: g1" not in texts(shown)


def test_sites_have_a_forest_with_the_average_and_one_more_site():
    blocks = section_prognosis_sites.sites(fixtures.inputs("demo"))
    said = texts(blocks)
    assert "One more site 0.47 to 0.78" in said
    assert "so that it may rank no better than chance there" in said
    assert "n = 474, 274 events of 4 sites" in said
    assert "Clinical + omics" not in said  # only the yardstick and the stacked model are drawn


def test_sites_that_are_too_small_or_too_few_are_said():
    inputs = fixtures.inputs("demo")
    rows = inputs.rows("prognosis_resamples")
    gone = [r | {"uno_c": None, "lower": None, "upper": None} if r["resample"] == "site-site_2" else r for r in rows]
    assert "Site 2 not estimable" in texts(section_prognosis_sites.sites(changed(inputs, prognosis_resamples=gone)))
    nothing = dict.fromkeys(("estimate", "lower", "upper", "prediction_lower", "prediction_upper", "spread", "i2"))
    why = {"method": "not estimable: 2 of 4 sites have an estimate, 3 are needed; Uno's C", "sites": 2}
    few = [r | nothing | why for r in inputs.rows("site_summary")]
    blocks = section_prognosis_sites.sites(changed(inputs, site_summary=few))
    assert [b.kind for b in blocks] == ["note"]
    assert blocks[0].text == (
        "Sites are not summarised for the clinical model: 2 of 4 sites have an estimate, 3 are needed."
    )


def test_the_diamond_and_the_dashed_line_are_drawn():
    plain = charts.Line("All", 0.6, 0.5, 0.7, "x")
    drawings = [
        charts.forest([dataclasses.replace(plain, **kind)], "f", "told", "C")
        for kind in ({}, {"summary": True}, {"ahead": True})
    ]
    assert len(set(drawings)) == 3
    assert "stroke-dasharray" in drawings[2]
    assert "stroke-dasharray" not in drawings[1]
