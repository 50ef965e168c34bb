"""Spellings in the clinical table: what the config says that they mean, and which ones look like mistakes."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from stratiome.cohort.errors import CohortError, some_cells
from stratiome.cohort.source import NULL_TEXTS, open_source
from stratiome.config import ColumnConfig, Config

SPELLINGS = {"true": ("true", "yes", "on"), "false": ("false", "no", "off")}
"""Texts that YAML reads as a truth value when they are not quoted, in lower case."""
UNUSUAL_NULLS = [t for t in NULL_TEXTS if t not in ("", "NA", "NaN")]
"""Texts that are missing cells, but might have been meant as something else."""
NONE = "none"
"""Text that programs write for a missing value and people for a class, as untreated."""
UNKNOWN = {
    NONE, "unknown", "unk", "?", "missing", "not available", "[not available]", "not reported", "#n/a", "n.a.",
    "not known", "indeterminate", "undetermined", "nc", "not classified", "unclassified", "not evaluated",
    "[not evaluated]", "[unknown]", "gx", "mx", "nx", "tx", "stage x",
}  # fmt: skip
"""Texts that may stand for a missing value, in lower case; stage X and its like are what could not be assessed."""
SHOWN_TEXTS = 5
"""Most different texts of a column that a message quotes."""
RARE_SPELLING = 0.1
"""Frequency against another level below which a level one letter away is taken for a misspelling of it."""
LONG_WORD = 5
"""Letters from which two words that differ by one letter are taken for one: II and III are two."""
MOST_LEVELS = 50
"""Levels above which spellings are not compared."""


@dataclass(frozen=True)
class Changed:
    """A clinical table after a step.

    Attributes
    ----------
    frame
        One row per patient.
    notes
        What was changed, one sentence each; counts of few patients are not given.
    flow
        Rows of `PatientFlow`.
    """

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()
    flow: tuple[dict[str, Any], ...] = ()


def apply_values(frame: pl.DataFrame, config: Config) -> Changed:
    """Replace spellings by the values that are meant (`data.columns.<column>.values`).

    A column of which only numbers remain is numeric afterwards, and so is one of texts that is declared numeric or has
    bounds and holds only numbers.
    """
    notes: list[str] = []
    made = []
    for name, column in config.data.columns.items():
        if name not in frame.columns:
            continue
        series = frame[name]
        if column.values:
            series, said = _replaced(series, column.values)
            notes += said
        if series.dtype == pl.String and declared_numeric(column):
            numbers = series.cast(pl.Float64, strict=False)
            series = numbers if numbers.null_count() == series.null_count() else series
        if column.multiply is not None and series.dtype.is_numeric():
            series = series.cast(pl.Float64) * column.multiply
            notes.append(f"column `{name}`: multiplied by {column.multiply:g} (`data.columns.{name}.multiply`)")
        elif column.multiply is not None and series.null_count() < len(series):
            texts = series.dtype if series.dtype != pl.String else "texts"
            raise CohortError(
                f"`data.columns.{name}.multiply`: the column holds {texts}, which cannot be multiplied. Suggestion: "
                f"map them to numbers or to null under `data.columns.{name}.values`, or remove `multiply`"
            )
        made.append(series)
    return Changed(frame.with_columns(made), tuple(notes))


def meant_columns(frame: pl.DataFrame, config: Config, path: Path) -> Changed:
    """Add columns that the file has under another name (`data.columns.<column>.column`).

    Raises
    ------
    CohortError
        If the file lacks the column that is meant, or has the new name already.
    """
    notes, made, problems = [], [], []
    for name, column in config.data.columns.items():
        if column.column is None:
            continue
        key = f"`data.columns.{name}.column`: {path}"
        if column.column not in frame.columns:
            near = difflib.get_close_matches(column.column, frame.columns, 1)
            hint = f"did you mean `{near[0]}`" if near else "check how the file spells it"
            problems.append(f"{key} has no column `{column.column}`. Suggestion: {hint}")
        elif name in frame.columns:
            problems.append(f"{key} has a column `{name}` of its own. Suggestion: another name, or remove the entry")
        else:
            made.append(frame[column.column].alias(name))
            notes.append(f"column `{name}`: `{column.column}` of the file")
    if problems:
        raise CohortError(problems)
    return Changed(frame.with_columns(made), tuple(notes))


def meant_texts(config: Config) -> dict[str, frozenset[str]]:
    """Column -> texts that would be missing cells, but are given a meaning by `data.columns.<column>.values`."""
    columns = config.data.columns.items()
    found = {c.column or name: frozenset(c.values).intersection(NULL_TEXTS) for name, c in columns}
    return {name: words for name, words in found.items() if words}


def _replaced(series: pl.Series, values: dict[str, str | float | None]) -> tuple[pl.Series, list[str]]:
    counts = dict(series.drop_nulls().value_counts(sort=True).iter_rows())
    keys = {level: key for level in counts if (key := _key_of(level, values)) is not None}
    meant = {level: _meaning(values[keys[level]]) if level in keys else level for level in counts}
    known = [m for m in meant.values() if m is not None]
    if known and all(_number(m) is not None for m in known):
        new: list[Any] = [_number(m) for m in meant.values()]
        made = series.replace_strict(list(meant), new, default=None, return_dtype=pl.Float64)
    else:
        new = [None if m is None else written(m) for m in meant.values()]
        made = series.replace_strict(list(meant), new, default=None, return_dtype=pl.String)
    key = f"`data.columns.{series.name}.values`"
    changed = {level: n for level, n in counts.items() if level in keys and meant[level] != level}
    notes = []
    if changed:
        listed = ", ".join(
            f"{_coded(level)} to {_shown(meant[level])}" for level in sorted(changed, key=lambda level: written(level))
        )
        notes.append(f"column `{series.name}`: {some_cells(sum(changed.values()))} changed by {key} ({listed})")
    if unused := sorted(set(values) - set(keys.values())):
        notes.append(f"column `{series.name}`: {key} names what never occurs: {', '.join(f'`{u}`' for u in unused)}")
    return made, notes


def _key_of(level: Any, values: dict[str, str | float | None]) -> str | None:
    """The entry of a value map that a level of the file stands under."""
    text = written(level)
    if text in values:
        return text
    number = None if isinstance(level, bool) else _number(level)
    for key in values:
        if number is not None and _number(key) == number:
            return key
        if text.lower() in SPELLINGS.get(key, ()):
            return key
    return None


def _meaning(value: str | float | None) -> str | float | None:
    return None if isinstance(value, str) and not value.strip() else value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None or (isinstance(value, str) and "_" in value):
        return None  # Python reads 1_2 as 12
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def written(value: Any) -> str:
    """A value as a text file would hold it: `2` for 2.0, `true` for True."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, int | float) else str(value)


def _coded(level: Any) -> str:
    """A level for a note; a measured number, which may be that of one patient, is not given."""
    number = _number(level)
    return f"`{written(level)}`" if number is None or number.is_integer() else "a number"


def _shown(value: Any) -> str:
    return "missing" if value is None else f"`{written(value)}`"


def entry(column: str, values: dict[Any, Any]) -> str:
    """A value map as it is written in the config."""

    def quoted(value: Any) -> str:
        if value is None:
            return "null"
        return '"' + value.replace('"', '\\"') + '"' if isinstance(value, str) else written(value)

    pairs = ", ".join(f"{quoted(k)}: {quoted(v)}" for k, v in values.items())
    return f"`data.columns: {{{column}: {{values: {{{pairs}}}}}}}`"


def declared_numeric(column: ColumnConfig) -> bool:
    """Whether the config says that a column holds numbers."""
    return column.type == "numeric" or column.minimum is not None or column.maximum is not None


def cell_notes(path: Path, config: Config) -> tuple[str, ...]:
    """Texts of a clinical table that lost blanks around them, or were taken for missing cells.

    Not said of the usual `NA`, `NaN` and empty cells.
    """
    meant_by = {c.column for c in config.data.columns.values()} - {None}
    asked = {*config.clinical_columns(), *meant_by}
    try:
        scan = open_source(path, comments=config.data.study is not None, whole=False).scan(as_written=True)
        texts = [n for n, dtype in scan.collect_schema().items() if n in asked and dtype == pl.String]
        as_written = scan.select(texts).collect()
    except (CohortError, pl.exceptions.PolarsError, OSError):
        return ()  # said where the table is read
    notes, meant = [], meant_texts(config)
    for name in texts:
        cells = as_written[name].str.strip_chars()
        blanks = int(((cells != as_written[name]) & (cells != "")).sum())
        if blanks:
            notes.append(f"column `{name}`: {some_cells(blanks)} had blanks around them, which were removed")
        missing = [t for t in UNUSUAL_NULLS if t not in meant.get(name, ())]
        found = cells.filter(cells.is_in(missing).fill_null(False))
        if len(found):
            listed = ", ".join(f"`{t}`" for t in found.unique().sort())
            notes.append(f"column `{name}`: {some_cells(len(found))} ({listed}) taken as missing")
    return tuple(notes)


def spelling_notes(frame: pl.DataFrame, config: Config) -> tuple[str, ...]:
    """Levels of used columns that differ by case, blanks or one letter, or that may stand for missing values.

    `none` is remarked on in every column.

    Each with the entry of the config that repairs it; nothing is changed here.
    """
    used = dict.fromkeys(
        (
            *config.covariates,
            *(c for t in config.treatments.values() for c in t.confounders),
            *config.known_labels,
            *([config.site] if config.site else []),
        )
    )
    notes = []
    for name in frame.columns:
        if name == "patient_id" or frame[name].dtype != pl.String:
            continue
        doubtful = UNKNOWN if name in used else {NONE}
        unknown = sorted(v for v in frame[name].drop_nulls().unique() if v.casefold() in doubtful)
        if unknown:
            notes.append(
                f"column `{name}`: {', '.join(f'`{v}`' for v in unknown)} counts as a class of its own. "
                f"Suggestion: {entry(name, dict.fromkeys(unknown))} if it means missing"
            )
        if name in used and (meant := _misspelt(frame[name])):
            pairs = ", ".join(f"`{a}` and `{b}`" for a, b in meant.items())
            notes.append(
                f"column `{name}`: {pairs} may be spellings of one value, but count as different. "
                f"Suggestion: {entry(name, meant)} if they are"
            )
    return tuple(notes)


def _misspelt(series: pl.Series) -> dict[str, str]:
    """Level -> the more frequent level that it may be a misspelling of."""
    counts = list(
        series.drop_nulls().value_counts().sort([pl.last(), pl.first()], descending=[True, False]).iter_rows()
    )
    if len(counts) > MOST_LEVELS:
        return {}
    found: dict[str, str] = {}
    for i, (level, n) in enumerate(counts):
        for other, many in counts[:i]:
            rare = n <= RARE_SPELLING * many
            if other not in found and (_folded(level) == _folded(other) or (rare and _one_letter(level, other))):
                found[level] = other
                break
    return found


def _folded(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text.casefold())


def _one_letter(first: str, second: str) -> bool:
    """Whether two texts differ by one letter in one long word."""
    words = re.findall(r"\w+", first.casefold()), re.findall(r"\w+", second.casefold())
    if len(words[0]) != len(words[1]):
        return False
    differ = [(a, b) for a, b in zip(*words, strict=True) if a != b]
    if len(differ) != 1 or not all(w.isalpha() for w in differ[0]):
        return False
    a, b = differ[0]
    if max(len(a), len(b)) < LONG_WORD:
        return False
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[same + 1 :] == b[same + 1 :] or a[same + 1 :] == b[same:] or a[same:] == b[same + 1 :]
