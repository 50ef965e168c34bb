"""Figures for papers: every figure of the page as SVG, PDF, rows and caption."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

import report_fixtures as fixtures
from stratiome.report import figure_files, paper, svg
from stratiome.report.blocks import Explorer, Figure, Fold, Panels
from stratiome.report.page import draw, sections
from stratiome.report.template import TEMPLATES
from stratiome.report.traced import bare

FILES = {"subgroup_curves": ["evaluation/subgroup_curves.parquet"]}


@pytest.fixture(scope="module", params=fixtures.CASES)
def figures(request: pytest.FixtureRequest) -> list[paper.Print]:
    return draw(fixtures.inputs(request.param)).figures


@pytest.fixture(scope="module")
def demo() -> list[paper.Print]:
    return draw(fixtures.inputs("demo")).figures


def _drawn(blocks: list[object]) -> int:
    inner = [_drawn(list(b.blocks)) for b in blocks if isinstance(b, Fold)]
    return sum(isinstance(b, Figure | Panels | Explorer) for b in blocks) + sum(inner)


@pytest.mark.parametrize("case", fixtures.CASES)
def test_no_figure_of_the_page_is_forgotten(case: str) -> None:
    inputs = fixtures.inputs(case)
    assert len(draw(inputs).figures) == sum(_drawn(section.blocks) for section in sections(inputs)) > 10


def test_every_figure_has_rows_a_name_and_a_caption(figures: list[paper.Print]) -> None:
    for figure in figures:
        assert re.fullmatch(r"[a-z]+-[a-z0-9-]+", figure.name)
        assert figure.title
        assert figure.caption
        assert figure.rows, figure.name
        assert figure.printable or figure.section == "Data quality"
        if figure.name != "subgroups-map" and figure.printable:
            assert all(figure_files.source(row)[0] for row in figure.rows), figure.name


def test_every_figure_has_all_its_files(demo: list[paper.Print], tmp_path: Path) -> None:
    figure_files.write(tmp_path, demo, FILES)
    kinds = {True: ("svg", "pdf", "csv", "txt"), False: ("svg", "csv", "txt")}
    written = {f"{figure.name}.{kind}" for figure in demo for kind in kinds[figure.printable]}
    assert {path.name for path in tmp_path.iterdir()} == written | {figure_files.CAPTIONS}
    captions = (tmp_path / figure_files.CAPTIONS).read_text(encoding="utf-8")
    for figure in demo:
        assert figure.caption in captions
        assert not figure.printable or (tmp_path / f"{figure.name}.pdf").read_bytes().startswith(b"%PDF")
        with (tmp_path / f"{figure.name}.csv").open(encoding="utf-8", newline="") as text:
            assert len(list(csv.DictReader(text))) == len(figure.rows)


def test_drawings_stand_alone(figures: list[paper.Print]) -> None:
    known = set(svg.COLOURS.values())
    for figure in figures:
        text = paper.drawing(figure)
        assert text == bare(text)
        assert "var(" not in text
        assert 'href="http' not in text
        assert set(re.findall(r"#[0-9a-f]{6}\b", text)) <= known, figure.name
        width, height = (float(re.search(rf'{side}="([\d.]+)mm"', text)[1]) for side in ("width", "height"))  # type: ignore[index]
        assert width in (paper.NARROW_MM, paper.WIDE_MM)
        assert height < 400
        sheet = paper._sheet(figure)
        sizes = {float(s) * sheet.scale for s in re.findall(r'font-size[:=]\s*"?([\d.]+)', text)}
        assert 6.0 <= min(sizes) <= max(sizes) <= 8.2, (figure.name, sizes)


def test_the_same_inputs_give_the_same_bytes(demo: list[paper.Print]) -> None:
    again = {figure.name: figure for figure in draw(fixtures.inputs("demo")).figures}
    for figure in demo:
        assert paper.drawing(figure) == paper.drawing(again[figure.name]), figure.name
    for figure in [f for f in demo if f.name in ("subgroups-map", "subgroups-survival", "travel-worse-data")]:
        assert paper.document(figure) == paper.document(figure) == paper.document(again[figure.name])


def test_rows_have_full_precision_and_say_where_they_stand(demo: list[paper.Print]) -> None:
    figure = next(f for f in demo if f.name == "subgroups-survival")
    table = fixtures.inputs("demo").tables["subgroup_curves"]
    for row in csv.DictReader(figure_files.data(figure.rows).splitlines()):
        true = table.row(int(row["table_row"]), named=True)
        assert row["table"] == "subgroup_curves"
        assert float(row["survival"]) == true["survival"]
        assert int(row["at_risk"]) == true["at_risk"]
    text = figure_files.caption(figure, FILES)
    for said in ("Kaplan–Meier", "events", "95 %", "Data: evaluation/subgroup_curves.parquet."):
        assert said in text


def test_the_map_has_no_identifier_and_no_exact_place(demo: list[paper.Print]) -> None:
    figure = next(f for f in demo if f.name == "subgroups-map")
    for row in csv.DictReader(figure_files.data(figure.rows).splitlines()):
        assert set(row) <= {"table", "table_row", "model", "projection", "x", "y", "subgroup", "planted"}
        assert re.fullmatch(r"-?\d+\.\d{1,2} -?\d+\.\d{1,2}", f"{row['x']} {row['y']}")


def test_what_else_lay_there_is_gone(tmp_path: Path) -> None:
    (tmp_path / "old.svg").write_text("")
    figure_files.write(tmp_path, [], {})
    assert [p.name for p in tmp_path.iterdir()] == [figure_files.CAPTIONS]


def test_two_figures_cannot_share_a_name() -> None:
    made = sections(fixtures.inputs("demo"))
    with pytest.raises(ValueError, match="cohort-flow"):
        paper.prints([made[0], replace(made[0], title="Again")], {}, {})


def test_colours_are_those_of_the_style_sheet() -> None:
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    assert svg.light(style)["ink"] == svg.INK
    assert len({svg.INK, svg.MUTED, svg.RULE, svg.PAPER, svg.ACCENT, svg.GREY, *svg.SERIES}) == 14


def test_letters_of_panels() -> None:
    assert [paper._letter(i) for i in (0, 25, 26, 52)] == ["a", "z", "aa", "ba"]
