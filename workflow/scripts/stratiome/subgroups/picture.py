"""Pictures of the latent space and of the consensus, without a patient who could be recognised."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl

from stratiome.tables import LatentMap, SubgroupConsensus, from_rows

MAIN = "vae"
MAP_POINTS = 4000
"""Patients embedded at most, at random; up to 4095 UMAP finds neighbours exactly."""
NEIGHBOURS = 15
DECIMALS = 2
MOST_BINS = 60
LEAST_BIN = 20
"""Patients per bin of the consensus at least, where a subgroup has that many."""


def map_table(
    patient_ids: list[str],
    latents: dict[str, np.ndarray],
    full: pl.DataFrame,
    planted: dict[str, int],
    site: dict[str, str],
    seed: int,
) -> pl.DataFrame:
    """Two-dimensional pictures of the latent space of `full` in random order (contract `LatentMap`).

    The first two principal components of every model (latent dimensions are ordered by the variance of the training
    patients), and a UMAP of all dimensions of the deep model (of the first one
    where there is none). Patients without any omic are left out; coordinates are
    rounded.

    Parameters
    ----------
    patient_ids
        Rows of the latents.
    latents
        Model -> shape `(n_patients, n_latent)`.
    full
        Contract `Subgroups`, of `full`.
    planted, site
        Patient -> value, where known.
    seed
        Seed of the UMAP and of the order, which hides who is who.
    """
    rows = []
    main = MAIN if MAIN in latents else next(iter(latents), "")
    for m, (model, points) in enumerate(latents.items()):
        part = full.filter((pl.col("model") == model) & (pl.col("probability") > 0))
        subgroup = dict(part.select("patient_id", "subgroup").iter_rows())
        shuffled = np.random.default_rng([seed, m]).permutation(len(patient_ids))
        order = [i for i in shuffled.tolist() if patient_ids[i] in subgroup][:MAP_POINTS]
        pictures = {"principal": _two(points[order])}
        if model == main and len(order) > 3:
            pictures["umap"] = umap(points, order, seed)
        for projection, drawn in pictures.items():
            for i, (x, y) in zip(order, np.round(drawn, DECIMALS).tolist(), strict=True):
                patient = patient_ids[i]
                known = {"planted": planted.get(patient), "site": site.get(patient), "subgroup": subgroup[patient]}
                rows.append({"model": model, "projection": projection, "x": x, "y": y, **known})
    return from_rows(rows, LatentMap)


def _two(points: np.ndarray) -> np.ndarray:
    return points[:, :2] if points.shape[1] > 1 else np.column_stack([points[:, 0], np.zeros(len(points))])


def umap(points: np.ndarray, order: list[int], seed: int) -> np.ndarray:
    """UMAP (McInnes et al. 2018) of some rows of a latent space, in their order, shape `(n_rows, 2)`.

    Embedded in the order of the rows of `points`, so that the picture does not depend on how they are shuffled, from
    principal components and on one thread, so that it is the same every time.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the one thread that a seed takes
        import umap as library

        made = library.UMAP(
            n_neighbors=min(NEIGHBOURS, len(order) - 1), init="pca", random_state=seed, n_jobs=1, low_memory=False
        )
        rows = np.sort(order)
        drawn = made.fit_transform(np.ascontiguousarray(points[rows], dtype=np.float32))
    return np.asarray(drawn, dtype=np.float64)[np.searchsorted(rows, order)]


def consensus_table(found: pl.DataFrame, seed: int) -> pl.DataFrame:
    """How often pairs of patients share a subgroup over all resamples but `full` (contract `SubgroupConsensus`).

    Pairs count where both are assigned in a resample, as training or as held-out patients. Patients are sorted by their
    subgroup of `full` and by how well they hold to it, and averaged in bins of at least `LEAST_BIN`, so that no single
    patient is seen; a smaller subgroup is one bin. Pairs within a bin leave out a patient with itself.

    Parameters
    ----------
    found
        Contract `Subgroups`, all resamples.
    seed
        Seed of the order of patients who hold equally well.
    """
    rows: list[dict[str, object]] = []
    for m, model in enumerate(found["model"].unique(maintain_order=True).to_list()):
        own = found.filter((pl.col("model") == model) & (pl.col("role") != "out"))
        full = own.filter((pl.col("resample") == "full") & (pl.col("subgroup") > 0)).sort("patient_id")
        again = own.filter(pl.col("resample") != "full")
        names = again["resample"].unique(maintain_order=True).to_list()
        groups = full["subgroup"].to_numpy()
        if not names or len(set(groups.tolist())) < 2:
            continue
        labels = np.stack([_labels(again, name, full["patient_id"].to_list()) for name in names])
        bins = _bins(groups, _holding(labels, groups), np.random.default_rng([seed, m]))
        rows += [{"model": model, "resamples": len(names), **row} for row in _cells(labels, groups, bins)]
    return from_rows(rows, SubgroupConsensus)


def _labels(again: pl.DataFrame, resample: str, patients: list[str]) -> np.ndarray:
    own = dict(again.filter(pl.col("resample") == resample).select("patient_id", "subgroup").iter_rows())
    return np.array([own.get(p, 0) for p in patients], dtype=np.int64)


def _holding(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Share of the own subgroup of `full` with which each patient is put, over resamples, shape `(n_patients,)`."""
    together, compared = np.zeros(len(groups)), np.zeros(len(groups))
    for own in labels:
        for g in np.unique(groups):
            here = groups == g
            sizes = np.bincount(own[here])
            assigned = here & (own > 0)
            together[assigned] += sizes[own[assigned]]
            compared[assigned] += sizes[1:].sum()
    return together / np.maximum(compared, 1)


def _bins(groups: np.ndarray, holding: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Positions of the patients of each bin."""
    size = max(LEAST_BIN, -(-len(groups) // MOST_BINS))
    shuffled = rng.permutation(len(groups))
    bins = []
    for g in np.unique(groups):
        members = shuffled[groups[shuffled] == g]
        members = members[np.argsort(-holding[members], kind="stable")]
        bins += np.array_split(members, max(1, len(members) // size))
    return bins


def _cells(labels: np.ndarray, groups: np.ndarray, bins: list[np.ndarray]) -> list[dict[str, object]]:
    together, pairs = np.zeros((len(bins), len(bins))), np.zeros((len(bins), len(bins)))
    for own in labels:
        count = np.stack([np.bincount(own[b], minlength=own.max() + 1)[1:] for b in bins]).astype(np.float64)
        assigned = count.sum(axis=1)
        together += count @ count.T - np.diag(assigned)
        pairs += np.outer(assigned, assigned) - np.diag(assigned)
    return [
        {
            "row": i + 1,
            "column": j + 1,
            "row_subgroup": int(groups[bins[i][0]]),
            "column_subgroup": int(groups[bins[j][0]]),
            "n_row": len(bins[i]),
            "n_column": len(bins[j]),
            "share": float(together[i, j] / pairs[i, j]) if pairs[i, j] > 0 else None,
        }
        for i in range(len(bins))
        for j in range(i, len(bins))
    ]
