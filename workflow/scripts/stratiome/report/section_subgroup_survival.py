"""Do the subgroups say more than what is known already, and are they more than a batch?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report.blocks import Heading, Note, Table, Text
from stratiome.report.disclosure import count, is_small
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_subgroup_cards import group_name, sizes
from stratiome.report.section_subgroup_sites import sites
from stratiome.report.words import interval, join, months, number, p_cell, p_value, readable, term

Row = Mapping[str, Any]
TESTS = {
    "log-rank": "Same {survival} in all subgroups",
    "stratified log-rank": "Same {survival} within each {by}",
    "likelihood ratio": "Nothing beyond the clinical variables",
}
CONCORDANCE = {
    "uno_c_clinical": "{c}, clinical variables",
    "uno_c_with_subgroups": "{c}, with subgroup",
    "uno_c_difference": "Difference in {within}",
}


def restricted_means(inputs: ReportInputs) -> list[object]:
    """Restricted mean survival of each subgroup and its difference to the largest."""
    rows = inputs.rows("subgroup_survival", model="vae", quantity="rmst")
    if len(rows) < 2:
        return []
    least = inputs.settings.min_cell
    differences = {r["subgroup"]: r for r in inputs.rows("subgroup_survival", model="vae", quantity="rmst_difference")}
    largest = next((r["versus"] for r in differences.values()), None)
    body, printed, outcome = [], sizes(inputs), inputs.settings.words
    for r in rows:
        other = differences.get(r["subgroup"])
        cells = (
            ["too few", "–"]
            if is_small(r["n"], least)
            else [outcome.gain(r, sign=False), outcome.gain(other) if other else "reference"]
        )
        size = printed.get(r["subgroup"], inputs.people(r["n"]))
        body.append([group_name(r["subgroup"]), size, count(r["events"], least), *cells])
    tau = months(rows[0]["tau_months"])
    head = [
        "",
        "n",
        "Events",
        outcome.say("Months", "Response, %"),
        f"Against {group_name(largest or 0).lower()}, the largest",
    ]
    note = (
        f"Mean time without event within the first {tau} months (area under the survival curve), with"
        f" {inputs.settings.level} interval, held-out patients. Not adjusted for anything."
    )
    caption = f"Restricted mean survival time up to {tau} months."
    if not outcome.timed:
        note = (
            f"Share of the patients with a response and its difference in percentage points, with"
            f" {inputs.settings.level} interval, held-out patients. Not adjusted for anything."
        )
        caption = "Response of the held-out subgroups."
    return [Table(caption, head, body, frozenset({1, 2, 3, 4}), note)]


def beyond_clinical(inputs: ReportInputs) -> list[object]:
    """Tests of the held-out subgroups and what they add to the clinical model."""
    tests = {r["test"]: r for r in inputs.rows("subgroup_comparisons", model="vae")}
    added = {r["quantity"]: r for r in inputs.rows("subgroup_survival", model="vae") if r["subgroup"] is None}
    if not tests and not added:
        return []
    least = inputs.settings.min_cell
    by, outcome = "site" if inputs.settings.site else "fold", inputs.settings.words
    measure = {"c": outcome.metrics["uno_c"][0], "within": outcome.concordance}
    body = []
    for name, text in TESTS.items():
        if r := tests.get(name):
            result = p_cell(r["p_value"]) if r["p_value"] is not None else "not estimable"
            result = f"p {result}" if "<" in result else f"p = {result}" if r["p_value"] is not None else result
            body.append(
                [
                    text.format(by=by, survival=outcome.survival),
                    result,
                    inputs.people(r["n"]),
                    count(r["events"], least),
                    readable(r["method"]),
                ]
            )
    for name, text in CONCORDANCE.items():
        if r := added.get(name):
            shown = interval(r, 3, sign=name.endswith("difference"))
            method = readable(r["method"]) if name.endswith("difference") else ""
            body.append([text.format(**measure), shown, inputs.people(r["n"]), count(r["events"], least), method])
    note = (
        f"Of patients with a subgroup, by models fitted on such patients: {outcome.c} of the clinical variables is not"
        " that of the clinical model under Prognosis, which is of everybody."
        if any(name in added for name in CONCORDANCE)
        else ""
    )
    if inputs.settings.endpoint.competing is not None:
        note = f"{note} Deaths of other causes count as censored here.".strip()
    head = ["Hypothesis or measure", "Result", "n", "Events", "How"]
    return [
        Heading("Do they say more than the clinical variables? Added value", "subgroups-beyond"),
        Text(_beyond_words(inputs, tests.get("likelihood ratio"), added.get("uno_c_difference"))),
        Table(f"Held-out subgroups and {outcome.survival}.", head, body, frozenset({2, 3}), note),
    ]


def _beyond_words(inputs: ReportInputs, test: Row | None, gain: Row | None) -> str:
    p = test["p_value"] if test else None
    if p is None and (gain is None or gain["estimate"] is None):
        return "This could not be judged; the table says why."
    associated = p is not None and p < inputs.settings.alpha
    better = gain is not None and gain["lower"] is not None and gain["lower"] > 0
    survival = inputs.settings.words.survival
    known = "the clinical variables" if inputs.settings.covariates else "knowing nothing (no covariates are configured)"
    if gain is not None and gain["upper"] is not None and gain["upper"] < 0:
        return f"No: with the subgroup, patients are ranked worse than by {known} alone."
    if associated and better:
        return f"Yes: beside {known}, the subgroup tells {survival} ({p_value(p)}) and ranks held-out patients better."
    if better:
        return f"Unclear: the subgroup ranks held-out patients better than {known}, but its test does not confirm it."
    if associated:
        return (
            f"A little: beside {known}, the subgroup goes with {survival} ({p_value(p)}), but patients are not ranked"
            " measurably better by it."
        )
    return f"No evidence that the subgroup tells more about {survival} than {known}."


# ---- batch -----------------------------------------------------------------------------------------------------------


def batch(inputs: ReportInputs) -> list[object]:
    """Association with batches and covariates, and whether subgroups come back at sites never seen."""
    rows = inputs.rows("subgroup_associations", model="vae")
    if not rows:
        return []
    ordered = sorted(rows, key=lambda r: (r["role"] != "batch", -(r["strength"] or 0.0), r["variable"]))
    body = [
        [
            term(r["variable"]),
            "how measured" if r["role"] == "batch" else "patient",
            r["measure"],
            interval(r, 2) if r["estimate"] is not None else "not estimable",
            number(r["strength"]),
            "strong" if r["beyond"] else "–",
            inputs.people(r["n"]),
        ]
        for r in ordered
    ]
    limit = f"Strength above {number(rows[0]['limit'], 1)}"
    head = ["Variable", "Describes", "Measure", "Association", "Strength", limit, "n"]
    note = (
        f"0 = none, 1 = complete, with {inputs.settings.level} interval; held-out subgroups. Eta squared is the share"
        " of a variable's variance that lies between subgroups. Strength is Cramer's V or the root of eta squared, and"
        " is what is compared with the limit. An association"
        " with how patients were measured is a warning; one with who they are is what a subgroup may well have."
    )
    blocks: list[object] = [
        Heading("Are they a batch? Technical variables", anchor="subgroup-batch"),
        *_batch_words(inputs, [r for r in rows if r["role"] == "batch"]),
        Table("What the subgroups go with.", head, body, frozenset({3, 4, 6}), note),
    ]
    return [*blocks, *sites(inputs)]


def _batch_words(inputs: ReportInputs, rows: Sequence[Row]) -> list[object]:
    known = [r for r in rows if r["strength"] is not None]
    if not known and (rows or inputs.settings.site):
        named = join([term(r["variable"]) for r in rows] or [term(inputs.settings.site or "")])
        text = f"It cannot be told whether a subgroup is a batch: its association with {named} is not estimable."
        return [Note(text, "care")]
    if not known:
        text = (
            "Nothing says where or how patients were measured (`site`, `quality.batches`, tables of samples), so it"
            " cannot be told whether a subgroup is a batch."
        )
        return [Note(text, "care")]
    top = max(known, key=lambda r: r["strength"])
    shown = f"{term(top['variable'])} ({top['measure']} {interval(top, 2)})"
    if top["beyond"]:
        return [
            Note(
                f"Perhaps: the subgroups go with {shown}. Part of what sets them apart may be how they were measured.",
                "care",
            )
        ]
    high = top["upper"] if top["measure"] == "Cramer's V" else top["upper"] ** 0.5
    if high > top["limit"]:
        return [Text(f"No sign of it, but a strong association cannot be ruled out: the closest is {shown}.")]
    return [Text(f"No sign of it: of what is known of their measurement, the closest is {shown}.")]
