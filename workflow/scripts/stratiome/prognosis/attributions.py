"""Attributions of many patients as tables: blocks, features, gene sets, and whether they can be relied on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stratiome.prognosis.explain import Attribution

RANDOM_SETS = 100
"""Random sets of features that a gene set is compared with."""


@dataclass(frozen=True)
class BlockOf:
    """One block of columns.

    Attributes
    ----------
    name
        Name of the omic.
    features
        Names of its columns.
    columns
        Their place among the columns of all omics.
    present
        Shape `(n_patients,)`, True where an explained patient has the omic.
    """

    name: str
    features: tuple[str, ...]
    columns: slice
    present: np.ndarray


@dataclass(frozen=True)
class Named:
    """Contribution of a feature or a gene set over patients; fields as in `tables.PrognosisAttributions`."""

    level: str
    block: str
    name: str
    size: int
    n: int
    mean_absolute: float
    direction: float | None
    random: float | None


def of_features(
    block: BlockOf, contributions: np.ndarray, values: np.ndarray, names: Sequence[str] | None = None
) -> list[Named]:
    """Mean absolute contribution of each feature over the patients who have the omic, and its direction.

    The direction is the correlation of value and contribution: positive = higher values go with higher risk.

    Parameters
    ----------
    block
        Features and who has them.
    contributions, values
        Shape `(n_patients, n_features)`.
    names
        Names to use instead.
    """
    own, x = contributions[block.present], values[block.present]
    n = len(own)
    if not n:
        return []
    size = np.abs(own).mean(axis=0)
    a, b = own - own.mean(axis=0), x - x.mean(axis=0)
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    product = (a * b).sum(axis=0)
    return [
        Named(
            "feature",
            block.name,
            name,
            1,
            n,
            float(size[j]),
            float(np.clip(product[j] / scale[j], -1.0, 1.0)) if scale[j] > 1e-18 else None,
            None,
        )
        for j, name in enumerate(names or block.features)
    ]


def of_gene_sets(
    block: BlockOf,
    contributions: np.ndarray,
    sets: Mapping[str, Sequence[str]],
    least: int,
    rng: np.random.Generator,
) -> list[Named]:
    """Mean absolute sum of contributions over the genes of each set, beside random sets of as many features.

    A large set sums many contributions, so that its size alone makes it large: the mean of random sets of the same
    omic says how much.

    Parameters
    ----------
    block
        Features and who has them.
    contributions
        Shape `(n_patients, n_features)`.
    sets
        Name -> genes.
    least
        Genes among the features below which a set is left out.
    rng
        Source of the random sets.
    """
    own = contributions[block.present]
    if not len(own):
        return []
    column = {f: j for j, f in enumerate(block.features)}
    found: list[Named] = []
    by_size: dict[int, float] = {}
    for name, genes in sets.items():
        members = [column[g] for g in genes if g in column]
        size = len(members)
        if size < least:
            continue
        if size not in by_size:
            drawn = [rng.choice(len(column), size, replace=False) for _ in range(RANDOM_SETS)]
            by_size[size] = float(np.mean([np.abs(own[:, d].sum(axis=1)).mean() for d in drawn]))
        total = float(np.abs(own[:, members].sum(axis=1)).mean())
        found.append(Named("gene set", block.name, name, size, len(own), total, None, by_size[size]))
    return found


def by_block(blocks: Sequence[BlockOf], found: Attribution, clinical: str) -> dict[str, np.ndarray]:
    """Sum of the contributions of each block, shape `(n_patients,)` each."""
    sums = {b.name: found.omics[:, b.columns].sum(axis=1) for b in blocks}
    return sums | ({clinical: found.clinical.sum(axis=1)} if found.clinical.shape[1] else {})


def rank_agreement(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's correlation of the mean absolute contributions of features; None where one does not vary.

    Parameters
    ----------
    first, second
        Shape `(n_patients, n_features)`, contributions by two models.
    """
    from scipy.stats import spearmanr

    if not len(first) or first.shape[1] < 3:
        return None
    a, b = np.abs(first).mean(axis=0), np.abs(second).mean(axis=0)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)
