"""Conditions on clinical columns, as who is eligible for a treatment or who died of another cause."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from stratiome.cohort.read import missing_column


def columns_of(condition: str | None, key: str, path: Path, columns: list[str]) -> tuple[set[str], list[str]]:
    """Columns that a condition names, and what is wrong with it."""
    if condition is None:
        return set(), []
    try:
        names = set(pl.sql_expr(condition).meta.root_names())
    except (pl.exceptions.PolarsError, AttributeError) as error:
        text = str(error).splitlines()[0]
        return set(), [
            f"`{key}`: not a valid condition ({text}). Suggestion: SQL, as `stage IN (1, 2, 3) AND age >= 18`"
        ]
    texts = {n for n in names - set(columns) if f'"{n}"' in condition}
    return names & set(columns), [
        f"`{key}`: {path} has no column `{n}`, as which a name in double quotes is read. "
        f"Suggestion: texts stand in single quotes, as '{n}'"
        if n in texts
        else missing_column(path, n, columns, key)
        for n in sorted(names - set(columns))
    ]


def judge(frame: pl.DataFrame, condition: str, key: str, path: Path) -> tuple[pl.Series | None, list[str]]:
    """Who meets a condition, True/False of shape `(n_patients,)`, False where it cannot be told; and what is wrong."""
    where = f"`{key}`: {path}, condition `{condition}`"
    try:
        met = frame.select(met=pl.sql_expr(condition))["met"]
    except pl.exceptions.PolarsError as error:
        text = re.sub(r"\[.*", "...", str(error).splitlines()[0])  # polars lists values of the column there
        return None, [
            f"{where} cannot be judged ({text}). Suggestion: compare numbers with numbers and texts with quoted "
            "texts, as `stage IN (1, 2, 3) AND sex = 'female'`"
        ]
    if met.dtype != pl.Boolean or len(met) != frame.height:
        return None, [f"{where} is not true or false for each patient. Suggestion: as `stage IN (1, 2, 3)`"]
    return met.fill_null(False), []
