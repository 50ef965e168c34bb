"""The figures to share give nothing away, and whatever is planted in them is found."""

from __future__ import annotations

import csv
import re
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import report_fixtures as fixtures
from stratiome.report import figure_files, paper
from stratiome.report.check import Artefacts
from stratiome.report.disclosure_figures import Shared, _printed, leaks, pdf_text
from stratiome.report.page import Report, draw

IDS = ("HOSP-0001", "HOSP-0002", "4711", "a1")
LEAST = 10
PRINTED = ("subgroups-survival", "treatment-subgroups-treatment")
"""Figures of which the PDF is made as well."""


@pytest.fixture(scope="module")
def page() -> Report:
    return draw(replace(fixtures.inputs("demo"), public=True))


@pytest.fixture(scope="module")
def shared(page: Report) -> Shared:
    found = fixtures.inputs("demo").tables
    tables = Artefacts(Path(), {})
    tables._read = dict(found)
    return Shared(page.page, IDS, LEAST, tables)


@pytest.fixture(scope="module")
def made(page: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures_public")
    figure_files.write(folder, [f for f in page.figures if f.name in PRINTED], {}, LEAST)
    for figure in page.figures:
        (folder / f"{figure.name}.svg").write_text(paper.drawing(figure))
        (folder / f"{figure.name}.csv").write_text(figure_files.data(figure.rows, LEAST))
        (folder / f"{figure.name}.txt").write_text(figure_files.caption(figure, {}))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "figures"))


def test_nothing_is_given_away(made: Path, shared: Shared) -> None:
    assert leaks(made, shared) == []
    assert not (made / "subgroups-map.svg").exists()


def test_figures_of_the_internal_page_are_not_to_be_shared(folder: Path, shared: Shared) -> None:
    for figure in draw(fixtures.inputs("demo")).figures:
        if figure.name in ("subgroups-survival", "subgroups-map"):
            (folder / f"{figure.name}.svg").write_text(paper.drawing(figure))
            (folder / f"{figure.name}.csv").write_text(figure_files.data(figure.rows))
    found = {(leak.kind, leak.where.partition(":")[0]) for leak in leaks(folder, shared)}
    assert found >= {
        ("drawing", "subgroups-survival.svg"),
        ("count", "subgroups-survival.csv"),
        ("precision", "subgroups-survival.csv"),
        ("curve", "subgroups-survival.csv"),
        ("drawing", "subgroups-map.svg"),
        ("row", "subgroups-map.csv"),
    }


def _changed(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        changed = re.sub(old, new, text, count=1)
        assert changed != text
        (folder / name).write_text(changed, encoding="utf-8")

    return change


def _in_pdf(folder: Path) -> None:
    path = folder / "subgroups-survival.pdf"
    raw = path.read_bytes()
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", raw, re.S):
        content = zlib.decompress(stream)
        if b"BT" in content:
            path.write_bytes(raw.replace(stream, zlib.compress(content + b"BT /F1 10 Tf (7 left early) Tj ET\n")))
            return


def _effective(folder: Path) -> None:
    """The effective sample size, which is the size where all weights are one."""
    path = folder / "treatment-changed-treatment.csv"
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    rows[1][rows[0].index("effective_n")] = "151"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


PLANTED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "identifier in a comment": ("identifier", _changed("cohort-flow.svg", "</svg>", "<!-- HOSP-0001 --></svg>")),
    "identifier in a caption": ("identifier", _changed("cohort-flow.txt", r"\n\n", "\n\nHOSP-0002 ")),
    "identifier in a row": ("identifier", _changed("cohort-flow.csv", "kept", "HOSP-0001")),
    "script": ("script", _changed("cohort-flow.svg", "</svg>", "<script>1</script></svg>")),
    "count in a drawing": ("drawing", _changed("subgroups-survival.svg", r">240</text>", ">3</text>")),
    "panel in a drawing": ("drawing", _changed("cohort-flow.svg", "</svg>", '<g class="panel"><text>3</text></g>')),
    "text above the panels": ("drawing", _changed("cohort-flow.svg", "<g ", "<text>3</text><g ")),
    "step of a curve": ("drawing", _changed("subgroups-survival.svg", r'd="M (\d)', r'd="M 9\1')),
    "words of a caption": ("caption", _changed("cohort-flow.txt", "Nobody", "Seven")),
    "few patients in a caption": ("count", _changed("cohort-flow.txt", "Nobody", "4 patients")),
    "small count": ("count", _changed("cohort-omics.csv", r",<10\n", ",4\n")),
    "count that is not rounded": ("count", _changed("cohort-omics.csv", r",350\n", ",347\n")),
    "effective sample size": ("count", _effective),
    "full precision": ("precision", _changed("subgroups-survival.csv", r",0\.97,", ",0.96912,")),
    "single patients": ("row", _changed("cohort-flow.csv", "scope", "patient_id")),
    "row of no table": ("row", _changed("cohort-flow.csv", "flow,0,", "people,0,")),
    "column of no table": ("row", _changed("cohort-flow.csv", "scope", "sex")),
    "another file": ("file", lambda folder: (folder / "table.xlsx").write_text("1") and None),
    "text of a PDF": ("drawing", _in_pdf),
}  # fmt: skip


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_is_found(what: str, folder: Path, shared: Shared) -> None:
    kind, plant = PLANTED[what]
    plant(folder)
    assert kind in {leak.kind for leak in leaks(folder, shared)}


def test_numbers_of_few_patients_are_found(folder: Path, shared: Shared) -> None:
    table = shared.tables.table("importance")
    few = table.with_columns(n=5)
    tables = Artefacts(Path(), {})
    tables._read = {**shared.tables._read, "importance": few}
    found = leaks(folder, replace(shared, tables=tables))
    assert {leak.kind for leak in found} == {"count"}
    assert all("prognosis-exchanged.csv" in leak.where for leak in found)


def test_letters_of_a_pdf_are_read(made: Path) -> None:
    text = pdf_text((made / "treatment-subgroups-treatment.pdf").read_bytes())
    assert "Effect in each subgroup" in text  # its title
    assert "Restricted mean survival, difference over 60 months, months" in text


# --- rows ------------------------------------------------------------------------------------------------------------


def test_rows_to_share_have_rounded_counts_and_three_digits() -> None:
    row = {"model": "vae", "n": 347, "events": 4, "n_treated": 0, "estimate": 12.3456, "method": "without 3 patients"}
    assert figure_files.shared(row, 10) == {
        "model": "vae",
        "n": "350",
        "events": "<10",
        "n_treated": "0",
        "estimate": "12.3",
        "method": "without <10 patients",
    }


def test_rows_of_few_patients_have_no_numbers() -> None:
    row = {"n": 7, "horizon_months": 60.0, "estimate": 0.5, "of_all": 0.1}
    assert figure_files.shared(row, 10) == {"n": "<10", "horizon_months": "60", "estimate": ""}


def test_a_ligature_of_a_pdf_is_no_other_text(tmp_path):
    picture = tmp_path / "a.svg"
    picture.write_text("<svg><text>By the effect of a first finding</text></svg>", encoding="utf-8")
    for same in ("By the effect of a first finding", "By the eect of a rst nding"):
        assert not list(_printed(tmp_path / "a.pdf", same))
    for other in ("By the effect of a second finding", "By the ect of a first finding"):
        assert list(_printed(tmp_path / "a.pdf", other))
