"""A table that is not there: the page is made all the same, says what it lacks, and nothing else changes."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

import render_report
import report_fixtures as fixtures
from conftest import as_read
from stratiome import tables
from stratiome.check_report import main as check_report
from stratiome.report import charts, figures, svg
from stratiome.report.blocks import Note, Section
from stratiome.report.guidelines import load, places
from stratiome.report.inputs import CONTRACTS, PROTECTING, ReportInputs
from stratiome.report.page import render, sections
from stratiome.report.section_guidelines import answers

UNREAD = ["subgroup_stability"]
"""Tables of which the page shows nothing."""


@pytest.fixture(scope="module")
def demo() -> ReportInputs:
    return fixtures.inputs("demo")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn in place of the drawing, which takes most of the time."""
    monkeypatch.setattr(svg, "finish", lambda figure, slug, description, *rows: description)
    for module in (charts, figures):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and "slug" in inspect.signature(function).parameters:
                monkeypatch.setattr(module, name, partial(_told, name))


def _told(*given: object, **named: object) -> str:
    return f"{given}{named}"


def gone(inputs: ReportInputs, *names: str) -> ReportInputs:
    """The same without the files of some tables."""
    empty = {n: tables.from_rows([], CONTRACTS[n]) for n in names}
    files = {n: [f"results/evaluation/{n}.parquet"] for n in names}
    return dataclasses.replace(inputs, tables={**inputs.tables, **empty}, absent=files)


def states(made: Sequence[Section], inputs: ReportInputs) -> dict[tuple[str, str], str]:
    found = answers(inputs, {"verdicts": ""} | places(made))
    return {(g.name, a.item.id): a.state for g, items in found for a in items}


def _own(section: Section) -> Section:
    """A section without the list of the abbreviations of the whole page."""
    anchors = [getattr(block, "anchor", "") for block in section.blocks]
    ends = anchors.index(ABBREVIATIONS) if ABBREVIATIONS in anchors else None
    return dataclasses.replace(section, blocks=section.blocks[:ends])


@pytest.mark.usefixtures("undrawn")
def test_each_table_can_be_absent_and_only_sections_that_say_so_change(demo: ReportInputs) -> None:
    whole = {s.anchor: s for s in sections(demo)}
    before = states(list(whole.values()), demo)
    needs = {(g.name, item.id): item.needs for g in load() for item in g.items}
    silent = []
    for name in CONTRACTS:
        less = gone(demo, name)
        made = {s.anchor: s for s in sections(less)}
        assert list(made) == list(whole), name
        concerned = [s.title for s in made.values() if name in s.without]
        assert f"`{name}`" in str(made["provenance"].blocks), name
        assert all(title in str(made["provenance"].blocks) for title in concerned), name
        silent += [] if concerned else [name]
        for anchor, section in made.items():
            if anchor in ("guidelines", "provenance"):
                continue
            if name in section.without:
                first = section.blocks[0]
                assert isinstance(first, Note), (name, anchor)
                assert f"`{name}` (evaluation/{name}.parquet)" in first.text
            else:
                assert _own(section) == _own(whole[anchor]), (name, anchor)
        for key, state in states(list(made.values()), less).items():
            lacks = name in needs[key] and before[key] != "not applicable"
            assert state == ("missing" if lacks else before[key]) or state == "missing", (name, key, state)
            assert not lacks or state == "missing", (name, key)
    assert silent == UNREAD


ABBREVIATIONS = "methods-abbreviations"
FILES = ("flow", "prognosis_metrics", "treatment_effects", "models")
"""Tables of which most hangs, one for each part of the page."""


@pytest.mark.parametrize("name", FILES)
def test_the_script_makes_the_page_without_a_file(name: str, tmp_path: Path) -> None:
    arguments = fixtures.write("demo", tmp_path)
    (tmp_path / f"{name}.parquet").unlink()
    render_report.main(**arguments)
    page = as_read((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert f"Made without <code>{name}</code>" in page[: page.index('<div class="verdicts">')]
    assert "What did we learn?" in page[page.index("What was not there") :]
    assert check_report([str(tmp_path)]) == 0
    with (tmp_path / "guidelines.tsv").open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text, delimiter="\t"))
    assert any(r["state"] == "missing" and f"`{name}` (its file was not there)" in r["where"] for r in rows)
    public = as_read((tmp_path / "report_public.html").read_text(encoding="utf-8"))
    assert ("This version was not made." in public) == (name in PROTECTING)


def test_files_beside_the_tables_can_be_absent(tmp_path: Path) -> None:
    arguments = fixtures.write("demo", tmp_path)
    whole = render(fixtures.inputs("demo"))
    omic = Path(arguments["quality"][0])
    for path in (omic, tmp_path / "quality_bars.parquet", tmp_path / "manifest.json"):
        path.unlink()
    render_report.main(**arguments)
    page = as_read((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "<code>quality</code>" in page
    assert "<code>quality_bars</code>" in page
    assert "<code>manifest</code>" in page
    said = re.search(r"Omics were [^.]*\.", page)
    assert said
    assert said[0] in as_read(whole)  # an omic without these files is named all the same


def test_nothing_is_shared_that_cannot_be_protected(demo: ReportInputs) -> None:
    for name in PROTECTING:
        less = dataclasses.replace(gone(demo, name), public=True)
        page = render(less)
        assert "This version was not made." in page
        assert page.count("<section") == 1
        assert 'class="n"' not in page
        assert "Do not share this page" in render(dataclasses.replace(less, public=False))
