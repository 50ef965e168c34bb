"""Scoring by a bundle: patients a second and peak memory by number of patients.

    PYTHONPATH=workflow/scripts python tests/benchmarks/score_scale.py --patients 1000 10000 100000

The bundle is that of 600 simulated patients (three omics, 450 features). Each size is a cohort of its own, written and
read by the rules of the workflow; what is measured is the script of the rule `apply_bundle` in a process of its own, so
that peak memory is the operating system's figure. All survival models score every patient, on the whole time grid.
"""

from __future__ import annotations

import argparse
import resource
import runpy
import subprocess
import sys
import time
from pathlib import Path

from by_workflow import ROOT, run_workflow
from results import write_table
from stratiome.bundle.score import AT_ONCE

OMICS = {
    "rna": {"kind": "counts", "features": 300},
    "protein": {"kind": "protein", "features": 50},
    "mutation": {"kind": "mutation", "features": 100},
}


def config(patients: int) -> dict:
    """A simulated cohort of so many patients."""
    return {
        "cohort": "scored",
        "data": {"simulate": {"patients": patients, "omics": OMICS}},
        "endpoint": {"time": "os_months", "event": "os_event", "unit": "months", "horizons": [24, 60]},
        "covariates": ["age", "stage", "marker", "sex"],
        "resamples": {"folds": 2},
        "latent": {"baselines": ["mofa"], "epochs": 60},
        "prognosis": {"instability": 0, "permutations": 0},
    }


def score(results: Path, card: str, out: Path) -> None:
    """Call the script of the rule, and say what it took."""
    from stratiome.config import BundleConfig

    main = runpy.run_path(str(ROOT / "workflow" / "scripts" / "apply_bundle.py"))["main"]
    names = ("patients", "memberships", "risks", "curves", "matched", "counterfactuals")
    paths = {name: str(out / f"{name}.parquet") for name in names} | {"latents": str(out / "latents.h5ad")}
    inputs = {"cohort_file": str(results / "cohort/cohort.h5mu"), "clinical": str(results / "cohort/clinical.parquet")}
    started = time.perf_counter()
    main(card=card, names=[], bundle=BundleConfig(), **inputs, **paths)
    print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(scratch: Path, sizes: list[int]) -> list[tuple[int, float, float]]:
    """Patients, seconds and MiB of every size."""
    scratch = scratch.resolve()
    card = run_workflow(config(600), scratch / "bundle", "bundle/bundle.json") / "bundle" / "bundle.json"
    found = []
    for n in sizes:
        results = run_workflow(config(n), scratch / f"of_{n}", "cohort/cohort.h5mu")
        out = scratch / f"of_{n}" / "applied"
        out.mkdir(exist_ok=True)
        command = [sys.executable, __file__, "--score", str(results), str(card), str(out)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, memory = map(float, done.stdout.split()[-2:])
        found.append((n, seconds, memory))
        print(*found[-1], flush=True)
    return found


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--scratch", type=Path, default=ROOT / "results" / "score_scale")
    parser.add_argument("--score", nargs=3, metavar=("RESULTS", "CARD", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.score:
        results, card, out = given.score
        score(Path(results), card, Path(out))
        return
    found = measure(given.scratch, sorted(given.patients))
    lines = [f"Command: `score_scale.py --patients {' '.join(map(str, sorted(given.patients)))}`. One thread.", ""]
    lines += ["| patients | seconds | patients a second | peak memory, MiB |", "|---|---|---|---|"]
    lines += [f"| {n:,} | {seconds:.1f} | {n / seconds:,.0f} | {memory:,.0f} |" for n, seconds, memory in found]
    whole = [(n, memory) for n, _, memory in found if n >= AT_ONCE]
    if len(whole) > 1:
        (few, low), (many, high) = whole[0], whole[-1]
        grows = f"{1024 * (high - low) / (many - few):.2f} KiB a patient"
        lines += ["", f"Patients are scored {AT_ONCE:,} at a time; from there on memory grows by {grows}."]
    write_table("score_scale", "Scoring by a bundle", "\n".join(lines))


if __name__ == "__main__":
    main()
