"""Genes that tell men from women in most tissues."""

from __future__ import annotations

FEMALE_GENES = ("XIST",)
"""Expressed where there is an inactive X chromosome."""

MALE_GENES = ("RPS4Y1", "DDX3Y", "EIF1AY", "KDM5D", "USP9Y", "UTY", "ZFY")
"""Of the part of the Y chromosome that does not recombine, expressed in many tissues (Staedtler et al. 2013)."""
