"""Stratiome: multi-omics subgroups, prognosis and treatment response, honest by construction."""

__version__ = "0.1.0"
