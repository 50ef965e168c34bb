"""Held-out subgroups: names matched to `full`, patients pooled over folds.

Every fold learns its own subgroups, whose numbers mean nothing outside it. Names are carried over from `full` by the
training patients that both share; test patients, and outcomes, have no part in it. Where a fold disagrees with `full`
on the number of subgroups there is no perfect name, and the rules are:

- as many clusters as both have are matched one to one, for the largest total overlap (Kuhn 1955, Nav Res Log Q 2:83);
- a cluster that is left over takes the name of the subgroup of `full` that holds more than half of its training
  patients (it is a part of it); if there is none, its patients are unassigned. It gets no new number, since left-over
  clusters of different folds are not the same subgroup;
- a fold that found no subgroups, where `full` has some, puts nobody into any: its patients are unassigned.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from stratiome.resample.names import pooled
from stratiome.subgroups.cluster import UNASSIGNED
from stratiome.tables import SubgroupAssignment, from_rows


def match_labels(full: np.ndarray, labels: np.ndarray, k_full: int, k: int) -> dict[int, int]:
    """Name in `full` of each cluster of a resample.

    Parameters
    ----------
    full
        Shape `(n_shared,)`, subgroup in `full` of training patients of both, 0 = unassigned.
    labels
        Shape `(n_shared,)`, subgroup in the resample.
    k_full, k
        Number of subgroups of `full` and of the resample.

    Returns
    -------
    dict
        Cluster from 0 to k -> subgroup of `full`, 0 = unassigned; 0 stays 0.
    """
    from scipy.optimize import linear_sum_assignment

    names = {UNASSIGNED: UNASSIGNED}
    if k == 1 and k_full > 1:
        return names | {1: UNASSIGNED}
    overlap = np.zeros((k, k_full))
    both = (full > 0) & (labels > 0)
    np.add.at(overlap, (labels[both] - 1, full[both] - 1), 1)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    names |= {int(r) + 1: int(c) + 1 for r, c in zip(rows, columns, strict=True)}
    for cluster in range(1, k + 1):
        if cluster not in names:
            parent = int(overlap[cluster - 1].argmax())
            majority = overlap[cluster - 1, parent] > overlap[cluster - 1].sum() / 2
            names[cluster] = parent + 1 if majority else UNASSIGNED
    return names


def chosen_k(selection: pl.DataFrame) -> dict[tuple[str, str], int]:
    """Number of subgroups by resample and model (table of contract `SubgroupSelection`)."""
    chosen = selection.filter(pl.col("chosen"))
    return {(r, m): k for r, m, k in chosen.select("resample", "model", "k").iter_rows()}


def held_out_folds(assignments: pl.DataFrame) -> dict[str, str]:
    """Patient -> resample that holds the patient out, of the resamples that `pool_held_out` pools.

    Parameters
    ----------
    assignments
        Contract `Subgroups`, all resamples.
    """
    one = assignments.filter((pl.col("model") == pl.col("model").first()) & (pl.col("role") == "test"))
    kept = one.filter(pl.col("resample").is_in(sorted(pooled(one))))
    return dict(kept.select("patient_id", "resample").iter_rows())


def pool_held_out(assignments: pl.DataFrame, counts: dict[tuple[str, str], int]) -> pl.DataFrame:
    """Held-out subgroup of each patient (contract `SubgroupAssignment`), from the first repeat of the folds.

    Without folds it comes from the given splits, if each patient is held out by at most one of them. Otherwise nobody
    counts as held out, and the table is empty.

    Parameters
    ----------
    assignments
        Contract `Subgroups`, all resamples.
    counts
        Number of subgroups by resample and model.

    Returns
    -------
    polars.DataFrame
        One row per model and patient of a test fold, sorted by both; models in the order of `full`.
    """
    full = assignments.filter(pl.col("resample") == "full")
    folds = sorted(set(held_out_folds(assignments).values()))
    rows = []
    for model in full["model"].unique(maintain_order=True).to_list():
        of_model = full.filter(pl.col("model") == model)
        reference = dict(of_model.select("patient_id", "subgroup").iter_rows())
        held_out = []
        for fold in folds:
            part = assignments.filter((pl.col("resample") == fold) & (pl.col("model") == model))
            learned = part.filter(pl.col("role") == "train")
            shared = np.array([reference.get(p, UNASSIGNED) for p in learned["patient_id"]], dtype=np.int64)
            names = match_labels(shared, learned["subgroup"].to_numpy(), counts["full", model], counts[fold, model])
            tested = part.filter(pl.col("role") == "test")
            for patient, label, probability in tested.select("patient_id", "subgroup", "probability").iter_rows():
                held_out.append((patient, names[label], reference.get(patient, UNASSIGNED), probability))
        rows += [(patient, model, label, own, probability) for patient, label, own, probability in sorted(held_out)]
    names_ = ("patient_id", "model", "subgroup", "full_subgroup", "probability")
    return from_rows([dict(zip(names_, row, strict=True)) for row in rows], SubgroupAssignment)
