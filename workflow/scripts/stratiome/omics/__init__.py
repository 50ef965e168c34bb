"""Kinds of omic, one module each. To add a kind: add its module here and its name to `config.Kind`."""

from __future__ import annotations

import importlib

from stratiome.omics.kind import Metric, OmicError, OmicKind

__all__ = ["LINEAR", "Metric", "OmicError", "OmicKind", "get"]

LINEAR = "linear"


def get(kind: str, unit: str = "") -> OmicKind:
    """Kind by its name in the config; `unit` is `LINEAR` where abundances came on a linear scale, else ""."""
    found: OmicKind = importlib.import_module(f"stratiome.omics.{kind}").KIND
    return found.on_linear_scale() if unit == LINEAR else found
