"""Groups of patients in which held-out predictions are judged: classes of a clinical column, or bands of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import polars as pl

from stratiome.cohort.errors import CohortError, TooFew
from stratiome.config import Config

MOST_CLASSES = 12
"""Classes of a column beyond which it makes no groups."""
BESIDE = " × "
"""Between the names of two columns that are crossed."""
AND = ", "
"""Between the names of their groups."""


def check_groups(path: Path, frame: pl.DataFrame, config: Config) -> list[str]:
    """What is wrong with the columns of `audit.groups`.

    Parameters
    ----------
    path
        The clinical table, for messages.
    frame
        Its columns.
    config
        The config.
    """
    problems: list[str] = []
    for name in config.audit.groups:
        if name not in frame.columns:
            continue
        values = frame[name]
        if config.data.types.get(name) == "categorical":
            values = values.cast(pl.String)
        said = problem(values, config.audit.cuts.get(name, ()))
        problems += [TooFew(f"`audit.groups`: {path}, column `{name}` {said}")] if said else []
    return problems


def problem(values: pl.Series, cuts: Sequence[float]) -> str:
    """Why a column makes no groups, with a suggestion, or ""."""
    known = values.drop_nulls()
    numeric = values.dtype.is_numeric()
    if cuts and not numeric:
        return f"holds no numbers, but `audit.cuts.{values.name}` cuts it. Suggestion: remove the cuts"
    if not cuts and known.n_unique() > MOST_CLASSES:
        if numeric:
            return f"holds numbers. Suggestion: cut it, as audit: {{cuts: {{{values.name}: [50, 65]}}}}"
        return f"has {known.n_unique()} classes, at most {MOST_CLASSES} make groups. Suggestion: join classes"
    if len(set(labels(values, cuts)) - {""}) < 2:
        return "puts all patients into one group. Suggestion: remove it there, or change the cuts"
    return ""


def labels(values: pl.Series, cuts: Sequence[float] = ()) -> np.ndarray:
    """Group of each patient, shape `(n_patients,)`; "" where it is not known.

    Parameters
    ----------
    values
        Classes, or numbers.
    cuts
        Increasing numbers at which they are cut: below the first, from each to below the next, from the last on.
    """
    if not cuts:
        whole = values.dtype.is_numeric()
        texts = [None if v is None else f"{v:g}" if whole else str(v) for v in values.to_list()]
        return np.array(["" if t in (None, "nan") else t for t in texts], dtype=str)
    bands = band_names(cuts)
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    place = np.searchsorted(np.asarray(cuts), numbers, side="right")
    return np.array([bands[k] if np.isfinite(v) else "" for v, k in zip(numbers, place, strict=True)], dtype=str)


def band_names(cuts: Sequence[float]) -> list[str]:
    """`below 50`, `50 to below 65`, `65 and above`."""
    between = [f"{a:g} to below {b:g}" for a, b in pairwise(cuts)]
    return [f"below {cuts[0]:g}", *between, f"{cuts[-1]:g} and above"]


def in_order(names: Iterable[str]) -> list[str]:
    """Names of groups as they are read: bands from the lowest on, numbers by size, texts by the alphabet."""

    def key(name: str) -> list[tuple[bool, float, str]]:
        parts = name.split(AND)
        number = [re.match(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", part) for part in parts]
        return [
            (not part.startswith("below "), float(found[0]) if found else float("inf"), part)
            for part, found in zip(parts, number, strict=True)
        ]

    return sorted(names, key=key)


def groupings(
    clinical: pl.DataFrame, groups: Sequence[str], cuts: Mapping[str, Sequence[float]], intersections: bool
) -> dict[str, np.ndarray]:
    """Name of each grouping -> group of each patient, shape `(n_patients,)`; "" where it is not known.

    Parameters
    ----------
    clinical
        Table with a row per patient.
    groups
        Columns.
    cuts
        Column -> where it is cut.
    intersections
        Whether each pair of columns is crossed as well; its groups are named as `female, below 50`.

    Raises
    ------
    CohortError
        If a column is not there or makes no groups.
    """
    absent = [c for c in groups if c not in clinical.columns]
    problems = [f"`audit.groups`: there is no clinical column `{c}`. Suggestion: remove it" for c in absent]
    for name in set(groups) - set(absent):
        said = problem(clinical[name], cuts.get(name, ()))
        problems += [f"`audit.groups`: column `{name}` {said}"] if said else []
    if problems:
        raise CohortError(sorted(problems))
    found = {c: labels(clinical[c], cuts.get(c, ())) for c in groups}
    if intersections:
        for a, b in combinations(groups, 2):
            known = (found[a] != "") & (found[b] != "")
            both = np.char.add(np.char.add(found[a], AND), found[b])
            found[f"{a}{BESIDE}{b}"] = np.where(known, both, "")
    return found
