"""Effects of every treatment as rows of tables: all eligible patients, held-out subgroups, and whether they differ."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from stratiome.config import EvaluationConfig, TreatmentConfig
from stratiome.survival.curves import at_risk, events_by
from stratiome.survival.design import ClinicalDesign
from stratiome.treatment.averages import Settings, average_rows, strategy_rows
from stratiome.treatment.benefit import benefit_rows
from stratiome.treatment.differences import HeldOut, difference_rows
from stratiome.treatment.effect import Comparison, compare_crude, compare_weighted, curve_name, normal_claim, too_few
from stratiome.treatment.emulate import (
    Sample,
    TreatmentError,
    emulate,
    flow_step,
    from_time_zero,
    target_trial,
)
from stratiome.treatment.hazard import HazardRatio, hazard_ratio, proportionality_p_value
from stratiome.treatment.interaction import holm, interaction_rows
from stratiome.treatment.policy_rows import policy_rows
from stratiome.treatment.profiles import profile_rows
from stratiome.treatment.robustness import robustness_rows
from stratiome.treatment.sensitivity import e_value
from stratiome.treatment.sites import site_rows
from stratiome.treatment.suspicion import remarks
from stratiome.treatment.timing import not_compared
from stratiome.treatment.weight import (
    PropensityModel,
    effective_sample_size,
    fit_propensity,
    standardised_differences,
)

logger = logging.getLogger(__name__)

Row = dict[str, Any]
WEIGHTINGS = ("none", "overlap")
OVERLAP_BINS = 20


@dataclass
class Evaluation:
    """Rows of the tables of one or more treatments, named as the outputs of the rule."""

    trial: list[Row] = field(default_factory=list)
    flow: list[Row] = field(default_factory=list)
    balance: list[Row] = field(default_factory=list)
    overlap: list[Row] = field(default_factory=list)
    curves: list[Row] = field(default_factory=list)
    effects: list[Row] = field(default_factory=list)
    averages: list[Row] = field(default_factory=list)
    differences: list[Row] = field(default_factory=list)
    difference_tests: list[Row] = field(default_factory=list)
    policy: list[Row] = field(default_factory=list)
    profiles: list[Row] = field(default_factory=list)
    profile_effects: list[Row] = field(default_factory=list)
    learners: list[Row] = field(default_factory=list)
    targeting: list[Row] = field(default_factory=list)
    sensitivity: list[Row] = field(default_factory=list)
    robustness: list[Row] = field(default_factory=list)
    interaction: list[Row] = field(default_factory=list)
    sites: list[Row] = field(default_factory=list)
    site_summary: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Group:
    """Patients compared: everybody eligible (subgroup 0) or one held-out subgroup."""

    name: str
    subgroup: int
    sample: Sample
    design: np.ndarray
    columns: tuple[str, ...]

    @property
    def held_out(self) -> bool:
        """Whether a fitted part decided who belongs here, one that had not seen these patients."""
        return self.subgroup > 0


def evaluate_treatments(
    clinical: pl.DataFrame,
    outcome: pl.DataFrame,
    labels: dict[str, int],
    subgroups: tuple[int, ...],
    treatments: dict[str, TreatmentConfig],
    settings: Settings,
    locked: frozenset[str] = frozenset(),
    scores: pl.DataFrame | None = None,
    covariates: tuple[str, ...] = (),
    latent: pl.DataFrame | None = None,
    controls: pl.DataFrame | None = None,
    decisions: pl.DataFrame | None = None,
    predictions: pl.DataFrame | None = None,
    sites: Mapping[str, str] | None = None,
) -> Evaluation:
    """Evaluate every treatment.

    Parameters
    ----------
    clinical, outcome
        As `stratiome.treatment.emulate.emulate`.
    labels
        Patient -> held-out subgroup, 0 = unassigned.
    subgroups
        All subgroups there are, in order; with fewer than two nothing is compared between them.
    treatments
        Settings by name.
    settings
        Endpoint, bootstrap, types, seed and, for a simulated cohort, the truth.
    locked
        Patients of the locked test set, who are not looked at and counted in the flow.
    scores
        Rows of `TreatmentScores` of splits that hold each patient out at most once; None asks for no differences but
        those between subgroups.
    covariates
        Clinical columns by which differences are looked for.
    latent
        `patient_id` and the dimensions learned from omics, to be added to the propensity in a check; None for none.
    controls
        Rows of `NegativeControls`.
    decisions
        Rows of `TreatmentPolicies` of the same splits; None asks for no rules.
    predictions
        Rows of `TreatmentPredictions` of the splits of `scores`; None asks for no test of predicted effects.
    sites
        Patient -> resample that holds out the patient's site; empty or None asks for no effects by site.
    """
    found = Evaluation()
    free = clinical.filter(~pl.col("patient_id").is_in(locked)) if locked else clinical
    for name, treatment in treatments.items():
        if locked:
            found.flow.append(flow_step("locked", name, clinical.height, free.height, "in the locked test set"))
        sample, flow = emulate(free, outcome, name, treatment)
        found.flow += flow
        rows = np.ones(len(sample), dtype=bool)
        design = ClinicalDesign.fit(sample.clinical, treatment.confounders, settings.types, rows)
        whole = Group(name, 0, sample, design.transform(sample.clinical), tuple(design.names))
        # The simulator knows the effect of treatment at time zero against none.
        here = settings if treatment.column and not treatment.start else replace(settings, truth=None)
        _state_trial(whole, treatment, free, outcome, design.remarks, here, found)
        _compare(whole, treatment, here, found)
        if treatment.start is not None:
            rng = np.random.default_rng([settings.seed, zlib.crc32(name.encode()), 0, 1])
            whole_time = from_time_zero(free, outcome, name, treatment)
            found.averages += strategy_rows(name, whole_time, treatment, here, rng)
        if treatment.design == "observational":
            found.sensitivity += _unmeasured(name, found.effects)
        if not not_compared(treatment):
            found.robustness += _robustness(whole, treatment, here, latent, controls)
            at_sites, over_sites = site_rows(name, sample, whole.design, sites or {}, here)
            found.sites += at_sites
            found.site_summary += over_sites
        _compare_subgroups(whole, labels, subgroups, treatment, here, found)
        if scores is not None:
            held_out = HeldOut.of(name, sample, scores, treatment.design == "randomised", predictions)
            effects, tests = difference_rows(held_out, covariates, here)
            benefit = benefit_rows(held_out, here, _rng(whole, settings.seed))
            found.differences += effects + benefit.differences
            found.difference_tests += tests + benefit.difference_tests
            found.learners += benefit.learners
            found.targeting += benefit.targeting
            if decisions is not None:
                found.policy += policy_rows(held_out, decisions, here)
        if not not_compared(treatment):
            curves, effects = profile_rows(name, treatment, sample, clinical, here, _rng(whole, settings.seed))
            found.profiles += curves
            found.profile_effects += effects
    found.effects = _over_arms(found.effects, treatments)
    return found


def _robustness(
    whole: Group,
    treatment: TreatmentConfig,
    settings: Settings,
    latent: pl.DataFrame | None,
    controls: pl.DataFrame | None,
) -> list[Row]:
    control = None
    if treatment.negative_control is not None and controls is not None:
        own = controls.filter(pl.col("treatment") == whole.name).drop("treatment")
        landmark = treatment.landmark_months or 0.0
        own = own.filter(pl.col("time_months") > landmark).with_columns(pl.col("time_months") - landmark)
        control = (treatment.negative_control.label, own)
    return robustness_rows(
        whole.name,
        whole.sample,
        whole.design,
        treatment.design == "randomised",
        settings,
        _rng(whole, settings.seed),
        latent,
        control,
    )


def _state_trial(
    whole: Group,
    treatment: TreatmentConfig,
    clinical: pl.DataFrame,
    outcome: pl.DataFrame,
    unbalanced: str,
    settings: Settings,
    found: Evaluation,
) -> None:
    """Rows of the target trial, with remarks on what looks wrong."""
    every = from_time_zero(clinical, outcome, whole.name, treatment)
    later = None
    if treatment.landmark_months is not None:
        followed = every.sample.time > treatment.landmark_months
        later = int((np.isfinite(every.start) & (every.start > treatment.landmark_months) & followed).sum())
    said = [unbalanced] * bool(unbalanced)
    if treatment.design == "observational":
        said += remarks(whole.sample, treatment, settings.types, every.undated)
    text = ". ".join(f"{s[0].upper()}{s[1:]}" for s in said)
    found.trial += target_trial(whole.name, treatment, settings.endpoint, settings.evaluation, text, later)


def _over_arms(effects: list[Row], treatments: dict[str, TreatmentConfig]) -> list[Row]:
    """Fill `p_holm` of average effects over the arms that are compared with the same reference (Holm 1979)."""
    families: dict[tuple[object, ...], list[str]] = {}
    for name, treatment in treatments.items():
        if treatment.arms:
            key = (tuple(sorted(treatment.arms.items())), treatment.reference, treatment.eligible)
            families.setdefault(key, []).append(name)
    filled = list(effects)
    for names in families.values():
        mine = [i for i, r in enumerate(filled) if r["subgroup"] == 0 and r["treatment"] in names]
        if len(names) > 1:
            for i, row in zip(mine, holm([filled[i] for i in mine]), strict=True):
                filled[i] = row
    return filled


def _unmeasured(name: str, effects: list[Row]) -> list[Row]:
    """E-value of the weighted hazard ratio of all eligible patients; no row where there is none."""
    key = {"treatment": name, "subgroup": 0, "weighting": "overlap", "estimand": "hazard_ratio"}
    row = next((r for r in effects if all(r[k] == v for k, v in key.items())), None)
    if row is None or row["estimate"] is None:
        return []
    found = e_value(row["estimate"], row["lower"], row["upper"])
    return [
        {
            "treatment": name,
            "hazard_ratio": row["estimate"],
            "risk_ratio": found.ratio,
            "e_value": found.estimate,
            "e_value_limit": found.limit,
            "method": "E-value of the overlap-weighted hazard ratio, as a risk ratio of a common event (VanderWeele &"
            " Ding 2017)",
        }
    ]


def _compare_subgroups(
    whole: Group,
    labels: dict[str, int],
    subgroups: tuple[int, ...],
    treatment: TreatmentConfig,
    settings: Settings,
    found: Evaluation,
) -> None:
    headline = "none" if treatment.design == "randomised" else "overlap"
    if len(subgroups) < 2:
        found.interaction += interaction_rows(whole.name, [], [], settings.question.contrasts, headline)
        return
    mine = np.array([labels.get(p, 0) for p in whole.sample.patient_ids])
    reason = "not held out by any split that is pooled, or no subgroup probable enough"
    found.flow.append(flow_step("subgroups", whole.name, len(mine), int((mine > 0).sum()), reason))
    effects: list[Row] = []
    compared: list[Comparison | None] = []
    for label in subgroups:
        rows = mine == label
        part = Group(whole.name, label, whole.sample.take(rows), whole.design[rows], whole.columns)
        part_found = Evaluation()
        compared.append(_compare(part, treatment, settings, part_found).get(headline))
        effects += part_found.effects
        found.balance += part_found.balance
        found.curves += part_found.curves
    found.effects += holm(effects)
    found.interaction += interaction_rows(whole.name, list(subgroups), compared, settings.question.contrasts, headline)


def _compare(group: Group, treatment: TreatmentConfig, settings: Settings, found: Evaluation) -> dict[str, Comparison]:
    """Both weightings in one group; rows are added to `found`."""
    sample, question, level = group.sample, settings.question, settings.evaluation.level
    reason = not_compared(treatment) or too_few(sample)
    if reason:
        found.effects += [r for w in WEIGHTINGS for r in _not_estimable(group, w, reason, settings)]
        if group.subgroup == 0:
            rng = _rng(group, settings.seed)
            found.averages += average_rows(
                group.name, sample, group.design, None, reason, settings.question, settings, rng
            )
        return {}
    draws = settings.evaluation.bootstraps
    compared = {"none": compare_crude(sample, question, draws, level, _rng(group, settings.seed))}
    try:
        model: PropensityModel | None = fit_propensity(group.design, sample.treated)
        refused = ""
    except TreatmentError as error:
        model, refused = None, str(error).split(" Suggestion")[0].rstrip(".")
    if model is not None:
        _log_collinear(group, model)
        counted = sample.take(model.comparable)
        refused = too_few(counted)
        found.overlap += _overlap(group, model) if group.subgroup == 0 else []
        if group.subgroup == 0 or len(counted) < len(sample):
            step = "overlap" if group.subgroup == 0 else f"overlap, subgroup {group.subgroup}"
            why = "confounders determine the treatment: weight zero"
            found.flow.append(flow_step(step, group.name, len(sample), len(counted), why))
        if not refused:
            rng = _rng(group, settings.seed)
            compared["overlap"] = compare_weighted(sample, group.design, model, question, draws, level, rng)
            found.balance += _balance(group, compared["overlap"].weights)
    if refused:
        logger.warning("%s, subgroup %d: no weighted comparison: %s", group.name, group.subgroup, refused)
    if group.subgroup == 0:
        found.averages += average_rows(
            group.name, sample, group.design, model, refused, question, settings, _rng(group, settings.seed)
        )
    for weighting in WEIGHTINGS:
        if weighting in compared:
            found.effects += _effects(group, weighting, compared[weighting], treatment, settings)
            found.curves += _curves(group, weighting, compared[weighting], question.grid)
        else:
            found.effects += _not_estimable(group, weighting, refused, settings)
    return compared


def _log_collinear(group: Group, model: PropensityModel) -> None:
    redundant = [c for c, used in zip(group.columns, model.columns, strict=True) if not used]
    if redundant:
        text = "%s, subgroup %d: constant or collinear, hence not in the propensity and yet balanced: %s"
        logger.info(text, group.name, group.subgroup, ", ".join(redundant))


def _rng(group: Group, seed: int) -> np.random.Generator:
    # A stream of its own for each group, so that adding a treatment changes no number of another; the same draws for
    # both weightings.
    return np.random.default_rng([seed, zlib.crc32(group.name.encode()), group.subgroup])


def _effects(
    group: Group, weighting: str, comparison: Comparison, treatment: TreatmentConfig, settings: Settings
) -> list[Row]:
    method = _method(group, weighting, comparison, treatment, settings.evaluation)
    base = _base(group, weighting, comparison.weights)
    rows = []
    for (estimand, time), estimate, error, reason in zip(
        settings.question.contrasts, comparison.estimate, comparison.error, comparison.reasons, strict=True
    ):
        row = base | {"estimand": estimand, "horizon_months": time, "method": method} | _blank()
        row["truth"] = _truth(group, settings, estimand, time)
        if reason:
            row["method"] = f"not estimable: {reason}"
        else:
            row |= normal_claim(estimate, error, settings.evaluation.level)
        rows.append(row)
    weights = None if weighting == "none" else comparison.weights
    ratio = hazard_ratio(group.sample, weights, settings.evaluation.level)
    return [*rows, base | _hazard(group, weighting, ratio)]


def _hazard(group: Group, weighting: str, ratio: HazardRatio | None) -> Row:
    row: Row = {"estimand": "hazard_ratio", "horizon_months": None} | _blank()
    if ratio is None:
        return row | {"method": "not estimable: the Cox model did not converge"}
    row |= {"estimate": ratio.estimate, "lower": ratio.lower, "upper": ratio.upper, "p_value": ratio.p_value}
    how = "Wald interval" if weighting == "none" else "overlap weights, robust interval with weights taken as known"
    p = proportionality_p_value(group.sample)
    tested = (
        f"unweighted test of proportional hazards p = {p:.2g}" if np.isfinite(p) else "proportionality not testable"
    )
    which = "" if group.sample.other is None else "cause-specific "
    return row | {"method": f"{which}Cox model with treatment alone, {how}; not collapsible; {tested}; {_scope(group)}"}


def _method(
    group: Group, weighting: str, comparison: Comparison, treatment: TreatmentConfig, evaluation: EvaluationConfig
) -> str:
    curve = curve_name(group.sample)
    kind = {
        ("none", "observational"): f"{curve} by arm, unweighted: differences include confounding",
        ("none", "randomised"): f"{curve} by arm, as randomised",
    }.get((weighting, treatment.design), f"{curve} by arm, overlap weights (unpenalised logistic propensity)")
    if weighting == "overlap" and not group.columns:
        kind = f"{curve} by arm, no confounder to adjust for: equals the unweighted"
    done = len(comparison.draws)
    interval = (
        f"normal interval from {done} bootstrap samples of patients"
        if done
        else "too few bootstrap samples estimable for an interval"
    )
    again = " with the propensity estimated anew" if weighting == "overlap" and group.columns and done else ""
    return f"{kind}; {interval}{again}; {_scope(group)}"


def _scope(group: Group) -> str:
    return "effect in a held-out subgroup" if group.subgroup else "average effect in all eligible patients"


def _base(group: Group, weighting: str, weights: np.ndarray | None) -> Row:
    sample = group.sample
    counted = sample if weights is None else sample.take(weights > 0)
    effective = None
    if weights is not None:
        effective = sum(effective_sample_size(weights[a]) for a in (sample.treated, ~sample.treated))
    return {
        "treatment": group.name,
        "subgroup": group.subgroup,
        "weighting": weighting,
        "n": len(counted),
        "events": int(counted.event.sum()),
        "n_treated": int(counted.treated.sum()),
        "effective_n": effective,
        "held_out": group.held_out,
    }


def _blank() -> Row:
    return dict.fromkeys(("estimate", "lower", "upper", "p_value", "p_holm", "truth"))


def _not_estimable(group: Group, weighting: str, reason: str, settings: Settings) -> list[Row]:
    asked = [*settings.question.contrasts, ("hazard_ratio", None)]
    base = _base(group, weighting, None) | _blank() | {"method": f"not estimable: {reason}"}
    return [
        base | {"estimand": e, "horizon_months": t, "truth": None if t is None else _truth(group, settings, e, t)}
        for e, t in asked
    ]


def _truth(group: Group, settings: Settings, estimand: str, time: float) -> float | None:
    return None if settings.truth is None else settings.truth.effect(group.sample.patient_ids, estimand, time)


def _curves(group: Group, weighting: str, comparison: Comparison, grid: np.ndarray) -> list[Row]:
    rows = []
    for arm in (0, 1):
        here = (group.sample.treated == bool(arm)) & (comparison.weights > 0)
        values = (comparison.survival[arm], comparison.lower[arm], comparison.upper[arm])
        time, event = group.sample.time[here], group.sample.event[here]
        keys = {"treatment": group.name, "subgroup": group.subgroup, "weighting": weighting, "arm": arm}
        rows += [
            {
                **keys,
                "time_months": float(t),
                "survival": float(s),
                "lower": float(lo),
                "upper": float(up),
                "at_risk": int(n),
                "events": int(d),
            }
            for t, s, lo, up, n, d in zip(grid, *values, at_risk(time, grid), events_by(time, event, grid), strict=True)
        ]
    return rows


def _balance(group: Group, weights: np.ndarray) -> list[Row]:
    treated = group.sample.treated
    crude = standardised_differences(group.design, treated)
    weighted = standardised_differences(group.design, treated, weights)
    return [
        {"treatment": group.name, "subgroup": group.subgroup, "covariate": c, "crude": float(a), "weighted": float(b)}
        | _described(group, j, weights)
        for j, (c, a, b) in enumerate(zip(group.columns, crude, weighted, strict=True))
    ]


def _described(group: Group, j: int, weights: np.ndarray) -> Row:
    """What a confounder is on average in all patients, and in those whom the weights make of them."""
    name, clinical = group.columns[j], group.sample.clinical
    if name in clinical.columns and clinical[name].dtype.is_numeric():
        values, kind = clinical[name].cast(pl.Float64).fill_null(float("nan")).to_numpy(), "mean"
    else:
        values, kind = group.design[:, j], "share"
        if not np.isin(values, (0.0, 1.0)).all():
            return {"kind": None, "of_all": None, "of_overlap": None}
    known = np.isfinite(values)
    if not weights[known].sum() > 0:
        return {"kind": None, "of_all": None, "of_overlap": None}
    told = float(values[known].mean()), float(np.average(values[known], weights=weights[known]))
    return {"kind": kind, "of_all": told[0], "of_overlap": told[1]}


def _overlap(group: Group, model: PropensityModel) -> list[Row]:
    edges = np.linspace(0.0, 1.0, OVERLAP_BINS + 1).round(6)
    rows = []
    for arm in (0, 1):
        counts, _ = np.histogram(model.probability[group.sample.treated == bool(arm)], bins=edges)
        rows += [
            {"treatment": group.name, "arm": arm, "bin_lower": float(a), "bin_upper": float(b), "n": int(n)}
            for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
    return rows
