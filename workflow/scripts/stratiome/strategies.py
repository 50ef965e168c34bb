"""Who got what, and when, as the config of a treatment asks of the clinical table; and what is wrong with it.

Texts name no patient and no count, as they may be printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from stratiome.config import TreatmentConfig

Given = bool | int | float | str
"""A value of a profile as the config gives it."""
MOST_LEVELS = 12
"""Classes of a column that a message lists."""


class StrategyError(ValueError):
    """A treatment that the clinical table does not tell as the config says; the key is given by who catches it."""


@dataclass(frozen=True)
class Received:
    """What each patient got.

    Attributes
    ----------
    treated
        1 = the arm that is compared, 0 = the other, null = neither or not recorded; one value per patient.
    recorded
        True where it is known which arm a patient is in, or that it is none of the two; one value per patient.
    """

    treated: pl.Series
    recorded: pl.Series


def received(clinical: pl.DataFrame, treatment: TreatmentConfig) -> Received:
    """What each patient got; missing is not untreated.

    Parameters
    ----------
    clinical
        One row per patient, with the columns of the treatment.
    treatment
        A comparison of two arms (`Config.in_pairs`).

    Raises
    ------
    StrategyError
        If the column is not coded 0/1, a condition is no condition, or a patient meets those of two arms.
    """
    if treatment.column is not None:
        values = clinical[treatment.column].cast(pl.Float64, strict=False)
        wrong = clinical[treatment.column].is_not_null() & ~values.is_in([0.0, 1.0]).fill_null(False)
        if wrong.any():
            raise StrategyError(
                f"`{treatment.column}` must be 0 (untreated) or 1 (treated). "
                "Suggestion: recode it; leave unknown cells empty"
            )
        return Received(values.alias("treated"), values.is_not_null())
    met = {arm: judged(clinical, condition) for arm, condition in treatment.arms.items()}
    arms = list(met)
    for i, one in enumerate(arms):
        for two in arms[i + 1 :]:
            if (met[one] & met[two]).fill_null(False).any():
                raise StrategyError(
                    f"a patient meets the conditions of both `{one}` and `{two}`. "
                    "Suggestion: say in each what the other is not, as `drug_a = 1 AND drug_b = 0`"
                )
    others = [a for a in arms if a != treatment.reference]
    arm, reference = met[treatment.compare or others[0]], met[str(treatment.reference)]
    treated = clinical.select(
        treated=pl.when(arm).then(1.0).when(reference).then(0.0).otherwise(None).cast(pl.Float64)
    )["treated"]
    elsewhere = pl.Series([False]).new_from_index(0, clinical.height)
    for name in arms:
        elsewhere |= met[name].fill_null(False)
    return Received(treated, elsewhere | (arm.is_not_null() & reference.is_not_null()))


def judged(clinical: pl.DataFrame, condition: str) -> pl.Series:
    """Who meets a condition; null where it cannot be told.

    Raises
    ------
    StrategyError
        If it is not true or false for each patient.
    """
    hint = "Suggestion: a condition on clinical columns in SQL, as `stage IN (1, 2, 3) AND age >= 18`"
    try:
        met = clinical.select(met=pl.sql_expr(condition))["met"]
    except pl.exceptions.PolarsError as error:
        text = str(error).splitlines()[0]
        raise StrategyError(f"`{condition}` cannot be judged ({text}). {hint}") from None
    if met.dtype != pl.Boolean or len(met) != clinical.height:
        raise StrategyError(f"`{condition}` is not true or false for each patient. {hint}")
    return met


def start_months(clinical: pl.DataFrame, treatment: TreatmentConfig, treated: np.ndarray) -> np.ndarray:
    """Months from time zero to the start of treatment, infinite where untreated, shape `(n_patients,)`.

    Parameters
    ----------
    clinical
        One row per patient whose treatment is recorded.
    treatment
        With `start`.
    treated
        Shape `(n_patients,)`, True = treated at any time.

    Raises
    ------
    StrategyError
        If a treated patient has no start, an untreated one has, or a start is before time zero.
    """
    column = str(treatment.start)
    start = clinical[column].cast(pl.Float64, strict=False)
    known = start.is_finite().fill_null(False).to_numpy()
    given = clinical[column].is_not_null().to_numpy()
    if (given & ~known).any():
        raise StrategyError(f"`{column}` must hold times as numbers. Suggestion: numbers, empty where untreated")
    if (treated & ~known).any():
        raise StrategyError(
            f"a treated patient has no time in `{column}`. Suggestion: fill it in, leave the treatment empty where its "
            f"start is not known, or have `eligible` ask for it, as `{treatment.column} = 0 OR {column} IS NOT NULL`"
        )
    if (~treated & known).any():
        raise StrategyError(
            f"an untreated patient (`{treatment.column}` = 0) has a time in `{column}`. "
            "Suggestion: correct one of the two; times are for treated patients only"
        )
    months = start.fill_null(float("inf")).to_numpy() * treatment.months_per_unit
    if (months < 0).any():
        raise StrategyError(
            f"`{column}` has negative times: treatment started before time zero. Suggestion: correct them, or have "
            f"`eligible` leave these patients out, as `{treatment.column} = 0 OR {column} >= 0`"
        )
    return np.asarray(months, dtype=np.float64)


def check_measured(clinical: pl.DataFrame, treatment: TreatmentConfig, start: np.ndarray | None) -> list[str]:
    """Confounders with values whose time of measurement is not known.

    Parameters
    ----------
    clinical
        One row per patient who is compared.
    treatment
        With `measured`.
    start
        Shape `(n_patients,)`, months to the start of treatment, infinite where untreated; None if not known, when it
        is taken to be time zero.

    Raises
    ------
    StrategyError
        If a confounder was measured after the start of treatment, or after the landmark.
    """
    undated = []
    for confounder, column in treatment.measured.items():
        known = clinical[confounder].is_not_null().to_numpy()
        months = clinical[column].cast(pl.Float64, strict=False) * treatment.months_per_unit
        undated += [confounder] * bool((known & months.is_null().to_numpy()).any())
        last = np.zeros(len(known)) if start is None else np.minimum(start, treatment.landmark_months or 0.0)
        late = known & (months.fill_null(float("-inf")).to_numpy() > last + 1e-9)
        if late.any():
            limit = "time zero, when treatment is taken to start" if start is None else "the start of treatment"
            limit += ", or after the landmark" if start is not None else ""
            raise StrategyError(
                f"the confounder `{confounder}` was measured after {limit} (column `{column}`): treatment may have "
                "changed it, and adjusting for it then hides or makes an effect. Suggestion: give the value before "
                f"treatment, leave its cell empty where there is none, or remove `{confounder}` from `confounders`"
            )
    return undated


def known_at_time_zero(clinical: pl.DataFrame, treatment: TreatmentConfig) -> bool:
    """Whether no confounder was measured after time zero, as far as the times of `measured` tell."""
    for confounder, column in treatment.measured.items():
        late = clinical[column].cast(pl.Float64, strict=False) > 0
        if (clinical[confounder].is_not_null() & late).any():
            return False
    return True


def profile_value(given: Given, series: pl.Series, kind: Literal["numeric", "categorical"]) -> float | str:
    """A value of a profile as its column has it: a number, or the class as the column spells it.

    Parameters
    ----------
    given
        As the config gives it.
    series
        The column, all patients.
    kind
        Type of the column.

    Raises
    ------
    StrategyError
        If it is a text for a number, or a class that nobody has.
    """
    if kind == "numeric":
        try:
            number = float(given)
        except ValueError:
            number = float("nan")
        if not np.isfinite(number):
            raise StrategyError(f"{given!r} is no number, but the column has numbers. Suggestion: give a number")
        return number
    levels = [str(v) for v in series.drop_nulls().cast(pl.String).unique().sort()]
    said = str(given).lower() if isinstance(given, bool) else str(given)
    for level in levels:
        if level == said or _same_number(level, said):
            return level
    near = [v for v in levels if v.lower() == said.lower()]
    listed = ", ".join(levels[:MOST_LEVELS]) + (", …" if len(levels) > MOST_LEVELS else "")
    hint = f"`{near[0]}`?" if near else f"one of {listed}"
    raise StrategyError(f"no patient has the class {given!r}. Suggestion: {hint}")


def _same_number(a: str, b: str) -> bool:
    try:
        return float(a) == float(b)
    except ValueError:
        return False
