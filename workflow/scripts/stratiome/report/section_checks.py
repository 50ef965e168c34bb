"""Section on what could mislead before any model is fitted: repairs, identities, batches, what is missing, features."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stratiome.report.blocks import Cell, Fold, Heading, Items, Note, Section, Table, Text
from stratiome.report.disclosure import MISSING, count
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_missingness import missingness
from stratiome.report.section_records import treatment_records
from stratiome.report.words import FOLLOW_UP, join, label, number, p_cell, sentence, term

Row = Mapping[str, Any]

NOT_JUDGED = "not judged: "

ROOTS = {"eta squared": "eta", "r squared": "r"}
"""Measures whose root is told, so that all are compared with one limit."""

SHOWN = 10
"""Rows of a table of tests that stand open; the rest is folded."""


def checks(inputs: ReportInputs) -> Section | None:
    """The whole section; none where nothing was checked."""
    blocks = [*_duplicates(inputs), *_notes(inputs), *_identity(inputs), *_batches(inputs), *treatment_records(inputs)]
    blocks += [*missingness(inputs), *_features(inputs)]
    if not blocks:
        return None
    lede = (
        "Looked at before any model: what was repaired on reading, whether patients are who they are said to be,"
        " whether batches go with outcome or treatment, how treatments are recorded, and whether what is missing is"
        " missing by chance. Nothing that is learned reads these tables."
    )
    return Section("checks", "Checks of the data", lede, blocks)


IDENTITY = "quality/checks/identity.parquet"
"""Private table that names flagged patients, below the folder of results."""


def duplicates(inputs: ReportInputs) -> str:
    """Warning of patients who look like one and the same; "" if there are none."""
    rows = [r for r in inputs.rows("identity_summary", check="duplicate") if r["flagged"] and not _hidden(inputs, r)]
    if not rows:
        return ""
    flagged = count(max(r["flagged"] for r in rows), inputs.settings.min_cell).replace("<", "Fewer than ")
    omics = join([label(r["scope"]) for r in rows])
    return (
        f"{flagged} patients look like the same person or sample twice (by {omics}). Both may lie in different folds,"
        f" so that a model is judged on whom it has learned from. They are named in `{IDENTITY}` of the results folder,"
        " which stays with the data: see who they are before you read on."
    )


def _hidden(inputs: ReportInputs, row: Row) -> bool:
    return bool(inputs.rare & set(row["scope"].split(" + ")))


def _duplicates(inputs: ReportInputs) -> list[object]:
    said = duplicates(inputs)
    return [Note(said, "care")] if said else []


def _notes(inputs: ReportInputs) -> list[object]:
    rows = [r for r in inputs.rows("notes") if r["scope"] not in inputs.rare]
    if not rows:
        return []
    body = [[sentence(label(r["scope"])), r["file"], _coded(r["note"], inputs.settings.names)] for r in rows]
    return [
        Heading("Found or repaired on reading", "checks-read"),
        Table("Findings on reading, and repairs.", ["Concerns", "File", "What"], body),
    ]


def _coded(note: str, names: Iterable[str]) -> str:
    """A note in which names of columns, and a piece of config that is suggested, are set as code."""
    known = "".join(rf"|\b{re.escape(n)}\b" for n in sorted(names, key=len, reverse=True))
    parts = note.split("`")  # what stands between two ticks is code already
    parts[::2] = [re.sub(rf"[\w.]+: \{{.*\}}{known}", lambda m: f"`{m[0]}`", part) for part in parts[::2]]
    return "`".join(parts)


def _identity(inputs: ReportInputs) -> list[object]:
    rows = [r for r in inputs.rows("identity_summary") if not _hidden(inputs, r)]
    if not rows:
        return []
    least = inputs.settings.min_cell
    names = {"duplicate": "Duplicate patients", "concordance": "Omics that belong together", "sex": "Recorded sex"}
    body: list[list[Cell | str]] = []
    judged = [r for r in rows if not r["note"].startswith(NOT_JUDGED)]
    for r in judged:
        power = "–"
        if r["found"] is not None and r["false_alarms"] is not None:
            power = f"{100 * r['found']:.0f} % / {100 * r['false_alarms']:.1f} %"
        flagged = count(r["flagged"], least)
        body.append(
            [
                names.get(r["check"], r["check"]),
                " + ".join(label(o) for o in r["scope"].split(" + ")),
                count(r["n"], least),
                f"{r['features']:,}",
                Cell(flagged, "mixed") if r["flagged"] else flagged,
                power,
                sentence(r["note"]) or "–",
            ]
        )
    head = ["Check", "Omics", "Patients", "Features", "Flagged", "Found / false alarms", "Remark"]
    note = (
        f"Flagged patients are named in the private table `{IDENTITY}` of the results folder, never here. The last"
        " figures are what the check is expected to find of wrongly labelled patients, and to flag of right ones."
    )
    blocks: list[object] = [Heading("Are patients who they are said to be?", "checks-identity")]
    if judged:
        blocks.append(Table("Checks of identity.", head, body, frozenset({2, 3, 4, 5}), note))
    why: dict[str, list[str]] = {}
    for r in rows:
        if r not in judged:
            omics = " + ".join(label(o) for o in r["scope"].split(" + "))
            why.setdefault(r["note"].removeprefix(NOT_JUDGED), []).append(
                f"{names.get(r['check'], r['check'])} ({omics})"
            )
    if why:
        items = [f"{', '.join(what)}: {reason}." for reason, what in why.items()]
        blocks.append(Fold("Checks of identity that could not be made", [Items(items)]))
    return blocks


def _batches(inputs: ReportInputs) -> list[object]:
    columns = tuple(f"{omic}: " for omic in inputs.rare)
    rows = [r for r in inputs.rows("batches") if not r["batch"].startswith(columns)]
    if not rows:
        return []
    beyond = [r for r in rows if r["beyond"]]
    limit = rows[0]["limit"]
    bad = [r for r in beyond if r["role"] in ("outcome", "treatment")]
    if bad:
        pairs = "; ".join(_pairs(bad))
        said: object = Note(
            f"A batch goes with outcome or treatment ({pairs}). A difference between batches can then pass for a"
            " prognosis or an effect; read the numbers with sites held out first.",
            "care",
        )
    elif beyond:
        said = Text(
            "No batch goes with outcome or treatment beyond the limit; some go with known labels or each other."
        )
    else:
        said = Text("No batch goes with outcome, treatment or known labels beyond the limit.")
    together = _pairs([r for r in beyond if r["role"] == "batch"])
    also = [Text(f"Batches go with each other ({'; '.join(together)}): one cannot be told from the other.")] * bool(
        together
    )
    head = ["Batch", "Against", "Is", "Measure", "Strength", "p", "n"]
    body: list[list[Cell | str]] = [
        [
            sentence(term(r["batch"])),
            "follow-up time" if r["variable"] == FOLLOW_UP else term(r["variable"]),
            r["role"],
            ROOTS.get(r["measure"], r["measure"]),
            Cell(number(r["strength"]), "mixed") if r["beyond"] else number(r["strength"]),
            p_cell(r["p_value"]),
            count(r["n"], inputs.settings.min_cell),
        ]
        for r in sorted(rows, key=lambda r: (-(r["strength"] or 0.0), r["batch"], r["variable"]))
        if r["value"] is not None
    ]
    note = (
        "Strength from 0 to 1, corrected for chance: Cramer's V, or the root of eta squared or r squared (eta, r);"
        f" beyond {number(limit)} it is marked."
    )
    note += _not_estimable(rows)
    return [
        Heading("Batches", "checks-batches"),
        said,
        *also,
        *_long("Batches against other variables.", head, body, {4, 5, 6}, note),
    ]


def _not_estimable(rows: Sequence[Row]) -> str:
    """Batches that are the same for everybody, and pairs that cannot be compared."""
    batches = dict.fromkeys(r["batch"] for r in rows)
    constant = [b for b in batches if all(r["value"] is None for r in rows if b in (r["batch"], r["variable"]))]
    said = f" The same for everybody, so no batch here: {join([term(b) for b in constant])}." if constant else ""
    others = [r for r in rows if r["value"] is None and not {r["batch"], r["variable"]} & set(constant)]
    return said + (f" Not estimable: {'; '.join(_pairs(others))}." if others else "")


def _pairs(rows: Sequence[Row]) -> list[str]:
    """`site with event and follow-up time`, one text a batch."""
    found: dict[str, list[str]] = {}
    for r in rows:
        name = "follow-up time" if r["variable"] == FOLLOW_UP else term(r["variable"])
        found.setdefault(term(r["batch"]), []).append(name)
    return [f"{batch} with {join(names)}" for batch, names in found.items()]


def _features(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("feature_summary")
    if not rows:
        return []
    least = inputs.settings.min_cell
    body = [
        [sentence(label(r["omic"])), count(r["n_train"], least), *[MISSING] * 6]
        if r["omic"] in inputs.rare
        else [
            sentence(label(r["omic"])),
            count(r["n_train"], least),
            f"{r['n_features_in']:,}",
            f"{r['n_kept']:,}",
            f"{r['n_dropped_missing']:,}",
            f"{r['n_dropped_constant']:,}",
            f"{r['n_dropped_variance']:,}",
            f"{r['n_rank_transformed']:,}",
        ]
        for r in rows
    ]
    head = [
        "Omic",
        "Patients",
        "Features",
        "Kept",
        "Too often missing",
        "Too little variation",
        "Beyond the most",
        "Ranks",
    ]
    note = (
        "Learned on the training patients of each split; shown for the model of all patients. Ranks: features with"
        " heavy tails, replaced by normal scores of their ranks."
    )
    table = Table("Features of each omic.", head, body, frozenset(range(1, 8)), note)
    return [Heading("Features that models see", "checks-features"), table]


def _long(caption: str, head: list[str], body: list[list[Cell | str]], right: set[int], note: str) -> list[object]:
    first = Table(caption, head, body[:SHOWN], frozenset(right), note)
    if len(body) <= SHOWN:
        return [first]
    rest = Table(f"{caption} The others.", head, body[SHOWN:], frozenset(right))
    return [first, Fold(f"{len(body) - SHOWN} more", [rest])]
