"""Single columns of the clinical table: types, bounds, dates, and what was not yet known at time zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from stratiome.cohort.errors import TooFew, some_cells, some_ids
from stratiome.cohort.spelling import SHOWN_TEXTS, Changed, declared_numeric, entry
from stratiome.config import ColumnConfig, Config

CODES = 5
"""Different numbers up to which a column of numbers and texts may be one of classes, as the stages 1, 2, 3 and X."""
FEW_TEXTS = 0.2
"""Share of texts up to which a column is taken for numbers with mistakes."""
FACTORS = (7, 10, 12, 30.4375, 100, 365.25, 1000)
"""Ratios of common units."""


def date_columns(config: Config) -> dict[str, str]:
    """Columns that must hold dates -> the key that asks for it."""
    found = {n: f"data.columns.{n}.type" for n, c in config.data.columns.items() if c.type == "date"}
    if config.endpoint.index_date:
        found.setdefault(config.endpoint.index_date, "endpoint.index_date")
    for name, column in config.data.columns.items():
        if isinstance(column.available_at, str):
            found.setdefault(column.available_at, f"data.columns.{name}.available_at")
    return found


def dates(series: pl.Series) -> pl.Series:
    """Dates of a column, of type Date; null where it holds no date."""
    if series.dtype.is_temporal():
        return series.cast(pl.Date, strict=False)
    if series.dtype != pl.String:
        return pl.Series(series.name, [None] * len(series), dtype=pl.Date)
    day = series.str.extract(r"^(\d{4}-\d{2}-\d{2})(?:[T ].*)?$", 1)
    return day.str.to_date("%Y-%m-%d", strict=False)


def check_columns(path: Path, frame: pl.DataFrame, config: Config) -> list[str]:
    """What is wrong with types, numbers, dates and bounds of the columns that the config names."""
    problems: list[str] = []
    show, of_dates = config.audit.ids_in_messages, date_columns(config)
    ids = frame[config.data.patient_id]
    predictors = dict.fromkeys((*config.covariates, *(c for t in config.treatments.values() for c in t.confounders)))
    numbers = {config.endpoint.time, *(c for t in config.treatments.values() for c in t.times)}
    for name in config.clinical_columns():
        if name not in frame.columns:
            continue
        column, series = config.data.columns.get(name, ColumnConfig()), frame[name]
        if name in of_dates:
            problems += _check_dates(path, series, of_dates[name])
            continue
        said = _check_numbers(path, series, column, name in numbers, name in predictors)
        problems += said
        if series.dtype.is_numeric():
            problems += _check_bounds(path, series, column, ids, show)
        if name in predictors and not said:
            problems += _check_predictor(path, series, column, ids, show)
    return problems


def _check_dates(path: Path, series: pl.Series, key: str) -> list[str]:
    bad = int((series.is_not_null() & dates(series).is_null()).sum())
    if not bad and series.null_count() < len(series):
        return []
    what = f"{bad} cells that are no dates" if bad else "no date at all"
    return [
        f"`{key}`: {path}, column `{series.name}` has {what}. "
        "Suggestion: write dates as 2005-06-30 (year-month-day); 03/04/2005 can be read in two ways"
    ]


def _check_numbers(path: Path, series: pl.Series, column: ColumnConfig, needed: bool, predictor: bool) -> list[str]:
    """Texts where numbers belong: in columns declared numeric, bounded or needed as such, or nearly all numbers."""
    if series.dtype != pl.String or column.type == "categorical":
        return []
    known = series.drop_nulls()
    numbers = known.cast(pl.Float64, strict=False)
    texts = known.filter(numbers.is_null())
    declared = declared_numeric(column)
    mostly = len(texts) <= FEW_TEXTS * len(known) and numbers.drop_nulls().n_unique() > CODES
    commas = _decimal_commas(texts)
    if texts.is_empty() or not (needed or declared or (predictor and (mostly or commas))):
        return []
    why = "must hold numbers" if needed else "is declared numeric" if declared else "seems to hold numbers"
    levels = texts.unique().sort().to_list()
    key = f"`data.columns.{series.name}`: {path}, column `{series.name}` {why}, but {len(texts)} of its cells do not"
    if commas:
        return [f"{key}: they have a decimal comma. Suggestion: write decimals with a point"]
    if len(levels) > SHOWN_TEXTS:
        return [f"{key} ({len(levels)} different texts). Suggestion: correct them, or leave missing cells empty"]
    otherwise = "" if needed or declared else ", or declare `type: categorical`"
    listed = ", ".join(repr(t[:20]) for t in levels)
    example = entry(str(series.name), {levels[0][:20]: None})
    return [f"{key} ({listed}). Suggestion: correct them, or say what they mean, as {example}{otherwise}"]


def _decimal_commas(texts: pl.Series) -> bool:
    return len(texts) > 0 and bool(texts.str.contains(r"^[+-]?\d+,\d+$").all())


def _check_bounds(path: Path, series: pl.Series, column: ColumnConfig, ids: pl.Series, show: bool) -> list[str]:
    low, high = column.minimum, column.maximum
    if low is None and high is None:
        return []
    inside = _within(series, low, high)
    outside = ids.filter(~inside).to_list()
    if not outside:
        return []
    signs = [f"{word} {bound:g}" for word, bound in (("at least", low), ("at most", high)) if bound is not None]
    unit = f" {column.unit}" if column.unit else ""
    fits = [f"{f:g}" for f in FACTORS if _within(series / f, low, high).all()]
    times = [f"{f:g}" for f in FACTORS if _within(series * f, low, high).all()]
    many = 2 * len(outside) > len(series) - series.null_count()
    hint = "correct the values, or the bounds"
    if many and (fits or times):
        how = f"divided by {' or '.join(fits)}" if fits else f"multiplied by {' or '.join(times)}"
        hint = f"{how} all values fit; is the column in another unit? Otherwise {hint}"
    return [
        f"`data.columns.{series.name}`: {path}, column `{series.name}` must be {' and '.join(signs)}{unit}, "
        f"but is not for {len(outside)} patients ({some_ids(outside, show)}). Suggestion: {hint}"
    ]


def _within(series: pl.Series, low: float | None, high: float | None) -> pl.Series:
    """Whether values are within bounds; missing ones are."""
    inside = pl.Series([True]).new_from_index(0, len(series))
    if low is not None:
        inside &= (series >= low).fill_null(True)
    if high is not None:
        inside &= (series <= high).fill_null(True)
    return inside


def _check_predictor(path: Path, series: pl.Series, column: ColumnConfig, ids: pl.Series, show: bool) -> list[str]:
    if series.null_count() == len(series):
        return [TooFew(f"{path}: column `{series.name}` has no value at all. Suggestion: remove it from the config")]
    if series.null_count() == 0 and series.n_unique() == 1:
        return [
            TooFew(
                f"{path}: column `{series.name}` is the same for everybody and can neither predict nor confound. "
                "Suggestion: remove it from the config"
            )
        ]
    if series.dtype.is_numeric():
        infinite = ids.filter(series.is_infinite().fill_null(False)).to_list()
        return [
            f"{path}: column `{series.name}` is infinite for {len(infinite)} patients ({some_ids(infinite, show)}). "
            "Suggestion: correct the values, or leave the cells empty"
        ] * bool(infinite)
    levels = series.drop_nulls().n_unique() if series.dtype == pl.String else 0
    if levels <= max(20, len(series) // 10):
        return []
    return [
        f"{path}: column `{series.name}` is text with {levels} different values. "
        "Suggestion: it may hold numbers written with a comma or unit; make it numeric, or group its values"
    ]


def as_classes(series: pl.Series) -> pl.Series:
    """Numbers as names of classes: 3.0 that was read from "3" is the class "3"."""
    whole = series.drop_nulls()
    integer = bool((whole == whole.round()).all())
    return series.cast(pl.Int64).cast(pl.String) if integer else series.cast(pl.String)


def typed(frame: pl.DataFrame, config: Config) -> Changed:
    """Columns in their final types: numbers Float64, classes and dates String."""
    of_dates, casts, notes = date_columns(config), [], []
    for name in frame.columns:
        series = frame[name]
        if name == config.data.patient_id:
            continue
        categorical = config.data.types.get(name) == "categorical" or name in (*config.known_labels, config.site)
        if name in of_dates or series.dtype.is_temporal():
            casts.append(dates(series).cast(pl.String))
        elif categorical and series.dtype.is_float():
            casts.append(as_classes(series))
        elif categorical and series.dtype == pl.Boolean:
            casts.append(series.cast(pl.String))
        elif series.dtype == pl.Boolean:
            casts.append(series.cast(pl.Float64))
            if name in config.clinical_columns():
                notes.append(f"column `{name}`: true and false are read as 1 and 0")
    return Changed(frame.with_columns(casts), tuple(notes))


def at_time_zero(frame: pl.DataFrame, config: Config) -> Changed:
    """The table without what was known only after time zero: whole columns, or single cells by their date."""
    notes: list[str] = []
    flow: list[dict[str, Any]] = []
    made: list[pl.Series] = []
    dropped: list[str] = []
    unit = config.endpoint.unit
    for name, column in config.data.columns.items():
        known = frame[name].is_not_null()
        if column.known_late:
            dropped.append(name)
            reason = f"known {column.available_at:g} {unit} after time zero"
            notes.append(f"column `{name}` is {reason} and is left out")
            flow.append(_step(name, int(known.sum()), 0, f"{reason}, column left out"))
        elif isinstance(column.available_at, str):
            late, undated = _late(frame, known, column.available_at, config)
            made.append(frame[name].set(late, None))
            key = f"known after time zero (`{column.available_at}` after `{config.endpoint.index_date}`)"
            if n := int(late.sum()):
                notes.append(f"column `{name}`: {some_cells(n)} {key} and taken as missing")
            if n := int(undated.sum()):
                cells = some_cells(n)
                notes.append(f"column `{name}`: {cells} with a value but without one of the two dates, kept")
            flow.append(
                _step(name, int(known.sum()), int((known & ~late).sum()), key if late.any() else "known at time zero")
            )
    return Changed(frame.with_columns(made).drop(dropped), tuple(notes), tuple(flow))


def _late(frame: pl.DataFrame, known: pl.Series, when: str, config: Config) -> tuple[pl.Series, pl.Series]:
    day, zero = dates(frame[when]), dates(frame[str(config.endpoint.index_date)])
    return known & (day > zero).fill_null(False), known & (day.is_null() | zero.is_null())


def _step(name: str, n_in: int, n_out: int, reason: str) -> dict[str, Any]:
    return {"step": "time zero", "scope": f"column {name}", "n_in": n_in, "n_out": n_out, "reason": reason}
