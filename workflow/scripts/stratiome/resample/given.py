"""Splits given in a file, so that published ones can be used as they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stratiome.cohort.errors import CohortError, some_ids
from stratiome.cohort.read import missing_column, read_as_text
from stratiome.resample.names import FULL, GIVEN, LOCKED, TEMPORAL, natural

KEY = "`resamples.file`"
ROLES = ("train", "test", "out")
_OURS = re.compile(rf"^({FULL}|{TEMPORAL}|{LOCKED}|(cv|site|given)-.*)$", re.IGNORECASE)


@dataclass(frozen=True)
class GivenSplits:
    """Splits of a file.

    Attributes
    ----------
    names
        Resample name -> name in the file.
    roles
        `patient_id` and one column per resample: train, test, out, or null where the file is silent.
    """

    names: dict[str, str]
    roles: pl.DataFrame


def read_given(path: Path, patient_id: str, show_ids: bool) -> GivenSplits:
    """Read a table of splits: columns patient, `resample` and `role`, or one column of roles per split.

    Raises
    ------
    CohortError
        If a patient is listed twice, a role is none, or names of splits do not serve.
    """
    table = read_as_text(path)
    if patient_id not in table.columns:
        raise CohortError(f"{KEY}: {missing_column(path, patient_id, table.columns, 'data.patient_id')}")
    long = {"resample", "role"} <= set(table.columns)
    splits = ["role"] if long else [c for c in table.columns if c != patient_id]
    needed = [patient_id, "resample", "role"] if long else [patient_id]
    problems = [
        f"{KEY}: {path}, column `{c}` is empty in {table[c].null_count()} rows. Suggestion: fill every row"
        for c in needed
        if table[c].null_count()
    ]
    table = table.with_columns(pl.col(splits).str.to_lowercase())
    problems += _check_roles(path, table, splits) + _check_repeats(path, table.select(needed), long, show_ids)
    if problems:
        raise CohortError(problems)
    if long:
        table = table.select(needed).pivot("resample", index=patient_id, values="role")
        splits = [c for c in table.columns if c != patient_id]
    names = _names(path, splits)
    renamed = {patient_id: "patient_id"} | {old: new for new, old in names.items()}
    return GivenSplits(names, table.select([pl.col(old).alias(new) for old, new in renamed.items()]))


def _check_roles(path: Path, table: pl.DataFrame, splits: list[str]) -> list[str]:
    problems = []
    for name in splits:
        wrong = table[name].drop_nulls().filter(~table[name].drop_nulls().is_in(ROLES))
        if len(wrong):
            problems.append(
                f"{KEY}: {path}, column `{name}` holds {len(wrong)} values other than train, test and out, as "
                f"{wrong.sort()[0]!r}. Suggestion: recode them; a validation part is `train` here, where models are "
                "tuned within the training patients; remove columns that are no splits"
            )
    return problems[:3]


def _check_repeats(path: Path, keys: pl.DataFrame, long: bool, show_ids: bool) -> list[str]:
    patients = keys.columns[0]
    keys = keys.select([patients, "resample"] if long else [patients]).drop_nulls()
    twice = keys.filter(keys.is_duplicated())[patients].unique().sort().to_list()
    if not twice:
        return []
    where = "more than once in the same split" if long else "on more than one row"
    return [
        f"{KEY}: {path} lists {len(twice)} patients {where} ({some_ids(twice, show_ids)}). "
        "Suggestion: keep one role per patient and split; split patients, not samples"
    ]


def _names(path: Path, splits: list[str]) -> dict[str, str]:
    """Resample name -> name in the file; odd characters become underscores."""
    problems, names = [], {}
    taken: dict[str, str] = {}
    for split in natural(splits):
        slug = re.sub(r"[^A-Za-z0-9-]+", "_", split).strip("_-")
        if not slug:
            problems.append(f"{KEY}: {path}: `{split}` cannot name a split. Suggestion: use letters and digits")
        elif _OURS.match(slug):
            problems.append(
                f"{KEY}: {path}: the name `{split}` is kept for splits that are drawn here. "
                "Suggestion: give it another one, as `published-1`"
            )
        elif slug.lower() in taken:  # folders of some systems do not tell upper from lower case
            problems.append(
                f"{KEY}: {path}: the names `{taken[slug.lower()]}` and `{split}` are too much alike to be folders. "
                "Suggestion: rename one"
            )
        taken.setdefault(slug.lower(), split)
        names[GIVEN + slug] = split
    if not splits:
        problems.append(f"{KEY}: {path} has no column of splits. Suggestion: add one per split, or resample and role")
    if problems:
        raise CohortError(problems)
    return names


def check_given(given: GivenSplits, patients: pl.Series, path: Path, show_ids: bool) -> list[str]:
    """What is wrong with given splits in a cohort: strangers, or splits without training or held-out patients."""
    strangers = given.roles["patient_id"].filter(~given.roles["patient_id"].is_in(patients.implode())).sort().to_list()
    if strangers:
        return [
            f"{KEY}: {path} lists {len(strangers)} patients who are not in the clinical table "
            f"({some_ids(strangers, show_ids)}). Suggestion: check that both files write identifiers alike; remove "
            "patients of another cohort"
        ]
    return [
        f"{KEY}: {path}: split `{split}` has no {what} patient. Suggestion: mark patients `{role}`, or remove the split"
        for name, split in given.names.items()
        for role, what in (("train", "training"), ("test", "held-out"))
        if not (given.roles[name] == role).any()
    ]
