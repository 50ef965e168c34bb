"""METABRIC or the demo through a real SLURM, beside a local run: `cluster.py run FOLDER`, then `write`.

`run` brings up SLURM on this machine (tests/cluster/slurm.sh; root on Debian) with as many nodes of one core as there
are slots, and runs the workflow from its files to the report. Five folds and leave-site-out; METABRIC has principal
components as the only baseline and few subsamples, as in the end-to-end test, for time; the demo (`--cohort demo`) is
that of `make demo`. `write` compares every table with that of the local run, and tells where the time of the slots
went:

- useful: between the first and the last line of a rule's own work (the log of each job);
- imports: the rest of the script's own time (Snakemake's benchmark file);
- starts: the rest of the time of the cluster's jobs (its own log): two starts of Snakemake each, and the launch;
- waiting: the time in which a slot had no job: nothing to do yet, or an end that was not noticed yet (here Snakemake
  looks every 5 s).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import yaml

from results import write_table

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests"), str(ROOT / "tests" / "e2e")]

from conftest import write_config  # noqa: E402
from small import tables  # noqa: E402

LIGHT = {"latent": {"baselines": ["pca"]}, "subgroups": {"subsamples": 10}}
COHORTS = {"metabric": ("config/cohorts/metabric.yaml", LIGHT), "demo": ("config/config.yaml", {})}
TITLES = {"metabric": "METABRIC through SLURM", "demo": "The demo through SLURM"}
SCRIPT = ROOT / "tests" / "cluster" / "slurm.sh"
SLURM = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5", "--cores", "1")


def run(folder: Path, cohort: str, data: Path, slots: list[int]) -> None:
    """Run a cohort with each number of slots; 0 is a local run with two cores."""
    config, changes = COHORTS[cohort]
    raw = yaml.safe_load((ROOT / config).read_text()) | changes
    if "folder" in raw["data"]:
        raw["data"]["folder"] = str(data)
    for n in slots:
        own = folder / str(n)
        own.mkdir(parents=True, exist_ok=True)
        path = write_config(raw | {"results": "results"}, own / "config.yaml")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(own)]
        command += ["--configfile", str(path), "--workflow-profile"]
        command += [str(ROOT / "profiles/slurm"), *SLURM] if n else [str(ROOT / "profiles/default"), "--cores", "2"]
        env = os.environ | {"SLURM_TEST_NODES": str(n), "SLURM_TEST_CPUS": "1", "SLURM_TEST_MB": "6000"}
        env |= {"SLURM_TEST_HOME": str(own / "slurm")}
        if n:
            subprocess.run([str(SCRIPT), "up"], env=env, check=True)
        began = time.time()
        try:
            with (own / "run.log").open("w") as log:
                subprocess.run(command, stdout=log, stderr=log, cwd=own, check=True)
        finally:
            wall = time.time() - began
            if n:
                subprocess.run([str(SCRIPT), "down"], env=env, check=True)
        (own / "wall.json").write_text(json.dumps({"wall": wall, "load": os.getloadavg()[2]}))
        print(n, round(wall), flush=True)


def costs(own: Path, slots: int) -> dict[str, float]:
    """Where the time of one run went, in seconds."""
    results = own / "results"
    script = useful = 0.0
    jobs = 0
    for path in sorted((results / "benchmarks").rglob("*.tsv")):
        script += float(next(iter(csv.DictReader(path.open(), delimiter="\t")))["s"])
        log = (results / "logs" / path.relative_to(results / "benchmarks")).with_suffix(".log")
        times = re.search(r"done: began (\S+), ended (\S+)", log.read_text())
        assert times, log
        began, ended = map(datetime.fromisoformat, times.groups())
        useful += (ended - began).total_seconds()
        jobs += 1
    wall = json.loads((own / "wall.json").read_text())["wall"]
    ended = (own / "slurm/log/jobs.txt").read_text().splitlines() if slots else []
    taken = script
    if slots:
        times = [re.findall(r"(?:StartTime|EndTime)=(\S+)", line) for line in ended]
        taken = sum((datetime.fromisoformat(b) - datetime.fromisoformat(a)).total_seconds() for a, b in times)
    return {"wall": wall, "jobs": jobs, "sent": len(ended), "script": script, "useful": useful, "taken": taken}


def write(folder: Path, cohort: str, slots: list[int]) -> None:
    """Compare the tables, and write the table of RESULTS.md."""
    reference = tables(folder / "0" / "results")
    lines = []
    for n in slots:
        found = costs(folder / str(n), n)
        other = tables(folder / str(n) / "results")
        differing = sorted(k for k in set(reference) | set(other) if reference.get(k) != other.get(k))
        there = found["wall"] * (n or 2)
        parts = [0.0, *(found[k] for k in ("useful", "script", "taken")), there]
        shares = [(b - a) / there for a, b in pairwise(parts)]
        name = f"{n} slot{'s' * (n > 1)}" if n else "local, 2 cores"
        told = [name, found["sent"] or found["jobs"], f"{found['wall']:.0f}", *(f"{s:.0%}" for s in shares)]
        told.append(f"{(found['taken'] - found['script']) / found['sent']:.1f}" if n else "–")
        lines.append("| " + " | ".join(map(str, [*told, f"{len(differing)} of {len(reference)}"])) + " |")
        if differing:
            print(n, differing)
    option = "" if cohort == "metabric" else f" --cohort {cohort}"
    head = (
        f"Commands: `cluster.py run FOLDER{option}`, `cluster.py write FOLDER{option}`, one run after another on one "
        f"machine of two cores{', so that four slots share two cores' * (4 in slots)}.\n\n"
        "| where | jobs sent | wall s | useful | imports "
        "| starts | waiting | starts, s per job | files that differ |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    name = "cluster" if cohort == "metabric" else f"cluster_{cohort}"
    write_table(name, TITLES[cohort], head + "\n".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cohort", choices=sorted(COHORTS), default="metabric")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "metabric")
    parser.add_argument("--slots", type=int, nargs="+", default=[0, 1, 2, 4])
    given = parser.parse_args()
    if given.what == "run":
        run(given.folder.resolve(), given.cohort, given.data.resolve(), given.slots)
    else:
        write(given.folder.resolve(), given.cohort, given.slots)
