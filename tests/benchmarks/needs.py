"""Memory and run time of every rule by size of the cohort: `python tests/benchmarks/needs.py run FOLDER`, then `write`.

`run` simulates cohorts of several sizes, runs the whole workflow on each with the default settings (two folds), with a
second cohort that the bundle of the first is applied to, validated in, and watched for drift; what is there already is
not run again. `write FOLDER...` reads Snakemake's own benchmark files of all runs in these folders, whatever made them.
For each rule it fits base + values + patients, with coefficients that are not negative, to the largest memory and the
longest time of its jobs. It writes `workflow/needs.tsv`, from which the rules ask for memory and time, and the table of
RESULTS.md. Seconds are those of the machine it ran on.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from scipy.optimize import nnls

from results import write_table

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests"), str(ROOT / "tests" / "e2e")]

from conftest import snakemake  # noqa: E402
from small import small_config  # noqa: E402
from stratiome.needs import SLOWER, SPARE, CohortSize  # noqa: E402

SIZES = ((200, 200), (200, 6000), (2000, 300))
"""Patients and features of the cohorts."""

KINDS = {"rna": ("counts", 0.7), "methylation": ("methylation", 0.2), "mutation": ("mutation", 0.1)}

NEEDS = ROOT / "workflow" / "needs.tsv"

HEAD = ("rule", "memory_mib", "bytes_per_value", "kib_per_patient", "seconds", "us_per_value", "ms_per_patient")

ALIKE = {
    "export_example": "simulate_cohort",
    "apply_bundle": "stress_models",
    "evaluate_external": "evaluate_robustness",
    "render_validation": "render_report",
    "detect_drift": "stress_models",
    "render_drift": "render_report",
    "collect_external": "describe_cohort",
}
"""Rules that runs may lack -> a rule that does at least as much, and stands for them then."""


MEASURED = {"rule": pl.String, "patients": pl.Int64, "values": pl.Int64, "memory": pl.Float64, "seconds": pl.Float64}


def config(patients: int, features: int, results: Path) -> dict:
    """A simulated cohort of a size."""
    omics = {
        name: {"kind": kind, "features": max(10, round(share * features))} for name, (kind, share) in KINDS.items()
    }
    plain = small_config(results)
    return {key: plain[key] for key in ("covariates", "site", "known_labels", "treatments")} | {
        "cohort": results.name,
        "results": str(results),
        "data": {"simulate": {"patients": patients, "omics": omics}},
        "endpoint": plain["endpoint"] | {"horizons": [24, 60]},
        "resamples": {"folds": 2},
        "audit": {"groups": ["sex"]},
    }


def run(folder: Path, cores: int) -> None:
    """Run the workflow on a cohort of every size."""
    for patients, features in SIZES:
        own = folder / f"{patients}-{features}"
        own.mkdir(parents=True, exist_ok=True)
        other = own / "other.yaml"
        other.write_text(yaml.safe_dump(config(patients, features, own / "other") | {"seed": 2}))
        main = own / "main.yaml"
        main.write_text(yaml.safe_dump(config(patients, features, own / "main") | {"external": {"other": str(other)}}))
        _run(own, main, cores)
        bundle = f"bundle={{apply: {own / 'main' / 'bundle'}}}"
        _run(own, other, cores, "--config", bundle, "--", "monitor", "validate", "write_manifest")


def _run(folder: Path, given: Path, cores: int, *arguments: str) -> None:
    done = snakemake("--cores", str(cores), "--configfile", str(given), *arguments, cwd=folder, timeout=4 * 3600)
    if done.returncode:
        sys.exit(done.stderr[-4000:])
    print(given, flush=True)


def size_of(results: Path) -> CohortSize:
    """Size of the cohort of a run, from its manifest."""
    inputs = {i["name"]: i for i in json.loads((results / "manifest.json").read_text())["inputs"] if i.get("rows")}
    patients = inputs.pop("clinical")["rows"]
    return CohortSize(patients, sum(i["rows"] * i["columns"] for i in inputs.values()))


def jobs(folders: list[Path]) -> pl.DataFrame:
    """Jobs that were measured: rule, patients, values, memory (MiB), seconds."""
    found = []
    for manifest in sorted(path for folder in folders for path in folder.rglob("manifest.json")):
        size = size_of(manifest.parent)
        for path in sorted(manifest.parent.rglob("benchmarks/**/*.tsv")):  # those of other cohorts as well
            row = next(iter(csv.DictReader(path.open(), delimiter="\t")))
            memory = float(row["max_rss"]) if row["max_rss"] not in ("-", "NA") else None  # too short to be looked at
            found.append((path.stem, size.patients, size.values, memory, float(row["s"])))
    return pl.DataFrame(found, schema=MEASURED, orient="row")


def fit(measured: pl.DataFrame, column: str, spare: float) -> tuple[np.ndarray, float]:
    """Coefficients of base, values and patients, and the largest ratio of a figure to its fit.

    Where that ratio is more than what is asked for on top (`spare`), the fit is raised until it is no more.
    """
    measured = measured.filter(pl.col(column) > 0)
    if measured.is_empty():
        return np.zeros(3), float("nan")
    largest = measured.group_by("patients", "values").agg(pl.col(column).max()).sort("patients", "values")
    given = largest.select(pl.lit(1.0), pl.col("values") / 1e6, pl.col("patients") / 1e3).to_numpy()
    seen = largest[column].to_numpy()
    found, _ = nnls(given / seen[:, None], np.ones(len(seen)))  # relative errors
    off = float((seen / (given @ found)).max())
    return found * max(1.0, off / spare), min(off, spare)


def write(folders: list[Path]) -> None:
    """Write `workflow/needs.tsv` and the table of RESULTS.md."""
    measured = jobs(folders)
    rows, lines = [], []
    for rule in sorted(measured["rule"].unique()):
        own = measured.filter(pl.col("rule") == rule)
        memory, memory_off = fit(own, "memory", SPARE)
        seconds, seconds_off = fit(own, "seconds", SLOWER)
        rows.append((rule, *_rounded(memory, 2**20 / 1e6, 2**10 / 1e3), *_rounded(seconds, 1.0, 1.0)))
        peak, longest = own["memory"].max(), own["seconds"].max()
        middle = statistics.median(own["seconds"].to_list())
        told = (len(own), f"{peak:.0f}", f"{memory_off:.2f}", f"{middle:.1f}", f"{longest:.0f}", f"{seconds_off:.2f}")
        lines.append("| " + " | ".join(map(str, (rule, *told))) + " |")
    known = {row[0]: row for row in rows}
    rows += [(rule, *known[like][1:]) for rule, like in ALIKE.items() if rule not in known]
    with NEEDS.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, delimiter="\t", lineterminator="\n")
        out.writerow(HEAD)
        out.writerows(sorted(rows))
    sizes = measured.select("patients", "values").unique().sort("patients", "values").rows()
    told = "; ".join(f"{patients:,} and {values:,}" for patients, values in sizes)
    head = (
        f"Commands: `needs.py run FOLDER`, `needs.py write FOLDER...`. Cohorts (patients and values): {told}.\n"
        "Off: the largest ratio of what was measured to what the fit says; rules ask for 1.5 times the memory and six\n"
        "times the run time, and twice that at each new attempt; a fit that was off by more was raised.\n\n"
        "| rule | jobs | peak MiB | off | median s | longest s | off |\n|---|---|---|---|---|---|---|\n"
    )
    write_table("needs", "What each rule needs", head + "\n".join(lines))


def _rounded(found: np.ndarray, *units: float) -> list[float]:
    """Base as it is, the others per single value and patient in the units of the table."""
    base, per_value, per_patient = found.tolist()
    return [float(f"{x:.3g}") for x in (base, per_value * units[0], per_patient * units[1])]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--cores", type=int, default=1)
    given = parser.parse_args()
    run(given.folders[0].resolve(), given.cores) if given.what == "run" else write(given.folders)
