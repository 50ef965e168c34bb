"""Part of the section on prognosis that says whether results hang on how censoring is modelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import words
from stratiome.report.blocks import Fold, Note, Table
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import interval, label, number, readable, within

LARGE = 0.01
"""Difference between the two kinds of weights from which a metric is said to depend on them."""
PAIRS = (("uno_c", "uno_c_cox"), ("ibs", "ibs_cox"))

Row = Mapping[str, Any]


def weights(inputs: ReportInputs, models: Sequence[str]) -> list[object]:
    """Metrics with censoring weights by Kaplan-Meier and by a Cox model, side by side.

    Parameters
    ----------
    inputs
        The results.
    models
        Models with results of their own in the design of the verdicts, simplest first.
    """
    body, far = [], []
    claim: Row | None = None
    for model in models:
        for metric, other in PAIRS:
            same, changed = (_claim(inputs, model, m) for m in (metric, other))
            if same is None or changed is None:
                continue
            claim = claim or changed
            shift = changed["estimate"] - same["estimate"]
            name, decimals = inputs.settings.words.metrics[metric]
            cells = [interval(same, decimals), interval(changed, decimals), number(shift, decimals, sign=True)]
            body.append([label(model), name, *cells])
            far += [f"{name} of {within(model)} ({number(shift, decimals, sign=True)})"] * (abs(shift) > LARGE)
    if claim is None:
        return []
    note = f"{inputs.size(claim['n'])}, held out, {claim['design']}. {words.sentence(readable(claim['method']))}."
    head = ["Model", "Metric", "Kaplan–Meier weights", "Cox weights", "Difference"]
    table = Table("The same metrics with both kinds of censoring weights.", head, body, frozenset({2, 3, 4}), note)
    return [_said(far), Fold("Censoring weights: Kaplan–Meier and Cox", [table])]


def _claim(inputs: ReportInputs, model: str, metric: str) -> Row | None:
    rows = inputs.rows("prognosis_metrics", design=inputs.headline, model=model, metric=metric, versus=None)
    return next((r for r in rows if r["estimate"] is not None), None)


def _said(far: Sequence[str]) -> Note:
    """Whether it matters if censoring depends on clinical variables."""
    if far:
        return Note(
            "Results depend on how censoring is modelled. With weights that let censoring depend on clinical variables,"
            f" these differ by more than {LARGE:g}: {words.join(far)}. Patients of different risk seem to be followed"
            " for different times; where the Cox model of censoring is right, its weights are too and the others are"
            " not.",
            "care",
        )
    return Note(
        "It matters little how censoring is modelled: with weights that let it depend on clinical variables, no"
        f" concordance and no integrated Brier score differs by more than {LARGE:g}."
    )
