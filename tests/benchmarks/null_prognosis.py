"""Survival models where there is nothing to find (METHODS F2): outcomes permuted, the workflow run anew each time.

    PYTHONPATH=workflow/scripts python tests/benchmarks/null_prognosis.py run --replicates 20
    PYTHONPATH=workflow/scripts python tests/benchmarks/null_prognosis.py write

A simulated cohort with subgroups, written once; in each replicate follow-up and event of the patients are dealt anew,
together and within sites, so that neither clinical columns nor omics can tell anything, and the workflow runs from
reading the files to the evaluation. Uno's C of every model must be 0.48 to 0.52 on average, and an interval of the
difference to the clinical model must rarely lie above zero. Two mutants, made of the features and latents of the same
runs, must be outside: features screened on the outcomes of all patients, and a model judged on its training patients.

Every finished replicate is a line of a file, so that a run goes on where it stopped. Latent model, forest and inner
folds are made cheap (`SETTINGS`); no model is left out.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import polars as pl

from by_workflow import read_inputs, run_workflow
from results import write_table
from stratiome import tables
from stratiome.cohort.simulate import write_cohort
from stratiome.config import Config, EndpointConfig, PrognosisConfig, SimulateConfig
from stratiome.prognosis.models import fit_models
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.cox import fit_cox
from stratiome.survival.outcome import time_grid

LOWEST, HIGHEST = 0.48, 0.52
"""Bounds of the mean C."""

SCREENED = 10  # features that the mutant chooses
COHORT_SEED = 2026
SIMULATED = {
    "sites": 2,
    "subgroups": 2,
    "omics": {
        "rna": {"kind": "counts", "features": 40, "effect": 2.0},
        "protein": {"kind": "protein", "features": 15, "effect": 2.0},
        "mutation": {"kind": "mutation", "features": 15, "effect": 2.0},
    },
}
ENDPOINT = {"time": "os_months", "event": "os_event", "unit": "months", "horizons": [24, 48]}
SETTINGS = {
    "covariates": ["age", "stage", "marker", "sex"],
    "site": "site",
    "resamples": {"folds": 3},
    "latent": {"dims": 3, "members": 2, "epochs": 15, "hidden": 16, "baselines": ["mofa"]},
    "prognosis": {"inner_folds": 2, "min_events": 10, "trees": 50},
}
SCREENED_ROW = "mutant: features screened on all outcomes"
TRAINED_ROW = "mutant: clinical and latents, judged on training patients"
TABLES = ("evaluation/prognosis_metrics.parquet", "evaluation/prognosis_resamples.parquet")


def write_base(folder: Path, patients: int) -> None:
    """Write the files of the cohort, once."""
    if not (folder / "clinical.tsv").exists():
        settings = SimulateConfig.model_validate(SIMULATED | {"patients": patients})
        grid = time_grid(EndpointConfig.model_validate(ENDPOINT))
        write_cohort(settings, COHORT_SEED, folder, time_grid=grid)


def permuted(clinical: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The patients with follow-up and event dealt anew, together and within sites."""
    site = clinical["site"].cast(pl.String).fill_null("").to_numpy()
    order = np.arange(clinical.height)
    for name in np.unique(site):
        here = np.flatnonzero(site == name)
        order[here] = rng.permutation(here)
    outcome = [ENDPOINT["time"], ENDPOINT["event"]]
    return clinical.with_columns(clinical.select(outcome)[order])


def replicate(number: int, base: Path, folder: Path, bootstraps: int, seed: int) -> dict:
    """One permutation through the workflow: C of every model, its difference to the clinical one, and the mutants."""
    folder.mkdir(parents=True, exist_ok=True)
    clinical = pl.read_csv(base / "clinical.tsv", separator="\t", infer_schema_length=None)
    permuted(clinical, np.random.default_rng([seed, number])).write_csv(folder / "clinical.tsv", separator="\t")
    omics = {n: {"path": str(base / f"{n}.parquet"), "kind": o["kind"]} for n, o in SIMULATED["omics"].items()}
    config = {
        "cohort": "null",
        "seed": seed + number,
        "data": {"folder": str(folder), "clinical": "clinical.tsv", "omics": omics},
        "endpoint": ENDPOINT,
        "evaluation": {"bootstraps": bootstraps},
    } | SETTINGS
    before = _processor()
    started = time.perf_counter()
    results = run_workflow(config, folder, TABLES[0])
    seconds = {"processor": _processor() - before, "wall": time.perf_counter() - started}
    metrics = pl.read_parquet(results / TABLES[0]).filter(
        pl.col("design") == "cross-validation", pl.col("horizon_months").is_null()
    )
    models = {
        row["model"]: {"n": row["n"], "events": row["events"], "c": row["estimate"]}
        for row in metrics.filter(pl.col("metric") == "uno_c", pl.col("versus").is_null()).iter_rows(named=True)
    }
    for row in metrics.filter(pl.col("metric").is_in(["uno_c", "ibs"]), pl.col("versus") == "clinical").iter_rows(
        named=True
    ):
        models[row["model"]][f"{row['metric']}_gain"] = [row["estimate"], row["lower"], row["upper"]]
    return {"replicate": number, "seconds": seconds, "models": models, "mutants": mutants(results, config)}


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- mutants -------------------------------------------------------------------------------------------------------


def mutants(results: Path, config: dict) -> dict[str, float]:
    """Uno's C of the mutants, from the features and latents of one run."""
    whole = Config.model_validate(config | {"results": str(results)})
    tau = whole.endpoint.tau_months
    folds = sorted(p.name for p in (results / "resamples").iterdir() if p.name != "full")
    time, event, risk, fold = [], [], [], []
    for k, name in enumerate(folds):
        inputs, roles, _ = read_inputs(results, whole, name)
        known = inputs.time > 0
        x = _filled(np.column_stack([omic.values for omic in inputs.omics]), inputs.train)
        chosen = strongest(x[known], inputs.time[known], inputs.event[known])  # the mistake: held-out outcomes are seen
        model = fit_cox(x[inputs.train][:, chosen], inputs.time[inputs.train], inputs.event[inputs.train])
        test = known & (roles == "test")
        time.append(inputs.time[test])
        event.append(inputs.event[test])
        risk.append(model.risk(x[test][:, chosen]))
        fold.append(np.full(int(test.sum()), k))
    sample = Sample.make(np.concatenate(time), np.concatenate(event), fold=np.concatenate(fold))
    screened = float(uno_c(sample, np.concatenate(risk), tau)[0])
    inputs, _, _ = read_inputs(results, whole, "full")
    alone = PrognosisConfig(models=("clinical_latent",), min_events=whole.prognosis.min_events)
    made = fit_models(inputs, time_grid(whole.endpoint), alone, tau=tau, rng=np.random.default_rng(whole.seed))
    seen = inputs.train  # the mistake: these are the patients that it was fitted to
    score = next(fit for fit in made if fit.model == "clinical_latent").risk[seen]
    trained = float(uno_c(Sample.make(inputs.time[seen], inputs.event[seen]), score, tau)[0])
    return {SCREENED_ROW: screened, TRAINED_ROW: trained}


def _filled(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Missing values at the mean of the training patients, constant columns left out."""
    rows = x[train]
    measured = np.isfinite(rows)
    mean = np.where(measured, rows, 0.0).sum(axis=0) / np.maximum(measured.sum(axis=0), 1)
    filled = np.where(np.isfinite(x), x, mean)
    return filled[:, filled[train].std(axis=0) > 1e-8]


def strongest(x: np.ndarray, time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Columns with the largest score statistic of a Cox model at zero, `SCREENED` of them."""
    score, information = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for t in np.unique(time[event]):
        risk, dying = x[time >= t], x[(time == t) & event]
        score += (dying - risk.mean(axis=0)).sum(axis=0)
        information += len(dying) * risk.var(axis=0)
    return np.argsort(-(score**2) / np.maximum(information, 1e-12), kind="stable")[:SCREENED]


# --- table ---------------------------------------------------------------------------------------------------------


def table(lines: list[dict], patients: int, bootstraps: int) -> list[str]:
    """The figures of all replicates, and what breaks a bound."""
    first = lines[0]["models"]
    n, events = first["clinical"]["n"], first["clinical"]["events"]
    seconds = [x["seconds"]["processor"] for x in lines]
    text = [
        f"Command: `null_prognosis.py run --replicates {len(lines)} --patients {patients} --bootstraps {bootstraps}`. "
        f"{len(lines)} permutations of one simulated cohort ({n} patients with an outcome, {events} events, two sites, "
        f"three folds); {np.median(seconds):.0f} s of processor each. Asked: mean C from {LOWEST} to {HIGHEST}.",
        "",
        "| model | mean C (Monte Carlo error) | SD over permutations | within bounds | ΔC to clinical, mean (error) "
        "| ΔC interval above 0 | ΔIBS interval below 0 |",
        "|---|---|---|---|---|---|---|",
    ]
    wrong = []
    for model in [
        m for m in (*tables.PROGNOSIS_MODELS, *sorted(set(first) - {*tables.PROGNOSIS_MODELS})) if m in first
    ]:
        rows = [x["models"][model] for x in lines if model in x["models"]]
        c = np.array([r["c"] for r in rows if r["c"] is not None])
        cells = _mean_cells(c)
        wrong += [f"{model}: {cells[0]}"] * (cells[-1] != "yes")
        gains = [r["uno_c_gain"] for r in rows if "uno_c_gain" in r]
        if model == "kaplan_meier" or not gains:
            cells += ["–", "–", "–"]
        else:
            d = np.array([g[0] for g in gains if g[0] is not None])
            cells.append(f"{d.mean():+.4f} ({_error(d):.4f})")
            cells.append(_share([g[1] > 0 for g in gains if g[1] is not None]))
            cells.append(_share([r["ibs_gain"][2] < 0 for r in rows if r["ibs_gain"][2] is not None]))
        text.append(f"| {model} | {' | '.join(cells)} |")
    for model in lines[0]["mutants"]:
        c = np.array([x["mutants"][model] for x in lines])
        cells = _mean_cells(c)
        text.append(f"| {model} | {' | '.join([*cells, '–', '–', '–'])} |")
        wrong += [f"{model} is not clearly outside"] * (cells[-1] != "**no**")
    said = (
        f"NOT as it must be: {'; '.join(wrong)}."
        if wrong
        else "As it must be: every model within, every mutant outside."
    )
    return [*text, "", f"{said} Shares with exact 95 % intervals (Clopper and Pearson)."]


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _verdict(c: np.ndarray) -> str:
    """Whether the mean is within the bounds, and if not, whether Monte Carlo error alone could have put it outside."""
    if LOWEST <= c.mean() <= HIGHEST:
        return "yes"
    beyond = max(LOWEST - c.mean(), c.mean() - HIGHEST)
    return "**no**" if beyond > 2 * _error(c) else "no, by less than two errors"


def _mean_cells(c: np.ndarray) -> list[str]:
    spread = f"{c.std(ddof=1):.3f}" if len(c) > 1 else "–"
    return [f"{c.mean():.4f} ({_error(c):.4f})", spread, _verdict(c)]


def _share(hits: list[bool]) -> str:
    from scipy.stats import binomtest

    if not hits:
        return "–"
    ends = binomtest(sum(hits), len(hits)).proportion_ci(0.95)
    return f"{sum(hits)} of {len(hits)} ({100 * ends.low:.0f} to {100 * ends.high:.0f} %)"


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--replicates", type=int, default=20)
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--bootstraps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7000, help="seed of the permutations")
    parser.add_argument("--keep", action="store_true", help="keep the results of the runs, and not only their figures")
    parser.add_argument("--scratch", type=Path, default=Path("results/null_prognosis"), help="where parts are kept")
    given = parser.parse_args()
    scratch = given.scratch.resolve()
    base = scratch / f"cohort-{given.patients}"
    done = scratch / f"replicates-{given.patients}-{given.bootstraps}-{given.seed}.jsonl"
    lines = [json.loads(x) for x in done.read_text().splitlines()] if done.exists() else []
    if given.what == "run":
        write_base(base, given.patients)
        for number in sorted(set(range(given.replicates)) - {x["replicate"] for x in lines}):
            folder = scratch / f"run-{given.patients}-{given.seed}-{number}"
            lines.append(replicate(number, base, folder, given.bootstraps, given.seed))
            with done.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            if not given.keep:
                shutil.rmtree(folder)
    text = table(lines, given.patients, given.bootstraps)
    print("\n".join(text))
    if given.what == "write":
        write_table("null_prognosis", "Survival models where there is nothing to find", "\n".join(text))


if __name__ == "__main__":
    main()
