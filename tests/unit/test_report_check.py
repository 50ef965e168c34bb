"""Numbers of the report know their cells, and a number that was changed afterwards is caught."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import report_fixtures as fixtures
from conftest import as_read
from stratiome.check_report import PAGES, main
from stratiome.report.check import Artefacts, agrees, compare, numbers, value_of, written
from stratiome.report.inputs import ReportInputs
from stratiome.report.page import render
from stratiome.report.traced import Ledger, annotate, bare, cells, shown
from stratiome.report.words import interval, number, p_value

ELEMENT = re.compile(r'(?:<span class="n" title|<tspan data-from)="([^"]*)">([^<]*)</(?:span|tspan)>')


@pytest.fixture(scope="module")
def demo() -> ReportInputs:
    return fixtures.inputs("demo")


@pytest.fixture(scope="module")
def page(demo: ReportInputs) -> str:
    return render(demo)


def _cell(inputs: ReportInputs) -> Any:
    return lambda table, row, column: inputs.tables[table].get_column(column)[row]


# --- numbers that know where they come from --------------------------------------------------------------------------


def _row(**values: Any) -> dict[str, Any]:
    return cells(values, "table", 7, Ledger())


def test_arithmetic_keeps_the_origin() -> None:
    row = _row(estimate=0.25, n=40)
    assert (100 * row["estimate"]).expression == "(100 * table[7].estimate)"
    assert round(row["estimate"] * row["n"]).expression == "round((table[7].estimate * table[7].n))"
    assert sum([row["n"], row["n"]]).expression == "(table[7].n + table[7].n)"
    assert (-row["estimate"], abs(row["estimate"]), row["n"] - 1, 1 / row["estimate"]) == (-0.25, 0.25, 39, 4.0)
    assert max(row["n"], 3).expression == "table[7].n"


@pytest.mark.parametrize("value", [0.25, 12, -3.5, 0.0])
def test_a_traced_number_is_the_number(value: float) -> None:
    own = _row(x=value)["x"]
    assert own == value
    assert hash(own) == hash(value)
    assert bare(f"{own:+.2f}") == f"{value:+.2f}"
    assert json.dumps(own) == json.dumps(value)


def test_names_and_times_are_no_numbers() -> None:
    row = _row(subgroup=2, horizon_months=60.0, method="x", held_out=True, estimate=None)
    assert all(type(v) in (int, float, str, bool, type(None)) for v in row.values())


def test_what_is_written_of_a_traced_number_is_what_is_written_of_any() -> None:
    plain = {"estimate": -0.0004, "lower": -0.2, "upper": 0.2, "p": 0.0001}
    row = cells(plain, "t", 0, Ledger())
    assert bare(interval(row)) == interval(plain)
    assert bare(number(row["estimate"], sign=True)) == number(plain["estimate"], sign=True)
    assert bare(p_value(row["p"])) == p_value(plain["p"]) == "p < 0.001"


def test_marks_become_elements_where_there_can_be_any() -> None:
    ledger = Ledger()
    five = shown("5", cells({"n": 5}, "t", 3, ledger)["n"])
    html = f'<p title="{five}">{five}</p><svg aria-label="{five}"><title>{five}</title><text>{five}</text></svg>'
    assert annotate(html, ledger) == (
        '<p title="5"><span class="n" title="t[3].n">5</span></p>'
        '<svg aria-label="5"><title>5</title><text><tspan data-from="t[3].n">5</tspan></text></svg>'
    )
    assert annotate(f"<p>{five[:-1]}</p>", ledger) == "<p>5</p>"  # a sentence that was cut


def test_a_ledger_finds_every_expression_again() -> None:
    ledger = Ledger()
    texts = [ledger.mark(str(i), f"t[{i}].n") for i in range(300)]
    found = ELEMENT.findall(annotate(" ".join(texts), ledger))
    assert found == [(f"t[{i}].n", str(i)) for i in range(300)]


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", fixtures.CASES)
def test_the_page_reads_the_same_with_and_without_origins(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    traced = as_read(render(fixtures.inputs(case)))
    monkeypatch.setattr("stratiome.report.page.Ledger", lambda: None)
    monkeypatch.setattr("stratiome.report.page.annotate", lambda page, ledger: page)
    assert traced == as_read(render(fixtures.inputs(case)))


@pytest.mark.parametrize("case", fixtures.CASES)
def test_every_number_agrees_with_its_table(case: str) -> None:
    inputs = fixtures.inputs(case)
    page = render(inputs)
    traced, prose, faults = compare(page, written({"x": page}, {})["prose"]["x"], _cell(inputs))
    assert faults == []
    assert traced > 1000
    assert traced > prose  # most of what is printed comes from tables


def test_no_mark_is_left_in_the_page(page: str) -> None:
    assert bare(page) == page


def _edited(page: str, place: int) -> str:
    """The page with the digit at a place turned into another one."""
    return page[:place] + str((int(page[place]) + 3) % 10) + page[place + 1 :]


def test_one_digit_that_was_changed_is_caught_wherever_it_stands(demo: ReportInputs, page: str) -> None:
    prose, cell = written({"x": page}, {})["prose"]["x"], _cell(demo)
    inside = [m.start(2) + i for m in ELEMENT.finditer(page) for i, c in enumerate(m[2]) if c.isdigit()]
    body = page.index("<body>")
    none = r"<script.*?</script>|&#\d+;"  # digits that are no numbers of the page
    scripts = [range(m.start(), m.end()) for m in re.finditer(none, page, flags=re.DOTALL)]
    texts = (m for m in re.finditer(r">([^<]*)<", page[body:]))
    anywhere = [body + m.start(1) + i for m in texts for i, c in enumerate(m[1]) if c.isascii() and c.isdigit()]
    anywhere = [place for place in anywhere if not any(place in script for script in scripts)]
    draw = random.Random(1)
    for place in draw.sample(inside, 30) + draw.sample(anywhere, 30):
        assert compare(_edited(page, place), prose, cell)[2], page[place - 60 : place + 20]


def test_a_number_that_was_taken_out_or_added_is_caught(demo: ReportInputs, page: str) -> None:
    prose, cell = written({"x": page}, {})["prose"]["x"], _cell(demo)
    assert compare(page.replace("</main>", "<p>All 12 agree.</p></main>"), prose, cell)[2]
    assert compare(ELEMENT.sub(r"\2", page, count=1), prose, cell)[2]


def test_a_number_with_the_origin_of_another_is_caught(demo: ReportInputs, page: str) -> None:
    first, second = list(dict.fromkeys(o for o, t in ELEMENT.findall(page) if t.startswith("0.")))[:2]
    swapped = page.replace(f'"{first}"', f'"{second}"')
    assert compare(swapped, written({"x": page}, {})["prose"]["x"], _cell(demo))[2]


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "same"),
    [
        ("0.65", 0.6549, True),
        ("0.65", 0.6551, False),
        ("−1.2", -1.2499, True),
        ("+0.10", 0.1, True),
        ("1,204", 1204, True),
        ("1,204", 1205, False),
        ("< 0.001", 0.0009, True),
        ("< 0.001", 0.002, False),
        ("< 0.003", 0.002, False),
        ("65%", 0.65, True),
        ("1e-05", 1e-5, True),
        ("many", 3, False),
    ],
)
def test_a_printed_number_is_compared_to_its_last_digit(text: str, value: float, same: bool) -> None:
    assert agrees(text, value) is same


def test_only_cells_and_arithmetic_are_computed() -> None:
    assert value_of("(100 * t[2].x)", lambda table, row, column: 0.5) == 50
    assert [value_of(f"near({n}, 10)", lambda *at: 0) for n in (0, 4, 12, 147)] == [0, 5, 10, 150]
    assert value_of("-(abs(t[0].x) - round(t[1].x, 1))", lambda table, row, column: 2.0) == 0
    for text in ("__import__('os')", "t.x", "t[0].x ** 2", "open('x')", "(lambda: 1)()", "'a'"):
        with pytest.raises(ValueError, match="no expression"):
            value_of(text, lambda table, row, column: 1.0)


def test_numbers_are_read_as_a_browser_shows_them() -> None:
    html = "<style>p { margin: 3px }</style><p>12 of <b>1,200</b> &lt; 5 <span class='n' title='t[0].n'>7</span></p>"
    assert [(n.text, n.origin) for n in numbers(html)] == [("12", ""), ("1,200", ""), ("5", ""), ("7", "t[0].n")]


# --- files -----------------------------------------------------------------------------------------------------------


def _run(folder: Path, text: str = "0.70") -> Path:
    (folder / "evaluation").mkdir(parents=True)
    for name, values in (("a", [0.1]), ("b", [0.2, 0.704])):
        pl.DataFrame({"x": values}).write_parquet(folder / f"evaluation/{name}.parquet")
    page = f'<body><p>In 2020: <span class="n" title="t[2].x">{text}</span></p></body>'
    for name in PAGES:
        (folder / name).write_text(page)
    kept = written(dict.fromkeys(PAGES, page), {"t": ["evaluation/a.parquet", "evaluation/b.parquet"]})
    (folder / "report_numbers.json").write_text(json.dumps(kept))
    return folder


def test_tables_of_several_files_are_read_one_beneath_the_other(tmp_path: Path) -> None:
    assert Artefacts(_run(tmp_path), {"t": ["evaluation/a.parquet", "evaluation/b.parquet"]})("t", 2, "x") == 0.704


def test_the_command_tells_what_it_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(_run(tmp_path / "right"))]) == 0
    assert "1 numbers from tables, 1 of prose; 0 do not agree" in capsys.readouterr().out
    assert main([str(_run(tmp_path / "wrong", "0.71"))]) == 1
    said = "`0.71` stands in `In 2020: 0.71`, but the table says 0.704 (table t, row 2, column x)"
    assert said in capsys.readouterr().err
    assert main([str(tmp_path / "nothing")]) == 1
    assert "cannot be checked" in capsys.readouterr().err


def test_a_table_that_was_changed_is_caught(tmp_path: Path) -> None:
    folder = _run(tmp_path)
    pl.DataFrame({"x": [0.2, 0.8]}).write_parquet(folder / "evaluation/b.parquet")
    assert main([str(folder)]) == 1
