"""Gene expression on a logarithmic scale, or z-scores; a linear scale is recognised and logged."""

from __future__ import annotations

from stratiome.omics.kind import OmicKind, any_number

KIND = OmicKind(
    "expression", "log intensity or z-score", any_number, scaled_unit="log intensity or z-score", logarithmic=True
)
