"""How strong an unmeasured confounder would have to be to explain an effect away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EValue:
    """E-values of an estimate and of the end of its interval nearer to no effect.

    Attributes
    ----------
    estimate, limit
        At least 1, which is "nothing is needed"; `limit` is 1 where the interval holds no effect.
    ratio
        The hazard ratio as an approximate risk ratio.
    """

    estimate: float
    limit: float
    ratio: float


def risk_ratio(hazard_ratio: float) -> float:
    """Approximate risk ratio of a hazard ratio where the event is common (VanderWeele 2017, Epidemiology 28:e58).

    `(1 - 0.5^sqrt(HR)) / (1 - 0.5^sqrt(1 / HR))`.
    """
    return float((1.0 - 0.5 ** np.sqrt(hazard_ratio)) / (1.0 - 0.5 ** np.sqrt(1.0 / hazard_ratio)))


def e_value(estimate: float, lower: float, upper: float) -> EValue:
    """E-value of a hazard ratio of a common event (VanderWeele & Ding 2017, Ann Intern Med 167:268).

    The least risk ratio that a confounder must have with both treatment and event, beside all measured ones, to move
    the estimate to 1: `RR + sqrt(RR (RR - 1))` with RR, or its inverse if that is above 1.

    Parameters
    ----------
    estimate, lower, upper
        Hazard ratio and its interval, positive.

    Raises
    ------
    ValueError
        If a number is not positive.
    """
    if not min(estimate, lower, upper) > 0:
        raise ValueError("hazard ratios must be positive")
    ratio = risk_ratio(estimate)
    nearer = lower if estimate >= 1.0 else upper
    crosses = lower <= 1.0 <= upper
    return EValue(_of(ratio), 1.0 if crosses else _of(risk_ratio(nearer)), ratio)


def _of(ratio: float) -> float:
    above = ratio if ratio >= 1.0 else 1.0 / ratio
    return float(above + np.sqrt(above * (above - 1.0)))
