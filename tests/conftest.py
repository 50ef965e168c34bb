"""Shared by all tests: a tiny cohort as files, and a way to run the workflow as a user does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real cohorts; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real cohorts are not beside the project")
    return SHARED_DATA


def write_tiny(folder: Path, n: int = 60, seed: int = 0) -> dict:
    """Write a small cohort of files and return its config."""
    rng = np.random.default_rng(seed)
    ids = [f"P{i:03d}" for i in range(n)]
    folder.mkdir(parents=True, exist_ok=True)
    clinical = pl.DataFrame(
        {
            "patient_id": ids,
            "age": rng.normal(60, 10, n).round(1),
            "grade": rng.integers(1, 4, n),
            "hospital": rng.choice(["north", "south"], n),
            "drug": rng.integers(0, 2, n),
            "os_months": (rng.exponential(40, n) + 0.5).round(2),
            "os_event": (rng.random(n) < 0.6).astype(int),
        }
    )
    clinical.write_csv(folder / "clinical.tsv", separator="\t")
    for name, width in (("mrna", 12), ("protein", 6)):
        values = pl.DataFrame(rng.normal(size=(n, width)), schema=[f"{name}{j}" for j in range(width)], orient="row")
        values.insert_column(0, pl.Series("patient_id", ids)).write_csv(folder / f"{name}.tsv", separator="\t")
    return {
        "cohort": "tiny",
        "results": str(folder / "results"),
        "data": {
            "folder": str(folder),
            "clinical": "clinical.tsv",
            "omics": {
                "mrna": {"path": "mrna.tsv", "kind": "expression"},
                "protein": {"path": "protein.tsv", "kind": "protein"},
            },
        },
        "endpoint": {"time": "os_months", "event": "os_event", "horizons": [24]},
        "covariates": ["age", "grade"],
        "site": "hospital",
        "treatments": {"drug": {"column": "drug", "design": "randomised", "confounders": ["age", "grade"]}},
        "resamples": {"folds": 2},
        "latent": {"dims": 2, "members": 1, "epochs": 3, "hidden": 8},
        "subgroups": {"k": [1, 2], "subsamples": 4, "reference_draws": 19, "alpha": 0.05},
        "prognosis": {"min_events": 5, "inner_folds": 2, "deep_min_events": 5, "instability": 5},
        "evaluation": {"bootstraps": 50},
    }


@pytest.fixture
def tiny(tmp_path: Path) -> dict:
    """Config of a small cohort in a folder of its own."""
    return write_tiny(tmp_path / "data")


def write_config(config: dict, path: Path) -> Path:
    """Write a config as YAML."""
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def as_read(page: str) -> str:
    """HTML of a report without scripts, charts, and the elements that tell origins of numbers and abbreviations."""
    page = re.sub(r"<script.*?</script>\n?", "", page, flags=re.S)
    origin = r'<(?:span class="n" title|tspan data-from)="[^"]*">([^<]*)</(?:span|tspan)>'
    page = re.sub(r'<abbr title="[^"]*">([^<]*)</abbr>', r"\1", re.sub(origin, r"\1", page))
    return re.sub(r' data-curves="[^"]*"', "", page)


def snakemake(*arguments: str, cwd: Path, env: dict | None = None, timeout: int = 3600) -> subprocess.CompletedProcess:
    """Run the workflow in a folder of its own (so that tests do not share Snakemake's state)."""
    where = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(cwd)]
    profile = ["--workflow-profile", str(ROOT / "profiles" / "default")]
    return run_snakemake(*where, *profile, *arguments, env=env, timeout=timeout)


def run_snakemake(
    *arguments: str, cwd: Path = ROOT, env: dict | None = None, timeout: int = 3600
) -> subprocess.CompletedProcess:
    """Run Snakemake with these arguments alone."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, cwd=cwd, env=os.environ | (env or {})
    )


@pytest.fixture
def one_thread():
    """One thread in PyTorch, whose sums then do not depend on the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
