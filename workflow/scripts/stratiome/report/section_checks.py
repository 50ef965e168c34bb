"""Section on what could mislead before any model is fitted: repairs, identities, batches, what is missing, features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratiome.report.blocks import Cell, Fold, Heading, Note, Section, Table, Text
from stratiome.report.disclosure import count, share
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import label, number, p_cell, sentence

Row = Mapping[str, Any]

SHOWN = 15
"""Rows of a table of tests that stand open; the rest is folded."""


def checks(inputs: ReportInputs) -> Section | None:
    """The whole section; none where nothing was checked."""
    blocks = [*_notes(inputs), *_identity(inputs), *_batches(inputs), *_missingness(inputs), *_features(inputs)]
    if not blocks:
        return None
    lede = (
        "Looked at before any model: what was repaired on reading, whether patients are who they are said to be,"
        " whether batches go with outcome or treatment, and whether what is missing is missing by chance. Nothing that"
        " is learned reads these tables."
    )
    return Section("checks", "Checks of the data", lede, blocks)


def _notes(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("notes")
    if not rows:
        return []
    body = [[sentence(label(r["scope"])), r["file"], r["note"]] for r in rows]
    return [
        Heading("Found or repaired on reading"),
        Table("What was found or repaired on reading.", ["Concerns", "File", "What"], body),
    ]


def _identity(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("identity_summary")
    if not rows:
        return []
    least = inputs.settings.min_cell
    names = {"duplicate": "Duplicate patients", "concordance": "Omics that belong together", "sex": "Recorded sex"}
    body: list[list[Cell | str]] = []
    for r in rows:
        power = "–"
        if r["found"] is not None and r["false_alarms"] is not None:
            power = f"{100 * r['found']:.0f} % / {100 * r['false_alarms']:.1f} %"
        flagged = count(r["flagged"], least)
        body.append(
            [
                names.get(r["check"], r["check"]),
                r["scope"],
                count(r["n"], least),
                str(r["features"]),
                Cell(flagged, "mixed") if r["flagged"] else flagged,
                power,
                sentence(r["note"]) or "–",
            ]
        )
    head = ["Check", "Omics", "Patients", "Features", "Flagged", "Found / false alarms", "Remark"]
    note = (
        "Flagged patients are named in the private table of the results folder, never here. The last figures are what"
        " the check is expected to find of wrongly labelled patients, and to flag of right ones."
    )
    return [
        Heading("Are patients who they are said to be?"),
        Table("Checks of identity.", head, body, frozenset({2, 3, 4, 5}), note),
    ]


def _batches(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("batches")
    if not rows:
        return []
    beyond = [r for r in rows if r["beyond"]]
    limit = rows[0]["limit"]
    bad = [r for r in beyond if r["role"] in ("outcome", "treatment")]
    if bad:
        pairs = ", ".join(f"{label(r['batch'])} with {label(r['variable'])}" for r in bad)
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
    head = ["Batch", "Against", "Is", "Measure", "Strength", "p", "n", "Remark"]
    body: list[list[Cell | str]] = [
        [
            label(r["batch"]),
            label(r["variable"]),
            r["role"],
            r["measure"],
            Cell(number(r["strength"]), "mixed") if r["beyond"] else number(r["strength"]),
            p_cell(r["p_value"]),
            count(r["n"], inputs.settings.min_cell),
            sentence(r["note"]) or "–",
        ]
        for r in sorted(rows, key=lambda r: (not r["beyond"], -(r["strength"] or 0.0), r["batch"], r["variable"]))
    ]
    note = f"Strength from 0 to 1, corrected for chance; beyond {number(limit)} it is marked."
    return [Heading("Batches"), said, *_long("Batches against other variables.", head, body, {4, 5, 6}, note)]


def _missingness(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("missingness")
    if not rows:
        return []
    least = inputs.settings.min_cell
    blocks: list[object] = [Heading("What is missing, and for whom")]
    whole = [r for r in rows if r["finding"] == "all missing"]
    if whole:
        body: list[list[Cell | str]] = [
            [_subject(r), label(r["variable"]), r["level"], count(r["n"], least), r["role"]] for r in whole
        ]
        text = (
            "Here what is missing tells who the patient is: models that see that an omic is lacking can learn the level"
            " from it."
        )
        blocks += [
            Note(text, "care"),
            *_long("Nobody of these levels has it.", ["Lacking", "Variable", "Level", "Patients", "Is"], body, {3}, ""),
        ]
    tests = [r for r in rows if r["finding"] == "test"]
    found = [r for r in tests if r["p_holm"] is not None and r["p_holm"] < inputs.settings.alpha]
    if not found:
        blocks.append(Text(f"None of {len(tests)} tests of missingness is positive after Holm's correction."))
        return blocks
    body = [
        [
            _subject(r),
            label(r["variable"]),
            r["role"],
            f"{r['test']}, {r['measure']}",
            number(r["effect"]),
            p_cell(r["p_holm"]),
            share(r["missing"], r["n"], least),
        ]
        for r in sorted(found, key=lambda r: (r["p_holm"], r["subject"], r["name"], r["block"], r["variable"]))
    ]
    head = ["Lacking", "Goes with", "Is", "Test, effect", "Effect", "p, Holm", "Lacking it"]
    note = f"{len(found)} of {len(tests)} tests, after Holm's correction over all of them."
    return [*blocks, *_long("What is missing goes with these variables.", head, body, {4, 5, 6}, note)]


def _subject(row: Row) -> str:
    name = sentence(label(row["name"]))
    return f"{name}: {row['block']}" if row["block"] else name if row["subject"] == "omic" else row["name"]


def _features(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("feature_summary")
    if not rows:
        return []
    least = inputs.settings.min_cell
    body = [
        [
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
    return [Heading("Features that models see"), table]


def _long(caption: str, head: list[str], body: list[list[Cell | str]], right: set[int], note: str) -> list[object]:
    first = Table(caption, head, body[:SHOWN], frozenset(right), note)
    if len(body) <= SHOWN:
        return [first]
    rest = Table(f"{caption} The others.", head, body[SHOWN:], frozenset(right))
    return [first, Fold(f"{len(body) - SHOWN} more", [rest])]
