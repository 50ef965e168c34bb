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

from stratiome.treatment.doubly_robust import average, cross_fit
from stratiome.treatment.emulate import Sample

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
