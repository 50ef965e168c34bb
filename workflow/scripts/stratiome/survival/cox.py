"""Proportional hazards: coefficients, Breslow baseline and predicted curves."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

RIDGES = (0.0, 1e-3, 1e-2, 1e-1)
"""Ridge penalties per patient tried in turn; the first that converges is used."""

_PRECISION = {"precision": 1e-12, "r_precision": 1e-14}  # lifelines' own leave the sixth digit open
_MAX_LINEAR = 50.0  # beyond this a survival probability is 0 or 1 to the last digit
_MAX_STANDARDISED = 10.0  # a coefficient or standard error per SD this large means a monotone likelihood
_DEPENDENT = 1e-6  # share of a column's SD that others leave unexplained, below which it is left out


class CoxError(ValueError):
    """A proportional hazards model that could not be fitted."""


@dataclass(frozen=True)
class CoxModel:
    """A fitted proportional hazards model.

    Attributes
    ----------
    coefficients
        Shape `(n_columns,)`, log hazard ratio per unit of each column; positive = higher hazard.
    centre
        Shape `(n_columns,)`, training means; the baseline is a patient at these.
    times
        Shape `(n_steps,)`, event times of the training patients in months.
    cumulative_hazard
        Shape `(n_steps,)`, baseline cumulative hazard at these.
    standard_errors
        Shape `(n_columns,)`, or None where the fit was penalised.
    note
        What deviates from plain maximum likelihood, or "".
    aliased
        Columns left out, coefficient 0: constant, or linear combinations of columns before them.
    """

    coefficients: np.ndarray
    centre: np.ndarray
    times: np.ndarray
    cumulative_hazard: np.ndarray
    standard_errors: np.ndarray | None = None
    note: str = ""
    aliased: tuple[int, ...] = ()

    def risk(self, x: np.ndarray) -> np.ndarray:
        """Log partial hazard against the average training patient, shape `(n_patients,)`; higher = worse.

        Rounded to 10 decimals, so that patients with the same values tie whatever the order of the sums.
        """
        return np.round((x - self.centre) @ self.coefficients, 10)

    def survival(self, x: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """`S(t | x) = exp(-H0(t) exp(risk))`, shape `(n_patients, n_times)`; constant after the last event."""
        steps = np.concatenate([[0.0], self.cumulative_hazard])[np.searchsorted(self.times, grid, side="right")]
        relative = np.exp(np.clip(self.risk(x), -_MAX_LINEAR, _MAX_LINEAR))
        return np.exp(-np.outer(relative, steps))


def fit_cox(x: np.ndarray, time: np.ndarray, event: np.ndarray) -> CoxModel:
    """Cox model with Efron ties by lifelines, with a ridge penalty only where the plain fit does not exist.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.

    Raises
    ------
    CoxError
        If no penalty up to 0.1 per patient gives a fit.
    """
    used = independent_columns(x)
    if used.size == 0:
        raise CoxError("all covariates are constant in training")
    scale = x[:, used].std(axis=0)
    standardised = (x[:, used] - x[:, used].mean(axis=0)) / scale
    problems = []
    for ridge in RIDGES:
        try:
            found, errors = _newton(standardised, time, event, ridge)
        except CoxError as error:
            problems.append(str(error))
            continue
        coefficients = np.zeros(x.shape[1])
        coefficients[used] = found / scale
        standard_errors = None
        if ridge == 0.0:
            standard_errors = np.full(x.shape[1], np.nan)
            standard_errors[used] = errors / scale
        note = "" if ridge == 0.0 else f"ridge penalty {ridge:g} per patient, since {problems[0]}"
        aliased = tuple(j for j in range(x.shape[1]) if j not in used)
        fitted = with_baseline(x, time, event, coefficients)
        return replace(fitted, standard_errors=standard_errors, note=note, aliased=aliased)
    raise CoxError(problems[0])


def independent_columns(x: np.ndarray) -> np.ndarray:
    """Positions of columns that are neither constant nor a linear combination of columns before them.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    """
    scale = x.std(axis=0)
    basis = np.zeros((len(x), 0))
    kept = []
    for j in np.flatnonzero(scale > 1e-12 * np.maximum(1.0, np.abs(x).max(axis=0, initial=0.0))):
        column = (x[:, j] - x[:, j].mean()) / (scale[j] * np.sqrt(len(x)))
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)  # once more against cancellation
        size = float(np.linalg.norm(rest))
        if size > _DEPENDENT:
            basis = np.column_stack([basis, rest / size])
            kept.append(int(j))
    return np.asarray(kept, dtype=np.int64)


def _newton(x: np.ndarray, time: np.ndarray, event: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError, ConvergenceWarning

    names = [f"x{j}" for j in range(x.shape[1])]
    frame = pd.DataFrame(x, columns=names)
    frame["time"], frame["event"] = time, event.astype(int)
    with warnings.catch_warnings():
        # Warnings of low variance and the like are guesses; separation is judged below from the numbers themselves.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", ".*failed to converge", ConvergenceWarning)
        fitter = CoxPHFitter(penalizer=ridge)
        try:
            fitter.fit(frame, duration_col="time", event_col="event", fit_options=_PRECISION)
        except (ConvergenceError, ConvergenceWarning, np.linalg.LinAlgError, ValueError) as error:
            raise CoxError("the likelihood did not converge") from error
    found = fitter.params_.to_numpy(dtype=np.float64)
    errors = fitter.standard_errors_.to_numpy(dtype=np.float64)
    if not np.isfinite(found).all() or not np.isfinite(errors).all():
        raise CoxError("the likelihood did not converge")
    if max(np.abs(found).max(), errors.max()) > _MAX_STANDARDISED:
        raise CoxError("a covariate separates patients with and without events (monotone likelihood)")
    return found, errors


def with_baseline(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    coefficients: np.ndarray,
) -> CoxModel:
    """Add the Breslow baseline to coefficients.

    `H0(t) = sum_{s <= t} d_s / sum_{j at risk at s} exp(risk_j)` (Breslow 1972), risks against the training mean.
    """
    centre = x.mean(axis=0)
    bare = CoxModel(coefficients, centre, np.zeros(0), np.zeros(0))
    relative = np.exp(np.clip(bare.risk(x), -_MAX_LINEAR, _MAX_LINEAR))
    order = np.argsort(time, kind="stable")
    times, starts = np.unique(time[order], return_index=True)
    at_risk = np.cumsum(np.add.reduceat(relative[order], starts)[::-1])[::-1]
    deaths = np.add.reduceat(event[order].astype(np.float64), starts)
    kept = deaths > 0
    hazard = np.cumsum(deaths[kept] / at_risk[kept])
    return CoxModel(coefficients, centre, times[kept], hazard)


def partial_log_likelihood(risk: np.ndarray, time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Cox partial log-likelihood with Breslow ties, for many risk scores at once.

    Parameters
    ----------
    risk
        Shape `(n_patients, n_scores)`, log partial hazards.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.

    Returns
    -------
    numpy.ndarray
        Shape `(n_scores,)`.
    """
    order = np.argsort(-time, kind="stable")
    risk, time, event = risk[order], time[order], event[order]
    at_risk = np.logaddexp.accumulate(risk, axis=0)
    # With descending times the risk set of a time ends at the last patient who has it.
    last = len(time) - 1 - np.searchsorted(time[::-1], time, side="left")
    return (risk[event] - at_risk[last[event]]).sum(axis=0)
