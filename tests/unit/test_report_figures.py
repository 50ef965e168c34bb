"""Figures for papers: every figure of the page as SVG, PDF, rows and caption."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

import report_fixtures as fixtures
from stratiome.report import charts, figure_files, paper, svg
from stratiome.report import figures as drawn
from stratiome.report.blocks import Explorer, Figure, Fold, Panels
from stratiome.report.page import draw, sections
from stratiome.report.template import TEMPLATES
from stratiome.report.traced import bare
from text_boxes import outside, overlapping

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


LONG = "Clinical + latent forest less clinical forest, at a site that was never seen by any of them"


def _alone(drawing: str) -> str:
    """A drawing of the page that stands alone."""
    return bare(drawing).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def test_no_text_stands_on_another_or_is_cut_off(figures: list[paper.Print]) -> None:
    for figure in figures:
        text = paper.drawing(figure)
        assert overlapping(text) == [], figure.name
        assert outside(text) == [], figure.name


def test_texts_on_each_other_are_found() -> None:
    with svg.canvas(200, 100) as figure:
        figure.text(0.1, 0.5, "the name of a line")
        figure.text(0.4, 0.5, "0.5")
        figure.text(0.8, 0.8, "beyond the edge")
        text = _alone(svg.finish(figure, "a", ""))
    assert overlapping(text) == [("the name of a line", "0.5")]
    assert outside(text) == ["beyond the edge"]


@pytest.mark.parametrize("n", [2, 14, 30])
def test_long_names_and_numbers_of_a_forest_have_room(n: int) -> None:
    said = "−1,234.5678 (−12,345.6789 to 12,345.6789)"
    lines = [charts.Line(LONG, heading=True)]
    lines += [charts.Line(f"{LONG[: 90 - 3 * i]} {i}", 0.1 * i, 0.0, 0.2 * i, said) for i in range(n)]
    text = _alone(charts.forest(lines, "a", "", "Difference", ("much worse with omics", "much better with omics")))
    assert overlapping(text) == outside(text) == []


def test_short_names_of_a_forest_stand_where_they_stood() -> None:
    found = charts._columns([charts.Line("Clinical", 0.1, 0.0, 0.2, "0.1 (0.0 to 0.2)")])
    assert (found.names, found.numbers, found.line) == (charts.NAMES, charts.NUMBERS, 28)


def test_long_names_beside_axes_have_room() -> None:
    name = LONG[:58]
    rows = [{"covariate": f"{name} {i}", "crude": 0.1 * i, "weighted": 0.0} for i in range(4)]
    assert outside(_alone(charts.love(rows, "a", ""))) == []
    steps = [
        {"time_months": t, "survival": s, "lower": s, "upper": s, "at_risk": 1000 * t + 40}
        for t, s in ((0, 1.0), (9, 0.5))
    ]
    groups = [(name, 1, steps), ("short", 3, steps)]
    for text in (drawn.curves(groups, "a", "", 10), drawn.proportions(groups, "a", "", 10)):
        assert overlapping(_alone(text)) == outside(_alone(text)) == []


@pytest.mark.parametrize("n", [1, 4, 7])
def test_long_names_of_models_stay_within_the_sheet(n: int) -> None:
    models = [f"{LONG[:45]} {i}" for i in range(n)]
    rows = [{"model": m, "threshold": t, "estimate": 0.1 - t / 5} for m in models for t in (0.1, 0.4)]
    text = _alone(charts.decision(rows, {m: i + 1 for i, m in enumerate(models)}, "everybody", "a", ""))
    assert overlapping(text) == outside(text) == []
    folds = [{"model": m, "resample": f"cv-1-{i}", "uno_c": 0.6 + i / 100} for m in models for i in range(3)]
    names = {f"cv-1-{i}": f"{LONG[:50]} {i}" for i in range(3)}
    text = _alone(charts.by_resample(folds, {m: i + 1 for i, m in enumerate(models)}, "a", "", names, {}))
    assert overlapping(text) == outside(text) == []


def test_dashes_of_a_key_can_be_told_apart(demo: list[paper.Print]) -> None:
    for pattern in (d for d in svg.DASHES if not isinstance(d, str)):
        assert 1.5 * svg.LINE * sum(pattern[1]) <= svg.SWATCH
    text = paper.drawing(next(f for f in demo if f.name == "subgroups-survival"))
    keys = re.findall(
        r'd="M ([\d.]+) ([\d.]+) \s*(?:L|Q [\d.]+ [\d.]+) ([\d.]+) \2 *\s*"[^>]*stroke-dasharray: ([\d.,]+)', text
    )
    assert len(keys) == 2
    for start, _, end, dashes in keys:
        assert abs(float(end) - float(start)) >= 1.5 * sum(map(float, dashes.split(",")))
