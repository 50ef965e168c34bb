"""The workflow as a module of another one, to the end, and a rule of that one that reads what it left."""

import json
import sys
from pathlib import Path

import pytest

from conftest import write_tiny

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rules"))
from foreign import call, write_foreign

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def test_another_workflow_runs_this_one_and_reads_its_results(tmp_path):
    write_foreign(tmp_path, write_tiny(tmp_path / "data") | {"results": "results/tiny"})
    done = call(tmp_path, "--cores", "2")
    assert done.returncode == 0, done.stderr[-4000:]
    results = tmp_path / "results/tiny"
    weight = (results / "evaluation/prognosis_metrics.parquet").stat().st_size
    assert int((tmp_path / "weight.txt").read_text()) == weight > 0
    assert json.loads((results / "manifest.json").read_text())["cohort"] == "tiny"
    # Its handler was called: it held the folder, and wrote down when the run began.
    assert json.loads((results / "benchmarks/started.json").read_text())["cores"] == 2
    jobs = [job for rule in json.loads((results / "workflow.json").read_text())["rules"] for job in rule["jobs"]]
    page = (results / "run.html").read_text()
    assert f"{len(jobs) - 2} of {len(jobs) - 2}" in page  # all but the last two, which come after the page
    assert not list(results.rglob("*stratiome_*"))  # logs and figures have the names they always have
    again = call(tmp_path, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    # A rule with an output of its own is no reason for Snakemake to make a removed input anew; `all` is.
    (results / "evaluation/subgroup_selection.parquet").unlink()
    again = call(tmp_path, "--dry-run", "--", "stratiome_all")
    assert "evaluate_subgroups" in again.stdout + again.stderr
