"""Items of reporting guidelines: sound as data, resolved against what there is, and never answered by default."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import report_fixtures as fixtures
from stratiome import tables
from stratiome.config import AuditConfig, TreatmentConfig
from stratiome.report import guidelines
from stratiome.report.guidelines import Answer, Guideline, Item, load, places, resolve, table
from stratiome.report.inputs import CONTRACTS, ReportInputs
from stratiome.report.page import draw, sections
from stratiome.report.section_guidelines import answers

HEADLINE = "cross-validation"


@pytest.fixture(scope="module")
def demo() -> ReportInputs:
    return fixtures.inputs("demo")


@pytest.fixture(scope="module")
def known(demo: ReportInputs) -> dict[str, str]:
    return {"verdicts": "What did we learn?"} | places(sections(demo))


@pytest.fixture(scope="module")
def drawn(demo: ReportInputs) -> tuple[str, str]:
    made = draw(demo)
    return made.page, made.guidelines


def one(**values: Any) -> Guideline:
    """A guideline of one item."""
    only_if = values.pop("guideline_only_if", ())
    item = {"id": "1", "asks_for": "Something."} | values
    return Guideline(name="G", version="1", about="a", reference="r", only_if=only_if, items=(Item(**item),))


# --- the data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "main", "subitems"),
    [("TRIPOD+AI", 27, 52), ("REMARK", 20, 20), ("TARGET", 21, 39), ("TRIPOD-Cluster", 19, 37)],
)
def test_all_items_are_there_in_their_order(name: str, main: int, subitems: int) -> None:
    ids = [item.id for g in load() if g.name == name for item in g.items]
    assert len(ids) == len(set(ids)) == subitems
    numbers = [int(re.match(r"\d+", i)[0]) for i in ids]  # type: ignore[index]
    assert sorted(set(numbers)) == list(range(1, main + 1))
    assert numbers == sorted(numbers)


def test_a_datasheet_asks_all_questions_of_its_sections() -> None:
    ids = [item.id for g in load() if g.name == "Datasheet" for item in g.items]
    sizes = {s: sum(i.startswith(f"{s} ") for i in ids) for s in dict.fromkeys(i.split()[0] for i in ids)}
    assert sizes == {
        "Motivation": 3,
        "Composition": 15,
        "Collection": 11,
        "Preprocessing": 3,
        "Uses": 5,
        "Distribution": 6,
        "Maintenance": 7,
    }


def test_every_anchor_is_in_the_page(known: dict[str, str]) -> None:
    """Those that depend on what was found at least in a section that can make them."""
    sources = "".join(p.read_text(encoding="utf-8") for p in Path(guidelines.__file__).parent.glob("section_*.py"))
    for guideline in load():
        for item in guideline.items:
            for entry in item.see:
                anchor = entry.rstrip("?").format(headline=HEADLINE, treatment="treatment")
                depends = entry.endswith("?") and f'"{anchor}"' in sources
                assert anchor in known or depends, (guideline.name, item.id, entry)


def test_every_table_is_one_of_the_report() -> None:
    assert {t for g in load() for item in g.items for t in item.needs} <= set(CONTRACTS)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "no answer"),
        ({"see": ("cohort",), "needs": ("nothing",)}, "there is no table `nothing`"),
        ({"see": ("cohort",), "only_if": ("moonlight",)}, "there is no condition `moonlight`"),
        ({"author": "x", "needs": ("flow",)}, "goes with"),
        ({"author": "x", "otherwise": "y"}, "goes with"),
        ({"unused": "x", "author": "y"}, "drop one"),
        ({"author": "x", "sea": ()}, "sea"),
    ],
)
def test_unsound_items_are_refused(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        one(**values)


def test_an_item_that_is_there_twice_is_refused() -> None:
    item = Item(id="1", asks_for="x", author="y")
    with pytest.raises(ValidationError, match="item 1 twice"):
        Guideline(name="G", version="1", about="a", reference="r", items=(item, item))


# --- what there is of them -------------------------------------------------------------------------------------------


def resolved(inputs: ReportInputs, known: dict[str, str], **values: Any) -> Answer:
    return resolve(one(**values), inputs, known)[0]


def emptied(inputs: ReportInputs, name: str) -> ReportInputs:
    return dataclasses.replace(inputs, tables={**inputs.tables, name: tables.from_rows([], CONTRACTS[name])})


def set_(inputs: ReportInputs, **values: Any) -> ReportInputs:
    return dataclasses.replace(inputs, settings=dataclasses.replace(inputs.settings, **values))


def test_an_item_is_answered_only_with_its_tables_and_its_place(demo: ReportInputs, known: dict[str, str]) -> None:
    item = {"see": ("cohort-flow",), "needs": ("flow",)}
    found = resolved(demo, known, **item)
    assert (found.state, list(found.links), found.where) == (
        "answered",
        [("cohort-flow", "Patient flow")],
        "report.html#cohort-flow",
    )
    empty = resolved(emptied(demo, "flow"), known, **item)
    assert (empty.state, list(empty.links)) == ("missing", [])
    assert empty.text == "missing: `flow` (it has no rows)"
    gone = dataclasses.replace(emptied(demo, "flow"), absent={"flow": ["flow.parquet"]})
    assert resolved(gone, known, **item).text == "missing: `flow` (its file was not there)"
    nowhere = resolved(demo, {}, **item)
    assert (nowhere.state, nowhere.text) == ("missing", "missing: this analysis shows nothing of it")
    assert resolved(demo, {}, see=("cohort-flow?",)).state == "answered"


def test_what_authors_must_complete_is_never_answered(demo: ReportInputs, known: dict[str, str]) -> None:
    item = {"see": ("cohort-flow",), "needs": ("flow",), "author": "the criteria"}
    found = resolved(demo, known, **item)
    assert found.state == "author"
    assert found.where == "Authors must write: the criteria; here: report.html#cohort-flow"
    empty = resolved(emptied(demo, "flow"), known, **item)
    assert (empty.state, empty.where) == ("author", "Authors must write: the criteria")
    gone = dataclasses.replace(emptied(demo, "flow"), absent={"flow": ["flow.parquet"]})
    assert resolved(gone, known, **item).state == "missing"
    assert "authors must write: the criteria" in resolved(gone, known, **item).text


@pytest.mark.parametrize(
    ("condition", "without", "reason"),
    [
        ("treatments", lambda i: set_(i, treatments={}), "`treatments`"),
        (
            "observational",
            lambda i: set_(i, treatments={"a": TreatmentConfig(column="a", design="randomised")}),
            "observ",
        ),
        ("sites", lambda i: set_(i, site=None), "`site`"),
        ("sites_left_out", lambda i: set_(i, site=None), "held out"),
        ("groups", lambda i: set_(i, audit=AuditConfig()), "`audit.groups`"),
        ("age_and_sex", lambda i: set_(i, covariates=("stage", "sex", "image")), "`covariates`"),
        ("subgroups", lambda i: emptied(i, "subgroup_selection"), "one group"),
    ],
)
def test_conditions(
    demo: ReportInputs, condition: str, without: Callable[[ReportInputs], ReportInputs], reason: str
) -> None:
    item = {"author": "it", "only_if": (condition,)}
    assert resolved(demo, {}, **item).state == "author"
    found = resolved(without(demo), {}, **item)
    assert found.state == "not applicable"
    assert found.text.startswith("not applicable because ")
    assert reason in found.text
    other = resolved(without(demo), {}, **item, otherwise="something else")
    assert (other.state, other.text) == ("author", "something else")
    whole = resolved(without(demo), {}, author="it", guideline_only_if=(condition,))
    assert whole.state == "not applicable"


def test_conditions_that_hold_only_elsewhere(demo: ReportInputs) -> None:
    assert resolved(demo, {}, author="it", only_if=("external",)).state == "not applicable"
    gone = dataclasses.replace(demo, absent={"external_patients": ["patients.parquet"]})
    assert resolved(gone, {}, author="it", only_if=("external",)).state == "author"
    assert "simulated" in resolved(demo, {}, author="it", only_if=("real",)).text
    assert resolved(fixtures.inputs("survival_only"), {}, author="it", only_if=("real",)).state == "author"
    assert resolved(demo, {}, unused="no such thing is done").text == "not applicable because no such thing is done"


def test_each_treatment_has_its_link(demo: ReportInputs) -> None:
    two = set_(demo, treatments=dict.fromkeys(("a", "b"), demo.settings.treatments["treatment"]))
    known = {"treatment-effect-a": "Average effect", "treatment-effect-b": "Average effect"}
    found = resolved(two, known, see=("treatment-effect-{treatment}",))
    assert [a for a, _ in found.links] == list(known)


def test_nothing_is_answered_where_there_is_nothing(demo: ReportInputs) -> None:
    bare = dataclasses.replace(
        demo, tables={n: tables.from_rows([], m) for n, m in CONTRACTS.items()}, manifest={}, quality={}
    )
    here = {"verdicts": ""} | places(sections(bare))
    for guideline, found in answers(bare, here):
        told = [a.item.id for a in found if a.state == "answered"]
        assert told == [], guideline.name


# --- the page and the file -------------------------------------------------------------------------------------------


def test_every_link_of_the_page_goes_somewhere_and_the_section_tells_every_item(drawn: tuple[str, str]) -> None:
    page, text = drawn
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    links = re.findall(r'href="#([^"]+)"', page)
    assert set(links) <= set(ids)
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert list(rows[0]) == ["guideline", "item", "asks_for", "state", "where"]
    assert len(rows) == sum(len(g.items) for g in load())
    for row in rows:
        assert row["state"] in ("answered", "author", "not applicable", "missing")
        assert all(a in ids for a in re.findall(r"report\.html#(\S+?)(?:;|$)", row["where"]))
        assert row["where"]
    shown = page[page.index('<section id="guidelines"') : page.index('<section id="provenance"')]
    assert shown.count('<th scope="row">') == len(rows)
    for guideline in load():
        here = [r for r in rows if r["guideline"].startswith(f"{guideline.name} (")]
        n = sum(r["state"] == "answered" for r in here)
        assert f"Of {len(here)} items, {n} are answered here" in shown


def test_a_guideline_that_does_not_apply_has_a_sentence_and_no_table() -> None:
    plain = fixtures.inputs("survival_only")
    section = next(s for s in sections(plain) if s.anchor == "guidelines")
    told = str(section.blocks)
    assert (
        "No treatment of the config is observational" in told or "no treatment of the config is observational" in told
    )
    assert "Items of TARGET" not in told
    assert "Items of TRIPOD+AI" in told
    rows = table(answers(plain, {})).splitlines()
    assert all("\tnot applicable\t" in r for r in rows if r.startswith("TARGET"))
