"""Section on reporting guidelines: what this page answers of them, and what the authors must write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stratiome.report.blocks import Cell, Fold, Heading, Items, Section, Table, Text
from stratiome.report.guidelines import Answer, Guideline, State, load, resolve
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import plural, sentence, slug

TONES: Mapping[State, str] = {"answered": "yes", "author": "mixed", "not applicable": "unknown", "missing": "harm"}
STATES: Mapping[State, str] = {
    "answered": "here",
    "author": "authors",
    "not applicable": "does not apply",
    "missing": "missing",
}


def answers(inputs: ReportInputs, known: Mapping[str, str]) -> list[tuple[Guideline, list[Answer]]]:
    """Items of all guidelines with what there is of them; parameters as of `resolve`."""
    return [(guideline, resolve(guideline, inputs, known)) for guideline in load()]


def guidelines(found: Sequence[tuple[Guideline, Sequence[Answer]]]) -> Section:
    """A sentence and a folded table for each guideline."""
    lede = (
        "Which items this page answers, and which the authors must write: no guideline is complete without them. An"
        " item that is answered in part counts as theirs."
    )
    blocks: list[object] = [
        Text(
            "Items are told in our own words; read the guidelines themselves. The same stands in `guidelines.tsv`, for"
            " a supplement."
        )
    ]
    for guideline, items in found:
        title = f"{guideline.name} ({guideline.version})"
        blocks += [
            Heading(title, f"guidelines-{slug(guideline.name)}"),
            Text(f"{sentence(guideline.about)}. {_counted(items)}"),
        ]
        if any(a.state != "not applicable" for a in items):
            rows: list[list[Cell | str]] = [[a.item.id, a.item.asks_for, _state(a), _where(a)] for a in items]
            shown = Table(f"Items of {title}.", ["Item", "Asks for", "State", "Where"], rows, note=guideline.reference)
            blocks.append(Fold(f"All items of {guideline.name}", [shown]))
        else:
            blocks.append(Items([guideline.reference]))
    return Section("guidelines", "Reporting guidelines", lede, blocks)


def _counted(items: Sequence[Answer]) -> str:
    """How many items are answered here, by the authors, do not apply, are missing."""
    n = {state: sum(a.state == state for a in items) for state in STATES}
    if n["not applicable"] == len(items):
        return f"{sentence(items[0].text)}."
    begun = sum(a.state == "author" and bool(a.links) for a in items)
    return (
        f"Of {plural(len(items), 'item')}, {n['answered']} are answered here, {n['author']} must be written by the"
        f" authors ({begun} of them are told here in part), {n['not applicable']} do not apply, and"
        f" {n['missing']} are missing."
    )


def _state(answer: Answer) -> Cell:
    return Cell(STATES[answer.state], TONES[answer.state])


def _where(answer: Answer) -> Cell:
    lead = "Authors must write: " if answer.state == "author" else ""
    text = answer.text if lead else sentence(answer.text)
    return Cell(f"{lead}{text}" + "." * bool(text), links=answer.links)
