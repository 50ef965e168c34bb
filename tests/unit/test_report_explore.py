"""Charts: their data come from tables, are told no more than pictures tell, and no other script can run."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import report_fixtures as fixtures
from stratiome.report import explore
from stratiome.report.check import compare, numbers, written
from stratiome.report.inputs import ReportInputs
from stratiome.report.page import render
from stratiome.report.template import TEMPLATES
from stratiome.report.traced import Ledger, cells

CHART = re.compile(r'<script type="application/json" class="chart">(.*?)</script>', re.S)


@pytest.fixture(scope="module")
def demo() -> ReportInputs:
    return fixtures.inputs("demo")


@pytest.fixture(scope="module")
def page(demo: ReportInputs) -> str:
    return render(demo)


@pytest.fixture(scope="module")
def shared(demo: ReportInputs) -> str:
    return render(replace(demo, public=True))


def _charts(page: str) -> dict[str, dict]:
    found = [json.loads(text) for text in CHART.findall(page)]
    return {chart["slug"]: chart for chart in found}


def _cell(inputs: ReportInputs):
    return lambda table, row, column: inputs.tables[table][column][row]


def test_charts_stand_beside_their_pictures(page: str, shared: str) -> None:
    slugs = set(_charts(page))
    assert {"km-subgroups", "map-umap", "cal-clinical-60"} <= slugs
    assert any(s.startswith("decision-") for s in slugs)
    assert slugs - set(_charts(shared)) == {"map-umap", "map-principal"}
    assert len(CHART.findall(page)) == len(slugs)  # each has a name of its own
    for figure in re.findall(r"<figure.*?</figure>", page, re.S):
        if explore.CHART in figure:
            assert "<svg" in figure


def test_a_curve_has_a_point_at_each_step_until_too_few_are_at_risk(demo: ReportInputs, page: str) -> None:
    rows = demo.tables["subgroup_curves"].rows(named=True)
    for series in _charts(page)["km-subgroups"]["series"]:
        group = int(series["name"].split()[-1])
        own = [r for r in rows if r["model"] == "vae" and r["subgroup"] == group]
        own = sorted((r for r in own if r["at_risk"] >= demo.settings.min_cell), key=lambda r: r["time_months"])
        steps = [round(r["survival"], explore.DECIMALS) for r in own]
        kept = [s for i, s in enumerate(steps) if i == 0 or s != steps[i - 1]]
        told = series["columns"]["survival"]["values"]
        assert list(dict.fromkeys(told)) == list(dict.fromkeys(kept))
        assert series["columns"]["time_months"]["values"][-1] == pytest.approx(own[-1]["time_months"], abs=1e-4)
        assert min(series["columns"]["at_risk"]["values"]) >= demo.settings.min_cell


def test_a_shared_chart_tells_no_step_of_single_patients(page: str, shared: str) -> None:
    inner, outer = _charts(page)["km-subgroups"], _charts(shared)["km-subgroups"]
    for a, b in zip(inner["series"], outer["series"], strict=True):
        assert "at_risk" not in b["columns"]
        assert len(b["columns"]["survival"]["values"]) < len(a["columns"]["survival"]["values"])
        assert a["columns"]["time_months"]["values"][-1] == b["columns"]["time_months"]["values"][-1]


def test_every_number_of_a_chart_is_compared(demo: ReportInputs, page: str) -> None:
    prose, cell = written({"x": page}, {})["prose"]["x"], _cell(demo)
    assert compare(page, prose, cell)[2] == []
    inside = [
        m for m in CHART.finditer(page) if "km-subgroups" in m[1] or "cal-clinical-60" in m[1] or "decision-60" in m[1]
    ]
    assert len(inside) >= 2
    for m in inside:
        rows = {i for r in re.finditer(r'"rows": \[[^]]*\]', m[1]) for i in range(r.start(), r.end())}
        digits = [m.start(1) + i for i, c in enumerate(m[1]) if c.isdigit() and i not in rows]
        for place in digits[:: max(1, len(digits) // 15)]:
            edited = page[:place] + str((int(page[place]) + 3) % 10) + page[place + 1 :]
            assert compare(edited, prose, cell)[2], page[place - 60 : place + 20]


def test_a_chart_that_cannot_be_read_is_a_fault(demo: ReportInputs, page: str) -> None:
    prose = written({"x": page}, {})["prose"]["x"]
    broken = page.replace('"columns": {"time_months"', '"columns": ["time_months"', 1)
    assert broken != page
    assert compare(broken, prose, _cell(demo))[2]
    with pytest.raises(ValueError, match="no chart"):
        explore.points('{"series": [{"columns": 3}]}')


def test_text_of_a_chart_cannot_end_its_element() -> None:
    ledger = Ledger()
    rows = [cells({"x": 0.25, "y": 1.0}, "t", i, ledger) for i in range(2)]
    name = "</script><script>alert(1)</script> & co"
    chart = explore.Chart("s", name, "x", "y", [explore.Series(name, 1, rows, "x", "y")])
    assert "<" not in chart.json
    assert json.loads(chart.json)["title"] == name
    assert explore.points(chart.json)[0] == [
        ("0.2500", "t[0].x"),
        ("0.2500", "t[1].x"),
        ("1.0000", "t[0].y"),
        ("1.0000", "t[1].y"),
    ]


def test_what_is_not_known_is_null() -> None:
    rows = [{"x": 1.0, "y": 0.5, "lower": None, "upper": None}]
    text = explore.Chart("s", "s", "x", "y", [explore.Series("a", 1, rows, "x", "y", "lower", "upper")]).json
    assert json.loads(text)["series"][0]["columns"]["lower"]["values"] == [None]
    assert all(origin.endswith(("x", "y")) for _, origin in explore.points(text)[0])


# --- scripts ---------------------------------------------------------------------------------------------------------


def test_only_scripts_whose_digest_the_page_names_can_run(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    allowed = re.search(r"script-src ([^;]*)", policy[1])
    assert allowed is not None
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert scripts == [explore.loader()]
    held = re.search(rf"{re.escape(explore.LIBRARY)}(.*?)</script>", page, re.S)
    assert held is not None
    unpacked = gzip.decompress(base64.b64decode(held[1])).decode()
    assert unpacked == explore.plotly()
    assert allowed[1].split() == [f"'{explore.digest(scripts[0])}'", f"'{explore.digest(unpacked)}'"]
    assert "unsafe" not in allowed[1]
    assert "default-src 'none'" in policy[1]


def test_a_page_without_charts_has_no_scripts(tmp_path: Path) -> None:
    page = f'<meta content="{explore.POLICY}"><body><p>1</p></body>'
    assert explore.attach(page) == page
    with pytest.raises(FileNotFoundError):
        explore.attach(f"<body>{explore.CHART}</script></body>", tmp_path)


def test_the_library_is_packed_the_same_each_time() -> None:
    assert explore.packed() == base64.b64encode(gzip.compress(explore.plotly().encode(), 9, mtime=0)).decode()
    assert (TEMPLATES / explore.LOADER).is_file()
    assert "</script" not in explore.loader()


def test_numbers_of_scripts_are_no_numbers_of_the_page(page: str) -> None:
    without = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    without = re.sub(rf"{re.escape(explore.LIBRARY)}.*?</script>", "", without, flags=re.S)
    assert numbers(without) == numbers(page)
