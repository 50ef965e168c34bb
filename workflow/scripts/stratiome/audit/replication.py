"""What the cohort of a bundle found, looked for again in another: treatment effects, and which subgroup lives longer.

An effect is estimated anew among the patients of the other cohort, as its config asks, with the same weights and up to
the same times; subgroups are those that the bundle assigns, which has not seen these patients. Claims and what is found
here come from different patients, so that their difference has the sum of both variances. It is tested only where
months count from the same time in both.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from stratiome.audit.questions import remark, same_start, unknown_starts
from stratiome.config import TreatmentConfig
from stratiome.subgroups.sites import restricted_difference
from stratiome.survival.design import ClinicalDesign, ColumnType
from stratiome.treatment.effect import Comparison, Question, compare_headline, curve_name, normal_claim
from stratiome.treatment.emulate import Sample, TreatmentError, emulate
from stratiome.treatment.timing import not_compared

Row = dict[str, Any]
REPLICATED, SIZE, FAILED = "replicated", "replicated in direction, not in size", "not replicated"
OPEN, NOTHING, UNKNOWN = "undecided", "nothing was claimed", "not estimable"
OTHER = "another question"
SAME, TURNED = "same order", "turned round"


@dataclass(frozen=True)
class Here:
    """The other cohort.

    Attributes
    ----------
    clinical, outcome
        As `stratiome.treatment.emulate.emulate`.
    labels
        Patient -> subgroup of the bundle, 0 = unassigned.
    treatments
        Settings by name.
    types
        Declared types of clinical columns.
    grid
        Shape `(n_times,)`, months.
    bootstraps, level, seed
        Of the intervals.
    """

    clinical: pl.DataFrame
    outcome: pl.DataFrame
    labels: Mapping[str, int]
    treatments: Mapping[str, TreatmentConfig]
    types: dict[str, ColumnType]
    grid: np.ndarray
    bootstraps: int
    level: float
    seed: int


def effect_rows(claims: pl.DataFrame, here: Here) -> list[Row]:
    """Rows of `ExternalEffects`: every claimed effect beside what is found here, with a test that both are the same.

    p-values of all claims are corrected together (Holm 1979); `verdict` says what follows. An effect from another time
    on, as from a landmark in place of time zero, is of other patients and another span: it is shown, and not tested.

    Parameters
    ----------
    claims
        Contract `BundleClaims`.
    here
        The other cohort.
    """
    rows: list[Row] = []
    for name in claims["treatment"].drop_nulls().unique(maintain_order=True).to_list():
        own = claims.filter(pl.col("treatment") == name)
        sample, design, why = _sample(name, own, here)
        question = _question(own, here.grid)
        for group in own["subgroup"].unique(maintain_order=True).to_list():
            part = own.filter(pl.col("subgroup") == group).to_dicts()
            rows += _compared(name, group, part, sample, design, why, question, here)
    for row, p in zip(rows, _holm([r["p_value"] for r in rows]), strict=True):
        row["p_holm"] = p
        row["verdict"] = verdict(row, 1 - here.level) if row.pop("comparable") else OTHER
    return rows


def verdict(row: Mapping[str, Any], alpha: float) -> str:
    """What is to be said of a claim, by both intervals and the corrected test that both are the same.

    Replicated: the claim's interval excludes zero, so does that found here, on the same side, and they do not differ.
    Not replicated: they differ, or are on opposite sides. Undecided: what is found here holds zero, and the claim too
    is possible. Where the claim's interval holds zero nothing was claimed, unless what is found here differs.

    Parameters
    ----------
    row
        Claim (`claimed`, `claimed_lower`, `claimed_upper`), what is found (`estimate`, `lower`, `upper`), `p_holm`.
    alpha
        Level of the test.
    """
    if row["lower"] is None or row["p_holm"] is None:
        return UNKNOWN
    claimed, found = _side(row["claimed_lower"], row["claimed_upper"]), _side(row["lower"], row["upper"])
    differs = row["p_holm"] < alpha
    if claimed == 0:
        return FAILED if differs else NOTHING
    if found == claimed:
        return SIZE if differs else REPLICATED
    return FAILED if differs or found == -claimed else OPEN


def _side(lower: float, upper: float) -> int:
    return int(lower > 0) - int(upper < 0)


def _question(claims: pl.DataFrame, grid: np.ndarray) -> Question:
    """Times at which the bundle's cohort was asked."""
    horizons = claims.filter(pl.col("estimand") == "survival_difference")["horizon_months"].unique().sort().to_list()
    means = claims.filter(pl.col("estimand") == "rmst_difference")["horizon_months"]
    return Question(tuple(horizons), float(means[0] if len(means) else max(horizons)), grid)


def _sample(name: str, claims: pl.DataFrame, here: Here) -> tuple[Sample | None, np.ndarray, str]:
    """Patients who are compared here and their confounders, or why nobody is."""
    nothing = np.zeros((0, 0))
    treatment = here.treatments.get(name)
    if treatment is None:
        return None, nothing, "the config of this cohort names no such treatment"
    if why := not_compared(treatment):
        return None, nothing, why
    try:
        sample, _ = emulate(here.clinical, here.outcome, name, treatment)
    except TreatmentError as error:
        return None, nothing, str(error).split(" Suggestion")[0].rstrip(".")
    rows = np.ones(len(sample), dtype=bool)
    design = ClinicalDesign.fit(sample.clinical, treatment.confounders, here.types, rows)
    return sample, design.transform(sample.clinical), ""


def _compared(
    name: str,
    group: int,
    claims: list[Row],
    sample: Sample | None,
    design: np.ndarray,
    why: str,
    question: Question,
    here: Here,
) -> list[Row]:
    compared: Comparison | None = None
    counted = sample
    if sample is not None:
        inside = np.array([group in (0, here.labels.get(p, 0)) for p in sample.patient_ids])
        counted = sample.take(inside)
        rng = np.random.default_rng([here.seed, zlib.crc32(name.encode()), group])
        compared, why = compare_headline(
            counted, design[inside], sample.randomised, question, here.bootstraps, here.level, rng
        )
        if compared is not None:
            counted = counted.take(compared.weights > 0)
    return [_row(name, claim, counted, compared, why, question, here) for claim in claims]


def _row(
    name: str,
    claim: Row,
    sample: Sample | None,
    compared: Comparison | None,
    why: str,
    question: Question,
    here: Here,
) -> Row:
    treatment, level = here.treatments.get(name), here.level
    row: Row = {
        "treatment": name,
        **{k: claim[k] for k in ("subgroup", "estimand", "horizon_months")},
        "claimed": claim["estimate"],
        "claimed_lower": claim["lower"],
        "claimed_upper": claim["upper"],
        "n": 0 if sample is None else len(sample),
        "events": 0 if sample is None else int(sample.event.sum()),
        "n_treated": 0 if sample is None else int(sample.treated.sum()),
        "held_out": claim["subgroup"] > 0,
        **dict.fromkeys(("estimate", "lower", "upper", "difference", "difference_lower", "difference_upper")),
        "p_value": None,
        "unknown_starts": "" if treatment is None else unknown_starts(claim, treatment),
        "remark": "" if treatment is None else remark(claim, treatment),
        "comparable": True,
    }
    if compared is None or sample is None:
        return row | {"method": f"not estimable: {why}"}
    j = question.contrasts.index((claim["estimand"], claim["horizon_months"]))
    if compared.reasons[j]:
        return row | {"method": f"not estimable: {compared.reasons[j]}"}
    found = normal_claim(compared.estimate[j], compared.error[j], level)
    row |= {k: found[k] for k in ("estimate", "lower", "upper")}
    how = "unweighted, as randomised" if sample.randomised else "overlap weights of a propensity fitted here"
    row["method"] = f"{curve_name(sample)} by arm, {how}; normal interval from bootstrap samples of patients"
    if treatment is not None and treatment.landmark_months is not None:
        row["method"] += f"; from the landmark at {treatment.landmark_months:.3g} months on"
    row["comparable"] = treatment is not None and same_start(claim, treatment)
    error = claim["standard_error"]
    if row["comparable"] and error is not None and row["lower"] is not None:
        gap = normal_claim(compared.estimate[j] - claim["estimate"], float(np.hypot(compared.error[j], error)), level)
        row |= {"difference": gap["estimate"], "difference_lower": gap["lower"], "difference_upper": gap["upper"]}
        row["p_value"] = gap["p_value"]
    return row


def _holm(p_values: list[float | None]) -> list[float | None]:
    """Corrected p-values, None where there is none."""
    from statsmodels.stats.multitest import multipletests

    known = [p for p in p_values if p is not None]
    corrected = iter(multipletests(known, method="holm")[1].tolist() if known else [])
    return [None if p is None else next(corrected) for p in p_values]


def order_rows(claims: pl.DataFrame, patients: pl.DataFrame, level: float) -> list[Row]:
    """Rows of `ExternalOrder`: which of two subgroups lives longer, for pairs of which the bundle's cohort was sure.

    A pair is claimed where the interval of the difference of its restricted means excludes zero. The last row is the
    concordance of these pairs, same less turned round over both, by estimates alone (as Kendall's tau).

    Parameters
    ----------
    claims
        Contract `BundleClaims`.
    patients
        Columns subgroup, time_months, event: patients of the other cohort with a subgroup and an outcome.
    level
        Level of the intervals.
    """
    known = claims.filter(pl.col("estimand") == "rmst", pl.col("standard_error") > 0).sort("subgroup").to_dicts()
    rows = []
    for first, second in combinations(known, 2):
        gap = second["estimate"] - first["estimate"]
        claim = normal_claim(gap, float(np.hypot(first["standard_error"], second["standard_error"])), level)
        if _side(claim["lower"] or 0.0, claim["upper"] or 0.0) == 0:
            continue
        group, other = (patients.filter(pl.col("subgroup") == c["subgroup"]) for c in (second, first))
        found = restricted_difference(group, other, first["horizon_months"], level)
        found.pop("standard_error")
        rows.append(
            found
            | {
                "quantity": "pair",
                "subgroup": second["subgroup"],
                "versus": first["subgroup"],
                "tau_months": first["horizon_months"],
                "claimed": claim["estimate"],
                "claimed_lower": claim["lower"],
                "claimed_upper": claim["upper"],
                "verdict": _order(gap, found),
                "pairs": 1,
            }
        )
    return [*rows, _concordance(rows, patients)]


def _order(claimed: float, found: Row) -> str:
    if found["estimate"] is None:
        return UNKNOWN
    side = _side(found["lower"], found["upper"])
    return OPEN if side == 0 else SAME if side * claimed > 0 else TURNED


def _concordance(pairs: list[Row], patients: pl.DataFrame) -> Row:
    judged = [p for p in pairs if p["estimate"] is not None and p["estimate"] != 0]
    agree = [float(np.sign(p["estimate"] * p["claimed"])) for p in judged]
    names = ("lower", "upper", "subgroup", "versus", "tau_months", "claimed", "claimed_lower", "claimed_upper")
    method = "pairs in the same order less pairs turned round, over both, of those that differed in the bundle's cohort"
    if not pairs:
        method = "not estimable: no two subgroups differed clearly in the bundle's cohort"
    elif not judged:
        method = "not estimable: no pair that differed in the bundle's cohort could be compared here"
    return dict.fromkeys(names) | {
        "estimate": float(np.mean(agree)) if agree else None,
        "n": patients.height,
        "events": int(patients["event"].sum()),
        "method": method,
        "held_out": True,
        "quantity": "concordance",
        "verdict": "",
        "pairs": len(judged),
    }
