"""Every real cohort through reading, quality, checks and splits, and what the report says of the traps of its data."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
import yaml

from conftest import ROOT, as_read, snakemake, write_config
from stratiome.plan import plan
from stratiome.report.page import Settings, read_inputs, render

pytestmark = [pytest.mark.e2e, pytest.mark.real]

TABLE = ROOT / "config" / "cohorts" / "README.md"
TARGETS = {
    "flow": "cohort/patient_flow.parquet",
    "overlap_omics": "cohort/omic_overlap.parquet",
    "baseline": "cohort/baseline.parquet",
    "outcome_counts": "cohort/outcome_counts.parquet",
    "notes": "cohort/notes.parquet",
    "resample_summary": "cohort/resample_summary.parquet",
    "quality_summary": "quality/summary.parquet",
    "quality_bars": "quality/bars.parquet",
    "identity_summary": "quality/checks/identity_summary.parquet",
    "batches": "quality/checks/batches.parquet",
    "treatment_records": "quality/checks/treatments.parquet",
    "missingness": "quality/checks/missingness.parquet",
}
"""Input of the report -> the table of the workflow; the sections below need no other."""

SECTIONS = ("cohort", "quality", "checks")


def _real() -> dict[str, dict]:
    """Config of every cohort that is shipped with a folder beside the project."""
    configs = {p.stem: yaml.safe_load(p.read_text(encoding="utf-8")) for p in sorted(TABLE.parent.glob("*.yaml"))}
    return {name: c for name, c in configs.items() if c["data"].get("folder", "").startswith("../shared/data/")}


REAL = _real()


def _traps() -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Rows of the table in config/cohorts/README.md: cohort, trap, heading of the report, words that stand under it."""
    found = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            words = tuple(re.findall(r"“(.+?)”", cells[3]))
            found += [(name, cells[1], cells[2], words) for name in re.findall(r"`(\w+)`", cells[0])]
    return found


TRAPS = _traps()


class _Page(HTMLParser):
    """Text under each heading of each section, as `Section > Heading`, without drawings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: dict[str, list[str]] = {}
        self.section = self.heading = ""
        self.inside: str | None = None
        self.drawing = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.drawing += tag == "svg"
        if tag in ("h2", "h3"):
            self.inside, self.title = tag, ""
        elif tag not in ("code", "strong"):
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        self.drawing -= tag == "svg"
        if tag == self.inside:
            title = " ".join(self.title.split())
            self.section, self.heading = (title, "") if tag == "h2" else (self.section, title)
            self.inside = None
        elif tag not in ("code", "strong"):
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.title += data
        elif not self.drawing:
            where = f"{self.section} > {self.heading}" if self.heading else self.section
            self.parts.setdefault(where, []).append(data)

    def text(self, where: str) -> str:
        return " ".join("".join(self.parts.get(where, [])).split())


@pytest.fixture(scope="module")
def page(shared_data, tmp_path_factory):
    """Results and report of a cohort: the real workflow up to its splits, and the report's own page of these tables."""

    @cache
    def made(name: str) -> tuple[Path, str, _Page]:
        raw = {**REAL[name], "results": "results"}
        raw["data"] = raw["data"] | {"folder": str(shared_data / Path(raw["data"]["folder"]).name)}
        where = tmp_path_factory.mktemp(name)
        targets = [f"results/{t}" for t in (*TARGETS.values(), "manifest.json")]
        done = snakemake("--cores", "1", *targets, "--configfile", str(write_config(raw, where / "c.yaml")), cwd=where)
        assert done.returncode == 0, done.stderr[-4000:]
        results = where / "results"
        config, splits = plan(raw, name)
        fields = {f.name for f in dataclasses.fields(Settings)} - {"sites"}
        settings = Settings(**{f: getattr(config, f) for f in fields}, sites=splits.sites)
        tables = {key: str(results / path) for key, path in TARGETS.items()}
        quality = [str(results / f"quality/{omic}.parquet") for omic in config.omics]
        html = as_read(render(read_inputs(settings, str(results / "manifest.json"), tables, quality)))
        return results, html, _Page(html)

    return made


@pytest.mark.parametrize(("cohort", "trap", "where", "words"), TRAPS, ids=lambda v: v if isinstance(v, str) else "")
def test_the_report_says_every_trap_of_the_data(page, cohort, trap, where, words):
    assert words, f"{TABLE.name}: no words for {trap!r}"
    text = page(cohort)[2].text(where)
    assert text, f"{cohort}: the report has no {where!r}"
    for part in words:
        assert part in text, f"{cohort}, {trap}: {part!r} is not in {where!r}: {text[:3000]}"


@pytest.mark.parametrize("cohort", REAL)
def test_every_patient_is_accounted_for_and_none_is_on_both_sides(page, shared_data, cohort):
    results = page(cohort)[0]
    flow = pl.read_parquet(results / "cohort/patient_flow.parquet")
    n = flow.row(0, named=True)["n_in"]
    folder = shared_data / Path(REAL[cohort]["data"]["folder"]).name
    assert n == pl.scan_csv(folder / "clinical.tsv", separator="\t").select(pl.len()).collect().item()
    assert pl.read_parquet(results / "cohort/omic_overlap.parquet")["n"].sum() == n
    resamples = pl.read_parquet(results / "cohort/resamples.parquet")
    assert (resamples.group_by("resample").len()["len"] == n).all()
    assert resamples.select("resample", "patient_id").is_unique().all()
    held_out = resamples.filter(pl.col("resample").str.starts_with("cv-1-"), pl.col("role") == "test")
    usable = flow.filter(pl.col("step") == "outcome")["n_out"][-1]
    assert held_out["patient_id"].n_unique() == held_out.height >= usable


@pytest.mark.parametrize("cohort", REAL)
def test_the_page_names_nobody_and_tells_no_small_count(page, cohort):
    results, html, parsed = page(cohort)
    ids = pl.read_parquet(results / "cohort/resamples.parquet")["patient_id"].unique()
    words = set(re.findall(r"[A-Za-z0-9_-]+", " ".join("".join(p) for p in parsed.parts.values())))
    assert not [i for i in ids if not i.isdigit() and i in words]
    sizes = parsed.text("Cohort and patient flow > How patients were split")
    assert "Size of every split" in sizes
    assert len(html) < 5_000_000


def test_every_cohort_with_omics_has_a_config_and_rows_in_the_table(shared_data):
    with_omics = {p.parent.name for p in shared_data.glob("*/*.parquet")}
    columns = {f: (shared_data / f / "clinical.tsv").open().readline().split() for f in with_omics}
    survival = {f for f, names in columns.items() if any("event" in c for c in names)}
    answered = {f for f, names in columns.items() if "pcr" in names}
    assert survival | answered == {Path(c["data"]["folder"]).name for c in REAL.values()}
    assert {t[0] for t in TRAPS} == set(REAL)
