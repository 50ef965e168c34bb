"""The page to share gives nothing away, and whatever is planted in it is found."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import report_fixtures as fixtures
from stratiome.check_disclosure import main
from stratiome.report import figure_files
from stratiome.report.check import written
from stratiome.report.disclosure import merged
from stratiome.report.disclosure_check import Leak, drops, findable, leaks
from stratiome.report.inputs import ReportInputs
from stratiome.report.page import draw, render

IDS = ("HOSP-0001", "HOSP-0002", "4711", "a1")
LEAST = 10


def _found(inputs: ReportInputs, page: str) -> list[Leak]:
    def cell(table: str, row: int, column: str) -> object:
        return inputs.tables[table].get_column(column)[row]

    return leaks(page, IDS, LEAST, cell, lambda name: inputs.tables[name])


@pytest.fixture(scope="module")
def demo() -> ReportInputs:
    return replace(fixtures.inputs("demo"), public=True)


@pytest.fixture(scope="module")
def page(demo: ReportInputs) -> str:
    return render(demo)


@pytest.mark.parametrize("case", fixtures.CASES)
def test_nothing_is_given_away(case: str) -> None:
    inputs = replace(fixtures.inputs(case), public=True)
    assert _found(inputs, render(inputs)) == []


def test_the_internal_page_has_steps_that_are_not_shared(demo: ReportInputs) -> None:
    found = _found(demo, render(replace(demo, public=False)))
    assert {leak.kind for leak in found} == {"curve", "exact count", "group"}


def test_the_page_to_share_draws_nothing_of_single_patients(page: str, demo: ReportInputs) -> None:
    assert 'class="explorer"' not in page
    assert 'class="explorer"' in render(replace(demo, public=False))
    assert "at a glance" not in page
    assert "Resolved config" not in page
    assert "version to share" in page


# --- planted ---------------------------------------------------------------------------------------------------------


def _before_end(page: str, text: str) -> str:
    return page.replace("</main>", f"{text}</main>")


def _number(text: str, origin: str) -> str:
    return f'<p><span class="n" title="{origin}">{text}</span></p>'


def _table(rows: list[tuple[str, ...]]) -> str:
    cells = "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>" for row in rows)
    return f"<table><caption>Planted</caption><tr><th></th><th>n</th></tr>{cells}</table>"


def _chart(series: str) -> str:
    return f'<script type="application/json" class="chart">{{"series": [{{"table": {series}}}]}}</script>'


def _exact(n: int) -> str:
    return f'<span class="n" title="subgroup_summary[0].n">{n}</span>'


def _lower_bounds(cell: str) -> str:
    head = "<tr><th>Model</th><th>Patients</th><th>n / events</th></tr>"
    return f"<table>{head}<tr><td>Clinical</td><td>Histology: mixed</td><td>{cell}</td></tr></table>"


IV = ("Stage: IVß", "&lt;10 (&lt;7 %)")

PLANTED: dict[str, tuple[str, Callable[[str], str]]] = {
    "identifier in the text": ("identifier", lambda p: _before_end(p, "<p>see HOSP-0001.</p>")),
    "identifier in other letters": ("identifier", lambda p: _before_end(p, "<p>hosp-0002</p>")),
    "identifier in an attribute": ("identifier", lambda p: _before_end(p, '<p id="HOSP-0002">x</p>')),
    "identifier in a comment": ("identifier", lambda p: _before_end(p, "<!-- HOSP-0002 -->")),
    "identifier within a word": ("identifier", lambda p: _before_end(p, "<p>xHOSP-0002-01A</p>")),
    "identifier in entities": ("identifier", lambda p: _before_end(p, "<p>HOSP&#45;0001</p>")),
    "identifier in base64": (
        "identifier",
        lambda p: _before_end(p, f'<img src="data:x;base64,{base64.b64encode(b"id=HOSP-0001;").decode()}">'),
    ),
    "identifier in a script": ("identifier", lambda p: _before_end(p, '<script>x = ["HOSP-0001"]</script>')),
    "identifier in an escaped script": ("identifier", lambda p: _before_end(p, r'<script>"\u0048OSP-0001"</script>')),
    "identifier in a link": ("identifier", lambda p: _before_end(p, '<a href="#HOSP%2D0001">x</a>')),
    "identifier in packed data": (
        "identifier",
        lambda p: _before_end(p, f'<script>"{base64.b64encode(gzip.compress(b"[HOSP-0001]" * 9)).decode()}"</script>'),
    ),
    "identifier in a chart": ("identifier", lambda p: p.replace('"name": "Subgroup 1"', '"name": "HOSP-0001"', 1)),
    "chart that cannot be read": ("script", lambda p: p.replace('"columns": {', '"columns": [', 1)),
    "count in a chart": (
        "count",
        lambda p: _before_end(p, _chart('"few", "columns": {"estimate": {"rows": [0], "values": [0.5]}}')),
    ),
    "numbers at risk in a chart": (
        "curve",
        lambda p: _before_end(p, _chart('"subgroup_curves", "columns": {"at_risk": {"rows": [0], "values": [90]}}')),
    ),
    "script": ("script", lambda p: _before_end(p, "<script>1</script>")),
    "handler": ("script", lambda p: _before_end(p, '<p onclick="x()">x</p>')),
    "count of few": ("count", lambda p: _before_end(p, _number("4", "subgroup_summary[3].n"))),
    "share of few": (
        "count",
        lambda p: _before_end(p, _number("1", "((100 * subgroup_summary[3].n) / subgroup_summary[0].n)")),
    ),
    "difference with few": (
        "count",
        lambda p: _before_end(p, _number("236", "(subgroup_summary[0].n - subgroup_summary[3].n)")),
    ),
    "estimate of few": ("count", lambda p: _before_end(p, _number("0.5", "few[0].estimate"))),
    "count in words": ("count", lambda p: _before_end(p, "<p>Left out: 3 patients.</p>")),
    "count in a sentence": ("count", lambda p: _before_end(p, "<p>of whom 7 other patients died</p>")),
    "total less the rest": (
        "subtraction",
        lambda p: _before_end(p, _table([("All", _exact(100)), ("a", _exact(60)), ("b", _exact(36)), ("c", "<10")])),
    ),
    "classes of a variable": (
        "subtraction",
        lambda p: _before_end(
            p, _table([("All patients", _exact(50)), ("Sex: f", _exact(45)), ("Sex: m", "<10"), ("Age: x", _exact(50))])
        ),
    ),
    "in less out": ("subtraction", lambda p: _before_end(p, _table([("step", _exact(600), "<10", _exact(597))]))),
    "exact arms beside a rounded total": (
        "exact count",
        lambda p: _before_end(p, "<table><tr><th></th><th>Untreated, n = 64</th><th>Treated, n = 88</th></tr></table>"),
    ),
    "exact number at risk": (
        "exact count",
        lambda p: _before_end(p, '<svg><text><tspan data-from="treatment_curves[0].at_risk">64</tspan></text></svg>'),
    ),
    "percentage of exact counts": (
        "exact count",
        lambda p: _before_end(p, _number("31", "((100 * subgroup_summary[0].n) / subgroup_summary[1].n)")),
    ),
    "percentages that only one number of patients fits": (
        "division",
        lambda p: _before_end(
            p, _table([("Stage: I", "45 (31 %)"), ("Stage: II", "58 (39 %)"), ("Stage: III", "42 (29 %)"), IV])
        ),
    ),
    "nobody of an arm": ("group", lambda p: _before_end(p, _table([("Stage: IVß", "0 %", "&lt;12 %")]))),
    "everybody of an arm": ("group", lambda p: _before_end(p, _table([("Stage: IVß", "100 %", "50 %")]))),
    "events of all": ("group", lambda p: _before_end(p, _lower_bounds("13 / 13"))),
    "events of nearly all": ("group", lambda p: _before_end(p, _lower_bounds("40 / 38"))),
    "events of none": ("group", lambda p: _before_end(p, _lower_bounds("40 / 0"))),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_is_found(demo: ReportInputs, page: str, case: str) -> None:
    kind, plant = PLANTED[case]
    few = pl.DataFrame({"estimate": [0.5], "n": [4]})
    found = _found(replace(demo, tables={**demo.tables, "few": few}), plant(page))
    assert kind in {leak.kind for leak in found}, found
    assert not any(i.lower() in str(leak).lower() for leak in found for i in IDS[:2])


def test_what_is_no_leak_is_none(demo: ReportInputs, page: str) -> None:
    for text in (
        "<p>Fewer than 5 patients, at least 6 events, below 3 patients, 1 to 9 patients, 12 patients.</p>",
        _number("250", "near((subgroup_summary[0].n + subgroup_summary[3].n), 10)"),
        _number("240", "near(subgroup_summary[0].n, 10)"),
        _table([("All", _exact(100)), ("a", "≈60"), ("b", _exact(40)), ("c", "<10")]),
        _table([("All", _exact(100)), ("a", _exact(90)), ("b", "<10"), ("c", "<10")]),
        "<p>Subgroup 4711, a1</p>",
    ):
        assert _found(demo, _before_end(page, text)) == [], text


def test_a_curve_with_its_own_steps_is_found(demo: ReportInputs, page: str) -> None:
    inner = render(replace(demo, public=False))
    drawn = re.compile(r"<svg data-curves.*?</svg>", re.S)
    assert _found(demo, drawn.sub(lambda m: m[0], page)) == []
    first = drawn.search(inner)
    assert first is not None
    kinds = [leak.kind for leak in _found(demo, drawn.sub(lambda m: first[0], page, count=1))]
    assert kinds.count("curve") == 3
    assert set(kinds) == {"curve", "exact count"}  # numbers at risk


def test_a_chart_with_points_of_single_patients_is_found(demo: ReportInputs, page: str) -> None:
    charts = re.compile(r'<script type="application/json" class="chart">{"slug": "km-subgroups".*?</script>', re.S)
    inner = charts.search(render(replace(demo, public=False)))
    assert inner is not None
    assert {leak.kind for leak in _found(demo, charts.sub(lambda m: inner[0], page))} == {"curve", "exact count"}
    untold = re.sub(r', "at_risk": {"rows": \[[^]]*\], "values": \[[^]]*\]}', "", inner[0])
    assert untold != inner[0]
    found = _found(demo, charts.sub(lambda m: untold, page))
    assert found
    assert all("more than one point" in leak.where for leak in found)


# --- parts -----------------------------------------------------------------------------------------------------------


def test_steps_are_merged_until_they_stand_for_enough_events() -> None:
    events = [0, 2, 4, 6, 7, 13, 14, 14]
    rows = [
        {
            "time_months": float(i),
            "survival": 1 - e / 20,
            "lower": 0.9 - e / 30,
            "upper": 1.0,
            "events": e,
            "at_risk": i,
        }
        for i, e in enumerate(events)
    ]
    told = merged(rows, 6)
    assert [r["events"] for r in told] == [0, 0, 0, 6, 6, 13, 13, 13]
    assert [r["survival"] for r in told] == [1.0, 1.0, 1.0, 0.7, 0.7, 0.35, 0.35, 0.35]
    assert [r["at_risk"] for r in told] == list(range(8))
    assert merged([]) == []
    fine = [{**rows[0], "survival": 1 - 6 / 88, "lower": 0.8791, "upper": 0.9999}]
    assert [merged(fine)[0][name] for name in ("survival", "lower", "upper")] == [0.93, 0.88, 1.0]


def test_steps_of_a_drawn_curve_are_counted() -> None:
    assert drops("M 0 10 L 5 10 L 5 20 L 9 20 L 9 30.5") == 2
    assert drops("M 0 10 L 5 10.001 L 9 10") == 0


def test_identifiers_that_look_like_counts_are_not_looked_for() -> None:
    assert findable(["12", "4711", "1234567", "P01", "P001"]) == {"1234567", "P001"}


def test_the_command_reads_the_run(tmp_path: Path, demo: ReportInputs, page: str, capsys) -> None:
    pl.DataFrame({"patient_id": ["HOSP-0001", "12"]}).write_parquet(tmp_path / "clinical.parquet")
    (tmp_path / "cohort").mkdir()
    (tmp_path / "clinical.parquet").rename(tmp_path / "cohort/clinical.parquet")
    (tmp_path / "manifest.json").write_text(json.dumps({"config": {"audit": {"min_cell": LEAST}}}))
    files = {}
    for name, frame in demo.tables.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
        files[name] = [f"{name}.parquet"]
    (tmp_path / "report_numbers.json").write_text(json.dumps(written({}, files)))
    (tmp_path / "report_public.html").write_text(page)
    assert main([str(tmp_path)]) == 1  # no figures
    drawn = [f for f in draw(demo).figures if f.name in ("cohort-flow", "subgroups-survival")]
    figure_files.write(tmp_path / "figures_public", drawn, files, LEAST)
    assert main([str(tmp_path)]) == 0
    assert "9 files of figures_public: 0 findings; 1 identifiers look like counts" in capsys.readouterr().out
    (tmp_path / "figures_public/cohort-flow.txt").write_text("HOSP-0001")
    assert main([str(tmp_path)]) == 1
    assert "cohort-flow.txt: 1 identifiers of patients" in capsys.readouterr().err
    figure_files.write(tmp_path / "figures_public", drawn, files, LEAST)
    (tmp_path / "report_public.html").write_text(_before_end(page, "<p>HOSP-0001</p>"))
    assert main([str(tmp_path)]) == 1
    assert "1 identifiers of patients" in capsys.readouterr().err
    assert main([str(tmp_path / "nothing")]) == 1


def test_of_a_sweep_each_analysis_is_looked_at(tmp_path: Path, capsys) -> None:
    (tmp_path / "summary_numbers.json").write_text("{}")
    assert main([str(tmp_path)]) == 1  # nothing was looked at
    for name in ("a/os", "b/os", "b/late"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a/os", "b/os"):
        (tmp_path / name / "report_public.html").write_text("<html></html>")
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "a sweep; its 2 analyses that have a page are looked at, the summary is not" in said.out
    told = [name for name in ("a/os", "b/os", "b/late") if f"{tmp_path / name}: cannot be checked" in said.err]
    assert told == ["a/os", "b/os"]
