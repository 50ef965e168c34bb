"""What held-out predictions are worth in each group of patients: discrimination, calibration, net benefit, bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from stratiome.audit.group_tests import LEAST_EVENTS
from stratiome.cohort.groups import in_order
from stratiome.prognosis.decision import net_benefit
from stratiome.prognosis.evaluate import (
    FEWEST_PATIENTS,
    NEVER_FITTED,
    Design,
    Predictions,
    Problem,
    draw_weights,
    evaluate_design,
)
from stratiome.prognosis.use import Covered, coverage_of_bounds
from stratiome.survival.concordance import Sample
from stratiome.survival.interval import percentile_interval
from stratiome.survival.outcome import at_one_time

JUDGED = ("clinical", "stacked")
"""Models that are judged by group: the yardstick and the model to apply."""
MEASURED = ("uno_c", "auc", "calibration_slope", "observed_expected")
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Risks from which one would act at which net benefit is told: some of those of the decision curves."""
NO_BOUND = {
    "rivals": "with competing risks no bound on the time to the event is given",
    "response": "the outcome has no time",
    "none": "the model gives no bound",
}


@dataclass(frozen=True)
class Measured:
    """One number of one group; `estimate` is None where it is not estimable, and `method` says why.

    Attributes
    ----------
    grouping, group
        Names; "" and "" are all patients.
    model
        None of what depends on no model.
    horizon
        Months; None where there is none.
    threshold
        Risk from which one would act; None but for net benefit.
    events
        Up to the horizon, or up to tau where there is none.
    """

    grouping: str
    group: str
    model: str | None
    metric: str
    horizon: float | None
    threshold: float | None
    estimate: float | None
    lower: float | None
    upper: float | None
    n: int
    events: int
    method: str


@dataclass(frozen=True)
class Draws:
    """How intervals are made: number of bootstrap samples, level, seed."""

    bootstraps: int
    level: float
    seed: int

    @property
    def text(self) -> str:
        """The words for it."""
        many = f"{100 * self.level:g} % percentile interval of {self.bootstraps} bootstraps of held-out patients"
        return f"{many} of the group, models kept fixed"


def each_group(groupings: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Grouping, group, and who belongs to it, shape `(n_held_out,)`; patients of no known group are in none."""
    for grouping, labels in groupings.items():
        for group in in_order(set(labels) - {""}):
            yield grouping, str(group), labels == group


def judge(
    problem: Problem, given: Predictions, groupings: Mapping[str, np.ndarray], draws: Draws, *, by_site: bool = False
) -> list[Measured]:
    """Every measure but the coverage of bounds, of all patients and of each group.

    Censoring distributions are those of the group. Where fewer than `LEAST_EVENTS` events come by the horizon, or
    before tau, nothing that depends on them is estimated.

    Parameters
    ----------
    problem
        Outcome and times.
    given
        Held-out predictions that cover each patient at most once; models other than `JUDGED` are left out.
    groupings
        Name -> shape `(n_held_out,)`, group of each patient; "" where it is not known.
    draws
        How intervals are made.
    by_site
        Whether folds are sites, which may differ in follow-up.
    """
    models = [m for m in JUDGED if m in given.risk]
    name = "leave-site-out" if by_site else "cross-validation"
    few = replace(given, risk={m: given.risk[m] for m in models}, survival={m: given.survival[m] for m in models})
    found: list[Measured] = []
    everyone = ("", "", np.ones(len(given.rows), dtype=bool))
    for grouping, group, members in [everyone, *each_group(groupings)]:
        part = few.at(members)
        found += [_censored(problem, part, grouping, group, h, draws.level) for h in problem.horizons]
        for model in models:
            own = part.fitted(model)
            alone = replace(own, risk={model: own.risk[model]}, survival={model: own.survival[model]}, stand_in={})
            keys = (grouping, group, model)
            found += _estimates(problem, Design(name, (alone,)), keys, draws)
            found += _benefits(problem, alone, keys, draws)
    return found


def _events(problem: Problem, rows: np.ndarray, until: float) -> int:
    return int((problem.event[rows] & (problem.time[rows] <= until)).sum())


def too_few(n: int, events: int, until: float, least: int = LEAST_EVENTS) -> str:
    """Why nothing is said of a group, or ""."""
    if n == 0:
        return NEVER_FITTED
    if n < FEWEST_PATIENTS:
        return f"fewer than {FEWEST_PATIENTS} patients"
    return f"fewer than {least} events up to {until:g} months" if events < least else ""


def _estimates(problem: Problem, design: Design, keys: tuple[str, str, str], draws: Draws) -> list[Measured]:
    """Discrimination and calibration of one model in one group."""
    rows = design.repeats[0].rows
    limits = {h: _events(problem, rows, problem.tau if h is None else h) for h in (None, *problem.horizons)}
    wanted = [("uno_c", None)] + [(m, h) for h in problem.horizons for m in MEASURED[1:]]
    known = {}
    if len(rows) >= FEWEST_PATIENTS and max(limits.values()) >= LEAST_EVENTS:
        rng = np.random.default_rng(draws.seed)
        made = evaluate_design(problem, design, bootstraps=draws.bootstraps, level=draws.level, rng=rng)
        known = {(e.metric, e.horizon): e for e in made if e.versus is None}
    found = []
    for metric, horizon in wanted:
        blank = Measured(*keys, metric, horizon, None, None, None, None, len(rows), limits[horizon], "")
        why = too_few(len(rows), limits[horizon], problem.tau if horizon is None else horizon)
        if why:
            found.append(replace(blank, method=f"not estimable: {why}"))
            continue
        e = known[metric, horizon]
        found.append(replace(blank, estimate=e.estimate, lower=e.lower, upper=e.upper, method=e.method))
    return found


def _benefits(problem: Problem, part: Predictions, keys: tuple[str, str, str], draws: Draws) -> list[Measured]:
    """Net benefit of acting by one model in one group."""
    rows, model = part.rows, keys[2]
    time, event, others = problem.time[rows], problem.event[rows], problem.others(rows)
    curve = "Kaplan-Meier" if others is None else "Aalen-Johansen"
    text = f"net benefit with the {curve} risk of those above the threshold; {draws.text}"
    found = []
    for horizon in problem.horizons:
        events = _events(problem, rows, horizon)
        blank = Measured(*keys, "net_benefit", horizon, None, None, None, None, len(rows), events, text)
        why = too_few(len(rows), events, horizon)
        if why:
            found += [replace(blank, threshold=p, method=f"not estimable: {why}; {text}") for p in THRESHOLDS]
            continue
        rng = np.random.default_rng(draws.seed)
        weights = np.concatenate(
            [np.ones((1, len(rows))), *draw_weights(np.arange(len(rows)), len(rows), draws.bootstraps, rng)]
        )
        risk = np.clip(1.0 - part.survival[model][:, problem.column(horizon)], 0.0, 1.0)
        sample = Sample.make(time, event, competing=others, weights=weights)
        values = net_benefit(sample, risk, horizon, np.array(THRESHOLDS))
        for j, threshold in enumerate(THRESHOLDS):
            found.append(claim(replace(blank, threshold=threshold), values[:, j], draws.level, NOT_FOLLOWED))
    return found


NOT_FOLLOWED = "nobody of those above the threshold is followed long enough"


def claim(blank: Measured, values: np.ndarray, level: float, why: str) -> Measured:
    """The row with its estimate, the first of the values, and the interval of the others."""
    if not np.isfinite(values[0]):
        return replace(blank, method=f"not estimable: {why}; {blank.method}")
    lower, upper = percentile_interval(values[1:], level)
    return replace(blank, estimate=float(values[0]), lower=lower, upper=upper)


def _censored(problem: Problem, part: Predictions, grouping: str, group: str, horizon: float, level: float) -> Measured:
    """Share of a group whose follow-up ends before the horizon without any event."""
    from statsmodels.stats.proportion import proportion_confint

    rows = part.rows
    ended = problem.event[rows] | (np.zeros(len(rows), bool) if problem.competing is None else problem.others(rows))
    lost = int((~ended & (problem.time[rows] < horizon)).sum())
    text = f"share whose follow-up ends before {horizon:g} months without an event; {100 * level:g} % Wilson interval"
    events = _events(problem, rows, horizon)
    blank = Measured(grouping, group, None, "censored", horizon, None, None, None, None, len(rows), events, text)
    if len(rows) < FEWEST_PATIENTS:
        return replace(blank, method=f"not estimable: fewer than {FEWEST_PATIENTS} patients; {text}")
    lower, upper = proportion_confint(lost, len(rows), alpha=1.0 - level, method="wilson")
    return replace(blank, estimate=lost / len(rows), lower=float(lower), upper=float(upper))


def covered(
    problem: Problem,
    given: Predictions,
    groupings: Mapping[str, np.ndarray],
    bounds: Mapping[str, np.ndarray],
    draws: Draws,
) -> list[Measured]:
    """Share of all patients and of each group who outlive their lower bound.

    Parameters as in `judge`; `bounds` are months by model, shape `(n_held_out,)`, NaN where a fold gave none.
    """
    why = _no_bound(problem)
    own = {m: bounds[m] for m in JUDGED if m in bounds and not why}
    made: list[Covered] = []
    if own and given.uncensored is not None:
        made = coverage_of_bounds(
            problem,
            given,
            own,
            given.uncensored,
            bootstraps=draws.bootstraps,
            level=draws.level,
            rng=np.random.default_rng(draws.seed),
            groups=dict(groupings),
        )
    text = (
        "share who outlive their bound, of those whose status is known, inverse probability of censoring weights of a "
        f"Cox model on clinical columns; {draws.text}"
    )
    found = []
    everyone = ("", "", np.ones(len(given.rows), dtype=bool))
    for grouping, group, members in [everyone, *each_group(groupings)]:
        for model in [m for m in JUDGED if m in given.risk]:
            row = next((c for c in made if (c.model, c.by, c.group) == (model, grouping or "all", group)), None)
            rows = given.at(members).fitted(model).rows if row is None else np.zeros(0)
            n = len(rows) if row is None else row.n
            events = int(problem.event[rows].sum()) if row is None else row.events
            blank = Measured(grouping, group, model, "bound_coverage", None, None, None, None, None, n, events, text)
            reason = why or too_few(n, events, float(problem.time.max())) or ("" if row else NO_BOUND["none"])
            if reason or row is None or row.estimate is None:
                found.append(
                    replace(blank, method=f"not estimable: {reason or 'nobody whose status is known'}; {text}")
                )
                continue
            found.append(replace(blank, estimate=row.estimate, lower=row.lower, upper=row.upper))
    return found


def _no_bound(problem: Problem) -> str:
    if problem.competing is not None:
        return NO_BOUND["rivals"]
    return NO_BOUND["response"] if at_one_time(problem.time, problem.event) else ""
