"""The unit of a matrix, found while its pieces pass by: a linear scale, or patients who were measured in two units.

Each patient is summarised by the own values alone (location and spread over the features), so a decision needs a few
numbers a patient and no second reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.omics.kind import OmicKind, beyond_logarithms, log2_plus_one, looks_linear, quantiles

MOST_FEATURES = 2000
"""Features, evenly spaced, that summarise a patient."""
FEWEST_FEATURES = 5
FEWEST_PATIENTS = 20
FEWEST_OTHERS = 3
SECOND_CLUSTER = 0.05
"""Smallest share of the patients that is a second unit and not some outliers."""
BEYOND_DOUBT = 6.0
"""Robust standard deviations between two units above which the matrix is refused."""
SUSPECT = 4.0
MATERIAL = {"location": 0.5, "spread": 0.4}
"""Smallest difference that a unit makes: half of a patient's interquartile range, or a factor of 1.3 in spread
(natural against binary logarithms make 1.44, a batch seldom more than 1.1)."""

WORDS = {"location": "typical value of a patient", "spread": "interquartile range of a patient"}


@dataclass(frozen=True)
class TwoScales:
    """Patients who seem to have been measured in another unit.

    Attributes
    ----------
    members
        Shape `(n_patients,)`, True for the smaller group.
    distance
        Between the medians of the two groups, in robust standard deviations of the wider one.
    text
        What differs, with both values.
    """

    members: np.ndarray
    distance: float
    text: str

    @property
    def beyond_doubt(self) -> bool:
        """Whether no biology or batch explains it."""
        return self.distance >= BEYOND_DOUBT


class UnitScreen:
    """Looks at the values of one omic a piece at a time.

    Parameters
    ----------
    kind
        Kind of the omic.
    n_patients
        Patients of the matrix.
    """

    def __init__(self, kind: OmicKind, n_patients: int) -> None:
        self.kind = kind
        self._given = np.full((2, n_patients), np.nan)
        self._logged = np.full((2, n_patients), np.nan)
        self._linear = np.zeros(n_patients, dtype=bool)
        self._small = np.zeros(n_patients, dtype=bool)
        self._seen = np.zeros(n_patients, dtype=bool)

    def add(self, place: np.ndarray | slice, values: np.ndarray) -> None:
        """Take in the values `(n_rows, n_features)` of the patients at `place`."""
        if not self.kind.continuous:
            return
        chosen = values[:, some_features(values.shape[1])]
        self._seen[place] = np.isfinite(chosen).sum(axis=1) >= FEWEST_FEATURES
        self._given[:, place] = patient_shape(_comparable(chosen, self.kind), self.kind)
        if self.kind.logarithmic:
            self._linear[place], self._small[place] = looks_linear(chosen), ~beyond_logarithms(chosen)
            self._logged[:, place] = patient_shape(log2_plus_one(chosen), self.kind)

    @property
    def linear(self) -> bool:
        """Whether most patients hold abundances on a linear scale, which the kind does not mean."""
        return bool(self._seen.any() and self._linear[self._seen].mean() > 0.5)

    def two_scales(self) -> TwoScales | None:
        """Patients in another unit than most, if there is a sign of any."""
        if self.kind.logarithmic and (mixed := self._mixed()) is not None:
            return mixed
        if not self.kind.continuous or self.kind.name == "copy_number":
            return None  # calls and log ratios are bounded, and ploidy splits patients for good reasons
        location, spread = self._logged if self.linear else self._given
        width = float(np.median(2.0 ** spread[self._seen])) if self._seen.any() else 0.0
        return second_scale(location, width, "location") or second_scale(spread, 1.0, "spread")

    def _mixed(self) -> TwoScales | None:
        """Patients on a linear scale beside patients whose values all could be logarithms, far apart as logarithms."""
        linear, small = self._linear & self._seen, self._small & self._seen
        least = SECOND_CLUSTER * self._seen.sum()
        if self._seen.sum() < FEWEST_PATIENTS or min(linear.sum(), small.sum()) < max(least, FEWEST_OTHERS):
            return None
        location, spread = self._logged
        distance = _distance(location[small], location[linear], float(np.median(2.0 ** spread[linear])), "location")
        if distance < BEYOND_DOUBT:  # a panel of few features can stay small in one patient by chance
            return None
        text = f"{int(linear.sum())} are on a linear scale (never negative, too large for logarithms), the others not"
        return TwoScales(linear if linear.sum() <= small.sum() else small, distance, text)


def some_features(n: int) -> np.ndarray:
    """Positions of at most `MOST_FEATURES` features, evenly spaced among the sorted names."""
    return np.unique(np.linspace(0, n - 1, min(n, MOST_FEATURES)).round().astype(np.int64))


def _comparable(values: np.ndarray, kind: OmicKind) -> np.ndarray:
    """Values after the change of scale; reads per million for all kinds of reads, as totals carry no meaning.

    Only features with reads count then: of a few million reads or less, the first read of a feature is a jump of some
    powers of two, which a quartile takes in one patient and not in the next.
    """
    if not kind.reads:
        return kind.scale(values)
    total = np.nansum(values, axis=1, keepdims=True)
    million = np.maximum(values, 0) / np.where(total > 0, total, 1.0) * 1e6
    return np.where(values > 0, np.log2(1.0 + million), np.nan).astype(np.float32)


def patient_shape(values: np.ndarray, kind: OmicKind) -> np.ndarray:
    """Location and spread of each patient over the features.

    Parameters
    ----------
    values
        Shape `(n_patients, n_features)`, NaN where missing.
    kind
        Reads are mostly zero in many patients, so their location is the upper decile.

    Returns
    -------
    numpy.ndarray
        Shape `(2, n_patients)`: location, NaN where it is the smallest value; log2 of the interquartile range, NaN
        where that is 0.
    """
    least, lower, middle, upper, high = quantiles(values, (0.0, 0.25, 0.5, 0.75, 0.9))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.log2(upper - lower)
    middle = np.where(middle > least, middle, np.nan)  # a median at the detection limit says how much was detected
    return np.stack([high if kind.reads else middle, np.where(np.isfinite(spread), spread, np.nan)])


def second_scale(numbers: np.ndarray, unit: float, what: str) -> TwoScales | None:
    """Best split of one number a patient into two groups, if the groups lie far apart.

    The split minimises the sum of squares within groups (Otsu 1979) among splits with at least `SECOND_CLUSTER` of the
    patients on either side. The distance of the medians is then divided by the wider group's median absolute deviation
    (times 1.4826): two halves of one Gaussian come to 2.3, a long tail is wide itself and stays low.

    Parameters
    ----------
    numbers
        Shape `(n_patients,)`, NaN = not known.
    unit
        What the difference is compared with, see `MATERIAL`.
    what
        location or spread.
    """
    known = np.flatnonzero(np.isfinite(numbers))
    if len(known) < FEWEST_PATIENTS:
        return None
    order = known[np.argsort(numbers[known], kind="stable")]
    x = numbers[order]
    n, least = len(x), max(FEWEST_OTHERS, int(np.ceil(SECOND_CLUSTER * len(x))))
    first, second = np.cumsum(x - x.mean()), np.cumsum((x - x.mean()) ** 2)
    sizes = np.arange(least, n - least + 1)
    low, high = first[sizes - 1], first[-1] - first[sizes - 1]
    within = second[-1] - low**2 / sizes - high**2 / (n - sizes)
    cut = int(sizes[np.argmin(within)])
    below, above = x[:cut], x[cut:]
    distance = _distance(below, above, unit, what)
    if distance < SUSPECT:
        return None
    members = np.zeros(len(numbers), dtype=bool)
    members[order[:cut] if cut <= n - cut else order[cut:]] = True
    a, b = float(np.median(below)), float(np.median(above))
    if what == "spread":
        a, b = 2.0**a, 2.0**b
    return TwoScales(members, distance, f"the {WORDS[what]} is {a:.3g} in one group and {b:.3g} in the other")


def _distance(below: np.ndarray, above: np.ndarray, unit: float, what: str) -> float:
    """Distance of the medians over the wider deviation; 0 where it is too small to be that of two units."""
    difference = abs(float(np.median(above) - np.median(below)))
    wider = max(_mad(below), _mad(above), 0.05 * MATERIAL[what] * unit)
    return difference / wider if wider > 0 and difference >= MATERIAL[what] * unit else 0.0


def _mad(x: np.ndarray) -> float:
    return float(np.median(np.abs(x - np.median(x)))) * 1.4826
