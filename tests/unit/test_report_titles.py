"""Numbers and titles of tables and figures."""

import re

import pytest

import report_fixtures as fixtures
from stratiome.report.blocks import Explorer, Figure, Fold, Heading, Panels, Section, Table, Text
from stratiome.report.page import sections
from stratiome.report.template import css_string
from stratiome.report.titles import beneath, with_numbers


def table(caption: str = "Age.") -> Table:
    return Table(caption, ["Patients"], [["1"]])


def test_tables_and_figures_are_numbered_each_in_reading_order():
    inside = Fold("More", [table(), Text("between"), Fold("Even more", [Panels("c", [], "")])])
    first = Section("a", "A", "", [table(), Figure("", "a", "", 820), inside])
    second = Section("b", "B", "", [Explorer("d", "d", [], [], ""), Text("a word"), table()])
    one, two = with_numbers([first, second])
    fold = one.blocks[2]
    assert [one.blocks[0].number, fold.blocks[0].number, two.blocks[2].number] == [1, 2, 3]
    assert [one.blocks[1].number, fold.blocks[2].blocks[0].number, two.blocks[0].number] == [1, 2, 3]
    assert first.blocks[0].number == 0
    assert two.blocks[1] == Text("a word")


def test_what_stands_beneath_a_heading_is_named_by_it():
    blocks = [Heading("Who", "who"), Fold("More", [table("ER status.")]), Figure("", "What a rule gains", "", 820)]
    head, below, fold, figure = beneath(Heading("Tamoxifen", "t"), blocks)
    assert (head.level, below.level) == (3, 4)
    assert fold.blocks[0].caption == "Tamoxifen: ER status."
    assert figure.title == "Tamoxifen: what a rule gains"


@pytest.mark.parametrize("case", fixtures.CASES)
def test_every_number_stands_once_in_the_page(case):
    page = fixtures.render(fixtures.inputs(case))
    for kind, name in (("table", "Table"), ("figure", "Figure")):
        places = [int(n) for n in re.findall(rf'id="{kind}-(\d+)"', page)]
        assert places == list(range(1, len(places) + 1))
        assert places == [int(n) for n in re.findall(rf'<b class="number">{name} (\d+)\.</b>', page)]


def test_no_two_tables_or_figures_have_the_same_title():
    def titles(blocks):
        for b in blocks:
            if isinstance(b, Fold):
                yield from titles(b.blocks)
            elif isinstance(b, Table):
                yield b.caption
            elif isinstance(b, Figure | Panels | Explorer):
                yield b.title

    found = [t for s in sections(fixtures.inputs("demo")) for t in titles(s.blocks)]
    assert sorted({t for t in found if found.count(t) > 1}) == []


def test_a_title_cannot_end_the_style_sheet():
    assert css_string('A "b" </style>') == '"A\\20 \\22 b\\22 \\20 \\3c \\2f style\\3e "'
