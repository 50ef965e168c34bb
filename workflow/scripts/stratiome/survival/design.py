"""Design matrices of clinical columns, fitted on training patients."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import polars as pl

ColumnType = Literal["numeric", "categorical"]


@dataclass(frozen=True)
class Term:
    """One clinical column as learned from training patients.

    Attributes
    ----------
    column
        Name of the column.
    type
        numeric: centred and scaled, missing replaced by the training median beside an indicator;
        categorical: one indicator per level but the most frequent one, missing being a level.
    centre, scale, fill
        Of a numeric column, in its own unit.
    levels
        Of a categorical column, without the reference.
    missing
        Whether an indicator of missing values is part of the design.
    joined
        Levels of a categorical column that are too rare for a term of their own and count as the reference.
    reference
        Level of a categorical column that the others are compared with, the most frequent one; "" if there is none.
    """

    column: str
    type: ColumnType
    centre: float = 0.0
    scale: float = 1.0
    fill: float = 0.0
    levels: tuple[str, ...] = ()
    missing: bool = False
    joined: tuple[str, ...] = ()
    reference: str = ""

    @property
    def names(self) -> list[str]:
        """Names of the columns this term makes."""
        made = [self.column] if self.type == "numeric" else [f"{self.column}: {level}" for level in self.levels]
        return made + ([f"{self.column}: missing"] if self.missing else [])


@dataclass(frozen=True)
class ClinicalDesign:
    """Clinical columns as a numeric matrix without missing values.

    Attributes
    ----------
    terms
        One per column.
    constant
        Columns that do not vary in the training patients and make no term.
    """

    terms: tuple[Term, ...]
    constant: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the columns of the matrix."""
        return [name for term in self.terms for name in term.names]

    @property
    def references(self) -> dict[str, str]:
        """Column of the matrix -> what it is compared with, of classes and of missing values."""
        found: dict[str, str] = {}
        for term in self.terms:
            if term.type == "numeric":
                found |= {f"{term.column}: missing": "recorded, at the median"} if term.missing else {}
            elif term.reference:
                against = f"{term.reference} or a rare class" if term.joined else term.reference
                found |= dict.fromkeys(term.names, against)
        return found

    @property
    def remarks(self) -> str:
        """Rare classes that count as the reference and columns left out as constant, in words; "" if none."""
        rare = [f"{term.column} ({', '.join(term.joined)})" for term in self.terms if term.joined]
        said = [f"rare classes joined with the reference: {', '.join(rare)}"] if rare else []
        said += [f"left out, the same for everybody here: {', '.join(self.constant)}"] if self.constant else []
        return "; ".join(said)

    @classmethod
    def fit(
        cls,
        clinical: pl.DataFrame,
        columns: tuple[str, ...],
        types: dict[str, ColumnType],
        train: np.ndarray,
        min_level: int = 5,
    ) -> ClinicalDesign:
        """Learn medians, scales and levels.

        Parameters
        ----------
        clinical
            One row per patient.
        columns
            Columns to use; those constant in the training patients make no term.
        types
            Declared types; others are taken from the column's dtype.
        train
            Shape `(n_patients,)`, True for training patients.
        min_level
            Training patients below which a level (or missingness) is joined with the reference.
        """
        rows = clinical.filter(pl.Series(train))
        learned = {c: _learn(rows, c, types.get(c), min_level) for c in columns}
        constant = tuple(c for c, term in learned.items() if term is None)
        return cls(tuple(t for t in learned.values() if t is not None), constant)

    def state(self) -> list[dict[str, Any]]:
        """The terms as plain values for JSON, without loss."""
        return [asdict(term) for term in self.terms]

    @classmethod
    def from_state(cls, terms: list[Any]) -> ClinicalDesign:
        """The design of `state`.

        Raises
        ------
        TypeError
            If a term has other keys.
        """
        made = [{k: tuple(v) if isinstance(v, list) else v for k, v in term.items()} for term in terms]
        return cls(tuple(Term(**cast(Any, term)) for term in made))

    def transform(self, clinical: pl.DataFrame) -> np.ndarray:
        """Matrix of shape `(n_patients, n_columns)`, float64, finite. Unseen levels count as the reference."""
        parts = [part for term in self.terms for part in _apply(clinical[term.column], term)]
        return np.column_stack(parts) if parts else np.zeros((clinical.height, 0))


def column_type(series: pl.Series) -> ColumnType:
    """Type of a column by its dtype."""
    return "numeric" if series.dtype.is_numeric() or series.dtype == pl.Boolean else "categorical"


def _learn(rows: pl.DataFrame, column: str, declared: ColumnType | None, min_level: int) -> Term | None:
    series = rows[column]
    n_missing = series.null_count()
    flag = min_level <= n_missing <= rows.height - min_level
    if (declared or column_type(series)) == "numeric":
        values = series.cast(pl.Float64).drop_nulls().to_numpy()
        if values.size == 0:
            return None
        fill = float(np.median(values))
        filled = series.cast(pl.Float64).fill_null(fill).to_numpy()
        scale = float(filled.std())
        if scale <= 1e-12 * max(1.0, abs(fill)):
            return Term(column, "categorical", missing=flag) if flag else None
        return Term(column, "numeric", float(filled.mean()), scale, fill, missing=flag)
    counts = (
        series.drop_nulls()
        .cast(pl.String)
        .alias("level")
        .value_counts()
        .sort(["count", "level"], descending=[True, False])
    )
    reference, *levels = [str(v) for v, n in counts.iter_rows() if n >= min_level] or [""]
    if counts.height < 2 and not flag:
        return None
    rare = [str(v) for v, n in counts.iter_rows() if n < min_level]
    kept, joined = tuple(sorted(levels)), tuple(sorted(rare))
    return Term(column, "categorical", levels=kept, missing=flag, joined=joined, reference=reference)


def _apply(series: pl.Series, term: Term) -> list[np.ndarray]:
    missing = series.is_null().to_numpy()
    if term.type == "numeric":
        values = series.cast(pl.Float64).fill_null(term.fill).to_numpy()
        parts = [(values - term.centre) / term.scale]
    else:
        text = series.cast(pl.String).fill_null("").to_numpy()
        parts = [((text == level) & ~missing).astype(np.float64) for level in term.levels]
    return parts + ([missing.astype(np.float64)] if term.missing else [])
