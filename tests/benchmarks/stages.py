"""Wall time and peak memory of every stage, and the fixed cost of a job: `make bench`.

Runs each config on a clean folder, reads Snakemake's own benchmark files, and writes the tables between the markers of
tests/benchmarks/RESULTS.md. Machines are shared and noisy: read the figures as shares of a run, not as promises.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import yaml

from results import write_table

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = (
    "numpy",
    "polars",
    "pandera.polars",
    "torch",
    "anndata",
    "mudata",
    "scanpy",
    "lifelines",
    "sksurv.linear_model",
    "matplotlib.pyplot",
)


def _run(config: Path, cores: int) -> tuple[float, pl.DataFrame]:
    raw = yaml.safe_load(config.read_text())
    with tempfile.TemporaryDirectory() as folder:
        if "folder" in raw["data"]:
            raw["data"]["folder"] = str((ROOT / raw["data"]["folder"]).resolve())
        raw["results"] = "results"
        given = Path(folder) / "config.yaml"
        given.write_text(yaml.safe_dump(raw))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", folder]
        command += [
            "--workflow-profile",
            str(ROOT / "profiles/default"),
            "--cores",
            str(cores),
            "--configfile",
            str(given),
        ]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        wall = time.perf_counter() - started
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        return wall, _jobs(Path(folder) / "results")


def _jobs(results: Path) -> pl.DataFrame:
    rows = []
    for file in sorted((results / "benchmarks").rglob("*.tsv")):
        line = pl.read_csv(file, separator="\t", null_values=["-", "NA"])
        rows.append({"rule": file.stem, "seconds": float(line["s"][0]), "mb": float(line["max_rss"][0] or 0)})
    return pl.DataFrame(rows)


def _table(name: str, wall: float | None, jobs: pl.DataFrame, cores: int) -> list[str]:
    total = jobs["seconds"].sum()
    took = f"{wall:.0f} s on {cores} cores" if wall is not None else "read from the benchmark files of an earlier run"
    lines = [f"### {name}: {took}, {jobs.height} jobs, {total:.0f} s of jobs in all", ""]
    lines += ["| rule | jobs | median s | total s | share | peak MB |", "|---|---|---|---|---|---|"]
    grouped = jobs.group_by("rule").agg(
        n=pl.len(), median=pl.col("seconds").median(), total=pl.col("seconds").sum(), mb=pl.col("mb").max()
    )
    for rule, n, median, seconds, mb in grouped.sort("total", descending=True).iter_rows():
        lines.append(f"| {rule} | {n} | {median:.1f} | {seconds:.1f} | {seconds / total:.0%} | {mb:.0f} |")
    return [*lines, ""]


def _seconds(code: str, repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _fixed_costs() -> list[str]:
    bare = _seconds("pass")
    lines = ["### Fixed cost of a job", "", "| import | seconds beyond a bare interpreter (median of 3) |", "|---|---|"]
    lines += [f"| {name} | {_seconds(f'import {name}') - bare:.2f} |" for name in IMPORTS]
    plan = _seconds(
        "import subprocess, sys; subprocess.run([sys.executable, '-m', 'snakemake', '-n', '--quiet', '--cores', '1', "
        "'--configfile', 'config/config.yaml'], check=True, capture_output=True)"
    )
    return [*lines, f"| plan of the demo (`snakemake -n`, whole process) | {plan - bare:.2f} |", ""]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", help="default: the demo and METABRIC, unless results are read")
    parser.add_argument("--read", nargs="*", default=[], help="folders of results to read instead of running anew")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    ).stdout.strip()
    lines = [
        f"Command: `make bench`. Commit {commit}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}.",
        "",
    ]
    both = [] if chosen.read else ["config/config.yaml", "config/cohorts/metabric.yaml"]
    for name in chosen.configs or both:
        config = ROOT / name
        folder = yaml.safe_load(config.read_text())["data"].get("folder")
        if folder and not (ROOT / folder).is_dir():
            lines += [f"### {config.stem}: not run, its data folder is absent", ""]
            continue
        wall, jobs = _run(config, chosen.cores)
        lines += _table(config.stem if config.stem != "config" else "demo", wall, jobs, chosen.cores)
    for folder in map(Path, chosen.read):
        lines += _table(folder.name, None, _jobs(folder), chosen.cores)
    lines += _fixed_costs()
    write_table("stages", "Stages", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
