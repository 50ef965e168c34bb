"""A confounded cohort with known effects, for the tests of treatment."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from stratiome.treatment.emulate import Sample

GRID = np.linspace(0.0, 120.0, 241)


@dataclass(frozen=True)
class Planted:
    """Cohort with its truth: sicker patients (high `severity`) are treated more often and die earlier."""

    clinical: pl.DataFrame
    outcome: pl.DataFrame
    truth: pl.DataFrame
    labels: dict[str, int]

    @property
    def sample(self) -> Sample:
        """All patients as a sample."""
        time, event = self.outcome["time_months"].to_numpy(), self.outcome["event"].to_numpy() == 1
        return Sample(self.clinical, self.clinical["drug"].to_numpy() == 1, time, event)

    @property
    def design(self) -> np.ndarray:
        """Confounders, shape `(n, 2)`."""
        return self.clinical.select("severity", "age").to_numpy()


def planted(
    seed: int, n: int = 600, log_hazard_ratios: tuple[float, ...] = (-0.9,), confounding: float = 1.0
) -> Planted:
    """Exponential survival with one log hazard ratio per subgroup; censoring independent of everything."""
    rng = np.random.default_rng(seed)
    severity, age = rng.normal(size=(2, n))
    group = rng.integers(0, len(log_hazard_ratios), n)
    propensity = 1.0 / (1.0 + np.exp(-confounding * (severity - 0.4 * age)))
    treated = rng.random(n) < propensity
    rate0 = np.exp(0.7 * severity + 0.3 * age) / 70.0
    rate1 = rate0 * np.exp(np.asarray(log_hazard_ratios)[group])
    death = rng.exponential(1.0 / np.where(treated, rate1, rate0))
    end = rng.uniform(30.0, 200.0, n)
    ids = [f"P{i:05d}" for i in range(n)]
    clinical = pl.DataFrame({"patient_id": ids, "drug": treated.astype(float), "severity": severity, "age": age})
    outcome = pl.DataFrame(
        {
            "patient_id": ids,
            "time_months": np.minimum(death, end),
            "event": (death <= end).astype(np.int64),
            "competing": np.zeros(n, dtype=np.int64),
        }
    )
    truth = pl.DataFrame(
        {
            "patient_id": np.repeat(ids, len(GRID)).tolist(),
            "subgroup": np.repeat(group + 1, len(GRID)),
            "propensity": np.repeat(propensity, len(GRID)),
            "time_months": np.tile(GRID, n),
            "survival_untreated": np.exp(-np.outer(rate0, GRID)).ravel(),
            "survival_treated": np.exp(-np.outer(rate1, GRID)).ravel(),
        }
    )
    return Planted(clinical, outcome, truth, dict(zip(ids, (group + 1).tolist(), strict=True)))
