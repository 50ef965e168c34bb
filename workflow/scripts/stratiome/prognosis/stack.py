"""Stacked survival super learner: the convex combination of survival curves with the least held-in Brier score."""

from __future__ import annotations

import numpy as np

from stratiome.survival.censoring import inverse_weights
from stratiome.survival.competing import check_competing

SMALLEST_WEIGHT = 1e-3
"""Weights below are set to zero."""


def stack_weights(
    time: np.ndarray,
    event: np.ndarray,
    curves: np.ndarray,
    grid: np.ndarray,
    tau: float,
    competing: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Weights of the models, not negative and adding to one.

    Minimise the integrated Brier score with inverse-probability-of-censoring weights (Graf et al. 1999; van der Laan
    et al. 2007, Stat Appl Genet Mol Biol 6:25; Golmakani & Polley 2020, Int J Biostat 16):

    .. math:: \int_0^\tau \sum_i w_i(t) \Big( I(T_i > t) - \sum_m a_m S_m(t | x_i) \Big)^2 dt

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    curves
        Shape `(n_models, n_patients, n_times)`, survival predicted by models that have not seen the patient.
    grid
        Shape `(n_times,)`, increasing months from 0.
    tau
        Months up to which scores are integrated.
    competing
        Shape `(n_patients,)`, True = failed of another cause. Curves are then one minus the cumulative incidence, and
        these patients are known not to have failed of the cause of interest (Schoop et al. 2011); default nobody.

    Returns
    -------
    tuple of numpy.ndarray
        Weights `(n_models,)`, and the integrated Brier score of each model on its own `(n_models,)`.
    """
    from scipy.optimize import minimize

    upto = grid <= tau
    times, curves = grid[upto], curves[:, :, upto]
    weight, alive = _brier_weights(time, event, check_competing(event, competing), times)
    weight = weight * _trapezoid(times) / len(time)
    flat = curves.reshape(len(curves), -1)
    scaled = flat * weight.ravel()
    quadratic, linear = scaled @ flat.T, scaled @ alive.ravel()
    constant = float((weight * alive).sum())
    alone = np.diag(quadratic) - 2 * linear + constant
    n = len(curves)
    start = np.full(n, 1.0 / n)
    scale = max(float(alone.min()), 1e-12)  # so that the tolerance is one of the score
    found = minimize(
        lambda a: (a @ quadratic @ a - 2 * linear @ a + constant) / scale,
        start,
        jac=lambda a: 2 * (quadratic @ a - linear) / scale,
        bounds=[(0.0, 1.0)] * n,
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1.0, "jac": lambda _: np.ones(n)},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    # Where the solver ends without a better score than the best single model, that model is taken.
    best = np.eye(n)[int(alone.argmin())]
    weights = found.x if np.isfinite(found.x).all() and found.fun * scale <= alone.min() else best
    weights = np.where(weights < SMALLEST_WEIGHT, 0.0, weights)
    return weights / weights.sum(), alone


def _trapezoid(times: np.ndarray) -> np.ndarray:
    """Weight of each time in the mean over time by the trapezoidal rule."""
    steps = np.diff(times) / 2 / (times[-1] - times[0])
    return np.append(steps, 0.0) + np.append(0.0, steps)


def _brier_weights(
    time: np.ndarray, event: np.ndarray, competing: np.ndarray, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of each patient at each time, and 1 where not failed of the event; shape `(n_patients, n_times)` each."""
    weight = np.stack([inverse_weights(time, event | competing, t)[0] for t in times], axis=1)
    alive = (time[:, None] > times) | ((time[:, None] == times) & ~event[:, None]) | competing[:, None]
    return weight, alive.astype(np.float64)


def restricted_mean_risk(curves: np.ndarray, grid: np.ndarray, tau: float) -> np.ndarray:
    """Minus the restricted mean survival time to `tau` in months, shape `(n_patients,)`; higher = worse.

    Rounded to 10 decimals, so that patients with the same curve tie.
    """
    upto = grid <= tau
    return np.round(-np.trapezoid(curves[:, upto], grid[upto], axis=1), 10)
