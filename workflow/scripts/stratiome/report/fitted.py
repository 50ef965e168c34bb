"""Which models of prognosis were fitted, as their table says, and why the others were not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report.disclosure import is_small
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import join, label, plural, readable

Row = Mapping[str, Any]


def unfitted(inputs: ReportInputs, model: str, design: str) -> str:
    """Why a model was fitted in no training set of a design; "" if it was in one of them, or nothing is known."""
    rows = _rows(inputs, model, design)
    return _reason(inputs, rows) if rows and all(r["stand_in"] for r in rows) else ""


def not_fitted(inputs: ReportInputs, models: Sequence[str], design: str) -> list[str]:
    """One sentence for each reason why models of a design were not fitted."""
    by_reason: dict[str, list[str]] = {}
    for model in models:
        if why := unfitted(inputs, model, design):
            by_reason.setdefault(why, []).append(label(model).lower())
    return [
        f"The {join(names)} model{'s were' if len(names) > 1 else ' was'} not fitted: {why}."
        for why, names in by_reason.items()
    ]


def partly(inputs: ReportInputs, model: str, design: str) -> str:
    """That a model was not fitted in some training sets of a design, and what stands in; "" if it was in all."""
    rows = _rows(inputs, model, design)
    gone = [r for r in rows if r["stand_in"]]
    if not gone or len(gone) == len(rows):
        return ""
    others = join([label(m).lower() for m in dict.fromkeys(r["stand_in"] for r in gone)])
    return (
        f"{label(model)} was not fitted in {len(gone)} of {plural(len(rows), 'training set')}"
        f" ({_reason(inputs, gone)}); there its predictions are those of: {others}."
    )


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
    notes = [r["note"].split("; predictions are those of")[0].removeprefix("not fitted: ") for r in rows]
    return readable("; or ".join(dict.fromkeys(notes)))
