"""Numbers as they may be told: extremes are rounded, since the largest value is that of one patient."""

from __future__ import annotations

DIGITS = 3
"""Significant digits of an extreme that are told."""

LONG = 1e6
"""Numbers from which powers of ten are easier to read."""


def rounded(value: float) -> str:
    """At most `DIGITS` significant digits, as `36,900`, `0.123` or `3.7e19`."""
    value = float(value)
    if abs(value) < 1000:
        return f"{value:.{DIGITS}g}"
    short = f"{value:.{DIGITS - 1}e}"
    if abs(value) < LONG:
        return f"{float(short):,.0f}"
    digits, _, power = short.partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
