"""Every number beneath a figure is compared with its table, and one that was changed is caught."""

from __future__ import annotations

import csv
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import report_fixtures as fixtures
from stratiome.report import figure_files
from stratiome.report.check import Artefacts, Fault, compare
from stratiome.report.check_figures import Compared, compare_rows, same
from stratiome.report.page import draw

LEAST = 10
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tables() -> Artefacts:
    read = dict(fixtures.inputs("demo").tables)
    found = Artefacts(Path(), {name: [] for name in read})
    found._read = read
    return found


@pytest.fixture(scope="module", params=[None, LEAST], ids=["figures", "figures_public"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int | None]:
    least = request.param
    folder = tmp_path_factory.mktemp("figures")
    for figure in draw(replace(fixtures.inputs("demo"), public=least is not None)).figures:
        (folder / f"{figure.name}.csv").write_text(figure_files.data(figure.rows, least), encoding="utf-8")
    return folder, least


def test_all_numbers_agree(made: tuple[Path, int | None], tables: Artefacts) -> None:
    folder, least = made
    found = compare_rows(folder, tables, least)
    assert found.faults == []
    assert found.values > 2000
    assert (found.merged > 0) == (found.withheld > 0) == (least is not None)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("subgroups-survival", "survival"),
        ("subgroups-survival", "at_risk"),
        ("subgroups-survival", "time_months"),
        ("cohort-omics", "n"),
        ("prognosis-decisions", "estimate"),
    ],
)
def test_one_changed_value_is_caught(
    made: tuple[Path, int | None], tables: Artefacts, tmp_path: Path, name: str, column: str
) -> None:
    folder, least = made
    rows = list(csv.reader((folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
    at = rows[0].index(column)
    line = next(i for i, row in enumerate(rows) if i and row[at].replace(".", "").isdigit() and float(row[at]) > 0)
    step = LEAST if column in ("n", "at_risk") else 0.01
    rows[line][at] = f"{float(rows[line][at]) + step:.3g}"
    with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    faults = compare_rows(tmp_path, tables, least).faults
    assert faults
    assert any(f"{name}.csv, line {line + 1}, column {column}" in str(fault) for fault in faults)


@pytest.mark.parametrize(
    ("value", "true", "column", "agrees"),
    [
        ("150", 147, "n", True),
        ("147", 147, "n", False),
        ("140", 147, "n", False),
        ("<10", 9, "n", True),
        ("<10", 10, "n", False),
        (">40", 45, "events", True),
        (">40", 30, "events", False),
        ("150", 151.2, "effective_n", True),
        ("0.123", 0.12345, "estimate", True),
        ("0.124", 0.12345, "estimate", False),
        ("true", True, "held_out", True),
        ("", None, "lower", True),
        ("0.1", None, "lower", False),
    ],
)
def test_a_number_to_share_is_compared_as_far_as_it_is_told(
    value: str, true: object, column: str, agrees: bool
) -> None:
    assert same(value, true, column, LEAST) is agrees


def test_internal_numbers_are_compared_to_the_last_digit() -> None:
    assert same("0.12345", 0.12345, "estimate", None)
    assert not same("0.1235", 0.12345, "estimate", None)
    assert not same("150", 147, "n", None)


def test_rows_of_no_table_are_counted(tmp_path: Path, tables: Artefacts) -> None:
    (tmp_path / "quality-mrna.csv").write_text("table,table_row,missing\n,,0.5\n")
    assert compare_rows(tmp_path, tables) == Compared(elsewhere=1)


# --- what is said ----------------------------------------------------------------------------------------------------


def test_a_fault_says_what_stands_where_and_what_the_table_says() -> None:
    fault = Fault("0.71", "t[2].x", "C of the model 0.71", "the table says 0.704")
    assert str(fault) == "`0.71` stands in `C of the model 0.71`, but the table says 0.704 (table t, row 2, column x)"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            "<p>SIM: SIM00001</p><p>10 and 20</p>",
            "`00001` stands in `SIM: SIM00001`, but the report was written without",
        ),
        ("<p>20</p>", "`20` stands in `20`, but the report was written with `10` before it, which is gone"),
        ("<p>10 and 30</p>", "`30` stands in `10 and 30`, but the report was written with `20` there"),
        ("<p>10</p>", "`(nothing)` stands in `the end of the page`"),
    ],
)
def test_a_number_of_prose_that_differs_is_told_in_words(page: str, said: str) -> None:
    faults = compare(page, ["10", "20"], lambda *at: 0)[2]
    assert len(faults) == 1
    assert str(faults[0]).startswith(said)


def test_both_checks_run_whatever_the_first_finds(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$2" >> {tmp_path}/ran\n[ "$2" != "$FAILS" ]\n')
    python.chmod(0o755)
    for fails, code in (("stratiome.check_report", 2), ("stratiome.check_disclosure", 2), ("none", 0)):
        (tmp_path / "ran").write_text("")
        command = ["make", "-o", f"{tmp_path}/.installed", "check", f"VENV={tmp_path}", "RESULTS=x"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "FAILS": fails}, capture_output=True, check=False)
        assert done.returncode == code, done.stderr
        assert (tmp_path / "ran").read_text().split() == ["stratiome.check_report", "stratiome.check_disclosure"]
