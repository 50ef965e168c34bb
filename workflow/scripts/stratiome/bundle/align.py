"""Match the features of another cohort to those of a bundle: by name, by a table of names, and by distribution.

What is not matched counts as not measured. Nothing is guessed: other names need a table in the config
(`bundle.features`), and another platform needs `bundle.align`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from stratiome import omics
from stratiome.bundle.files import BundleError
from stratiome.bundle.training import QUANTILES
from stratiome.names import FEWEST_ALIGNED, NAME_COLUMNS

if TYPE_CHECKING:
    from stratiome.bundle.scorer import Scorer

MOST = 5000
"""Patients, spread over the file, whose values give the distribution."""


class OmicSource(Protocol):
    """What is asked of an omic of the new cohort; `StoredOmic` has it."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def patient_ids(self) -> tuple[str, ...]: ...
    @property
    def features(self) -> tuple[str, ...]: ...
    def take(self, rows: slice | np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Moved:
    """A change of scale of each feature that brings quantiles of one cohort to those of another.

    Piecewise linear between quantiles, beyond the outermost by the line through the outermost and the median; it keeps
    the order of patients, and is the same for every patient (Bolstad et al. 2003, Bioinformatics 19:185, with one
    reference distribution per feature).

    Attributes
    ----------
    here, there
        Shape `(n_asked, n_quantiles)`, quantiles in the cohort and in the bundle; NaN where one of them is not known.
    """

    here: np.ndarray
    there: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Shape `(n_asked,)`, True for features with quantiles on both sides."""
        return np.asarray(np.isfinite(self.here).all(axis=1) & np.isfinite(self.there).all(axis=1))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values on the scale of the bundle, shape `(n_patients, n_asked)`; NaN where one is not known."""
        made = np.full_like(values, np.nan)
        middle = len(QUANTILES) // 2
        for j in np.flatnonzero(self.known):
            x, here, there = values[:, j], self.here[j], self.there[j]
            inside = np.interp(x, here, there)
            for end, side in ((0, x < here[0]), (-1, x > here[-1])):
                width = here[end] - here[middle]
                slope = (there[end] - there[middle]) / width if width else 0.0
                inside = np.where(side, there[end] + slope * (x - here[end]), inside)
            made[:, j] = np.where(np.isfinite(x), inside, np.nan)
        return made


@dataclass(frozen=True)
class Aligned:
    """How the features of an omic of the new cohort meet those of the bundle.

    Attributes
    ----------
    omic
        Name.
    place
        Shape `(n_asked,)`, position in the cohort's matrix, -1 = not there.
    several
        Feature of the bundle by position -> positions in the cohort's matrix whose mean stands for it.
    moved
        Change of scale, None where values are taken as they are.
    reason
        Why the omic is not used, or "".
    remark
        What was done to it, or "".
    """

    omic: str
    place: np.ndarray
    several: dict[int, np.ndarray]
    moved: Moved | None = None
    reason: str = ""
    remark: str = ""

    @property
    def asked(self) -> int:
        """Features of the bundle."""
        return len(self.place)

    @property
    def found(self) -> int:
        """Those of them that the cohort has."""
        there = self.place >= 0
        return int((there if self.moved is None else there & self.moved.known).sum())

    def values(self, read: np.ndarray) -> np.ndarray:
        """Scaled values of the cohort's matrix to those of the bundle's features, NaN where not measured.

        Parameters
        ----------
        read
            Shape `(n_patients, n_features of the cohort)`.
        """
        known = np.flatnonzero(self.place >= 0)
        made = np.full((len(read), self.asked), np.nan, dtype=np.float32)
        made[:, known] = read[:, self.place[known]]
        for j, columns in self.several.items():
            made[:, j] = _mean(read[:, columns])
        return made if self.moved is None else self.moved(made)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean of the values that are known, NaN where there is none, shape `(n_patients,)`."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def align(
    scorer: Scorer,
    sources: dict[str, OmicSource],
    names: dict[str, str] | None = None,
    distributions: dict[str, str] | None = None,
) -> dict[str, Aligned]:
    """Match omics and features; a kind that differs is refused, what is missing counts as not measured.

    Parameters
    ----------
    scorer
        The bundle.
    sources
        Omics of the cohort by name.
    names
        Omic -> path of a table with the columns `feature` and `bundle`; several features of one name are averaged.
    distributions
        Omic -> `quantiles`, to bring each feature to its distribution in the bundle's cohort.

    Raises
    ------
    BundleError
        If an omic is of another kind than in training, a table does not fit, or patients are too few to know a
        distribution.
    """
    names, distributions = names or {}, distributions or {}
    for key, asked in (("features", names), ("align", distributions)):
        if unknown := sorted(set(asked) - set(scorer.transforms)):
            raise BundleError(
                f"`bundle.{key}`: the bundle has no omic {unknown}; it has {list(scorer.transforms)}. Suggestion: name "
                "one of these"
            )
    found = {}
    for name, stored in scorer.transforms.items():
        source, entry = sources.get(name), scorer.bundle.card.omics[name]
        if source is None:
            place = np.full(len(stored.features), -1)
            found[name] = Aligned(name, place, {}, reason="the cohort does not have it")
            continue
        if source.kind != entry.kind:
            raise BundleError(
                f"`data.omics.{name}.kind`: the bundle has learned from `{entry.kind}`, and this is `{source.kind}`. "
                "Suggestion: give the omic another name, so that it is not used, or the kind that it is"
            )
        match = _by_name(name, stored.features, source, names.get(name))
        if match.reason and (name in names or name in distributions):
            raise BundleError(
                f"`bundle.features` or `bundle.align` names `{name}`, but {match.reason}: the cohort has "
                f"{source.features[0]!r} and the like, the bundle {stored.features[0]!r}. Suggestion: check the column "
                "`bundle` of the table of names, with capitals as in the bundle"
            )
        if match.reason:
            raise BundleError(
                f"`data.omics.{name}`: {match.reason}; the cohort has {source.features[0]!r} and the like, the bundle "
                f"{stored.features[0]!r}. Suggestion: say what they are called there (`bundle.features.{name}`), "
                "or leave the omic out of the config, so that it counts as not measured"
            )
        if name in distributions:
            match = _by_distribution(scorer, match, source, stored.features)
        found[name] = match
    return found


def _by_name(name: str, asked: tuple[str, ...], source: OmicSource, table: str | None) -> Aligned:
    columns: dict[str, list[int]] = {}
    given = {f: f for f in source.features} if table is None else _read_names(name, table, source)
    place = {feature: j for j, feature in enumerate(source.features)}
    for feature, meant in given.items():
        columns.setdefault(meant, []).append(place[feature])
    at = np.array([columns.get(feature, [-1])[0] for feature in asked], dtype=np.int64)
    several = {j: np.array(columns[f]) for j, f in enumerate(asked) if len(columns.get(f, ())) > 1}
    said = [] if table is None else [f"names by `{Path(table).name}`"]
    said += [f"{len(several)} features are means of several"] if several else []
    reason = "" if (at >= 0).any() else "no feature of the bundle is there under its name"
    return Aligned(name, at, several, reason=reason, remark="; ".join(said))


def _read_names(omic: str, path: str, source: OmicSource) -> dict[str, str]:
    """Feature of the cohort -> its name in the bundle; those without a name there are left out."""
    key = f"`bundle.features.{omic}`: {path}"
    try:
        separator = "," if path.lower().endswith(".csv") else "\t"
        table = pl.read_csv(path, separator=separator, infer_schema_length=0)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BundleError(
            f"{key} cannot be read ({type(error).__name__}). Suggestion: a table with the columns {NAME_COLUMNS}"
        ) from error
    if lacking := [c for c in NAME_COLUMNS if c not in table.columns]:
        raise BundleError(f"{key} has no column {lacking}. Suggestion: name its columns {NAME_COLUMNS}")
    table = table.select(NAME_COLUMNS).drop_nulls()
    twice = table.filter(pl.col("feature").is_duplicated())["feature"].unique().sort().to_list()
    if twice:
        raise BundleError(
            f"{key} names {len(twice)} features more than once (as {twice[0]!r}). Suggestion: one line per feature"
        )
    here = set(source.features)
    names = {feature: meant for feature, meant in table.iter_rows() if feature in here}
    if not names:
        raise BundleError(f"{key} names no feature of the omic. Suggestion: check its column `feature`")
    return names


def _by_distribution(scorer: Scorer, match: Aligned, source: OmicSource, asked: tuple[str, ...]) -> Aligned:
    n = len(source.patient_ids)
    if n < FEWEST_ALIGNED:
        raise BundleError(
            f"`bundle.align.{match.omic}`: {n} patients have the omic, and {FEWEST_ALIGNED} are needed to know how it "
            "is distributed. Suggestion: leave it out, and bring the omic to the scale of the bundle's cohort before"
        )
    rows = np.unique(np.linspace(0, n - 1, MOST).astype(np.int64))
    kind = omics.get(source.kind, source.unit)
    values = match.values(kind.scale(source.take(rows)))
    columns = [scorer.features[match.omic][name].quantiles for name in asked]
    nothing = (np.nan,) * len(QUANTILES)
    there = np.array([nothing if q is None else q for q in columns], dtype=np.float64)
    enough = np.isfinite(values).sum(axis=0) >= FEWEST_ALIGNED
    here = np.full(there.shape, np.nan)
    if enough.any():
        here[enough] = np.nanquantile(values[:, enough].astype(np.float64), QUANTILES, axis=0).T
    said = [match.remark] if match.remark else []
    said.append(
        f"each feature brought to its quantiles in the bundle's cohort, by those of {len(rows)} patients here; patients"
        " of another mix would be moved as if they were of the same"
    )
    return replace(match, moved=Moved(here, there), remark="; ".join(said))
