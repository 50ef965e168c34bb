"""The whole workflow through a real SLURM of two nodes: the same tables as without, whatever the cluster does.

The small cohort (as in the end-to-end tests) is run to its end, or to its subgroups where that is enough, and compared
byte for byte with a local run. What happens to it is done by SLURM's own means: `scancel`, a node that is lost, a limit
of memory that is enforced.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from through_slurm import Cluster, Folder

from small import run, tables, write_small

pytestmark = [pytest.mark.e2e]

SUBGROUPS = "results/resamples/full/subgroups.parquet"
"""The end of a short run: reads, features, the latent model, subgroups."""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """Two nodes of a real SLURM."""
    if not os.environ.get("STRATIOME_CLUSTER"):
        pytest.skip("a SLURM is brought up by `make test-cluster` only")
    if os.geteuid():
        pytest.skip("bringing up a SLURM needs root")
    found = Cluster(tmp_path_factory.mktemp("slurm"))
    found.call("up")
    yield found
    subprocess.run(["scancel", "--user", "root"], check=False)
    found.call("down")


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Files of the small cohort."""
    folder = tmp_path_factory.mktemp("data")
    write_small(folder)
    return folder


@pytest.fixture(scope="session")
def reference(data, tmp_path_factory) -> dict[str, bytes]:
    """Tables of a local run."""
    return tables(run(tmp_path_factory.mktemp("local"), data, cores=2))


@pytest.fixture
def folder(cluster, data, tmp_path) -> Iterator[Folder]:
    """A fresh folder; jobs that a test left in the queue are cancelled, and nodes are brought back."""
    yield Folder(tmp_path / "run", data)
    subprocess.run(["scancel", "--user", "root"], check=False)


def _difference(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    return sorted(set(a) ^ set(b)) + [name for name in sorted(set(a) & set(b)) if a[name] != b[name]]


def _same(part: dict[str, bytes], reference: dict[str, bytes]) -> bool:
    """Whether there is something, and all of it is as in the reference."""
    return bool(part) and all(reference[name] == content for name, content in part.items())


def test_same_tables_as_without_a_cluster(cluster, folder, reference):
    before = len(cluster.jobs())
    assert _difference(folder.run(), reference) == []
    own = cluster.jobs()[before:]
    assert {job["JobState"] for job in own} == {"COMPLETED"}
    assert {job["NodeList"] for job in own} == {"n1", "n2"}
    rules = len(list((folder.results / "benchmarks").rglob("*.tsv")))
    assert len(own) <= rules / 2, (len(own), rules)  # small rules share jobs


def test_only_the_latent_model_asks_for_a_gpu(cluster, folder, reference):
    before = len(cluster.jobs())
    part = folder.run("--set-resources", "train_latent:gpu=1", "--", SUBGROUPS)
    assert _same(part, reference)
    own = {job["JobId"] for job in cluster.jobs()[before:]}
    assert len(own & cluster.asked_for_gpu()) == 1  # one resample is enough for these subgroups
    assert len(own) > 3


def test_a_cancelled_job(cluster, folder, reference):
    started = folder.start("--retries", "0", "--", SUBGROUPS)
    number, _ = cluster.wait_for("train_latent")
    subprocess.run(["scancel", number], check=True)
    assert started.end() == 1
    assert "CANCELLED" in started.text()
    assert not (folder.results / "resamples/full/latent.h5ad").exists()
    assert _same(folder.run("--", SUBGROUPS), reference)


def test_a_lost_node(cluster, folder, reference):
    started = folder.start("--", SUBGROUPS)
    number, node = cluster.wait_for("train_latent")
    cluster.call("stop", node)
    try:
        assert started.end() == 0, started.text()[-4000:]
    finally:
        cluster.call("start", node)
    states = {job["JobId"]: job["JobState"] for job in cluster.jobs()}
    assert states[number] == "NODE_FAIL"
    assert _same(tables(folder.results), reference)


def test_out_of_memory_is_tried_again_with_more(cluster, folder, reference):
    """The first attempt asks for far too little and is killed; the second asks for enough."""
    before = len(cluster.jobs())
    part = folder.run("--set-resources", "train_latent:mem_mb=60*40**(attempt-1)", "--", SUBGROUPS)
    assert _same(part, reference)
    own = [job for job in cluster.jobs()[before:] if "mem=60M" in job["Tres"] or "mem=2400M" in job["Tres"]]
    assert [job["JobState"] for job in own] == ["FAILED", "COMPLETED"] or own[0]["JobState"] == "OUT_OF_MEMORY"


def test_the_controller_of_the_workflow_is_killed(cluster, folder, reference):
    """Its jobs go on without it; a new call must not work on the same files beside them."""
    started = folder.start("--", SUBGROUPS)
    cluster.wait_for("train_latent")
    os.kill(started.process.pid, 9)
    started.process.wait()
    again = folder.start("--", SUBGROUPS)
    if again.end() != 0:
        assert "are still at work" in again.text(), again.text()[-3000:]
        until = time.monotonic() + 300
        while cluster.running() and time.monotonic() < until:
            time.sleep(1)
    assert _same(folder.run("--", SUBGROUPS), reference)


def test_why_slurm_refuses_a_job_is_said(cluster, folder):
    """The first job is a group, of which Snakemake drops the reason."""
    started = folder.start("--retries", "0", "--default-resources", "slurm_partition=nosuch", "--", SUBGROUPS)
    assert started.end() == 1
    assert "invalid partition specified: nosuch" in started.text()


def test_what_a_job_said_is_told_by_the_call(cluster, folder):
    started = folder.start("--retries", "0", "--", SUBGROUPS)
    assert started.end() == 0, started.text()[-4000:]
    damaged = folder.results / "resamples/full/features.h5mu"
    damaged.write_bytes(damaged.read_bytes() + b"more")
    again = folder.start("--retries", "0", "--forcerun", "train_latent", "--", SUBGROUPS)
    assert again.end() == 1
    assert "Stratiome stopped in rule train_latent" in again.text()
    assert "features.h5mu" in again.text().partition("Stratiome stopped in rule train_latent")[2]


def test_two_runs_in_one_folder(cluster, folder, reference):
    started = folder.start("--", SUBGROUPS)
    cluster.wait_for("read")
    other = folder.start("--", SUBGROUPS)
    assert other.end() == 1
    assert "Another run is writing" in other.text()
    assert started.end() == 0, started.text()[-4000:]
    assert _same(tables(folder.results), reference)


def test_any_scheduler_by_its_commands(cluster, folder, reference):
    """The generic executor knows of a scheduler what a profile tells: here `sbatch`, as another would be called."""
    before = len(cluster.jobs())
    submit = "sbatch --parsable --mem {resources.mem_mb} -t {resources.runtime} -o /dev/null"
    part = folder.run("--cluster-generic-submit-cmd", submit, "--", SUBGROUPS, profile="cluster-generic")
    assert _same(part, reference)
    assert len(cluster.jobs()) > before


def test_training_stopped_before_its_time(cluster, folder, data, tmp_path):
    """SIGTERM to the steps of the job, as before a limit or by pre-emption; the next attempt goes on."""
    folder.changes = {"latent": {"dims": 3, "members": 2, "hidden": 16, "epochs": 3000, "patience": 3000}}
    latent = "results/resamples/full/latent.h5ad"
    whole = tables(run(tmp_path / "whole", data, latent, **folder.changes))
    started = folder.start("--retries", "1", "--", latent)
    number, _ = cluster.wait_for("train_latent")
    log = folder.results / "logs/full/train_latent.log"
    until = time.monotonic() + 120
    while not (log.exists() and "latent model: search" in log.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1)
    subprocess.run(["scancel", "--signal=TERM", number], check=True)
    assert started.end() == 0, started.text()[-4000:]
    assert "was stopped by SIGTERM" in "".join(
        p.read_text() for p in folder.path.rglob(".snakemake/slurm_logs/**/*.log")
    )
    assert "resumed at epoch" in log.read_text()
    ended = tables(folder.results)
    assert _same(ended, whole)
    assert "resamples/full/training.parquet" in ended
    assert not (folder.results / "resamples/full/latent.checkpoint").exists()
