"""What every kind of omic answers: accepted values, scale, likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np


class OmicError(ValueError):
    """A matrix whose values do not fit its kind."""


def unchanged(values: np.ndarray) -> np.ndarray:
    """The values as they are."""
    return values


@dataclass(frozen=True)
class OmicKind:
    """A kind of omic.

    Attributes
    ----------
    name
        As in the config.
    unit
        Unit of the accepted values, for the report.
    problem
        Function of values `(n_patients, n_features)` that returns what is wrong with them as a whole, or "".
    scale
        Change of scale within each patient (nothing is learned from other patients): values in, values out.
    scaled_unit
        Unit after `scale`.
    likelihood
        Distribution that the latent model gives to the scaled values.
    continuous
        Whether site differences in location can be removed and features standardised.
    """

    name: str
    unit: str
    problem: Callable[[np.ndarray], str]
    scale: Callable[[np.ndarray], np.ndarray] = unchanged
    scaled_unit: str = ""
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    continuous: bool = True

    def check(self, values: np.ndarray, path: str) -> None:
        """Refuse values `(n_patients, n_features)` that do not fit the kind.

        Raises
        ------
        OmicError
            Naming the file and a fix.
        """
        text = self.problem(values)
        if text:
            raise OmicError(f"{path}: kind `{self.name}`: {text}")


def outside(values: np.ndarray, low: float, high: float) -> int:
    """Number of finite values outside `[low, high]`."""
    with np.errstate(invalid="ignore"):
        return int(((values < low) | (values > high)).sum())


def any_number(values: np.ndarray) -> str:
    """Accept any finite number."""
    return ""
