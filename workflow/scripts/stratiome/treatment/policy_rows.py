"""Rules that say whom to treat, as rows of tables: learned in one resample, and judged over all of them."""

from __future__ import annotations

import logging
import zlib
from typing import Any

import numpy as np
import polars as pl

from stratiome.config import TreatmentConfig
from stratiome.survival.design import ClinicalDesign, ColumnType
from stratiome.treatment.averages import FOLDS, Settings
from stratiome.treatment.differences import HeldOut
from stratiome.treatment.doubly_robust import cross_fit
from stratiome.treatment.effect import Question, normal_claim, too_few
from stratiome.treatment.emulate import TreatmentError, assigned, emulate, modifier_columns, with_role
from stratiome.treatment.heterogeneity import FEWEST
from stratiome.treatment.policy import Leaf, Node, Value, beats_both, decide, gains, learn_threshold, learn_tree, value
from stratiome.treatment.standardise import arm_months
from stratiome.treatment.weight import TRIM

logger = logging.getLogger(__name__)

Row = dict[str, Any]
RULES = ("tree", "threshold")
AGAINST = ("none", "all", "practice")

_Column = tuple[str, str, str, float, float]  # kind, variable, level, centre and scale of the values


def fit_policies(
    clinical: pl.DataFrame,
    outcome: pl.DataFrame,
    roles: dict[str, str],
    labels: dict[str, int],
    treatments: dict[str, TreatmentConfig],
    types: dict[str, ColumnType],
    question: Question,
    covariates: tuple[str, ...],
    seed: int,
) -> tuple[list[Row], list[Row]]:
    """Learn rules on training patients and apply them to held-out ones, whose outcomes are not looked at.

    Parameters
    ----------
    clinical, outcome
        As `stratiome.treatment.emulate.emulate`.
    roles
        Patient -> train, test or out.
    labels
        Patient -> subgroup in this resample, 0 = unassigned.
    treatments
        Settings by name.
    types
        Declared types of clinical columns.
    question
        Horizons, tau and grid in months.
    covariates
        Clinical columns that a tree may ask about, beside the confounders and the subgroups.
    seed
        Of the folds of the cross-fitting.

    Returns
    -------
    tuple of list
        Rows of `TreatmentPolicies` and `TreatmentPolicyTrees`, without `resample`. A treatment that cannot be compared
        in these training patients has none; the log says why.
    """
    decisions: list[Row] = []
    trees: list[Row] = []
    for name, treatment in treatments.items():
        try:
            sample, _ = emulate(with_role(clinical, roles, "train"), outcome, name, treatment)
            if few := too_few(sample):
                raise TreatmentError(few)
            everybody = np.ones(len(sample), dtype=bool)
            adjust = ClinicalDesign.fit(sample.clinical, treatment.confounders, types, everybody)
            x = adjust.transform(sample.clinical)
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            scores = cross_fit(x, sample, np.asarray(question.horizons), question.tau, folds=FOLDS, rng=rng)
        except TreatmentError as error:
            logger.warning("%s: no rule whom to treat: %s", name, error)
            continue
        inside = (scores.propensity >= TRIM) & (scores.propensity <= 1.0 - TRIM)
        if inside.sum() < 4 * FEWEST:
            logger.warning("%s: no rule whom to treat: too few could have had either", name)
            continue
        asked = modifier_columns(treatment, treatments.values(), covariates, clinical.columns)
        groups = sorted({g for p in sample.patient_ids if (g := labels.get(p, 0)) > 0})
        groups = groups if len(groups) > 1 else []
        design = ClinicalDesign.fit(sample.clinical, asked, types, everybody)
        contribution = scores.contrasts[:, 0]
        rules: dict[str, Node] = {
            "tree": learn_tree(_matrix(sample.clinical, design, labels, groups)[inside], contribution[inside]),
            "threshold": learn_threshold(scores.predicted[inside, 0], contribution[inside]),
        }
        columns = {"tree": _columns(design, groups), "threshold": [("predicted effect", "", "", 0.0, 1.0)]}
        trees += [{"treatment": name, "rule": r, **row} for r in rules for row in _nodes(rules[r], columns[r])]
        held_out, _, _ = assigned(with_role(clinical, roles, "test"), name, treatment)
        months = arm_months(x, sample, adjust.transform(held_out), question.tau)
        looked = {"tree": _matrix(held_out, design, labels, groups), "threshold": (months[1] - months[0])[:, None]}
        decisions += [
            {"patient_id": p, "treatment": name, "rule": r, "treat": int(d)}
            for r in rules
            for p, d in zip(held_out["patient_id"], decide(rules[r], looked[r]), strict=True)
        ]
    return decisions, trees


def _matrix(clinical: pl.DataFrame, design: ClinicalDesign, labels: dict[str, int], groups: list[int]) -> np.ndarray:
    mine = np.array([labels.get(p, 0) for p in clinical["patient_id"]], dtype=np.int64)
    return np.column_stack([design.transform(clinical), *((mine == g).astype(np.float64) for g in groups)])


def _columns(design: ClinicalDesign, groups: list[int]) -> list[_Column]:
    found: list[_Column] = []
    for term in design.terms:
        if term.type == "numeric":
            found.append(("number", term.column, "", term.centre, term.scale))
        found += [("class", term.column, level, 0.0, 1.0) for level in term.levels]
        found += [("missing", term.column, "", 0.0, 1.0)] * term.missing
    return found + [("subgroup", "subgroup", str(g), 0.0, 1.0) for g in groups]


def _nodes(root: Node, columns: list[_Column]) -> list[Row]:
    """Nodes from the top, first those where the answer is no."""
    rows: list[Row] = []

    def add(node: Node, parent: int | None, branch: str) -> None:
        row: Row = {"node": len(rows), "parent": parent, "branch": branch, "n": node.n}
        row |= {"kind": "end", "variable": "", "level": "", "threshold": None, "treat": None}
        rows.append(row)
        if isinstance(node, Leaf):
            row["treat"] = int(node.treat)
            return
        kind, variable, level, centre, scale = columns[node.column]
        row |= {"kind": kind, "variable": variable, "level": level}
        if kind in ("number", "predicted effect"):
            row["threshold"] = centre + scale * node.threshold
        add(node.below, row["node"], "no")
        add(node.above, row["node"], "yes")

    add(root, None, "")
    return rows


def policy_rows(held_out: HeldOut, decisions: pl.DataFrame, settings: Settings) -> list[Row]:
    """Rows of `TreatmentPolicy`: what each rule gains over other ways to decide; none where too few were held out.

    A rule is recommended if it gains over treating nobody and over treating everybody (`policy.beats_both`), with
    Holm's correction over the rules (Holm 1979).

    Parameters
    ----------
    held_out
        Held-out patients.
    decisions
        Rows of `TreatmentPolicies` of the same splits, so that each patient is judged once by each rule.
    settings
        What all comparisons share.
    """
    from statsmodels.stats.multitest import multipletests

    if len(held_out.contribution) < 4 * FEWEST:
        return []
    own = decisions.filter(pl.col("treatment") == held_out.name)
    found: dict[str, list[Row]] = {}
    p_values: dict[str, float] = {}
    for rule in RULES:
        rows, p = _of_rule(held_out, own.filter(pl.col("rule") == rule), rule, settings)
        if rows:
            found[rule], p_values[rule] = rows, p
    if not found:
        return []
    corrected = multipletests(list(p_values.values()), method="holm")[1]
    for (rule, rows), p in zip(found.items(), corrected, strict=True):
        for row in rows:
            row |= {"p_rule": p_values[rule], "p_holm": float(p)}
            row["recommended"] = bool(p < round(1.0 - settings.evaluation.level, 10))
    return [r for rows in found.values() for r in rows]


def _of_rule(held_out: HeldOut, own: pl.DataFrame, rule: str, settings: Settings) -> tuple[list[Row], float]:
    joined = pl.DataFrame({"patient_id": held_out.sample.patient_ids}).join(
        own.select("patient_id", "treat"), on="patient_id", how="left", maintain_order="left"
    )
    known = joined["treat"].is_not_null().to_numpy()
    if known.sum() < 4 * FEWEST:
        return [], 1.0
    part, treat = held_out.take(known), joined["treat"].drop_nulls().to_numpy() == 1
    sample, truth = part.sample, settings.truth
    made = gains(treat, part.contribution, part.predicted, part.propensity, sample.treated)
    values = {against: value(*made[against]) for against in AGAINST}
    planted = None if truth is None else truth.months(sample.patient_ids, settings.endpoint.tau_months)
    rows = []
    for against in AGAINST:
        row: Row = {
            "treatment": part.name,
            "rule": rule,
            "against": against,
            "n": len(sample),
            "events": int(sample.event.sum()),
            "n_treat": int(treat.sum()),
            "share_treated": float(treat.mean()),
            "held_out": True,
            "truth": None,
        }
        if planted is not None:
            other = {"none": np.zeros(len(treat)), "all": np.ones(len(treat)), "practice": sample.treated}[against]
            row["truth"] = float(((treat.astype(float) - other) * planted).mean())
        rows.append(row | _claim(values[against], against, settings))
    return rows, beats_both(values["none"], values["all"])


_METHOD = (
    f"mean of doubly robust contributions of held-out patients with a propensity of {TRIM:g} to {1 - TRIM:g}, each"
    " decided on by a rule learned without the patient, so that the way to learn a rule is judged; normal interval"
)


def _claim(found: Value, against: str, settings: Settings) -> Row:
    if found.differ == 0:
        same = {"none": "treats nobody", "all": "treats everybody", "practice": "decides as was done"}[against]
        nothing: Row = dict.fromkeys(("lower", "upper", "p_value"))
        return nothing | {"estimate": 0.0, "method": f"no difference: the rule {same}; {_METHOD}"}
    if found.differ < FEWEST:
        nothing = dict.fromkeys(("estimate", "lower", "upper", "p_value"))
        why = f"fewer than {FEWEST} patients are treated differently"
        return nothing | {"method": f"not estimable: {why}; {_METHOD}"}
    return normal_claim(found.estimate, found.error, settings.evaluation.level) | {"method": _METHOD}
