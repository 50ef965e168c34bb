"""Calibration of every model: smooth curves with bands, their distance from the diagonal, D-calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from stratiome.prognosis import calibration_curve as smooth
from stratiome.prognosis.d_calibration import BINS, LEAST, DCalibration, d_calibration
from stratiome.prognosis.evaluate import (
    NEVER_FITTED,
    TOO_FEW,
    Predictions,
    Problem,
    draw_weights,
    enough,
)
from stratiome.survival.interval import percentile_interval
from stratiome.survival.outcome import at_one_time
from stratiome.survival.pseudo import pseudo_risks

POINTS = 25
"""Predicted risks at which a curve is kept."""
END, BEYOND = 0.01, 10
"""A curve is kept where at least this share of the patients, and this many, have lower risks, and higher ones."""
SUMMARIES = ("intercept", "ici", "e50", "e90")
"""Measures at a horizon; `d_calibration` is one of the whole curve up to tau."""


@dataclass(frozen=True)
class Point:
    """A point of a calibration curve with its pointwise interval."""

    model: str
    horizon: float
    predicted: float
    observed: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Measure:
    """One summary of calibration; None where not estimable.

    Attributes
    ----------
    chance, chance_upper
        For the ICI: mean and upper end (one-sided, at the level of intervals) of what sampling alone gives to perfect
        predictions.
    df, p_value
        For D-calibration, whose estimate is the statistic.
    """

    model: str
    metric: str
    horizon: float
    estimate: float | None
    lower: float | None
    upper: float | None
    n: int
    events: int
    method: str
    chance: float | None = None
    chance_upper: float | None = None
    df: int | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class _Group:
    """Models that are judged on the very same patients, and these."""

    models: tuple[str, ...]
    part: Predictions
    time: np.ndarray
    event: np.ndarray
    competing: np.ndarray | None
    strata: tuple[np.ndarray, ...]

    def pseudo(self, horizon: float, weights: np.ndarray) -> np.ndarray:
        """Pseudo-values by stratum, shape `(n_draws, n_patients)`."""
        found = np.empty(weights.shape)
        for rows in self.strata:
            other = None if self.competing is None else self.competing[rows]
            found[:, rows] = pseudo_risks(self.time[rows], self.event[rows], horizon, weights[:, rows], competing=other)
        return found


def calibrate(
    problem: Problem,
    predictions: Predictions,
    *,
    by_site: bool,
    bootstraps: int,
    level: float,
    seed: int | list[int],
    competing: np.ndarray | None = None,
) -> tuple[list[Point], list[Measure]]:
    """Curves and summaries of every model at every horizon, D-calibration up to tau.

    Patients of all folds are pooled, as absolute risks mean the same in each. Bootstrap draws are of patients with
    replacement, each with pseudo-values of its own; models are kept fixed. A model that does not tell patients of a
    fold apart has no curve. With competing risks predictions must be incidences.

    Parameters
    ----------
    problem
        Outcome and times.
    predictions
        Held-out predictions of one repeat.
    by_site
        Whether folds are sites, which may differ in follow-up: pseudo-values are then made within each.
    bootstraps, level
        Draws and level of intervals.
    seed
        Of the draws, the same for each set of patients.
    competing
        Shape `(n_patients,)` of the problem, True = failed of another cause. Default: there are no other causes.
    """
    points: list[Point] = []
    measures: list[Measure] = []
    for group in _groups(problem, predictions, by_site, competing):
        n, events = len(group.time), int(group.event.sum())
        parts = [seed] if isinstance(seed, int) else seed
        writer = _Writer(problem, n, events, bootstraps, level, by_site, competing is not None, parts)
        if not enough(problem, group.part.rows):
            why = TOO_FEW if n else NEVER_FITTED
            measures += [m for model in group.models for m in writer.nothing(model, why)]
            continue
        draws = list(draw_weights(np.arange(n), n, bootstraps, np.random.default_rng(seed)))
        found: dict[str, list[Measure]] = {model: [] for model in group.models}
        for horizon in problem.horizons:
            pseudo = [group.pseudo(horizon, w) for w in (np.ones((1, n)), *draws)]
            for model in group.models:
                curve, rows = _at_horizon(problem, group, model, horizon, pseudo, draws, writer)
                points += curve
                found[model] += rows
        for model in group.models:
            measures += [*found[model], _whole_curve(problem, group, model, writer)]
    return points, measures


def _groups(
    problem: Problem, predictions: Predictions, by_site: bool, competing: np.ndarray | None
) -> Iterator[_Group]:
    same: dict[bytes, list[str]] = {}
    for model in predictions.survival:
        same.setdefault(predictions.fitted(model).rows.tobytes(), []).append(model)
    for models in same.values():
        part = predictions.fitted(models[0])
        folds = tuple(np.flatnonzero(part.fold == k) for k in np.unique(part.fold))
        yield _Group(
            tuple(models),
            part,
            problem.time[part.rows],
            problem.event[part.rows],
            None if competing is None else np.asarray(competing, dtype=bool)[part.rows],
            folds if by_site else (np.arange(len(part.rows)),),
        )


def _at_horizon(
    problem: Problem,
    group: _Group,
    model: str,
    horizon: float,
    pseudo: list[np.ndarray],
    draws: list[np.ndarray],
    writer: _Writer,
) -> tuple[list[Point], list[Measure]]:
    """Curve and summaries; `pseudo` is that of all patients, then those of each batch of draws."""
    part, one = group.part, np.ones((1, len(group.time)))
    risk = np.clip(1.0 - part.survival[model][:, problem.column(horizon)], 0.0, 1.0)
    failed = group.event & (group.time <= horizon)
    if writer.hazards:
        until = np.minimum(group.time, horizon)
        hazard = smooth.hazard_at(part.survival[model], problem.grid, until)
        intercepts = [smooth.intercept(failed, hazard, w) for w in (one, *draws)]
    else:
        intercepts = [smooth.intercept_of_risks(y, risk, w) for y, w in zip(pseudo, (one, *draws), strict=True)]
    rows = [writer.measure(model, "intercept", horizon, intercepts[0][0], np.concatenate(intercepts[1:]))]
    why = _no_curve(group, risk, failed, horizon, pseudo[0])
    if why:
        return [], rows + [writer.none(model, metric, horizon, why) for metric in SUMMARIES[1:]]
    spline = smooth.Spline.make(risk, int(failed.sum()))
    basis = spline.basis(risk)
    end = min(max(END, BEYOND / len(risk)), 0.5)
    low, high = np.quantile(risk, [end, 1.0 - end])
    at = np.unique(np.round(np.linspace(low, high, POINTS), 3))
    whole = smooth.fit(basis, pseudo[0], one)
    curve = smooth.risks(basis, whole)
    if not np.isfinite(curve).all():
        why = "no curve fits the pseudo-values"
        return [], rows + [writer.none(model, metric, horizon, why) for metric in SUMMARIES[1:]]
    fits = [smooth.fit(basis, y, w, start=whole[0]) for y, w in zip(pseudo[1:], draws, strict=True)]
    found = smooth.agreement(curve, risk, one)
    each = []
    for coefficients, w in zip(fits, draws, strict=True):
        drawn = smooth.risks(basis, coefficients)
        each.append(smooth.agreement(drawn, risk, w))
    by_chance = smooth.chance(basis, pseudo[0][0], writer.bootstraps, np.random.default_rng([*writer.seed, 1]))
    for metric in SUMMARIES[1:]:
        value, drawn = getattr(found, metric)[0], np.concatenate([getattr(e, metric) for e in each])
        rows.append(writer.measure(model, metric, horizon, value, drawn, by_chance if metric == "ici" else None))
    shown = spline.basis(at)
    line, band = smooth.risks(shown, whole)[0], smooth.risks(shown, np.concatenate(fits))
    ends = [percentile_interval(band[:, j], writer.level) for j in range(len(at))]
    made = zip(at, line, ends, strict=True)
    return [Point(model, horizon, float(x), float(y), *interval) for x, y, interval in made], rows


def _no_curve(group: _Group, risk: np.ndarray, failed: np.ndarray, horizon: float, pseudo: np.ndarray) -> str:
    """Why there is no curve, or ""."""
    if not np.isfinite(pseudo).all():
        where = "in one of the sites no" if len(group.strata) > 1 else "no"
        return f"{where} held-out patient is followed to {horizon:g} months"
    if not any(np.ptp(risk[group.part.fold == k]) > 0 for k in np.unique(group.part.fold)):
        return "predictions do not differ within folds"
    if failed.sum() < smooth.LEAST:
        return f"fewer than {smooth.LEAST} events by the horizon"
    if (~failed & (group.time >= horizon)).sum() < smooth.LEAST:
        return f"fewer than {smooth.LEAST} patients are known to be event-free at the horizon"
    return ""


def _whole_curve(problem: Problem, group: _Group, model: str, writer: _Writer) -> Measure:
    """D-calibration up to tau."""
    if group.competing is not None:
        why = "with competing risks not everybody would fail, so predicted incidences at the event are not uniform"
        return writer.none(model, "d_calibration", problem.tau, why)
    until = np.minimum(group.time, problem.tau)
    hazard = smooth.hazard_at(group.part.survival[model], problem.grid, until)
    test = d_calibration(group.time, group.event, np.exp(-hazard), problem.tau)
    if test.statistic is None:
        why = f"fewer than two bins of predicted survival hold {LEAST} events"
        return writer.none(model, "d_calibration", problem.tau, why)
    return writer.test(model, problem.tau, test)


class _Writer:
    """Turns draws into rows with the text that says how they were made."""

    def __init__(
        self,
        problem: Problem,
        n: int,
        events: int,
        bootstraps: int,
        level: float,
        by_site: bool,
        competing: bool,
        seed: list[int],
    ) -> None:
        self.problem, self.n, self.events = problem, n, events
        self.bootstraps, self.level = bootstraps, level
        self.by_site, self.competing, self.seed = by_site, competing, seed
        # Whether events compare with predicted cumulative hazards: not with competing risks, nor without time.
        self.hazards = not competing and not at_one_time(problem.time, problem.event)

    def measure(
        self,
        model: str,
        metric: str,
        horizon: float,
        value: float,
        draws: np.ndarray,
        by_chance: np.ndarray | None = None,
    ) -> Measure:
        """One row with its percentile interval."""
        if not np.isfinite(value):
            return self.none(model, metric, horizon, "no event by the horizon, or no risk is predicted")
        lower, upper = percentile_interval(draws, self.level)
        method = self._method(metric, horizon)
        if lower is None:
            method += f"; no interval, as {int((~np.isfinite(draws)).sum())} draws have no value"
        lucky = upper_chance = None
        if by_chance is not None and lower is not None:
            good = by_chance[np.isfinite(by_chance)]
            lucky, upper_chance = float(good.mean()), float(np.quantile(good, self.level, method="weibull"))
        counts = (self.n, self.events, method)
        return Measure(model, metric, horizon, float(value), lower, upper, *counts, lucky, upper_chance)

    def test(self, model: str, tau: float, found: DCalibration) -> Measure:
        """The row of D-calibration."""
        method = (
            f"{self._method('d_calibration', tau)}; {found.bins} bins; {100 * found.spread:.0f} % of the patients are"
            " spread"
        )
        row = self.none(model, "d_calibration", tau, "")
        return replace(row, estimate=found.statistic, method=method, df=found.df, p_value=found.p_value)

    def none(self, model: str, metric: str, horizon: float, why: str) -> Measure:
        """One row without an estimate."""
        text = f"not estimable: {why}; {self._method(metric, horizon)}"
        return Measure(model, metric, horizon, None, None, None, self.n, self.events, text)

    def nothing(self, model: str, why: str) -> list[Measure]:
        """Rows without an estimate of every measure."""
        keys = [(metric, horizon) for horizon in self.problem.horizons for metric in SUMMARIES]
        return [self.none(model, *key, why) for key in [*keys, ("d_calibration", self.problem.tau)]]

    def _method(self, metric: str, horizon: float) -> str:
        if metric == "d_calibration":
            return (
                f"chi-squared test that events are spread evenly over the predicted survival up to {horizon:g} months,"
                f" at most {BINS} bins, those with fewer than {LEAST} events merged, censored patients spread over"
                " later bins, variance of the patients' contributions; low power where many are censored"
            )
        curve = "Aalen-Johansen" if self.competing else "Kaplan-Meier"
        pseudo = f"{curve} pseudo-values at {horizon:g} months{' by site' if self.by_site else ''}"
        pooled = "patients pooled over folds"
        line = f"{pseudo} regressed on a restricted cubic spline, complementary log-log link, {pooled}"
        hazards = f"log of events over predicted cumulative hazard up to the end of follow-up or {horizon:g} months"
        by_pseudo = f"{pseudo} with the prediction as offset, complementary log-log link"
        text = {
            "intercept": f"{hazards if self.hazards else by_pseudo}, {pooled}; ideal 0, above it risks are too low",
            "ici": f"integrated calibration index, mean distance of prediction and smooth curve: {line}; above zero"
            " for perfect predictions too, and so is its interval: compare with chance",
            "e50": f"median distance of prediction and smooth curve: {line}",
            "e90": f"90th percentile of the distance of prediction and smooth curve: {line}",
        }[metric]
        return (
            f"{text}; {100 * self.level:g} % percentile interval of {self.bootstraps} bootstraps of held-out patients, "
            "models kept fixed"
        )
