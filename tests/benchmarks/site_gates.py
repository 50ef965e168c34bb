"""Treatment effects over sites, and claims looked for in another cohort: coverage and false answers on known truth.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow/scripts:tests/unit python tests/benchmarks/site_gates.py --part sites
    OMP_NUM_THREADS=1 PYTHONPATH=workflow/scripts:tests/unit python tests/benchmarks/site_gates.py --part claims

Sites have log hazard ratios that are normal around -0.7. Bounds, set before: the interval of the average site holds it
in at least 95 % less three Monte Carlo errors; a claim is called not replicated where both cohorts have the same truth
in at most 5 % and three Monte Carlo errors, of either estimand (family-wise, as corrected). Mutant: the fixed-effect
interval.
"""

from __future__ import annotations

import argparse
from functools import cache

import numpy as np
import polars as pl
from scipy.stats import norm

from results import write_table
from stratiome import tables
from stratiome.audit.replication import Here, effect_rows
from stratiome.bundle.claims import claims_table
from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.survival.outcome import time_grid
from stratiome.treatment.averages import Settings
from stratiome.treatment.effect import compare_headline
from stratiome.treatment.emulate import Sample
from stratiome.treatment.sites import site_rows
from treatment_cohort import planted

TAU, MEAN = 60.0, -0.7
ENDPOINT = EndpointConfig(time="t", event="e", horizons=(TAU,))
DRUG = TreatmentConfig(column="drug", design="observational", confounders=("severity", "age"))


@cache
def truths() -> tuple[np.ndarray, np.ndarray]:
    """Log hazard ratios, and the months gained in the overlap population of such a cohort."""
    severity, age = np.random.default_rng(0).normal(size=(2, 200_000))
    chance = 1 / (1 + np.exp(-(severity - 0.4 * age)))
    rate = np.exp(0.7 * severity + 0.3 * age) / 70
    ratios = np.linspace(-4, 2.5, 131)

    def mean(r: np.ndarray) -> np.ndarray:
        return (1 - np.exp(-r * TAU)) / r

    gains = [np.average(mean(rate * np.exp(r)) - mean(rate), weights=chance * (1 - chance)) for r in ratios]
    return ratios, np.array(gains)


def gain(ratio: np.ndarray | float) -> np.ndarray:
    """True months gained with a log hazard ratio."""
    return np.interp(ratio, *truths())


def cohort_of_sites(ratios: np.ndarray, n: int, seed: int) -> tuple[Sample, np.ndarray, dict[str, str]]:
    """One cohort whose sites have log hazard ratios of their own: sample, confounders, patient -> site."""
    parts = [planted(1000 * seed + k, n, (float(r),)) for k, r in enumerate(ratios)]
    named = [p.clinical.with_columns(patient_id=pl.lit(f"{k}-") + pl.col("patient_id")) for k, p in enumerate(parts)]
    clinical, samples = pl.concat(named), [p.sample for p in parts]
    joined = (np.concatenate([getattr(s, a) for s in samples]) for a in ("treated", "time", "event"))
    where = {p: f"site-{p.split('-')[0]}" for p in clinical["patient_id"]}
    return Sample(clinical, *joined), np.concatenate([p.design for p in parts]), where


def sites(k: int, spread: float, n: int, replicates: int, draws: int) -> tuple[float, ...]:
    """Coverage of the average site, of a new one, the same by the fixed-effect interval, and error of the average."""
    settings = Settings(ENDPOINT, EvaluationConfig(bootstraps=draws), {}, 1)
    hits, away = np.zeros(4), []
    many = MEAN + spread * np.random.default_rng(1).normal(size=100_000)
    mean = float(gain(many).mean())
    for r in range(replicates):
        rng = np.random.default_rng([k, round(100 * spread), r])
        ratios = MEAN + spread * rng.normal(size=k + 1)
        rows, summary = site_rows("drug", *cohort_of_sites(ratios[:k], n, 10_000 * k + r), settings)
        found = next(s for s in summary if s["estimand"] == "rmst_difference")
        own = [r for r in rows if r["estimand"] == "rmst_difference" and r["standard_error"]]
        weight = np.array([r["standard_error"] for r in own]) ** -2.0
        fixed = np.average([r["estimate"] for r in own], weights=weight)
        half, new = norm.ppf(0.975) / np.sqrt(weight.sum()), float(gain(ratios[k]))
        hits += (
            found["lower"] <= mean <= found["upper"],
            found["prediction_lower"] <= new <= found["prediction_upper"],
            abs(fixed - mean) <= half,
            abs(fixed - new) <= half,
        )
        away.append(found["estimate"] - mean)
    return (*(hits / replicates), float(np.mean(away)))


def report_sites(replicates: int, draws: int) -> str:
    """Table of the coverage over sites."""
    least = 0.95 - 3 * np.sqrt(0.95 * 0.05 / replicates)
    lines = [
        f"{replicates} replicates, {draws} bootstraps, 200 patients a site; bound of the average site: {least:.3f}.",
        "",
        "| sites | SD of log hazard ratios | average site in its interval | within | new site in prediction interval |"
        " average site in fixed-effect interval | new site in it | error of the average, months |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for spread in (0.0, 0.5):
        for k in (4, 8):
            mean, new, fixed, fixed_new, away = sites(k, spread, 200, replicates, draws)
            ok = "yes" if mean >= least else "no"
            lines.append(
                f"| {k} | {spread:g} | {mean:.3f} | {ok} | {new:.3f} | {fixed:.3f} | {fixed_new:.3f} | {away:+.2f} |"
            )
    return "\n".join(lines)


def claim(ratio: float, n: int, seed: int, draws: int) -> pl.DataFrame:
    """Claims of a cohort on all of its patients."""
    cohort = planted(seed, n, (ratio,))
    settings = Settings(ENDPOINT, EvaluationConfig(bootstraps=draws), {}, seed)
    rng = np.random.default_rng(seed)
    sample = cohort.sample
    found, _ = compare_headline(sample, cohort.design, False, settings.question, draws, 0.95, rng)
    rows = []
    z = norm.ppf(0.975)
    for (estimand, time), value, error in zip(settings.question.contrasts, found.estimate, found.error, strict=True):
        ends = {"estimate": value, "lower": value - z * error, "upper": value + z * error}
        size = {"n": n, "events": int(sample.event.sum()), "n_treated": int(sample.treated.sum())}
        key = {"treatment": "drug", "subgroup": 0, "weighting": "overlap", "estimand": estimand, "horizon_months": time}
        blank = dict.fromkeys(("effective_n", "p_value", "p_holm", "truth"))
        rows.append(ends | size | key | blank | {"method": "", "held_out": False})
    effects = tables.from_rows(rows, tables.TreatmentEffects)
    return claims_table(effects, tables.from_rows([], tables.SubgroupSurvival), {"drug": DRUG}, TAU, 0.95, 10)


def claims(claimed: float, there: float, replicates: int, draws: int, n: int = 400) -> tuple[dict[str, float], float]:
    """Share of each verdict on months gained, and of replicates in which any claim is called not replicated."""
    verdicts: dict[str, float] = {}
    failed = 0
    for r in range(replicates):
        other = planted(500_000 + r, n, (there,))
        here = Here(other.clinical, other.outcome, {}, {"drug": DRUG}, {}, time_grid(ENDPOINT), draws, 0.95, r)
        rows = effect_rows(claim(claimed, n, r, draws), here)
        first = next(x["verdict"] for x in rows if x["estimand"] == "rmst_difference")
        verdicts[first] = verdicts.get(first, 0) + 1 / replicates
        failed += any(x["p_holm"] < 0.05 for x in rows)
    return verdicts, failed / replicates


def report_claims(replicates: int, draws: int) -> str:
    """Table of the verdicts."""
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / replicates)
    names = ("replicated", "replicated in direction, not in size", "undecided", "not replicated", "nothing was claimed")
    lines = [
        f"{replicates} pairs of cohorts of 400 patients, {draws} bootstraps; verdict on the months gained, and how"
        f" often any of two estimands differs (p < 0.05, Holm); bound where both truths are the same: {most:.3f}.",
        "",
        "| months gained, claimed | there | " + " | ".join(names) + " | any differs | within |",
        "|---|---|" + "---|" * (len(names) + 2),
    ]
    for claimed, there in ((-0.9, -0.9), (0.0, 0.0), (-0.9, 0.0), (-0.9, 0.9)):
        shares, failed = claims(claimed, there, replicates, draws)
        cells = " | ".join(f"{shares.get(v, 0.0):.3f}" for v in names)
        ok = "–" if claimed != there else "yes" if failed <= most else "no"
        lines.append(f"| {gain(claimed):.1f} | {gain(there):.1f} | {cells} | {failed:.3f} | {ok} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("sites", "claims"), required=True)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--bootstraps", type=int, default=100)
    given = parser.parse_args()
    made = (report_sites if given.part == "sites" else report_claims)(given.replicates, given.bootstraps)
    heading = {"sites": "Treatment effects over sites: coverage", "claims": "Claims in another cohort: verdicts"}
    write_table(f"site_gates {given.part}", heading[given.part], made)


if __name__ == "__main__":
    main()
