"""What predictions are good for: decision curves, and whether lower bounds hold, on held-out patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.prognosis.conformal import coverage, curve_at, risk_quarters
from stratiome.prognosis.decision import net_benefit, treat_all
from stratiome.prognosis.evaluate import FEWEST_PATIENTS, YARDSTICK, Predictions, Problem, draw_weights, enough
from stratiome.survival.concordance import Sample
from stratiome.survival.interval import percentile_interval
from stratiome.tables import TREAT_ALL

DECIDED = ("clinical", "clinical_omics", "clinical_latent", "clinical_forest", "stacked")
"""Models whose decision curves are drawn."""
THRESHOLDS = np.round(np.arange(1, 49) * 0.02, 2)
"""Risks from which one would act."""


@dataclass(frozen=True)
class Benefit:
    """Net benefit of a model (or of treating all) at a threshold, or its difference to `versus`, with interval."""

    model: str
    versus: str | None
    horizon: float
    threshold: float
    estimate: float | None
    lower: float | None
    upper: float | None
    n: int
    events: int


@dataclass(frozen=True)
class Covered:
    """Share of a group of held-out patients who outlive their lower bound, with interval."""

    model: str
    by: str
    group: str
    estimate: float | None
    lower: float | None
    upper: float | None
    n: int
    events: int
    known: int
    truncated: int
    median: float


def decision_curves(
    problem: Problem, predictions: Predictions, *, bootstraps: int, level: float, rng: np.random.Generator
) -> list[Benefit]:
    """Net benefit of models and of treating all at every horizon and threshold, on patients for whom all were fitted.

    Thresholds end where no model predicts so high a risk. Each bootstrap draw takes patients with replacement and
    keeps the models.

    Parameters
    ----------
    problem
        Outcome and horizons.
    predictions
        Held-out predictions of one repeat.
    bootstraps, level
        Draws and level of intervals.
    rng
        Source of the draws.
    """
    part = predictions.fitted(*[m for m in DECIDED if m in predictions.survival])
    if not enough(problem, part.rows):
        return []
    found = []
    time, event, others = problem.time[part.rows], problem.event[part.rows], problem.others(part.rows)
    draws = np.concatenate(list(draw_weights(np.arange(len(time)), len(time), bootstraps, rng)))
    whole = Sample.make(time, event, competing=others)
    drawn = Sample.make(time, event, competing=others, weights=draws)
    for horizon in problem.horizons:
        column = problem.column(horizon)
        risks = {m: np.clip(1 - part.survival[m][:, column], 0, 1) for m in DECIDED if m in part.survival}
        thresholds = THRESHOLDS[max(r.max() for r in risks.values()) >= THRESHOLDS]
        if not len(thresholds):
            continue
        values = {
            m: (net_benefit(whole, r, horizon, thresholds)[0], net_benefit(drawn, r, horizon, thresholds))
            for m, r in risks.items()
        }
        values[TREAT_ALL] = (treat_all(whole, horizon, thresholds)[0], treat_all(drawn, horizon, thresholds))
        pairs: list[tuple[str, str | None, np.ndarray, np.ndarray]] = [(m, None, *v) for m, v in values.items()]
        if YARDSTICK in values:
            base = values[YARDSTICK]
            pairs += [(m, YARDSTICK, v[0] - base[0], v[1] - base[1]) for m, v in values.items() if m in DECIDED[1:]]
        for model, versus, point, many in pairs:
            for j, threshold in enumerate(thresholds):
                ends = _claim(point[j], many[:, j], level)
                found.append(Benefit(model, versus, horizon, float(threshold), *ends, len(time), int(event.sum())))
    return found


def coverage_of_bounds(
    problem: Problem,
    predictions: Predictions,
    bounds: dict[str, np.ndarray],
    uncensored: np.ndarray,
    *,
    bootstraps: int,
    level: float,
    rng: np.random.Generator,
    groups: dict[str, np.ndarray] | None = None,
) -> list[Covered]:
    """Share of held-out patients who outlive their bound: of all, by quarter of predicted risk, by group.

    Quarters are made within the fold. Groups of fewer than `FEWEST_PATIENTS` patients are left out.

    Parameters
    ----------
    problem
        Outcome and times.
    predictions
        Held-out predictions of one repeat.
    bounds
        Model -> shape `(n_held_out,)`, months; NaN where a fold gave none.
    uncensored
        Shape `(n_held_out, n_times)`, probability of being under observation, kept fixed over draws.
    bootstraps, level
        Draws and level of intervals.
    rng
        Source of the draws.
    groups
        Clinical column -> shape `(n_held_out,)`, class of each patient; "" where it is not known.
    """
    found = []
    for model, lower in bounds.items():
        known = np.isfinite(lower)
        rows = predictions.rows[known]
        if not enough(problem, rows):
            continue
        time, event = problem.time[rows], problem.event[rows]
        weights = np.concatenate(
            [np.ones((1, len(rows))), *draw_weights(np.arange(len(rows)), len(rows), bootstraps, rng)]
        )
        quarter = risk_quarters(predictions.risk[model][known], predictions.fold[known]).astype(str)
        by_group = {name: values[known] for name, values in (groups or {}).items()}
        groupings = {"risk quarter": quarter, **by_group}
        made = coverage(
            time,
            event,
            lower[known],
            groupings=groupings,
            weights=weights,
            uncensored=curve_at(uncensored[known], problem.grid, np.minimum(time, lower[known])),
        )
        for c in made:
            own = np.ones(len(rows), dtype=bool) if c.by == "all" else groupings[c.by] == c.group
            if c.by in by_group and (c.group == "" or c.n < FEWEST_PATIENTS):
                continue
            ends = _claim(c.covered[0], c.covered[1:], level)
            found.append(
                Covered(
                    model, c.by, c.group, *ends, c.n, int(event[own].sum()), c.known, c.truncated,
                    float(np.median(lower[known][own])),
                )
            )  # fmt: skip
    return found


def _claim(point: float, draws: np.ndarray, level: float) -> tuple[float | None, float | None, float | None]:
    """Estimate with its interval; neither where there is no estimate."""
    return (float(point), *percentile_interval(draws, level)) if np.isfinite(point) else (None, None, None)
