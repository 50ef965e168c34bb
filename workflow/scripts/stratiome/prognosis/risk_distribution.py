"""Distribution of the predicted risk by what became of the patients: how far a model tells them apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.prognosis.evaluate import Predictions, Problem, enough

RISK_BINS = 20
"""Bins of the distribution of the predicted risk."""
OUTCOMES = ("failed", "alive", "censored before", "failed of another cause")
"""What is known of a patient at a horizon."""


@dataclass(frozen=True)
class RiskCount:
    """Patients of one outcome at a horizon in one bin of the predicted risk."""

    model: str
    horizon: float
    outcome: str
    lower: float
    upper: float
    n: int


def risk_distribution(
    problem: Problem, predictions: Predictions, competing: np.ndarray | None = None
) -> list[RiskCount]:
    """Histogram of the predicted risk at each horizon by what is known of patients there, bins of equal width.

    Parameters
    ----------
    problem
        Outcome and times.
    predictions
        Held-out predictions of one repeat; each model counts the patients for whom it was fitted.
    competing
        Shape `(n_patients,)` of the problem, True = failed of another cause.
    """
    edges = np.linspace(0.0, 1.0, RISK_BINS + 1)
    found = []
    for model in predictions.survival:
        part = predictions.fitted(model)
        if not enough(problem, part.rows):
            continue
        time, event = problem.time[part.rows], problem.event[part.rows]
        other = np.zeros(len(time), dtype=bool) if competing is None else np.asarray(competing, dtype=bool)[part.rows]
        for horizon in problem.horizons:
            risk = np.clip(1.0 - part.survival[model][:, problem.column(horizon)], 0.0, 1.0)
            for outcome, rows in zip(OUTCOMES, _known(time, event, other, horizon), strict=True):
                counts = np.histogram(risk[rows], edges)[0]
                bins = zip(edges[:-1], edges[1:], counts, strict=True)
                found += [
                    RiskCount(model, horizon, outcome, round(float(a), 6), round(float(b), 6), int(n))
                    for a, b, n in bins
                    if n
                ]
    return found


def _known(time: np.ndarray, event: np.ndarray, other: np.ndarray, horizon: float) -> tuple[np.ndarray, ...]:
    """Which patients have each of `OUTCOMES`."""
    failed, otherwise = event & (time <= horizon), other & (time <= horizon)
    alive = ~failed & ~otherwise & (time >= horizon)
    return failed, alive, ~failed & ~otherwise & ~alive, otherwise
