"""Are the subgroups one event? How well the best single feature of each omic tells them apart."""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.tree import DecisionTreeClassifier

from stratiome.features.block import Block, FeatureSet
from stratiome.subgroups.agreement import adjusted_rand, contingency
from stratiome.subgroups.effects import standardised_difference
from stratiome.tables import SubgroupSingleFeatures, from_rows

CANDIDATES = 20
"""Features of each omic and subgroup that are tried: those with the largest standardised difference."""

LINKED = 0.7
"""Absolute correlation from which a feature is said to go with another, as genes of one copy-number segment do."""

LEAST = 10
"""Patients in whom a feature must be measured."""


def single_features_table(features: FeatureSet, full: pl.DataFrame) -> pl.DataFrame:
    """Best single feature of each omic by model (contract `SubgroupSingleFeatures`), descriptive only.

    Each feature is cut into as many intervals as there are subgroups, where they are purest (Gini; Breiman et al. 1984,
    Classification and Regression Trees), and the intervals are compared with the subgroups.

    Parameters
    ----------
    features
        Features of `full`.
    full
        Contract `Subgroups`, of `full`; training patients that are assigned are used.
    """
    row = {patient: i for i, patient in enumerate(features.patient_ids)}
    rows = []
    for model in full["model"].unique(maintain_order=True).to_list():
        part = full.filter((pl.col("model") == model) & (pl.col("role") == "train") & (pl.col("subgroup") > 0))
        patients = np.array([row[p] for p in part["patient_id"]], dtype=np.int64)
        label = part["subgroup"].to_numpy()
        if len(np.unique(label)) < 2:
            continue
        for block in features.blocks:
            found = _best(block.values[patients].astype(np.float64), label)
            if found is not None:
                j, n, estimate = found
                rows.append(
                    {
                        "model": model,
                        "omic": block.name,
                        "feature": block.features[j],
                        "n": n,
                        "estimate": estimate,
                        "linked": _linked(block, patients, j),
                    }
                )
    return from_rows(rows, SubgroupSingleFeatures)


def _best(values: np.ndarray, label: np.ndarray) -> tuple[int, int, float] | None:
    """Feature whose intervals agree best with the subgroups, patients who have it, and the adjusted Rand index."""
    levels = np.unique(label)
    tried: set[int] = set()
    for level in levels:
        effect = np.abs(standardised_difference(values[label == level], values[label != level]))
        order = np.argsort(-np.nan_to_num(effect), kind="stable")[:CANDIDATES]
        tried |= {int(j) for j in order if np.isfinite(effect[j])}
    best = None
    for j in sorted(tried):
        seen = np.isfinite(values[:, j])
        if seen.sum() < LEAST or len(np.unique(label[seen])) < 2:
            continue
        column = values[seen, j, None]
        tree = DecisionTreeClassifier(max_leaf_nodes=len(levels), min_samples_leaf=5, random_state=0)
        leaf = tree.fit(column, label[seen]).apply(column)
        estimate = float(adjusted_rand(contingency(leaf, label[seen])))
        if best is None or estimate > best[2]:
            best = (j, int(seen.sum()), estimate)
    return best


def _linked(block: Block, patients: np.ndarray, j: int) -> int:
    """Number of other features of the omic that go with a feature, in patients who have both."""
    values = block.values[patients].astype(np.float64)
    seen = np.isfinite(values) & np.isfinite(values[:, [j]])
    n = np.maximum(seen.sum(axis=0), 1)
    own = np.where(seen, values[:, [j]], 0.0)
    other = np.where(seen, values, 0.0)
    a, b = (np.where(seen, v - v.sum(axis=0) / n, 0.0) for v in (own, other))
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    r = (a * b).sum(axis=0) / np.where(scale > 0, scale, 1.0)
    return int(((np.abs(r) >= LINKED) & (n >= LEAST) & (np.arange(len(r)) != j)).sum())
