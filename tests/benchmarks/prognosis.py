"""Survival models side by side on real cohorts, by the workflow itself: five folds, all patients kept.

    PYTHONPATH=workflow/scripts python tests/benchmarks/prognosis.py run --cohorts metabric tcga_brca
    PYTHONPATH=workflow/scripts python tests/benchmarks/prognosis.py write

Each cohort runs as its config says, but for sites (not left out) and baselines (MOFA+ only), up to the evaluation of
prognosis; a run that was stopped goes on. `write` makes the tables, with the stacked model against the best other one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl

from results import write_table
from stratiome.tables import PROGNOSIS_MODELS

ROOT = Path(__file__).resolve().parents[2]
COHORTS = ("metabric", "metabric_dss", "metabric_rfs", "tcga_brca", "tcga_gbmlgg", "tcga_luad", "tcga_blca")
CONFIGS = {"metabric_rfs": "metabric"}
"""Config of a run where it has another name."""
SETTINGS = {
    "metabric_rfs": [
        "cohort=metabric_rfs",
        "endpoint={time: rfs_time_months, event: rfs_event, unit: months, horizons: [60, 120]}",
    ]
}
"""What differs from it."""


def run(cohort: str, folder: Path, seed: int | None) -> None:
    """Evaluate the survival models of one cohort."""
    target = f"{folder}/evaluation/prognosis_metrics.parquet"
    settings = [f"results={folder}", "latent={baselines: [mofa]}", "resamples={leave_site_out: false, folds: 5}"]
    settings += [f"seed={seed}"] * (seed is not None) + SETTINGS.get(cohort, [])
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all"]
    command += [
        "--configfile",
        f"config/cohorts/{CONFIGS.get(cohort, cohort)}.yaml",
        "--config",
        *settings,
        "--",
        target,
    ]
    subprocess.run(command, check=True, cwd=ROOT)


def table(cohort: str, folder: Path) -> list[str]:
    """Rows of one cohort."""
    metrics = pl.read_parquet(folder / "evaluation/prognosis_metrics.parquet")
    metrics = metrics.filter(pl.col("design") == "cross-validation")
    by_fold = pl.read_parquet(folder / "evaluation/prognosis_resamples.parquet")
    by_fold = by_fold.filter(pl.col("design") == "cross-validation")
    models = [m for m in PROGNOSIS_MODELS if m in metrics["model"].to_list()]
    last = metrics["horizon_months"].drop_nulls().max()

    def cell(model: str, metric: str, versus: str | None = None, horizon: float | None = None) -> str:
        rows = metrics.filter(
            pl.col("model") == model,
            pl.col("metric") == metric,
            pl.col("versus").eq_missing(versus),
            pl.col("horizon_months").eq_missing(horizon),
        )
        if rows.is_empty() or rows["estimate"][0] is None:
            return "–"
        e, lo, up = rows.row(0, named=True)["estimate"], rows["lower"][0], rows["upper"][0]
        sign = "+" if versus else ""
        ends = f" ({lo:{sign}.3f} to {up:{sign}.3f})" if lo is not None else ""
        return f"{e:{sign}.3f}{ends}"

    first = metrics.filter(pl.col("model") == "clinical", pl.col("metric") == "uno_c", pl.col("versus").is_null())
    text = [
        f"{cohort}: {first['n'][0]} patients, {first['events'][0]} events; slope at {last:g} months.",
        "",
        "| model | Uno's C | ΔC to clinical | IBS | ΔIBS to clinical | calibration slope |",
        "|---|---|---|---|---|---|",
    ]
    for m in models:
        cells = [cell(m, "uno_c"), cell(m, "uno_c", "clinical"), cell(m, "ibs"), cell(m, "ibs", "clinical")]
        text.append(f"| {m} | {' | '.join(cells)} | {cell(m, 'calibration_slope', None, last)} |")
    return [*text, "", _against_best(by_fold, metrics, models)]


def _against_best(by_fold: pl.DataFrame, metrics: pl.DataFrame, models: list[str]) -> str:
    """Stacked model against the best other one, which is chosen with hindsight."""
    score = {
        (r["model"], r["metric"]): r["estimate"]
        for r in metrics.filter(pl.col("versus").is_null(), pl.col("horizon_months").is_null()).iter_rows(named=True)
    }
    others = [m for m in models if m not in ("stacked", "kaplan_meier") and score[m, "uno_c"] is not None]
    best = max(others, key=lambda m: score[m, "uno_c"])
    folds = by_fold.pivot(on="model", index="resample", values="uno_c").sort("resample")
    d = (folds["stacked"] - folds[best]).drop_nulls().drop_nans().to_numpy()
    error = d.std(ddof=1) / np.sqrt(len(d))
    least = min(others, key=lambda m: score[m, "ibs"])
    return (
        f"Stacked less the best other model by C ({best}, chosen with hindsight): {d.mean():+.3f}, standard error over"
        f" folds {error:.3f}. By IBS ({least}): {score['stacked', 'ibs'] - score[least, 'ibs']:+.4f}."
    )


REFERENCES = {
    "metabric": (0.66, 0.67),
    "metabric_dss": (None, 0.71),
    "tcga_brca": (0.74, 0.72),
    "tcga_gbmlgg": (0.77, 0.84),
    "tcga_luad": (0.66, 0.67),
    "tcga_blca": (0.66, 0.61),
}
"""Mean C of five folds of an elastic-net Cox model on these files: clinical columns, and with expression (READMEs)."""


def reference_points(folders: dict[str, Path]) -> list[str]:
    """Harrell's C as the reference points have it: mean over folds, among held-out patients with expression."""
    import mudata
    from lifelines.utils import concordance_index

    text = [
        "Harrell's C, mean over folds, of held-out patients who have expression, beside the reference points of these"
        " files (elastic-net Cox, five folds, their own covariates):",
        "",
        "| cohort | patients | clinical | reference | clinical + omics | stacked | reference, with expression |",
        "|---|---|---|---|---|---|---|",
    ]
    for cohort, folder in folders.items():
        if cohort not in REFERENCES:
            continue
        measured = list(mudata.read_h5ad(folder / "cohort/cohort.h5mu", mod="mrna").obs_names)
        paths = sorted(folder.glob("resamples/cv-*/prognosis/risks.parquet"))
        risks = pl.concat([pl.read_parquet(p) for p in paths]).filter(pl.col("patient_id").is_in(measured))
        risks = risks.join(pl.read_parquet(folder / "cohort/outcome.parquet"), on="patient_id")
        mean = {
            model: np.mean(
                [
                    concordance_index(g["time_months"], -g["risk"], g["event"])
                    for _, g in risks.filter(pl.col("model") == model).group_by("resample", maintain_order=True)
                ]
            )
            for model in ("clinical", "clinical_omics", "stacked")
        }
        clinical, both = ("–" if r is None else f"{r:.2f}" for r in REFERENCES[cohort])
        ours = [f"{mean[m]:.3f}" for m in mean]
        cells = [cohort, str(risks["patient_id"].n_unique()), ours[0], clinical, ours[1], ours[2], both]
        text.append(f"| {' | '.join(cells)} |")
    return text


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--cohorts", nargs="+", default=list(COHORTS))
    parser.add_argument("--seed", type=int, help="another seed than that of the config: other folds and starts")
    parser.add_argument("--scratch", type=Path, default=Path("results/prognosis"), help="where results are kept")
    given = parser.parse_args()
    text: list[str] = []
    found: dict[str, Path] = {}
    for cohort in given.cohorts:
        folder = (given.scratch / (cohort if given.seed is None else f"{cohort}-{given.seed}")).resolve()
        if given.what == "run":
            run(cohort, folder, given.seed)
        if (folder / "evaluation/prognosis_metrics.parquet").exists():
            text += [*table(cohort, folder), ""]
            found[cohort] = folder
    text += reference_points(found) if given.seed is None else []
    if given.what == "run":
        print("\n".join(text))
    else:
        other = "" if given.seed is None else f" on other folds (seed {given.seed})"
        name = "prognosis" if given.seed is None else f"prognosis seed {given.seed}"
        write_table(name, f"Survival models side by side{other}", "\n".join(text))


if __name__ == "__main__":
    main()
