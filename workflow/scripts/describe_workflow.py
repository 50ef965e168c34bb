"""Rule describe_workflow: rules of the run, how they hang together, and the jobs of each."""

from typing import Any

from stratiome.cohort.manifest import write_json


def main(*, workflow_file: str, rules: list[dict[str, Any]]) -> None:
    """Write it down."""
    write_json({"rules": rules}, workflow_file)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
