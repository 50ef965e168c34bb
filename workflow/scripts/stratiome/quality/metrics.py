"""Quality of each omic: one line a feature, one line a metric, nothing removed here."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from stratiome.cohort.store import OmicValues
from stratiome.numbers import rounded
from stratiome.omics import OmicKind
from stratiome.omics.kind import quantiles
from stratiome.omics.screen import UnitScreen
from stratiome.omics.tails import FEW_LEVELS, HEAVY_SD, tail_of
from stratiome.quality.followers import CLOSE, followers
from stratiome.quality.outliers import LIMIT, N_COMPONENTS, OutlierScan
from stratiome.tables import QualityFeatures, QualitySummary, from_rows

logger = logging.getLogger(__name__)

MOSTLY_MISSING = 0.5
AT_ONCE = 4_000_000
"""Values worked on at a time, within the piece that was read."""
CHANCE = 0.5
"""Means and SDs of standardised features lie closer to 0 and 1 than this share of their sampling error."""
FEWEST_SCALED = 10
FEWEST_TO_COMPARE = 10
"""Features below which equal patients are no sign of a duplicate."""
MISSING_TOGETHER = 0.05
REFERENCE_Z = 0.3


def feature_quality(omic: OmicValues, kind: OmicKind) -> pl.DataFrame:
    """Contract `QualityFeatures`; the features are read a piece at a time."""
    rows: list[dict[str, Any]] = []
    seen: dict[bytes, str] = {}
    gaps: dict[bytes, list[int]] = {}
    for start, values in _narrow(omic):
        rows += _feature_rows(omic, kind, start, values, seen, gaps)
    blocks = sorted((members for members in gaps.values() if len(members) > 1), key=lambda m: (-len(m), m))
    for number, members in enumerate(blocks, 1):
        for j in members:
            rows[j]["block"] = number
    return from_rows(rows, QualityFeatures)


def _narrow(omic: OmicValues) -> Iterator[tuple[int, np.ndarray]]:
    """Some features at a time: position of the first, and values `(n_features, n_patients)`."""
    step = max(1, AT_ONCE // max(len(omic.patient_ids), 1))
    for part, values in omic.columns():
        for start in range(0, values.shape[1], step):
            yield part.start + start, np.ascontiguousarray(values[:, start : start + step].T)


def _feature_rows(
    omic: OmicValues,
    kind: OmicKind,
    start: int,
    values: np.ndarray,
    seen: dict[bytes, str],
    gaps: dict[bytes, list[int]],
) -> list[dict[str, Any]]:
    features = omic.features[start : start + len(values)]
    ordered = np.sort(values, axis=1)  # missing values last; sums over sorted values do not depend on the order of rows
    n = np.isfinite(values).sum(axis=1)
    mean, sd = _moments(ordered, n)
    least, most = ordered[:, 0], ordered[np.arange(len(n)), np.maximum(n - 1, 0)]
    tail = _tails(ordered, n, kind)
    rows = []
    for i, feature in enumerate(features):
        varies = bool(n[i] > 0 and least[i] < most[i])
        copy_of = _first(values[i], feature, seen) if varies else None
        if n[i] > 0 and values.shape[1] - n[i] >= MISSING_TOGETHER * values.shape[1]:
            gaps.setdefault(_key(np.packbits(np.isnan(values[i]))), []).append(start + i)
        rows.append(
            {
                "omic": omic.name,
                "feature": feature,
                "n": int(n[i]),
                "missing": 1.0 - n[i] / max(values.shape[1], 1),
                "mean": float(mean[i]) if n[i] > 1 else None,
                "sd": float(sd[i]) if n[i] > 1 else None,
                "minimum": float(least[i]) if n[i] else None,
                "maximum": float(most[i]) if n[i] else None,
                "tail": float(tail[i]) if tail[i] > 0 else None,
                "block": None,
                "flag": _flag(
                    int(n[i]), values.shape[1], varies, float(most[i]), copy_of, bool(tail[i] > HEAVY_SD), kind
                ),
            }
        )
    return rows


def _tails(ordered: np.ndarray, n: np.ndarray, kind: OmicKind) -> np.ndarray:
    """Tails on the scale that is learned from; that of reads needs all features of a patient at once."""
    if not kind.continuous or kind.reads:
        return np.zeros(len(n))
    return tail_of(kind.scale(ordered), n)  # a monotonic change of scale keeps the order


def _moments(ordered: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    whole = ordered.astype(np.float64)
    count = np.maximum(n, 1)
    mean = np.nansum(whole, axis=1) / count
    squares = np.nansum((whole - mean[:, None]) ** 2, axis=1)
    return mean, np.sqrt(squares / np.maximum(n - 1, 1))


def _flag(n: int, n_patients: int, varies: bool, most: float, copy_of: str | None, heavy: bool, kind: OmicKind) -> str:
    if n == 0:
        return "no values"
    if 1 - n / n_patients > MOSTLY_MISSING:
        return "mostly missing"
    if not varies:
        return kind.all_zero if most == 0 else "constant"
    if copy_of is not None:
        return f"same values as {copy_of}"
    return "heavy tail" if heavy else ""


def _first(column: np.ndarray, feature: str, seen: dict[bytes, str]) -> str | None:
    """Earlier feature with the very same values."""
    first = seen.setdefault(_key(column), feature)
    return first if first != feature else None


def _key(values: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).digest()


def omic_quality(omic: OmicValues, table: pl.DataFrame, kind: OmicKind, n_cohort: int) -> list[dict[str, Any]]:
    """Rows of contract `QualitySummary` on one omic; the patients are read a piece at a time.

    Parameters
    ----------
    omic
        The values.
    table
        Contract `QualityFeatures` of the same omic.
    kind
        Kind of the omic.
    n_cohort
        Patients of the cohort.
    """

    def row(metric: str, value: float | None, note: str = "") -> dict[str, Any]:
        return {"omic": omic.name, "metric": metric, "value": value, "note": note}

    patients = _Patients(omic, table, kind)
    missing = float(table["missing"].mean()) if table.height else 0.0  # type: ignore[arg-type]
    rows = [
        row("patients", float(len(omic.patient_ids)), f"of {n_cohort} in the cohort"),
        row("features", float(len(omic.features)), f"unit: {kind.unit}"),
        row("missing values", missing, "share of cells, among patients who have the omic"),
    ]
    flags = table.filter(pl.col("flag") != "")["flag"].str.replace(r"^same values as .*", "same values as another")
    for flag, count in flags.value_counts().sort("flag").iter_rows():
        rows.append(row(f"features: {flag}", float(count)))
    rows += [row(*r) for r in _missing_together(table)]
    rows += [row(*r) for r in kind.metrics(patients.measures, kind.unit)]
    rows += [row(*r) for r in _scale_metrics(table, kind)]
    close = followers(omic) if kind.continuous and not kind.reads else None
    if close:
        note = (
            f"rank correlation of {CLOSE} or more with another, as probes of one gene or neighbours on a chromosome "
            "have: they count twice"
        )
        rows.append(row("features that follow another", float(close), note))
    rows += [row(*r) for r in patients.metrics()]
    for r in rows:
        if r["metric"] in WARNED and r["value"]:
            logger.warning("%s: %s: %g (%s)", omic.name, r["metric"], r["value"], r["note"])
    return rows


WARNED = (
    "features scaled already",
    "largest value, in robust SD",
    "features missing together",
    "patients on another scale",
    "patients with the same values as another",
)
"""Metrics that are said in the log as well."""


def _missing_together(table: pl.DataFrame) -> list[tuple[str, float, str]]:
    """Groups of features that lack a value in the very same patients, as antibodies of one panel or batch do."""
    blocks = table.filter(pl.col("block").is_not_null())
    if not blocks.height:
        return []
    sizes = (
        blocks.group_by("block")
        .agg(
            size=pl.len(),
            share=pl.col("missing").first(),
            gaps=(pl.col("n") * pl.col("missing") / (1 - pl.col("missing"))).first().round(),
        )
        .sort("block")
    )
    largest = sizes.row(0, named=True)
    note = (
        f"{sizes.height} group{'s' if sizes.height > 1 else ''} of features with the very same gaps, the largest of "
        f"{largest['size']}: not measured in a batch, it seems, rather than below detection"
    )
    lacking = f"{largest['share']:.0%} of those who have the omic"
    return [
        ("features missing together", float(blocks.height), note),
        ("patients lacking the largest such group", float(largest["gaps"]), lacking),
    ]


def _scale_metrics(table: pl.DataFrame, kind: OmicKind) -> list[tuple[str, float, str]]:
    found: list[tuple[str, float, str]] = []
    if not kind.continuous:
        return found
    if kind.unit.endswith("linear scale"):
        note = "of the values as given; log2(x + 1) is taken within each patient before anything is learned"
        found.append(("values on a linear scale", float(table["maximum"].max()), f"largest {note}"))  # type: ignore[arg-type]
    if not kind.reads and standardised(table):
        note = (
            "mean 0 and SD 1 over all patients: scaling was learned on all patients before this analysis, so it leaks"
        )
        varying = float((table["sd"].fill_null(0) > 0).sum())
        found.append(("features scaled already", varying, note))
    heavy = int((table["flag"] == "heavy tail").sum())
    if heavy:
        largest = rounded(float(table["maximum"].max()))  # type: ignore[arg-type]
        like = ", as z-scores against a reference group have" if heavy > REFERENCE_Z * table.height else ""
        note = (
            f"from the median of its feature; largest value as given {largest}; {heavy} features have heavy tails"
            f"{like}: `features.tails: auto` replaces them by normal scores of their ranks"
        )
        found.append(("largest value, in robust SD", float(table["tail"].max()), note))  # type: ignore[arg-type]
    return found


def standardised(table: pl.DataFrame) -> bool:
    """Whether features were standardised over these very patients.

    Means of features that are only roughly centred differ from 0 by their sampling error, SD / root n, and SDs from 1
    by 1 / root 2n. Over at least ten features, typical differences below half of that are no chance.

    Parameters
    ----------
    table
        Contract `QualityFeatures`.
    """
    varying = table.filter((pl.col("sd") > 0) & (pl.col("n") > 2))
    if varying.height < FEWEST_SCALED:
        return False
    n, mean, sd = (varying[c].to_numpy().astype(np.float64) for c in ("n", "mean", "sd"))
    off_centre = np.sqrt(np.median(n * (mean / sd) ** 2))
    off_scale = np.sqrt(np.median(2 * n * (sd - 1) ** 2))
    return bool(off_centre < CHANCE * 0.67 and off_scale < CHANCE * 0.67)  # 0.67: median of a half normal


class _Patients:
    """What is known of each patient of one omic after one reading of the rows."""

    def __init__(self, omic: OmicValues, table: pl.DataFrame, kind: OmicKind) -> None:
        n = len(omic.patient_ids)
        self.kind = kind
        self.measures: dict[str, np.ndarray] = {}
        self.present = np.zeros(n)
        self.copies = self.levels = 0
        self.screen = UnitScreen(kind, n)
        usable = (table["missing"] <= MOSTLY_MISSING).to_numpy() & (table["sd"].fill_null(0) > 0).to_numpy()
        self.outliers = OutlierScan(usable, n) if kind.continuous else None
        seen: set[bytes] = set()
        levels: set[float] = set()
        for part, values in omic.rows():
            self._take(part, values, omic)
            for patient in values:
                key = _key(patient)
                self.copies += key in seen
                seen.add(key)
                if len(levels) <= FEW_LEVELS:
                    levels.update(np.unique(patient[np.isfinite(patient)]).tolist())
        self.levels, self.comparable = len(levels), len(omic.features) >= FEWEST_TO_COMPARE

    def _take(self, part: slice, values: np.ndarray, omic: OmicValues) -> None:
        found = self.kind.measure(values, omic.features) | {"middle": quantiles(values, (0.5,))[0]}
        for name, measure in found.items():
            self.measures.setdefault(name, np.full(len(omic.patient_ids), np.nan))[part] = measure
        self.present[part] = np.isfinite(values).mean(axis=1)
        self.screen.add(part, values)
        if self.outliers is not None:
            chosen = self.outliers.features  # reads are divided by the total over all features, so scale comes first
            scaled = self.kind.scale(values)[:, chosen] if self.kind.reads else self.kind.scale(values[:, chosen])
            self.outliers.add(part, scaled)

    def metrics(self) -> list[tuple[str, float, str]]:
        found: list[tuple[str, float, str]] = []
        sparse = float((self.present < 1 - MOSTLY_MISSING).sum())
        if sparse:
            found.append(("patients with mostly missing values", sparse, f"more than {MOSTLY_MISSING:.0%} of features"))
        if self.levels > FEW_LEVELS and self.comparable:
            note = "possible duplicate samples" if self.copies else ""
            found.append(("patients with the same values as another", float(self.copies), note))
        if self.outliers is not None and self.levels > FEW_LEVELS:
            distance = self.outliers.distances()
            note = f"robust distance in {N_COMPONENTS} principal components, {LIMIT:g} robust SD above the median"
            found.append(("outlying patients", float(self.outliers.beyond(distance).sum()), note))
        two = self.screen.two_scales()
        if two is not None:
            found.append(("patients on another scale", float(two.members.sum()), f"another unit? {two.text}"))
        return found


def summary_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Contract `QualitySummary`."""
    return from_rows(rows, QualitySummary)
