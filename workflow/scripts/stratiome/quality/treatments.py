"""Treatments as they are recorded: for whom, who gets them, and whether patients had to live to get them.

A treatment that is marked as given at any time needs patients who lived long enough to get it (immortal time, Suissa
2008). Then hardly any treated patient has an early event, however good the treatment is: the hazard ratio is lower in
the first months than later. Nothing here is adjusted; it warns, and is no effect.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from stratiome.quality.batch import association
from stratiome.quality.variables import Variable

logger = logging.getLogger(__name__)

EARLY = 0.1
"""Share of all events that are early."""

LATEST_MONTHS = 12.0
"""Latest end of what is early: a first treatment starts within a year."""

MOST_STEPS = 100

FEWEST_EVENTS = 5
"""Events of a period below which its hazard ratio is not estimated."""

ALPHA = 0.05
"""Level of the test that early and later hazard ratios are the same."""

Z95 = float(stats.norm.ppf(0.975))


def treatment_rows(
    key: str,
    given: Variable,
    covariates: Sequence[Variable],
    time_months: np.ndarray,
    event: np.ndarray,
) -> list[dict[str, Any]]:
    """Rows of contract `QualityTreatment` of one treatment.

    Parameters
    ----------
    key
        Key of the treatment in the config.
    given
        Its column, classes "1" and "0".
    covariates
        What may go with the decision to treat.
    time_months
        Shape `(n_patients,)`, follow-up; NaN where the outcome is not usable.
    event
        Shape `(n_patients,)`, True = observed.
    """
    treated = np.array([v == "1" for v in given.values])
    known, followed = given.known, np.isfinite(time_months)
    rows = [_row(key, "recorded", treated[known]) | {"n_missing": int((~known).sum())}]
    use = known & followed
    rows += _hazards(key, time_months[use], event[use].astype(bool), treated[use])
    found = []
    for covariate in covariates:
        if covariate.name == given.name:
            continue
        measure, value, p_value, _, _ = association(given, covariate)
        if value is None:
            continue
        strength = value if measure == "Cramer's V" else float(np.sqrt(value))
        both = known & covariate.known
        found.append(
            _row(key, "goes with", treated[both])
            | {"variable": covariate.name, "estimate": strength, "p_value": p_value}
        )
    return rows + sorted(found, key=lambda r: (-r["estimate"], r["variable"]))


def _hazards(key: str, time: np.ndarray, event: np.ndarray, treated: np.ndarray) -> list[dict[str, Any]]:
    """Hazard ratios over all of follow-up, in the time by which a tenth of the events occurred, and after it."""
    rows = [_hazard(key, "crude", time, event, treated)]
    if not event.any():
        return rows
    until = min(float(np.quantile(time[event], EARLY, method="inverted_cdf")), LATEST_MONTHS)
    early = _hazard(key, "early", np.minimum(time, until), event & (time <= until), treated)
    after = time > until
    later = _hazard(key, "later", time[after], event[after], treated[after])
    for row in (early, later):
        row["until_months"] = until
    if early["estimate"] is not None and later["estimate"] is not None:
        spread = [np.log(r["upper"] / r["lower"]) / (2 * Z95) for r in (early, later)]
        z = (np.log(early["estimate"]) - np.log(later["estimate"])) / np.hypot(*spread)
        early["p_value"] = float(stats.norm.cdf(z))
        if early["p_value"] < ALPHA:
            logger.warning(
                "treatment `%s`: hazard ratio %.2f in the first %.1f months and %.2f later, as if patients had to live "
                "to be treated (immortal time)",
                key,
                early["estimate"],
                until,
                later["estimate"],
            )
    return [*rows, early, later]


def _hazard(key: str, finding: str, time: np.ndarray, event: np.ndarray, treated: np.ndarray) -> dict[str, Any]:
    row = _row(key, finding, treated) | {"events": int(event.sum())}
    if event.sum() < FEWEST_EVENTS or treated.all() or not treated.any():
        return row
    log_ratio, error = log_hazard_ratio(time, event, treated)
    low, middle, high = np.exp(log_ratio + Z95 * error * np.array([-1.0, 0.0, 1.0]))
    return row | {"estimate": float(middle), "lower": float(low), "upper": float(high)}


def log_hazard_ratio(time: np.ndarray, event: np.ndarray, treated: np.ndarray) -> tuple[float, float]:
    """Log hazard ratio of treated against untreated patients, and its standard error.

    Cox's partial likelihood of one 0/1 variable, ties after Breslow, with Firth's penalty (Heinze & Schemper 2001), so
    that it is finite where an arm has no event.

    Parameters
    ----------
    time, event, treated
        Shape `(n_patients,)`; event True = observed. There are events, and patients of both arms.
    """
    times, d = np.unique(time[event], return_counts=True)
    n_treated, n_untreated = (_at_risk(time[arm], times) for arm in (treated, ~treated))
    events_treated = int((event & treated).sum())
    beta = 0.0
    for _ in range(MOST_STEPS):
        share = n_treated * np.exp(beta) / (n_treated * np.exp(beta) + n_untreated)
        spread = share * (1 - share)
        information = float((d * spread).sum())
        if information <= 0:
            break
        score = events_treated - float((d * share).sum())
        score += float((d * spread * (1 - 2 * share)).sum()) / (2 * information)
        step = float(np.clip(score / information, -1, 1))
        beta += step
        if abs(step) < 1e-10:
            break
    return beta, float(1 / np.sqrt(information)) if information > 0 else float("inf")


def _at_risk(time: np.ndarray, times: np.ndarray) -> np.ndarray:
    return len(time) - np.searchsorted(np.sort(time), times, side="left")


def _row(key: str, finding: str, treated: np.ndarray) -> dict[str, Any]:
    return {
        "treatment": key,
        "finding": finding,
        "variable": "",
        "until_months": None,
        "estimate": None,
        "lower": None,
        "upper": None,
        "p_value": None,
        "n_treated": int(treated.sum()),
        "n_untreated": int((~treated).sum()),
        "n_missing": 0,
        "events": 0,
    }
