"""Rule describe_run: what every rule cost -> one page and one table."""

import json
from pathlib import Path

from stratiome.report.cost import as_table, costs
from stratiome.report.jobs import read_rules
from stratiome.report.run_page import RunPage, render


def main(
    *,
    manifest: str,
    workflow_file: str,
    page: str,
    table: str,
    cohort: str,
    title: str | None,
    started: str,
    besides: str,
) -> None:
    """Read what the jobs left behind; those of this rule and after it have not ended."""
    said = json.loads(Path(manifest).read_text(encoding="utf-8"))
    rules = read_rules(workflow_file)
    found = costs(rules, Path(page).parent, besides=besides)
    known = {(cost.stage, cost.rule) for cost in found}
    start = json.loads(Path(started).read_text(encoding="utf-8")) if Path(started).is_file() else {}
    made = RunPage(
        title=title or cohort,
        costs=found,
        unended=[one.name for one in rules if one.key not in known],
        manifest=said,
        engine=str((said.get("created_with") or {}).get("snakemake", "–")),
        start=start,
    )
    Path(page).write_text(render(made), encoding="utf-8")
    Path(table).write_text(as_table(found), encoding="utf-8")


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
