"""Is what is missing missing at random? Omics, blocks of features and clinical columns against who the patients are."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from stratiome.cohort.store import OmicValues
from stratiome.quality.batch import MIN_N, contingency, cramers_v
from stratiome.quality.variables import Variable

logger = logging.getLogger(__name__)

MIN_BLOCK = 2
"""Features that are missing in the same patients from which they are a block."""

MAX_BLOCKS = 20
"""Blocks tested of one omic, those with the most missing cells."""

MAX_PATTERNS = 5000
"""Patterns of missing values remembered of one omic; where single cells are missing at random there are no blocks."""

MIN_LEVEL = 10
"""Patients of a level from which it is a finding that all of them lack something."""

JOIN = " + "
"""Between the names of omics or columns that the very same patients lack."""

SMALL_EXPECTED = 5.0
"""Expected count below which a table of two by two is tested exactly."""


@dataclass(frozen=True)
class Subject:
    """Something that some patients lack.

    Attributes
    ----------
    kind, name, block
        As `subject`, `name` and `block` of contract `QualityMissingness`.
    lacks
        Shape `(n_patients,)`, True where it is missing.
    asked
        Shape `(n_patients,)`, True where it could be there: a block of an omic only in those who have the omic.
    """

    kind: str
    name: str
    block: str
    lacks: np.ndarray
    asked: np.ndarray


def missingness_rows(
    subjects: Sequence[Subject], variables: Sequence[Variable], min_level: int = MIN_LEVEL
) -> list[dict[str, Any]]:
    """Rows of contract `QualityMissingness`.

    Parameters
    ----------
    subjects
        What some patients lack; one that all or none lack is left out, and those that the very same patients lack are
        joined by " + ".
    variables
        What is known of the patients, in the same order of patients.
    min_level
        Patients of a level from which it is a finding.
    """
    rows, levels = [], []
    for subject in lacked_together(subjects):
        names = subject.name.split(JOIN)
        if len(names) > 1:
            n, missing = int(subject.asked.sum()), int(subject.lacks.sum())
            together = Variable("", "", np.array([], dtype=object))
            levels.append(_row(subject, together, n, missing) | {"finding": "missing together"})
        for variable in variables:
            own_record = subject.kind == "omic" and variable.name.split(": ")[0] in names
            if variable.name in names or own_record:
                continue  # missing with it
            row = _test(subject, variable)
            if row is not None:
                rows.append(row)
            if not variable.numeric:
                levels += _whole_levels(subject, variable, min_level)
    _holm(rows)
    return rows + levels


def lacked_together(subjects: Sequence[Subject]) -> list[Subject]:
    """Subjects that some patients lack; those of one kind that the very same patients lack are made one.

    They are one question and not many, whether they depend on who the patients are.
    """
    kept: dict[tuple[str, bytes], Subject] = {}
    for i, subject in enumerate(subjects):
        if not 0 < (subject.lacks & subject.asked).sum() < subject.asked.sum():
            continue
        alike = subject.kind in ("omic", "clinical column")
        key = (subject.kind, subject.lacks.tobytes() if alike else str(i).encode())
        first = kept.get(key)
        kept[key] = subject if first is None else replace(first, name=f"{first.name}{JOIN}{subject.name}")
    return list(kept.values())


def omic_subject(omic: OmicValues, patients: Sequence[str]) -> Subject:
    """Who lacks the omic."""
    has = set(omic.patient_ids)
    return Subject("omic", omic.name, "", np.array([p not in has for p in patients]), np.ones(len(patients), bool))


def column_subject(variable: Variable) -> Subject:
    """Who lacks the value of a clinical column, or the outcome."""
    kind = "outcome" if variable.role == "outcome" else "clinical column"
    return Subject(kind, variable.name, "", ~variable.known, np.ones(len(variable.values), bool))


def block_subjects(omic: OmicValues, patients: Sequence[str]) -> list[Subject]:
    """Groups of features that the same patients of an omic lack; features are read a piece at a time."""
    patterns: dict[bytes, tuple[np.ndarray, list[str]]] = {}
    for part, values in omic.columns():
        missing = ~np.isfinite(values)
        count = missing.sum(axis=0)
        for j in np.flatnonzero((count > 0) & (count < len(values))):
            packed = np.packbits(missing[:, j])
            key = hashlib.blake2b(packed.tobytes(), digest_size=16).digest()
            if key in patterns:
                patterns[key][1].append(omic.features[part][j])
            elif len(patterns) < MAX_PATTERNS:
                patterns[key] = (packed, [omic.features[part][j]])
    n = len(omic.patient_ids)
    blocks = [(np.unpackbits(bits, count=n).astype(bool), names) for bits, names in patterns.values()]
    blocks = [b for b in blocks if len(b[1]) >= MIN_BLOCK]
    blocks.sort(key=lambda b: (-int(b[0].sum()) * len(b[1]), b[1][0]))
    if len(blocks) > MAX_BLOCKS:
        logger.warning(
            "%s: %d blocks of missing features, the largest %d are tested", omic.name, len(blocks), MAX_BLOCKS
        )
    row = {p: i for i, p in enumerate(patients)}
    place = np.array([row[p] for p in omic.patient_ids])
    subjects = []
    for missing, names in blocks[:MAX_BLOCKS]:
        lacks, asked = np.zeros((2, len(patients)), dtype=bool)
        asked[place], lacks[place] = True, missing
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        subjects.append(Subject("feature block", omic.name, ", ".join(names[:3]) + more, lacks, asked))
    return subjects


def _test(subject: Subject, variable: Variable) -> dict[str, Any] | None:
    rows = subject.asked & variable.known
    lacks, values = subject.lacks[rows], variable.values[rows]
    n, missing = len(lacks), int(lacks.sum())
    if n < MIN_N or missing in (0, n) or len(set(values.tolist())) < 2:
        return None
    if variable.numeric:
        test = stats.mannwhitneyu(values[lacks], values[~lacks])
        effect, p_value = float(test.statistic) / (missing * (n - missing)), float(test.pvalue)
        name, measure = "Mann-Whitney", "AUC"
    else:
        table = contingency(lacks.astype(str), values)
        effect, p_value = cramers_v(table)
        name, measure = "chi-squared", "Cramer's V"
        if table.shape == (2, 2) and stats.contingency.expected_freq(table).min() < SMALL_EXPECTED:
            name, p_value = "Fisher", float(stats.fisher_exact(table).pvalue)
    return _row(subject, variable, n, missing) | {
        "test": name,
        "measure": measure,
        "effect": effect,
        "p_value": p_value,
    }


def _whole_levels(subject: Subject, variable: Variable, min_level: int) -> list[dict[str, Any]]:
    """Levels of which every patient lacks the subject.

    None where few have it at all: that most levels lack it is then no finding, and would tell where these few are not.
    """
    if int((subject.asked & ~subject.lacks).sum()) < min_level:
        return []
    rows = subject.asked & variable.known
    levels, i = np.unique(variable.values[rows].astype(str), return_inverse=True)
    n, missing = np.bincount(i), np.bincount(i, subject.lacks[rows])
    found = []
    for level in np.flatnonzero((n >= min_level) & (missing == n)):
        if len(levels) < 2:
            continue
        logger.warning(
            "all %d patients of `%s` = %s lack %s `%s`%s",
            n[level],
            variable.name,
            levels[level],
            subject.kind,
            subject.name,
            f" ({subject.block})" if subject.block else "",
        )
        found.append(
            _row(subject, variable, int(n[level]), int(n[level]))
            | {"finding": "all missing", "level": str(levels[level])}
        )
    return found


def _row(subject: Subject, variable: Variable, n: int, missing: int) -> dict[str, Any]:
    return {
        "subject": subject.kind,
        "name": subject.name,
        "block": subject.block,
        "finding": "test",
        "role": variable.role,
        "variable": variable.name,
        "level": "",
        "test": "",
        "measure": "",
        "effect": None,
        "p_value": None,
        "p_holm": None,
        "n": n,
        "missing": missing,
    }


def _holm(rows: list[dict[str, Any]]) -> None:
    """Add p-values adjusted over all rows (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    if rows:
        for row, p_value in zip(rows, multipletests([r["p_value"] for r in rows], method="holm")[1], strict=True):
            row["p_holm"] = float(p_value)
