"""Competing risks: cumulative incidence of each cause of failure, for one sample or many sets of weights at once.

One minus Kaplan-Meier of one cause, others being taken for censorings, is the risk in a world without the others and
lies above the cumulative incidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.censoring import count_steps, survival_curve
from stratiome.survival.outcome import OutcomeError

_LEAST = 1e-300  # survival probabilities are kept above before taking logarithms


@dataclass(frozen=True)
class CumulativeIncidence:
    """Right-continuous step functions of time, one set per draw. Incidences and survival sum to 1.

    Attributes
    ----------
    times
        Shape `(n_steps,)`, increasing, in months.
    survival
        Shape `(n_draws, n_steps + 1)`, probability of no failure; `[:, k]` holds from step `k - 1` on.
    incidence
        Shape `(n_draws, n_causes, n_steps + 1)`, probability of having failed of cause 1, 2, ...
    """

    times: np.ndarray
    survival: np.ndarray
    incidence: np.ndarray

    def survival_at(self, times: np.ndarray | float) -> np.ndarray:
        """Probability of no failure by `times`, shape `(n_draws, n_times)`."""
        return self.survival[:, np.searchsorted(self.times, np.atleast_1d(times), side="right")]

    def at(self, times: np.ndarray | float) -> np.ndarray:
        """Cumulative incidences at `times`, shape `(n_draws, n_causes, n_times)`."""
        return self.incidence[:, :, np.searchsorted(self.times, np.atleast_1d(times), side="right")]


def aalen_johansen(
    time: np.ndarray, cause: np.ndarray, weights: np.ndarray | None = None, *, causes: int | None = None
) -> CumulativeIncidence:
    """Aalen-Johansen estimate of the cumulative incidence of each cause.

    `P_k(t) = sum_{s <= t} S(s-) d_ks / Y_s` with `d_ks` failures of cause k, `Y_s` at risk, and S the Kaplan-Meier
    curve of any failure (Aalen & Johansen 1978). Failures precede censorings at the same time, and failures of all
    causes at one time share one risk set: ties need no breaking. Held at its last value beyond the longest follow-up.

    Parameters
    ----------
    time
        Shape `(n_patients,)`, follow-up in months.
    cause
        Shape `(n_patients,)`, 0 = censored, 1, 2, ... = what the patient failed of.
    weights
        Shape `(n_draws, n_patients)` or `(n_patients,)`, not negative; default one draw of ones.
    causes
        Number of causes; default the highest in `cause`.

    Raises
    ------
    OutcomeError
        If causes are not whole numbers from 0 to `causes`, or nobody fails and `causes` is not given.
    """
    time, cause, causes = _check(time, cause, causes)
    steps, at_risk, _, _ = count_steps(time, cause > 0, weights)
    deaths = np.stack([count_steps(time, cause == k, weights)[2] for k in range(1, causes + 1)], axis=1)
    risk = at_risk[:, None, :]
    hazard = np.divide(deaths, risk, out=np.zeros_like(deaths), where=(deaths > 0) & (risk > 0))
    survival = np.cumprod(1.0 - np.clip(hazard.sum(axis=1), 0.0, 1.0), axis=1)
    survival = np.concatenate([np.ones((len(survival), 1)), survival], axis=1)
    incidence = np.cumsum(survival[:, None, :-1] * hazard, axis=2)
    start = np.zeros((*incidence.shape[:2], 1))
    return CumulativeIncidence(steps, survival, np.concatenate([start, incidence], axis=2))


def incidence_error(
    time: np.ndarray,
    cause: np.ndarray,
    times: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    causes: int | None = None,
) -> np.ndarray:
    """Standard error of each cumulative incidence at `times`, shape `(n_causes, n_times)`.

    `sqrt(sum_i (w_i dP_k(t) / dw_i)^2)`, the infinitesimal jackknife (Therneau, Crowson & Atkinson 2023), as
    `survfit` of R's survival. It holds for weights of sampling too.

    Parameters
    ----------
    time, cause, causes
        As `aalen_johansen`.
    times
        Shape `(n_times,)`, months, any order.
    weights
        Shape `(n_patients,)`, not negative; default ones.
    """
    time, cause, causes = _check(time, cause, causes)
    weights = np.ones(len(time)) if weights is None else np.asarray(weights, dtype=np.float64)
    steps, at_risk, _, _ = count_steps(time, cause > 0, weights)
    alive, share = np.zeros(len(time)), np.zeros((causes, len(time)))  # derivatives by the weight of each patient
    survival, errors = 1.0, np.zeros((causes, len(steps) + 1))
    for s, (step, risk) in enumerate(zip(steps, at_risk[0], strict=True)):
        present, fails = time >= step, (time == step) & (cause == np.arange(1, causes + 1)[:, None])
        if risk > 0:
            hazard = fails @ weights / risk
            moved = np.where(present, (fails - hazard[:, None]) / risk, 0.0)
            share += hazard[:, None] * alive + survival * moved
            alive = alive * (1.0 - hazard.sum()) - survival * moved.sum(axis=0)
            survival *= 1.0 - hazard.sum()
        errors[:, s + 1] = np.sqrt((weights * share) ** 2 @ np.ones(len(time)))
    return errors[:, np.searchsorted(steps, np.atleast_1d(times), side="right")]


def observed_risk(
    time: np.ndarray, event: np.ndarray, competing: np.ndarray, horizon: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """Observed risk of the event by a horizon, shape `(n_draws,)`: Aalen-Johansen, or one minus Kaplan-Meier.

    The second is the first where nobody failed of another cause.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    competing
        Shape `(n_patients,)`, True = failed of another cause.
    horizon
        Months.
    weights
        As in `aalen_johansen`.
    """
    if not competing.any():
        return 1.0 - survival_curve(time, event, weights).at(horizon)[:, 0]
    # What happens after the horizon does not matter, and one step less for each patient then saves time.
    cut = np.where(time > horizon, np.inf, time)
    cause = np.where(time <= horizon, cause_of(event, competing), 0)
    return aalen_johansen(cut, cause, weights, causes=2).at(horizon)[:, 0, 0]


def absolute_risk(survival: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Cumulative incidences of the event and of other causes, and the probability of neither; they add up to 1.

    .. math:: F_1(t | x) = \int_0^t S_1(s- | x) S_2(s- | x) dH_1(s | x)

    On a grid the hazards of the two causes are taken to be in proportion within a step: the fall of `S_1 S_2` in it is
    split as `log S_1` and `log S_2` change, which is exact for hazards that are constant there.

    Parameters
    ----------
    survival, other
        Shape `(n_patients, n_times)`, cause-specific survival (`exp(-H)`) for the event and for other causes, 1 at the
        first time, not increasing.

    Returns
    -------
    tuple of numpy.ndarray
        `F_1`, `F_2` and `S`, each `(n_patients, n_times)`.
    """
    rise = [-np.diff(np.log(np.maximum(curve, _LEAST)), axis=1) for curve in (survival, other)]
    total = rise[0] + rise[1]
    share = np.divide(rise[0], total, out=np.zeros_like(total), where=total > 0)
    free = np.exp(-np.concatenate([np.zeros((len(total), 1)), np.cumsum(total, axis=1)], axis=1))
    gone = -np.diff(free, axis=1)
    first, second = (np.concatenate([0.0 * free[:, :1], np.cumsum(part * gone, axis=1)], axis=1)
                     for part in (share, 1.0 - share))  # fmt: skip
    return first, second, free


def cause_of(event: np.ndarray, competing: np.ndarray) -> np.ndarray:
    """Shape `(n_patients,)`: 1 = the event, 2 = another cause, 0 = censored."""
    return np.where(event, 1, np.where(competing, 2, 0))


def check_competing(event: np.ndarray, competing: np.ndarray | None) -> np.ndarray:
    """Who failed of another cause, as bool of shape `(n_patients,)`; nobody where None is given.

    Raises
    ------
    OutcomeError
        If lengths differ, or a patient failed of both.
    """
    if competing is None:
        return np.zeros(len(event), dtype=bool)
    competing = np.asarray(competing, dtype=bool)
    if competing.shape != np.shape(event):
        raise OutcomeError(f"event and competing must have one shape, not {np.shape(event)} and {competing.shape}")
    both = int((np.asarray(event, dtype=bool) & competing).sum())
    if both:
        raise OutcomeError(
            f"{both} patients failed of the event and of another cause. Suggestion: code what came first"
        )
    return competing


def _check(time: np.ndarray, cause: np.ndarray, causes: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    time, cause = np.asarray(time, dtype=np.float64), np.asarray(cause)
    if time.ndim != 1 or time.shape != cause.shape:
        raise OutcomeError(f"time and cause must be vectors of one length, not {time.shape} and {cause.shape}")
    if not np.isfinite(cause).all():
        raise OutcomeError("causes must not be missing. Suggestion: recode the cause column, 0 = censored")
    most = int(cause.max(initial=0)) if causes is None else causes
    if not np.isin(cause, np.arange(most + 1)).all():
        raise OutcomeError(f"causes must be 0 (censored) or 1 to {most}. Suggestion: recode the cause column")
    if most < 1:
        raise OutcomeError("nobody fails of any cause. Suggestion: say how many causes there are")
    return time, cause.astype(np.int64), most
