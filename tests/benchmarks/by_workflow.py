"""A config that a benchmark wrote, run by the workflow as a user runs it, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from stratiome.config import Config
from stratiome.features.block import read_features
from stratiome.prognosis import read
from stratiome.prognosis.models import Inputs, Omic
from stratiome.prognosis.read import read_roles

ROOT = Path(__file__).resolve().parents[2]


def run_workflow(config: dict, folder: Path, *targets: str) -> Path:
    """Make tables of the workflow; what is there and still right is not made again.

    Parameters
    ----------
    config
        The config; its `results` is set here.
    folder
        Where the config, Snakemake's state and the results are kept.
    targets
        Files to make, relative to the results.

    Returns
    -------
    pathlib.Path
        The folder of the results.

    Raises
    ------
    subprocess.CalledProcessError
        If the workflow stopped; its message is on the screen.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    given = config | {"results": str(folder / "results")}
    Config.model_validate(given)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--workflow-profile", str(ROOT / "profiles" / "default"), "--cores", "1", "--quiet", "all"]
    command += ["--configfile", str(path), "--", *(f"{folder}/results/{t}" for t in targets)]
    paths = [str(ROOT / "workflow" / "scripts"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in paths if p)}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return folder / "results"


def read_inputs(results: Path, config: Config, resample: str) -> tuple[Inputs, np.ndarray, tuple[str, ...]]:
    """What the rule fit_prognosis fits in one resample.

    Parameters
    ----------
    results
        The folder of the results.
    config
        The config that made them; its covariates are those of the inputs.
    resample
        Name of the resample.

    Returns
    -------
    tuple
        The inputs, the roles of their patients, shape `(n_patients,)`, and the identifiers. Follow-up is 0 where there
        is no outcome.
    """
    here, cohort = results / "resamples" / resample, results / "cohort"
    measured = read_features(str(here / "features.h5mu"))
    roles = read_roles(str(cohort / "resamples.parquet"), resample, measured.patient_ids)
    omics = tuple(Omic(b.name, b.values, b.features) for b in measured.blocks)
    paths = (str(cohort / "clinical.parquet"), str(cohort / "outcome.parquet"), str(here / "latent.h5ad"))
    made = read.read_inputs(measured.patient_ids, omics, roles, *paths, config.data, config.covariates)
    return made.inputs, roles, measured.patient_ids
