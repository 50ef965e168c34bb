"""Rule write_manifest: what went in, with which software, config and seed."""

import json
from pathlib import Path

from stratiome.cohort.manifest import manifest, write_json
from stratiome.config import Config


def main(*, inputs_file: str, manifest_file: str, analysis: Config) -> None:
    """Join inputs and config; a rule of its own, so that a new title reads nothing anew."""
    write_json(manifest(analysis, json.loads(Path(inputs_file).read_text(encoding="utf-8"))), manifest_file)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
