"""Simulators with known truth for the metrics of prognosis, the estimators, and wrong ones that must fail.

Parts of `tests/benchmarks/prognosis_gates.py`. Hazards are constant, so truth has a closed form at each covariate and
is averaged over these; no estimator enters it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stratiome.prognosis.calibration import calibration_slope
from stratiome.prognosis.censoring import Observed, brier_given, uno_c_given
from stratiome.prognosis.decision import net_benefit
from stratiome.prognosis.incidence import fit_other_causes
from stratiome.prognosis.metrics import auc, brier, integrated, observed_expected
from stratiome.survival.censoring_model import fit_censoring
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.cox import fit_cox

GRID = np.linspace(0.0, 60.0, 61)
HORIZON = 60.0
POINTS = 4096
"""Points over which truth is averaged."""


@dataclass(frozen=True)
class Gate:
    """What a metric must be, over replicates on average.

    Attributes
    ----------
    metric
        Name of the metric.
    bound
        Largest distance of the mean of ours from the truth.
    mutant
        Smallest distance of the mean of the mutant from the truth.
    """

    metric: str
    bound: float
    mutant: float


Values = dict[str, dict[str, float]]
"""Method -> metric -> value."""


def points(columns: int) -> np.ndarray:
    """Standard normal covariates that fill the space evenly, over which truth is averaged, `(POINTS, columns)`."""
    from scipy.stats import norm, qmc

    return np.asarray(norm.ppf(qmc.Sobol(columns, rng=1).random(POINTS)))


def ordered(first: np.ndarray, risk: np.ndarray) -> float:
    """Share of pairs ordered rightly; `first[i, j]` is the probability that i fails of the event before j does."""
    right = (risk[:, None] > risk) + 0.5 * (risk[:, None] == risk)
    return float((first * right).sum() / first.sum())


# --- censoring that depends on a marker ------------------------------------------------------------------------------

SLOPE, LEAVING = 1.3, -0.8
"""Log hazard ratios of the marker for failing and for being censored."""


def _marker(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Marker, months to failure, and months to censoring: the healthy leave early."""
    x = rng.normal(size=n)
    failed = 40.0 * rng.exponential(size=n) * np.exp(-SLOPE * x)
    return x, failed, 60.0 * rng.exponential(size=n) * np.exp(-LEAVING * x)


def _marker_curves(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.outer(np.exp(SLOPE * x), GRID / 40.0))


def marker_truth() -> dict[str, float]:
    """Concordance and integrated Brier score of the marker without censoring."""
    x = points(1)[:, 0]
    hazard, curves = np.exp(SLOPE * x) / 40.0, _marker_curves(x)
    both = hazard[:, None] + hazard
    first = hazard[:, None] / both * -np.expm1(-both * HORIZON)
    score = (curves * (1.0 - curves)).mean(axis=0)
    return {"uno_c": ordered(first, x), "ibs": float(np.trapezoid(score, GRID) / HORIZON)}


def marker_replicate(seed: int, n: int = 500) -> Values:
    """Weights by a Cox model of censoring from n training patients, and the mutant: by Kaplan-Meier, for all alike."""
    rng = np.random.default_rng([seed, 82])
    x, failed, left = _marker(n, rng)
    model = fit_censoring(x[:, None], np.minimum(failed, left), failed <= left)
    x, failed, left = _marker(n, rng)
    sample = Sample.make(np.minimum(failed, left), failed <= left)
    observed = Observed(model.uncensored(x[:, None], GRID), GRID)
    curves = _marker_curves(x)
    return {
        "ours": {
            "uno_c": float(uno_c_given(sample, x, HORIZON, observed)[0]),
            "ibs": float(integrated(brier_given(sample, curves, GRID, observed), GRID)[0]),
        },
        "Kaplan-Meier weights": {
            "uno_c": float(uno_c(sample, x, HORIZON)[0]),
            "ibs": float(integrated(brier(sample, curves, GRID), GRID)[0]),
        },
    }


# --- competing risks -------------------------------------------------------------------------------------------------

THRESHOLD = 0.3


@dataclass(frozen=True)
class Cohort:
    """Simulated patients: columns, time, cause that came first (1 the event, 2 another), and months to censoring."""

    x: np.ndarray
    time: np.ndarray
    cause: np.ndarray
    left: np.ndarray

    @property
    def follow_up(self) -> np.ndarray:
        """Months under observation."""
        return np.minimum(self.time, self.left)

    def first(self, cause: int) -> np.ndarray:
        """Who was seen to fail of a cause."""
        return (self.cause == cause) & (self.time <= self.left)


def hazards(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Constant hazards of the event and of other causes; the second column drives both, against each other."""
    return np.exp(0.8 * x[:, 0] - 0.5 * x[:, 1]) / 160.0, np.exp(0.9 * x[:, 1]) / 80.0


def draw_competing(n: int, rng: np.random.Generator) -> Cohort:
    """Patients with two causes of failure and uniform censoring up to 120 months."""
    x = rng.normal(size=(n, 2))
    first, other = hazards(x)
    cause = np.where(rng.random(n) < first / (first + other), 1, 2)
    return Cohort(x, rng.exponential(size=n) / (first + other), cause, rng.uniform(0.0, 120.0, n))


def true_incidence(x: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`F_1(t | x)` of the simulator, shape `(n_patients, n_times)`."""
    first, other = hazards(x)
    total = first + other
    return (first / total)[:, None] * -np.expm1(-np.outer(total, times))


def competing_truth() -> dict[str, float]:
    """Metrics of the true risk, all failures being known."""
    x = points(2)
    curves = true_incidence(x, GRID)
    risk = curves[:, -1]
    hazard, other = hazards(x)
    total = hazard + other
    never = other / total  # share of patients who would fail of another cause first
    alone, both = total[:, None], total[:, None] + total
    lasting = never * -np.expm1(-alone * HORIZON) / alone + (1.0 - never) * -np.expm1(-both * HORIZON) / both
    chosen = risk >= THRESHOLD
    harm = THRESHOLD / (1.0 - THRESHOLD)
    return {
        "risk": float(risk.mean()),
        "uno_c": ordered(hazard[:, None] * lasting, risk),
        "auc": ordered(risk[:, None] * (1.0 - risk), risk),
        "ibs": float(np.trapezoid((curves * (1.0 - curves)).mean(axis=0), GRID) / HORIZON),
        "observed_expected": 1.0,
        "calibration_slope": 1.0,
        "net_benefit": float((chosen * (risk - (1.0 - risk) * harm)).mean()),
    }


def competing_replicate(seed: int, n: int = 1000) -> Values:
    """Metrics of the true risk in n censored patients; the mutant takes failures of other causes for censorings."""
    made = draw_competing(n, np.random.default_rng([seed, 84]))
    curves = true_incidence(made.x, GRID)
    samples = {
        "ours": Sample.make(made.follow_up, made.first(1), competing=made.first(2)),
        "others as censored": Sample.make(made.follow_up, made.first(1)),
    }
    return {name: _metrics(sample, curves) for name, sample in samples.items()}


def _metrics(sample: Sample, curves: np.ndarray) -> dict[str, float]:
    risk = curves[:, -1]
    found = {
        "risk": sample.risk_at(HORIZON),
        "uno_c": uno_c(sample, risk, HORIZON),
        "auc": auc(sample, risk, HORIZON),
        "ibs": integrated(brier(sample, 1.0 - curves, GRID), GRID),
        "observed_expected": observed_expected(sample, 1.0 - risk, HORIZON),
        "calibration_slope": calibration_slope(sample, 1.0 - risk, HORIZON),
        "net_benefit": net_benefit(sample, risk, HORIZON, np.array([THRESHOLD]))[:, 0],
    }
    return {metric: float(values[0]) for metric, values in found.items()}


def predicted_replicate(seed: int, n: int = 1000) -> Values:
    """Mean predicted risk at the horizon, and mean distance from the true one, of models fitted on n patients.

    Ours combines cause-specific Cox models; the mutant is one minus the cause-specific survival of the event's.
    """
    made = draw_competing(n, np.random.default_rng([seed, 85]))
    time, event, competing = made.follow_up, made.first(1), made.first(2)
    others = fit_other_causes(made.x, time, event, competing, 10)
    new = draw_competing(n, np.random.default_rng([seed, 86])).x
    alone = fit_cox(made.x, time, event).survival(new, GRID)
    truth = true_incidence(new, GRID)[:, -1]
    risks = {"ours": 1.0 - others.free_of_event(alone, new, GRID)[:, -1], "others as censored": 1.0 - alone[:, -1]}
    return {
        name: {"mean risk less truth": float((r - truth).mean()), "mean distance": float(np.abs(r - truth).mean())}
        for name, r in risks.items()
    }


# --- the gates -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One simulator: truth, what a replicate gives by method (ours first), and the gate of each metric."""

    truth: Callable[[], dict[str, float]]
    replicate: Callable[[int], Values]
    gates: tuple[Gate, ...]


def _no_error() -> dict[str, float]:
    return {"mean risk less truth": 0.0, "mean distance": 0.0}


ROWS: dict[str, Row] = {
    "censoring": Row(marker_truth, marker_replicate, (Gate("uno_c", 0.005, 0.010), Gate("ibs", 0.003, 0.010))),
    "competing": Row(
        competing_truth,
        competing_replicate,
        (
            Gate("risk", 0.005, 0.10),
            Gate("uno_c", 0.005, 0.025),
            Gate("auc", 0.005, 0.05),
            Gate("ibs", 0.003, 0.015),
            Gate("observed_expected", 0.02, 0.3),
            Gate("calibration_slope", 0.03, 0.05),
            Gate("net_benefit", 0.005, 0.03),
        ),
    ),
    "absolute": Row(
        _no_error, predicted_replicate, (Gate("mean risk less truth", 0.006, 0.06), Gate("mean distance", 0.03, 0.06))
    ),
}


def judge(found: list[Values], method: str, metric: str) -> tuple[float, float]:
    """Mean over replicates and its standard error."""
    values = np.array([one[method][metric] for one in found])
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
