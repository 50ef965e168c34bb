"""The rows on how well a model of prognosis does, by model, metric, horizon and what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratiome.report.inputs import ReportInputs
from stratiome.tables import FLEXIBLE_REFERENCE

Row = Mapping[str, Any]


def claim(
    inputs: ReportInputs,
    model: str,
    metric: str,
    versus: str | None = None,
    design: str | None = None,
    horizon: float | None = None,
) -> Row | None:
    """A metric of a model, or its difference to another; None where the table has none.

    Parameters
    ----------
    inputs
        The results.
    model, metric, versus
        As in `PrognosisMetrics`.
    design
        Default: that of the verdicts.
    horizon
        Months, for metrics that have one.
    """
    design = design or inputs.headline
    rows = inputs.rows("prognosis_metrics", design=design, model=model, metric=metric, versus=versus)
    if horizon is not None:
        rows = [r for r in rows if r["horizon_months"] is not None and abs(r["horizon_months"] - horizon) < 1e-6]
    return rows[0] if rows else None


def accuracy(inputs: ReportInputs, model: str, design: str | None = None) -> Row | None:
    """Integrated index of prediction accuracy, up to tau as C and the integrated Brier score."""
    rows = inputs.rows("prognosis_metrics", design=design or inputs.headline, model=model, metric="ipa", versus=None)
    return next((r for r in rows if r["horizon_months"] is None), None)


def best_without_omics(inputs: ReportInputs, design: str | None = None) -> str:
    """The model of clinical variables alone that ranks best by its estimate: the Cox model, or the forest."""
    rows = {m: claim(inputs, m, "uno_c", design=design) for m in ("clinical", FLEXIBLE_REFERENCE)}
    known = {m: r["estimate"] for m, r in rows.items() if r is not None and r["estimate"] is not None}
    return max(known, key=lambda m: known[m], default="clinical")
