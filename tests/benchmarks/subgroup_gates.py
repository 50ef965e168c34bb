"""Gate of the held-out survival tests of subgroups: size on null cohorts, and mutants that must fail.

    PYTHONPATH=workflow/scripts:tests/unit python tests/benchmarks/subgroup_gates.py --replicates 1000

METHODS: at 5 % the held-out test rejects 30 to 73 of 1000 null cohorts; the best of 20 (K, seed) and clusters of
survival-screened features, tested in the patients who were clustered, are far above. Clusters are learned anew in every
fold and pooled by the code of the workflow; the number of subgroups is fixed, since a null cohort rightly has one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy.stats import binom
from threadpoolctl import threadpool_limits

import subgroup_null as null
from stratiome.config import EvaluationConfig
from stratiome.subgroups.survival import added_concordance, predict, tests_table

COVARIATES = ("age",)
MUTANT = 0.2
"""Share of rejections that a mutant must exceed."""


def p_likelihood_ratio(seed: int) -> float:
    """Likelihood ratio of the held-out subgroups over the clinical Cox model, stratified by fold."""
    cohort = null.null_cohort(seed)
    found, pooled = null.held_out(cohort, seed)
    tests = tests_table(pooled, found, cohort.outcome, cohort.clinical, COVARIATES, {}, cohort.site)
    p = dict(tests.select("test", "p_value").iter_rows())["likelihood ratio"]
    return 1.0 if p is None else p


def gains(seed: int) -> float:
    """0 where the interval of the difference in Uno's C lies above zero, else 1: what a p-value would do."""
    cohort = null.null_cohort(seed)
    found, _ = null.held_out(cohort, seed)
    predictions = predict(found, cohort.outcome, cohort.clinical, COVARIATES, {})
    rows = added_concordance(predictions, 36.0, EvaluationConfig(bootstraps=200), np.random.default_rng(seed))
    return 0.0 if rows[2]["lower"] is not None and rows[2]["lower"] > 0 else 1.0


def bounds(replicates: int) -> tuple[int, int]:
    """Rejections that a test of size 5 % leaves less than once in 1000."""
    return int(binom.ppf(0.0005, replicates, 0.05)), int(binom.ppf(0.9995, replicates, 0.05))


def line(name: str, p: Callable[[int], float], replicates: int, first: int, judge: str) -> tuple[str, bool]:
    """A line of the table and whether it is as it must be."""
    rejected = sum(p(seed) < 0.05 for seed in range(first, first + replicates))
    low, high = bounds(replicates)
    fine, wanted = {
        "size": (low <= rejected <= high, f"{low} to {high}"),
        "at most": (rejected <= high, f"at most {high}"),
        "mutant": (rejected > MUTANT * replicates, f"above {MUTANT:.0%}"),
    }[judge]
    text = f"| {name} | {replicates} | {rejected} | {100 * rejected / replicates:.1f} % | {wanted} |"
    return f"{text} {'as it must be' if fine else 'NOT as it must be'} |", fine


def main() -> int:
    """Print the table; exit status 1 if a line is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=10_000)
    given = parser.parse_args()
    few = max(given.replicates // 5, 1)
    asked: tuple[tuple[str, Callable[[int], float], int, str], ...] = (
        ("stratified log-rank, held out", null.p_held_out, given.replicates, "size"),
        ("stratified by site, sites confounded", lambda s: null.p_confounded(s, True), given.replicates, "at most"),
        ("likelihood ratio over clinical, held out", p_likelihood_ratio, given.replicates, "size"),
        ("interval of the difference in Uno's C above 0", gains, few, "at most"),
        ("mutant: best of 20 (K, seed), same patients", null.p_best_of_many, few, "mutant"),
        ("mutant: survival-screened features, same patients", null.p_screened, few, "mutant"),
        ("mutant: not stratified, sites confounded", lambda s: null.p_confounded(s, False), few, "mutant"),
    )
    print("| test | replicates | rejected at 5 % | share | must be | |\n|---|---|---|---|---|---|", flush=True)
    good = True
    with threadpool_limits(1):
        for name, p, replicates, judge in asked:
            text, fine = line(name, p, replicates, given.seed, judge)
            print(text, flush=True)
            good = good and fine
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
