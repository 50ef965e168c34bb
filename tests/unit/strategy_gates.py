"""Intervals of strategies with a grace period where the truth is known: an inert drug, and one that works.

A gate is a mean, or a share, over replicates with its bounds; `tests/benchmarks/treatment_gates.py` has them at full
size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.stats import norm

from stratiome.treatment.clones import Cohort, compare_strategies
from stratiome.treatment.effect import Question

GRACE, HORIZON = 4.0, 24.0
RATIOS = {"no effect": 1.0, "hazard ratio 0.4": 0.4}
"""Hazard ratios of treatment from its start on."""
QUESTION = Question((HORIZON,), HORIZON, np.array([0.0]))


def covariates(rng: np.random.Generator, n: int) -> np.ndarray:
    """Healthy, and sick, against neither, and a binary marker, shape `(n, 3)`.

    With a column per level of what the start depends on, the Cox model of the time to start and the logistic
    regression of having started are right at once.
    """
    level = rng.choice(3, size=n, p=[0.25, 0.5, 0.25])
    return np.column_stack([level == 0, level == 2, rng.random(n) < 0.4]).astype(np.float64)


def hazard(x: np.ndarray) -> np.ndarray:
    """Of death while untreated, per month, shape `(n_patients,)`; sicker patients die earlier."""
    return np.exp(x @ [-1.2, 1.2, 0.3]) / 20.0


def starts(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Months to the planned start, exponential, shape `(n_patients,)`; sicker patients start later."""
    return rng.exponential(6.0 / np.exp(x @ [1.0, -1.0, 0.0]))


def draw(seed: list[int], ratio: float, n: int) -> Cohort:
    """Patients whose hazard changes by `ratio` at the start of treatment."""
    rng = np.random.default_rng(seed)
    x = covariates(rng, n)
    planned, spent = starts(x, rng), rng.exponential(size=n) / hazard(x)
    death = np.where(spent <= planned, spent, planned + (spent - planned) / ratio)
    lost = rng.uniform(20.0, 80.0, n)
    time = np.minimum(death, lost)
    return Cohort(x, time, death <= lost, np.where(planned < time, planned, np.inf), GRACE)


@lru_cache
def truth(ratio: float, n: int = 1_000_000) -> tuple[float, float]:
    """Started less not started within the grace period: restricted mean in months, and survival.

    Who is to start does so when planned, or at the end of the grace period; who is not to start does so, after it, as
    planned of those who have not. Survival given the covariates and the start is in closed form, averaged over `n`
    patients with the same covariates in both strategies.
    """
    rng = np.random.default_rng(98)
    x = covariates(rng, n)
    rate = hazard(x)
    found = []
    for start in (np.minimum(starts(x, rng), GRACE), GRACE + starts(x, rng)):  # planned starts have no memory
        until = np.minimum(start, HORIZON)
        reached, after = np.exp(-rate * until), HORIZON - until
        months = (1.0 - reached) / rate - reached * np.expm1(-rate * ratio * after) / (rate * ratio)
        found.append((months.mean(), (reached * np.exp(-rate * ratio * after)).mean()))
    return float(found[0][0] - found[1][0]), float(found[0][1] - found[1][1])


def strategies(seed: int, name: str, n: int = 600, bootstraps: int = 500, blind: bool = False) -> dict[str, float]:
    """Errors of both contrasts, and whether 95 % intervals hold the truth; `blind` (mutant) knows no confounder."""
    ratio = RATIOS[name]
    cohort = draw([seed, 6], ratio, n)
    if blind:
        cohort = Cohort(cohort.design[:, :0], cohort.time, cohort.event, cohort.start, GRACE)
    found = compare_strategies(cohort, QUESTION, bootstraps, np.random.default_rng([seed, 7]))
    off = found.estimate - np.array(truth(ratio))
    held = np.abs(off) <= float(norm.ppf(0.975)) * found.error
    return {
        "error of survival": float(off[1]),
        "error of months": float(off[0]),
        "survival covered": float(held[1]),
        "months covered": float(held[0]),
        "standard error of survival": float(found.error[1]),
        "standard error of months": float(found.error[0]),
    }
