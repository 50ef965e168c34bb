"""The answers of a report as a table: what was asked, what was found, and the number that decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from stratiome import tables
from stratiome.report import section_audit_external, section_prognosis, section_subgroups, section_treatment
from stratiome.report.claims import claim
from stratiome.report.disclosure import exact
from stratiome.report.inputs import SITES, ReportInputs
from stratiome.report.verdicts import Verdict
from stratiome.report.words import label

Row = Mapping[str, Any]
Made = dict[str, Any]
CLAIM = ("estimate", "lower", "upper", "n", "events", "method", "held_out")
MEAN = "rmst_difference"


def answers(inputs: ReportInputs) -> pl.DataFrame:
    """Table `Answers`, in the words of the page to share; its numbers are those of the tables."""
    inputs = replace(inputs, public=True)
    rows = [*_patients(inputs), *_subgroups(inputs), *_omics(inputs)]
    for key in inputs.settings.treatments:
        rows += _treatment(inputs, key)
    rows += [*_sites(inputs), *_cohorts(inputs)]
    return tables.from_rows(rows, tables.Answers)


def _patients(inputs: ReportInputs) -> list[Made]:
    counts = {r["status"]: r["n"] for r in inputs.rows("outcome_counts")}
    empty = Verdict("", "", "unknown")
    known = {"n": sum(counts.values()), "events": counts.get("event", 0), "method": "patients with a usable outcome"}
    return [_row(inputs, "patients", empty, known)] if counts else []


def _subgroups(inputs: ReportInputs) -> list[Made]:
    """How well subgroups come back when the model is refitted, and the test against there being none."""
    k = inputs.found()
    rows = inputs.rows("subgroup_selection", resample="full", model="vae")
    p = next((r["p_value"] for r in rows if r["p_value"] is not None), None)
    found = section_subgroups.verdict(inputs)
    again: Row | None = inputs.row("subgroup_agreement", model="vae", label="full", metric="adjusted_rand_index")
    if again is None or (k or 1) < 2:
        again = _nothing("not estimable: one group only" if k == 1 else "not estimable")
    measure = "adjusted Rand index, held-out subgroups and those of all patients"
    return [_row(inputs, "subgroups", found, again, measure=measure, null=0.0, p_value=p)]


def _omics(inputs: ReportInputs) -> list[Made]:
    """The difference that omics make to the concordance of the clinical model, by each model with omics."""
    found, words = section_prognosis.verdict(inputs), inputs.settings.words
    rows = []
    for model in section_prognosis.challengers(inputs):
        if model not in section_prognosis.OF_OMICS:
            continue
        delta = claim(inputs, model, "uno_c", "clinical") or _nothing("not fitted")
        rows.append(
            _row(
                inputs,
                "omics",
                found,
                delta,
                about=model,
                name=label(model),
                measure=f"difference in {words.concordance} to the clinical model",
                null=0.0,
                horizon_months=inputs.settings.endpoint.tau_months if words.timed else None,
            )
        )
    return rows or [_row(inputs, "omics", found, _nothing("not estimable: no model with omics"))]


def _treatment(inputs: ReportInputs, key: str) -> list[Made]:
    """The average effect, and the test that it is the same in all held-out subgroups."""
    treatment, words = inputs.settings.treatments[key], inputs.settings.words
    found = section_treatment.verdict(inputs, key)
    weighting = section_treatment.headline(treatment)
    asked = {"treatment": key, "estimand": MEAN, "weighting": weighting, "subgroup": 0}
    overall = inputs.row("treatment_effects", **asked) or _nothing("not estimable")
    said = {"about": key, "name": section_treatment.name_of(key, treatment)}
    rows = [
        _row(
            inputs,
            "treatment",
            found,
            overall,
            **said,
            measure=f"difference in {words.mean('restricted ')}, {treatment.compared} minus {treatment.control}",
            unit=words.say("months", "probability"),
            null=0.0,
            horizon_months=overall.get("horizon_months") if words.timed else None,
            p_value=overall.get("p_value"),
        )
    ]
    test = inputs.row("treatment_interaction", treatment=key, estimand=MEAN)
    if test is not None and test["p_value"] is not None:
        of = {"n": overall["n"], "events": overall["events"], "method": test["method"], "held_out": True}
        rows.append(_row(inputs, "differs", found, of, **said, p_value=test["p_value"]))
    return rows


def _sites(inputs: ReportInputs) -> list[Made]:
    found, words = section_prognosis.transport(inputs), inputs.settings.words
    row = claim(inputs, "clinical", "uno_c", design=SITES) or _nothing("not estimable: no site was held out")
    said = {"about": "clinical", "name": label("clinical"), "measure": words.concordance, "null": 0.5}
    at = inputs.settings.endpoint.tau_months if words.timed else None
    return [_row(inputs, "sites", found, row, **said, horizon_months=at)]


def _cohorts(inputs: ReportInputs) -> list[Made]:
    """Concordance of the published model in each other cohort."""
    rows, words = [], inputs.settings.words
    found = section_audit_external.verdicts(inputs)
    for page, verdict in zip(section_audit_external.pages(inputs), found, strict=True):
        row = page.metric(page.first, "uno_c") or _nothing("not estimable")
        said = {"about": page.title, "name": page.title, "measure": words.concordance, "null": 0.5}
        rows.append(_row(inputs, "elsewhere", verdict, row, **said))
    return rows


def _nothing(why: str) -> Made:
    """In the place of a claim that was not made."""
    return {"n": 0, "events": 0, "method": why, "held_out": False}


def _row(inputs: ReportInputs, question: str, found: Verdict, row: Row, **said: Any) -> Made:
    """One row; what the report does not answer has no estimate here either."""
    usual = {"about": "", "name": "", "measure": "", "unit": "", "null": None, "horizon_months": None, "p_value": None}
    claimed = {name: exact(row.get(name)) for name in CLAIM}
    if found.tone == "unknown":
        claimed |= dict.fromkeys(("estimate", "lower", "upper"))
        said |= {"p_value": None}
    text = found.answer
    for name, other in inputs.settings.words.renamed.items():
        text = text.replace(name, other)
    known = {"question": question, "tone": found.tone, "answer": text, "held_out": bool(row.get("held_out"))}
    return claimed | usual | said | known
