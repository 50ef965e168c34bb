"""Rule write_crate: the run described for machines, with the workflow files as they ran."""

import json
import shutil
from pathlib import Path

from stratiome.cohort.manifest import write_json
from stratiome.report.cost import costs, span
from stratiome.report.crate import Run, describe
from stratiome.report.jobs import read_rules
from stratiome.report.template import TEMPLATES


def main(
    *,
    manifest: str,
    workflow_file: str,
    crate: str,
    sources: list[str],
    cohort: str,
    title: str | None,
    description: str,
    besides: str,
) -> None:
    """Copy the rules into the results, and describe the run and its files."""
    results = Path(crate).parent
    for target in sources:
        shutil.copyfile(TEMPLATES.parents[1] / Path(target).relative_to(results), target)
    said = json.loads(Path(manifest).read_text(encoding="utf-8"))
    run = Run(
        title=title or cohort,
        description=description,
        manifest=said,
        engine=str((said.get("created_with") or {}).get("snakemake", "")),
        span=span(costs(read_rules(workflow_file), results, besides=besides)),
        workflow=[Path(path).relative_to(results).as_posix() for path in sources],
    )
    write_json(describe(results, run), crate)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
