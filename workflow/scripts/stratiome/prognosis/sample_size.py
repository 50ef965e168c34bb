"""Smallest sample size for developing a survival model, to be looked at before training."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, log, sqrt

SHRINKAGE = 0.9
"""Expected uniform shrinkage of the coefficients that is asked for at least."""
OPTIMISM = 0.05
"""Largest difference of apparent and adjusted R squared (Nagelkerke)."""
MARGIN = 0.05
"""Largest half-width of the interval of the overall risk at the horizon."""
USUAL_SHARE = 0.15
"""Share of the largest possible R squared (Cox-Snell) that is expected where nothing is known."""
_NORMAL_975 = 1.96


@dataclass(frozen=True)
class SampleSize:
    """What Riley's criteria ask for.

    Attributes
    ----------
    shrinkage, optimism, risk
        Patients asked for by each criterion: shrinkage of at least 0.9, optimism of at most 0.05, overall risk at the
        horizon within 0.05.
    events
        Events that the largest of them would have.
    events_per_parameter
        The same per parameter.
    r_squared
        R squared (Cox-Snell) that was assumed.
    """

    shrinkage: int
    optimism: int
    risk: int
    events: float
    events_per_parameter: float
    r_squared: float

    @property
    def patients(self) -> int:
        """Patients asked for by all criteria."""
        return max(self.shrinkage, self.optimism, self.risk)


def least_sample_size(
    parameters: int, rate: float, follow_up: float, horizon: float, r_squared: float | None = None
) -> SampleSize:
    r"""Criteria of Riley et al. 2019 (Stat Med 38:1276, part II) for a time-to-event outcome.

    With `S` the shrinkage and `R2` that of Cox and Snell, the first criterion is
    :math:`n = p / ((S - 1) \ln(1 - R^2 / S))` at `S` = 0.9, the second the same at
    :math:`S = R^2 / (R^2 + 0.05 \max R^2)`, with :math:`\max R^2 = 1 - \exp(2 \ln L_0 / n)` of an exponential model.
    The third is that the 95 % interval of the risk at the horizon, from the rate and its standard error, ends no more
    than 0.05 above it.

    Parameters
    ----------
    parameters
        Candidate parameters, at least 1: every coefficient that is estimated, chosen or not.
    rate
        Events per month of follow-up.
    follow_up
        Mean follow-up in months.
    horizon
        Months at which risk is predicted.
    r_squared
        R squared (Cox-Snell) that is expected; default 15 % of the largest possible one.

    Raises
    ------
    ValueError
        If a number is not positive, or R squared is not below the shrinkage and the largest possible one.
    """
    if parameters < 1 or min(rate, follow_up, horizon) <= 0:
        raise ValueError("parameters, rate, follow-up and horizon must be positive")
    share = rate * follow_up  # events per patient
    largest = 1.0 - exp(2.0 * share * (log(share) - 1.0)) if share > 0 else 0.0
    largest = min(max(largest, 0.0), 1.0)
    expected = USUAL_SHARE * largest if r_squared is None else r_squared
    if not 0 < expected < min(SHRINKAGE, largest):
        most = min(largest, SHRINKAGE)
        raise ValueError(f"an R squared of {expected:.3f} is not between 0 and the largest possible one, {most:.3f}")
    first = _for_shrinkage(parameters, SHRINKAGE, expected)
    second = _for_shrinkage(parameters, expected / (expected + OPTIMISM * largest), expected)
    third = _for_risk(rate, follow_up, horizon)
    events = max(first, second, third) * share
    return SampleSize(first, second, third, events, events / parameters, expected)


def _for_shrinkage(parameters: int, shrinkage: float, r_squared: float) -> int:
    return ceil(parameters / ((shrinkage - 1.0) * log(1.0 - r_squared / shrinkage)))


def _for_risk(rate: float, follow_up: float, horizon: float) -> int:
    """Patients for whom the upper end of the interval of the risk is within the margin, by solving for the error."""
    risk = 1.0 - exp(-rate * horizon)
    if risk + MARGIN >= 1.0:
        return 1
    above = -log(1.0 - risk - MARGIN) / horizon - rate
    return max(1, ceil(rate * (_NORMAL_975 / above) ** 2 / follow_up))


def interval_of_risk(rate: float, person_months: float, horizon: float) -> tuple[float, float]:
    """95 % interval of the risk at a horizon under a constant rate, from its standard error."""
    half = _NORMAL_975 * sqrt(rate / person_months)
    return 1.0 - exp(-max(rate - half, 0.0) * horizon), 1.0 - exp(-(rate + half) * horizon)
