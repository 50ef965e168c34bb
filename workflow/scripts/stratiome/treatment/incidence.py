"""Cumulative incidence under one arm where patients may fail of another cause first: predictions and contributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.cox import CoxModel

_MAX_HAZARD = 500.0


@dataclass(frozen=True)
class Incidence:
    """What is known of some patients under one arm.

    Attributes
    ----------
    score
        Shape `(n_patients, n_horizons)`, uncentred influence function of being free of the event at the horizons.
    restricted
        Shape `(n_patients,)`, the same of the mean time free of the event up to tau, months.
    predicted, predicted_restricted
        The same, as the models of the two causes alone predict.
    """

    score: np.ndarray
    restricted: np.ndarray
    predicted: np.ndarray
    predicted_restricted: np.ndarray


def hazards(models: tuple[CoxModel, CoxModel], x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Steps of two cause-specific Cox models, and the probability of failing of each cause at each step.

    With `dL_j` the steps of the cumulative hazards, a patient at risk fails with probability `1 - exp(-dL_1 - dL_2)`,
    of cause j in proportion to `dL_j`: survival is `exp(-L_1 - L_2)`.

    Parameters
    ----------
    models
        Of the event and of the other cause.
    x
        Shape `(n_patients, n_columns)`.

    Returns
    -------
    tuple
        Times of shape `(n_steps,)`, and two arrays of shape `(n_patients, n_steps)`.
    """
    steps = np.union1d(models[0].times, models[1].times)
    moved = []
    for model in models:
        held = np.concatenate([[0.0], model.cumulative_hazard])[np.searchsorted(model.times, steps, side="right")]
        relative = np.exp(np.clip(model.risk(x), -50.0, 50.0))
        moved.append(np.minimum(np.outer(relative, np.diff(held, prepend=0.0)), _MAX_HAZARD))
    total = moved[0] + moved[1]
    fails = -np.expm1(-total)
    share = np.divide(fails, total, out=np.zeros_like(total), where=total > 0)
    return steps, (moved[0] * share, moved[1] * share)


def mean_free(event: CoxModel, other: CoxModel | None, x: np.ndarray, tau: float) -> np.ndarray:
    """Mean time free of the event up to tau, months, shape `(n_patients,)`.

    `tau - int_0^tau F(t|x) dt` with the cumulative incidence F that the cause-specific models give together: tau less
    the time lost to the event (Andersen 2013, Stat Med 32:5278). Without other causes, restricted mean survival.

    Parameters
    ----------
    event, other
        Models of one arm: of the event, and of other causes or None.
    x
        Shape `(n_patients, n_columns)`.
    tau
        Months.
    """
    if other is None:
        return event.restricted_mean(x, tau)
    steps, (first, second) = hazards((event, other), x)
    alive = np.cumprod(np.column_stack([np.ones(len(x)), 1.0 - first - second]), axis=1)[:, :-1]
    return np.asarray(tau - (alive * first) @ np.maximum(tau - steps, 0.0), dtype=np.float64)


def incidence_scores(
    models: tuple[CoxModel, CoxModel],
    x: np.ndarray,
    time: np.ndarray,
    cause: np.ndarray,
    weight: np.ndarray,
    uncensored: np.ndarray,
    uncensored_at_end: np.ndarray,
    horizons: np.ndarray,
    tau: float,
) -> Incidence:
    """Influence functions of one minus the cumulative incidence of cause 1, and of its area up to tau.

    With `F` the cumulative incidence of cause 1, `S` the probability of no failure, `q(u, t) = (F(t) - F(u)) / S(u)`
    and `M_j` the martingales of the two causes, that of `F(t)` is

    `F(t|x) + 1{A = a} / p(x) int_0^t {(1 - q(u, t)) dM_1(u) - q(u, t) dM_2(u)} / G(u-|x)`

    (Ozenne et al. 2020, Biom J 62:751; Rytgaard, Eriksson & van der Laan 2023, Biometrics 79:3038). `q` is worked out
    backwards from `q(u_k-1, t) = h_1k + (1 - h_1k - h_2k) q(u_k, t)`, which never divides by a small number; its
    integral over t up to tau likewise.

    Parameters
    ----------
    models
        Cause-specific Cox models of this arm: of the event, and of the other cause.
    x
        Shape `(n_patients, n_columns)`.
    time, cause
        Shape `(n_patients,)`, follow-up in months; 1 = event, 2 = other cause, 0 = censored.
    weight
        Shape `(n_patients,)`, `1{A = a} / p(x)`.
    uncensored
        Shape `(n_patients, n_steps)`, `G(u-|x)` at the steps of `hazards`, positive.
    uncensored_at_end
        Shape `(n_patients,)`, `G(Y-|x)` at the end of the own follow-up, positive.
    horizons
        Shape `(n_horizons,)`, months.
    tau
        Months.
    """
    steps, (first, other) = hazards(models, x)
    n, m = first.shape
    until = np.append(np.asarray(horizons, dtype=np.float64), tau)
    own = np.searchsorted(steps, time, side="right")  # steps up to the end of follow-up
    # Last column: area between tau and the step instead of a probability.
    ahead = np.zeros((n, len(until)))
    paid = np.zeros((n, len(until)))
    at_end = np.zeros((n, len(until)))
    for k in range(m - 1, -1, -1):
        at_end = np.where((own == k + 1)[:, None], ahead, at_end)
        inside = np.append(steps[k] <= until[:-1], max(tau - steps[k], 0.0)).astype(np.float64)
        counted = first[:, k, None] * (inside - ahead) - other[:, k, None] * ahead
        paid += np.where((steps[k] <= time)[:, None], counted / uncensored[:, k, None], 0.0)
        ahead = first[:, k, None] * inside + (1.0 - first[:, k, None] - other[:, k, None]) * ahead
    at_end = np.where((own == 0)[:, None], ahead, at_end)
    left = np.column_stack([time[:, None] <= until[:-1], np.maximum(tau - time, 0.0)]).astype(np.float64)
    # Between two steps nobody fails under the model, so what is ahead is the same; after the horizon it is nothing.
    seen = np.where((cause == 1)[:, None], left - at_end, np.where((cause == 2)[:, None], -at_end, 0.0))
    score = ahead + weight[:, None] * (seen / uncensored_at_end[:, None] - paid)
    return Incidence(1.0 - score[:, :-1], tau - score[:, -1], 1.0 - ahead[:, :-1], tau - ahead[:, -1])
