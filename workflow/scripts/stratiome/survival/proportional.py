"""Are hazards proportional? The score test of coefficients that move with time, as `cox.zph` of R's survival 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from stratiome.survival.compare import ChiSquared
from stratiome.survival.cox import CoxError, fit_cox
from stratiome.survival.efron import PartialLikelihood

Transform = Literal["km", "identity", "log", "rank"]
"""Function of time along which coefficients may move: 1 - Kaplan-Meier just before, time, log time, or its rank."""

_SINGULAR = 1e-10  # eigenvalue of a correlation matrix below which it has no inverse


@dataclass(frozen=True)
class ProportionalHazards:
    """Tests that coefficients do not move with time.

    Attributes
    ----------
    terms
        Label of a term (by default the position of its column) -> test of this term alone.
    overall
        Test of all terms together.
    transform
        Function of time.
    """

    terms: dict[str | int, ChiSquared]
    overall: ChiSquared
    transform: Transform


def proportional_hazards(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    entry: np.ndarray | None = None,
    transform: Transform = "km",
    terms: Sequence[str | int] | None = None,
) -> ProportionalHazards:
    """Score test of `b(t) = b + c g(t)`, c being 0 under proportional hazards.

    `U' I^-1 U` with the score U and the information I of (b, c) at the fitted b and c = 0, Efron ties (Grambsch &
    Therneau 1994; the exact score test of survival 3, not the approximation of its versions before, which is
    lifelines' too). `g` is centred at its mean over events, which changes no value.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    strata, weights, entry
        As in `fit_cox`. The Kaplan-Meier curve and the ranks of the transforms ignore strata and weights.
    transform
        Function g of time.
    terms
        Length `n_columns`, label of the term that a column is part of: the columns of one class variable are tested
        together. Default one term per column.

    Returns
    -------
    ProportionalHazards
        Tests that could not be done have a reason: no plain fit, or a column left out as aliased.

    Raises
    ------
    ValueError
        If the transform is not known, or the labels are not as many as the columns.
    """
    if transform not in get_args(Transform):
        raise ValueError(f"transform {transform!r} is not known. Suggestion: one of {', '.join(get_args(Transform))}")
    labels: list[str | int] = list(range(x.shape[1]) if terms is None else terms)
    if len(labels) != x.shape[1]:
        raise ValueError(f"{len(labels)} labels of terms for {x.shape[1]} columns. Suggestion: one label per column")
    event = np.asarray(event, dtype=bool)
    try:
        fitted = fit_cox(x, time, event, strata=strata, weights=weights, entry=entry)
    except CoxError as error:
        return _undone(labels, str(error), transform)
    if fitted.standard_errors is None:
        return _undone(labels, f"no plain fit: {fitted.note}", transform)
    kept = [j for j in range(x.shape[1]) if j not in fitted.aliased]
    scale = x[:, kept].std(axis=0)
    likelihood = PartialLikelihood.make(x[:, kept] / scale, time, event, strata=strata, weights=weights, entry=entry)
    times, values = _function_of_time(time, event, entry, transform)
    functions = tuple(values[np.searchsorted(times, own)] for own in likelihood.times)
    coefficients = fitted.coefficients[kept] * scale
    score, mixed, own = likelihood.over_time(coefficients, functions)
    information = np.block([[likelihood.at(coefficients).information, mixed], [mixed.T, own]])
    found = {}
    for label in dict.fromkeys(labels):
        columns = [k for k, j in enumerate(kept) if labels[j] == label]
        found[label] = _test(score, information, columns)
    return ProportionalHazards(found, _test(score, information, list(range(len(kept)))), transform)


def _test(score: np.ndarray, information: np.ndarray, columns: list[int]) -> ChiSquared:
    from scipy.stats import chi2

    if not columns:
        return ChiSquared(None, 0, None, "left out of the fit: constant, or told by columns before it")
    size = len(score)
    within = [*range(size), *(size + k for k in columns)]
    both = np.concatenate([np.zeros(size), score[columns]])
    scale = np.sqrt(np.maximum(np.diag(information)[within], 0.0))
    correlation = information[np.ix_(within, within)] / np.maximum(np.outer(scale, scale), np.finfo(float).tiny)
    if np.linalg.eigvalsh(correlation).min() < _SINGULAR:
        return ChiSquared(None, len(columns), None, "events are too few to see a coefficient move")
    both = both / scale
    statistic = float(both @ np.linalg.solve(correlation, both))
    return ChiSquared(statistic, len(columns), float(chi2.sf(statistic, len(columns))))


def _function_of_time(
    time: np.ndarray, event: np.ndarray, entry: np.ndarray | None, transform: Transform
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct times, and g at these less its mean over events."""
    from scipy.stats import rankdata

    times, first, index = np.unique(time, return_index=True, return_inverse=True)
    if transform == "km":
        values = _one_minus_survival(time, event, entry, times)
    elif transform == "rank":
        values = rankdata(time)[first]
    else:
        values = np.log(times) if transform == "log" else times
    return times, values - values[index[event]].mean()


def _one_minus_survival(time: np.ndarray, event: np.ndarray, entry: np.ndarray | None, times: np.ndarray) -> np.ndarray:
    """One minus the Kaplan-Meier curve just before each time, patients being at risk from their entry."""
    entry = np.full(len(time), -np.inf) if entry is None else entry
    at_risk = (len(time) - np.searchsorted(np.sort(time), times, side="left")) - (
        len(time) - np.searchsorted(np.sort(entry), times, side="left")
    )
    deaths = np.bincount(np.searchsorted(times, time[event]), minlength=len(times))
    survival = np.cumprod(1.0 - np.divide(deaths, at_risk, out=np.zeros(len(times)), where=at_risk > 0))
    return 1.0 - np.concatenate([[1.0], survival[:-1]])


def _undone(labels: list[str | int], reason: str, transform: Transform) -> ProportionalHazards:
    unknown = {label: ChiSquared(None, labels.count(label), None, reason) for label in dict.fromkeys(labels)}
    return ProportionalHazards(unknown, ChiSquared(None, len(labels), None, reason), transform)
