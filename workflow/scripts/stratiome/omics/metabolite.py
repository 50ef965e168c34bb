"""Metabolite abundance on a logarithmic scale; a linear scale is recognised and logged."""

from __future__ import annotations

from stratiome.omics.kind import OmicKind, any_number

KIND = OmicKind("metabolite", "log abundance", any_number, scaled_unit="log abundance", logarithmic=True)
