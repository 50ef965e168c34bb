"""Trials and cohorts with published answers, and one trained on the other: does a learned difference travel?

    python tests/benchmarks/treatment_trials.py [--write]

First tables: hazard ratios and months gained in `../shared/data/trials` and METABRIC, as the workflow works them out.
Last: effects of hormone therapy learned in the Rotterdam cohort (observational) and judged in the German trial (GBSG)
by contributions of its patients, cross-fitted there: do those put first gain more? Nothing was chosen by its outcome.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "benchmarks")]

import results  # noqa: E402
from stratiome.cohort.clinical import read_clinical  # noqa: E402
from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig, load_config  # noqa: E402
from stratiome.plan import clinical_file  # noqa: E402
from stratiome.survival.design import ClinicalDesign  # noqa: E402
from stratiome.treatment.averages import Settings  # noqa: E402
from stratiome.treatment.benefit import ranks_within  # noqa: E402
from stratiome.treatment.doubly_robust import balanced_folds, cross_fit, fit_nuisance, influence  # noqa: E402
from stratiome.treatment.emulate import Sample, emulate  # noqa: E402
from stratiome.treatment.evaluate import evaluate_treatments  # noqa: E402
from stratiome.treatment.heterogeneity import effect_calibration  # noqa: E402
from stratiome.treatment.learners import Training, learn_effects  # noqa: E402
from stratiome.treatment.rate import rate  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
HORIZON = 60.0
ROTTERDAM = ("age", "postmenopausal", "tumor_size_cat", "grade", "lymph_nodes_positive", "pgr", "er", "year_of_surgery")
METABRIC = ("age", "tumor_size_mm", "grade", "lymph_nodes_positive", "er_status", "her2_status")
COLON = {"lev5fu": "arm = 'Lev+5FU'", "lev": "arm = 'Lev'", "observation": "arm = 'Obs'"}
COLON_CONFOUNDERS = ("age", "sex", "nodes", "differ", "obstruct", "adhere", "extent")
CASES = {
    "colon, Lev+5FU against observation": (
        "trials/colon.tsv",
        "os",
        TreatmentConfig(
            arms=COLON, reference="observation", compare="lev5fu", design="randomised", confounders=COLON_CONFOUNDERS
        ),
        "0.69 (0.55 to 0.87)",
    ),
    "colon, Lev against observation": (
        "trials/colon.tsv",
        "os",
        TreatmentConfig(
            arms=COLON, reference="observation", compare="lev", design="randomised", confounders=COLON_CONFOUNDERS
        ),
        "0.97",
    ),
    "gbsg, hormone therapy": (
        "trials/gbsg.tsv",
        "rfs",
        TreatmentConfig(
            column="hormone_therapy",
            design="randomised",
            confounders=("age", "postmenopausal", "tumor_size_mm", "grade", "lymph_nodes_positive", "pgr", "er"),
        ),
        "0.69",
    ),
    "pbc, D-penicillamine": (
        "trials/pbc.tsv",
        "os",
        TreatmentConfig(column="trt_dpenicillamine", design="randomised", confounders=("age", "bili", "albumin")),
        "1.06",
    ),
    "rotterdam, hormone therapy": (
        "trials/rotterdam.tsv",
        "rfs",
        TreatmentConfig(column="hormone_therapy", design="observational", confounders=ROTTERDAM),
        "1.31 crude, about 0.90 adjusted",
    ),
    "METABRIC, chemotherapy": (
        "metabric/clinical.tsv",
        "os",
        TreatmentConfig(column="chemotherapy", design="observational", confounders=METABRIC),
        "1.23 crude (patients with expression)",
    ),
}
SHARED = ("age", "postmenopausal", "grade", "lymph_nodes_positive", "pgr", "er", "size_class")
"""Columns that the Rotterdam cohort and GBSG share."""


def read(path: str) -> pl.DataFrame:
    """One cohort's table."""
    return pl.read_csv(DATA / path, separator="\t", infer_schema_length=None, null_values=["", "NA"])


def outcome_of(table: pl.DataFrame, endpoint: str) -> pl.DataFrame:
    """Time and event of those who have both."""
    time, event = f"{endpoint}_time_months", f"{endpoint}_event"
    found = table.select("patient_id", time_months=pl.col(time).cast(float), event=pl.col(event).cast(int))
    return found.drop_nulls().filter(pl.col("time_months") > 0)


def known_answers() -> list[str]:
    """Lines of the first table."""
    lines = ["| comparison | published HR | HR, unweighted | HR, weighted | months gained, headline | doubly robust |"]
    lines.append(f"|{'---|' * 6}")
    for name, (path, endpoint, treatment, published) in CASES.items():
        table = read(path)
        config = EndpointConfig(time=f"{endpoint}_time_months", event=f"{endpoint}_event", horizons=(HORIZON,))
        settings = Settings(config, EvaluationConfig(bootstraps=500), {}, 1)
        found = evaluate_treatments(table, outcome_of(table, endpoint), {}, (), {"drug": treatment}, settings)
        effects = {(r["weighting"], r["estimand"]): r for r in found.effects if r["subgroup"] == 0}
        headline = "none" if treatment.design == "randomised" else "overlap"
        population = "all" if treatment.design == "randomised" else "overlap"
        robust = next(
            r
            for r in found.averages
            if (r["estimator"], r["population"], r["estimand"]) == ("doubly robust", population, "rmst_difference")
        )
        cells = [
            name,
            published,
            claim(effects["none", "hazard_ratio"], 2),
            claim(effects["overlap", "hazard_ratio"], 2),
            claim(effects[headline, "rmst_difference"], 1),
            claim(robust, 1),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def claim(row: dict, decimals: int) -> str:
    """Estimate with interval."""
    if row["estimate"] is None:
        return row["method"]
    low, high = f"{row['lower']:.{decimals}f}", f"{row['upper']:.{decimals}f}"
    return f"{row['estimate']:.{decimals}f} ({low} to {high})"


def hormone_cohort(path: str) -> tuple[Sample, np.ndarray]:
    """Patients with hormone therapy or not, and the columns that both cohorts share."""
    table = read(path)
    if "tumor_size_mm" in table.columns:
        mm = pl.col("tumor_size_mm")
        size = pl.when(mm <= 20).then(pl.lit("<=20")).when(mm <= 50).then(pl.lit("20-50")).otherwise(pl.lit(">50"))
        table = table.with_columns(tumor_size_cat=size)
    classes = pl.col("tumor_size_cat").replace_strict({"<=20": 1, "20-50": 2, ">50": 3}, return_dtype=pl.Int64)
    table = table.with_columns(
        size_class=classes,
        pgr=(pl.col("pgr").cast(float) + 1).log(),
        er=(pl.col("er").cast(float) + 1).log(),
        lymph_nodes_positive=(pl.col("lymph_nodes_positive").cast(float) + 1).log(),
    )
    drug = TreatmentConfig(column="hormone_therapy", design="observational", confounders=SHARED)
    sample, _ = emulate(table, outcome_of(table, "rfs"), "drug", drug)
    return sample, sample.clinical.select(pl.col(SHARED).cast(float)).to_numpy()


def travels() -> list[str]:
    """Lines of the second table."""
    train, x = hormone_cohort("trials/rotterdam.tsv")
    test, new = hormone_cohort("trials/gbsg.tsv")
    centre, scale = x.mean(axis=0), x.std(axis=0)
    x, new = (x - centre) / scale, (new - centre) / scale
    learned = learn_effects(Training(x, x, train), new, HORIZON, seed=1)
    rng = np.random.default_rng(1)
    splits = [cross_fit(new, test, np.array([HORIZON]), HORIZON, folds=5, rng=rng) for _ in range(5)]
    contrast = np.mean([s.contrasts[:, 0] for s in splits], axis=0)
    one = np.zeros(len(contrast), dtype=np.int64)
    lines = ["| learner | SD of predicted effects, months | rank-weighted average, months | p | calibration slope |"]
    lines.append(f"|{'---|' * 5}")
    for name, predicted in learned.predicted.items():
        if np.ptp(predicted) < 1e-9:
            lines.append(f"| {name} | 0 | the same for all | – | – |")
            continue
        area = rate(contrast, predicted, draws=1000, rng=rng)
        line = effect_calibration(contrast, predicted, one)
        ends = [
            f"{v:+.2f}" for v in (area.estimate, area.estimate - 1.96 * area.error, area.estimate + 1.96 * area.error)
        ]
        slope = f"{line.slope:.2f} ({line.slope - 1.96 * line.error:.2f} to {line.slope + 1.96 * line.error:.2f})"
        lines.append(
            f"| {name} | {predicted.std():.2f} | {ends[0]} ({ends[1]} to {ends[2]}) | {area.p_value:.2f} | {slope} |"
        )
    effect = contrast.mean(), contrast.std(ddof=1) / np.sqrt(len(contrast))
    size = f"{len(x):,} patients of Rotterdam, {len(new)} of GBSG, {int(test.event.sum())} events there"
    average = f"average effect there {effect[0]:+.1f} months over {HORIZON:g} (standard error {effect[1]:.1f})"
    return [f"{size}; {average}; {learned.remark}.", "", *lines]


def within(name: str) -> str:
    """One line: do effects learned in four fifths of a trial tell who gains in the fifth left out?"""
    path, endpoint, treatment, _ = CASES[name]
    table = read(path)
    sample, _ = emulate(table, outcome_of(table, endpoint), "drug", treatment)
    rng = np.random.default_rng(1)
    fold = balanced_folds(sample, 5, rng)
    contrast, predicted = np.empty(len(sample)), np.empty(len(sample))
    for k in range(5):
        held, train = fold == k, sample.take(fold != k)
        design = ClinicalDesign.fit(sample.clinical, treatment.confounders, {}, ~held)
        x = design.transform(sample.clinical)
        scores = influence(fit_nuisance(x[~held], train), x[held], sample.take(held), np.array([HORIZON]), HORIZON)
        contrast[held] = scores.contrasts[:, 0]
        learned = learn_effects(Training(x[~held], x[~held], train), x[held], HORIZON, seed=1)
        predicted[held] = learned.predicted["combined"]
    order = ranks_within(predicted, fold)
    if np.ptp(order) == 0:
        return f"| {name} | {len(sample)} | every patient is given the average | – |"
    area = rate(contrast, order, draws=1000, rng=rng)
    low, high = area.estimate - 1.96 * area.error, area.estimate + 1.96 * area.error
    return f"| {name} | {len(sample)} | {area.estimate:+.2f} ({low:+.2f} to {high:+.2f}) | {area.p_value:.2f} |"


def cohorts() -> list[str]:
    """METABRIC's treatments on three outcomes and glioma chemotherapy by their configs, with negative controls."""
    lines = ["| cohort | treatment | HR, weighted | months gained, weighted | negative control, months |"]
    lines.append(f"|{'---|' * 5}")
    for name in ("metabric", "metabric_dss", "metabric_rfs", "tcga_gbmlgg"):
        raw = yaml.safe_load((ROOT / "config" / "cohorts" / f"{name}.yaml").read_text(encoding="utf-8"))
        raw["data"]["folder"] = str(DATA / Path(raw["data"]["folder"]).name)
        config = load_config(raw)
        read_in = read_clinical(clinical_file(config), config)
        settings = Settings(config.endpoint, EvaluationConfig(bootstraps=500), config.data.types, config.seed)
        given = (read_in.covariates, read_in.outcome, {}, (), config.treatments, settings)
        found = evaluate_treatments(*given, controls=read_in.controls)
        for key in config.treatments:
            own = [r for r in found.effects if (r["treatment"], r["weighting"], r["subgroup"]) == (key, "overlap", 0)]
            by = {r["estimand"]: r for r in own if r["estimand"] != "survival_difference"}
            control = next(
                (
                    claim(r, 1)
                    for r in found.robustness
                    if (r["treatment"], r["check"], r["estimand"]) == (key, "negative control", "rmst_difference")
                ),
                "–",
            )
            months = f"{claim(by['rmst_difference'], 1)} over {by['rmst_difference']['horizon_months']:g}"
            lines.append(f"| {name} | {key} | {claim(by['hazard_ratio'], 2)} | {months} | {control} |")
    return lines


def main() -> int:
    """Print both tables, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into RESULTS.md")
    given = parser.parse_args()
    with threadpool_limits(1):
        own = ["| trial, five folds | n | rank-weighted average of the combination, months | p |", f"|{'---|' * 4}"]
        own += [within(name) for name in list(CASES)[:4]]
        parts = (known_answers(), cohorts(), own, ["Learned in Rotterdam, judged in GBSG:"], travels())
        text = "\n\n".join("\n".join(part) for part in parts)
    print(text)
    if given.write:
        command = "`python tests/benchmarks/treatment_trials.py`"
        results.write_table("treatment_trials", "Treatments with published answers", f"{command}\n\n{text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
