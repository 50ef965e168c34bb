"""What every kind of omic answers: accepted values, scale, quality, likelihood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

LINEAR_MAX = 50.0
"""No logarithm of an abundance is larger: 2 to the power of 50 exceeds what any instrument counts."""
LINEAR_SKEW = 1.3
"""Mean over median of a patient's values above which they are taken to be right-skewed, as abundances are."""

Metric = tuple[str, float | None, str]
"""Name of a metric, its value, and what it means."""


class OmicError(ValueError):
    """A matrix whose values do not fit its kind."""


def unchanged(values: np.ndarray) -> np.ndarray:
    """The values as they are."""
    return values


def nothing(values: np.ndarray, features: Sequence[str]) -> dict[str, np.ndarray]:
    """No measure of patients beside those of every kind."""
    return {}


def median_value(patients: dict[str, np.ndarray], unit: str) -> list[Metric]:
    """The one metric that every kind has."""
    middle = patients["middle"][np.isfinite(patients["middle"])]
    return [("median value", float(np.median(middle)) if middle.size else None, f"of the patients' medians, {unit}")]


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
    logarithmic
        Whether the kind is meant to be on a logarithmic scale; abundances on a linear scale are then recognised.
    reads
        Whether values are reads, whose total differs between patients and carries no meaning.
    all_zero
        Flag of a feature that is zero in everybody.
    measure
        Function of values `(n_patients, n_features)` and feature names that returns measures of each patient, shape
        `(n_patients,)` each; it sees the patients a piece at a time.
    metrics
        Function of these measures (and of `middle`, each patient's median) and the unit that returns metrics.
    """

    name: str
    unit: str
    problem: Callable[[np.ndarray], str]
    scale: Callable[[np.ndarray], np.ndarray] = unchanged
    scaled_unit: str = ""
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    continuous: bool = True
    logarithmic: bool = False
    reads: bool = False
    all_zero: str = "constant"
    measure: Callable[[np.ndarray, Sequence[str]], dict[str, np.ndarray]] = nothing
    metrics: Callable[[dict[str, np.ndarray], str], list[Metric]] = median_value

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

    def on_linear_scale(self) -> OmicKind:
        """The same kind where its values came on a linear scale: logarithms are taken within each patient."""
        return replace(self, scale=log2_plus_one, unit="abundance, linear scale", scaled_unit="log2(1 + value)")


def log2_plus_one(values: np.ndarray) -> np.ndarray:
    """log2 of one plus the value; the few negative values of a linear scale (noise below background) count as 0."""
    return np.log2(1.0 + np.maximum(values, 0.0)).astype(np.float32)


def looks_linear(values: np.ndarray) -> np.ndarray:
    """Patients whose values are abundances on a linear scale: never negative, right-skewed and beyond any logarithm.

    Each patient is judged by the own values alone.

    Parameters
    ----------
    values
        Shape `(n_patients, n_features)`, NaN where missing.

    Returns
    -------
    numpy.ndarray
        Shape `(n_patients,)`, bool.
    """
    seen = np.isfinite(values)
    least = np.where(seen, values, np.inf).min(axis=1)
    mean = np.where(seen, values, 0.0).sum(axis=1, dtype=np.float64) / np.maximum(seen.sum(axis=1), 1)
    skewed = mean > LINEAR_SKEW * quantiles(values, (0.5,))[0]
    return np.asarray((least >= 0) & beyond_logarithms(values) & skewed)


def beyond_logarithms(values: np.ndarray) -> np.ndarray:
    """Patients with a value larger than any logarithm of an abundance, shape `(n_patients,)`, bool."""
    return np.asarray(np.where(np.isfinite(values), values, -np.inf).max(axis=1) > LINEAR_MAX)


def quantiles(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles of each patient's finite values (linear interpolation), all patients in one sort.

    Parameters
    ----------
    values
        Shape `(n_patients, n_features)`, NaN where missing.
    levels
        Between 0 and 1.

    Returns
    -------
    numpy.ndarray
        Shape `(n_levels, n_patients)`, float64, NaN for a patient without values.
    """
    return sorted_quantiles(np.sort(values, axis=1), np.isfinite(values).sum(axis=1), levels)


def sorted_quantiles(ordered: np.ndarray, n: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles of rows that are sorted already, missing values last; `n` values of each row are finite."""
    found = np.full((len(levels), len(ordered)), np.nan)
    rows = np.flatnonzero(n > 0)
    for i, level in enumerate(levels):
        place = level * (n[rows] - 1)
        low = np.floor(place).astype(np.int64)
        below = ordered[rows, low].astype(np.float64)
        above = ordered[rows, np.minimum(low + 1, n[rows] - 1)].astype(np.float64)
        found[i, rows] = below + (place - low) * (above - below)
    return found


def outside(values: np.ndarray, low: float, high: float) -> int:
    """Number of finite values outside `[low, high]`."""
    with np.errstate(invalid="ignore"):
        return int(((values < low) | (values > high)).sum())


def any_number(values: np.ndarray) -> str:
    """Accept any finite number."""
    return ""
