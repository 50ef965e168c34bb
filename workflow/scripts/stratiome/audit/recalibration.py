"""What it would bring to update a model in each group of patients, judged on patients whom the update has not seen.

The update is that of slope and baseline (`audit.transport`), learned on one half of the held-out patients of a group
and judged on the other, both ways, for several halvings. Only measures at the horizon are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stratiome.audit.fairness import JUDGED, NOT_FOLLOWED, THRESHOLDS, Draws, Measured, claim, each_group, too_few
from stratiome.audit.group_tests import LEAST_EVENTS
from stratiome.audit.transport import HALVINGS, SLOPE, updated
from stratiome.prognosis.calibration import calibration_slope
from stratiome.prognosis.decision import net_benefit
from stratiome.prognosis.evaluate import Predictions, Problem, draw_weights
from stratiome.prognosis.metrics import observed_expected
from stratiome.survival.concordance import Sample
from stratiome.survival.outcome import at_one_time

BEFORE, AFTER, GAIN = "before", "after", "after less before"
STATES = (BEFORE, AFTER, GAIN)
LEAST_TO_LEARN = 2 * LEAST_EVENTS
"""Events by the horizon that a group needs: those of each half must be enough to learn from."""

Key = tuple[str, float | None]
"""Measure, and threshold of net benefit."""


@dataclass(frozen=True)
class Recalibrated:
    """One measure of a group before or after the update, or what it gained."""

    state: str
    measured: Measured


def recalibrate(
    problem: Problem, given: Predictions, groupings: Mapping[str, np.ndarray], horizon: float, draws: Draws
) -> list[Recalibrated]:
    """Calibration and net benefit of each group before and after an update of its own.

    Patients of a group are drawn with replacement, the same before and after; updates are kept as they are.

    Parameters
    ----------
    problem
        Outcome and times.
    given
        Held-out predictions that cover each patient at most once.
    groupings
        Name -> shape `(n_held_out,)`, group of each patient; "" where it is not known.
    horizon
        Months up to which the update is learned and at which it is judged.
    draws
        How intervals are made.
    """
    cut = problem.grid <= horizon + 1e-9
    near = replace(problem, grid=problem.grid[cut], horizons=(horizon,), tau=min(problem.tau, horizon))
    found = []
    for grouping, group, members in each_group(groupings):
        for model in [m for m in JUDGED if m in given.survival]:
            part = given.at(members).fitted(model)
            curves = {model: part.survival[model][:, cut]}
            part = replace(part, risk={model: part.risk[model]}, survival=curves, stand_in={}, uncensored=None)
            found += _group(near, part, (grouping, group, model), draws)
    return found


def _group(problem: Problem, part: Predictions, keys: tuple[str, str, str], draws: Draws) -> list[Recalibrated]:
    horizon, model, n = problem.horizons[0], keys[2], len(part.rows)
    events = int((problem.event[part.rows] & (problem.time[part.rows] <= horizon)).sum())
    text = (
        f"slope and baseline learned on the other half of the held-out patients of the group, mean of {HALVINGS} "
        f"halvings; {draws.text}"
    )
    wanted: list[Key] = [("calibration_slope", None), ("observed_expected", None)]
    wanted += [("net_benefit", p) for p in THRESHOLDS]
    blanks = {k: Measured(*keys, k[0], horizon, k[1], None, None, None, n, events, text) for k in wanted}
    if why := _refused(problem, n, events, horizon):
        nothing = {k: replace(b, method=f"not estimable: {why}; {text}") for k, b in blanks.items()}
        return [Recalibrated(GAIN, nothing[k]) for k in wanted if k[0] == "net_benefit"]
    rng = np.random.default_rng(draws.seed)
    weights = np.concatenate([np.ones((1, n)), *draw_weights(np.arange(n), n, draws.bootstraps, rng)])
    before = _measures(problem, part, model, weights)
    made = [_measures(problem, p, model, weights) for p in updated(problem, part, SLOPE, HALVINGS, draws.seed).repeats]
    after = {k: np.mean([m[k] for m in made], axis=0) for k in wanted}
    states = {BEFORE: before, AFTER: after, GAIN: {k: after[k] - before[k] for k in wanted if k[0] == "net_benefit"}}
    reasons = {"net_benefit": NOT_FOLLOWED, "calibration_slope": "the likelihood has no maximum"}
    return [
        Recalibrated(state, claim(blanks[k], v, draws.level, reasons.get(k[0], "no risk is predicted")))
        for state, values in states.items()
        for k, v in values.items()
    ]


def _refused(problem: Problem, n: int, events: int, horizon: float) -> str:
    if problem.competing is not None:
        return "with competing risks curves are no exponentials of hazards, which the update multiplies"
    if at_one_time(problem.time, problem.event):
        return "the outcome has no time, on which the update is learned"
    return too_few(n, events, horizon, LEAST_TO_LEARN)


def _measures(problem: Problem, given: Predictions, model: str, weights: np.ndarray) -> dict[Key, np.ndarray]:
    """Every measure in every draw."""
    horizon = problem.horizons[0]
    time, event = problem.time[given.rows], problem.event[given.rows]
    sample = Sample.make(time, event, fold=given.fold, weights=weights)
    survival = given.survival[model][:, -1]
    benefit = net_benefit(sample, np.clip(1.0 - survival, 0.0, 1.0), horizon, np.array(THRESHOLDS))
    return {
        ("calibration_slope", None): calibration_slope(sample, survival, horizon),
        ("observed_expected", None): observed_expected(sample, survival, horizon),
    } | {("net_benefit", p): benefit[:, j] for j, p in enumerate(THRESHOLDS)}
