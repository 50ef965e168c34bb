"""Which models of prognosis were fitted, as their table says, and why the others were not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report.disclosure import count, counts, is_small, part, share
from stratiome.report.inputs import ReportInputs
from stratiome.report.traced import bare
from stratiome.report.words import join, label, plural, readable, within
from stratiome.tables import EVENTS_PER_COEFFICIENT, NOT_FITTED

Row = Mapping[str, Any]

FOR = "for "
"""Begins a reason that holds for some of the held-out patients."""


def unfitted(inputs: ReportInputs, model: str, design: str) -> str:
    """Why a model was not fitted for most held-out patients of a design; "" if it was, or nothing is known."""
    rows = _rows(inputs, model, design)
    gone = [r for r in rows if r["stand_in"]]
    if not gone:
        return ""
    if len(gone) == len(rows):
        return _reason(inputs, gone)
    without, whole = _held_out(inputs, design, gone)
    if 2 * without < whole:
        return ""
    return f"{FOR}{_of(inputs, gone, without, whole, design)}: {_reason(inputs, gone)}"


def not_fitted(inputs: ReportInputs, models: Sequence[str], design: str) -> list[str]:
    """One sentence for each reason why models of a design were not fitted."""
    by_reason: dict[str, list[str]] = {}
    words: dict[str, str] = {}
    for model in models:
        if why := unfitted(inputs, model, design):
            words.setdefault(bare(why), why)
            by_reason.setdefault(bare(why), []).append(within(model))
    return [
        f"The {join(names)} model{'s were' if len(names) > 1 else ' was'} not fitted"
        f"{' ' if why.startswith(FOR) else ': '}{words[why]}."
        for why, names in by_reason.items()
    ]


def same_for_all(inputs: ReportInputs, design: str | None = None) -> str:
    """In which training sets deaths of other causes were too few for a model; "" where there was one in all.

    Parameters
    ----------
    inputs
        The results.
    design
        Design whose training sets count; default all that hold patients out.
    """
    held_out = [r["resample"] for r in inputs.rows("resample_summary") if r["design"] not in ("full", None)]
    own = inputs.resamples(design) if design else held_out
    rows = [r for r in inputs.rows("models", model="clinical") if r["resample"] in own]
    flat = [r for r in rows if "other causes of failure by Nelson-Aalen" in r["note"]]
    if not flat:
        return ""
    return (
        f"in {len(flat)} of {plural(len(rows), 'training set')} there was no such model (too few of these deaths, or it"
        " could not be fitted), and their hazard was taken to be the same for everybody (Nelson–Aalen)"
    )


def partly(inputs: ReportInputs, model: str, design: str) -> str:
    """That a model was not fitted in some training sets of a design, and what became of it; "" if it was in all."""
    rows = _rows(inputs, model, design)
    gone = [r for r in rows if r["stand_in"]]
    if not gone or len(gone) == len(rows):
        return ""
    begin = f"{label(model)} was not fitted in {len(gone)} of {plural(len(rows), 'training set')}"
    if all(r["note"].startswith(NOT_FITTED) for r in gone):
        without, whole = _held_out(inputs, design, gone)
        left = f": {_of(inputs, gone, without, whole, design)}" if whole else ""
        return f"{begin} ({_reason(inputs, gone)}); the patients held out there are left out of its numbers{left}."
    others = join([within(m) for m in dict.fromkeys(r["stand_in"] for r in gone)])
    return f"{begin} ({_reason(inputs, gone)}); there its predictions are those of: {others}."


def thin(inputs: ReportInputs, models: Sequence[str], design: str) -> list[str]:
    """Which models have few events for their number of coefficients, and in how many training sets of a design."""
    said = []
    for model in models:
        rows = [r for r in _rows(inputs, model, design) if not r["stand_in"]]
        few = [r for r in rows if EVENTS_PER_COEFFICIENT in r["note"]]
        if few:
            said.append(f"{within(model)} ({len(few)} of {len(rows)})")
    if not said:
        return []
    return [
        f"Fewer than ten events per coefficient in training, so that risks tend to be too extreme: {join(said)}; in"
        " brackets, training sets."
    ]


def _held_out(inputs: ReportInputs, design: str, gone: Sequence[Row]) -> tuple[int, int]:
    """Held-out patients whose training sets gave no model, and all of the design, both over its repeats."""
    sizes = {r["resample"]: r["n"] for r in inputs.rows("prognosis_resamples", design=design)}
    return sum(sizes.get(s, 0) for s in {r["resample"] for r in gone}), sum(sizes.values())


def _of(inputs: ReportInputs, gone: Sequence[Row], n: int, whole: int, design: str) -> str:
    """`48 of 78 held-out patients`, or their share where patients are held out more than once."""
    least = inputs.settings.min_cell
    once = max((r["n"] for r in inputs.rows("prognosis_metrics", design=design)), default=0) >= whole
    if not once:
        return f"{share(n, whole, least)} of the held-out patients"
    names = {r["resample"] for r in gone}
    every = sum(r["n_test"] for r in inputs.rows("resample_summary", design=design) if r["resample"] in names)
    told = part(n, every, least)  # beside those who are held out, it would tell how many have no outcome
    if told == count(n, least):
        told = counts([n, whole - n], least)[0]
    return f"{told} of {inputs.people(whole)} held-out patients"


def _rows(inputs: ReportInputs, model: str, design: str) -> list[dict[str, Any]]:
    rows = inputs.rows("models", model=model)
    members = set(inputs.resamples(design))
    here = [r for r in rows if r["resample"] in members]
    return here or [r for r in rows if r["resample"] == "full"]


def _reason(inputs: ReportInputs, rows: Sequence[Row]) -> str:
    settings = inputs.settings
    needed = settings.prognosis.min_events if settings.prognosis else 0
    events = [r["events"] for r in rows]
    if max(events) < needed:
        most = max(events)
        if is_small(most, settings.min_cell):
            return f"fewer than {settings.min_cell} events in training, {needed} are needed"
        bound = "at most " if len(set(events)) > 1 else ""
        return f"{bound}{plural(most, 'event') if most else 'no events'} in training, {needed} are needed"
    notes = [r["note"].split("; predictions are those of")[0].removeprefix(NOT_FITTED) for r in rows]
    return readable("; or ".join(dict.fromkeys(notes)))
