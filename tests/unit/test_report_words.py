"""Words and formats of the report: one spelling, no raw names, every abbreviation explained."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest

import report_fixtures as fixtures
from stratiome.config import AuditConfig
from stratiome.report import disclosure, methods, methods_omics, multiplicity, words
from stratiome.report.abbreviations import ABBREVIATIONS
from stratiome.report.page import render
from stratiome.report.section_cohort_arms import by_arm
from stratiome.report.typography import tidy, used

MIXED = {"mRNA", "miRNA"}
"""Words whose first letter is small and another is not."""


class Prose(HTMLParser):
    """Text that is not set as code, and what is explained in it."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.hidden, self.text, self.explained, self.open = 0, [], [], False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style", "pre", "code")
        self.open = tag == "abbr"

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style", "pre", "code")

    def handle_data(self, data):
        if self.open:
            self.explained.append(data)
        self.open = False
        if not self.hidden:
            self.text.append(data)


def with_names(case: str):
    """Inputs of a case in which covariates and groups are called as clinical tables call them."""
    given = fixtures.inputs(case)
    settings = dataclasses.replace(given.settings, covariates=("age", "er_status", "tumor_size_mm"))
    if given.settings.audit.groups:
        settings = dataclasses.replace(settings, audit=AuditConfig(groups=("er_status", "age"), cuts={"age": (55.0,)}))
    return dataclasses.replace(given, settings=settings)


@pytest.fixture(scope="module")
def prose() -> dict[str, Prose]:
    return {case: Prose(render(with_names(case))) for case in fixtures.CASES}


@pytest.mark.parametrize("case", fixtures.CASES)
def test_nothing_is_left_unfilled_and_capitals_stay(prose, case):
    text = " ".join(prose[case].text)
    assert "ER status" in text
    assert not re.findall(r".{0,40}[{}].{0,40}", text)
    assert set(re.findall(r"(?<![\w.])[a-z][A-Z][A-Za-z0-9]*\b", text)) <= MIXED


@pytest.mark.parametrize("case", fixtures.CASES)
def test_one_spelling(prose, case):
    text = " ".join(prose[case].text)
    for wrong in (r"Kaplan-Meier", r"Cramer's", r"\d%", r"p = \d\.?\d*e-", r"(?<!column )\ber_status", r"tumor_size"):
        assert not re.findall(f".{{0,30}}{wrong}.{{0,30}}", text), wrong


@pytest.mark.parametrize("case", fixtures.CASES)
def test_each_abbreviation_is_explained_once_and_listed(prose, case):
    explained = prose[case].explained
    assert "VAE" in explained
    assert len(explained) == len(set(explained))
    assert set(explained) <= set(ABBREVIATIONS)
    assert "HC3" not in explained or "HC3" in " ".join(prose[case].text)


def test_only_abbreviations_of_the_page_are_listed():
    assert used([("The ARI of K = 3", ["UMAP"])]) == ["ARI", "K", "UMAP"]
    assert used(["<svg>PCA</svg>", "MARIO"]) == []


def test_names_and_units():
    assert words.within("er_status") == "ER status"
    assert words.within("MOFA+") == "MOFA+"
    assert words.within("Clinical") == "clinical"
    assert words.inside("Chemotherapy") == "chemotherapy"
    assert words.inside("HER2 antibody") == "HER2 antibody"
    assert words.label("tumor_size_mm") == "tumor size (mm)"
    assert words.label("months") == "months"
    assert [words.level(v) for v in ("-", "+", "3.0", "II")] == ["“−”", "“+”", "3", "II"]


def test_what_other_stages_wrote_gets_the_spelling_of_the_page():
    page = (
        "<body><p>Kaplan-Meier of 1933 patients with er_status, 95% interval from -2 to 2, p = 5.7e-16</p>"
        "<p>cna and x.cna, column er_status</p><code>er_status 95%</code><p title='er_status'>UMAP, UMAP</p></body>"
    )
    found = tidy(page, {"er_status": "ER status", "cna": "CNA"})
    assert "Kaplan–Meier of 1,933 patients with" in found
    assert "95 % interval from −2 to 2, p &lt; 0.001" in found
    assert "x.cna, column er_status" in found
    assert "<code>er_status 95%</code>" in found
    assert "title='er_status'" in found
    assert found.count("<abbr") == 3  # ER is none: it stands within "ER status" once, CNA and UMAP
    assert found.endswith("UMAP</abbr>, UMAP</p></body>")


def test_an_estimate_without_spread_has_no_interval():
    assert words.interval({"estimate": 0.5, "lower": 0.5, "upper": 0.5}, 3) == "0.500 (constant)"


def test_a_share_that_rounds_to_none_or_all_says_so():
    assert disclosure.share(11, 2509, 10) == "<1 %"
    assert disclosure.share(2490, 2500, 10) == ">99 %"
    assert disclosure.share(0, 2500, 10) == "0 %"


def test_counts_a_little_below_a_whole_are_rounded_on_the_whole_page():
    assert disclosure.count(1567, 10) == "1,567"
    with disclosure.beside([1568, 1980]):
        assert disclosure.count(1567, 10) == "≈1,570"
        assert disclosure.count(1568, 10) == "1,568"
        assert disclosure.count(1558, 10) == "1,558"
        assert disclosure.count(1979, 10) == "≈1,980"
    assert disclosure.count(1979, 10) == "1,979"


def test_families_of_tests_are_counted_from_the_tables():
    given = fixtures.inputs("demo")
    lines = {line[0]: line for line in multiplicity.families(given)}
    fair = [r for r in given.rows("fairness_tests") if r["p_value"] is not None]
    assert lines["Predictions in groups of patients"][1:4] == (len(fair), "test", multiplicity.HOLM)
    assert all(n > 0 for _, n, *_ in lines.values())
    assert "Holm 1979" in multiplicity.text(given)
    assert multiplicity.table(dataclasses.replace(given, tables={})) == []


def test_each_kind_of_omic_tells_its_transform():
    given = fixtures.inputs("demo")
    kinds = methods_omics.kinds(given)
    assert set(kinds) == set(given.quality)
    text = methods_omics.transforms(given)
    for kind in kinds.values():
        assert methods_omics.TRANSFORMS[kind] in text
    assert text.strip() in " ".join(methods.write(given)[0])


def test_arms_stand_beside_each_other_and_few_are_not_told():
    *_, fold = by_arm(fixtures.inputs("demo"))
    table = fold.blocks[0]
    assert table.head[1:3] == ["Untreated, n = 300", "Treated, n = 300"]
    cells = {row[0]: row[1:3] for row in table.rows}
    assert cells["Age, mean (SD)"] == ["60.0 (9.0)", "61.0 (9.0)"]
    assert cells["Sex: male"] == ["≈40 %", "<3 %"]
    assert cells["Sex: female"] == ["≈60 %", ">97 %"]
    assert by_arm(fixtures.inputs("survival_only")) == []
