"""What is known of patients beside their omics: batches, outcome, treatments, known labels, covariates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from stratiome.cohort.errors import CohortError
from stratiome.cohort.read import missing_column, read_patients
from stratiome.config import Config
from stratiome.strategies import received

MAX_LEVELS_OF_NUMBERS = 50
"""Levels up to which a batch written as whole numbers (plate, year) is a class and not a quantity."""


@dataclass(frozen=True)
class Variable:
    """One variable of all patients of a cohort.

    Attributes
    ----------
    name, role
        Column, or `omic: column`; batch, outcome, treatment, known label or covariate.
    values
        Shape `(n_patients,)`: float64 with NaN, or objects (str) with None, where missing.
    """

    name: str
    role: str
    values: np.ndarray

    @property
    def numeric(self) -> bool:
        """Whether it is a quantity."""
        return self.values.dtype.kind == "f"

    @property
    def known(self) -> np.ndarray:
        """Shape `(n_patients,)`, True where there is a value."""
        if self.numeric:
            return np.isfinite(self.values)
        return np.array([v is not None for v in self.values], dtype=bool)


def read_samples(config: Config, paths: dict[str, Path]) -> dict[str, pl.DataFrame]:
    """Tables of samples by omic: `patient_id` and the configured columns.

    Raises
    ------
    CohortError
        If a table cannot be read or lacks a column.
    """
    found, problems = {}, []
    for name, path in paths.items():
        samples = config.data.omics[name].samples
        assert samples is not None
        try:
            frame = read_patients(path, config.data.patient_id, config.audit.ids_in_messages)
        except CohortError as error:
            problems += error.problems
            continue
        key = f"data.omics.{name}.samples.columns"
        absent = [missing_column(path, c, frame.columns, key) for c in samples.columns if c not in frame.columns]
        problems += absent
        if not absent:
            kept = frame.select(config.data.patient_id, *samples.columns)
            found[name] = kept.rename({config.data.patient_id: "patient_id"})
    if problems:
        raise CohortError(problems)
    return found


def all_variables(
    config: Config, clinical: pl.DataFrame, outcome: pl.DataFrame, samples: dict[str, pl.DataFrame]
) -> list[Variable]:
    """Every variable that the config gives a role, rows as in `clinical`; a column has its first role only.

    Parameters
    ----------
    config
        The analysis.
    clinical
        `patient_id` and clinical columns.
    outcome
        `patient_id`, `time_months`, `event` of the patients with a usable outcome.
    samples
        Omic -> `patient_id` and columns of its table of samples.
    """
    ids = clinical.select("patient_id")
    found: dict[str, Variable] = {}

    def add(name: str, role: str, column: pl.Series, *, classes: bool) -> None:
        found.setdefault(name, Variable(name, role, _values(column, classes)))

    for name in dict.fromkeys(([config.site] if config.site else []) + list(config.quality.batches)):
        add(name, "batch", clinical[name], classes=_is_class(clinical[name]))
    for omic, frame in samples.items():
        here = ids.join(frame, on="patient_id", how="left", maintain_order="left")
        for name in frame.columns[1:]:
            add(f"{omic}: {name}", "batch", here[name], classes=_is_class(here[name]))
    follow = ids.join(outcome, on="patient_id", how="left", maintain_order="left")
    add("event", "outcome", follow["event"], classes=True)
    if config.endpoint.response is None:
        add("follow-up time (log)", "outcome", follow["time_months"].log(), classes=False)
    for name, treatment in config.treatments.items():
        add(treatment.column or name, "treatment", received(clinical, treatment).treated, classes=True)
    for name in config.known_labels:
        add(name, "known label", clinical[name], classes=True)
    confounders = [c for t in config.treatments.values() for c in t.confounders]
    for name in dict.fromkeys((*config.covariates, *confounders)):
        add(name, "covariate", clinical[name], classes=not clinical[name].dtype.is_numeric())
    return list(found.values())


def _is_class(column: pl.Series) -> bool:
    values = column.drop_nulls()
    if not values.dtype.is_numeric():
        return True
    whole = bool((values.cast(pl.Float64) == values.cast(pl.Float64).round()).all())
    return whole and values.n_unique() <= MAX_LEVELS_OF_NUMBERS


def _values(column: pl.Series, classes: bool) -> np.ndarray:
    if not classes:
        return column.cast(pl.Float64).to_numpy().astype(np.float64)
    if column.dtype.is_float() and bool((column.drop_nulls() == column.drop_nulls().round()).all()):
        column = column.cast(pl.Int64)  # 3.0 is the class 3
    return np.array(column.cast(pl.String).to_list(), dtype=object)
