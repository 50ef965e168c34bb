"""Features of every omic, learned on training patients and applied to all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stratiome.config import FeatureConfig
from stratiome.features.adjust import site_scales, site_shifts
from stratiome.features.block import Block
from stratiome.features.tails import RankScores, fit_rank_scores
from stratiome.omics.tails import HEAVY_SD, spread_of, tail_of

MIN_CARRIERS = 3
CLIP = 8.0
AT_ONCE = 512
"""Features whose tails are looked at together."""


@dataclass(frozen=True)
class OmicTransform:
    """What was learned of one omic on training patients.

    Attributes
    ----------
    keep
        Indices of the kept features in the input.
    mean, scale
        Shape `(n_kept,)`, of the training patients after rank scores and removal of site shifts; 0 and 1 for 0/1
        features.
    sites
        Sites with a known shift.
    shifts
        Shape `(n_sites, n_kept)`, location of each site against the others, shrunk; new sites have none.
    spreads
        Shape `(n_sites, n_kept)`, SD of each site against the others, shrunk; 1 where spread is not adjusted.
    ranks
        Heavy-tailed features, which become normal scores of their ranks first: a site shift or a standard deviation
        of their values would be that of the extremes.
    dropped
        Features that were not kept, by reason: missing, constant, variance.
    """

    keep: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    sites: tuple[str, ...]
    shifts: np.ndarray
    spreads: np.ndarray
    ranks: RankScores = field(default_factory=RankScores)
    dropped: dict[str, int] = field(default_factory=dict)

    def apply(self, values: np.ndarray, site: np.ndarray | None) -> np.ndarray:
        """Transformed features of any patients.

        Parameters
        ----------
        values
            Shape `(n_patients, n_features)` on the scaled unit of the kind.
        site
            Shape `(n_patients,)`, or None.

        Returns
        -------
        numpy.ndarray
            Shape `(n_patients, n_kept)`, float32, within 8 SD, NaN where missing.
        """
        kept = values[:, self.keep].astype(np.float64)
        self.ranks.apply(kept)
        if site is not None:
            for name, shift, spread in zip(self.sites, self.shifts, self.spreads, strict=True):
                rows = site == name
                kept[rows] -= shift
                if (spread != 1).any():
                    kept[rows] = self.mean + (kept[rows] - self.mean) / spread
        return np.clip((kept - self.mean) / self.scale, -CLIP, CLIP).astype(np.float32)


def fit_transform(
    values: np.ndarray,
    train: np.ndarray,
    settings: FeatureConfig,
    *,
    continuous: bool,
    site: np.ndarray | None = None,
    protected: np.ndarray | None = None,
) -> OmicTransform:
    """Learn selection, rank scores, site shifts and standardisation of one omic from training patients only.

    Kept are features with few missing values and some variation, at most `max_features` of the largest variance
    (0/1 features: at least three training carriers and non-carriers). The variance of a heavy-tailed feature is taken
    from its interquartile range, as its extremes say nothing about most patients.

    Parameters
    ----------
    values
        Shape `(n_patients, n_features)`, rows without the omic all NaN.
    train
        Shape `(n_patients,)`, True for training patients.
    settings
        Limits.
    continuous
        Whether features are standardised and site shifts removed.
    site
        Shape `(n_patients,)`, or None for no adjustment.
    protected
        Shape `(n_patients, n_columns)`, what is kept while site differences are removed; see `adjust.site_shifts`.
    """
    rows = train & np.isfinite(values).any(axis=1)
    work = values[rows].astype(np.float64)
    heavy, robust = _heavy_tails(work, settings) if continuous else (np.zeros(0, dtype=bool), np.zeros(0))
    keep, dropped = _select(work, settings, continuous, heavy, robust)
    work = work[:, keep]
    nothing = np.zeros((0, len(keep)))
    if not continuous:
        zero, one = np.zeros(len(keep)), np.ones(len(keep))
        return OmicTransform(keep, zero, one, (), nothing, nothing, dropped=dropped)
    chosen = np.arange(len(keep)) if settings.tails == "rank" else np.flatnonzero(heavy[keep])
    ranks = fit_rank_scores(work, chosen)
    ranks.apply(work)
    names: tuple[str, ...] = ()
    shifts = spreads = nothing
    if site is not None:
        here = site[rows]
        names, shifts = site_shifts(work, here, None if protected is None else protected[rows])
        for name, shift in zip(names, shifts, strict=True):
            work[here == name] -= shift
        spreads = site_scales(work, here, names) if settings.adjust_scale else np.ones_like(shifts)
    mean = np.nanmean(work, axis=0)
    for name, spread in zip(names, spreads, strict=True) if settings.adjust_scale else ():
        work[site[rows] == name] = mean + (work[site[rows] == name] - mean) / spread  # type: ignore[index]
    scale = np.nanstd(work, axis=0)
    return OmicTransform(keep, mean, np.where(scale > 0, scale, 1.0), names, shifts, spreads, ranks, dropped)


def _heavy_tails(work: np.ndarray, settings: FeatureConfig) -> tuple[np.ndarray, np.ndarray]:
    """Features with heavy tails in the training patients, and the robust variance of these (0 of others)."""
    p = work.shape[1]
    heavy, robust = np.zeros(p, dtype=bool), np.zeros(p)
    if settings.tails == "none" or len(work) < 2:
        return heavy, robust
    for start in range(0, p, AT_ONCE):
        ordered = np.sort(work[:, start : start + AT_ONCE].T, axis=1)
        n = np.isfinite(ordered).sum(axis=1)
        here = tail_of(ordered, n) > HEAVY_SD
        heavy[start : start + AT_ONCE] = here
        robust[start : start + AT_ONCE][here] = spread_of(ordered[here], n[here]) ** 2
    return heavy, robust


def _select(
    work: np.ndarray, settings: FeatureConfig, continuous: bool, heavy: np.ndarray, robust: np.ndarray
) -> tuple[np.ndarray, dict[str, int]]:
    """Positions of the kept features, and how many were dropped for which reason."""
    if len(work) < 2:
        return np.zeros(0, dtype=np.int64), {"missing": work.shape[1], "constant": 0, "variance": 0}
    finite = np.isfinite(work)
    enough = 1 - finite.mean(axis=0) <= settings.max_missing
    if continuous:
        with np.errstate(invalid="ignore"):
            filled = np.where(finite, work, 0.0)
            n = np.maximum(finite.sum(axis=0), 1)
            mean = filled.sum(axis=0) / n
            variance = (np.where(finite, work - mean, 0.0) ** 2).sum(axis=0) / n
        good = enough & (variance > 1e-10 * (1 + mean**2))
        variance = np.where(heavy, robust, variance)
    else:
        carriers = np.nansum(work, axis=0)
        variance = np.minimum(carriers, finite.sum(axis=0) - carriers)
        good = enough & (variance >= MIN_CARRIERS)
    candidates = np.flatnonzero(good)
    largest = np.argsort(-variance[candidates], kind="stable")[: settings.max_features]
    dropped = {
        "missing": int((~enough).sum()),
        "constant": int((enough & ~good).sum()),
        "variance": len(candidates) - len(largest),
    }
    return np.sort(candidates[largest]), dropped


def make_block(
    name: str,
    values: np.ndarray,
    features: tuple[str, ...],
    transform: OmicTransform,
    likelihood: str,
    site: np.ndarray | None,
) -> Block:
    """Features of one omic for all patients."""
    kept = tuple(features[j] for j in transform.keep)
    return Block(name, transform.apply(values, site), likelihood, kept)  # type: ignore[arg-type]


def add_counts(
    block: Block, transform: OmicTransform, place: np.ndarray, rows: Iterable[tuple[np.ndarray | slice, np.ndarray]]
) -> Block:
    """The same block with the raw counts of its features, and the library size over all features, kept or not.

    Parameters
    ----------
    block
        Features of one omic of kind `counts`.
    transform
        What was learned, for the features that it kept.
    place
        Shape `(n_measured,)`, row of each measured patient in the block.
    rows
        Pieces of the measured patients: which of them, and their counts of all features.
    """
    counts = np.full(block.values.shape, np.nan, dtype=np.float32)
    library = np.full(len(counts), np.nan, dtype=np.float32)
    for part, read in rows:
        counts[place[part]] = read[:, transform.keep]
        library[place[part]] = read.sum(axis=1, dtype=np.float64)
    return replace(block, counts=counts, library=library)


def summarise(name: str, block: Block, transform: OmicTransform, measured: np.ndarray) -> dict[str, Any]:
    """Row of contract `FeatureSummary` without its resample.

    Parameters
    ----------
    name
        Name of the omic.
    block
        Its features.
    transform
        What was learned.
    measured
        Shape `(n_patients,)`, True for training patients who have the omic.
    """
    here = block.values[measured]
    return {
        "omic": name,
        "n_train": len(here),
        "n_features_in": len(transform.keep) + sum(transform.dropped.values()),
        "n_kept": len(transform.keep),
        "n_rank_transformed": len(transform.ranks.columns),
        **{f"n_dropped_{reason}": count for reason, count in transform.dropped.items()},
        "n_clipped": int((np.abs(here) >= CLIP).sum()),
    }


def save_transforms(
    transforms: dict[str, OmicTransform],
    features: dict[str, tuple[str, ...]],
    path: str,
    units: dict[str, str] | None = None,
) -> None:
    """Write as safetensors; names, and the unit of each omic as `StoredOmic` has it, travel in its JSON header."""
    import json

    from safetensors.numpy import save_file

    tensors: dict[str, np.ndarray] = {}
    names: dict[str, dict[str, Any]] = {}
    for name, t in transforms.items():
        tensors |= {
            f"{name}.mean": np.ascontiguousarray(t.mean),
            f"{name}.scale": np.ascontiguousarray(t.scale),
            f"{name}.shifts": np.ascontiguousarray(t.shifts),
            f"{name}.spreads": np.ascontiguousarray(t.spreads),
            f"{name}.rank_columns": np.ascontiguousarray(t.ranks.columns),
            f"{name}.rank_quantiles": np.ascontiguousarray(t.ranks.quantiles),
            f"{name}.rank_n": np.ascontiguousarray(t.ranks.n),
        }
        names[name] = {
            "features": [features[name][j] for j in t.keep],
            "sites": list(t.sites),
            "unit": (units or {}).get(name, ""),
        }
    # One entry only: safetensors writes several in random order, and the same transforms must be the same bytes.
    save_file(tensors, path, metadata={"names": json.dumps(names, sort_keys=True)})


@dataclass(frozen=True)
class StoredTransform:
    """A transform as `save_transforms` wrote it; it takes its own features, in their order, and no others.

    Attributes
    ----------
    features
        Names of the features that it takes and gives.
    transform
        What was learned.
    unit
        As `StoredOmic.unit` of the training patients.
    """

    features: tuple[str, ...]
    transform: OmicTransform
    unit: str


def load_transforms(path: str) -> dict[str, StoredTransform]:
    """Read what `save_transforms` wrote; no code of the file is run.

    Raises
    ------
    ValueError
        If shapes do not fit together.
    """
    import json

    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        names = json.loads(file.metadata()["names"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    found = {}
    for name, said in names.items():
        own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        n, sites = len(said["features"]), tuple(said["sites"])
        ranks = RankScores(own["rank_columns"], own["rank_quantiles"], own["rank_n"])
        shapes = [own[k].shape == (n,) for k in ("mean", "scale")]
        shapes += [own[k].shape == (len(sites), n) for k in ("shifts", "spreads")]
        shapes += [len(ranks.columns) == len(ranks.n) == (ranks.quantiles.shape[1] if len(ranks.columns) else 0)]
        shapes += [bool(((ranks.columns >= 0) & (ranks.columns < n)).all())]
        if not all(shapes):
            raise ValueError(f"{path}: the arrays of {name} do not fit together. Suggestion: build the features again")
        made = OmicTransform(np.arange(n), own["mean"], own["scale"], sites, own["shifts"], own["spreads"], ranks)
        found[name] = StoredTransform(tuple(said["features"]), made, str(said["unit"]))
    return found
