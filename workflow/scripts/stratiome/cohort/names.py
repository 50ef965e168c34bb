"""Names of features and patients as they arrive: repaired where that is safe, refused where it is not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from stratiome.cohort.errors import CohortError, some_ids, some_of

_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec"
_MANGLED = re.compile(
    rf"\d{{1,2}}[- ](?:{_MONTHS})|(?:{_MONTHS})[- ]\d{{1,2}}|\d{{4}}-\d\d-\d\d(?: 00:00:00)?"
    r"|\d{1,2}/\d{1,2}/\d{2,4}|\d\.\d+e\+\d\d",
    re.IGNORECASE,
)
_DAY_NUMBER = re.compile(r"[34]\d{4}")
_TCGA_SAMPLE = re.compile(r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})-(\d\d)[A-Z]?(?:-.*)?")


def check_features(path: Path, names: Sequence[str]) -> list[str]:
    """Refuse feature names that are missing, repeated or were turned into dates; returns notes.

    A spreadsheet turns MARCH1 and SEPT2 into dates and RIKEN identifiers into powers of ten (Ziemann et al., Genome
    Biol 2016, 17:177). What they were cannot be told with certainty (1-Mar is MARCH1 or MARC1), so that they are not
    repaired.

    Raises
    ------
    CohortError
        With the names.
    """
    blank = sum(not n.strip() for n in names)
    if blank:
        raise CohortError(f"{path}: {blank} features have no name. Suggestion: name or remove them")
    twice = sorted(n for n, count in Counter(names).items() if count > 1)
    if twice:
        raise CohortError(
            f"{path}: features listed more than once: {some_names(twice)}. "
            "Suggestion: keep one of each name, as the most variable one"
        )
    mangled = mangled_names(names)
    if mangled:
        raise CohortError(
            f"{path}: {len(mangled)} feature names were turned into dates or powers of ten by a spreadsheet: "
            f"{some_names(mangled)}. Suggestion: export the table again with the name column formatted as text"
        )
    folded = Counter(n.lower() for n in names)
    alike = sorted(n for n in names if folded[n.lower()] > 1)
    return [f"{len(alike)} feature names differ only by case: {some_names(alike)}; kept apart"] if alike else []


def mangled_names(names: Sequence[str]) -> list[str]:
    """Names that a spreadsheet has made of gene symbols, sorted."""
    found = [n for n in names if _MANGLED.fullmatch(n)]
    days = [n for n in names if _DAY_NUMBER.fullmatch(n)]
    # Names that are numbers throughout (Entrez identifiers) are names; a few day numbers among symbols are not.
    if days and sum(n.isdigit() for n in names) <= 0.1 * len(names):
        found += days
    return sorted(found)


def stripped(names: Iterable[str], what: str) -> tuple[list[str], list[str]]:
    """Names without surrounding blanks, and a note if there were any."""
    before = list(names)
    after = [n.strip() for n in before]
    n = sum(a != b for a, b in zip(before, after, strict=True))
    return after, [f"{some_of(n, what)} had blanks around them, which were removed"] if n else []


def n_known(ids: Iterable[str], known: frozenset[str]) -> int:
    """Number of identifiers that are patients of the cohort, as they are or as TCGA sample barcodes."""
    return sum(i in known or _patient_of(i) in known for i in ids)


def to_patients(
    path: Path, ids: list[str], known: frozenset[str] | None, show_ids: bool
) -> tuple[list[str], list[str]]:
    """Identifiers as the clinical table writes them: TCGA sample barcodes are cut to those of patients.

    Returns
    -------
    tuple
        Identifiers in the same order, and notes.

    Raises
    ------
    CohortError
        If a patient has several samples, or a sample is of normal tissue.
    """
    if known is None or not ids or any(i in known for i in ids):
        return ids, []
    if not all(_TCGA_SAMPLE.fullmatch(i) for i in ids) or n_known(ids, known) == 0:
        return ids, []
    patients = [_patient_of(i) for i in ids]
    counts = Counter(patients)
    several = sorted(i for i, p in zip(ids, patients, strict=True) if counts[p] > 1)
    if several:
        raise CohortError(
            f"{path}: {sum(c > 1 for c in counts.values())} patients have several samples "
            f"({some_ids(several, show_ids)}). Suggestion: keep one sample per patient, as the primary tumour (01)"
        )
    normal = sorted(i for i in ids if 10 <= int(i[13:15]) < 20)
    if normal:
        raise CohortError(
            f"{path}: {len(normal)} samples are of normal tissue ({some_ids(normal, show_ids)}). "
            "Suggestion: keep tumour samples only"
        )
    cut = some_of(len(ids), "TCGA sample barcodes")
    return patients, [f"{cut} were cut to those of patients (12 characters), one sample each"]


def _patient_of(sample: str) -> str:
    found = _TCGA_SAMPLE.fullmatch(sample)
    return found.group(1) if found else sample


def some_names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
