"""Ingest, quality control and splits of a matrix larger than memory: time and peak memory by number of patients.

    python tests/benchmarks/scale.py --patients 10000 30000 100000 --genes 20000

Each stage is a process of its own that calls the script of its rule, so peak memory is the operating system's figure.
At the smallest size the plain way (pandas, AnnData, scanpy; everything in memory) does the same work beside it.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from results import write_table

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts")]
ROWS = 4096
"""Patients of a row group."""
RULES = {
    "ingest": "ingest_cohort",
    "quality": "check_quality",
    "checks": "check_identity",
    "splits": "design_resamples",
}


def config(patients: int, genes: int, folder: Path) -> dict:
    """One matrix of read counts, the clinical table of the simulator, five folds."""
    return {
        "cohort": "scale",
        "results": str(folder / "results"),
        "data": {
            "folder": str(folder),
            "clinical": "clinical.tsv",
            "omics": {"rna": {"path": "rna.parquet", "kind": "counts"}},
        },
        "endpoint": {"time": "os_months", "event": "os_event", "horizons": [24, 60]},
        "covariates": ["age", "stage", "marker", "sex"],
        "site": "site",
        "resamples": {"folds": 5, "leave_site_out": True},
    }


def simulate(patients: int, genes: int, folder: Path) -> None:
    """Write the clinical table of the simulator, and Poisson counts in pieces (quicker than those of the simulator)."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from stratiome.cohort.simulate import write_cohort
    from stratiome.config import EndpointConfig, SimulateConfig
    from stratiome.survival.outcome import time_grid

    settings = SimulateConfig.model_validate(
        {"patients": patients, "missing_omics": 0.0, "omics": {"rna": {"kind": "counts", "features": 5}}}
    )
    endpoint = EndpointConfig(time="os_months", event="os_event", horizons=(60.0,))
    write_cohort(settings, 1, folder, time_grid=time_grid(endpoint)[:2])
    rng = np.random.default_rng(1)
    mean = rng.gamma(0.5, 20.0, genes).astype(np.float32)
    ids = pq.read_table(folder / "rna.parquet", columns=["patient_id"]).column("patient_id").to_pylist()
    names = ["patient_id", *(f"G{j:05d}" for j in range(genes))]
    schema = pa.schema([(n, pa.string() if n == "patient_id" else pa.float32()) for n in names])
    with pq.ParquetWriter(folder / "rna.parquet", schema, compression="zstd", use_dictionary=False) as writer:
        for start in range(0, patients, ROWS):
            some = ids[start : start + ROWS]
            depth = rng.lognormal(0.0, 0.3, (len(some), 1)).astype(np.float32)
            columns = rng.poisson(mean * depth).astype(np.float32).T
            writer.write_table(pa.table([pa.array(some), *map(pa.array, columns)], schema=schema), row_group_size=ROWS)


def _main_of(rule: str) -> dict:
    import runpy

    return runpy.run_path(str(ROOT / "workflow" / "scripts" / f"{rule}.py"))


def run_rule(rule: str, patients: int, genes: int, folder: Path) -> None:
    """Call the `main` of a rule's script with the paths that the rule gives it."""
    import inspect

    from stratiome.plan import plan

    analysis, splits = plan(config(patients, genes, folder), "scale")
    results = folder / "results"
    paths = {
        "clinical_file": str(folder / "clinical.tsv"),
        "omic_files": [str(folder / "rna.parquet")],
        "cohort_file": str(results / "cohort.h5mu"),
        "tables": [str(results / "rna.parquet")],
        "figures": [str(results / "rna.svg")],
        "resample_table": str(results / "resamples.parquet"),
        "manifest_file": str(results / "manifest.json"),
        "treatments": str(results / "treatments.parquet"),
    }
    dumped = {name: getattr(analysis, name) for name in type(analysis).model_fields}
    known = dumped | {"analysis": analysis, "sites": splits.sites, "strata": []}
    known |= {"patient_id": analysis.data.patient_id, "show_ids": True, "other_files": [], "splits": [], "samples": []}
    known["negative_controls"] = {}
    known |= paths
    main = _main_of(rule)["main"]
    names = inspect.signature(main).parameters
    # Outputs that are not named above get a file of their own name.
    main(**{n: known[n] if n in known else str(results / f"{n}.parquet") for n in names})


def plain(folder: Path) -> None:
    """The same work with everything in memory: read, join, quality metrics per gene and patient, write, split."""
    import anndata
    import numpy as np
    import pandas as pd
    import scanpy
    from sklearn.model_selection import StratifiedKFold

    clinical = pd.read_csv(folder / "clinical.tsv", sep="\t", index_col="patient_id")
    matrix = pd.read_parquet(folder / "rna.parquet").set_index("patient_id")
    data = anndata.AnnData(matrix, obs=clinical.loc[matrix.index])
    scanpy.pp.calculate_qc_metrics(data, percent_top=None, inplace=True)
    values = data.X
    table = pd.DataFrame({"mean": values.mean(0), "sd": values.std(0), "min": values.min(0), "max": values.max(0)})
    table["copy"] = pd.DataFrame(values.T).duplicated().to_numpy()
    table["patients_alike"] = pd.DataFrame(values).duplicated().sum()
    table.to_parquet(folder / "plain.parquet")
    scaled = scanpy.pp.log1p(scanpy.pp.normalize_total(data, target_sum=1e4, copy=True), copy=True)
    np.median(scaled.X, axis=1)
    data.write_h5ad(folder / "plain.h5ad")
    list(StratifiedKFold(5, shuffle=True, random_state=1).split(data.X, data.obs["os_event"]))


def stage(name: str, patients: int, genes: int, folder: Path) -> None:
    """One measured step."""
    if name == "simulate":
        simulate(patients, genes, folder)
    elif name == "plain":
        plain(folder)
    else:
        run_rule(RULES[name], patients, genes, folder)


class Cost(NamedTuple):
    """What a step took as a whole process: seconds by the clock and of the processor, and peak memory in GiB."""

    wall: float
    cpu: float
    peak: float


def measure(name: str, patients: int, genes: int, folder: Path) -> Cost:
    """Run a step in a process of its own."""
    command = [sys.executable, __file__, "--stage", name, "--patients", str(patients)]
    command += ["--genes", str(genes), "--folder", str(folder)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} with {patients} patients failed:\n{done.stderr[-3000:]}")
    used = json.loads(done.stdout.splitlines()[-1])
    return Cost(time.perf_counter() - started, used["cpu"], used["peak_gib"])


def benchmark(sizes: list[int], genes: int, scratch: Path) -> str:
    """Markdown table of all sizes, and the plain way at the smallest."""
    lines = [
        f"Command: `python tests/benchmarks/scale.py --patients {' '.join(map(str, sizes))} --genes {genes}`.",
        "",
        "| patients | matrix GB | step | wall s | CPU s | CPU s per 10,000 patients | peak GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for size in sizes:
        folder = scratch / str(size)
        folder.mkdir(parents=True)
        found = {name: measure(name, size, genes, folder) for name in ("simulate", *RULES)}
        if size == min(sizes):
            found["plain"] = measure("plain", size, genes, folder)
        for name, cost in found.items():
            row = [f"{size:,}", f"{4e-9 * size * genes:.1f}", name, f"{cost.wall:.0f}", f"{cost.cpu:.0f}"]
            lines.append(f"| {' | '.join(row)} | {cost.cpu / size * 1e4:.1f} | {cost.peak:.2f} |")
        if "plain" in found:
            alike = [found[n] for n in RULES if n != "checks"]  # the plain way looks for no mistaken patients
            plain = found["plain"]
            times = f"{sum(c.wall for c in alike) / plain.wall:.2f} | {sum(c.cpu for c in alike) / plain.cpu:.2f}"
            memory = max(c.peak for c in alike) / plain.peak
            lines.append(f"| {size:,} | | (ingest + quality + splits) / plain | {times} | | {memory:.2f} |")
        print("\n".join(lines[-6:]), flush=True)
        shutil.rmtree(folder)
    return "\n".join(lines)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--scratch", help="folder for about 25 GB at full size; default a temporary one")
    parser.add_argument("--print", action="store_true", help="print the table only")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        stage(given.stage, given.patients[0], given.genes, given.folder)
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps({"peak_gib": used.ru_maxrss / 2**20, "cpu": used.ru_utime + used.ru_stime}))
        return
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        text = benchmark(sorted(given.patients), given.genes, Path(scratch))
    print(text) if given.print else write_table("scale", "A matrix larger than memory", text)


if __name__ == "__main__":
    main()
