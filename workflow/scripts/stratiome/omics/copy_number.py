"""Copy number: discrete calls (-2 to 2) or log ratios."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stratiome.omics.kind import Metric, OmicKind, outside

LARGEST = 20.0


def problem(values: np.ndarray) -> str:
    """Calls or log ratios; numbers of copies in the hundreds are something else."""
    bad = outside(values, -LARGEST, LARGEST)
    return f"{bad} values beyond {LARGEST:g}. Suggestion: give discrete calls (-2 to 2) or log2 ratios" if bad else ""


def measure(values: np.ndarray, features: Sequence[str]) -> dict[str, np.ndarray]:
    """Whether a patient has whole numbers only, the extremes, and how much of the genome is altered."""
    seen = np.isfinite(values)
    n = np.maximum(seen.sum(axis=1), 1)
    return {
        "values": seen.sum(axis=1).astype(np.float64),
        "whole": ((values == np.round(values)) | ~seen).all(axis=1).astype(np.float64),
        "least": np.where(seen, values, np.inf).min(axis=1),
        "most": np.where(seen, values, -np.inf).max(axis=1),
        "altered": ((values != 0) & seen).sum(axis=1) / n,
    }


def metrics(patients: dict[str, np.ndarray], unit: str) -> list[Metric]:
    """Whether the values are calls, absolute copies or log ratios, and the share that is altered."""
    here = patients["values"] > 0
    if not here.any():
        return []
    whole = patients["whole"][here] > 0
    least, most = patients["least"][here].min(), patients["most"][here].max()
    share = float(whole.mean())
    if share == 1 and least >= 0 and most > 2:
        note = f"whole numbers from {least:g} to {most:g}: absolute copies, where 2 is normal"
    elif share == 1:
        note = f"whole numbers from {least:g} to {most:g}: discrete calls, where 0 is normal"
    elif share == 0:
        note = "no patient has whole numbers only: log ratios"
    else:
        note = "some patients have discrete calls and others log ratios: give all of them alike"
    found: list[Metric] = [("patients with discrete calls", float(whole.sum()), note)]
    if share == 1 and least < 0:
        altered = float(np.median(patients["altered"][here]))
        found.append(("altered calls", altered, "share of a patient's features that are not 0, median"))
    return found


KIND = OmicKind(
    "copy_number",
    "call or log2 ratio",
    problem,
    scaled_unit="call or log2 ratio",
    measure=measure,
    metrics=metrics,
)
