"""Another workflow that uses this one as a module, as its authors would write it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from conftest import ROOT, run_snakemake

MODULE = """
configfile: "config.yaml"


module stratiome:
    snakefile:
        "{snakefile}"
    config:
        config["stratiome"]
{more}

use rule * from stratiome as stratiome_*


onstart:
    stratiome.onstart()


rule weigh_metrics:
    default_target: True
    input:
        rules.stratiome_all.input,
        report="{results}/report.html",
        metrics="{results}/evaluation/prognosis_metrics.parquet",
    output:
        "weight.txt",
    shell:
        "wc -c < {{input.metrics}} > {{output}}"
"""


def write_foreign(folder: Path, config: dict, more: str = "", text: str = MODULE, **beside: object) -> None:
    """Write the workflow and its config, which holds that of the module as a part.

    Parameters
    ----------
    folder
        Where to.
    config
        Config of the cohort.
    more
        Further lines of the `module` statement.
    text
        The Snakefile, with `{snakefile}`, `{results}` and `{more}`.
    beside
        Further keys of the config of the other workflow.
    """
    folder.mkdir(parents=True, exist_ok=True)
    filled = text.format(snakefile=ROOT / "Snakefile", results=config["results"], more=more)
    (folder / "Snakefile").write_text(filled)
    (folder / "config.yaml").write_text(yaml.safe_dump(beside | {"stratiome": config}, sort_keys=False))


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the other workflow in its folder."""
    return run_snakemake("--snakefile", str(folder / "Snakefile"), "--directory", str(folder), *arguments)
