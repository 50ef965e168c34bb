"""Part of the page on a bundle in another cohort: are its treatment effects and its order of subgroups here, too?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stratiome.report import charts
from stratiome.report.blocks import Cell, Figure, Items, Note, Section, Table, Text, numbered
from stratiome.report.disclosure import about, count, is_small, part
from stratiome.report.verdicts import Tone, Verdict
from stratiome.report.words import join, label, number, p_cell, plural, readable, reason, sentence

if TYPE_CHECKING:
    from stratiome.report.validation import Validation

Row = Mapping[str, Any]
RMST = "rmst_difference"
NAMED = {
    "replicated": "replicated",
    "replicated in direction, not in size": "same direction, another size",
    "not replicated": "not replicated",
    "undecided": "undecided",
    "nothing was claimed": "no effect was claimed",
    "another question": "another question",
    "not estimable": "not estimable",
}
"""What verdicts on effects are called."""


def effect_verdict(page: Validation) -> Verdict | None:
    """Whether effects that the bundle's cohort claimed are found here; None where it had no treatment."""
    rows: list[Row] = [r for r in page.effects.to_dicts() if r["estimand"] == RMST]
    if not rows:
        return None
    question = "Are its treatment effects here?"
    overall = [r for r in rows if r["subgroup"] == 0]
    rows = _worth_naming(rows, overall)
    told = {v: [_named(page, r) for r in rows if r["verdict"] == v] for v in NAMED}
    facts = tuple((_fact(page, r, "claimed"), page.words.gain(_claim(r))) for r in overall)
    facts += tuple((_fact(page, r, "here"), page.words.gain(r)) for r in overall)
    yes, other, no = told["replicated"], told["replicated in direction, not in size"], told["not replicated"]
    text = " ".join(f"{sentence(said)}." for said in _answers(page, rows, told))
    tone: Tone = "unknown"
    if yes or other or no:
        tone = "yes" if yes and not other and not no else "no" if no and not yes and not other else "mixed"
    caveat = "Patients here may differ in more than what was balanced."
    if any(r["p_holm"] is not None for r in rows):
        caveat = f"Tests are corrected for the number of claims. {caveat}"
    if any(r["unknown_starts"] == "both" for r in rows):
        caveat += (
            " When treatment started is not known in either cohort, so that both effects may be too good in the same"
            " way (immortal time), and agreement does not exclude it."
        )
    return Verdict(question, text, tone, facts, caveat, "effects")


def _worth_naming(rows: Sequence[Row], overall: Sequence[Row]) -> list[Row]:
    """Without subgroups of which nothing is known, or not more than of all patients; the table has them."""
    same = {(r["treatment"], r["verdict"]) for r in overall}
    silent = ("another question", "not estimable", "nothing was claimed")
    rest = [r for r in rows if r["subgroup"] and r["verdict"] not in silent]
    return [*overall, *(r for r in rest if (r["treatment"], r["verdict"]) not in same)]


def _answers(page: Validation, rows: Sequence[Row], told: Mapping[str, list[str]]) -> list[str]:
    """What is said of the claims of each verdict, in the order of `NAMED`."""
    judged = [f"{NAMED[v]}: {join(told[v])}" for v in tuple(NAMED)[:3] if told[v]]
    found = ["; ".join(judged)] if judged else []
    if names := told["undecided"]:
        found.append(f"undecided: too uncertain here to tell, for {join(names)}")
    if names := told["nothing was claimed"]:
        found.append(
            f"no effect was claimed for {join(names)}, and no difference from that is shown here, which is no proof"
            " that there is none"
        )
    alone = [_named(page, r) for r in page.effects.to_dicts() if r["estimand"] == RMST and _alone(r)]
    if alone:
        found.append(f"on its own, not corrected, the interval here excludes no effect for {join(alone)}")
    if names := told["another question"]:
        found.append(
            f"not compared: {join(names)}, since patients are followed from another time on here than in {page.learned}"
        )
    if told["not estimable"]:
        why: dict[str, list[str]] = {}
        for row in rows:
            if row["verdict"] == "not estimable":
                why.setdefault(reason(row), []).append(_named(page, row))
        found.append("not estimable: " + "; ".join(f"{join(names)} ({said})" for said, names in why.items()))
    return found


def _alone(row: Row) -> bool:
    """Whether an effect that was not claimed is seen here, if it were the only one looked at."""
    known = row["lower"] is not None and row["upper"] is not None
    return row["verdict"] == "nothing was claimed" and known and (row["lower"] > 0 or row["upper"] < 0)


def _fact(page: Validation, row: Row, where: str) -> str:
    other = ", another question" if where == "here" and row["verdict"] == "another question" else ""
    return f"{sentence(_named(page, row))}, {where}{other}, {page.words.unit}"


def _treatment(page: Validation, row: Row) -> str:
    return page.treatments.get(row["treatment"]) or label(row["treatment"])


def _named(page: Validation, row: Row) -> str:
    name = _treatment(page, row)
    return f"{name} in subgroup {row['subgroup']}" if row["subgroup"] else name


def _claim(row: Row) -> Row:
    return {"estimate": row["claimed"], "lower": row["claimed_lower"], "upper": row["claimed_upper"]}


def _cell(row: Row, decimals: int, scale: float) -> Cell:
    """Estimate with its interval beneath."""
    ends = "no interval"
    if row["lower"] is not None and row["upper"] is not None:
        ends = f"{number(row['lower'] * scale, decimals)} to {number(row['upper'] * scale, decimals)}"
    return Cell(number(row["estimate"] * scale, decimals, sign=True), below=ends)


def effects(page: Validation) -> Section:
    """Every claimed effect beside what is found here."""
    title = "Are its treatment effects here?"
    # Of a response, survival at the assessment is the share with one: the same as the restricted mean.
    rows = [r for r in page.effects.to_dicts() if page.words.timed or r["estimand"] == RMST]
    if not rows:
        return Section("effects", title, "The bundle claims no treatment effect, so there is nothing to look for.")
    blocks: list[object] = []
    drawn = [
        r for r in rows if r["estimand"] == RMST and r["estimate"] is not None and r["verdict"] != "another question"
    ]
    if drawn:
        blocks.append(_forest(page, drawn))
    marks, notes = numbered([sentence(readable(r["method"])) for r in rows])
    body: list[Sequence[Cell | str]] = []
    blurred = _blurred(page, rows)
    for row, mark in zip(rows, marks, strict=True):
        _, decimals, scale = page.words.estimands[row["estimand"]]
        gap = {k: row["difference" if k == "estimate" else f"difference_{k}"] for k in ("estimate", "lower", "upper")}
        body.append(
            [
                sentence(_named(page, row)),
                page.words.gained_at(row["estimand"], row["horizon_months"]),
                _cell(_claim(row), decimals, scale),
                _cell(row, decimals, scale) if row["estimate"] is not None else "not estimable",
                _cell(gap, decimals, scale) if gap["estimate"] is not None else "–",
                p_cell(row["p_holm"]),
                _size(page, row, blurred) if row["n"] else "–",
                NAMED[row["verdict"]],
                mark,
            ]
        )
    head = [
        "Claim",
        "What",
        f"In {page.learned}",
        "Here",
        "Difference",
        "p, Holm",
        "n / treated here",
        "Verdict",
        "How",
    ]
    note = (
        f"Treated minus untreated with {page.level} interval. Subgroups are those that the bundle assigns, which has"
        " not seen these patients. Replicated: both intervals exclude no effect on the same side, and do not differ."
        " Not replicated: they differ, or are on opposite sides. Undecided: what is found here holds no effect, and the"
        " claim is possible too. Another question: months count from another time here, so that both are shown and not"
        " compared."
    )
    table = Table("Claims beside what is found here.", head, body, frozenset(range(2, 7)), note, notes=notes)
    lede = (
        "Effects are estimated anew here, as the config of this cohort asks. Of the bundle only the claims and the"
        " subgroups are used."
    )
    return Section("effects", title, lede, [*blocks, table, *_remarks(page, rows)])


def _blurred(page: Validation, rows: Sequence[Row]) -> frozenset[str]:
    """Treatments whose subgroups are told in tens, since few are left of all patients, or of an arm, beside them."""
    found = set()
    for row in rows:
        own = [r for r in rows if (r["treatment"], r["estimand"]) == (row["treatment"], row["estimand"])]
        whole, parts = ([r for r in own if (r["subgroup"] == 0) is k] for k in (True, False))
        if not whole or not parts:
            continue
        n, treated = (whole[0][k] - sum(r[k] for r in parts) for k in ("n", "n_treated"))
        if any(is_small(left, page.min_cell) for left in (n, treated, n - treated)):
            found.add(row["treatment"])
    return frozenset(found)


def _size(page: Validation, row: Row, blurred: frozenset[str]) -> str:
    """`n / treated`, as they may stand beside those of all patients."""
    n, treated, least = row["n"], row["n_treated"], page.min_cell
    if row["subgroup"] and row["treatment"] in blurred:
        return " / ".join(count(k, least) if k < least else about(k, least) for k in (n, treated))
    return f"{count(n, least)} / {part(treated, n, least)}"


def _remarks(page: Validation, rows: Sequence[Row]) -> list[object]:
    """How each treatment was asked otherwise in the bundle's cohort ("there"), and what bias the answers may have."""
    first = {r["treatment"]: r for r in reversed(rows) if r["remark"]}
    if not first:
        return []
    named = [(sentence(_treatment(page, r)), r["remark"].split("\n")) for r in reversed(first.values())]
    told = [f"{name}: {line}." for name, lines in named for line in lines]
    return [Note(f"What to know before comparing {page.learned} (there) and here:", "care"), Items(told)]


def _forest(page: Validation, rows: Sequence[Row]) -> Figure:
    lines: list[charts.Line] = []
    for row in rows:
        lines.append(charts.Line(sentence(_named(page, row)), heading=True))
        where = (("Claimed", _claim(row), 0, True), ("Here", row, row["subgroup"] or 1, False))
        lines += [
            charts.Line(name, *page.words.ends(found), page.words.gain(found), colour, hollow=hollow)
            for name, found, colour, hollow in where
        ]
    gain, unit = page.words.estimands[RMST][0], page.words.unit
    axis = f"{gain.removesuffix(f', {unit}')}, difference{page.words.over(rows[0]['horizon_months'])}"
    told = "; ".join(f"{i.name}:" if i.heading else f"{i.name} {i.text}" for i in lines)
    anchor = "forest-claims-" + "".join(c if c.isalnum() else "-" for c in page.title.lower())
    figure = charts.forest(lines, anchor, f"{axis}: {told}.", f"{axis}, {unit}", page.words.sides)
    caption = f"Hollow: as claimed in {page.learned}. Filled: here. Both with {page.level} interval."
    return Figure(figure, "Effects as claimed and as found here", caption, 820)


def order(page: Validation) -> list[object]:
    """Which subgroups live longer, for the pairs of which the bundle's cohort was sure."""
    rows = page.order.to_dicts()
    pairs = [r for r in rows if r["quantity"] == "pair"]
    whole = next((r for r in rows if r["quantity"] == "concordance"), None)
    if whole is None:
        return []
    if not pairs:
        return [Text(f"Order of subgroups: {reason(whole)}.")]
    body = [
        [
            f"Subgroup {r['subgroup']} less subgroup {r['versus']}",
            page.words.gain(_claim(r)),
            page.words.gain(r) if r["estimate"] is not None else "not estimable",
            count(r["n"], page.min_cell) if r["n"] < page.min_cell else about(r["n"], page.min_cell),
            r["verdict"] if r["estimate"] is not None else f"not estimable: {reason(r)}",
        ]
        for r in pairs
    ]
    sure = {said: sum(r["verdict"] == said for r in pairs) for said in ("same order", "turned round", "undecided")}
    told = (
        f"Of {plural(whole['pairs'], 'pair')} that can be compared here: {sure['same order']} surely in the same order,"
        f" {sure['turned round']} surely turned round, {sure['undecided']} undecided. Concordance by the estimates"
        f" alone, as uncertain as they are: {number(whole['estimate'])} (1 = all in the same order, −1 = none)."
        if whole["estimate"] is not None
        else f"The order could not be looked at: {reason(whole)}."
    )
    note = (
        f"Pairs of which {page.learned} was sure: the {page.level} interval of their difference excludes none."
        f" {page.words.say('Restricted mean survival, months', 'Percentage points')}"
        f"{page.words.over(pairs[0]['tau_months'])}, by subgroups that the bundle assigns; patients in tens."
    )
    table = Table(
        "Does the order of subgroups hold?",
        ["Pair", f"In {page.learned}", "Here", "Patients", "Verdict"],
        body,
        frozenset({1, 2, 3}),
        note,
    )
    return [Note(told), table]
