"""Rule write_manifest: what went in, with which software, config and seed."""

import json
from pathlib import Path

from stratiome.cohort.manifest import describe_input, manifest, write_json
from stratiome.cohort.read import read_as_text
from stratiome.config import Config
from stratiome.remote import by_address
from stratiome.subgroups.gmt import read_gmt


def main(
    *,
    inputs_file: str,
    manifest_file: str,
    analysis: Config,
    splits: list[str] | None = None,
    gene_sets: list[str] | None = None,
    software: dict[str, str] | None = None,
) -> None:
    """Join inputs and config; a rule of its own, so that a new title reads nothing anew."""
    inputs = json.loads(Path(inputs_file).read_text(encoding="utf-8"))
    inputs += [describe_input("splits", Path(path), *read_as_text(Path(path)).shape) for path in splits or []]
    for path in gene_sets or []:
        sets = read_gmt(Path(path))
        genes = {gene for own in sets for gene in own.genes}
        inputs.append(describe_input("gene sets", Path(path), len(sets), len(genes)))
    write_json(manifest(analysis, by_address(inputs, analysis.data.folder), software), manifest_file)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
