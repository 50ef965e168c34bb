"""Part of the section on the cohort: whom the numbers of patients on the page are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report.blocks import Cell, Heading, Table
from stratiome.report.disclosure import about, count, counts
from stratiome.report.flow import merge_small
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import label, sentence

Row = Mapping[str, Any]


def merged_steps(flow: Sequence[Row], min_cell: int) -> str:
    """That small steps are told together, where they are."""
    if len(merge_small(flow, min_cell)) == len(flow):
        return ""
    return f" Reasons of which one holds for fewer than {min_cell} patients are told together."


def sizes(inputs: ReportInputs) -> list[object]:
    """Why n differs between the parts of the page: who each part is of."""
    rows = [*_all(inputs), *_subgroups(inputs), *_outcome(inputs), *_treatments(inputs)]
    if len(rows) < 3:
        return []
    note = "Where a line needs a further column, as grade, n is smaller by those who have no value in it."
    table = Table(
        "Why n differs: whom each part of this page is of.", ["Part", "n", "Whom"], rows, frozenset({1}), note
    )
    return [Heading("Why n differs", "cohort-n"), table]


def _all(inputs: ReportInputs) -> list[list[Cell | str]]:
    full, least = inputs.row("resample_summary", design="full"), inputs.settings.min_cell
    if full is None:
        return []
    n = full["n_train"] + full["n_test"] + full["n_out"]
    rows: list[list[Cell | str]] = [
        ["Quality, latent model", count(n, least), "everybody in the clinical table, with an outcome or without"]
    ]
    for r in inputs.rows("flow", step="read"):
        if r["scope"] != "clinical table":
            name = sentence(label(r["scope"]))
            rows.append([name, count(r["n_out"], least), f"those who have {label(r['scope'])}"])
    return rows


def _subgroups(inputs: ReportInputs) -> list[list[Cell | str]]:
    """Who took part in finding subgroups, and who has one; sizes that would tell a small group are rounded."""
    least = inputs.settings.min_cell
    rows: list[list[Cell | str]] = []
    informed = inputs.rows("subgroup_information", model="vae")
    if len(informed) > 1:
        printed = counts([r["n"] for r in informed], least)
        exact = all(text == count(r["n"], least) and r["n"] >= least for text, r in zip(printed, informed, strict=True))
        n = sum(r["n"] for r in informed if r["used"])
        shown = count(n, least) if exact else about(n, least)
        rows.append(["Finding subgroups", shown, "those whose omics say well enough where they lie"])
    groups = {r["subgroup"]: r["n"] for r in inputs.rows("subgroup_summary", model="vae")}
    assigned = sum(n for g, n in groups.items() if g)
    if assigned:
        own = groups.get(0, 0)
        shown = about(assigned, least) if 0 < own < least else count(assigned, least)
        rows.append(
            ["Outcome by subgroup", shown, "those with a usable outcome whose held-out subgroup is probable enough"]
        )
    return rows


def _outcome(inputs: ReportInputs) -> list[list[Cell | str]]:
    rows = inputs.rows("models", resample="full")
    if not rows:
        return []
    return [
        ["Prognosis", inputs.people(max(r["n"] for r in rows)), "those with a usable outcome, with a subgroup or not"]
    ]


def _treatments(inputs: ReportInputs) -> list[list[Cell | str]]:
    found: list[list[Cell | str]] = []
    for key, treatment in inputs.settings.treatments.items():
        row = inputs.row("treatment_effects", treatment=key, subgroup=0, weighting="none")
        if row is not None:
            name = sentence(treatment.label or label(key))
            whom = "those who are eligible, with a recorded treatment and a usable outcome"
            found.append([name, inputs.people(row["n"]), whom])
    return found
