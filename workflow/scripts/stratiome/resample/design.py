"""Who is learned from and who is held out: `full`, stratified folds, and one site at a time."""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from stratiome.config import ResampleConfig
from stratiome.tables import Resamples, from_rows


def site_groups(counts: dict[str, int], min_site: int) -> dict[str, list[str]]:
    """Resample name -> sites held out together.

    Sites of at least `min_site` patients are held out one at a time, the smaller ones together as `site-other` if they
    reach `min_site` patients. With fewer than two groups there are none: a cohort of one site cannot leave it out.

    Parameters
    ----------
    counts
        Site -> number of patients.
    min_site
        Smallest number of patients to hold out.
    """
    groups: dict[str, list[str]] = {}
    small = []
    for site in sorted(counts):
        if counts[site] < min_site:
            small.append(site)
            continue
        slug = re.sub(r"[^A-Za-z0-9]+", "_", site).strip("_") or "unnamed"
        name = f"site-{slug}"
        while name in groups or name == "site-other":
            name += "_"
        groups[name] = [site]
    if sum(counts[s] for s in small) >= min_site:
        groups["site-other"] = small
    return groups if len(groups) > 1 else {}


def resample_names(settings: ResampleConfig, sites: dict[str, list[str]]) -> list[str]:
    """Names of all resamples, `full` first."""
    folds = [f"cv-{r}-{f}" for r in range(1, settings.repeats + 1) for f in range(1, settings.folds + 1)]
    return ["full", *folds, *sites]


def design_resamples(
    patient_ids: list[str],
    strata: list[np.ndarray],
    settings: ResampleConfig,
    site: np.ndarray | None,
    sites: dict[str, list[str]],
    seed: int,
) -> pl.DataFrame:
    """Role of each patient in each resample (contract `Resamples`).

    Folds are dealt from patients sorted by the strata, in random order within equal strata, so that every stratum is
    spread over the folds as evenly as its size allows (systematic sampling), however many strata there are.

    Parameters
    ----------
    patient_ids
        Length `n_patients`.
    strata
        Vectors of length `n_patients` to balance, the most important first (event, treatment, site).
    settings
        Folds and repeats.
    site
        Length `n_patients`, the site as text, or None.
    sites
        As made by `site_groups`.
    seed
        Seed of the deal.
    """
    n = len(patient_ids)
    roles: dict[str, np.ndarray] = {"full": np.full(n, "train", dtype=object)}
    codes = [_codes(s) for s in strata]
    for repeat in range(1, settings.repeats + 1):
        fold = _deal(codes, n, settings.folds, np.random.default_rng([seed, repeat]))
        for f in range(settings.folds):
            roles[f"cv-{repeat}-{f + 1}"] = np.where(fold == f, "test", "train").astype(object)
    for name, members in sites.items():
        assert site is not None
        roles[name] = np.where(np.isin(site, members), "test", "train").astype(object)
    rows = [
        {"patient_id": p, "resample": name, "role": str(role[i])}
        for name, role in roles.items()
        for i, p in enumerate(patient_ids)
    ]
    return from_rows(rows, Resamples)


def _codes(stratum: np.ndarray) -> np.ndarray:
    """Whole numbers by first appearance, so that renaming classes (sites) deals the same folds."""
    text = np.asarray(stratum, dtype=str)
    _, first, inverse = np.unique(text, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _deal(codes: list[np.ndarray], n: int, folds: int, rng: np.random.Generator) -> np.ndarray:
    order = np.lexsort([rng.random(n), *reversed(codes)])
    fold = np.empty(n, dtype=np.int64)
    for start in range(0, n, folds):
        block = order[start : start + folds]
        fold[block] = rng.permutation(folds)[: len(block)]
    return fold
