"""Time and memory of a fit against libraries that fit survival models, on one split, with the held-out C beside them.

    python -m venv results/fit_cost/flexynesis && results/fit_cost/flexynesis/bin/pip install flexynesis
    PYTHONPATH=workflow/scripts python tests/benchmarks/fit_cost.py run --flexynesis results/fit_cost/flexynesis
    PYTHONPATH=workflow/scripts python tests/benchmarks/fit_cost.py write

One split of METABRIC (few features) and of TCGA lung adenocarcinoma (many), four fifths against one, of patients with
every omic, as Flexynesis leaves out those without; features are those that the workflow learned on the training
patients, the same for everyone, with the few missing cells at the training mean for the others. Every fit is a process
of its own, one thread, all contenders in turn, several rounds; medians. Machines are shared, so times are given as
ratios to the first row of a part, which is the library's plain call. "Fit" is processor time of fitting and predicting
the held-out patients, without imports and reading; "process" is all of it. Ours predicts curves of everybody, with the
clinical model fitted first, as its rule does.

Flexynesis (Uyar et al. 2025, Nat Commun 16) is no dependency and has an environment of its own. Without `--flexynesis`
its rows are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import yaml

from by_workflow import ROOT, read_inputs, run_workflow
from fit_cost_children import OURS, PEERS, RESAMPLE
from results import write_table
from stratiome.config import Config
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.cox_path import stratified_folds
from stratiome.survival.outcome import time_grid

COHORTS = ("metabric", "tcga_luad")
LEFT_OUT = ("rppa",)  # omics that so few patients have that hardly anyone would have all
PARTS = {
    "clinical columns": ("CoxPHSurvivalAnalysis", "CoxPHFitter", "clinical"),
    "clinical columns and all omics": (
        "Coxnet, 5-fold search",
        "CoxPHFitter, ridge",
        "clinical_omics",
        "clinical_latent",
        "clinical_factors",
    ),
    "forest": (
        "RandomSurvivalForest, clinical",
        "RandomSurvivalForest, all omics",
        "clinical_forest",
        "forest",
    ),
    "deep, on latents": ("CoxPHSurvivalAnalysis", "deep"),
    "from features to predictions": (
        "Flexynesis DirectPred, 1 step",
        "Flexynesis DirectPred, 10 steps",
        "Flexynesis supervised_vae, 1 step",
        "train_latent + clinical_latent",
        "train_latent + fit_prognosis, all models",
    ),
}
"""Part of the table -> contenders; times are ratios to the first that finished."""

FLEXYNESIS = {
    "Flexynesis DirectPred, 1 step": ("DirectPred", 1),
    "Flexynesis DirectPred, 10 steps": ("DirectPred", 10),
    "Flexynesis supervised_vae, 1 step": ("supervised_vae", 1),
}
"""Contender -> class of model, and steps of its search for hyperparameters (its default is 100)."""


# --- what everybody gets -------------------------------------------------------------------------------------------


def prepare(cohort: str, scratch: Path, patients: int) -> Path:
    """Features and latents of one split by the workflow, and the same as plain arrays and as Flexynesis reads them."""
    raw = yaml.safe_load((ROOT / f"config/cohorts/{cohort}.yaml").read_text(encoding="utf-8"))
    raw["data"]["folder"] = str((ROOT / raw["data"]["folder"]).resolve())
    raw["data"]["omics"] = {n: o for n, o in raw["data"]["omics"].items() if n not in LEFT_OUT}
    folder = scratch / cohort
    folder.mkdir(parents=True, exist_ok=True)
    write_split(raw, folder / "split.csv", patients)
    raw["resamples"] = {"folds": 0, "file": str(folder / "split.csv")}
    raw["latent"] = {"baselines": ["mofa"]}
    results = run_workflow(raw, folder, f"resamples/{RESAMPLE}/latent.h5ad")
    config = Config.model_validate(raw | {"results": str(results)})
    inputs, roles, _ = read_inputs(results, config, RESAMPLE)
    rows = {"train": np.flatnonzero(inputs.train), "test": np.flatnonzero((roles == "test") & (inputs.time > 0))}
    omics = {o.name: _filled(o.values, inputs.train) for o in inputs.omics}
    arrays = {f"omic {name}": values for name, values in omics.items()}
    np.savez(
        folder / "plain.npz",
        clinical=inputs.clinical,
        time=inputs.time,
        event=inputs.event,
        grid=time_grid(config.endpoint),
        tau=config.endpoint.tau_months,
        **rows,
        **arrays,
    )
    for role, at in rows.items():
        there = folder / "flexynesis" / role
        there.mkdir(parents=True, exist_ok=True)
        ids = [f"p{i}" for i in at]
        clinical = {f"c{j}": inputs.clinical[at, j] for j in range(inputs.clinical.shape[1])}
        outcome = {"time": inputs.time[at], "event": inputs.event[at].astype(int)}
        pl.DataFrame({"": ids} | outcome | clinical).write_csv(there / "clin.csv")
        for name, values in omics.items():
            names = [f"{name}_{j}" for j in range(values.shape[1])]
            table = pl.DataFrame({"": names} | dict(zip(ids, values[at].astype(float), strict=True)))
            table.write_csv(there / f"{name}.csv")
    return folder


def write_split(raw: dict, path: Path, most: int) -> None:
    """A fifth of the patients with an outcome and every omic held out, by event; all others are out."""
    data = Path(raw["data"]["folder"])
    outcome = raw["endpoint"]
    table = pl.read_csv(data / raw["data"]["clinical"], separator="\t", infer_schema_length=None)
    table = table.filter(pl.col(outcome["time"]) > 0, pl.col(outcome["event"]).is_not_null())
    for omic in raw["data"]["omics"].values():
        table = table.join(pl.read_parquet(data / omic["path"], columns=["patient_id"]), on="patient_id", how="semi")
    table = table.sort("patient_id").select("patient_id", pl.col(outcome["event"]) == 1)
    rng = np.random.default_rng(1)
    table = table[np.sort(rng.permutation(table.height)[: most or None])]
    fold = stratified_folds(table.to_series(1).to_numpy(), 5, rng)
    table.select("patient_id", part=pl.Series(np.where(fold == 0, "test", "train"))).write_csv(path)


def _filled(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Missing values at the mean of the training patients."""
    measured = np.isfinite(values[train])
    mean = np.where(measured, values[train], 0.0).sum(axis=0) / np.maximum(measured.sum(axis=0), 1)
    return np.where(np.isfinite(values), values, mean)


# --- contenders ----------------------------------------------------------------------------------------------------


def command(contender: str, folder: Path, out: Path, flexynesis: Path | None) -> list[str]:
    """Command line of one contender; it writes the risks of the held-out patients."""
    if contender not in FLEXYNESIS:
        return [sys.executable, str(Path(__file__).with_name("fit_cost_children.py")), contender, str(folder), str(out)]
    if flexynesis is None:
        raise ValueError(f"{contender}: its environment is not named. Suggestion: --flexynesis FOLDER")
    model, steps = FLEXYNESIS[contender]
    data = folder / "flexynesis"
    header = (data / "train" / "clin.csv").open(encoding="utf-8").readline().strip().split(",")
    omics = sorted(p.stem for p in (data / "train").glob("*.csv") if p.stem != "clin")
    return [
        str(flexynesis / "bin" / "flexynesis"),
        *("--data_path", str(data), "--model_class", model, "--surv_event_var", "event", "--surv_time_var", "time"),
        *("--covariates", ",".join(c for c in header if c.startswith("c"))),
        *("--data_types", ",".join(omics), "--hpo_iter", str(steps), "--threads", "1", "--device", "cpu"),
        *("--disable_marker_finding", "--outdir", str(out.parent), "--prefix", out.stem),
    ]


def measure(contender: str, folder: Path, out: Path, flexynesis: Path | None, limit: float) -> dict:
    """Run one contender once: processor seconds, peak memory in MB and held-out C, or why there is none."""
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {f"{v}_NUM_THREADS": "1" for v in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")}
    if contender not in FLEXYNESIS:
        paths = [ROOT / "workflow" / "scripts", ROOT / "tests" / "benchmarks"]
        environment["PYTHONPATH"] = os.pathsep.join(str(p) for p in paths)
    seconds, peak, code = 0.0, 0.0, None
    with out.with_suffix(".log").open("w") as log:
        child = psutil.Popen(
            command(contender, folder, out, flexynesis), stdout=log, stderr=log, env=environment, cwd=out.parent
        )
        while code is None:
            pid, status, used = os.wait4(child.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                seconds = used.ru_utime + used.ru_stime
            else:
                # Not ru_maxrss, which begins with what this process held when it made the child.
                peak = max(peak, _most_held(child.pid))
                if sum(child.cpu_times()[:2]) > limit:
                    child.kill()
                time.sleep(0.05)
    child.returncode = code
    row: dict = {"contender": contender, "process": seconds, "peak_mb": peak}
    if code:
        last = out.with_suffix(".log").read_text(errors="replace").strip().splitlines()[-1:]
        stopped = f"stopped after {limit:g} s of processor" if seconds > limit else " ".join(last)[:200]
        return row | {"failed": stopped}
    plain = np.load(folder / "plain.npz")
    test = plain["test"]
    if contender in FLEXYNESIS:
        risk = _flexynesis_risk(out.parent / f"{out.stem}.predicted_labels.csv", test)
    else:
        made = json.loads(out.read_text())
        row["fit"], risk = made["seconds"], np.array(made["risk"])
    told = np.isfinite(risk)
    sample = Sample.make(plain["time"][test][told], plain["event"][test][told])
    return row | {"c": float(uno_c(sample, risk[told], float(plain["tau"]))[0]), "told": int(told.sum())}


def finished(folder: Path) -> list[dict]:
    """What was measured in one cohort so far."""
    done = folder / "fits.jsonl"
    return [json.loads(x) for x in done.read_text().splitlines()] if done.exists() else []


def one_round(number: int, wanted: list[str], folder: Path, flexynesis: Path | None, limit: float) -> None:
    """Every contender once, unless it had this round already; one that failed is not tried again."""
    rows = finished(folder)
    for contender in wanted:
        had = [r for r in rows if r["contender"] == contender]
        if len(had) > number or any("failed" in r for r in had):
            continue
        slug = "".join(ch if ch.isalnum() else "_" for ch in contender)
        row = measure(contender, folder, folder / "fits" / f"{slug}.json", flexynesis, limit)
        with (folder / "fits.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def _most_held(pid: int) -> float:
    """Most memory that a process has held so far, in MB; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("VmHWM:")), 0.0)


def _flexynesis_risk(path: Path, test: np.ndarray) -> np.ndarray:
    """Predicted log hazards of the held-out patients, NaN for those whom it leaves out (without any mutation)."""
    table = pl.read_csv(path, infer_schema_length=None).filter(pl.col("split") == "test")
    known = dict(table.select("sample_id", pl.col("predicted_label").cast(pl.Float64)).iter_rows())
    return np.array([known.get(f"p{i}", np.nan) for i in test])


# --- table ---------------------------------------------------------------------------------------------------------


def table(cohort: str, folder: Path, rows: list[dict]) -> list[str]:
    """One block per part, times as ratios to the first contender of the part that finished."""
    plain = np.load(folder / "plain.npz")
    train, test, event = plain["train"], plain["test"], plain["event"]
    width = sum(plain[k].shape[1] for k in plain.files if k.startswith("omic "))
    text = [
        f"{cohort}: {len(train)} training patients, {int(event[train].sum())} events; {len(test)} held out, "
        f"{int(event[test].sum())} events; {plain['clinical'].shape[1]} clinical columns, {width} of omics.",
        "",
        "| | contender | rounds | fit, ratio | process, ratio | peak MB | held-out Uno's C |",
        "|---|---|---|---|---|---|---|",
    ]
    for part, contenders in PARTS.items():
        of = {c: [r for r in rows if r["contender"] == c] for c in contenders}
        done = {c: [r for r in own if "failed" not in r] for c, own in of.items()}
        first = next((c for c in contenders if done[c]), None)
        for c in [c for c in contenders if of[c]]:
            label = f"Stratiome: {c}" if c in OURS else c
            if not done[c]:
                text.append(f"| {part} | {label} | – | – | – | – | {of[c][0]['failed']} |")
                continue
            cells = [str(len(done[c]))]
            cells += [_ratio(done[c], done[first], key) for key in ("fit", "process")]
            cells += [f"{np.median([r['peak_mb'] for r in done[c]]):.0f}", _c([r["c"] for r in done[c]])]
            told = done[c][0].get("told", len(test))
            cells[-1] += f", {len(test) - told} not told" if told < len(test) else ""
            text.append(f"| {part} | {label} | {' | '.join(cells)} |")
    return [*text, ""]


def _ratio(own: list[dict], first: list[dict], key: str) -> str:
    if key not in own[0] or key not in first[0]:
        return "–"
    return f"{np.median([r[key] for r in own]) / max(np.median([r[key] for r in first]), 1e-9):.3g}"


def _c(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{np.median(values):.3f}" + (f" ({low:.3f} to {high:.3f})" if high - low > 5e-4 else "")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--cohorts", nargs="+", default=list(COHORTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600, help="processor seconds after which a fit is stopped")
    parser.add_argument("--flexynesis", type=Path, help="environment in which flexynesis is installed")
    parser.add_argument("--only", nargs="+", help="contenders, for trying out")
    parser.add_argument("--patients", type=int, default=0, help="most patients, for trying out; 0 is all")
    parser.add_argument("--scratch", type=Path, default=Path("results/fit_cost"), help="where results are kept")
    given = parser.parse_args()
    scratch = given.scratch.resolve()
    flexynesis = given.flexynesis.resolve() if given.flexynesis else None
    wanted = list(dict.fromkeys(c for part in PARTS.values() for c in part))
    wanted = [c for c in wanted if (c in OURS or c in PEERS or flexynesis) and (not given.only or c in given.only)]
    if given.what == "run":
        for cohort in given.cohorts:
            if not (scratch / cohort / "plain.npz").exists():
                prepare(cohort, scratch, given.patients)
        for k in range(given.repeats):
            for cohort in given.cohorts:
                one_round(k, wanted, scratch / cohort, flexynesis, given.limit)
    text = []
    for cohort in given.cohorts:
        rows = finished(scratch / cohort)
        text += table(cohort, scratch / cohort, rows) if rows else []
    print("\n".join(text))
    if given.what == "write":
        write_table("fit_cost", "Time and memory of a fit beside other libraries", "\n".join(text))


if __name__ == "__main__":
    main()
