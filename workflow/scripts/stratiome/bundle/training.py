"""What a bundle remembers of its training patients: quantiles and missingness, never rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.features.block import FeatureSet

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Quantiles that are kept of each feature and clinical column."""
DISTANCES = (0.5, 0.75, 0.9, 0.95, 0.975, 0.99)
"""Quantiles that are kept of the distance in the latent space."""
FEWEST = 20
"""Values from which quantiles are kept; of fewer, the outermost would be patients."""


@dataclass(frozen=True)
class Column:
    """A feature or a numeric clinical column of the training patients.

    Attributes
    ----------
    n
        Patients with a value.
    missing
        Share without, among those who have the omic at all.
    quantiles
        Shape `(len(QUANTILES),)`; None where fewer than `FEWEST` have a value.
    """

    n: int
    missing: float
    quantiles: tuple[float, ...] | None

    @property
    def range(self) -> tuple[float, float]:
        """Values within which nobody is surprised: from the 1st to the 99th percentile, as wide again on both sides."""
        if self.quantiles is None:
            return -np.inf, np.inf
        low, high = self.quantiles[0], self.quantiles[-1]
        width = max(high - low, 1e-6 * max(1.0, abs(low), abs(high)))
        return low - width, high + width


def blurred(count: int, least: int) -> int:
    """A count of patients as a bundle may tell it: half of `least` in place of any from 1 to `least` less one."""
    return max(least // 2, 1) if 0 < count < least else count


def column(values: np.ndarray, least: int) -> Column:
    """Summary of a column, shape `(n_patients,)`, NaN where missing; counts below `least` are blurred."""
    known = values[np.isfinite(values)]
    quantiles = tuple(np.quantile(known, QUANTILES).tolist()) if len(known) >= FEWEST else None
    n = len(values)
    missing = min(blurred(n - len(known), least), n)
    return Column(blurred(n - missing, least), missing / max(n, 1), quantiles)


@dataclass(frozen=True)
class Places:
    """Where training patients lie in the latent space.

    Attributes
    ----------
    centre
        Shape `(n_latent,)`.
    precision
        Shape `(n_latent, n_latent)`, inverse covariance.
    quantiles
        Shape `(len(DISTANCES),)`, of the Mahalanobis distance of training patients.
    """

    centre: np.ndarray
    precision: np.ndarray
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, latents: np.ndarray) -> Places:
        """Of training patients with any omic, shape `(n_patients, n_latent)`."""
        centre = latents.mean(axis=0)
        covariance = np.cov(latents.T, bias=True).reshape(len(centre), len(centre))
        floor = 1e-6 * max(float(np.trace(covariance)) / len(centre), 1e-30)
        made = cls(centre, np.linalg.inv(covariance + floor * np.eye(len(centre))), ())
        return cls(centre, made.precision, tuple(np.quantile(made.distance(latents), DISTANCES).tolist()))

    def distance(self, latents: np.ndarray) -> np.ndarray:
        """Mahalanobis distance to the centre, shape `(n_patients,)`."""
        away = latents - self.centre
        return np.sqrt(np.einsum("ij,jk,ik->i", away, self.precision, away))

    def unusual(self, latents: np.ndarray) -> np.ndarray:
        """Share of training patients who lie nearer, by the quantiles kept: from 0 to 0.99, shape `(n_patients,)`."""
        return np.interp(self.distance(latents), (0.0, *self.quantiles), (0.0, *DISTANCES))


def patterns(features: FeatureSet, least: int) -> dict[str, int]:
    """Training patients by the omics they have; sets of fewer than `least` count together as `others`."""
    present = np.stack([b.present for b in features.blocks], axis=1)[features.train]
    names = [b.name for b in features.blocks]
    sets, counts = np.unique(present, axis=0, return_counts=True)
    found = {" + ".join(n for n, here in zip(names, own, strict=True) if here) or "none": int(c)
             for own, c in zip(sets, counts, strict=True)}  # fmt: skip
    told = {name: n for name, n in found.items() if n >= least}
    rest = sum(found.values()) - sum(told.values())
    return told | ({"others": rest} if rest >= least else {})


def to_json(omics: dict[str, dict[str, Column]], clinical: dict[str, Column], places: Places) -> dict[str, Any]:
    """Summary as plain values."""
    return {
        "quantiles": list(QUANTILES),
        "omics": {omic: _columns(own) for omic, own in omics.items()},
        "clinical": _columns(clinical),
        "places": {
            "centre": places.centre.tolist(),
            "precision": places.precision.tolist(),
            "quantiles": list(places.quantiles),
        },
    }


def _columns(columns: dict[str, Column]) -> list[dict[str, Any]]:
    return [
        {"name": name, "n": c.n, "missing": c.missing, "quantiles": None if c.quantiles is None else list(c.quantiles)}
        for name, c in columns.items()
    ]


def from_json(document: dict[str, Any]) -> tuple[dict[str, dict[str, Column]], dict[str, Column], Places]:
    """What `to_json` gave.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is something else.
    """
    if tuple(document["quantiles"]) != QUANTILES:
        raise ValueError("other quantiles")
    places = document["places"]
    centre, precision = (np.asarray(places[k], dtype=np.float64) for k in ("centre", "precision"))
    if precision.shape != (len(centre), len(centre)) or len(places["quantiles"]) != len(DISTANCES):
        raise ValueError("places of other shapes")
    return (
        {omic: _read(own) for omic, own in document["omics"].items()},
        _read(document["clinical"]),
        Places(centre, precision, tuple(map(float, places["quantiles"]))),
    )


def _read(columns: list[dict[str, Any]]) -> dict[str, Column]:
    made = {}
    for one in columns:
        quantiles = one["quantiles"]
        if quantiles is not None and len(quantiles) != len(QUANTILES):
            raise ValueError("other quantiles")
        kept = None if quantiles is None else tuple(map(float, quantiles))
        made[str(one["name"])] = Column(int(one["n"]), float(one["missing"]), kept)
    return made
