"""How names, numbers, intervals and p-values are written in the report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from stratiome.report.traced import shown

Row = Mapping[str, Any]

MODELS: dict[str, str] = {
    "kaplan_meier": "No predictors",
    "clinical": "Clinical",
    "clinical_omics": "Clinical + omics",
    "clinical_latent": "Clinical + latent",
    "clinical_factors": "Clinical + MOFA+",
    "clinical_forest": "Clinical forest",
    "forest": "Clinical + latent forest",
    "deep": "Deep hazard",
    "stacked": "Stacked",
    "vae": "Latent model (VAE)",
    "pca": "PCA baseline",
    "mofa": "MOFA+ baseline",
    "snf": "Network fusion (SNF) baseline",
}

OMICS: dict[str, str] = {
    "rna": "RNA",
    "mrna": "mRNA",
    "mirna": "miRNA",
    "dna": "DNA",
    "cna": "CNA",
    "cnv": "CNV",
    "copy_number": "copy number",
}
"""Names that are not written as their key is."""

ACRONYMS = frozenset(
    [
        "BMI",
        "DFS",
        "DMFS",
        "DSS",
        "ER",
        "HER2",
        "HPV",
        "ID",
        "IHC",
        "NPI",
        "OS",
        "PAM50",
        "PFS",
        "PR",
        "RFS",
        "RPPA",
        "TCGA",
        "WHO",
    ]
)
"""Words of column names that are written in capitals."""

UNITS = frozenset(["cm", "days", "kg", "mm", "months", "weeks", "years"])
"""Last words of column names that are units."""

LONG = 5
"""Letters from which a column name in capitals is a word and not an acronym or a gene."""

FOLLOW_UP = "follow-up time (log)"
"""Name of the length of follow-up among the variables that quality checks compare with."""

METRICS: dict[str, tuple[str, int]] = {
    "uno_c": ("Uno's C", 3),
    "uno_c_cox": ("Uno's C, Cox weights", 3),
    "harrell_c": ("Harrell's C", 3),
    "ibs": ("Integrated Brier score", 3),
    "ibs_cox": ("Integrated Brier score, Cox weights", 3),
    "ipa": ("IPA", 3),
    "brier": ("Brier score", 3),
    "auc": ("AUC(t)", 3),
    "calibration_slope": ("Calibration slope", 2),
    "observed_expected": ("Observed / expected", 2),
    "intercept": ("Calibration intercept", 2),
    "ici": ("ICI", 3),
    "e50": ("E50", 3),
    "e90": ("E90", 3),
    "d_calibration": ("D-calibration", 1),
}
"""Label and decimals of each metric of prognosis."""


def label(name: str) -> str:
    """Readable name of a model, column or component."""
    words = name.replace("_", " ").split(" ")
    if name.isupper() and (len(words) > 1 or (name.isalpha() and len(name) >= LONG)):
        words = [w.lower() for w in words]
    if len(words) > 1 and words[-1] in UNITS:
        words[-1] = f"({words[-1]})"
    return MODELS.get(name) or OMICS.get(name) or " ".join(w.upper() if w.upper() in ACRONYMS else w for w in words)


def within(name: str) -> str:
    """Readable name within a sentence: its first letter is small; `ER status`, `MOFA+` and their like stay."""
    return inside(label(name))


def inside(text: str) -> str:
    """Text as it stands within a sentence: its first letter is small, where its first word has no other capitals."""
    return text if _capitals(text) else text[:1].lower() + text[1:]


def term(name: str) -> str:
    """Readable name of a column of a model: that of the clinical column or omic; a class or feature stays as it is."""
    column, colon, rest = name.partition(": ")
    return f"{label(column)}{colon}{level(rest)}"


def level(text: str) -> str:
    """A class as it was written: whole numbers without decimals, signs in quotation marks, everything else as it is."""
    if text and not any(c.isalnum() for c in text):
        return f"“{text.replace('-', '−')}”"
    return re.sub(r"^(-?\d+)\.0$", r"\1", text)


def readable(text: str) -> str:
    """A method or note of another stage for readers: models by their labels, months without needless decimals."""
    text = re.sub(
        r"\b(?:kaplan_meier|clinical_omics|clinical_latent|clinical_factors|clinical_forest)\b",
        lambda m: within(m[0]),
        text,
    )
    return re.sub(r"\b(\d+\.\d+)(?= months\b)", lambda m: months(float(m[1])), text)


def reason(row: Row) -> str:
    """Why a claim is not estimable: the first part of its method."""
    return readable(str(row["method"]).removeprefix("not estimable: ").split("; ")[0])


def plural(n: int, noun: str) -> str:
    """`1 member`, `2 members`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def sentence(text: str) -> str:
    """Text with its first letter in upper case; `mRNA`, `miRNA` and their like stay."""
    return text if _capitals(text) else text[:1].upper() + text[1:]


def _capitals(text: str) -> bool:
    """Whether the first word has capitals beyond its first letter, so that it is written as it is."""
    word = re.match(r"\w*", text)
    return word is not None and any(c.isupper() for c in word[0][1:])


def slug(text: str) -> str:
    """Text as it may stand in an anchor, as `given-splits`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def number(value: float | None, decimals: int = 2, sign: bool = False) -> str:
    """A number with a true minus sign; `not estimable` for null."""
    if value is None:
        return "not estimable"
    text = f"{float(value):{'+' if sign else ''},.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")
    return shown(text.replace("-", "−"), value)


def interval(row: Row, decimals: int = 2, scale: float = 1.0, sign: bool = False, unit: str = "") -> str:
    """`estimate (lower to upper)` of a claim; that it is constant or not estimable, where it has no interval so."""
    if row.get("estimate") is None:
        return "not estimable"
    text = number(row["estimate"] * scale, decimals, sign) + unit
    if row["estimate"] == row.get("lower") == row.get("upper"):
        return f"{text} (constant)"
    if row.get("lower") is None or row.get("upper") is None:
        return f"{text} (no interval)"
    return f"{text} ({number(row['lower'] * scale, decimals)} to {number(row['upper'] * scale, decimals)})"


def p_value(p: float | None) -> str:
    """`p = 0.03`, `p < 0.001`, or that there is none."""
    if p is None:
        return "no p-value"
    if p < 0.001:
        return f"p {shown('< 0.001', p)}"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def p_cell(p: float | None) -> str:
    """The same for a column that is headed p."""
    return "–" if p is None else p_value(p).removeprefix("p ").removeprefix("= ")


def months(value: float) -> str:
    """Time in months without needless decimals."""
    return f"{value:.0f}" if abs(value - round(value)) < 0.05 else f"{value:.1f}"


def until(limit: float | date) -> str:
    """A year or a date."""
    return f"{limit:g}" if isinstance(limit, int | float) else limit.isoformat()


def file_name(path: object) -> str:
    """Name of a file without its folders, which can name people and projects."""
    return PurePosixPath(PureWindowsPath(str(path)).as_posix()).name if path else "–"


def tail(path: str) -> str:
    """Name of a file of the run with the folder it is in."""
    return "/".join(PurePosixPath(PureWindowsPath(path).as_posix()).parts[-2:])


def join(names: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def count_word(n: int) -> str:
    """Small whole numbers as words."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[n] if 0 <= n < len(words) else str(n)
