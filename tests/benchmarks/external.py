"""Models of METABRIC applied to TCGA breast cancers, and the way back: overall survival, as they are and updated.

    PYTHONPATH=workflow/scripts python tests/benchmarks/external.py run
    PYTHONPATH=workflow/scripts python tests/benchmarks/external.py write

One joint cohort is written to scratch: patients with an outcome and expression; the genes both studies measured, as
normal scores of the ranks within each study (the platforms differ, and outcomes are not looked at; so new patients need
their study around them); mutations of the genes both studies sequenced; clinical columns under one coding. Each
direction is a given split, training = one study, held out = the other, through the workflow up to the evaluation.

To the curves that it writes come two updates to the external patients, of the baseline, and of slope and baseline
(`stratiome.audit.transport`), each learned on one half of them and judged on the other, for several halvings.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl

from by_workflow import read_inputs, run_workflow
from external_cohort import COVARIATES, DIRECTIONS, STUDIES, write_joint
from results import write_table
from stratiome import tables
from stratiome.audit import transport
from stratiome.audit.transport import updated
from stratiome.config import Config
from stratiome.prognosis.evaluate import Design, Predictions, Problem, evaluate_design
from stratiome.prognosis.models import fit_models
from stratiome.survival.outcome import time_grid

HORIZON = 60.0
HALVINGS = 5
OMICS_ALONE = {"clinical_omics": "omics alone, elastic net", "clinical_latent": "latents alone, Cox"}
UPDATES = {"hazard_ratio": transport.BASELINE, "slope_baseline": transport.SLOPE}

_SHOWN = 5e-5  # differences that are smaller are zeros in the tables, and nothing is said of them
_CLIP = 1e-10  # survival probabilities are kept this far from 0 and 1 before taking logarithms


# --- runs ------------------------------------------------------------------------------------------------------------


def config_of(train: str, data: Path, quick: bool) -> dict:
    """Config of one direction: the defaults, but for MOFA+ as the only baseline."""
    config = {
        "cohort": f"external_from_{train}",
        "data": {
            "folder": str(data),
            "clinical": "clinical.tsv",
            "omics": {
                "mrna": {"path": "mrna.parquet", "kind": "expression"},
                "mutation": {"path": "mutation.parquet", "kind": "mutation"},
            },
            "columns": {"tumour_size": {"type": "numeric"}, "nodes": {"type": "numeric"}},
        },
        "endpoint": {"time": "os_months", "event": "os_event", "unit": "months", "horizons": [HORIZON], "tau": HORIZON},
        "covariates": list(COVARIATES),
        "resamples": {"folds": 0, "file": f"from_{train}.csv"},
        "latent": {"baselines": ["mofa"]},
    }
    if quick:
        config["latent"] |= {"dims": 3, "members": 1, "epochs": 5}
        config |= {"prognosis": {"inner_folds": 2, "trees": 20}, "evaluation": {"bootstraps": 50}}
    return config


# --- evaluation ----------------------------------------------------------------------------------------------------


def read_external(results: Path, config: Config) -> tuple[Problem, Predictions]:
    """Outcome of all patients and the predictions of the external ones."""
    outcome = tables.read_table(results / "cohort/outcome.parquet", tables.Outcome)
    outcome = outcome.filter(pl.col("time_months").is_not_null()).sort("patient_id")
    grid = time_grid(config.endpoint)
    time, event = outcome["time_months"].to_numpy(), outcome["event"].to_numpy().astype(bool)
    problem = Problem(time, event, grid, config.endpoint.horizons_months, config.endpoint.tau_months)
    here = results / "resamples/given-external/prognosis"
    risks = pl.read_parquet(here / "risks.parquet")
    curves = pl.read_parquet(here / "curves.parquet").sort("patient_id", "time_months")
    fits = pl.read_parquet(here / "models.parquet")
    gone = fits.filter(pl.col("note").str.starts_with(tables.NOT_FITTED))["model"].to_list()
    row = {p: i for i, p in enumerate(outcome["patient_id"])}
    ids = sorted(p for p in risks["patient_id"].unique() if p in row)
    risk, survival = {}, {}
    for model in [m for m in risks["model"].unique(maintain_order=True) if m not in gone]:
        own = risks.filter(pl.col("model") == model, pl.col("patient_id").is_in(ids)).sort("patient_id")
        risk[model] = own["risk"].to_numpy()
        many = curves.filter(pl.col("model") == model, pl.col("patient_id").is_in(ids))
        survival[model] = many["survival"].to_numpy().reshape(len(ids), len(grid))
    rows = np.array([row[p] for p in ids])
    return problem, Predictions(rows, np.zeros(len(rows), dtype=np.int64), ("external",), risk, survival)


def omics_alone(results: Path, config: Config, problem: Problem, given: Predictions) -> list[dict]:
    """C of models without clinical columns, for comparison with what others found."""
    alone = config.model_copy(update={"covariates": ()})
    inputs, roles, ids = read_inputs(results, alone, "given-external")
    settings = config.prognosis.model_copy(update={"models": tuple(OMICS_ALONE)})
    rng = np.random.default_rng(config.seed)
    fits = fit_models(inputs, problem.grid, settings, tau=problem.tau, rng=rng)
    place = {p: i for i, p in enumerate(ids)}
    known = sorted(p for p, r in zip(ids, roles, strict=True) if r == "test" and inputs.time[place[p]] > 0)
    rows = np.array([place[p] for p in known])
    if not np.allclose(inputs.time[rows], problem.time[given.rows]):
        raise RuntimeError("patients of inputs and predictions are not in one order")
    made = {f.model: f for f in fits if f.model in OMICS_ALONE}
    risk = {OMICS_ALONE[m]: f.risk[rows] for m, f in made.items()}
    survival = {OMICS_ALONE[m]: f.survival[rows] for m, f in made.items()}
    return judged(
        problem, Design("given splits", (Predictions(given.rows, given.fold, ("x",), risk, survival),)), config
    )


def judged(problem: Problem, design: Design, config: Config) -> list[dict]:
    """Every metric with its interval, as rows."""
    settings = config.evaluation
    found = evaluate_design(
        problem, design, bootstraps=settings.bootstraps, level=settings.level, rng=np.random.default_rng(config.seed)
    )
    keys = ("model", "metric", "horizon", "versus", "estimate", "lower", "upper", "n", "events")
    return [{k: getattr(e, k) for k in keys} for e in found]


def one_direction(train: str, data: Path, scratch: Path, halvings: int, quick: bool) -> dict:
    """Run one direction; its metrics as they are, after the updates, and of omics alone."""
    raw = config_of(train, data, quick)
    folder = scratch / f"from_{train}"
    results = run_workflow(raw, folder, "evaluation/prognosis_metrics.parquet")
    config = Config.model_validate(raw | {"results": str(results)})
    problem, given = read_external(results, config)
    metrics = pl.read_parquet(results / "evaluation/prognosis_metrics.parquet").rename({"horizon_months": "horizon"})
    keys = ["model", "metric", "horizon", "versus", "estimate", "lower", "upper", "n", "events"]
    notes = pl.read_parquet(results / "resamples/given-external/prognosis/models.parquet")
    time, event = problem.time[given.rows], problem.event[given.rows]
    ratios = {}
    for model, curves in given.survival.items():
        ratios[model] = transport.hazard_ratio(time, event, curves, problem.grid)
    return {
        "train": train,
        "n": len(given.rows),
        "by_horizon": int((event & (time <= HORIZON)).sum()),
        "bootstraps": config.evaluation.bootstraps,
        "halvings": halvings,
        "as_is": metrics.filter(pl.col("design") == "given splits").select(keys).to_dicts(),
        "notes": dict(notes.filter(pl.col("resample") == "given-external").select("model", "note").iter_rows()),
        "ratios": ratios,
        "alone": omics_alone(results, config, problem, given),
        **{u: judged(problem, updated(problem, given, UPDATES[u], halvings, config.seed), config) for u in UPDATES},
    }


# --- tables --------------------------------------------------------------------------------------------------------


def find(rows: list[dict], model: str, metric: str, horizon: float | None = None, versus: str | None = None) -> dict:
    """The row of one metric; without an estimate where there is none."""
    wanted = {"model": model, "metric": metric, "horizon": horizon, "versus": versus}
    got = next((r for r in rows if all(r[k] == v for k, v in wanted.items())), None)
    return got or {"estimate": None, "lower": None, "upper": None}


def cell(row: dict, sign: str = "", digits: int = 3) -> str:
    """Estimate and interval."""
    if row["estimate"] is None:
        return "–"
    text = f"{row['estimate']:{sign}.{digits}f}"
    if row["lower"] is not None:
        text += f" ({row['lower']:{sign}.{digits}f} to {row['upper']:{sign}.{digits}f})"
    return text


def direction_table(found: dict) -> list[str]:
    """Tables of one direction and what they say."""
    other = next(b for a, b in DIRECTIONS if a == found["train"])
    asis = found["as_is"]
    models = list(dict.fromkeys(r["model"] for r in asis))
    text = [
        f"**{STUDIES[found['train']]} to {STUDIES[other]}**: {found['n']} external patients, {found['by_horizon']} "
        f"deaths by {HORIZON:g} months; as they are:",
        "",
        "| model | Uno's C | ΔC to clinical | AUC | Brier | IBS | ΔIBS to clinical | O/E | calibration slope |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for m in models:
        cells = [cell(find(asis, m, "uno_c")), cell(find(asis, m, "uno_c", None, "clinical"), "+")]
        cells += [cell(find(asis, m, "auc", HORIZON)), cell(find(asis, m, "brier", HORIZON))]
        cells += [cell(find(asis, m, "ibs"), "", 4), cell(find(asis, m, "ibs", None, "clinical"), "+", 4)]
        cells += [cell(find(asis, m, "observed_expected", HORIZON), "", 2)]
        cells += [cell(find(asis, m, "calibration_slope", HORIZON), "", 2)]
        text.append(f"| {m} | {' | '.join(cells)} |")
    text += [
        "",
        "| without clinical columns | Uno's C | Harrell's C | O/E | calibration slope |",
        "|---|---|---|---|---|",
    ]
    for m in OMICS_ALONE.values():
        cells = [cell(find(found["alone"], m, "uno_c")), cell(find(found["alone"], m, "harrell_c"))]
        cells += [cell(find(found["alone"], m, k, HORIZON), "", 2) for k in ("observed_expected", "calibration_slope")]
        text.append(f"| {m} | {' | '.join(cells)} |")
    text += [
        "",
        f"After an update learned on the other half of the external patients, mean of {found['halvings']} halvings "
        "(hazard ratio: that of all external patients):",
        "",
        "| model | hazard ratio | O/E after it | IBS after it | ΔIBS to clinical "
        "| slope and baseline: O/E | slope | IBS | ΔIBS to clinical |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for m in [m for m in models if m in found["ratios"]]:
        cells = [f"{found['ratios'][m]:.2f}"]
        for u in UPDATES:
            rows = found[u]
            cells += [cell(find(rows, m, "observed_expected", HORIZON), "", 2)]
            cells += [cell(find(rows, m, "calibration_slope", HORIZON), "", 2)] * (u == "slope_baseline")
            cells += [cell(find(rows, m, "ibs"), "", 4), cell(find(rows, m, "ibs", None, "clinical"), "+", 4)]
        text.append(f"| {m} | {' | '.join(cells)} |")
    return [*text, "", *said(found, models), ""]


def said(found: dict, models: list[str]) -> list[str]:
    """What the intervals say of omics and of calibration, model by model."""
    asis = found["as_is"]
    with_omics = [m for m in models if m not in ("kaplan_meier", "clinical", "clinical_forest")]

    def beyond(rows: list[dict], metric: str, better: int, horizon: float | None = None) -> tuple[list[str], list[str]]:
        up, down = [], []
        for m in with_omics:
            r = find(rows, m, metric, horizon, "clinical")
            if r["lower"] is not None and abs(r["estimate"]) >= _SHOWN:
                up += [m] if min(better * r["lower"], better * r["upper"]) > 0 else []
                down += [m] if max(better * r["lower"], better * r["upper"]) < 0 else []
        return up, down

    lines = []
    for name, rows, metric, better in (
        ("C", asis, "uno_c", 1),
        ("IBS", asis, "ibs", -1),
        ("IBS after slope and baseline", found["slope_baseline"], "ibs", -1),
    ):
        up, down = beyond(rows, metric, better)
        lines.append(
            f"- By {name}: {', '.join(up) or 'no model with omics'} better than the clinical model (interval beyond "
            f"0, not widened for the number of models); worse: {', '.join(down) or 'none'}."
        )
    off = {}
    for what, key in (("O/E", "observed_expected"), ("slope", "calibration_slope")):
        rows = {m: find(asis, m, key, HORIZON) for m in models}
        off[what] = [m for m, r in rows.items() if r["lower"] is not None and not r["lower"] <= 1 <= r["upper"]]
    judged_models = [m for m in models if find(asis, m, "observed_expected", HORIZON)["lower"] is not None]
    right = [m for m in judged_models if m not in off["O/E"] and m not in off["slope"]]
    lines.append(
        f"- Calibration as they are fails (95 % interval without 1): O/E of {', '.join(off['O/E']) or 'none'}; slope "
        f"of {', '.join(off['slope']) or 'none'}. Neither fails: {', '.join(right) or 'none'}."
    )
    not_fitted = [m for m, note in found["notes"].items() if note.startswith(tables.NOT_FITTED)]
    return lines + [f"- Not fitted: {', '.join(not_fitted)}."] * bool(not_fitted)


def table(joint: dict, found: list[dict]) -> list[str]:
    """All of it."""
    kept = []
    for name, label in STUDIES.items():
        s = joint[name]
        missing = ", ".join(f"{c} {n}" for c, n in s["missing"].items()) or "none"
        kept.append(f"{label} {s['n']} patients, {s['events']} deaths in all, missing: {missing}")
    text = [
        f"Commands: `external.py run`, `external.py write`. {'; '.join(kept)}. {joint['mrna']} genes of expression, "
        f"{joint['mutation']} of mutations. Clinical columns: {', '.join(COVARIATES)}. Horizon and tau {HORIZON:g} "
        f"months; {found[0]['bootstraps']} bootstraps of external patients, models and updates kept.",
        "",
    ]
    for one in found:
        text += direction_table(one)
    return text


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--patients", type=int, default=0, help="most patients per study, for trying out; 0 is all")
    parser.add_argument("--quick", action="store_true", help="small models and few bootstraps, for trying out")
    parser.add_argument("--halvings", type=int, default=HALVINGS)
    parser.add_argument("--scratch", type=Path, default=Path("results/external"), help="where results are kept")
    given = parser.parse_args()
    scratch = given.scratch.resolve()
    data = scratch / "joint"
    store = {train: scratch / f"from_{train}.json" for train, _ in DIRECTIONS}
    if given.what == "run":
        if not (data / "joint.json").exists():
            (data / "joint.json").write_text(json.dumps(write_joint(data, given.patients, seed=1)))
        for train, path in store.items():
            path.write_text(json.dumps(one_direction(train, data, scratch, given.halvings, given.quick)))
    joint = json.loads((data / "joint.json").read_text())
    text = table(joint, [json.loads(p.read_text()) for p in store.values()])
    print("\n".join(text))
    if given.what == "write":
        write_table("external", "Models of one study applied to another", "\n".join(text))


if __name__ == "__main__":
    main()
