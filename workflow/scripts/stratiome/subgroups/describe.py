"""What the subgroups are: agreement, survival, clinical profile, markers."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from stratiome.config import EndpointConfig, EvaluationConfig
from stratiome.features.block import FeatureSet
from stratiome.subgroups.agreement import METRICS, agreement_claim, contingency
from stratiome.subgroups.effects import difference, standardised_difference
from stratiome.subgroups.outcomes import kaplan_meier
from stratiome.subgroups.survival import chi_squared_columns, compared
from stratiome.survival.compare import log_rank
from stratiome.survival.curves import events_by
from stratiome.survival.outcome import time_grid
from stratiome.tables import (
    SubgroupAgreement,
    SubgroupCurves,
    SubgroupMarkers,
    SubgroupProfile,
    SubgroupSummary,
    SurvivalTests,
    from_rows,
)

MARKERS = 15
DEEP = "vae"
"""The latent model that baselines are compared with."""


def agreement_table(
    held_out: pl.DataFrame,
    labels: dict[str, dict[str, str]],
    outcome: pl.DataFrame,
    settings: EvaluationConfig,
    seed: int,
) -> pl.DataFrame:
    """Agreement of held-out subgroups with other labels (contract `SubgroupAgreement`).

    Intervals are percentiles over bootstrap samples of patients, drawn as multinomial contingency tables, which is the
    same thing. Unassigned patients and those without the other label are left out.

    Parameters
    ----------
    held_out
        Contract `SubgroupAssignment`.
    labels
        Name -> patient -> label; the labels of `full` are added, and for the baselines those of the deep model.
    outcome
        Columns patient_id, time_months, event.
    settings
        Bootstraps and level.
    seed
        Seed of the bootstrap.
    """
    events = dict(outcome.select("patient_id", "event").iter_rows())
    of_deep = held_out.filter(pl.col("model") == DEEP, pl.col("subgroup") > 0)
    deep = {p: str(s) for p, s in of_deep.select("patient_id", "subgroup").iter_rows()}
    rows = []
    for m, model in enumerate(_models(held_out)):
        part = held_out.filter((pl.col("model") == model) & (pl.col("subgroup") > 0))
        full = {p: str(s) for p, s in part.select("patient_id", "full_subgroup").iter_rows() if s > 0}
        other = {DEEP: deep} if deep and model != DEEP else {}
        for j, (name, known) in enumerate({**labels, "full": full, **other}.items()):
            pairs = [
                (s, known[p], events.get(p, 0))
                for p, s in part.select("patient_id", "subgroup").iter_rows()
                if p in known
            ]
            base = {
                "model": model,
                "label": name,
                "n": len(pairs),
                "events": int(sum(e for *_, e in pairs)),
                "held_out": True,
            }
            table = contingency(np.array([a for a, *_ in pairs]), np.array([b for _, b, _ in pairs]))
            rows += [
                base
                | {"metric": metric}
                | agreement_claim(table, metric, settings, np.random.default_rng([seed, m, j]))
                for metric in METRICS
            ]
    return from_rows(rows, SubgroupAgreement)


def summary_table(
    held_out: pl.DataFrame,
    outcome: pl.DataFrame,
    counts: dict[str, int],
    stability: pl.DataFrame,
    endpoint: EndpointConfig,
    level: float,
) -> pl.DataFrame:
    """Size, certainty and survival of each held-out subgroup at each horizon (contract `SubgroupSummary`).

    Parameters
    ----------
    held_out
        Contract `SubgroupAssignment`.
    outcome
        Columns patient_id, time_months, event; patients without one count in `share` only.
    counts
        Number of subgroups of `full` by model.
    stability
        Contract `SubgroupStability` of `full`.
    endpoint
        Horizons.
    level
        Level of intervals.
    """
    jaccard = {(m, s): j for m, s, j in stability.select("model", "subgroup", "jaccard").iter_rows()}
    horizons = np.array(endpoint.horizons_months)
    rows = []
    for model in _models(held_out):
        part = held_out.filter(pl.col("model") == model)
        for subgroup in _subgroups(part, counts[model]):
            members = part.filter(pl.col("subgroup") == subgroup)
            probability = members["probability"].mean()
            base = {
                "model": model,
                "subgroup": subgroup,
                "share": members.height / max(part.height, 1),
                "mean_probability": probability,
                "jaccard": jaccard.get((model, subgroup)),
                "held_out": True,
            }
            rows += [base | claim for claim in _survival_claims(members, outcome, horizons, level)]
    return from_rows(rows, SubgroupSummary)


def _survival_claims(
    members: pl.DataFrame, outcome: pl.DataFrame, horizons: np.ndarray, level: float
) -> list[dict[str, Any]]:
    time, event = _outcome_of(members, outcome)
    base = {"n": len(time), "events": int(event.sum())}
    if not len(time):
        nothing = {
            "estimate": None,
            "lower": None,
            "upper": None,
            "method": "not estimable: no held-out patient with an outcome",
        }
        return [base | nothing | {"horizon_months": float(h)} for h in horizons]
    curve = kaplan_meier(time, event, horizons, level)
    return [
        base
        | {
            "horizon_months": float(h),
            "estimate": _number(curve.survival[i]),
            "lower": _number(curve.lower[i]),
            "upper": _number(curve.upper[i]),
            "method": f"Kaplan-Meier, {level:.0%} log(-log) interval"
            if np.isfinite(curve.survival[i])
            else "not estimable: follow-up of this subgroup ends before the horizon",
        }
        for i, h in enumerate(horizons)
    ]


def curves_table(held_out: pl.DataFrame, outcome: pl.DataFrame, endpoint: EndpointConfig, level: float) -> pl.DataFrame:
    """Kaplan-Meier curve of each held-out subgroup up to its last follow-up (contract `SubgroupCurves`)."""
    grid = time_grid(endpoint)
    rows = []
    for model in _models(held_out):
        part = held_out.filter(pl.col("model") == model)
        for subgroup in _subgroups(part, 0):
            time, event = _outcome_of(part.filter(pl.col("subgroup") == subgroup), outcome)
            if not len(time):
                continue
            curve = kaplan_meier(time, event, grid, level)
            rows += [
                {
                    "model": model,
                    "subgroup": subgroup,
                    "time_months": t,
                    "survival": s,
                    "lower": lo,
                    "upper": up,
                    "at_risk": n,
                    "events": d,
                }
                for t, s, lo, up, n, d in zip(
                    grid.tolist(), *(c.tolist() for c in curve), events_by(time, event, grid).tolist(), strict=True
                )
                if np.isfinite(s)
            ]
    return from_rows(rows, SubgroupCurves)


def tests_table(
    held_out: pl.DataFrame,
    found: pl.DataFrame,
    labels: dict[str, dict[str, str]],
    outcome: pl.DataFrame,
    site: dict[str, str],
) -> pl.DataFrame:
    """Log-rank tests of held-out subgroups of each model and of known labels (contract `SurvivalTests`).

    Subgroups are compared within sites, or without sites within folds, see `subgroups.survival`; known labels plainly,
    as publications do, and within sites where there are any.

    Parameters
    ----------
    held_out
        Contract `SubgroupAssignment`; unassigned patients are left out.
    found
        Contract `Subgroups`, all resamples.
    labels
        Name -> patient -> known label.
    outcome
        Columns patient_id, time_months, event.
    site
        Patient -> site, if any.
    """
    rows = []
    for model in _models(held_out):
        people = compared(held_out.filter(pl.col("model") == model), found, outcome, site)
        test = log_rank(people.time, people.event, people.group, people.stratum)
        counted = {"n": len(people.time), "events": int(people.event.sum())}
        method = f"log-rank, stratified by {people.by}"
        rows.append(
            {"grouping": f"{model} subgroups", "held_out": True, **counted, **chi_squared_columns(test, method)}
        )
    for name, known in labels.items():
        members = outcome.filter(pl.col("patient_id").is_in(list(known)))
        groups = np.array([known[p] for p in members["patient_id"]], dtype=str)
        event = members["event"].to_numpy().astype(bool)
        strata: dict[str, np.ndarray | None] = {"log-rank": None}
        if site:
            sites = np.array([site.get(p, "") for p in members["patient_id"]], dtype=str)
            strata["log-rank, stratified by site"] = sites
        counted = {"n": members.height, "events": int(event.sum())}
        for method, stratum in strata.items():
            test = log_rank(members["time_months"].to_numpy(), event, groups, stratum)
            rows.append({"grouping": name, "held_out": False, **counted, **chi_squared_columns(test, method)})
    return from_rows(rows, SurvivalTests)


def profile_table(held_out: pl.DataFrame, clinical: pl.DataFrame, numeric: dict[str, bool]) -> pl.DataFrame:
    """Clinical profile of each held-out subgroup (contract `SubgroupProfile`).

    Parameters
    ----------
    held_out
        Contract `SubgroupAssignment`.
    clinical
        One row per patient.
    numeric
        Column -> whether it is described by mean and standard deviation (else by shares of its levels).
    """
    rows = []
    for model in _models(held_out):
        part = held_out.filter(pl.col("model") == model).join(
            clinical, on="patient_id", how="left", maintain_order="left"
        )
        for subgroup in _subgroups(part, 0):
            members = part.filter(pl.col("subgroup") == subgroup)
            others = part.filter((pl.col("subgroup") != subgroup) & (pl.col("subgroup") > 0))
            for column, as_number in numeric.items():
                levels = [] if as_number else sorted(clinical[column].drop_nulls().cast(pl.String).unique().to_list())
                base = {"model": model, "subgroup": subgroup}
                rows += [base | row for row in _describe(members[column], others[column], column, levels, as_number)]
    return from_rows(rows, SubgroupProfile)


def _describe(
    values: pl.Series, others: pl.Series, column: str, levels: list[str], as_number: bool
) -> list[dict[str, Any]]:
    known, rest = values.drop_nulls(), others.drop_nulls()
    n = len(known)
    if as_number:
        known, rest = known.cast(pl.Float64), rest.cast(pl.Float64)
        found = {"variable": column, "kind": "mean", "value": known.mean(), "sd": known.std(), "n": n, "count": None}
        return [found | {"effect": difference(known.to_numpy(), rest.to_numpy())}]
    text, other = known.cast(pl.String), rest.cast(pl.String)
    rows = []
    for level in levels:
        inside, outside = (text == level).to_numpy(), (other == level).to_numpy()
        count = int(inside.sum())
        found = {"variable": f"{column}: {level}", "kind": "share", "value": count / n if n else None, "sd": None}
        rows.append(found | {"n": n, "count": count, "effect": difference(inside * 1.0, outside * 1.0)})
    return rows


def markers_table(features: FeatureSet, full: pl.DataFrame) -> pl.DataFrame:
    """Features that differ most between subgroups of `full` (contract `SubgroupMarkers`), descriptive only.

    The effect is the mean of the subgroup less that of all other subgroups over the root of the mean of both variances;
    positive = higher in the subgroup. The same features defined the subgroups, so no test is made.

    Parameters
    ----------
    features
        Features of `full`.
    full
        Contract `Subgroups`, of `full`; training patients that are assigned are compared.
    """
    row = {patient: i for i, patient in enumerate(features.patient_ids)}
    rows = []
    for model in _models(full):
        part = full.filter((pl.col("model") == model) & (pl.col("role") == "train") & (pl.col("subgroup") > 0))
        label = np.zeros(len(features.patient_ids), dtype=np.int64)
        label[[row[p] for p in part["patient_id"]]] = part["subgroup"].to_numpy()
        for subgroup in sorted(set(label[label > 0].tolist())):
            for block in features.blocks:
                inside = block.values[label == subgroup].astype(np.float64)
                outside = block.values[(label > 0) & (label != subgroup)].astype(np.float64)
                effect = standardised_difference(inside, outside)
                top = np.argsort(-np.abs(np.nan_to_num(effect)), kind="stable")[:MARKERS]
                rows += [
                    {
                        "model": model,
                        "subgroup": subgroup,
                        "omic": block.name,
                        "feature": block.features[j],
                        "effect": float(effect[j]),
                    }
                    for j in top
                    if np.isfinite(effect[j])
                ]
    return from_rows(rows, SubgroupMarkers)


def _models(table: pl.DataFrame) -> list[str]:
    return table["model"].unique(maintain_order=True).to_list()


def _subgroups(part: pl.DataFrame, k: int) -> list[int]:
    return sorted(set(part["subgroup"].to_list()) | set(range(1, k + 1)))


def _outcome_of(members: pl.DataFrame, outcome: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    joined = members.select("patient_id").join(outcome, on="patient_id", how="inner", maintain_order="left")
    return joined["time_months"].to_numpy(), joined["event"].to_numpy().astype(bool)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
