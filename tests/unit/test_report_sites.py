"""Sites in the sections on subgroups and treatment: forests, what is said of one more site, and what is not told."""

import dataclasses

import pytest

import report_fixtures as fixtures
from stratiome import tables
from stratiome.report import section_subgroup_sites, section_treatment_sites
from stratiome.report.inputs import CONTRACTS


@pytest.fixture(scope="module")
def inputs():
    return fixtures.inputs("demo")


def changed(inputs, **rows):
    frames = {name: tables.from_rows(r, CONTRACTS[name]) for name, r in rows.items()}
    return dataclasses.replace(inputs, tables=dict(inputs.tables) | frames)


def said(blocks):
    """Words of all blocks, tables and the descriptions of figures included."""
    return " ".join(str(b) for b in blocks)


def test_the_effect_at_each_site_is_drawn_with_the_average_site_and_one_more(inputs):
    blocks = section_treatment_sites.sites(inputs, "treatment")
    assert [b.kind for b in blocks] == ["heading", "note", "figure", "table"]
    text = said(blocks)
    assert "One more site −1.8 to 4.2" in text
    assert "+1.2 (−0.8 to 3.2) months at the average of 3 sites (1 site more without an estimate)" in text
    assert "no effect is established, neither on average nor there" in text
    assert "Site 4 not estimable" in text
    assert "fewer than 20 patients in an arm" in text
    assert "n = 450, 240 events of 3 sites" in text


def test_small_sites_have_no_count(inputs):
    rows = [r | ({"n": 7, "n_treated": 3} if r["estimate"] is None else {}) for r in inputs.rows("treatment_sites")]
    table = section_treatment_sites.sites(changed(inputs, treatment_sites=rows), "treatment")[-1]
    assert [row[1] for row in table.rows] == ["150 / 70"] * 3 + ["<10 / <10", "", ""]


@pytest.mark.parametrize(
    ("numbers", "meaning"),
    [
        ((0.5, 2.0, 0.1, 2.4), "its sign is expected to be the same there"),
        ((0.5, 2.0, -2.0, 3.0), "there may be none there, or the opposite, though"),
    ],
)
def test_what_is_said_follows_the_intervals(inputs, numbers, meaning):
    names = ("lower", "upper", "prediction_lower", "prediction_upper")
    rows = [r | dict(zip(names, numbers, strict=True)) for r in inputs.rows("treatment_site_summary")]
    assert meaning in said(section_treatment_sites.sites(changed(inputs, treatment_site_summary=rows), "treatment"))


def nothing(inputs, name):
    ends = ("estimate", "lower", "upper", "prediction_lower", "prediction_upper", "spread", "i2")
    why = {"method": "not estimable: 2 of 4 sites have an estimate, 3 are needed; each site on its own", "sites": 2}
    return [r | dict.fromkeys(ends) | why for r in inputs.rows(name)]


def test_fewer_than_three_sites_are_said(inputs):
    few = changed(inputs, treatment_site_summary=nothing(inputs, "treatment_site_summary"))
    text = said(section_treatment_sites.sites(few, "treatment"))
    assert "Sites are not summarised: 2 of 4 sites have an estimate, 3 are needed." in text
    assert "One more site" not in text
    few = changed(inputs, subgroup_site_summary=nothing(inputs, "subgroup_site_summary"))
    text = said(section_subgroup_sites.sites(few))
    assert "Sites are not summarised: 2 of 4 sites have an estimate, 3 are needed." in text
    assert "Subgroup 2 against subgroup 1: sites are not summarised, 2 of 4 sites" in text
    assert "One more site" not in text


def test_nothing_is_said_where_no_site_was_held_out(inputs):
    empty = changed(inputs, treatment_sites=[], treatment_site_summary=[])
    assert section_treatment_sites.sites(empty, "treatment") == []


def test_subgroups_at_left_out_sites_have_their_forest(inputs):
    blocks = section_subgroup_sites.sites(inputs)
    assert [b.kind for b in blocks] == ["table", "figure", "note"]
    text = said(blocks)
    assert "Subgroup 2 against subgroup 1:; Site 1 −7.5 (−11.5 to −3.5)" in text
    assert "One more site −13.0 to −1.0" in text
    assert "−13.0 to −1.0 (95 % prediction interval): the same order is expected there" in text
    assert "no order of both is established" in text
    assert ["Average site", "", "0.90 (0.86 to 0.94)", "474"] in [list(map(str, r)) for r in blocks[0].rows]
