"""Two clean runs are the same to the byte; a run killed in every rule ends the same as well.

Left out are `run.html`, `run.tsv` and `ro-crate-metadata.json`: they tell when the jobs ran and how long they took.
Their numbers are tested with the rules, and nothing else may depend on them.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT, write_config
from small import TIMED, run, small_config, tables, write_small

pytestmark = [pytest.mark.e2e]

RULES = (
    "describe_workflow", "ingest_cohort", "write_manifest", "check_quality", "describe_cohort", "check_identity",
    "design_resamples", "build_features", "train_latent", "find_subgroups", "fit_prognosis", "fit_treatment",
    "evaluate_subgroups", "describe_subgroups", "evaluate_prognosis", "stress_models", "evaluate_robustness",
    "evaluate_treatment", "audit_fairness", "render_report", "describe_run", "write_crate",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_small(folder)
    return folder


@pytest.fixture(scope="module")
def first(data, tmp_path_factory) -> Path:
    return run(tmp_path_factory.mktemp("first"), data, cores=2, env={"PYTHONHASHSEED": "1"})


@pytest.fixture(scope="module")
def reference(first) -> dict[str, bytes]:
    return tables(first)


def _difference(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    return sorted(set(a) ^ set(b)) + [n for n in sorted(set(a) & set(b)) if a[n] != b[n]]


def test_the_report_is_there(reference):
    assert len(reference["report.html"]) > 10_000


def test_only_what_tells_times_is_left_out(first, reference):
    there = {str(p.relative_to(first)) for p in first.rglob("*") if p.suffix in (".html", ".tsv", ".json", ".parquet")}
    assert {name for name in there - set(reference) if not name.startswith("benchmarks/")} == TIMED


def test_hash_seed_and_cores_do_not_matter(data, reference, tmp_path):
    again = tables(run(tmp_path / "again", data, cores=1, env={"PYTHONHASHSEED": "2"}))
    assert _difference(reference, again) == []


def test_killed_in_every_rule(data, reference, tmp_path):
    folder = tmp_path / "killed"
    folder.mkdir()
    config = write_config(small_config(data), folder / "config.yaml")
    chance = random.Random(0)
    killed = [rule for rule in RULES if _run_and_kill(folder, config, rule, delay=chance.uniform(0, 1.5))]
    assert len(killed) >= len(RULES) - 2, killed  # a rule may finish before the kill reaches it
    assert _difference(reference, tables(run(folder, data))) == []
    assert not list(folder.rglob("*.partial*"))


def _run_and_kill(folder: Path, config: Path, rule: str, delay: float) -> bool:
    """Start the workflow, kill it and its jobs once `rule` or one after it is at work; False if it got through."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--workflow-profile", str(ROOT / "profiles/default"), "--cores", "2", "--configfile", str(config)]
    started = time.time()
    with open(folder / f"{rule}.out", "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, cwd=ROOT)
        while process.poll() is None:
            # A rule may be done already, since two jobs run side by side; then the next one that starts is killed.
            logs = [p for later in RULES[RULES.index(rule) :] for p in (folder / "results/logs").rglob(f"{later}.log")]
            if any(_touched(log) > started for log in logs):
                time.sleep(delay)
                break
            time.sleep(0.02)
        if process.poll() is not None:
            assert process.returncode == 0, (folder / f"{rule}.out").read_text()[-3000:]
            return False
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return True


def _touched(log: Path) -> float:
    """When a log was last written; 0 where snakemake has just removed it, as it does before a job starts again."""
    try:
        return log.stat().st_mtime
    except FileNotFoundError:
        return 0.0
