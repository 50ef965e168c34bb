"""Pseudo-values of the risk at a horizon: what each patient contributes to it, complete in spite of censoring.

A regression of pseudo-values is one of the risk itself, without proportional hazards, and reads the same with and
without competing risks (Andersen, Klein & Rosthøj 2003). It is right where censoring does not depend on what the risk
is regressed on.
"""

from __future__ import annotations

import numpy as np

from stratiome.survival.censoring import count_steps
from stratiome.survival.competing import aalen_johansen
from stratiome.survival.outcome import OutcomeError


def pseudo_risks(
    time: np.ndarray,
    event: np.ndarray,
    horizon: float,
    weights: np.ndarray | None = None,
    *,
    competing: np.ndarray | None = None,
) -> np.ndarray:
    """Pseudo-values of the probability of the event by a horizon, shape `(n_draws, n_patients)`.

    `F(t) + W dF(t) / dw_i` with F one minus Kaplan-Meier, or the Aalen-Johansen estimate where there are competing
    risks, W the sum of the weights: the infinitesimal jackknife (Parner, Andersen & Overgaard 2023; as `pseudo` of R's
    survival). In closed form,

    `dF(t) / dw_i = S(T_i-) d_i / Y_i - sum_{s <= min(T_i, t)} dF(s) / Y_s - sum_{s <= t} dF(s) A_i(s-)`,

    `A_i(s) = I(T_i <= s) e_i / (Y_i - D_i) - sum_{u <= min(T_i, s)} D_u / (Y_u (Y_u - D_u))`, with `d_i` the event by
    the horizon, `e_i` any failure, D failures of any cause, Y at risk. Weighted by `w_i`, their mean is F(t).

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    horizon
        Months.
    weights
        Shape `(n_draws, n_patients)` or `(n_patients,)`, not negative; default one draw of ones.
    competing
        Shape `(n_patients,)`, True = failed of another cause, where `event` is False. Default: nobody did.

    Returns
    -------
    numpy.ndarray
        May lie outside 0 to 1. NaN in draws that are not followed to the horizon: nobody's follow-up reaches it, and
        not all have failed.

    Raises
    ------
    OutcomeError
        If somebody failed of both.
    """
    time, event = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=bool)
    weights = np.atleast_2d(np.ones(len(time)) if weights is None else np.asarray(weights, dtype=np.float64))
    other = np.zeros(len(time), dtype=bool) if competing is None else np.asarray(competing, dtype=bool)
    if (event & other).any():
        raise OutcomeError(f"{int((event & other).sum())} patients have the event and a competing one as well")
    if len(time) == 0:
        return np.zeros((len(weights), 0))
    steps, at_risk, failed, _ = count_steps(time, event | other, weights)
    cause = np.where(event, 1, np.where(other, 2, 0))
    curve = aalen_johansen(time, cause, weights, causes=2 if other.any() else 1)
    upto = steps <= horizon
    gained = np.diff(curve.incidence[:, 0], axis=1) * upto  # dF at each step up to the horizon
    before = curve.survival[:, :-1]
    left = at_risk - failed
    hazard = _divide(failed, at_risk * left) * upto
    passed = np.cumsum(hazard, axis=1)
    own = np.searchsorted(steps, time)
    by_own = np.cumsum(_divide(gained, at_risk) - gained * (passed - hazard), axis=1)[:, own]
    incidence = np.cumsum(gained, axis=1)
    total = incidence[:, -1:]
    follows = total - incidence[:, own]
    moved = _divide(before, at_risk)[:, own] * (event & (time <= horizon)) - by_own
    moved -= follows * (_divide(np.ones_like(left), left)[:, own] * (event | other) - passed[:, own])
    found = total + weights.sum(axis=1, keepdims=True) * moved
    followed = weights[:, time >= horizon].sum(axis=1) > 0
    known = followed | (curve.survival_at(horizon)[:, 0] <= 0)
    return np.where(known[:, None], found, np.nan)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b > 0)
