"""A killed ingest leaves nothing that a rerun would trust, and the rerun writes what an undisturbed run writes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from conftest import ROOT, snakemake, write_config, write_tiny

TARGET = "results/cohort/cohort.h5mu"


def _start(folder: Path, config: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--workflow-profile", str(ROOT / "profiles/default"), "--cores", "1", TARGET]
    command += ["--configfile", str(config)]
    with open(folder / "out", "w") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, cwd=ROOT)


def test_killed_while_values_are_written(tmp_path):
    n, features = 400, 6000
    raw = write_tiny(tmp_path / "data", n=n) | {"results": "results"}
    rng = np.random.default_rng(0)
    clinical = pl.read_csv(tmp_path / "data/clinical.tsv", separator="\t")
    values = pl.DataFrame(rng.normal(size=(n, features)), schema=[f"G{j}" for j in range(features)])
    ids = clinical["patient_id"].sample(fraction=1, shuffle=True, seed=1)  # so that rows pass through a temporary file
    values.insert_column(0, ids).write_parquet(tmp_path / "data/mrna.parquet", row_group_size=50)
    raw["data"]["omics"]["mrna"]["path"] = "mrna.parquet"
    folders = {name: tmp_path / name for name in ("whole", "killed")}
    for folder in folders.values():
        folder.mkdir()
    config = write_config(raw, tmp_path / "config.yaml")
    done = snakemake("--cores", "1", TARGET, "--configfile", str(config), cwd=folders["whole"])
    assert done.returncode == 0, done.stderr[-3000:]

    partial = folders["killed"] / "results/cohort/.cohort.partial.h5mu"
    process = _start(folders["killed"], config)
    while process.poll() is None and not (partial.exists() and partial.stat().st_size > 100_000):
        time.sleep(0.001)
    assert process.poll() is None, (folders["killed"] / "out").read_text()[-3000:]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert partial.exists()
    assert not (folders["killed"] / TARGET).exists()

    done = snakemake("--cores", "1", TARGET, "--configfile", str(config), cwd=folders["killed"])
    assert done.returncode == 0, done.stderr[-3000:]
    assert not partial.exists()
    for table in ("patient_flow.parquet", "clinical.parquet", "outcome.parquet", "inputs.json"):
        assert (folders["killed"] / "results/cohort" / table).read_bytes() == (
            folders["whole"] / "results/cohort" / table
        ).read_bytes()
    assert _stored(folders["killed"]).equals(_stored(folders["whole"]))


def _stored(folder: Path) -> pl.DataFrame:
    import mudata

    with mudata.set_options(pull_on_update=False):
        part = mudata.read_h5mu(folder / TARGET).mod["mrna"]
    return pl.DataFrame(np.asarray(part.X), schema=list(part.var_names)).insert_column(
        0, pl.Series("p", part.obs_names)
    )
