"""Does a predicted effect tell who benefits more? Rows of tables, on held-out patients, for every learner."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stratiome.treatment.averages import Settings
from stratiome.treatment.differences import PREDICTED, HeldOut, Row, group_rows, test_base, z_value
from stratiome.treatment.heterogeneity import FEWEST, effect_calibration, quarters
from stratiome.treatment.learners import COMBINED, CONSTANT, LEARNERS
from stratiome.treatment.rate import rate, toc_with_errors

FIFTHS = ("least benefit", "second fifth", "middle fifth", "fourth fifth", "most benefit")
HALVES = 200
"""Half-samples of the tests of ranks."""
SHARES = np.round(np.arange(0.1, 1.001, 0.05), 2)
"""Shares of patients at which the targeting operator characteristic is told."""
_SAME = 1e-9  # months within which predictions of a fold are the same


@dataclass
class Benefit:
    """Rows of tables, named as the outputs of the rule."""

    differences: list[Row] = field(default_factory=list)
    difference_tests: list[Row] = field(default_factory=list)
    learners: list[Row] = field(default_factory=list)
    targeting: list[Row] = field(default_factory=list)


def benefit_rows(held_out: HeldOut, settings: Settings, rng: np.random.Generator) -> Benefit:
    """Groups, ranks and calibration of `COMBINED`, and the tests of every other learner beside it.

    Parameters
    ----------
    held_out
        Held-out patients.
    settings
        What all comparisons share.
    rng
        Source of half-samples.
    """
    found = Benefit()
    if len(held_out.contribution) < 4 * FEWEST or not held_out.learned:
        return found
    for learner in (COMBINED, *LEARNERS, CONSTANT):
        values = held_out.learned.get(learner, np.full(len(held_out.contribution), np.nan))
        known = np.isfinite(values)
        part, predicted = held_out.take(known), values[known]
        found.learners.append(_spread(part, learner, predicted))
        if learner == CONSTANT or len(predicted) < 4 * FEWEST:
            continue
        order = ranks_within(predicted, part.fold)
        found.difference_tests += _tests(part, learner, predicted, order, settings, rng)
        if learner == COMBINED and np.ptp(order) > 0:
            group = quarters(predicted, part.fold, parts=5)
            found.differences += group_rows(part, PREDICTED, learner, group, FIFTHS, settings)[0]
            found.targeting += _targeting(part, learner, order, settings, rng)
    return found


def ranks_within(predicted: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Share of the fold that a patient's predicted effect exceeds: predictions of different models do not compare.

    Parameters
    ----------
    predicted, fold
        Shape `(n_patients,)`; predictions that differ by rounding alone tie.
    """
    from scipy.stats import rankdata

    found = np.empty(len(predicted))
    for k in np.unique(fold):
        rows = fold == k
        found[rows] = (rankdata(np.round(predicted[rows] / _SAME)) - 0.5) / rows.sum()
        if np.ptp(predicted[rows]) <= _SAME:
            found[rows] = 0.5
    return found


def _spread(part: HeldOut, learner: str, predicted: np.ndarray) -> Row:
    row: Row = {
        "treatment": part.name,
        "learner": learner,
        "spread": None,
        "average": None,
        "n": len(predicted),
        "events": int(part.sample.event.sum()),
        "method": "standard deviation of predictions about their mean in the fold, held-out patients; average of their"
        " doubly robust contributions",
    }
    if len(predicted) == 0:
        return row | {"method": "not estimable: could not be fitted in any split; the log says why"}
    centred = predicted.copy()
    for k in np.unique(part.fold):
        centred[part.fold == k] -= centred[part.fold == k].mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    return row | {"spread": 0.0 if spread < _SAME else spread, "average": float(part.contribution.mean())}


def _tests(
    part: HeldOut,
    learner: str,
    predicted: np.ndarray,
    order: np.ndarray,
    settings: Settings,
    rng: np.random.Generator,
) -> list[Row]:
    z, base = z_value(settings), test_base(part, PREDICTED, learner)
    same = "not estimable: the predicted effect is the same for all"
    ranked: Row = base | {
        "test": "rank-weighted average",
        "method": "area under the targeting operator characteristic, months, patients ranked within their fold;"
        f" standard error from {HALVES} half-samples",
    }
    slope: Row = base | {
        "test": "calibration slope",
        "method": "contributions regressed on predicted effects, both centred within their fold, HC3; 1 if predictions"
        " are right, 0 if they tell nothing; p one-sided",
    }
    if np.ptp(order) == 0:
        return [r | {"method": f"{same}; {r['method']}"} for r in (ranked, slope)]
    area = rate(part.contribution, order, draws=HALVES, rng=rng)
    line = effect_calibration(part.contribution, predicted, part.fold)
    ranked |= {"p_value": area.p_value} | _about(area.estimate, area.error, z)
    return [ranked, slope | {"p_value": line.p_value} | _about(line.slope, line.error, z)]


def _about(estimate: float, error: float, z: float) -> Row:
    return {"estimate": estimate, "lower": estimate - z * error, "upper": estimate + z * error}


def _targeting(
    part: HeldOut, learner: str, order: np.ndarray, settings: Settings, rng: np.random.Generator
) -> list[Row]:
    estimate, error = toc_with_errors(part.contribution, order, SHARES, draws=HALVES, rng=rng)
    z = z_value(settings)
    return [
        {
            "treatment": part.name,
            "learner": learner,
            "share": float(share),
            "n": len(order),
            "events": int(part.sample.event.sum()),
            "method": "mean doubly robust contribution of held-out patients with the largest predicted effect within"
            f" their fold, less that of all; pointwise normal interval from {HALVES} half-samples",
        }
        | _about(float(value), float(spread), z)
        for share, value, spread in zip(SHARES, estimate, error, strict=True)
    ]
