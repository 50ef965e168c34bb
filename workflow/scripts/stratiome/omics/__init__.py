"""Kinds of omic, one module each. To add a kind: add its module here and its name to `config.Kind`."""

from __future__ import annotations

import importlib

from stratiome.omics.kind import OmicError, OmicKind

__all__ = ["OmicError", "OmicKind", "get"]


def get(kind: str) -> OmicKind:
    """Kind by its name in the config."""
    found: OmicKind = importlib.import_module(f"stratiome.omics.{kind}").KIND
    return found
