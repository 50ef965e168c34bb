"""What it costs to plan a sweep: `python tests/benchmarks/sweep_plan.py --cohorts 50 --endpoints 3 --folder FOLDER`.

Each cohort is the tiny one of the tests with files of its own. Planned are the whole sweep, one job of it as a job of a
cluster does, and the summary alone; nothing is run. CPU time is told beside wall time, which others on the machine
stretch.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "workflow/scripts")]

from conftest import write_config, write_tiny  # noqa: E402

CASES = {
    "whole sweep": ["--dry-run", "--quiet", "host"],
    "one job": ["c0__e0__describe_workflow", "--dry-run", "--quiet", "host"],
    "summary": ["summary", "--dry-run", "--quiet", "host"],
}


def write_sweep(folder: Path, cohorts: int, endpoints: int) -> Path:
    """Files of the cohorts and the config of the sweep."""
    named = {}
    for i in range(cohorts):
        config = write_tiny(folder / f"c{i}", seed=i) | {"cohort": f"c{i}"}
        named[f"c{i}"] = str(write_config(config, folder / f"c{i}.yaml"))
    ends = {f"e{j}": {"time": "os_months", "event": "os_event", "horizons": [12.0 * (j + 1)]} for j in range(endpoints)}
    sweep = {"sweep": "many", "results": str(folder / "results"), "cohorts": named, "endpoints": ends}
    return write_config(sweep, folder / "sweep.yaml")


def measure(config: Path, arguments: list[str]) -> tuple[float, float, float, int]:
    """Wall time and CPU time in seconds, peak memory in MB, and jobs."""
    command = ["/usr/bin/time", "-f", "%U %S %M", sys.executable, "-m", "snakemake", *arguments]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(config.parent)]
    command += ["--workflow-profile", str(ROOT / "profiles/default"), "--configfile", str(config)]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall = time.perf_counter() - began
    user, system, peak = done.stderr.split("\n")[-2].split()
    jobs = re.search(r"^total +(\d+)$", done.stdout, flags=re.M)
    return wall, float(user) + float(system), int(peak) / 1024, int(jobs[1]) if jobs else 0


def main() -> None:
    """Print one row for each case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--cohorts", type=int, default=50)
    parser.add_argument("--endpoints", type=int, default=3)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    config = write_sweep(given.folder.absolute(), given.cohorts, given.endpoints)
    print("| planned | analyses | jobs | wall s | CPU s | peak MB |\n|---|---|---|---|---|---|")
    for name, arguments in CASES.items():
        wall, cpu, peak, jobs = measure(config, arguments)
        print(
            f"| {name} | {given.cohorts * given.endpoints} | {jobs:,} | {wall:.0f} | {cpu:.0f} | {peak:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
