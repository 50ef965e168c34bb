"""Proportional hazards: coefficients, Efron baseline and predicted curves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stratiome.survival.efron import PartialLikelihood

RIDGES = (0.0, 1e-3, 1e-2, 1e-1)
"""Ridge penalties per patient tried in turn; the first that converges is used."""

_PRECISION = {"precision": 1e-12, "r_precision": 1e-14}  # lifelines' own leave the sixth digit open
_MAX_LINEAR = 50.0  # beyond this a survival probability is 0 or 1 to the last digit
_MAX_STANDARDISED = 10.0  # a coefficient or standard error per SD this large means a monotone likelihood
_STEPS = 25  # Newton steps, from no effects as `coxph` or from where lifelines stopped
_HALVINGS = 10  # of a step that loses likelihood
_SETTLED = 1e-10  # a step this small per SD, the last one taken, leaves an error of its square
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
    log_likelihood
        Log partial likelihood with Efron ties, without penalty; None where only a baseline was added.
    stratified
        Whether strata have baselines of their own; these are not kept.
    """

    coefficients: np.ndarray
    centre: np.ndarray
    times: np.ndarray
    cumulative_hazard: np.ndarray
    standard_errors: np.ndarray | None = None
    note: str = ""
    aliased: tuple[int, ...] = ()
    log_likelihood: float | None = None
    stratified: bool = False

    def arrays(self) -> dict[str, np.ndarray]:
        """What predictions need, by the names of the attributes."""
        return {k: getattr(self, k) for k in ("coefficients", "centre", "times", "cumulative_hazard")}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> CoxModel:
        """A model that predicts as that of `arrays`."""
        return cls(arrays["coefficients"], arrays["centre"], arrays["times"], arrays["cumulative_hazard"])

    def risk(self, x: np.ndarray) -> np.ndarray:
        """Log partial hazard against the average training patient, shape `(n_patients,)`; higher = worse.

        Rounded to 10 decimals, so that patients with the same values tie whatever the order of the sums.
        """
        return np.round((x - self.centre) @ self.coefficients, 10)

    def survival(self, x: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """`S(t | x) = exp(-H0(t) exp(risk))`, shape `(n_patients, n_times)`; constant after the last event.

        Raises
        ------
        CoxError
            If the fit is stratified.
        """
        if self.stratified:
            raise CoxError("a stratified fit keeps no baseline. Suggestion: fit without strata to predict survival")
        steps = np.concatenate([[0.0], self.cumulative_hazard])[np.searchsorted(self.times, grid, side="right")]
        relative = np.exp(np.clip(self.risk(x), -_MAX_LINEAR, _MAX_LINEAR))
        return np.exp(-np.outer(relative, steps))

    def restricted_mean(self, x: np.ndarray, tau: float) -> np.ndarray:
        """Mean survival up to tau of each patient, months, shape `(n_patients,)`: area under `survival`, exactly.

        Raises
        ------
        CoxError
            If the fit is stratified.
        """
        inner = self.times[self.times < tau]
        return self.survival(x, np.concatenate([[0.0], inner])) @ np.diff(np.concatenate([[0.0], inner, [tau]]))


def fit_cox(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    entry: np.ndarray | None = None,
) -> CoxModel:
    """Cox model with Efron ties, with a ridge penalty only where the plain fit does not exist.

    Unpenalised fits are taken to the maximum by exact Newton steps: coefficients, standard errors and log partial
    likelihood are those of `coxph(ties = "efron", robust = FALSE)` of R's survival. Where these steps do not settle,
    lifelines gives the start, and it fits with a penalty; it takes 5 to 15 times as long
    (`tests/benchmarks/cox_fit.py`), and alone it may stop while the eighth digit still moves.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    strata
        Shape `(n_patients,)`, labels; each stratum has a baseline hazard of its own.
    weights
        Shape `(n_patients,)`, positive case weights: a patient of weight 2 counts as two. Standard errors are right
        for such counts, not for sampling weights.
    entry
        Shape `(n_patients,)`, months from which a patient is under observation (left truncation), before `time`.

    Raises
    ------
    CoxError
        If no penalty up to 0.1 per patient gives a fit, a weight is not positive, or an entry is not before the time.
    """
    given = {"strata": strata, "weights": weights, "entry": entry}
    extra = {name: np.asarray(values) for name, values in given.items() if values is not None}
    _check(time, extra)
    used = independent_columns(x if strata is None else within_strata(x, extra["strata"]))
    if used.size == 0:
        raise CoxError("all covariates are constant in training")
    scale = x[:, used].std(axis=0)
    standardised = (x[:, used] - x[:, used].mean(axis=0)) / scale
    likelihood = PartialLikelihood.make(standardised, time, event, **extra)
    problems = []
    for ridge in RIDGES:
        try:
            found, errors = _newton(standardised, time, event, ridge, extra, likelihood)
        except CoxError as error:
            problems.append(str(error))
            continue
        coefficients = np.zeros(x.shape[1])
        coefficients[used] = found / scale
        standard_errors = None
        if ridge == 0.0:
            standard_errors = np.full(x.shape[1], np.nan)
            standard_errors[used] = errors / scale
        fitted = CoxModel(coefficients, x.mean(axis=0), np.zeros(0), np.zeros(0), stratified=True)
        if strata is None:
            fitted = with_baseline(x, time, event, coefficients, weights=weights, entry=entry)
        return replace(
            fitted,
            standard_errors=standard_errors,
            note="" if ridge == 0.0 else f"ridge penalty {ridge:g} per patient, since {problems[0]}",
            aliased=tuple(j for j in range(x.shape[1]) if j not in used),
            log_likelihood=likelihood.at(found).value,
        )
    raise CoxError(problems[0])


def _check(time: np.ndarray, extra: Mapping[str, np.ndarray]) -> None:
    for name, values in extra.items():
        if values.shape != np.shape(time):
            raise CoxError(f"{name} must be a vector as long as the follow-up, not {values.shape}")
    if "weights" in extra and not (np.isfinite(extra["weights"]) & (extra["weights"] > 0)).all():
        raise CoxError("case weights must be positive and finite. Suggestion: leave out patients of weight 0")
    if "entry" in extra and not (extra["entry"] < time).all():
        late = int((~(extra["entry"] < time)).sum())
        raise CoxError(f"{late} patients enter at or after the end of their follow-up. Suggestion: leave them out")


def within_strata(x: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Columns less their mean within each stratum, shape `(n_patients, n_columns)`."""
    label = np.unique(strata, return_inverse=True)[1]
    totals = np.zeros((label.max(initial=-1) + 1, x.shape[1]))
    np.add.at(totals, label, x)
    return x - (totals / np.bincount(label)[:, None])[label]


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


def _newton(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    ridge: float,
    extra: Mapping[str, np.ndarray],
    likelihood: PartialLikelihood,
) -> tuple[np.ndarray, np.ndarray]:
    if ridge == 0.0:
        try:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # a step too far is no fit, said below
                found, errors = _maximum(np.zeros(x.shape[1]), likelihood)
            _check_finite(found, errors)
            return found, errors
        except CoxError:
            pass  # lifelines decides whether there is a fit, and what is said
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError, ConvergenceWarning

    names = [f"x{j}" for j in range(x.shape[1])]
    frame = pd.DataFrame(x, columns=names)
    frame["time"], frame["event"] = time, event.astype(int)
    for name, values in extra.items():
        frame[name] = values
    options = {"strata": ("strata", ["strata"]), "weights": ("weights_col", "weights"), "entry": ("entry_col", "entry")}
    with warnings.catch_warnings():
        # Warnings of low variance and the like are guesses; separation is judged below from the numbers themselves.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", ".*failed to converge", ConvergenceWarning)
        fitter = CoxPHFitter(penalizer=ridge)
        try:
            given = dict(options[name] for name in extra)
            fitter.fit(frame, duration_col="time", event_col="event", fit_options=_PRECISION, **given)
        except (ConvergenceError, ConvergenceWarning, np.linalg.LinAlgError, ValueError) as error:
            raise CoxError("the likelihood did not converge") from error
    found = fitter.params_.to_numpy(dtype=np.float64)
    errors = fitter.standard_errors_.to_numpy(dtype=np.float64)
    _check_finite(found, errors)
    if ridge == 0.0:
        found, errors = _maximum(found, likelihood)
        _check_finite(found, errors)
    return found, errors


def _check_finite(found: np.ndarray, errors: np.ndarray) -> None:
    if not np.isfinite(found).all() or not np.isfinite(errors).all():
        raise CoxError("the likelihood did not converge")
    if max(np.abs(found).max(), errors.max()) > _MAX_STANDARDISED:
        raise CoxError("a covariate separates patients with and without events (monotone likelihood)")


def _maximum(found: np.ndarray, likelihood: PartialLikelihood) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients at the maximum, from `found` on, and their standard errors, from the inverse information."""
    here = likelihood.at(found)
    for _ in range(_STEPS):
        try:
            step = np.linalg.solve(here.information, here.score)
        except np.linalg.LinAlgError as error:
            raise CoxError("the likelihood did not converge") from error
        if np.abs(step).max() < _SETTLED:
            found = found + step
            try:
                return found, np.sqrt(np.diag(np.linalg.inv(likelihood.at(found).information)))
            except np.linalg.LinAlgError as error:
                raise CoxError("the likelihood has no maximum that covariates could be told apart by") from error
        before = here.value
        for _ in range(_HALVINGS):
            here = likelihood.at(found + step)
            if here.value >= before:
                break
            step = step / 2
        found = found + step
        if not np.abs(found).max() <= _MAX_STANDARDISED:
            break
    raise CoxError("the likelihood did not converge")


def with_baseline(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    coefficients: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    entry: np.ndarray | None = None,
) -> CoxModel:
    """Add the Efron baseline to coefficients.

    `H0(t) = sum_{s <= t} sum_{l < d_s} (1 / d_s) D_s / (R_s - (l / d_s) E_s)` (Efron 1977, as `survfit` of a `coxph`
    fit of R's survival): d, D and E are the number, weight and hazard of the deaths at s, R the hazard at risk, each
    hazard being `exp(risk)` times the case weight, risks against the training mean. Without ties it is Breslow's; with
    many, Breslow's is too small. `weights` and `entry` as in `fit_cox`.
    """
    centre = x.mean(axis=0)
    bare = CoxModel(coefficients, centre, np.zeros(0), np.zeros(0))
    weights = np.ones(len(time)) if weights is None else weights
    relative = weights * np.exp(np.clip(bare.risk(x), -_MAX_LINEAR, _MAX_LINEAR))
    order = np.argsort(time, kind="stable")
    times, starts = np.unique(time[order], return_index=True)
    at_risk = np.cumsum(np.add.reduceat(relative[order], starts)[::-1])[::-1]
    if entry is not None:
        later = np.argsort(entry, kind="stable")
        not_entered = np.append(np.cumsum(relative[later][::-1])[::-1], 0.0)
        at_risk -= not_entered[np.searchsorted(entry[later], times, side="left")]
    dead = np.asarray(event, dtype=bool)
    each = (np.ones(len(time)), weights, relative)
    count, weight, leaving = (np.add.reduceat(np.where(dead, v, 0.0)[order], starts) for v in each)
    kept = np.flatnonzero(count > 0)
    steps = count[kept].astype(np.int64)
    of = np.repeat(kept, steps)
    share = (np.arange(len(of)) - np.repeat(np.cumsum(steps) - steps, steps)) / count[of]
    step = weight[of] / count[of] / (at_risk[of] - share * leaving[of])
    hazard = np.cumsum(np.add.reduceat(step, np.cumsum(steps) - steps)) if len(of) else np.zeros(0)
    return CoxModel(coefficients, centre, times[kept], hazard)


def fit_or_marginal(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, *, weights: np.ndarray | None = None
) -> CoxModel:
    """The model of `fit_cox`, or, where there is none, the baseline alone, the same for all patients.

    Parameters as in `fit_cox`.
    """
    try:
        return fit_cox(x, time, event, weights=weights)
    except CoxError:
        return with_baseline(x, time, event, np.zeros(x.shape[1]), weights=weights)


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
