"""Copy number: discrete calls (-2 to 2) or log ratios."""

from __future__ import annotations

import numpy as np

from stratiome.omics.kind import OmicKind, outside

LARGEST = 20.0


def problem(values: np.ndarray) -> str:
    """Calls or log ratios; numbers of copies in the hundreds are something else."""
    bad = outside(values, -LARGEST, LARGEST)
    return f"{bad} values beyond {LARGEST:g}. Suggestion: give discrete calls (-2 to 2) or log2 ratios" if bad else ""


KIND = OmicKind("copy_number", "call or log2 ratio", problem, scaled_unit="call or log2 ratio")
