"""How often genes are mutated, gained or lost in each subgroup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from stratiome.tables import SubgroupAlterations, from_rows

if TYPE_CHECKING:
    from stratiome.cohort.store import StoredOmic

MOST = 12
"""Features kept per omic and alteration: those whose frequency differs most between subgroups."""
LEAST_PATIENTS = 10
"""Patients below which the frequency of a subgroup does not count for what differs most."""
LOG_RATIO = 0.2
"""log2 ratio beyond which a gene is called gained or lost where copy number is no call."""


def alterations_table(omics: Sequence[StoredOmic], full: pl.DataFrame) -> pl.DataFrame:
    """Frequencies of the alterations that differ most between subgroups (contract `SubgroupAlterations`).

    Parameters
    ----------
    omics
        Those of the cohort; kinds other than mutation and copy number have no alterations.
    full
        Contract `Subgroups`, of `full`; training patients that are assigned are counted.
    """
    rows: list[dict[str, Any]] = []
    for omic in (o for o in omics if o.kind in ("mutation", "copy_number")):
        for model in full["model"].unique(maintain_order=True).to_list():
            own = full.filter((pl.col("model") == model) & (pl.col("role") == "train") & (pl.col("subgroup") > 0))
            of = dict(own.select("patient_id", "subgroup").iter_rows())
            label = np.array([of.get(p, 0) for p in omic.patient_ids])
            groups = sorted(set(label[label > 0].tolist()))
            for alteration, definition, n, altered in _counts(omic, label, groups):
                rows += _rows(omic, model, groups, alteration, definition, n, altered)
    return from_rows(rows, SubgroupAlterations)


def _counts(
    omic: StoredOmic, label: np.ndarray, groups: Sequence[int]
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Alteration, its definition, and numbers of patients and of altered ones, shape `(n_groups, n_features)` each."""
    kinds = definitions(omic)
    shape = (len(groups), len(omic.features))
    n, altered = np.zeros(shape, dtype=np.int64), {name: np.zeros(shape, dtype=np.int64) for name in kinds}
    for part, values in omic.columns():
        for g, group in enumerate(groups):
            own = values[label == group]
            n[g, part] = np.isfinite(own).sum(axis=0)
            for name, (least, _) in kinds.items():
                beyond = own < least if name == "loss" else own > least
                altered[name][g, part] = beyond.sum(axis=0)
    for name, (_, text) in kinds.items():
        yield name, text, n, altered[name]


def definitions(omic: StoredOmic) -> dict[str, tuple[float, str]]:
    """Alteration -> value beyond which it is one (below for losses), and the same in words.

    Whole numbers that are never negative and exceed 2 are numbers of copies, other whole numbers are calls, and
    anything else is taken for log2 ratios, as the quality stage does.
    """
    if omic.kind == "mutation":
        return {"mutated": (0.5, "at least one mutation")}
    whole, least, most = True, np.inf, -np.inf
    for _, values in omic.columns():
        seen = values[np.isfinite(values)]
        whole = whole and bool((seen == np.round(seen)).all())
        least, most = min(least, float(seen.min(initial=np.inf))), max(most, float(seen.max(initial=-np.inf)))
    if whole and least >= 0 and most > 2:
        return {"gain": (2.5, "more than 2 copies"), "loss": (1.5, "fewer than 2 copies")}
    if whole:
        return {"gain": (0.5, "call above 0"), "loss": (-0.5, "call below 0")}
    return {
        "gain": (LOG_RATIO, f"log2 ratio above {LOG_RATIO:g}"),
        "loss": (-LOG_RATIO, f"log2 ratio below -{LOG_RATIO:g}"),
    }


def _rows(
    omic: StoredOmic,
    model: str,
    groups: Sequence[int],
    alteration: str,
    definition: str,
    n: np.ndarray,
    altered: np.ndarray,
) -> list[dict[str, Any]]:
    share = np.where(n >= LEAST_PATIENTS, altered / np.maximum(n, 1), np.nan)
    known = np.isfinite(share)
    spread = np.where(known, share, -np.inf).max(axis=0, initial=-np.inf) - np.where(known, share, np.inf).min(
        axis=0, initial=np.inf
    )
    top = np.argsort(-spread, kind="stable")[:MOST]
    rows = []
    for j in (t for t in top.tolist() if np.isfinite(spread[t]) and altered[:, t].any()):
        for g, group in enumerate(groups):
            rest, other = n[:, j].sum() - n[g, j], altered[:, j].sum() - altered[g, j]
            both = n[g, j] > 0 and rest > 0
            rows.append(
                {
                    "model": model,
                    "subgroup": group,
                    "omic": omic.name,
                    "feature": omic.features[j],
                    "alteration": alteration,
                    "definition": definition,
                    "n": int(n[g, j]),
                    "count": int(altered[g, j]),
                    "difference": float(altered[g, j] / n[g, j] - other / rest) if both else None,
                }
            )
    return rows
