"""Simulators of METHODS §6 for effects of treatment, the methods, and wrong ones that must fail.

A gate is a mean, or a share, over replicates with its bounds; `tests/benchmarks/treatment_gates.py` has them at full
size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from scipy.special import expit
from scipy.stats import norm

from stratiome.config import TreatmentConfig
from stratiome.survival.censoring import survival_curve
from stratiome.survival.cox import fit_cox
from stratiome.treatment.clones import Cohort, compare_strategies
from stratiome.treatment.doubly_robust import average, cross_fit, fit_nuisance, influence, over_splits
from stratiome.treatment.effect import Question
from stratiome.treatment.emulate import Sample, emulate
from stratiome.treatment.hazard import hazard_ratio
from stratiome.treatment.heterogeneity import effect_calibration, group_effects, linear_projection, quarters
from stratiome.treatment.policy import beats_both, decide, gains, learn_threshold, learn_tree, value
from stratiome.treatment.rate import rate
from stratiome.treatment.weight import TRIM, fit_propensity, overlap_weights

SIZE, COVERAGE = (0.030, 0.073), (0.927, 0.970)
"""Bounds of METHODS F2 for a test at 5 % and for a 95 % interval, in 1000 replicates."""


def sample_of(treated: np.ndarray, time: np.ndarray, event: np.ndarray) -> Sample:
    """Patients without clinical columns."""
    ids = pl.DataFrame({"patient_id": [f"P{i:06d}" for i in range(len(time))]})
    return Sample(ids, treated, time, event)


# --- four cells of double robustness ---------------------------------------------------------------------------------

HORIZON, TAU = 24.0, 36.0
CELLS = {
    "both right": (True, True),
    "survival right": (True, False),
    "treatment and censoring right": (False, True),
    "both wrong": (False, False),
}
"""Which models have the confounder: that of survival, and those of treatment and of censoring."""


@dataclass(frozen=True)
class Confounded:
    """Sicker patients (first column) are treated and lost to follow-up more often and die earlier."""

    x: np.ndarray
    sample: Sample

    @staticmethod
    def rate(x: np.ndarray, arm: int) -> np.ndarray:
        """Hazard per month."""
        return np.exp(0.9 * x[:, 0] + 0.4 * x[:, 1] + arm * (-0.5 + 0.3 * x[:, 1])) / 35.0

    @classmethod
    def draw(cls, seed: list[int], n: int) -> Confounded:
        """Exponential survival and censoring in each arm."""
        rng = np.random.default_rng(seed)
        x = covariates(rng, n)
        treated = rng.random(n) < expit(0.9 * x[:, 0] - 0.3 * x[:, 1])
        death = rng.exponential(1.0 / np.where(treated, cls.rate(x, 1), cls.rate(x, 0)))
        lost = rng.exponential(60.0 / np.exp(0.5 * x[:, 0] + 0.3 * treated))
        return cls(x, sample_of(treated, np.minimum(death, lost), death <= lost))


def covariates(rng: np.random.Generator, n: int) -> np.ndarray:
    """A normal and a binary column."""
    return np.column_stack([np.clip(rng.normal(size=n), -2.5, 2.5), rng.random(n) < 0.4])


@lru_cache
def true_contrasts() -> tuple[float, float]:
    """Differences in restricted mean survival and in survival of a million patients."""
    x = covariates(np.random.default_rng(99), 1_000_000)
    rate = [Confounded.rate(x, arm) for arm in (0, 1)]
    months = [float((-np.expm1(-r * TAU) / r).mean()) for r in rate]
    alive = [float(np.exp(-r * HORIZON).mean()) for r in rate]
    return months[1] - months[0], alive[1] - alive[0]


def four_cells(seed: int, n: int = 1000, folds: int = 5) -> dict[str, dict[str, float]]:
    """Cell -> error of both contrasts, and whether 95 % intervals hold the truth."""
    data = Confounded.draw([seed, 1], n)
    full, blind = data.x, data.x[:, 1:]
    z, found = float(norm.ppf(0.975)), {}
    for name, (survival, treatment) in CELLS.items():
        scores = cross_fit(
            full if treatment else blind,
            data.sample,
            np.array([HORIZON]),
            TAU,
            folds=folds,
            rng=np.random.default_rng([seed, 2]),
            outcome=full if survival else blind,
            censoring=full if treatment else blind,
        )
        effect = average(scores, data.sample.treated, "all")
        off = effect.estimate - np.array(true_contrasts())
        held = np.abs(off) <= z * effect.error
        found[name] = {
            "error of survival": off[1],
            "error of months": off[0],
            "survival covered": float(held[1]),
            "months covered": float(held[0]),
        }
    return found


def median_of_splits(seed: int, n: int = 1000, splits: int = 5, columns: slice = slice(None)) -> dict[str, float]:
    """As the workflow estimates: the median of several splits; all models right, or (mutant) without the confounder."""
    data, rng = Confounded.draw([seed, 1], n), np.random.default_rng([seed, 2])
    x = data.x[:, columns]
    scores = [cross_fit(x, data.sample, np.array([HORIZON]), TAU, folds=5, rng=rng) for _ in range(splits)]
    effect = over_splits([average(s, data.sample.treated, "all") for s in scores])
    off = effect.estimate - np.array(true_contrasts())
    held = np.abs(off) <= float(norm.ppf(0.975)) * effect.error
    return {
        "error of survival": float(off[1]),
        "error of months": float(off[0]),
        "survival covered": float(held[1]),
        "months covered": float(held[0]),
    }


# --- differences between patients where there are none ---------------------------------------------------------------

COLUMNS = 15
"""Covariates, of which two drive survival and treatment; none changes the hazard ratio."""


def no_differences(seed: int, n: int = 600) -> dict[str, float]:
    """Whether 5 % tests say that a constant effect differs: on patients held out, and (mutant) on those it saw.

    Survival is exponential with a hazard ratio of 1, so that neither the absolute nor the relative effect differs.
    """
    rng = np.random.default_rng([seed, 3])
    x = rng.normal(size=(n, COLUMNS))
    treated = rng.random(n) < expit(0.5 * x[:, 0])
    death = rng.exponential(30.0 / np.exp(0.6 * x[:, 0] + 0.4 * x[:, 1]))
    lost = rng.exponential(60.0, size=n)
    sample = sample_of(treated, np.minimum(death, lost), death <= lost)
    seen = np.arange(n) < n // 2
    nuisance = fit_nuisance(x[seen], sample.take(seen))
    horizons, found = np.array([HORIZON]), {}
    for name, rows in (("held out", ~seen), ("training patients", seen)):
        scores = influence(nuisance, x[rows], sample.take(rows), horizons, TAU)
        inside = (scores.propensity >= TRIM) & (scores.propensity <= 1 - TRIM)
        contrast, predicted = scores.contrasts[inside, 0], scores.predicted[inside, 0]
        one = np.zeros(inside.sum(), dtype=np.int64)
        found |= {
            f"rank-weighted, {name}": rate(contrast, predicted, draws=200, rng=rng).p_value < 0.05,
            f"calibration slope, {name}": effect_calibration(contrast, predicted, one).p_value < 0.05,
        }
        if name == "held out":
            risk = quarters(1 - scores.predicted_survival[0][inside, 0])
            found["equal effects by baseline risk, held out"] = group_effects(contrast, risk).p_value < 0.05
            found["linear trend, held out"] = linear_projection(contrast, x[rows][inside][:, :1]).p_value < 0.05
    return {k: float(v) for k, v in found.items()}


# --- a drug that does nothing, started while patients live -----------------------------------------------------------

GRACE = 4.0
INERT = TreatmentConfig(
    column="drug", design="observational", confounders=("severity", "marker"), start="start", landmark=GRACE
)


def inert_cohort(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Covariates, time, event and start (infinite where there is none) of patients whose drug does nothing."""
    x = covariates(rng, n)
    death = rng.exponential(20.0 / np.exp(0.8 * x[:, 0] + 0.3 * x[:, 1]))
    planned = rng.exponential(6.0 / np.exp(-0.7 * x[:, 0] + 0.3 * x[:, 1]))
    lost = rng.uniform(20.0, 80.0, n)
    time = np.minimum(death, lost)
    return x, time, death <= lost, np.where(planned < time, planned, np.inf)


def inert_drug(seed: int, n: int = 600) -> dict[str, float]:
    """Log hazard ratios, and differences in survival, of a drug without effect that sicker patients get later.

    Wrong ones: treated at any time against never, from time zero; and copies of patients whose weights know no
    confounder.
    """
    rng = np.random.default_rng([seed, 4])
    x, time, event, planned = inert_cohort(rng, n)
    given = np.isfinite(planned)
    ids = [f"P{i:06d}" for i in range(n)]
    start = pl.Series([float(s) if g else None for s, g in zip(planned, given, strict=True)], dtype=pl.Float64)
    clinical = pl.DataFrame(
        {"patient_id": ids, "drug": given.astype(float), "start": start, "severity": x[:, 0], "marker": x[:, 1]}
    )
    outcome = pl.DataFrame({"patient_id": ids, "time_months": time, "event": event.astype(np.int64)})
    sample, _ = emulate(clinical, outcome, "drug", INERT)
    design = sample.clinical.select("severity", "marker").to_numpy()
    weights = overlap_weights(sample.treated, fit_propensity(design, sample.treated).probability)
    landmark = hazard_ratio(sample, weights, 0.95)
    ever = hazard_ratio(sample_of(given, time, event), None, 0.95)
    # Counting process: untreated up to the start, treated from it on.
    x_split = np.vstack([np.column_stack([np.zeros(n), x]), np.column_stack([np.ones(n), x])[given]])
    entry = np.concatenate([np.zeros(n), planned[given]])
    until = np.concatenate([np.where(given, planned, time), time[given]])
    died = np.concatenate([event & ~given, event[given]])
    moving = fit_cox(x_split, until, died, entry=entry).coefficients[0]
    question = Question((HORIZON,), HORIZON, np.array([0.0]))
    right = Cohort(x, time, event, planned, GRACE)
    found = compare_strategies(right, question, 0, rng).estimate
    plain = compare_strategies(Cohort(np.zeros((n, 0)), time, event, right.start, GRACE), question, 0, rng).estimate
    curves = [survival_curve(time[a], event[a]).at(HORIZON)[0, 0] for a in (given, ~given)]
    return {
        "landmark": float(np.log(landmark.estimate)),
        "counting process": float(moving),
        "ever treated": float(np.log(ever.estimate)),
        "clone-censor-weight": float(found[1]),
        "copies without weights of confounders": float(plain[1]),
        "ever treated, survival": float(curves[0] - curves[1]),
    }


# --- rules whom to treat ---------------------------------------------------------------------------------------------

POLICY_TRUTHS = {
    "no effect": lambda x: np.zeros(len(x)),
    "constant effect": lambda x: np.full(len(x), -0.6),
    "helps half, harms half": lambda x: np.where(x[:, 2] > 0, -1.0, 1.0),
}
"""Covariates -> log hazard ratio of treatment; only in the last does a rule beat treating everybody or nobody."""
POLICY_COLUMNS, POLICY_FOLDS = 6, 3
RECOMMENDED = (0.0, 0.05)
"""Bounds of METHODS §6: under the null nothing is recommended in at least 95 % of the runs."""


def policies(seed: int, truth: str, n: int = 400) -> dict[str, float]:
    """Whether a rule is recommended: by held-out patients, and (mutant) by the patients it was learned from."""
    rng = np.random.default_rng([seed, 4])
    x = rng.normal(size=(n, POLICY_COLUMNS))
    treated = rng.random(n) < expit(0.5 * x[:, 0])
    ratio = np.exp(POLICY_TRUTHS[truth](x)) ** treated
    death = rng.exponential(30.0 / (np.exp(0.6 * x[:, 0] + 0.4 * x[:, 1]) * ratio))
    lost = rng.exponential(60.0, size=n)
    sample = sample_of(treated, np.minimum(death, lost), death <= lost)
    fold = rng.permutation(n) % POLICY_FOLDS
    made: dict[tuple[str, str], list[dict]] = {}  # who, rule -> gains in each fold
    for k in range(POLICY_FOLDS):
        seen, held = fold != k, fold == k
        nuisance = fit_nuisance(x[seen], sample.take(seen))
        judged = influence(nuisance, x[held], sample.take(held), np.array([HORIZON]), TAU)
        learned = cross_fit(x[seen], sample.take(seen), np.array([HORIZON]), TAU, folds=2, rng=rng)
        looked = {"held out": (judged, x[held], treated[held]), "training patients": (learned, x[seen], treated[seen])}
        for name, rule in _rules(learned, x[seen]).items():
            for who, (scores, columns, done) in looked.items():
                asked = columns if name == "tree" else scores.predicted[:, :1]
                made.setdefault((who, name), []).append(_gains(rule, asked, scores, done))
    found = {}
    for who in ("held out", "training patients"):
        p_values = []
        for name in ("tree", "threshold"):
            folds = made[who, name] if who == "held out" else made[who, name][:1]
            against = [
                value(*(np.concatenate([part[a][i] for part in folds]) for i in (0, 1))) for a in ("none", "all")
            ]
            p_values.append(beats_both(*against))
            if who == "held out":
                found[f"{name}, months over the better of all and none"] = min(v.estimate for v in against)
        found[f"recommended, {who}"] = float(2 * min(p_values) < 0.05)  # some rule is, with Holm's correction
    return found


def _rules(learned, x):
    inside = _either(learned)
    contribution = learned.contrasts[inside, 0]
    return {
        "tree": learn_tree(x[inside], contribution),
        "threshold": learn_threshold(learned.predicted[inside, 0], contribution),
    }


def _either(scores):
    return (scores.propensity >= TRIM) & (scores.propensity <= 1 - TRIM)


def _gains(rule, asked, scores, treated):
    inside = _either(scores)
    return gains(
        decide(rule, asked[inside]),
        scores.contrasts[inside, 0],
        scores.predicted[inside, 0],
        scores.propensity[inside],
        treated[inside],
    )
