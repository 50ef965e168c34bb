"""The report: what it says at the edges, what it must not show, and that it stands on its own."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser

import polars as pl
import pytest

import report_fixtures as fixtures
from conftest import as_read
from report_fixtures import render
from stratiome import tables
from stratiome.check_report import main as check_report
from stratiome.config import (
    AuditConfig,
    ColumnConfig,
    LatentConfig,
    PrognosisConfig,
    ResampleConfig,
    TemporalConfig,
    TreatmentConfig,
)
from stratiome.report import disclosure, section_prognosis, svg, verdicts, words
from stratiome.report.flow import diagram, merge_small
from stratiome.report.inputs import CONTRACTS, ReportInputs
from stratiome.report.page import sections, ticks
from stratiome.report.section_cohort import flow_table

VOID = {"meta", "link", "br", "img", "hr", "input"}

FIGURE = """<?xml version="1.0" encoding="utf-8"?>
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="648pt" height="172pt" viewBox="0 0 648 172" xmlns="http://www.w3.org/2000/svg">
 <metadata>made by a machine</metadata><script>alert(1)</script>
 <defs><clipPath id="p1"><rect x="40" y="10" width="180" height="120"/></clipPath></defs>
 <g id="axes_1" clip-path="url(#p1)"><path d="M 50 130 L 50 60 L 90 60 L 90 130 z" style="fill: #4477aa" onclick="x()"/>
 <path d="M 100 130 L 100 30 L 140 30 L 140 130 z" style="fill: #4477AA"/></g>
 <text style="font: 9px 'DejaVu Sans'; text-anchor: middle" x="130" y="150">log counts</text>
</svg>"""


class Page(HTMLParser):
    """Tags in balance, ids, links, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack and data.strip():
            self.shown.append(data.strip())

    @property
    def text(self) -> str:
        told = [str(a["aria-label"]) for _, a in self.tags if a.get("aria-label")]
        return " ".join(self.shown + told)


@pytest.fixture(scope="module")
def html() -> dict[str, str]:
    return {case: render(fixtures.inputs(case)) for case in fixtures.CASES}


def changed(inputs: ReportInputs, **frames: list[dict]) -> ReportInputs:
    """The same inputs with other rows in some tables."""
    new = {name: tables.from_rows(rows, CONTRACTS[name]) for name, rows in frames.items()}
    return dataclasses.replace(inputs, tables=dict(inputs.tables) | new)


def with_settings(inputs: ReportInputs, **values: object) -> ReportInputs:
    return dataclasses.replace(inputs, settings=dataclasses.replace(inputs.settings, **values))


# --- the page -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", fixtures.CASES)
def test_fixtures_keep_the_contracts(case: str) -> None:
    for name, frame in fixtures.inputs(case).tables.items():
        CONTRACTS[name].validate(frame)


@pytest.mark.parametrize("case", fixtures.CASES)
def test_page_is_sound_and_accessible(html: dict[str, str], case: str) -> None:
    page = Page(html[case])
    assert page.stack == []
    assert len(page.ids) == len(set(page.ids))
    targets = {str(a["href"])[1:] for t, a in page.tags if t == "a"}
    assert targets <= set(page.ids)
    names = [t for t, _ in page.tags]
    assert names.count("h1") == names.count("main") == names.count("header") == names.count("footer") == 1
    for tag, attributes in page.tags:
        if tag == "svg":
            assert attributes["role"] == "img"
            assert len(str(attributes["aria-label"])) > 20
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
    assert names.count("caption") == names.count("table") > 3
    assert names.count("figcaption") == names.count("figure") > 3
    levels = [int(t[1]) for t, _ in page.tags if re.fullmatch(r"h[1-6]", t)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


@pytest.mark.parametrize("case", fixtures.CASES)
def test_nothing_is_loaded_and_nothing_runs(html: dict[str, str], case: str) -> None:
    page = Page(html[case])
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
                assert str(value).startswith(("#", "data:"))
    assert not re.search(r"url\((?!#)|@import", html[case])
    assert "default-src 'none'" in html[case]


def test_sections_of_each_case(html: dict[str, str]) -> None:
    everything = [
        "cohort",
        "quality",
        "checks",
        "subgroups",
        "prognosis",
        "treatment",
        "travel",
        "limitations",
        "truth",
        "methods",
        "guidelines",
        "provenance",
    ]
    assert [s.anchor for s in sections(fixtures.inputs("demo"))] == everything
    assert [s.anchor for s in sections(fixtures.inputs("survival_only"))] == [s for s in everything if s != "truth"]
    for text in html.values():
        assert "Research use only; not a medical device." in text
        assert len(text) < 5_000_000


def test_same_bytes_whatever_the_hash_seed(html: dict[str, str]) -> None:
    code = (
        "import hashlib, report_fixtures as f; print(hashlib.sha256(f.render(f.inputs('demo')).encode()).hexdigest())"
    )
    paths = os.pathsep.join(p for p in sys.path if p)
    other = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "4242", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == hashlib.sha256(html["demo"].encode()).hexdigest()


def test_script_reads_tables_and_writes_the_same_page(tmp_path, html: dict[str, str]) -> None:
    import render_report

    for case in fixtures.CASES:
        folder = tmp_path / case
        folder.mkdir()
        arguments = fixtures.write(case, folder)
        render_report.main(**arguments)
        assert as_read((folder / "report.html").read_text(encoding="utf-8")) == html[case]
        assert check_report([str(folder)]) == 0


# --- what it must not show ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", fixtures.CASES)
def test_no_patient_and_no_folder_is_named(html: dict[str, str], case: str) -> None:
    assert not any("patient_id" in frame.columns for frame in fixtures.inputs(case).tables.values())
    assert "someone" not in html[case]
    assert "clinical.tsv" in html[case]


def test_every_count_below_the_limit_is_suppressed() -> None:
    """All counts of patients and events are set to 97, a number that nothing else gives, and 100 is the limit."""
    found = with_settings(fixtures.inputs("demo"), audit=AuditConfig(min_cell=100))
    counted = {"n", "events", "n_treated", "at_risk", "count"}
    frames = {
        name: frame.with_columns(pl.lit(97, dtype=frame[c].dtype).alias(c) for c in frame.columns if c in counted)
        for name, frame in found.tables.items()
    }
    frames["flow"] = tables.from_rows(
        [{"step": "outcome", "scope": "endpoint", "n_in": 897, "n_out": 800, "reason": "no time"}], tables.PatientFlow
    )
    quality = {name: f.with_columns(n=pl.lit(97, dtype=pl.Int64)) for name, f in found.quality.items()}
    summary = pl.when(pl.col("metric") == "outlying patients").then(97.0).otherwise(pl.col("value"))
    frames["quality_summary"] = frames["quality_summary"].with_columns(value=summary)
    text = Page(render(dataclasses.replace(found, tables=frames, quality=quality))).text
    assert not re.findall(r".{30}(?<![\d.,−])97(?![\d.,]).{20}", text)
    assert "<100" in text
    assert "too small to describe" in text


@pytest.mark.parametrize(("n", "shown"), [(None, "–"), (0, "0"), (1, "<10"), (9, "<10"), (10, "10"), (12345, "12,345")])
def test_count(n: int | None, shown: str) -> None:
    assert disclosure.count(n, 10) == shown


def test_parts_are_blurred_where_the_rest_is_small() -> None:
    assert disclosure.part(597, 600, 10) == ">590"
    assert disclosure.part(600, 600, 10) == "600"
    assert disclosure.part(590, 600, 10) == "590"
    assert disclosure.part(4, 600, 10) == "<10"
    assert disclosure.share(597, 600, 10) == ">98 %"
    assert disclosure.share(3, 600, 10) == "<2 %"
    assert disclosure.share(300, 600, 10) == "50 %"


def test_a_lone_small_cell_takes_another_with_it() -> None:
    assert disclosure.counts([240, 201, 152, 7], 10) == ["240", "201", "≈150", "<10"]
    assert disclosure.counts([240, 4, 7], 10) == ["240", "<10", "<10"]
    assert disclosure.counts([240, 30, 0], 10) == ["240", "30", "0"]


def test_flow_does_not_give_away_small_losses_in_the_next_row() -> None:
    rows = [
        {"step": "outcome", "scope": "endpoint", "n_in": 604, "n_out": 600, "reason": "no time"},
        {"step": "outcome", "scope": "endpoint", "n_in": 600, "n_out": 600, "reason": "usable"},
    ]
    table = flow_table(rows, 10, "flow")
    assert [r[2:5] for r in table.rows] == [["604", "<10", ">594"], [">594", "0", ">594"]]


@pytest.mark.parametrize(("n", "shown"), [(143, "143"), (4, "<10"), (0, "0")])
def test_deaths_of_other_causes_are_counted_and_say_which_risks_are_absolute(n: int, shown: str) -> None:
    found = fixtures.inputs("demo")
    endpoint = found.settings.endpoint.model_copy(update={"competing": "cause = 'other'"})
    counts = tables.from_rows(
        [{"status": "event", "n": 300}, {"status": "competing", "n": n}, {"status": "censored", "n": 300 - n}],
        tables.OutcomeCounts,
    )
    found = dataclasses.replace(found, tables={**found.tables, "outcome_counts": counts})
    text = Page(render(with_settings(found, endpoint=endpoint))).text
    assert f"{shown} patients died of another cause (cause = 'other')" in text
    assert "They are not absolute risks" in text
    assert "gains by treatments, of all and of single patients" in text
    assert (
        f"(patients with cause = 'other'; n = {shown}) were competing events in prognosis and in effects of treatments"
        in text
    )
    assert "mean prediction against the Aalen–Johansen estimate" in text
    assert "one minus Kaplan–Meier" not in text
    assert "there is no time to it that a bound could be held against" in text
    assert "Outlive their bound" not in text
    assert "cause-specific" not in Page(render(fixtures.inputs("demo"))).text


def test_declared_columns_are_listed() -> None:
    found = fixtures.inputs("demo")
    declared = {
        "age": ColumnConfig(unit="years", minimum=18),
        "er": ColumnConfig(type="categorical", values={"Positve": "Positive", "?": None, "-2.103": None}),
        "response": ColumnConfig(available_at=6),
    }
    data = found.settings.data.model_copy(update={"columns": declared})
    text = Page(render(with_settings(found, data=data))).text
    for part in ("at least 18", "Positve → Positive, ? → missing, a number → missing", "6 months after time zero"):
        assert part in text


def test_curves_end_where_few_are_at_risk() -> None:
    from stratiome.report import figures

    rows = fixtures.km(0.01, 100)
    cut = [r | {"at_risk": 3} if r["time_months"] > 30 else r for r in rows]
    kept = [r for r in rows if r["time_months"] <= 30] + [
        r | {"at_risk": 3, "survival": 0.0} for r in rows if r["time_months"] > 30
    ]
    first = figures.curves([("A", 1, cut)], "a", "described here", 10)
    assert first == figures.curves([("A", 1, kept)], "a", "described here", 10)
    assert first != figures.curves([("A", 1, rows)], "a", "described here", 10)


def test_nobody_is_at_risk_after_a_curve_ends() -> None:
    from stratiome.report import figures

    short = [r for r in fixtures.km(0.01, 100) if r["time_months"] <= 30]
    groups = [("Short", 1, short), ("Long", 2, fixtures.km(0.01, 100))]
    drawn = re.findall(r">([\d<]+)</text>", figures.curves(groups, "a", "described here", 10))
    assert drawn[6:12] == [str(r["at_risk"]) for r in short if r["time_months"] % 12 == 0] + ["0", "0", "0"]
    assert figures.describe_curves(groups, 60.0) == "Survival at 60 months: Short not followed so long, Long 55 %."


# --- what it says ---------------------------------------------------------------------------------------------------


def claim(lower: float | None, upper: float | None, **rest: object) -> dict:
    known = lower is not None and upper is not None
    middle = (lower + upper) / 2 if known else None
    return {"estimate": middle, "lower": lower, "upper": upper, "horizon_months": 60.0, "p_holm": None} | rest


@pytest.mark.parametrize(
    ("lower", "upper", "found"),
    [(0.001, 0.1, "above"), (-0.1, -0.001, "below"), (-0.1, 0.1, "covers"), (0.0, 0.1, "covers"), (-0.1, 0.0, "covers"),
     (None, 0.1, "unknown"), (0.1, None, "unknown")],
)  # fmt: skip
def test_direction(lower: float | None, upper: float | None, found: str) -> None:
    assert verdicts.direction(lower, upper) == found


def test_direction_around_one() -> None:
    assert verdicts.direction(1.01, 1.5, 1.0) == "above"
    assert verdicts.direction(0.5, 0.99, 1.0) == "below"


@pytest.mark.parametrize(
    ("c", "ibs", "said"),
    [
        ((0.01, 0.05), (-0.02, -0.01), "adds"),
        ((0.01, 0.05), (-0.02, 0.01), "adds"),
        ((0.01, 0.05), (0.001, 0.01), "ranks better, predicts worse"),
        ((-0.05, -0.01), (-0.01, 0.01), "worse"),
        ((-0.05, -0.01), (-0.02, -0.01), "ranks worse, predicts better"),
        ((-0.01, 0.05), (-0.02, -0.01), "predicts better, no evidence that it ranks better"),
        ((-0.01, 0.05), (-0.02, 0.01), "no evidence that it adds"),
        ((0.0, 0.05), (0.0, 0.01), "no evidence that it adds"),
        ((None, None), (-0.02, -0.01), "not estimable"),
    ],
)
def test_adds(c: tuple, ibs: tuple, said: str) -> None:
    assert verdicts.adds(claim(*c), claim(*ibs))[1] == said


def test_risks_no_better_than_one_curve_take_from_the_verdict() -> None:
    flat = claim(-0.01, 0.03)
    assert verdicts.adds(claim(0.01, 0.05), claim(-0.02, -0.01), flat) == (
        "mixed",
        "ranks better, risks no better than one curve for all",
    )
    assert verdicts.adds(claim(-0.01, 0.05), claim(-0.02, -0.01), flat) == ("no", "no evidence that it adds")


def test_a_better_score_alone_is_said_in_the_answer() -> None:
    same, better = claim(-0.01, 0.05), claim(-0.02, -0.01)
    found = verdicts.prognosis([("clinical_omics", same, better), ("clinical_latent", same, better)], 0.95)
    assert found.tone == "mixed"
    assert found.answer.startswith("In part: with omics, risks are predicted better than by the clinical model alone")
    assert any("Brier" in name for name, _ in found.facts)


@pytest.mark.parametrize(
    ("first", "second", "tone", "words_"),
    [
        ((0.01, 0.05), (0.02, 0.05), "yes", "Yes"),
        ((-0.01, 0.05), (-0.02, 0.05), "no", "No evidence that omics add"),
        ((-0.05, -0.01), (-0.05, -0.02), "harm", "worse"),
        ((0.01, 0.05), (-0.02, 0.05), "mixed", "clinical + omics adds; for clinical + latent there is no evidence"),
        ((None, None), (None, None), "unknown", "could not be estimated"),
    ],
)
def test_prognosis(first: tuple, second: tuple, tone: str, words_: str) -> None:
    deltas = [("clinical_omics", claim(*first), None), ("clinical_latent", claim(*second), None)]
    found = verdicts.prognosis(deltas, 0.95)
    assert found.tone == tone
    assert words_ in found.answer


@pytest.mark.parametrize(
    ("lower", "upper", "tone", "said"),
    [
        (0.5, 4.0, "yes", "live longer with it: 2.2 months on average over the first 60 months"),
        (-4.0, -0.5, "harm", "live less long with it: 2.2 months"),
        (-1.0, 4.0, "no", "No evidence of an effect"),
        (None, None, "unknown", "not estimable"),
    ],
)
def test_effect(lower: float | None, upper: float | None, tone: str, said: str) -> None:
    found = verdicts.effect(claim(lower, upper))
    assert found[0] == tone
    assert said in found[1]


@pytest.mark.parametrize(
    ("lower", "upper", "tone", "said"), [(1, 4, "longer", "longer"), (-4, -1, "shorter", "less long")]
)
def test_without_random_assignment_an_effect_is_an_association(
    lower: float, upper: float, tone: str, said: str
) -> None:
    found = verdicts.effect(claim(lower, upper), randomised=False)
    assert found[0] == tone
    assert f"treated patients lived {said}" in found[1]
    assert "association" in verdicts.treatment("drug", claim(lower, upper), [], None, False, 0.05).caveat.lower()


def test_covering_zero_is_not_called_no_effect() -> None:
    found = verdicts.treatment("drug", claim(-1, 2), [], None, True, 0.05)
    assert "not proof of no effect" in found.caveat
    assert "has no effect" not in found.answer


def test_subgroups_benefit_only_if_interval_and_holm_agree() -> None:
    rows = [
        claim(1, 5, subgroup=1, p_holm=0.01),
        claim(0.1, 5, subgroup=2, p_holm=0.08),
        claim(-5, -1, subgroup=3, p_holm=0.02),
        claim(None, None, subgroup=4),
    ]
    assert verdicts.benefit(rows, 0.05) == {"gain": [1], "harm": [3], "unclear": [2], "unknown": [4]}
    differs = verdicts.treatment("drug", claim(-1, 2), rows, {"p_value": 0.01}, False, 0.05)
    assert differs.tone == "differs"
    assert "after balancing, treated patients of subgroup 1 lived longer" in differs.answer  # seen, not caused
    by_chance = verdicts.treatment("drug", claim(-1, 2), rows, {"p_value": 0.01}, True, 0.05)
    assert "patients in subgroup 1 live longer with it" in by_chance.answer
    gone = verdicts.treatment("drug", claim(-1, 2), rows, {"p_value": 0.01}, True, 0.05, reproducible=False)
    assert (gone.tone, "differs" in gone.answer) == ("no", False)
    assert "do not come back when the model is refitted" in gone.beside
    assert "p = 0.01" in gone.beside
    assert not any("Subgroup" in name for name, _ in gone.facts)
    assert "no evidence of an effect in subgroup 2" in differs.answer
    same = verdicts.treatment("drug", claim(-1, 2), rows, {"p_value": 0.05}, False, 0.05)
    assert same.beside.startswith("No evidence that the effect differs between subgroups (test p = 0.050), so no")
    assert "subgroup 1" not in same.answer + same.beside


@pytest.mark.parametrize(
    ("again", "share", "back"),
    [
        (0.9, 1.0, True),
        (0.73, 0.0, False),
        (0.4, 1.0, False),
        (None, 0.4, False),
        (None, 0.6, True),
        (None, None, True),
    ],
)
def test_subgroups_come_back_only_if_labels_and_number_do(again: float, share: float, back: bool) -> None:
    assert verdicts.reproduced(again, share) is back


def test_a_small_gain_is_called_small() -> None:
    little = verdicts.prognosis([("clinical_omics", {"estimate": 0.007, "lower": 0.003, "upper": 0.011}, None)], 0.95)
    assert "ranked a little better" in little.answer
    assert "small" in little.caveat
    much = verdicts.prognosis([("clinical_omics", {"estimate": 0.05, "lower": 0.03, "upper": 0.07}, None)], 0.95)
    assert "ranked better" in much.answer
    assert "small" not in much.caveat


def test_subgroup_verdicts() -> None:
    row = {"k": 3, "stability": 0.9, "null_mean": 0.4, "null_upper": 0.6, "p_value": 0.025}
    assert verdicts.subgroups(1, row, None, "", 0.05).tone == "no"
    assert "not proof" in verdicts.subgroups(1, row | {"p_value": 0.3}, None, "", 0.05).caveat
    assert "none that is stable enough" in verdicts.subgroups(1, row, None, "", 0.05).answer  # p says not one cloud
    assert "three subgroups, and they differ" in verdicts.subgroups(3, row, {"p_value": 0.01}, "", 0.05).answer
    assert "no evidence that they differ" in verdicts.subgroups(3, row, {"p_value": 0.05}, "", 0.05).answer
    assert "could not be tested" in verdicts.subgroups(3, row, {"p_value": None}, "", 0.05).answer
    assert verdicts.subgroups(None, None, None, "", 0.05).tone == "unknown"


def test_subgroups_that_do_not_come_back_are_no_classification() -> None:
    row = {"k": 6, "stability": 0.64, "null_mean": 0.1, "null_upper": 0.15, "p_value": 0.025}
    lost = verdicts.subgroups(6, row, {"p_value": 1e-6}, "1 of 5 folds chose K = 6", 0.05, again=0.31)
    assert lost.tone == "mixed"
    assert "no reproducible subgroups" in lost.answer
    assert verdicts.subgroups(6, row, {"p_value": 1e-6}, "", 0.05, again=0.9).tone == "yes"
    assert verdicts.subgroups(2, row, None, "0 of 3 folds chose K = 2", 0.05, share=0.0).tone == "mixed"


def test_what_was_not_fitted_is_no_negative_finding() -> None:
    assert verdicts.adds(claim(0.0, 0.0))[0] == "unknown"


def test_transport_verdicts() -> None:
    cross = claim(0.6, 0.7)
    assert verdicts.transport("site", cross, claim(0.55, 0.65), None, 4).tone == "yes"
    assert verdicts.transport("site", cross, claim(0.45, 0.65), None, 4).tone == "no"
    assert verdicts.transport("site", cross, claim(0.4, 0.48), None, 4).tone == "harm"
    ahead = {"of": 4, "sites": 3, "prediction_lower": 0.3, "prediction_upper": 0.8}
    found = verdicts.transport("site", cross, claim(0.55, 0.65), None, 3, ahead=ahead)
    assert found.tone == "mixed"
    assert found.answer.endswith("at one more it may rank no better than chance.")
    assert ("C expected at one more site", "0.30 to 0.80") in found.facts
    assert "One more could not be judged on its own" in found.caveat
    ahead |= {"prediction_lower": 0.52}
    assert verdicts.transport("site", cross, claim(0.55, 0.65), None, 4, ahead=ahead).tone == "yes"
    assert "no site was given" in verdicts.transport(None, cross, None, None, 0).answer
    assert "no site was held out" in verdicts.transport("site", cross, None, None, 0).answer


def test_numbers_as_words() -> None:
    assert words.number(-0.001, 2) == "0.00"
    assert words.number(-1.25, 1) == "−1.2"
    assert words.number(2.0, 1, sign=True) == "+2.0"
    assert words.interval({"estimate": None}) == "not estimable"
    assert words.interval({"estimate": 0.5, "lower": None, "upper": None}) == "0.50 (no interval)"
    assert words.interval(claim(-0.1, 0.3), 1, 100, sign=True) == "+10.0 (−10.0 to 30.0)"
    assert [words.p_value(p) for p in (None, 0.0004, 0.001, 0.025, 0.4)] == [
        "no p-value", "p < 0.001", "p = 0.001", "p = 0.025", "p = 0.40"
    ]  # fmt: skip
    assert words.p_cell(0.0004) == "< 0.001"


def test_verdicts_of_the_cases(html: dict[str, str]) -> None:
    demo, null, plain = (Page(html[c]).text for c in fixtures.CASES)
    assert "Yes: three subgroups, and they differ in survival" in demo
    assert "treated patients of subgroup 3 lived less long" in demo
    assert "ranking risk better than chance, pooled over the four sites that were held out in turn" in demo
    assert "No evidence of subgroups" in null
    assert "No evidence that omics add to the clinical model." in null
    assert "parts on single subgroups are left out" in null
    assert "Subgroup 1" not in null
    assert "Not asked: the config names no treatment." in plain
    assert "Planted truth" not in plain


# --- what is missing must not break it ------------------------------------------------------------------------------


def test_everything_empty_still_renders() -> None:
    found = fixtures.inputs("demo")
    bare = dataclasses.replace(
        found,
        tables={n: tables.from_rows([], m) for n, m in CONTRACTS.items()},
        manifest={},
        quality={},
    )
    text = Page(render(bare)).text
    assert "This was not tested." in text
    assert "No model of prognosis was evaluated." in text
    assert "association only" in text
    assert Page(render(dataclasses.replace(bare, tables={}))).stack == []


def test_null_estimates_say_why() -> None:
    found = fixtures.inputs("demo")
    gone = {
        "estimate": None,
        "lower": None,
        "upper": None,
        "method": "not estimable: fewer than 5 events in an arm",
        "p_value": None,
        "p_holm": None,
    }
    effects = [r | gone if r["subgroup"] == 2 else r for r in found.rows("treatment_effects")]
    metrics = [
        r | {k: gone[k] for k in ("estimate", "lower", "upper", "method")} for r in found.rows("prognosis_metrics")
    ]
    text = Page(render(changed(found, treatment_effects=effects, prognosis_metrics=metrics))).text
    assert text.count("fewer than 5 events in an arm") >= 2
    assert "This could not be estimated: fewer than 5 events in an arm." in text


def test_randomised_treatment_leads_with_the_unweighted_estimate() -> None:
    found = fixtures.inputs("demo")
    trial = {"treatment": TreatmentConfig(column="treatment", design="randomised")}
    text = Page(render(with_settings(found, treatments=trial))).text
    row = found.row("treatment_effects", subgroup=0, weighting="none", estimand="rmst_difference")
    assert row is not None
    assert f"Average, treated minus untreated, months {words.interval(row, 1, sign=True)}" in text
    assert "Subgroups were not strata of the randomisation" in text
    assert "measured confounders suffice" not in text


def test_names_are_escaped() -> None:
    found = with_settings(fixtures.inputs("survival_only"), title="<script>alert('x')</script> & co")
    text = render(found)
    assert "<script" not in text
    assert "<script>alert('x')</script> & co" in unescape(text)


def test_foreign_svg_is_made_safe() -> None:
    text = svg.embed(
        FIGURE.replace("<path", '<image xlink:href="http://example.org/a.png"/><path', 1),
        "s",
        "What it shows.",
    )
    assert text.startswith('<svg viewBox="0 0 648 172" role="img" aria-label="What it shows."')
    for bad in ("script", "onclick", "http:", "metadata", 'id="axes_1"', "DejaVu"):
        assert bad not in text
    assert 'id="s-p1"' in text
    assert "url(#s-p1)" in text
    assert svg.embed("not a drawing", "s", "nothing") == ""


def test_many_patients_stay_small() -> None:
    found = fixtures.inputs("demo")
    points = found.tables["latent_map"]
    many = pl.concat([points] * 12)
    text = render(dataclasses.replace(found, tables=dict(found.tables) | {"latent_map": many}))
    assert "A random 2,000 are drawn." in text
    assert len(text) < 1_500_000


def every_design(first: str) -> ReportInputs:
    """The demo with every design, and a locked set; without folds if `first` is another design."""
    found = fixtures.inputs("demo")
    metrics = [r for r in found.rows("prognosis_metrics") if r["design"] == "cross-validation"]
    names = [("given-a", "given splits"), ("given-b", "given splits"), ("temporal", "temporal"), ("locked", "locked")]
    splits = [r | {"n_train": r["n_train"] - 97, "n_out": 97, "n_locked": 97} for r in found.rows("resample_summary")]
    splits += [{**splits[1], "resample": n, "design": d, "n_unplaced": 3 if d == "temporal" else 20} for n, d in names]
    kept = tables.DESIGNS[tables.DESIGNS.index(first) :]
    inputs = changed(
        found,
        resample_summary=[r for r in splits if r["design"] in ("full", *kept)],
        prognosis_metrics=[r | {"design": d} for d in kept for r in metrics],
        prognosis_resamples=[r for r in found.rows("prognosis_resamples") if r["design"] in kept],
    )
    temporal = TemporalConfig(column="year", train_until="2005-06-30")
    resamples = ResampleConfig(
        folds=5 if first == "cross-validation" else 0,
        test_fraction=0.2,
        temporal=temporal,
        file="secret/folder/splits.csv",
    )
    return with_settings(inputs, resamples=resamples)


def test_every_design_has_its_place_and_its_sentence() -> None:
    text = Page(render(every_design("cross-validation"))).text
    for title in ("In cross-validation", "On the given splits", "With each site held out", "On later patients"):
        assert f"{title}: all models beside the clinical one." in text
    assert "Splits: 5 of cross-validation, 2 given in a file, 4 that hold out one site each, one that" in text
    assert "Trained on patients up to 2005-06-30, judged on later ones" in text
    assert "<10 patients without a date take no part" in text
    assert "It says nothing of up to 20 patients" in text
    assert "These patients took no part in anything else and are looked at once." in text
    assert "the model to publish, which is trained on the other" in text
    assert "Models fitted on all patients outside the locked test set." in text
    assert "secret" not in text
    assert "5 of 5 folds chose K = 3" in text
    plain = Page(render(fixtures.inputs("demo"))).text
    assert "locked" not in plain
    assert "Models fitted on all patients." in plain


def test_without_folds_verdicts_come_from_the_given_splits() -> None:
    inputs = every_design("given splits")
    selection = [
        r | {"resample": r["resample"].replace("cv-1-1", "given-a")} for r in inputs.rows("subgroup_selection")
    ]
    text = Page(render(changed(inputs, subgroup_selection=selection))).text
    assert "Measured on the given splits." in text
    assert "1 of 1 given splits chose K = 3" in text
    assert "Splits: 2 given in a file" in text
    assert "In cross-validation" not in text


def test_without_folds_and_given_splits_nothing_is_held_out_once() -> None:
    inputs = every_design("temporal")
    bare = {n: [] for n in ("subgroup_summary", "subgroup_curves", "subgroup_profile", "subgroup_agreement")}
    effects = [r for r in inputs.rows("treatment_effects") if r["subgroup"] == 0]
    text = Page(render(changed(inputs, **bare, subgroup_tests=[], treatment_effects=effects))).text
    assert "There are neither folds nor given splits, so there is no verdict" in text
    assert "Not held out: there are no folds" in text
    assert "No subgroup was assigned to held-out patients, so the effect is reported on average only." in text
    assert "This could not be estimated." in text
    assert "cross-validation within one cohort" not in text


def test_small_sites_are_named_where_they_are_not_held_out_alone():
    inputs = with_settings(fixtures.inputs("demo"), resamples=ResampleConfig(leave_site_out=True))
    names = sorted(inputs.tables["latent_map"]["site"].drop_nulls().unique())
    assert len(names) >= 4

    def said(sites: dict[str, list[str]]) -> str:
        return render(with_settings(inputs, sites=sites))

    alone = {f"site-{n}": [n] for n in names}
    assert "held out together" not in said(alone)
    assert "Not held out" not in said(alone)
    joined = said({"site-a": [names[0]], "site-other": names[1:3]})
    assert f"2 sites ({names[1]} and {names[2]}) have fewer than 30 patients with an outcome each" in joined
    assert f"Not held out, with fewer than 30 patients with an outcome: 1 of 4 sites ({names[3]})." in joined
    assert "No site is held out" in said({})


def test_small_losses_are_merged_with_a_neighbour_and_everybody_is_accounted_for():
    steps = [("read", "clinical table", 2509, 2509, "kept"), ("outcome", "endpoint", 2509, 1981, "no follow-up")]
    steps += [("outcome", "endpoint", 1981, 1980, "zero follow-up"), ("outcome", "endpoint", 1980, 1980, "usable")]
    flow = [dict(zip(("step", "scope", "n_in", "n_out", "reason"), s, strict=True)) for s in steps]
    merged = merge_small(flow, 10)
    assert [(r["n_in"], r["n_out"]) for r in merged] == [(2509, 2509), (2509, 1980), (1980, 1980)]
    assert merged[1]["reason"] == "no follow-up, or zero follow-up"
    drawn = diagram(flow, "flow", "told", 10)
    for said in ("2,509", "1,980", "529"):
        assert said in drawn
    for hidden in ("528", "1,981"):
        assert hidden not in drawn
    alone = [flow[0], flow[1] | {"n_out": 2506}, flow[3] | {"n_in": 2506, "n_out": 2506}]
    assert merge_small(alone, 10) == alone
    drawn = diagram(alone, "flow", "told", 10)
    assert "2,506" not in drawn
    assert "&gt;2,499" in drawn


# --- what was not fitted, and how sure the numbers are --------------------------------------------------------------


def not_fitted(inputs: ReportInputs, names: tuple[str, ...], events: int, design: str = "") -> ReportInputs:
    """The same inputs where some models were not fitted for want of events, in all resamples or those of a design."""
    note = "not fitted: fewer than 20 training events (`prognosis.min_events`); predictions are those of kaplan_meier"
    gone = {"note": note, "stand_in": "kaplan_meier", "events": events, "parameters": 0}
    rows = [r | gone if r["model"] in names and r["resample"].startswith(design) else r for r in inputs.rows("models")]
    return with_settings(changed(inputs, models=rows), prognosis=PrognosisConfig(min_events=20))


ALL = ("clinical", "clinical_omics", "clinical_latent")


@pytest.mark.parametrize(
    ("events", "said"),
    [(12, "12 events in training, 20 are needed"), (8, "fewer than 10 events in training, 20 are needed")],
)
def test_models_without_enough_events_have_no_results(events: int, said: str) -> None:
    found = not_fitted(fixtures.inputs("demo"), ALL, events)
    html = render(found)
    text = Page(html).text
    assert section_prognosis.verdict(found) == verdicts.Verdict(
        "Do omics add to the clinical model?", f"Not fitted: {said}.", "unknown", link="prognosis"
    )
    assert section_prognosis.transport(found).answer == f"Not answered: the clinical model was not fitted ({said})."
    assert section_prognosis.transport(found).tone == "unknown"
    assert text.count(f"The clinical, clinical + omics and clinical + latent models were not fitted: {said}.") == 3
    for gone in ("cal-clinical", "forest-c", "Coefficients of the models", "yardstick </td>", "kaplan_meier"):
        assert gone not in html
    table = next(b for b in section_prognosis.prognosis(found).blocks if getattr(b, "kind", "") == "table")
    for row in table.rows:
        cells = {c if isinstance(c, str) else c.text for c in row[1:]}
        assert (cells == {"not fitted"}) == (row[0] != "No predictors")
    assert "0.645" not in text  # the C that the table holds for the clinical model is that of what stands in


def test_one_model_that_was_not_fitted_leaves_the_others() -> None:
    found = not_fitted(fixtures.inputs("demo"), ("clinical_latent",), 12)
    verdict = section_prognosis.verdict(found)
    assert verdict.tone == "yes"
    assert ("Δ C up to 60 months, clinical + latent", "not fitted") in verdict.facts
    assert "Not fitted: clinical + latent (12 events in training, 20 are needed)." in verdict.caveat
    text = Page(render(found)).text
    assert "Calibration at 60 months" in text
    assert "Difference in Uno's C to the model without omics: Clinical + omics +0.052" in text
    assert section_prognosis.transport(found).answer.startswith("The clinical model keeps ranking risk better")


def test_folds_without_a_model_are_counted() -> None:
    found = not_fitted(fixtures.inputs("demo"), ("clinical_omics",), 12, "cv-1-2")
    text = Page(render(found)).text
    said = (
        "Clinical + omics was not fitted in 1 of 5 training sets (12 events in training, 20 are needed); the patients"
    )
    assert f"{said} held out there are left out of its numbers: >110 of ≈590 held-out patients." in text
    assert section_prognosis.verdict(found).tone == "yes"


def test_a_model_that_was_not_fitted_for_most_held_out_patients_claims_nothing() -> None:
    found = fixtures.inputs("demo")
    sites = found.resamples("leave-site-out")
    gone = not_fitted(found, ALL, 12, "site-")
    rows = [
        r if r["resample"] != sites[0] else old
        for r, old in zip(gone.rows("models"), found.rows("models"), strict=True)
    ]
    gone = changed(gone, models=rows)
    verdict = section_prognosis.transport(gone)
    assert verdict.tone == "unknown"
    assert re.fullmatch(
        r"Not answered: the clinical model was not fitted for \d+ of \d+ held-out patients: 12 events in training, 20"
        r" are needed\.",
        verdict.answer,
    )
    assert not any(name == "C with sites held out" for name, _ in verdict.facts)
    text = Page(render(with_settings(gone, sites={sites[1]: ["site_2", "site_9"]}))).text
    assert "models were not fitted for" in text
    assert "no model: too few events in training" in text
    assert "Sites site_2 + site_9" in text
    one = not_fitted(found, ALL, 12, sites[0])
    verdict = section_prognosis.transport(one)
    assert verdict.answer.startswith("The clinical model keeps ranking risk better")
    assert "Clinical was not fitted in 1 of 4 training sets" in verdict.caveat
    assert section_prognosis.verdict(not_fitted(found, ("clinical_omics",), 12, "cv-")).tone == "yes"


def test_a_split_of_a_handful_shows_a_reason_and_no_number() -> None:
    found = every_design("given splits")
    few = "not estimable: fewer than 10 patients or 5 events are held out; Uno's C"
    gone = {"estimate": None, "lower": None, "upper": None, "n": 2, "events": 2, "method": few}
    rows = [r | gone if r["design"] == "given splits" else r for r in found.rows("prognosis_metrics")]
    text = Page(render(changed(found, prognosis_metrics=rows))).text
    part = text.partition("On the given splits: all models beside")[2].partition("Every metric, horizon and method")[0]
    assert "Not estimable: fewer than 10 patients or 5 events are held out." in text
    assert not re.search(r"\d\.\d{3}", part)
    verdict = section_prognosis.verdict(changed(found, prognosis_metrics=rows))
    assert verdict.answer == "This could not be estimated: fewer than 10 patients or 5 events are held out."


def test_a_fallback_for_another_reason_is_told() -> None:
    rows = [
        r
        | {"note": "no covariates vary in training; predictions are those of kaplan_meier", "stand_in": "kaplan_meier"}
        if r["model"] == "clinical"
        else r
        for r in fixtures.inputs("demo").rows("models")
    ]
    found = changed(fixtures.inputs("demo"), models=rows)
    assert "The clinical model was not fitted: no covariates vary in training." in Page(render(found)).text
    assert "predicts the same for everyone" in section_prognosis.verdict(found).caveat


def test_ranking_without_better_risks_is_mixed() -> None:
    gain = ("clinical_omics", claim(0.01, 0.09), None)
    flat, good, worse = claim(-0.16, 0.08), claim(0.02, 0.1), claim(-0.2, -0.1)
    assert verdicts.adds(gain[1], None, good) == ("yes", "adds")
    assert verdicts.adds(gain[1], None, None) == ("yes", "adds")
    for ipa in (flat, worse):
        assert verdicts.adds(gain[1], None, ipa) == ("mixed", "ranks better, risks no better than one curve for all")
    found = verdicts.prognosis([gain], 0.95, {"clinical": good, "clinical_omics": flat})
    assert found.tone == "mixed"
    assert "ranked better than by the clinical model alone" in found.answer
    assert "risks of the clinical + omics model are no better than one curve for all" in found.answer
    assert ("IPA, clinical + omics", "−0.040 (−0.160 to 0.080)") in found.facts
    worst = verdicts.prognosis([gain], 0.95, {"clinical": worse, "clinical_omics": good})
    assert worst.tone == "yes"
    assert "risks of the clinical model are worse than one curve for all" in worst.answer
    two = verdicts.prognosis([gain, ("clinical_latent", claim(0.01, 0.05), None)], 0.95)
    assert "not corrected for the number of models" in two.caveat
    assert "not corrected" not in verdicts.prognosis([gain], 0.95).caveat


def test_sites_verdict_names_the_model_and_what_was_not_held_out() -> None:
    found = with_settings(fixtures.inputs("demo"), sites={"site-a": ["site_1"], "site-b": ["site_2"]})
    verdict = section_prognosis.transport(found)
    assert verdict.answer.startswith("The clinical model keeps ranking risk better than chance, pooled over the")
    assert "2 of 4 sites (site_3 and site_4)" in verdict.caveat
    why = verdicts.transport("site", None, claim(None, None, method="not estimable: no pair; Uno's C"), None, 2)
    assert (why.tone, why.answer) == ("unknown", "Not answered: no pair.")


def test_what_is_not_estimable_says_why_and_claims_no_cause() -> None:
    row = claim(None, None, method="not estimable: fewer than 20 patients in an arm")
    found = verdicts.treatment("drug", row, [], None, False, 0.05)
    assert found.answer == "The effect is not estimable: fewer than 20 patients in an arm."
    assert found.caveat == ""


@pytest.mark.parametrize(
    ("last", "settings", "said"),
    [
        (40, {"epochs": 200, "warmup_epochs": 20}, "Stopped early, when the loss"),
        (9, {"epochs": 10, "warmup_epochs": 20}, "Not stopped early: training ended at the limit of 10 epochs"),
        (9, {"epochs": 10, "warmup_epochs": 20}, "The Kullback–Leibler weight never reached its value"),
        (9, {"epochs": 10, "warmup_epochs": 10}, "reached its value in the last epoch only"),
    ],
)
def test_how_training_ended(last: int, settings: dict, said: str) -> None:
    rows = [{"member": 0, "epoch": e, "train_loss": 1.0, "validation_loss": 1.0} for e in range(last + 1)]
    found = with_settings(changed(fixtures.inputs("null"), training=rows), latent=LatentConfig(**settings))
    text = Page(render(found)).text
    assert said in text
    assert ("Stopped early" in text) == (last == 40)
    assert ("Kullback–Leibler weight" in text) == (last == 9)
    assert "Loss of the only member" in text


def test_singulars_and_names() -> None:
    text = Page(render(fixtures.inputs("survival_only"))).text
    assert "The only omic was mRNA." in text
    assert "mRNA: 203306_s_at" in text  # a feature keeps its underscores, a column loses them
    assert words.term("er_status: not_done") == "ER status: not_done"
    assert words.term("grade: 3.0") == "grade: 3"
    assert [words.plural(n, "event") for n in (0, 1, 1200)] == ["0 events", "1 event", "1,200 events"]
    assert words.readable("tau 119.984 months, predictions of kaplan_meier") == (
        "tau 120 months, predictions of no predictors"
    )


def test_coefficients_name_their_reference() -> None:
    text = Page(render(fixtures.inputs("demo"))).text
    assert "stage: II_b reference: I +0.300 0.200 to 0.400" in text
    assert "age per SD +0.200 0.100 to 0.300" in text
    assert "mRNA: 203306_s_at per SD +0.400 penalised, no interval" in text


def test_backticks_become_code() -> None:
    assert str(ticks("where `os_months` < 3")) == "where <code>os_months</code> &lt; 3"
    assert str(ticks("one ` alone & <b>")) == "one ` alone &amp; &lt;b&gt;"


def test_no_ring_and_no_agreement_of_one_group(html: dict[str, str]) -> None:
    null, demo = Page(html["null"]).text, Page(html["demo"]).text
    assert "The ring marks" not in null
    assert "one group (K = 1) was chosen" in null
    assert "The ring marks the number that was chosen. All" in demo
    assert (
        "One group agrees with nothing, so there is no row for: Latent model (VAE), PCA baseline, MOFA+ baseline."
        in null
    )
    assert "Agreement of the held-out subgroups" not in null


def test_each_method_is_told_once() -> None:
    table = section_prognosis._everything(fixtures.inputs("demo"), "cross-validation")
    assert len(table.notes) == len(set(table.notes)) == 4
    assert {r[-1] for r in table.rows} == {"1", "2", "3", "4"}
    assert len(table.rows) > 40


def test_survival_at_a_horizon_that_few_reach_is_marked() -> None:
    found = fixtures.inputs("demo")
    assert Page(render(found)).text.count("at risk by then fewer than 10") == 1  # 7 of subgroup 3
    few = [r | {"at_risk": 9 if r["time_months"] > 50 else r["at_risk"]} for r in found.rows("subgroup_curves")]
    arms = [r | {"at_risk": 9 if r["time_months"] > 50 else r["at_risk"]} for r in found.rows("treatment_curves")]
    text = Page(render(changed(found, subgroup_curves=few, treatment_curves=arms))).text
    assert text.count("at risk by then fewer than 10") == 3
    assert "Fewer than 10 of an arm are at risk at 60 months: read with care." in text


def test_table_one_protects_small_classes() -> None:
    found = fixtures.inputs("demo")
    text = Page(render(found)).text
    assert "Age, mean (SD) 61.3 (10.2) <10" in text
    assert "Sex: female 301 (51 %) 13 (2 %) Sex: male 290 (49 %)" in text
    assert "Site: site_1 151 (25 %)" in text
    assert "57.4 (55.0 to 58.8)" in text
    base = {"variable": "sex", "kind": "share", "sd": None, "lower": None, "upper": None, "n": 604, "missing": 0}
    rows = [base | {"level": x, "value": n / 604, "count": n} for x, n in (("a", 450), ("b", 148), ("c", 6))]
    text = Page(render(changed(found, baseline=rows))).text
    assert "Sex: a 450 (75 %) 0 Sex: b ≈150 (25 %) Sex: c <10 (<2 %)" in text
    assert "148" not in text
    alone = [base | {"level": None, "kind": "mean", "value": 50.0, "count": None, "n": 4, "missing": 600}]
    assert "Sex n <10 >594 (>98 %)" in Page(render(changed(found, baseline=alone))).text


def test_the_number_with_an_outcome_is_blurred_where_the_flow_blurs_it(html: dict[str, str]) -> None:
    """604 patients of whom 4 have no outcome: 600 would tell that, beside 604."""
    text = Page(html["demo"]).text
    assert "604 patients" in text
    assert ">594 with outcome" in text
    assert "n >594, 371 events" in text
    assert not re.findall(r"(?<![\d,])600 (?:with|have)|n = 600|600 / 371", text)
    far = changed(
        fixtures.inputs("demo"),
        flow=[{"step": "outcome", "scope": "endpoint", "n_in": 700, "n_out": 600, "reason": "no follow-up"}],
    )
    assert "600 with outcome" in Page(render(far)).text


def test_footer_promises_what_is_kept(html: dict[str, str]) -> None:
    text = Page(html["demo"]).text
    assert "Internal: single counts under 10 are not printed" in text
    public = Page(render(dataclasses.replace(fixtures.inputs("demo"), public=True))).text
    assert "To be shared: counts of patients and events are rounded to multiples of 10" in public
    assert "what estimates and several runs tell together is not protected" in public


def test_checks_of_the_data_say_what_could_mislead(html: dict[str, str]) -> None:
    text = Page(html["demo"]).text
    assert "blanks around 3 identifiers removed" in text
    assert "A batch goes with outcome or treatment (site with treatment)" in text
    assert "All 90 patients with disease GBM lack" in text
    assert "A model that sees that an omic is lacking can learn the group from it." in text
    assert "1 of 2 tests are positive after Holm's correction" in text
    assert "normal scores of their ranks" in text
    inputs = fixtures.inputs("demo")
    assert "Checks of the data" not in render(
        changed(inputs, notes=[], identity_summary=[], batches=[], missingness=[], feature_summary=[])
    )
    quiet = [r | {"beyond": False, "strength": 0.1} for r in inputs.rows("batches")]
    assert "No batch goes with outcome, treatment or known labels" in render(changed(inputs, batches=quiet))
    small = [r | {"flagged": 4} for r in inputs.rows("identity_summary")]
    assert "<10" in Page(render(changed(inputs, identity_summary=small))).text


def test_events_of_a_split_do_not_give_away_what_is_suppressed_beside_them() -> None:
    rows = [
        {"resample": "full", "design": "full", "n_train": 700, "n_test": 0, "n_out": 0, "n_locked": 0, "n_unplaced": 0}
        | {"events_train": 300, "events_test": 0}
    ]
    for site, n, held in (("a", 300, 150), ("b", 250, 147), ("c", 150, 3)):
        rows.append(rows[0] | {"resample": f"site-{site}", "design": "leave-site-out", "n_train": 700 - n, "n_test": n})
        rows[-1] |= {"events_train": 300 - held, "events_test": held}
    text = Page(render(changed(fixtures.inputs("demo"), resample_summary=rows))).text
    assert "≈300 <10" in text  # 297 beside a total of 300 would tell 3
    assert "≈150 ≈150" in text  # the next smallest: 300 less 150 and 147 would tell it as well
    assert "150 150" in text
    assert "297" not in text
    assert "147" not in text


def _missing(name: str, variable: str, level: str = "", **more: object) -> dict[str, object]:
    found = "all missing" if level else "test"
    row = {"subject": "omic", "name": name, "block": "", "finding": found, "role": "batch", "variable": variable}
    row |= {"level": level, "test": "", "measure": "", "effect": None, "p_value": None, "p_holm": None}
    return row | {"n": 40, "missing": 40} | more


def test_groups_that_lack_the_same_are_one_line_and_small_ones_are_not_told() -> None:
    rows = [_missing(o, "site", s) for o in ("mrna", "cna + mutation") for s in ("a", "b", "c")]
    rows += [
        _missing("mirna", "disease", "rare", n=4, missing=4),
        _missing("mirna", "disease", "GBM", n=90, missing=90),
    ]
    rows += [_missing("er_status + grade", "", subject="clinical column", finding="missing together", role="", n=600)]
    text = Page(render(changed(fixtures.inputs("demo"), missingness=rows))).text
    assert "All 120 patients with site a, b, c lack mRNA, CNA and mutation." in text
    assert "Site: a, b, c 120 mRNA, CNA, mutation" in text
    assert "All 90 patients with disease GBM lack miRNA." in text
    assert "The very same 40 of 600 patients lack ER status and grade." in text
    assert "94" not in text.partition("Groups of patients")[2].partition("Features that models see")[0]


def _treatment_record(**more: object) -> dict[str, object]:
    row = {"treatment": "treatment", "finding": "recorded", "variable": "", "until_months": None, "estimate": None}
    row |= {"lower": None, "upper": None, "p_value": None, "n_treated": 200, "n_untreated": 300, "n_missing": 100}
    return row | {"events": 0} | more


def test_treatments_as_recorded_warn() -> None:
    ratio = {"lower": 0.1, "upper": 0.9, "n_missing": 0, "events": 50, "until_months": 3.0}
    rows = [
        _treatment_record(),
        _treatment_record(finding="crude", estimate=0.4, **ratio),
        _treatment_record(finding="early", estimate=0.11, p_value=0.002, **ratio),
        _treatment_record(finding="later", estimate=0.55, **ratio),
        _treatment_record(finding="goes with", variable="age", estimate=0.44, p_value=1e-9),
    ]
    text = Page(render(changed(fixtures.inputs("demo"), treatment_records=rows))).text
    assert "Drug A: 100 of 600 patients have no record of it" in text
    assert "in the first 3 months the hazard ratio is 0.11, later 0.55 (p = 0.002 for the difference)" in text
    assert "Drug A goes with age (0.44)" in text
    assert "0.10 to 0.90" in text
    few = [r | {"n_untreated": 4} for r in rows]
    text = Page(render(changed(fixtures.inputs("demo"), treatment_records=few))).text
    assert "only <10 patients are recorded as untreated, against 200: there is hardly anybody to compare with" in text
    for ratio_of_four in ("hazard ratio is 0.11", "0.10 to 0.90"):
        assert ratio_of_four not in text  # a ratio of an arm of four is nobody's business


def test_an_omic_that_few_patients_have_is_not_described() -> None:
    found = fixtures.inputs("demo")
    metrics = [
        r | {"value": 1.0} if (r["omic"], r["metric"]) == ("protein", "patients") else r
        for r in found.rows("quality_summary")
    ]
    notes = [{"scope": "protein", "file": "protein.tsv", "note": "a single value is 41.5"}]
    who = ("event", "treated")
    missing = [_missing("protein", v, "1", n=69, missing=69, role="outcome") for v in who]
    missing += [_missing("protein", "event", n=600, missing=599, role="outcome", p_holm=0.001, effect=0.9)]
    missing += [_missing("grade", "event", "1", n=69, missing=69, subject="clinical column")]
    missing += [_missing("grade", "event", n=600, missing=595, subject="clinical column", p_holm=0.5, effect=0.1)]
    coefficients = [r | {"feature": "protein: P53", "coefficient": 0.987} for r in found.rows("coefficients")[:1]]
    coefficients += found.rows("coefficients")
    inputs = changed(found, quality_summary=metrics, notes=notes, missingness=missing, coefficients=coefficients)
    html = render(inputs)
    assert "P53" not in html
    assert "Those of omics that fewer than 10 patients have are not shown." in html
    text = Page(html).text
    assert "Fewer than 10 patients have protein, so nothing else is said of it." in text
    for hidden in ("Quality of protein", "Protein at a glance", "protein_007", "41.5", "lack", "69"):
        assert hidden not in text.partition("Data quality Nothing")[2].partition("Subgroups are found")[0], hidden
    assert "q-protein" not in html
    features = text.partition("Features that models see")[2]
    assert re.search(r"Protein \d+ – – – – – –", features)
    shown = Page(render(changed(inputs, quality_summary=found.rows("quality_summary")))).text
    assert "All 69 patients with event 1 lack protein." not in shown  # one of 600 has it, as the test tells
    assert "Protein at a glance" in shown


def test_features_of_few_patients_and_extremes_are_not_told_in_full() -> None:
    found = fixtures.inputs("demo")
    base = found.quality["rna"].to_dicts()[9]
    rows = [
        base | {"feature": "few", "n": 3, "missing": 0.97, "mean": 4.25, "sd": 1.5, "flag": "mostly missing"},
        base | {"feature": "far", "mean": 3.7000000037825e17, "sd": 12_345_678.9},
    ]
    quality = dict(found.quality) | {"rna": tables.from_rows(rows, tables.QualityFeatures)}
    metric = {"omic": "rna", "metric": "largest value, in robust SD", "value": 28_021_727_183_475_511_296.0, "note": ""}
    inputs = changed(found, quality_summary=[*found.rows("quality_summary"), metric])
    text = Page(render(dataclasses.replace(inputs, quality=quality))).text
    assert "few <10 – – – mostly missing" in text
    assert "3.7e17 1.23e7 heavy tail" in text
    assert "largest value, in robust SD 2.8e19" in text.replace("Largest", "largest")


def test_files_of_few_rows_are_not_counted() -> None:
    found = fixtures.inputs("demo")
    file = {"name": "one", "path": "one.tsv", "rows": 1, "columns": 50, "bytes": 629, "sha256": "ab"}
    text = Page(render(dataclasses.replace(found, manifest=found.manifest | {"inputs": [file]}))).text
    assert "one one.tsv <10 50 629 ab" in text


def test_locked_patients_are_a_step_of_the_flow_and_all_counts_add_up() -> None:
    found = fixtures.inputs("demo")
    full = {"resample": "full", "design": "full", "n_train": 480, "n_test": 0, "n_out": 124, "n_locked": 124}
    full |= {"n_unplaced": 0, "events_train": 300, "events_test": 0}
    locked = full | {"resample": "locked", "design": "locked", "n_test": 124, "n_out": 0, "n_locked": 0}
    sites = [full | {"resample": f"site-{s}", "design": "leave-site-out"} for s in ("a", "other")]
    rows = [full, *sites, locked | {"events_test": 71}]
    models = [r | {"n": 478, "events": 300} for r in found.rows("models")]
    inputs = with_settings(
        changed(found, resample_summary=rows, models=models), sites={"site-a": ["a"], "site-other": ["b", "c"]}
    )
    text = Page(render(inputs)).text
    outside = "604 patients <10 without a usable outcome excluded >594 with outcome"
    assert f"{outside} 371 events of these 124 patients with 71 events locked away" in text
    assert "of these locked away 124, 71 events" in text
    assert "Locked test set, looked at once: 124 patients, with 71 events" in text
    assert "n >470, 300 events" in text
    assert "Locked endpoint >594 >114 >470 Locked test set: looked at once, at the end" in text
    assert ">470 outside the locked test set have a usable outcome, with 300 events" in text
    assert "478" not in text.partition("Subgroups are found")[0]  # beside 480 it would tell who has no outcome
    assert "1 that holds out one site and 1 that holds out small sites together" in text
    few = changed(inputs, resample_summary=[*rows[:-1], locked | {"events_test": 4}])
    assert "≈300 events of these 124 patients with <10 events locked away" in Page(render(few)).text


def test_rows_of_a_flow_do_not_give_away_each_other() -> None:
    rows = [
        {"step": s, "scope": "drug", "n_in": a, "n_out": b, "reason": "why"}
        for s, a, b in (("treatment", 61, 60), ("outcome", 60, 58), ("overlap", 58, 40), ("end", 40, 40))
    ]
    table = flow_table(rows, 10, "told")
    assert [list(r[2:5]) for r in table.rows] == [
        ["61", "<10", ">51"], [">51", "<10", ">41"], [">41", "18", ">23"], [">23", "0", ">23"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        ([(300, 3)], [["300", ">290", "<10"]]),
        ([(300, 297)], [["300", "<10", ">290"]]),
        ([(300, 0)], [["300", "300", "0"]]),
        ([(12, 5)], [["12", "<10", "<10"]]),
        ([(604, 600), (600, 3)], [["604", "<10", ">594"], [">594", "≈600", "<10"]]),
        ([(61, 58), (58, 13), (13, 10)], [["61", "<10", ">51"], [">51", "≈40", "≈10"], ["≈10", "<10", "≈10"]]),
        ([(300, 3), (3, 0)], [["300", ">290", "<10"], ["<10", "<10", "0"]]),
    ],
)
def test_no_two_parts_of_a_step_give_away_a_small_third(steps: list[tuple[int, int]], shown: list[list[str]]) -> None:
    rows = [
        {"step": f"s{i}", "scope": "drug", "n_in": a, "n_out": b, "reason": "why"} for i, (a, b) in enumerate(steps)
    ]
    assert [list(r[2:5]) for r in flow_table(rows, 10, "told").rows] == shown


def test_duplicates_are_said_first_with_the_table_that_names_them() -> None:
    found = fixtures.inputs("demo")
    row = found.rows("identity_summary")[0] | {"check": "duplicate", "scope": "rna", "note": ""}
    html = render(changed(found, identity_summary=[row | {"flagged": 2}]))
    said = "Fewer than 10 patients look like the same person or sample twice (by RNA). Both may lie in different folds"
    text = Page(html).text
    assert text.index(said) < text.index("Are there subgroups?")
    assert text.count(said) == 2  # on the first screen, and first among the checks
    assert "quality/checks/identity.parquet" in text
    assert said not in Page(render(changed(found, identity_summary=[row | {"flagged": 0}]))).text


def test_a_model_that_ranks_as_the_clinical_one_has_a_dash_and_a_reason() -> None:
    found = fixtures.inputs("demo")
    zero = {"estimate": 0.0, "lower": 0.0, "upper": 0.0}
    same = {"model": "clinical_omics", "metric": "uno_c", "versus": "clinical"}
    rows = [r | zero if same.items() <= r.items() else r for r in found.rows("prognosis_metrics")]
    inputs = changed(found, prognosis_metrics=rows)
    text = Page(render(inputs)).text
    assert "Clinical + omics ranks the same –" in text
    assert "ranks these patients just as the clinical model does" in text
    assert "0.000 (0.000 to 0.000)" not in text.partition("In cross-validation: all")[2].partition("Every metric")[0]
    bare = [
        r for r in found.rows("coefficients") if not r["feature"].startswith(tuple(f"{o}: " for o in found.quality))
    ]
    text = Page(render(changed(inputs, coefficients=bare))).text
    assert "it has chosen no omic, so it is the clinical model" in text


def test_many_small_classes_are_one_line() -> None:
    found = fixtures.inputs("demo")
    base = {"variable": "site", "kind": "share", "sd": None, "lower": None, "upper": None, "n": 100, "missing": 0}
    rows = [base | {"level": f"s{i:02d}", "value": 0.04, "count": 4} for i in range(25)]
    text = Page(render(changed(found, baseline=rows))).text
    assert "Site: 25 classes with fewer than 10 patients each <10 each 0" in text
    assert "Site: s01" not in text
    some = [r | {"count": 40} if i == 24 else r for i, r in enumerate(rows)]
    text = Page(render(changed(found, baseline=some))).text
    assert "Site: s24 40" in text
    assert "Site: 24 classes with fewer than 10 patients each" in text


def test_shares_do_not_tell_how_few_lack_a_value() -> None:
    found = fixtures.inputs("demo")
    base = {"variable": "sex", "kind": "share", "sd": None, "lower": None, "upper": None, "n": 99, "missing": 1}
    rows = [base | {"level": x, "value": n / 99, "count": n} for x, n in (("a", 50), ("b", 49))]
    text = Page(render(changed(found, baseline=rows))).text
    assert "Sex: a 50 (≈50 %) <10 Sex: b ≈50 (≈50 %)" in text


def test_few_strangers_of_an_omic_do_not_come_out_by_subtraction() -> None:
    rows = [{"step": "read", "scope": "rna", "n_in": 91, "n_out": 90, "reason": "not in the clinical table"}]
    assert list(flow_table(rows, 10, "told").rows[0][2:5]) == ["≈90", "<10", "90"]
    found = changed(fixtures.inputs("demo"), flow=rows)
    file = {"name": "rna", "path": "rna.tsv", "rows": 91, "columns": 50, "bytes": 629, "sha256": "ab"}
    text = Page(render(dataclasses.replace(found, manifest=found.manifest | {"inputs": [file]}))).text
    assert "rna rna.tsv ≈90 50 629 ab" in text
