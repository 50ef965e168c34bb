"""Models applied to patients of another cohort: as they are, and after updates learned on other patients of it.

Updates (van Houwelingen 2000, Stat Med 19:3401):

- baseline: cumulative hazards times O / E, with E the cumulative hazard that the model gives every patient up to the
  end of follow-up or the horizon (Crowson et al. 2016, Stat Methods Med 25:1692); one parameter.
- slope and baseline: a Cox regression on log(-log S(horizon)) with its own baseline;
- refit: of the clinical model, all coefficients learned anew, to see what was lost by taking those of the bundle.

Each is learned of follow-up up to the horizon at which it is judged: where hazards are not proportional, later years
would pull it away from there. Each is learned on one half of the patients and judged on the other, both ways, for
several halvings, so that no patient is judged by an update that saw it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from stratiome.prognosis.evaluate import YARDSTICK, Design, Estimate, Predictions, Problem, evaluate_design
from stratiome.survival.censoring import survival_curve
from stratiome.survival.cox import CoxError, fit_cox
from stratiome.survival.cox_path import stratified_folds
from stratiome.survival.expected import complementary_log_log, event_counts

AS_IS, BASELINE, SLOPE, REFIT = "as is", "baseline", "slope and baseline", "refit"
UPDATES = (BASELINE, SLOPE)
HALVINGS = 5
_CLIP = 1e-10  # expected events are at least this

Update = Callable[[np.ndarray], np.ndarray]


def on_grid(curves: np.ndarray, grid: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Curves at other times, linear between those at which they were predicted.

    Parameters
    ----------
    curves
        Shape `(n_patients, n_times)`.
    grid
        Shape `(n_times,)`, months from 0.
    other
        Shape `(n_others,)`, months, none beyond the end of the grid.
    """
    at = np.clip(np.searchsorted(grid, other, side="right") - 1, 0, len(grid) - 2)
    share = (other - grid[at]) / (grid[at + 1] - grid[at])
    return curves[:, at] * (1.0 - share) + curves[:, at + 1] * share


def hazard_ratio(time: np.ndarray, event: np.ndarray, survival: np.ndarray, grid: np.ndarray) -> float:
    """Observed over expected events up to the end of the grid, by which an update of the baseline multiplies hazards.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    survival
        Shape `(n_patients, n_times)`, predicted curves.
    grid
        Shape `(n_times,)`, months; the last one is the horizon. Hazards are constant between its points.
    """
    observed, expected = event_counts(time, event, survival, grid)
    return observed / max(expected, _CLIP)


def baseline(time: np.ndarray, event: np.ndarray, survival: np.ndarray, grid: np.ndarray) -> Update:
    """Curves to updated curves, `S(t)^(O / E)`, learned on the given patients; parameters as in `hazard_ratio`."""
    ratio = hazard_ratio(time, event, survival, grid)
    return lambda curves: curves**ratio


def slope_and_baseline(time: np.ndarray, event: np.ndarray, survival: np.ndarray, grid: np.ndarray) -> Update:
    """Curves to updated curves, `exp(-H0(t) exp(b log(-log S(horizon))))`, `H0` and `b` learned on the given patients.

    Parameters as in `hazard_ratio`. Where all predictions are the same, there is no slope, and the update is the
    Kaplan-Meier curve of the patients.
    """
    until, observed = np.minimum(time, grid[-1]), event & (time <= grid[-1])
    try:
        model = fit_cox(_cloglog(survival)[:, None], until, observed)
    except CoxError:
        curve = survival_curve(until, observed).at(grid)
        return lambda curves: np.repeat(np.atleast_2d(curve), len(curves), axis=0)
    return lambda curves: model.survival(_cloglog(curves)[:, None], grid)


def _cloglog(survival: np.ndarray) -> np.ndarray:
    return complementary_log_log(survival[:, -1])


LEARN = {BASELINE: baseline, SLOPE: slope_and_baseline}


def updated(problem: Problem, given: Predictions, update: str, halvings: int, seed: int) -> Design:
    """Predictions after an update, each half of the patients by what the other half taught, one repeat a halving.

    Parameters
    ----------
    problem
        Outcome of the patients; the end of the grid is the horizon of the update.
    given
        Predictions as they are.
    update
        One of `UPDATES`.
    halvings
        Number of repeats.
    seed
        Seed of the halves.
    """
    time, event = problem.time[given.rows], problem.event[given.rows]
    repeats = []
    for half in _halves(problem, given, halvings, seed):
        survival = {model: np.empty_like(curves) for model, curves in given.survival.items()}
        for k in (0, 1):
            learn, apply = half != k, half == k
            for model, curves in given.survival.items():
                change = LEARN[update](time[learn], event[learn], curves[learn], problem.grid)
                survival[model][apply] = change(curves[apply])
        # The order of patients is that of the update: a negative slope would turn it round.
        risk = {m: np.round(_cloglog(s), 10) for m, s in survival.items()}
        repeats.append(Predictions(given.rows, half, ("half 1", "half 2"), risk, survival, given.stand_in))
    return Design("external", tuple(repeats))


def _halves(problem: Problem, given: Predictions, halvings: int, seed: int) -> Iterator[np.ndarray]:
    """Half of each patient, 0 or 1, events by the horizon in equal parts."""
    rng = np.random.default_rng(seed)
    time, event = problem.time[given.rows], problem.event[given.rows]
    for _ in range(halvings):
        yield stratified_folds(event & (time <= problem.grid[-1]), 2, rng)


def refitted(problem: Problem, given: Predictions, columns: np.ndarray, halvings: int, seed: int) -> Design | None:
    """The clinical model with coefficients and baseline of the other half of the patients; None where none fits.

    Learned of follow-up up to the end of the grid, as the other updates.

    Parameters
    ----------
    problem, given, halvings, seed
        As in `updated`.
    columns
        Shape `(n_patients, n_columns)`, design matrix of the clinical model, rows as `given`.
    """
    end = problem.grid[-1]
    time = np.minimum(problem.time[given.rows], end)
    event = problem.event[given.rows] & (problem.time[given.rows] <= end)
    repeats = []
    for half in _halves(problem, given, halvings, seed):
        survival = np.empty_like(given.survival[YARDSTICK])
        risk = np.empty(len(time))
        for k in (0, 1):
            learn, apply = half != k, half == k
            try:
                model = fit_cox(columns[learn], time[learn], event[learn])
            except CoxError:
                return None
            survival[apply] = model.survival(columns[apply], problem.grid)
            risk[apply] = model.risk(columns[apply])
        repeats.append(Predictions(given.rows, half, ("half 1", "half 2"), {YARDSTICK: risk}, {YARDSTICK: survival}))
    return Design("external", tuple(repeats))


def evaluate_external(
    problem: Problem,
    given: Predictions,
    *,
    bootstraps: int,
    level: float,
    seed: int,
    halvings: int = HALVINGS,
    columns: np.ndarray | None = None,
) -> list[tuple[str, Estimate]]:
    """Every metric of every model as it is and after each update, with intervals.

    Updates are learned where nobody dies of other causes: with competing risks, curves are no exponentials of hazards.

    Parameters
    ----------
    problem
        Outcome of the patients of the other cohort.
    given
        Predictions of the models of the bundle.
    bootstraps, level
        Of the intervals.
    seed
        Seed of draws and halves.
    halvings
        As in `updated`.
    columns
        Shape `(n_patients, n_columns)`, design matrix of the clinical model, to fit it anew; None for no refit.
    """
    designs = [(AS_IS, Design("external", (given,)))]
    events = int((problem.event[given.rows] & (problem.time[given.rows] <= problem.grid[-1])).sum())
    if problem.competing is None and events >= 2:
        designs += [(update, updated(problem, given, update, halvings, seed)) for update in UPDATES]
        if columns is not None and columns.shape[1] and YARDSTICK in given.survival:
            anew = refitted(problem, given, columns, halvings, seed)
            designs += [(REFIT, anew)] if anew is not None else []
    return [
        (name, estimate)
        for name, design in designs
        for estimate in evaluate_design(
            problem, design, bootstraps=bootstraps, level=level, rng=np.random.default_rng(seed)
        )
    ]


def in_group_proportion(latents: np.ndarray, group: np.ndarray) -> dict[int, float]:
    """Share of the patients of a group whose nearest neighbour is of the same group (Kapp & Tibshirani 2007).

    Biostatistics 8:9. The nearest neighbour is that of the smallest Euclidean distance in the latent space.

    Parameters
    ----------
    latents
        Shape `(n_patients, n_latent)`.
    group
        Shape `(n_patients,)`.
    """
    from sklearn.neighbors import NearestNeighbors

    if len(latents) < 2:
        return {int(g): float("nan") for g in np.unique(group)}
    nearest = NearestNeighbors(n_neighbors=2).fit(latents).kneighbors(latents, return_distance=False)
    # Of patients in one place any may come first: the other one of the two is the neighbour.
    other = np.where(nearest[:, 0] == np.arange(len(latents)), nearest[:, 1], nearest[:, 0])
    return {int(g): float((group[other[group == g]] == g).mean()) for g in np.unique(group)}


Memberships = Callable[[np.ndarray], np.ndarray]
"""Latents `(n_patients, n_latent)` to probabilities of the groups `(n_patients, k)`."""


def sharpness(probabilities: np.ndarray) -> dict[int, float]:
    """Mean probability of the own group, by group from 1: near 1 where few patients lie between groups.

    Parameters
    ----------
    probabilities
        Shape `(n_patients, k)`.
    """
    group = probabilities.argmax(axis=1)
    best = probabilities.max(axis=1)
    return {int(g) + 1: float(best[group == g].mean()) for g in np.unique(group)}


def sharpness_test(
    latents: np.ndarray, memberships: Memberships, draws: int, rng: np.random.Generator
) -> dict[int, tuple[float, float]]:
    """Sharpness of each group and its p-value against patients of one cloud, assigned by the same rule.

    Any rule that cuts a cloud in two has neighbours on the same side, so that random groupings are no yardstick: drawn
    are patients of one normal distribution with the mean and covariance of those here.

    Parameters
    ----------
    latents
        Shape `(n_patients, n_latent)`.
    memberships
        The frozen rule.
    draws
        Clouds drawn.
    rng
        Source of the draws.
    """
    found = sharpness(memberships(latents))
    centre, covariance = latents.mean(axis=0), np.cov(latents.T).reshape(latents.shape[1], -1)
    beyond = dict.fromkeys(found, 1)
    for _ in range(draws):
        null = sharpness(memberships(rng.multivariate_normal(centre, covariance, len(latents), method="svd")))
        for g, value in found.items():  # a group that nobody of a cloud falls into was not found there
            beyond[g] += null.get(g, 0.0) >= value - 1e-12
    return {g: (found[g], count / (draws + 1)) for g, count in beyond.items()}
