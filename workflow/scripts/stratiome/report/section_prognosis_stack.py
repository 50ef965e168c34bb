"""Part of the section on prognosis: what the stacked model of each training set weighs."""

from __future__ import annotations

from stratiome.report.blocks import Cell, Table
from stratiome.report.fitted import unfitted
from stratiome.report.inputs import ReportInputs
from stratiome.report.site_forest import resample_name
from stratiome.report.words import label

MOST = 10
"""Training sets whose weights are listed."""


def stacks(inputs: ReportInputs, design: str) -> dict[str, dict[str, str]]:
    """Weights of the stacked model, as they were noted: resample -> label of a model -> weight.

    Parameters
    ----------
    inputs
        The results.
    design
        Design of the resamples, or `full` for the model of all patients.
    """
    rows = {r["resample"]: r["note"] for r in inputs.rows("models", model="stacked") if not r["stand_in"]}
    own = ["full"] if design == "full" else inputs.resamples(design)
    if design != "full" and unfitted(inputs, "stacked", design):
        return {}
    return {s: _weights(rows[s]) for s in own if s in rows}


def _weights(note: str) -> dict[str, str]:
    """Label of a model -> weight of `... inner folds: clinical 0.30, forest 0.70`."""
    parts = (part.rpartition(" ") for part in note.partition(" inner folds: ")[2].split(", "))
    return {label(name): weight for name, _, weight in parts if name}


def stack_weights(inputs: ReportInputs, design: str) -> list[object]:
    """Weights of the stacked model, a line a training set; nothing where there are none, or too many sets."""
    found = stacks(inputs, design)
    if not found or len(found) > MOST:
        return []
    names = list(dict.fromkeys(name for weights in found.values() for name in weights))
    body: list[list[Cell | str]] = [
        [resample_name(inputs, s), *(weights.get(name, "–") for name in names)] for s, weights in found.items()
    ]
    head = ["Held out", *names]
    note = "Learned in the training patients of each set; –: no weight."
    return [Table("Weights of the stacked model.", head, body, frozenset(range(1, len(head))), note)] if names else []
