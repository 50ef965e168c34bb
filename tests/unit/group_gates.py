"""Patients in groups whose risks are known, and what is flagged among them.

`one` has two or three groups that differ in their mean risk and in their follow-up, `two` has two groups by chance, and
both are crossed. Two models predict: `stacked` knows all of the log hazard x (SD 1), `clinical` half of its variance.
Half of the patients of average risk have the event by the horizon. Where nothing is planted, both are right in every
group: `clinical` predicts the mean of the survival curves of patients who look alike to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stratiome.audit.fairness import THRESHOLDS, Draws
from stratiome.audit.group_tests import DIFFERS, LEAST_EVENTS, GroupTest, judge_groups
from stratiome.audit.recalibration import GAIN, recalibrate
from stratiome.audit.transport import slope_and_baseline
from stratiome.prognosis.decision import net_benefit
from stratiome.prognosis.evaluate import Predictions, Problem
from stratiome.survival.concordance import Sample
from stratiome.survival.cox import CoxError, fit_cox
from stratiome.survival.expected import complementary_log_log

HORIZON = 60.0
GRID = np.linspace(0.0, HORIZON, 31)
RATE = np.log(2) / HORIZON
MODELS = ("clinical", "stacked")
MEANS = (0.0, -0.4, 0.4)
"""Mean log hazard of the groups of `one`."""
LATEST = (180.0, 120.0, 180.0)
"""Latest end of follow-up of each, uniform from 0 on."""
PLANTED = "a"
"""Group in which a slope is planted."""
ALPHA = 0.05


@dataclass(frozen=True)
class Cohort:
    """Outcome, held-out predictions and groupings of simulated patients."""

    problem: Problem
    given: Predictions
    groupings: dict[str, np.ndarray]


def cohort(
    seed: int,
    sizes: Sequence[int],
    *,
    slope: float = 1.0,
    everywhere: float = 1.0,
    rivals: bool = False,
    response: bool = False,
) -> Cohort:
    """Patients of groups of given sizes.

    Parameters
    ----------
    seed
        Of everything.
    sizes
        Patients of each group of `one`.
    slope
        Calibration slope of the predictions in group `a`, turned about its mean, so that its level stays.
    everywhere
        Calibration slope in all groups, turned about an average risk.
    rivals
        Whether patients also die of another cause, which predictions know.
    response
        Whether the outcome is the event by the horizon, known of everybody.
    """
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    n = len(group)
    mean = np.array(MEANS)[group]
    seen, hidden = mean + rng.normal(0, np.sqrt(0.5), n), rng.normal(0, np.sqrt(0.5), n)
    x = seen + hidden
    turned = np.where(group == 0, mean + slope * (x - mean), x)
    true = RATE * np.exp(everywhere * turned)
    other = 0.5 * RATE if rivals else 0.0
    first = rng.exponential(1.0 / (true + other))
    died = rng.random(n) * (true + other) < true
    censored = rng.uniform(0.0, np.array(LATEST)[group])
    time, event = np.minimum(first, censored), (first <= censored) & died
    competing = (first <= censored) & ~died
    if response:
        event = (first <= HORIZON) & died
        time = np.where(event, HORIZON / 2, HORIZON)
    curves = {"clinical": _without(seen, other), "stacked": _curves(RATE * np.exp(x), other)}
    fold = rng.integers(0, 5, n)
    names = tuple(f"cv-1-{k + 1}" for k in range(5))
    given = Predictions(np.arange(n), fold, names, {"clinical": seen, "stacked": x}, curves)
    problem = Problem(time, event, GRID, (HORIZON,), HORIZON, competing if rivals else None)
    one, two = np.array(["a", "b", "c"])[group], np.array(["f", "m"])[rng.integers(0, 2, n)]
    return Cohort(problem, given, {"one": one, "two": two, "one × two": np.char.add(np.char.add(one, ", "), two)})


def _curves(hazard: np.ndarray, other: float) -> np.ndarray:
    """Probability of not having had the event, of constant hazards."""
    every = hazard + other
    return 1.0 - (hazard / every)[:, None] * -np.expm1(-np.outer(every, GRID))


def _without(seen: np.ndarray, other: float) -> np.ndarray:
    """The mean of `_curves` over what is not seen, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    made = (_curves(RATE * np.exp(seen + np.sqrt(0.5) * v), other) * w for v, w in zip(nodes, weights, strict=True))
    return np.asarray(sum(made) / weights.sum())


SIGNAL, NOISE = 0.5, 60
"""SD of the log hazard that a model can learn, and covariates that tell nothing."""
FOLDS = 5


def overfit(seed: int, n: int) -> dict[str, Cohort]:
    """Patients of two groups by chance, and what Cox models of too many covariates predict.

    `clinical` is the truth. `held out` are predictions of `stacked` by the model of each fold, which has not seen its
    patients, `training` those by the model of the next fold, which has.
    """
    rng = np.random.default_rng([seed, 31])
    x = np.column_stack([SIGNAL * rng.normal(size=n), rng.normal(size=(n, NOISE))])
    hazard = RATE * np.exp(x[:, 0])
    death, censored = rng.exponential(1.0 / hazard), rng.uniform(0.0, LATEST[0], n)
    time, event = np.minimum(death, censored), death <= censored
    fold = rng.permutation(np.arange(n) % FOLDS)
    models = [fit_cox(x[fold != k], time[fold != k], event[fold != k]) for k in range(FOLDS)]
    group = np.array(["a", "b"])[rng.integers(0, 2, n)]
    names = tuple(f"cv-1-{k + 1}" for k in range(FOLDS))
    found = {}
    for name, by in (("held out", fold), ("training", (fold + 1) % FOLDS)):
        curves, risk = np.zeros((n, len(GRID))), np.zeros(n)
        for k, model in enumerate(models):
            here = by == k
            curves[here], risk[here] = model.survival(x[here], GRID), x[here] @ model.coefficients
        survival = {"clinical": _curves(hazard, 0.0), "stacked": curves}
        given = Predictions(np.arange(n), fold, names, {"clinical": x[:, 0], "stacked": risk}, survival)
        found[name] = Cohort(Problem(time, event, GRID, (HORIZON,), HORIZON, None), given, {"one": group})
    return found


def flags_overfitting(found: Cohort) -> bool:
    """Whether predictions of `stacked` are said not to hold in some group."""
    return any(t.p_holm is not None and t.p_holm <= ALPHA for t in tested(found) if t.model == "stacked")


def tested(found: Cohort) -> list[GroupTest]:
    """All tests of both models."""
    return judge_groups(found.problem, found.given, found.groupings, MODELS, HORIZON)


def false_flags(found: Cohort) -> dict[str, bool]:
    """Whether anything is flagged, by ours and by mutants."""
    tests = tested(found)
    known = [t for t in tests if t.p_value is not None]
    return {
        "ours": any(t.p_holm <= ALPHA for t in known),
        "ours, differs": any(t.p_holm <= ALPHA for t in known if t.kind == DIFFERS),
        "each test at 5 %": any(t.p_value <= ALPHA for t in known),
        "differs, each at 5 %": any(t.p_value <= ALPHA for t in known if t.kind == DIFFERS),
        "intervals of groups": any(_eyeballed(found, labels) for labels in found.groupings.values()),
    }


def _eyeballed(found: Cohort, labels: np.ndarray) -> bool:
    """Whether in some group the 95 % interval of slope or of observed over expected events is without 1."""
    time = np.minimum(found.problem.time, HORIZON)
    event = found.problem.event & (found.problem.time <= HORIZON)
    for model in MODELS:
        curves = found.given.survival[model]
        hazard = -np.log(np.clip(curves, 1e-10, 1.0))
        x = complementary_log_log(curves[:, -1])
        own = np.array([np.interp(t, GRID, h) for t, h in zip(time, hazard, strict=True)])
        for name in np.unique(labels):
            here = labels == name
            events = int(event[here].sum())
            if events < LEAST_EVENTS:
                continue
            if abs(np.log(events / own[here].sum())) > 1.96 / np.sqrt(events):
                return True
            try:
                slope = fit_cox(x[here, None], time[here], event[here])
            except CoxError:
                continue
            assert slope.standard_errors is not None
            if abs(slope.coefficients[0] - 1.0) > 1.96 * slope.standard_errors[0]:
                return True
    return False


def found_slope(found: Cohort) -> dict[str, bool]:
    """Whether the slope planted in group `a` of `one` is flagged, in the predictions of `stacked`."""
    tests = [t for t in tested(found) if t.model == "stacked" and t.grouping == "one" and t.p_holm is not None]
    differs = any(t.p_holm <= ALPHA for t in tests if t.kind == DIFFERS)
    holds = any(t.p_holm <= ALPHA for t in tests if t.group == PLANTED)
    return {"flagged": differs or holds, "differs": differs, "holds": holds}


def gains(found: Cohort) -> dict[str, float]:
    """Mean net benefit that an update within the groups of `one` brings to `stacked`, per 1,000 patients.

    Ours is judged on patients whom the update has not seen, `apparent` on those it was learned on.
    """
    given = replace(
        found.given,
        risk={"stacked": found.given.risk["stacked"]},
        survival={"stacked": found.given.survival["stacked"]},
    )
    groups = {"one": found.groupings["one"]}
    rows = recalibrate(found.problem, given, groups, HORIZON, Draws(50, 0.95, 1))
    ours = [r.measured.estimate for r in rows if r.state == GAIN and r.measured.estimate is not None]
    apparent = []
    for name in np.unique(groups["one"]):
        part = given.at(groups["one"] == name)
        time, event = found.problem.time[part.rows], found.problem.event[part.rows]
        curves = part.survival["stacked"]
        after = slope_and_baseline(time, event, curves, GRID)(curves)
        sample = Sample.make(time, event)
        before, later = (
            net_benefit(sample, np.clip(1.0 - s[:, -1], 0.0, 1.0), HORIZON, np.array(THRESHOLDS))[0]
            for s in (curves, after)
        )
        apparent += list(later - before)
    return {"ours": 1000 * float(np.mean(ours)), "apparent": 1000 * float(np.mean(apparent))}
