"""Rule summarise_sweep: the answers of several analyses -> one page, tables of them, and what checks the page later."""

import json
import os
from pathlib import Path

from stratiome import __version__
from stratiome.audit.across import across
from stratiome.cohort.manifest import write_json
from stratiome.report.check import written
from stratiome.report.sweep_page import TABLE, Analysis, SweepPage, as_tables, render
from stratiome.tables import Answers, SweepAnswers, read_table, write_table


def main(
    *,
    page: str,
    table: str,
    answers_table: str,
    collected: str,
    numbers: str,
    title: str,
    analyses: list[list[str]],
    seen: dict[str, str],
    found: list[str] | None = None,
    manifests: list[str] | None = None,
) -> None:
    """Collect, correct for the number of analyses, and draw."""
    home = Path(page).parent
    said = {Path(path).parent: json.loads(Path(path).read_text(encoding="utf-8"))["config"] for path in manifests or []}
    finished = {Path(path).parent for path in found or []}
    listed, parts = [], []
    for cohort, endpoint, name in analyses:
        folder = Path(name)
        done = folder in finished and folder in said
        least = int(said[folder]["audit"]["min_cell"]) if done else Analysis.min_cell
        stopped = seen.get(f"{cohort}__{endpoint}", "")
        listed.append(Analysis(cohort, endpoint, os.path.relpath(folder, home), done, stopped, least))
        if done:
            parts.append((cohort, endpoint, read_table(folder / "answers.parquet", Answers)))
    levels = sorted({f"{100 * config['evaluation']['level']:g} %" for config in said.values()})
    whole = across(parts)
    write_table(whole, collected, SweepAnswers)
    made = SweepPage(title, listed, whole, " and ".join(levels) or "95 %", __version__)
    text = render(made)
    wide, long = as_tables(made)
    for path, content in ((page, text), (table, wide), (answers_table, long)):
        Path(path).write_text(content, encoding="utf-8")
    write_json(written({Path(page).name: text}, {TABLE: [Path(collected).name]}), numbers)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
