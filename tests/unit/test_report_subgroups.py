"""What the report says of subgroups: cards, batch, what they add, and what it must not show."""

import dataclasses
import re

import polars as pl
import pytest

import report_fixtures as fixtures
from stratiome import tables
from stratiome.report import maps
from stratiome.report.inputs import CONTRACTS, ReportInputs
from stratiome.report.section_subgroup_cards import alterations, cards, consensus, gene_sets, latent_map
from stratiome.report.section_subgroup_survival import batch, beyond_clinical, restricted_means


@pytest.fixture(scope="module")
def demo() -> ReportInputs:
    return fixtures.inputs("demo")


def changed(inputs: ReportInputs, **rows: list[dict]) -> ReportInputs:
    made = {name: tables.from_rows(given, CONTRACTS[name]) for name, given in rows.items()}
    return dataclasses.replace(inputs, tables=dict(inputs.tables) | made)


def each(inputs: ReportInputs, table: str, **columns: object) -> ReportInputs:
    return changed(inputs, **{table: [r | columns for r in inputs.rows(table)]})


def test_a_card_says_size_survival_and_what_sets_the_subgroup_apart(demo: ReportInputs) -> None:
    portraits = cards(demo)[1].cards
    assert [c[0] for c in portraits] == ["Subgroup 1", "Subgroup 2", "Subgroup 3", "Unassigned"]
    traits = dict(portraits[0][4])
    assert traits["Top markers"].startswith("rna_000 (RNA) \u2191")
    assert traits["Clinical profile"] == "like the others"
    assert "<10 %" not in traits["Alterations"]
    assert portraits[3][2] == ""
    assert portraits[3][4] == []


def test_sizes_are_blurred_alike_on_cards_and_in_the_table_of_means(demo: ReportInputs) -> None:
    shown = [dict(c[3])["held-out patients"].split(" ")[0] for c in cards(demo)[1].cards]
    assert shown[:3] == [row[1] for row in restricted_means(demo)[0].rows]
    assert shown[2].startswith("\u2248")  # the unassigned could be had by subtraction


@pytest.mark.parametrize(
    ("p", "gain", "said"),
    [
        (0.001, 0.03, "Yes"),
        (0.001, 0.01, "A little"),
        (0.4, 0.01, "No evidence"),
        (0.4, -0.05, "No: "),
        (0.4, 0.05, "Unclear"),
    ],
)
def test_what_subgroups_add_is_said_as_test_and_interval_say(
    demo: ReportInputs, p: float, gain: float, said: str
) -> None:
    found = each(demo, "subgroup_comparisons", p_value=p)
    found = each(found, "subgroup_survival", estimate=gain, lower=gain - 0.02, upper=gain + 0.02)
    assert beyond_clinical(found)[1].text.startswith(said)


@pytest.mark.parametrize(
    ("strength", "upper", "said"),
    [(0.05, 0.1, "No sign of it: "), (0.2, 0.4, "No sign of it, but"), (0.5, 0.6, "Perhaps: ")],
)
def test_batches_are_called_as_their_strength_and_interval_say(
    demo: ReportInputs, strength: float, upper: float, said: str
) -> None:
    value = {"estimate": strength, "lower": 0.0, "upper": upper, "strength": strength, "beyond": strength > 0.3}
    assert batch(each(demo, "subgroup_associations", **value))[1].text.startswith(said)


def test_without_a_batch_variable_nothing_is_cleared(demo: ReportInputs) -> None:
    assert "cannot be told" in batch(each(demo, "subgroup_associations", role="covariate"))[1].text


def test_small_cells_of_alterations_and_bins_are_not_shown(demo: ReportInputs) -> None:
    cells = [c for block in alterations(demo)[0].blocks[1:] for row in block.rows for c in row[1:]]
    assert set(cells) == {"<10 %", "30 %", "60 %"}
    few = consensus(each(demo, "subgroup_consensus", n_row=9))[0].svg
    assert few.count("<title>") == 0
    assert consensus(demo)[0].svg.count("<title>") == 1


def test_gene_sets_are_listed_by_effect_and_the_unscored_are_named(demo: ReportInputs) -> None:
    blocks = gene_sets(demo)
    assert [row[0] for row in blocks[1].rows][:2] == ["SET 19", "SET 18"]
    assert "1 gene set not scored" in blocks[-1].summary
    assert blocks[-1].blocks[0].rows == [["TINY", "RNA", "2 of 12"]]
    assert gene_sets(fixtures.inputs("null")) == []


def test_marks_of_the_map_say_their_subgroup_and_nothing_else(demo: ReportInputs) -> None:
    block = latent_map(demo)[1]
    text = "".join(svg for _, svg in block.figures)
    assert set(re.findall("<title>(.*?)</title>", text)) == {
        *(f"{kind} {g}" for kind in ("Subgroup", "Planted subgroup") for g in (1, 2, 3)),
        "Unassigned",
    }
    assert not re.search(r"\d\.\d\d", re.sub(r'd="[^"]*"', lambda m: re.sub(r"[a-z][^MLHV]*", "", m[0]), text))
    assert "site_" not in text


def test_groups_of_few_patients_are_drawn_as_unassigned(demo: ReportInputs) -> None:
    rows = demo.tables["latent_map"].filter((pl.col("model") == "vae") & (pl.col("projection") == "umap")).head(60)
    rows = rows.with_columns(pl.Series("subgroup", [3] * 9 + [1] * 31 + [2] * 20, dtype=pl.Int64))
    text = maps.latent_map(rows, "subgroup", "", 10, 2000)
    assert set(re.findall("<title>(.*?)</title>", text)) == {"Subgroup 1", "Subgroup 2", "Unassigned"}
