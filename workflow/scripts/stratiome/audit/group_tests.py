"""Do predictions hold in each group of patients, and do they hold equally well in all? Tests, and their correction.

Both look at `x = log(-log S(horizon))`, on which predictions are right where their slope is 1 and their level 0.

- *Holds* (2 df, a group): slope 1 and level 0. Events up to the horizon against the predicted cumulative hazard up to
  the end of each follow-up, as in a Poisson regression with its log as offset (Crowson, Atkinson & Therneau 2016).
- *Differs* (2 df a group beyond the first, a grouping): one slope and one level for all groups against one for each,
  in a Cox regression on x with a baseline for each fold. What is wrong with the predictions of all patients alike does
  not count here.

Without time both are binomial regressions with complementary log-log link. With competing risks both are robust score
tests of the Poisson regression, hazards being those of the subdistribution (Fine & Gray 1999). All p-values of an
analysis are corrected together (Holm 1979), so that in 95 % of analyses without any miscalibration nothing is flagged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stratiome.cohort.groups import in_order
from stratiome.prognosis.calibration_curve import hazard_at
from stratiome.prognosis.evaluate import Predictions, Problem
from stratiome.survival.censoring import MIN_CENSORING_SURVIVAL, censoring_curve
from stratiome.survival.cox import CoxError, fit_cox
from stratiome.survival.expected import complementary_log_log
from stratiome.survival.outcome import at_one_time

HOLDS, DIFFERS = "holds", "differs"
LEAST_EVENTS = 20
"""Events by the horizon below which nothing is said of a group."""
FEW = f"fewer than {LEAST_EVENTS} events by the horizon"
FLAT = "predictions do not differ within the groups"
_CLIP = 1e-10  # survival probabilities are kept this far from 0 and 1 before taking logarithms
_FLAT = 1e-8  # range of x below which there is no slope


@dataclass(frozen=True)
class GroupTest:
    """One test; statistic and p-value are None where it is not estimable, `reason` says why.

    Attributes
    ----------
    kind
        `holds` of a group, `differs` of a grouping.
    group
        The group; None of a grouping.
    p_holm
        Corrected over all tests of `judge_groups`.
    groups
        Groups compared.
    n, events
        Patients tested, and events by the horizon among them.
    """

    kind: str
    grouping: str
    group: str | None
    model: str
    horizon: float
    statistic: float | None
    df: int
    p_value: float | None
    p_holm: float | None
    groups: int
    n: int
    events: int
    reason: str = ""


@dataclass(frozen=True)
class Followed:
    """Patients of a test, followed up to the horizon at most.

    Attributes
    ----------
    time, event, other
        Shape `(n_patients,)`, months, whether the event came, and whether another cause did (None: not told apart).
    x
        Shape `(n_patients,)`, log(-log) of the predicted survival at the horizon.
    hazard
        Shape `(n_patients,)`, predicted cumulative hazard at `time`.
    fold
        Shape `(n_patients,)`, whose model predicted.
    timed
        Whether events come at different times.
    horizon
        Months.
    grid, cumulative
        Shape `(n_times,)`, months up to the horizon, and `(n_patients, n_times)`, predicted cumulative hazards at them.
    """

    time: np.ndarray
    event: np.ndarray
    other: np.ndarray | None
    x: np.ndarray
    hazard: np.ndarray
    fold: np.ndarray
    timed: bool
    horizon: float
    grid: np.ndarray
    cumulative: np.ndarray

    @classmethod
    def make(cls, problem: Problem, given: Predictions, model: str, horizon: float) -> Followed:
        """Held-out patients of one model at a horizon."""
        time, event = problem.time[given.rows], problem.event[given.rows]
        until = np.minimum(time, horizon)
        curves, near = given.survival[model], problem.grid <= horizon + 1e-9
        cumulative = -np.log(np.clip(np.minimum.accumulate(curves[:, near], axis=1), _CLIP, 1.0))
        return cls(
            until,
            event & (time <= horizon),
            None if problem.competing is None else problem.competing[given.rows] & (time <= horizon),
            complementary_log_log(curves[:, problem.column(horizon)]),
            np.maximum(hazard_at(curves, problem.grid, until), _CLIP),
            given.fold,
            not at_one_time(problem.time, problem.event),
            horizon,
            problem.grid[near],
            cumulative,
        )

    def of(self, rows: np.ndarray) -> Followed:
        """Some of the patients; shape `(n_patients,)`, bool."""
        own = {k: getattr(self, k)[rows] for k in ("time", "event", "x", "hazard", "fold", "cumulative")}
        return replace(self, **own, other=None if self.other is None else self.other[rows])


def judge_groups(
    problem: Problem,
    given: Predictions,
    groupings: Mapping[str, np.ndarray],
    models: Sequence[str],
    horizon: float,
) -> list[GroupTest]:
    """Every test of every grouping and model, corrected together.

    Parameters
    ----------
    problem
        Outcome and times.
    given
        Held-out predictions that cover each patient at most once.
    groupings
        Name -> shape `(n_held_out,)`, group of each patient; "" where it is not known.
    models
        Models that are judged, each on the patients for whom it was fitted.
    horizon
        Months.
    """
    found = []
    for model in models:
        kept = ~given.stand_in.get(model, np.zeros(len(given.rows), dtype=bool))
        everyone = Followed.make(problem, given.fitted(model), model, horizon)
        for grouping, labels in groupings.items():
            found += _grouping(everyone, grouping, labels[kept], model)
    return holm(found)


def _grouping(everyone: Followed, grouping: str, labels: np.ndarray, model: str) -> list[GroupTest]:
    names = in_order(set(labels) - {""})
    members = {name: labels == name for name in names}
    enough = [n for n in names if everyone.event[members[n]].sum() >= LEAST_EVENTS]
    base = GroupTest(DIFFERS, grouping, None, model, everyone.horizon, None, 0, None, None, len(enough), 0, 0)
    kept = np.isin(labels, enough)
    rows = [replace(base, n=int(kept.sum()), events=int(everyone.event[kept].sum()))]
    if len(enough) < 2:
        rows[0] = replace(rows[0], reason=f"fewer than two groups with {LEAST_EVENTS} events by the horizon")
    else:
        rows[0] = _tested(rows[0], *differs(everyone.of(kept), labels[kept]))
    for name in names:
        own = everyone.of(members[name])
        row = replace(base, kind=HOLDS, group=name, groups=1, n=len(own.time), events=int(own.event.sum()))
        rows.append(_tested(row, *holds(own)) if name in enough else replace(row, reason=FEW))
    return rows


def _tested(row: GroupTest, statistic: float, df: int) -> GroupTest:
    from scipy.stats import chi2

    if not np.isfinite(statistic):
        return replace(row, reason=FLAT if df == 0 else "the likelihood has no maximum")
    return replace(row, statistic=float(statistic), df=df, p_value=float(chi2.sf(statistic, df)))


def holds(given: Followed) -> tuple[float, int]:
    """Statistic and degrees of freedom of slope 1 and level 0 in one group; NaN where there is none."""
    columns = [np.ones(len(given.x))]
    if np.ptp(given.x) > _FLAT:
        columns.append(given.x - given.x.mean())
    basis = np.column_stack(columns)
    if given.other is not None:
        return _score(basis, given, np.ones(len(given.x))), basis.shape[1]
    family, offset, expected = _family(given)
    largest = _deviance(given.event, basis, family, offset)
    return max(family.deviance(given.event.astype(float), expected) - largest, 0.0), basis.shape[1]


def differs(given: Followed, labels: np.ndarray) -> tuple[float, int]:
    """Statistic and degrees of freedom of one slope and one level in all groups; NaN where there is none.

    Parameters
    ----------
    given
        Patients of the groups that are compared.
    labels
        Shape `(n_patients,)`, group of each.
    """
    names = np.unique(labels)
    level = np.column_stack([labels == n for n in names[1:]]).astype(np.float64)
    slope = [np.where(labels == n, given.x - given.x[labels == n].mean(), 0.0) for n in names]
    varied = [s for s in slope if np.ptp(s) > _FLAT]
    if not varied:
        return np.nan, 0
    own = np.column_stack([level, *varied])
    df = own.shape[1] - 1
    if given.other is not None:
        start = np.column_stack([np.ones(len(labels)), given.x])
        extra = np.column_stack([level, *varied[1:]])
        return _score(np.column_stack([start, extra]), given, labels, 2), df
    if not given.timed:
        folds = np.column_stack([given.fold == k for k in np.unique(given.fold)]).astype(np.float64)
        family = _binomial()
        small, large = (
            _deviance(given.event, np.column_stack([folds, x]), family, None) for x in (given.x[:, None], own)
        )
        return max(small - large, 0.0), df
    try:
        fits = [fit_cox(x, given.time, given.event, strata=given.fold) for x in (given.x[:, None], own)]
    except CoxError:
        return np.nan, df
    values = [f.log_likelihood for f in fits]
    if any(f.note for f in fits) or values[0] is None or values[1] is None:
        return np.nan, df
    return max(2.0 * (values[1] - values[0]), 0.0), df - len(fits[1].aliased)


def _binomial() -> Any:
    import statsmodels.api as sm

    return sm.families.Binomial(link=sm.families.links.CLogLog())


def _family(given: Followed) -> tuple[Any, np.ndarray, np.ndarray]:
    """Family of the regression of events, its offset, and the events that are expected."""
    import statsmodels.api as sm

    if not given.timed:
        return _binomial(), given.x, -np.expm1(-np.exp(given.x))
    return sm.families.Poisson(), np.log(given.hazard), given.hazard


def _deviance(event: np.ndarray, basis: np.ndarray, family: Any, offset: np.ndarray | None) -> float:
    """Deviance of a regression; NaN where it does not settle."""
    import warnings

    import statsmodels.api as sm

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = sm.GLM(event.astype(np.float64), basis, family=family, offset=offset).fit(maxiter=100)
        except (ValueError, np.linalg.LinAlgError):
            return np.nan
    return float(found.deviance) if found.converged else np.nan


def _score(basis: np.ndarray, given: Followed, labels: np.ndarray, free: int = 0) -> float:
    """Robust score test that the coefficients after the first `free` ones are 0, in a Poisson regression of events.

    The offset is the log of the expected events; the first coefficients are fitted. Contributions of patients are
    squared in place of the information, which weights make no variance (Lin & Wei 1989, J Am Stat Assoc 84:1074).
    """
    import statsmodels.api as sm

    mean = expected(given, labels)
    if free:
        made = sm.GLM(
            given.event.astype(float), basis[:, :free], family=sm.families.Poisson(), offset=np.log(mean)
        ).fit()
        mean = np.asarray(made.mu)
    each = basis * (given.event - mean)[:, None]
    information = basis.T @ (mean[:, None] * basis)
    try:
        if free:
            moved = np.linalg.solve(information[:free, :free], information[:free, free:])
            each = each[:, free:] - each[:, :free] @ moved
        total = each.sum(axis=0)
        return float(total @ np.linalg.solve(each.T @ each, total))
    except np.linalg.LinAlgError:
        return np.nan


def expected(given: Followed, labels: np.ndarray) -> np.ndarray:
    """Events that the predicted incidence gives each patient of whom other causes are known, shape `(n_patients,)`.

    `-log(1 - F(t))` is the cumulative hazard of the subdistribution. Who failed of another cause at T stays at risk
    for it, with the weight `G(s) / G(T)` of not being censored (Fine & Gray 1999), G of the group.

    Parameters
    ----------
    given
        Patients.
    labels
        Shape `(n_patients,)`, group of each, which has its own censoring.
    """
    assert given.other is not None
    found = given.hazard.copy()
    start, end = given.grid[:-1], given.grid[1:]
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        gone = given.other[rows]
        uncensored = censoring_curve(given.time[rows], given.event[rows] | gone)
        rows = rows[gone]
        if not rows.size:
            continue
        left = np.clip((end - given.time[rows, None]) / (end - start), 0.0, 1.0)
        staying = np.maximum(uncensored.at((start + end) / 2, left=True)[0], MIN_CENSORING_SURVIVAL)
        until = np.maximum(uncensored.at(given.time[rows], left=True)[0], MIN_CENSORING_SURVIVAL)
        found[rows] += (np.diff(given.cumulative[rows], axis=1) * left * staying).sum(axis=1) / until
    return found


def holm(tests: Sequence[GroupTest]) -> list[GroupTest]:
    """The tests with their p-values corrected together (Holm 1979)."""
    known = [k for k, t in enumerate(tests) if t.p_value is not None]
    order = sorted(known, key=lambda k: tests[k].p_value or 0.0)
    found, largest = list(tests), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * (tests[k].p_value or 0.0)))
        found[k] = replace(tests[k], p_holm=largest)
    return found


def methods(problem: Problem) -> dict[str, str]:
    """Kind of test -> how it is made, in words."""
    if problem.competing is not None:
        how = (
            "robust score test in a Poisson regression of events on the predicted cumulative hazard of the"
            " subdistribution, who failed of another cause staying at risk with Fine-Gray weights"
        )
        return {
            HOLDS: f"slope 1 and level 0: {how}; Holm's correction over all groups, groupings and models",
            DIFFERS: f"one slope and one level in all groups: {how}; Holm's correction as for single groups",
        }
    timed = not at_one_time(problem.time, problem.event)
    poisson = (
        "Poisson regression of events on the predicted cumulative hazard up to the end of follow-up or the horizon"
    )
    cox = "Cox regression with a baseline for each fold"
    binomial = "binomial regression with complementary log-log link"
    of = "on log(-log predicted survival)"
    return {
        HOLDS: f"slope 1 and level 0: likelihood ratio in a {poisson if timed else f'{binomial} {of}'}; Holm's "
        "correction over all groups, groupings and models",
        DIFFERS: f"one slope and one level in all groups: likelihood ratio in a {cox if timed else binomial} {of}, "
        "follow-up cut at the horizon; Holm's correction as for single groups",
    }
