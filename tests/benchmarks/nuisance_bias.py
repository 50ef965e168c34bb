"""Where gates of treatment are off: which estimated model does it, and does it go as patients are added?

    python tests/benchmarks/nuisance_bias.py [--parts exact cohorts slope clones] [--write]

`exact` and `cohorts` are of the doubly robust difference in survival where the model of survival lacks the confounder,
`slope` is of the calibration slope of predicted effects where effects do not differ, `clones` of the difference in
survival by clone-censor-weight where the drug does nothing. True models of treatment and of
censoring take the place of estimated ones, one at a time, in the same cohorts. `exact` draws patients to fit on only:
the expected score of new patients is summed over covariates and times in closed form, apart from the code it checks.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
from scipy.special import expit
from scipy.stats import norm
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "unit"), str(ROOT / "tests" / "benchmarks")]

import effect_gates as gates  # noqa: E402
import results  # noqa: E402
from stratiome.treatment import clones  # noqa: E402
from stratiome.treatment.doubly_robust import (  # noqa: E402
    MIN_UNCENSORED,
    Nuisance,
    balanced_folds,
    fit_nuisance,
    influence,
)
from stratiome.treatment.heterogeneity import effect_calibration  # noqa: E402
from stratiome.treatment.weight import TRIM  # noqa: E402

TRUE = {
    "both estimated": (False, False),
    "true treatment": (True, False),
    "true censoring": (False, True),
    "both true": (True, True),
}
"""Whether the model of treatment, and that of censoring, is the true one."""
EXACT = {500: 1000, 1000: 1000, 4000: 600, 16000: 200}
COHORTS = {1000: 400, 4000: 20}
CLONES = {600: 200, 9600: 25}
SLOPE = {600: 1000, 2400: 150}
"""Patients -> replicates."""
FOLDS = 5


class Known:
    """Censoring with a known hazard per month of each patient."""

    def __init__(self, hazard):
        self.hazard = hazard

    def uncensored(self, x: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Shape `(n_patients, n_times)`."""
        return np.exp(-np.outer(self.hazard(x), times))


def swapped(fitted: Nuisance, true: tuple[bool, bool], propensity, censoring) -> Nuisance:
    """A nuisance with true models in place of fitted ones."""
    return replace(
        fitted,
        propensity=propensity if true[0] else fitted.propensity,
        censoring=censoring if true[1] else fitted.censoring,
    )


# --- a wrong model of survival ---------------------------------------------------------------------------------------


def propensity(x: np.ndarray) -> np.ndarray:
    """Of `effect_gates.Confounded`."""
    return expit(0.9 * x[:, 0] - 0.3 * x[:, 1])


def leaving(arm: int):
    """Hazard of censoring of `effect_gates.Confounded`."""
    return lambda x: np.exp(0.5 * x[:, 0] + 0.3 * arm) / 60.0


def cohort_errors(seed: int, n: int) -> list[float]:
    """Error of the cross-fitted difference in survival with each set of true models, by the code under test."""
    data = gates.Confounded.draw([seed, 1], n)
    x, blind = data.x, data.x[:, 1:]
    fold = balanced_folds(data.sample, FOLDS, np.random.default_rng([seed, 2]))
    found = np.zeros(len(TRUE))
    for k in range(FOLDS):
        seen, held = fold != k, fold == k
        fitted = fit_nuisance(x[seen], data.sample.take(seen), outcome=blind[seen], censoring=x[seen])
        for i, true in enumerate(TRUE.values()):
            model = swapped(fitted, true, propensity, (Known(leaving(0)), Known(leaving(1))))
            scores = influence(
                model,
                x[held],
                data.sample.take(held),
                np.array([gates.HORIZON]),
                gates.TAU,
                outcome=blind[held],
                censoring=x[held],
            )
            found[i] += scores.contrasts[:, 1].sum() / n
    return list(found - gates.true_contrasts()[1])


def population() -> tuple[np.ndarray, np.ndarray]:
    """Covariates of `effect_gates.covariates` and their probabilities, by quadrature."""
    node, weight = np.polynomial.legendre.leggauss(40)
    z = np.concatenate([2.5 * node, [-2.5, 2.5]])
    p = np.concatenate([2.5 * weight * norm.pdf(2.5 * node), [norm.cdf(-2.5)] * 2])
    x = np.column_stack([np.tile(z, 2), np.repeat([0.0, 1.0], len(z))])
    p = np.concatenate([0.6 * p, 0.4 * p])
    return x, p / p.sum()


def exact_errors(seed: int, n: int) -> tuple[list[float], np.ndarray]:
    """Bias given models fitted to four fifths of n patients, and what has mean zero and moves with it.

    The second are mean scores of the true models in the patients fitted on.
    """
    x, p = population()
    data = gates.Confounded.draw([seed, 7], n * (FOLDS - 1) // FOLDS)
    fitted = fit_nuisance(data.x, data.sample, outcome=data.x[:, 1:], censoring=data.x)
    found = []
    for true in TRUE.values():
        model = swapped(fitted, true, propensity, (Known(leaving(0)), Known(leaving(1))))
        error = 0.0
        for arm, sign in ((1, 1.0), (0, -1.0)):
            of_arm, given = (e if arm else 1.0 - e for e in (propensity(x), model.propensity(x)))
            leaves = None if true[1] else fitted.censoring[arm].cox.times
            plain, augmented, right = expected_score(model, arm, x, leaves)
            error += sign * float(p @ (plain - of_arm / given * augmented - right))
        found.append(error)
    matrix = np.column_stack([np.ones(len(data.x)), data.x])
    scores = [(data.sample.treated - propensity(data.x))[:, None] * matrix]
    for arm in (0, 1):
        here, until = data.sample.treated == bool(arm), np.minimum(data.sample.time, gates.HORIZON)
        left = ~data.sample.event & (data.sample.time <= gates.HORIZON)
        scores.append((here * (left - leaving(arm)(data.x) * until))[:, None] * matrix)
    return found, np.concatenate([s.mean(axis=0) for s in scores])


def expected_score(
    model: Nuisance, arm: int, x: np.ndarray, leaves: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted survival, the expected martingale part per unit of weight times it, and true survival.

    `leaves` are the times at which the model of censoring steps, None for the true one.
    """
    t, survival, censoring = gates.HORIZON, model.survival[arm], model.censoring[arm]
    dies, lost = gates.Confounded.rate(x, arm), leaving(arm)(x)
    steps = survival.times[survival.times <= t]
    total = np.outer(np.exp(survival.risk(x[:, 1:])), np.concatenate([[0.0], survival.cumulative_hazard[: len(steps)]]))
    curve, jump = np.exp(-total), -np.expm1(-np.diff(total, axis=1))
    inner = steps if leaves is None else np.union1d(steps, leaves[leaves < t])
    edges = np.unique(np.concatenate([[0.0], inner, [t]]))
    middle = (edges[1:] + edges[:-1]) / 2
    here = curve[:, np.searchsorted(steps, middle, side="right")]
    if leaves is None:  # true weights and censoring cancel
        hazard, kept = dies, 1.0
    else:
        hazard, kept = dies + lost, np.maximum(censoring.uncensored(x, middle), MIN_UNCENSORED)
    remaining = np.exp(-np.outer(hazard, edges))
    seen = ((dies / hazard)[:, None] * -np.diff(remaining, axis=1) / (here * kept)).sum(axis=1)
    at_steps = np.maximum(censoring.uncensored(x, steps), MIN_UNCENSORED)
    paid = (jump / (curve[:, 1:] * at_steps) * np.exp(-np.outer(dies + lost, steps))).sum(axis=1)
    return curve[:, -1], curve[:, -1] * (seen - paid), np.exp(-dies * t)


# --- predicted effects that do not differ ----------------------------------------------------------------------------


def no_difference(rng: np.random.Generator, n: int):
    """Covariates and patients as in `effect_gates.no_differences`."""
    x = rng.normal(size=(n, gates.COLUMNS))
    treated = rng.random(n) < expit(0.5 * x[:, 0])
    death = rng.exponential(30.0 / np.exp(0.6 * x[:, 0] + 0.4 * x[:, 1]))
    lost = rng.exponential(60.0, size=n)
    return x, gates.sample_of(treated, np.minimum(death, lost), death <= lost)


def slopes(seed: int, n: int) -> list[list[float]]:
    """Slope, its error, p < 0.05 and their ratio in the half held out: with each set of true models, and with models of
    as many other patients as predictions are learned from."""
    rng = np.random.default_rng([seed, 3])
    x, sample = no_difference(rng, n)
    seen = np.arange(n) < n // 2
    fitted = fit_nuisance(x[seen], sample.take(seen))
    kept = Known(lambda x: np.full(len(x), 1 / 60.0))
    models = [swapped(fitted, true, lambda x: expit(0.5 * x[:, 0]), (kept, kept)) for true in TRUE.values()]
    models.append(fit_nuisance(*no_difference(rng, n // 2)))
    horizons, held, found = np.array([gates.HORIZON]), sample.take(~seen), []
    predicted = influence(fitted, x[~seen], held, horizons, gates.TAU).predicted[:, 0]
    for model in models:
        scores = influence(model, x[~seen], held, horizons, gates.TAU)
        inside = (scores.propensity >= TRIM) & (scores.propensity <= 1.0 - TRIM)
        line = effect_calibration(scores.contrasts[inside, 0], predicted[inside], np.zeros(inside.sum()))
        found.append([line.slope, line.error, float(line.p_value < 0.05), float(line.slope / line.error)])
    return found


# --- copies of patients in two strategies ----------------------------------------------------------------------------


def started(cohort: clones.Cohort) -> np.ndarray:
    """Probability of starting within the grace period in `effect_gates.inert_cohort`, shape `(n_patients,)`."""
    x = cohort.design
    return -np.expm1(-cohort.grace / 6.0 * np.exp(-0.7 * x[:, 0] + 0.3 * x[:, 1]))


STARTED = {"model": clones._started, "true": started}
FLOORS = {f"raised to {MIN_UNCENSORED:g}": MIN_UNCENSORED, "as they are": 0.0}


def clone_errors(seed: int, n: int) -> list[float]:
    """Difference in survival of a drug that does nothing, with each model of starting and each least probability."""
    x, *rest = gates.inert_cohort(np.random.default_rng([seed, 4]), n)
    cohort, found = clones.Cohort(x, *rest, gates.GRACE), []
    for model in STARTED.values():
        for floor in FLOORS.values():
            with mock.patch.object(clones, "_started", model), mock.patch.object(clones, "MIN_UNCENSORED", floor):
                curves = clones.strategy_curves(cohort)[0]
            found.append(float(curves[1].at(gates.HORIZON)[0, 0] - curves[0].at(gates.HORIZON)[0, 0]))
    return found


# --- tables ----------------------------------------------------------------------------------------------------------


def exact() -> str:
    """Table of exact biases."""
    rows = ["| n | training sets | " + " | ".join(TRUE) + " | n times the first |", "|---|---|---|---|---|---|---|"]
    for n, replicates in EXACT.items():
        found = [exact_errors(s, n) for s in range(replicates)]
        errors, moved = np.array([f[0] for f in found]), np.array([f[1] for f in found])
        matrix = np.column_stack([np.ones(replicates), moved])  # what has mean zero leaves the mean as it is
        fit = np.linalg.lstsq(matrix, errors, rcond=None)[0]
        spread = (errors - matrix @ fit).std(axis=0, ddof=matrix.shape[1]) / np.sqrt(replicates)
        cells = [f"{b:+.4f} ({e:.4f})" for b, e in zip(fit[0], spread, strict=True)]
        rows.append(f"| {n} | {replicates} | {' | '.join(cells)} | {n * fit[0, 0]:.1f} |")
    return "\n".join(rows)


def cohorts() -> str:
    """Table of errors in simulated cohorts."""
    head = " | ".join(["n", "cohorts", *TRUE, "both estimated less both true"])
    rows = [f"| {head} |", "|---|---|---|---|---|---|---|"]
    for n, replicates in COHORTS.items():
        errors = np.array([cohort_errors(s, n) for s in range(replicates)])
        values = np.column_stack([errors, errors[:, 0] - errors[:, -1]])
        spread = values.std(axis=0, ddof=1) / np.sqrt(replicates)
        cells = [f"{b:+.4f} ({e:.4f})" for b, e in zip(values.mean(axis=0), spread, strict=True)]
        rows.append(f"| {n} | {replicates} | {' | '.join(cells)} |")
    return "\n".join(rows)


def slope() -> str:
    """Table of calibration slopes."""
    rows = [
        "| n | cohorts | models of contributions | slope | slope over its error: mean, SD | p below 0.05 |",
        "|---|---|---|---|---|---|",
    ]
    for n, replicates in SLOPE.items():
        found = np.array([slopes(s, n) for s in range(replicates)])
        for i, name in enumerate((*TRUE, "both estimated, other patients")):
            own = found[:, i]
            error = own[:, 0].std(ddof=1) / np.sqrt(replicates)
            ratio = f"{own[:, 3].mean():+.2f}, {own[:, 3].std(ddof=1):.2f}"
            rows.append(
                f"| {n} | {replicates} | {name} | {own[:, 0].mean():+.3f} ({error:.3f}) | {ratio} | "
                f"{own[:, 2].mean():.3f} |"
            )
    return "\n".join(rows)


def copies() -> str:
    """Table of clone-censor-weight estimates of nought."""
    rows = [
        "| n | cohorts | P(started) | small P(not started) | difference in survival | less the last |",
        "|---|---|---|---|---|---|",
    ]
    for n, replicates in CLONES.items():
        found = np.array([clone_errors(s, n) for s in range(replicates)])
        for i, (model, floor) in enumerate((m, f) for m in STARTED for f in FLOORS):
            cells = [
                f"{v.mean():+.4f} ({v.std(ddof=1) / np.sqrt(replicates):.4f})"
                for v in (found[:, i], found[:, i] - found[:, -1])
            ]
            rows.append(f"| {n} | {replicates} | {model} | {floor} | {' | '.join(cells)} |")
    return "\n".join(rows)


PARTS = {"exact": exact, "cohorts": cohorts, "slope": slope, "clones": copies}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--write", action="store_true", help="put each part into RESULTS.md")
    given = parser.parse_args()
    for part in given.parts:
        with threadpool_limits(1):
            table = PARTS[part]()
        print(f"{table}\n", flush=True)
        if given.write:
            command = f"`python tests/benchmarks/nuisance_bias.py --parts {part}`"
            results.write_table(f"nuisance_bias {part}", f"Bias of estimated models: {part}", f"{command}\n\n{table}")


if __name__ == "__main__":
    main()
