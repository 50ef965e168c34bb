"""Two cohorts × two endpoints in one run: one stops and the others go on; each is what it would be alone."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from conftest import ROOT, as_read, snakemake, write_config, write_tiny
from small import tables
from stratiome.check_report import main as check_report

pytestmark = [pytest.mark.e2e, pytest.mark.long]

CHEAP = {
    "latent": {"members": 1, "epochs": 2, "baselines": ["pca"]},
    "prognosis": {"instability": 2},
}


def _cohort(folder: Path, name: str, seed: int) -> str:
    config = write_tiny(folder / name, seed=seed) | {"cohort": name}
    del config["results"], config["endpoint"]
    table = folder / name / "clinical.tsv"
    clinical = pl.read_csv(table, separator="\t")
    clinical = clinical.with_columns(rfs_months=pl.col("os_months") / 2, rfs_event=1 - pl.col("os_event"))
    clinical.write_csv(table, separator="\t")
    return str(write_config(config, folder / f"{name}.yaml"))


def _rows(path: Path) -> dict[tuple[str, str], dict]:
    return {(r["cohort"], r["endpoint"]): r for r in csv.DictReader(path.open(), delimiter="\t")}


def _spoil(matrix: Path) -> str:
    """Put a word into a matrix, which the first job finds; returns what was there."""
    text = matrix.read_text()
    lines = text.splitlines()
    cells = lines[3].split("\t")
    lines[3] = "\t".join([cells[0], "spilled", *cells[2:]])
    matrix.write_text("\n".join(lines) + "\n")
    return text


def test_two_cohorts_two_endpoints(tmp_path):
    sweep = {
        "sweep": "both",
        "shared": CHEAP,
        "cohorts": {name: _cohort(tmp_path, name, i) for i, name in enumerate(("first", "second"))},
        "endpoints": {
            "os": {"time": "os_months", "event": "os_event", "horizons": [24]},
            "rfs": {"time": "rfs_months", "event": "rfs_event", "horizons": [12], "event_name": "relapse"},
        },
    }
    path = write_config(sweep, tmp_path / "sweep.yaml")
    run = tmp_path / "run"
    results = run / "results/both"
    matrix = tmp_path / "second/protein.tsv"
    whole = _spoil(matrix)
    done = snakemake("--cores", "2", "--keep-going", "--configfile", str(path), cwd=run)
    assert done.returncode == 1
    assert "second__os__ingest_cohort" in done.stderr
    assert "summary" in done.stderr
    assert (results / "first/rfs/report.html").exists()
    assert not (results / "summary.html").exists()

    done = snakemake("--cores", "1", "summary", "--configfile", str(path), cwd=run)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = _rows(results / "summary.tsv")
    assert {key: row["state"] for key, row in rows.items()} == {
        ("first", "os"): "finished",
        ("first", "rfs"): "finished",
        ("second", "os"): "stopped in ingest_cohort",
        ("second", "rfs"): "stopped in ingest_cohort",
    }
    assert "second · rfs (stopped in ingest_cohort)" in as_read((results / "summary.html").read_text())

    matrix.write_text(whole)
    done = snakemake("--cores", "2", "--configfile", str(path), cwd=run)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {row["state"] for row in _rows(results / "summary.tsv").values()} == {"finished"}
    assert check_report([str(results)]) == 0
    again = snakemake("--dry-run", "--quiet", "--configfile", str(path), cwd=run)
    assert "Nothing to be done" in again.stdout + again.stderr

    alone = _alone(tmp_path, path, "second", "rfs")
    reference, found = tables(alone), tables(results / "second/rfs")
    assert set(found) == set(reference)
    assert [name for name in sorted(found) if found[name] != reference[name]] == []


def _alone(folder: Path, sweep: Path, cohort: str, endpoint: str) -> Path:
    """Run the config of one combination by itself, in a working folder of its own."""
    command = [sys.executable, "-m", "stratiome.sweep", str(sweep), cohort, endpoint]
    env = os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts")}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
    config = write_config(yaml.safe_load(printed), folder / "alone.yaml")
    done = snakemake("--cores", "2", "--configfile", str(config), cwd=folder / "alone")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "alone" / yaml.safe_load(printed)["results"]
