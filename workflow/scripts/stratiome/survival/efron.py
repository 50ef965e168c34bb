"""Cox's partial likelihood with Efron ties, strata, case weights and left truncation: value and derivatives.

Lifelines fits; this is what its fits are polished and tested with. A tie of `d` deaths is broken into `d` steps: at
step `l` a share `a = l / d` of the hazard of those who die has left the risk set (Efron 1977). With case weights
each step counts the mean weight of the deaths, as in `coxph` of R's survival (Therneau & Grambsch 2000, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Derivatives:
    """Log partial likelihood, its gradient `(n_columns,)`, and its negative Hessian `(n_columns, n_columns)`."""

    value: float
    score: np.ndarray
    information: np.ndarray


@dataclass(frozen=True)
class _Stratum:
    """Who is at risk when, in one stratum.

    Attributes
    ----------
    x, weights, event
        Of its patients, by increasing time.
    times
        Shape `(n_times,)`, event times.
    first
        Shape `(n_times,)`, first patient whose time is not before the event time.
    last
        Shape `(n_patients,)`, number of event times up to the patient's own.
    entry_order, not_entered
        Patients by increasing entry, and the first of them in this order who is not yet at risk at the event time.
    before
        Shape `(n_patients,)`, number of event times at or before the patient's entry.
    dead, death
        Patients with an event, and the event time of each.
    step, share
        Shape `(n_events,)`, event time of each step, and the share of the deaths that has left.
    """

    x: np.ndarray
    weights: np.ndarray
    event: np.ndarray
    times: np.ndarray
    first: np.ndarray
    last: np.ndarray
    entry_order: np.ndarray
    not_entered: np.ndarray
    before: np.ndarray
    dead: np.ndarray
    death: np.ndarray
    step: np.ndarray
    share: np.ndarray

    @classmethod
    def make(
        cls, x: np.ndarray, time: np.ndarray, event: np.ndarray, weights: np.ndarray, entry: np.ndarray
    ) -> _Stratum:
        order = np.argsort(time, kind="stable")
        x, time, event, weights, entry = x[order], time[order], event[order], weights[order], entry[order]
        times, counts = np.unique(time[event], return_counts=True)
        entry_order = np.argsort(entry, kind="stable")
        step = np.repeat(np.arange(len(times)), counts)
        share = (np.arange(len(step)) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[step]
        dead = np.flatnonzero(event)
        return cls(
            x,
            weights,
            event,
            times,
            np.searchsorted(time, times, side="left"),
            np.searchsorted(times, time, side="right"),
            entry_order,
            np.searchsorted(entry[entry_order], times, side="left"),
            np.searchsorted(times, entry, side="right"),
            dead,
            np.searchsorted(times, time[dead]),
            step,
            share,
        )

    def at_risk(self, values: np.ndarray) -> np.ndarray:
        """Sum over the patients at risk at each event time, of values `(n_patients, ...)`."""
        return _from_end(values)[self.first] - _from_end(values[self.entry_order])[self.not_entered]

    def over_time(self, values: np.ndarray) -> np.ndarray:
        """Sum over the event times at which each patient is at risk, of values `(n_times,)`."""
        passed = np.concatenate([[0.0], np.cumsum(values)])
        return passed[self.last] - passed[self.before]

    def at_death(self, values: np.ndarray) -> np.ndarray:
        """Sum over the patients who die at each event time, of values `(n_patients, ...)`."""
        total = np.zeros((len(self.times), *values.shape[1:]))
        np.add.at(total, self.death, values[self.dead])
        return total

    def steps(self, coefficients: np.ndarray) -> _Steps:
        linear = self.x @ coefficients
        top = float(linear.max())
        hazard = self.weights * np.exp(linear - top)
        moment = hazard[:, None] * self.x
        total = self.at_risk(hazard)[self.step] - self.share * self.at_death(hazard)[self.step]
        first = self.at_risk(moment)[self.step] - self.share[:, None] * self.at_death(moment)[self.step]
        deaths = np.bincount(self.step, minlength=len(self.times))
        weight = (self.at_death(self.weights) / deaths)[self.step]
        return _Steps(self, linear, top, hazard, total, first / total[:, None], weight)


@dataclass(frozen=True)
class _Steps:
    """Steps of one stratum at given coefficients: hazard at risk (over `exp(top)`), mean covariates, and weight."""

    of: _Stratum
    linear: np.ndarray
    top: float
    hazard: np.ndarray
    total: np.ndarray
    mean: np.ndarray
    weight: np.ndarray

    @property
    def value(self) -> float:
        own = self.of.weights[self.of.dead] @ self.linear[self.of.dead]
        return float(own - self.weight @ (np.log(self.total) + self.top))

    def score(self, factor: np.ndarray) -> np.ndarray:
        own = (factor[self.of.death] * self.of.weights[self.of.dead]) @ self.of.x[self.of.dead]
        return own - (factor[self.of.step] * self.weight) @ self.mean

    def information(self, factor: np.ndarray) -> np.ndarray:
        """Covariances of the covariates at risk, summed over steps.

        Second moments are summed patient by patient with the weight that the patient has in all steps together, so
        that no array is larger than the data.
        """
        of = self.of
        each = factor[of.step] * self.weight
        present = np.bincount(of.step, each / self.total, minlength=len(of.times))
        left = np.bincount(of.step, of.share * each / self.total, minlength=len(of.times))
        held = of.over_time(present)
        held[of.dead] -= left[of.death]
        return of.x.T @ ((self.hazard * held)[:, None] * of.x) - self.mean.T @ (each[:, None] * self.mean)


@dataclass(frozen=True)
class PartialLikelihood:
    """Cox's partial likelihood of one data set. Make it with `PartialLikelihood.make`.

    Attributes
    ----------
    centre
        Shape `(n_columns,)`, taken off the covariates against cancellation; it changes no value.
    strata
        Strata with at least one event.
    """

    centre: np.ndarray
    strata: tuple[_Stratum, ...]

    @classmethod
    def make(
        cls,
        x: np.ndarray,
        time: np.ndarray,
        event: np.ndarray,
        *,
        strata: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        entry: np.ndarray | None = None,
    ) -> PartialLikelihood:
        """Sort the patients once.

        Parameters
        ----------
        x
            Shape `(n_patients, n_columns)`, finite.
        time, event
            Shape `(n_patients,)`, follow-up in months and True = observed.
        strata
            Shape `(n_patients,)`, labels; patients are compared within a stratum only.
        weights
            Shape `(n_patients,)`, positive case weights.
        entry
            Shape `(n_patients,)`, months from which a patient is at risk, before `time`; at risk where
            `entry < t <= time`.
        """
        event = np.asarray(event, dtype=bool)
        weights = np.ones(len(time)) if weights is None else weights
        entry = np.full(len(time), -np.inf) if entry is None else entry
        labels = np.zeros(len(time), dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
        centre = x.mean(axis=0)
        parts = []
        for label in np.unique(labels):
            here = labels == label
            if event[here].any():
                part = _Stratum.make(x[here] - centre, time[here], event[here], weights[here], entry[here])
                parts.append(part)
        return cls(centre, tuple(parts))

    @property
    def times(self) -> tuple[np.ndarray, ...]:
        """Event times of each stratum."""
        return tuple(part.times for part in self.strata)

    def at(self, coefficients: np.ndarray) -> Derivatives:
        """Value and derivatives at coefficients of shape `(n_columns,)`."""
        parts = [part.steps(coefficients) for part in self.strata]
        ones = [np.ones(len(part.times)) for part in self.strata]
        size = len(coefficients)
        score = sum((p.score(f) for p, f in zip(parts, ones, strict=True)), np.zeros(size))
        information = sum((p.information(f) for p, f in zip(parts, ones, strict=True)), np.zeros((size, size)))
        return Derivatives(sum(p.value for p in parts), score, information)

    def over_time(
        self, coefficients: np.ndarray, functions: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score and information of coefficients that move with a function of time, at no movement.

        The hazard is `h0(t) exp(x' (b + c g(t)))`; derivatives are taken at `c = 0`.

        Parameters
        ----------
        coefficients
            Shape `(n_columns,)`, b.
        functions
            g at the event times of each stratum, as `times`.

        Returns
        -------
        tuple of numpy.ndarray
            Score of c `(n_columns,)`, information of b with c, and of c with c, each `(n_columns, n_columns)`.
        """
        parts = [part.steps(coefficients) for part in self.strata]
        size = len(coefficients)
        score, mixed, own = np.zeros(size), np.zeros((size, size)), np.zeros((size, size))
        for part, g in zip(parts, functions, strict=True):
            score += part.score(g)
            mixed += part.information(g)
            own += part.information(g**2)
        return score, mixed, own


def _from_end(values: np.ndarray) -> np.ndarray:
    """Sums from each row to the last, and a zero."""
    return np.concatenate([np.cumsum(values[::-1], axis=0)[::-1], np.zeros((1, *values.shape[1:]))])
