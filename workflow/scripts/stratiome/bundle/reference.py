"""What a later batch is compared with: counts of training patients in bins, and how held-out patients were scored.

Counts, means and a covariance, never rows. Bins, classes and shares hold at least the smallest count that may be told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from stratiome.bundle.training import FEWEST, blurred

BINS = 5
"""Bins of each feature and score, by quantiles of the training patients."""
FREQUENCIES = 32
"""Random frequencies of an embedding, which has a cosine and a sine of each."""
STRETCHES = 10
"""Stretches of follow-up at most in which events are counted."""
MOST_BYTES = 512 * 2**20
"""Size beyond which the file is refused unread."""
_SEED = 20_070
_LOOKED_AT = 500  # patients whose distances give the width of a kernel
OTHERS = ""
"""The class of all levels that are not named."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Label = Annotated[str, StringConstraints(max_length=1000)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Bins(_Closed):
    """Training patients by bins of a number.

    Attributes
    ----------
    edges
        Between the bins, rising; a value at an edge belongs to the bin below it.
    counts
        Patients in each bin, one more than edges.
    """

    edges: Annotated[list[Finite], Field(min_length=1, max_length=BINS - 1)]
    counts: Annotated[list[Count], Field(min_length=2, max_length=BINS)]

    @model_validator(mode="after")
    def _fit(self) -> Bins:
        if len(self.counts) != len(self.edges) + 1 or sorted(set(self.edges)) != self.edges:
            raise ValueError("bins that do not fit together")
        return self

    def count(self, values: np.ndarray) -> np.ndarray:
        """How many of these values lie in each bin; missing ones in none."""
        known = values[np.isfinite(values)]
        return np.bincount(np.searchsorted(self.edges, known, side="left"), minlength=len(self.counts))


class Embedding(_Closed):
    """Mean and covariance of random Fourier features (Rahimi & Recht 2007, NeurIPS) of some patients.

    The distance between two means is the maximum mean discrepancy with a Gaussian kernel (Gretton et al. 2012, JMLR
    13:723), so that two groups can be compared without the rows of one of them. Missing values count as 0, the
    training mean. Frequencies follow from the number of features alone.

    Attributes
    ----------
    width
        Standard deviation of the kernel: the median distance of training patients.
    n
        Patients.
    mean, covariance
        Shape `(2 * FREQUENCIES,)` and `(2 * FREQUENCIES, 2 * FREQUENCIES)`.
    """

    width: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    n: Annotated[int, Field(ge=2, le=2**53)]
    mean: Annotated[list[Finite], Field(min_length=2 * FREQUENCIES, max_length=2 * FREQUENCIES)]
    covariance: Annotated[
        list[Annotated[list[Finite], Field(min_length=2 * FREQUENCIES, max_length=2 * FREQUENCIES)]],
        Field(min_length=2 * FREQUENCIES, max_length=2 * FREQUENCIES),
    ]


class Part(_Closed):
    """Training patients in one omic, or in the clinical table.

    Attributes
    ----------
    patients
        Who have it.
    without
        Who do not.
    missing
        Of those who have it, how many lack each feature; small counts are blurred, as those of `without`.
    bins
        By feature or numeric column; none where two bins would be too small.
    classes
        Patients by class of each categorical column; those of rare classes are together, as `OTHERS`.
    embedding
        Of the transformed features; None where too few patients have the omic.
    """

    patients: Count
    without: Count
    missing: dict[Label, Count]
    bins: dict[Label, Bins]
    classes: dict[Label, dict[Label, Count]] = {}
    embedding: Embedding | None = None


class Slope(_Closed):
    """Coefficient of the outcome on `log(-log S)`, and its standard error."""

    value: Finite
    error: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Events(_Closed):
    """Observed and expected events in stretches of follow-up, the first from 0, the last to the last horizon.

    Attributes
    ----------
    until
        Months at which the stretches end, rising.
    observed, expected
        Events in each.
    """

    until: Annotated[list[Finite], Field(min_length=1, max_length=STRETCHES)]
    observed: Annotated[list[Count], Field(min_length=1, max_length=STRETCHES)]
    expected: Annotated[
        list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1, max_length=STRETCHES)
    ]

    @model_validator(mode="after")
    def _fit(self) -> Events:
        if len({len(self.until), len(self.observed), len(self.expected)}) > 1 or min(self.observed) < 1:
            raise ValueError("events that do not fit together")
        if sorted(set(self.until)) != self.until or self.until[0] <= 0:
            raise ValueError("stretches that do not rise")
        return self


class Scored(_Closed):
    """How a model scored the training patients, itself and by models of a resampling that had not seen them.

    Neither is how it scores others: it has seen the former, and models of other patients scored the latter.

    Attributes
    ----------
    trained, held_out
        Risk at the last horizon; None where a model gives all patients the same, or nobody was held out.
    slope, held_out_slope
        Slope of the outcome; None where it has none.
    events
        Of held-out patients; None where there is no time to an event, or other causes compete.
    """

    trained: Bins | None = None
    held_out: Bins | None = None
    slope: Slope | None = None
    held_out_slope: Slope | None = None
    events: Events | None = None


class Places(_Closed):
    """Mean and covariance of the latents of training patients with any omic."""

    n: Annotated[int, Field(ge=2, le=2**53)]
    mean: Annotated[list[Finite], Field(min_length=1, max_length=4096)]
    covariance: Annotated[list[list[Finite]], Field(min_length=1, max_length=4096)]

    @model_validator(mode="after")
    def _square(self) -> Places:
        if {len(row) for row in self.covariance} | {len(self.covariance)} != {len(self.mean)}:
            raise ValueError("places that do not fit together")
        return self


class Reference(_Closed):
    """All that a batch is compared with.

    Attributes
    ----------
    omics
        By name.
    clinical
        Covariates.
    places
        In the latent space.
    models
        By name.
    subgroups
        Training patients by subgroup; `OTHERS` are the unassigned and those of rare subgroups.
    """

    omics: dict[Label, Part]
    clinical: Part
    places: Places
    models: dict[Label, Scored]
    subgroups: dict[Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]{0,3})?$")], Count]


def bins_of(values: np.ndarray, least: int) -> Bins | None:
    """Bins by quantiles, neighbours together until each holds at least `least` patients.

    Parameters
    ----------
    values
        Shape `(n_patients,)`, NaN where missing.
    least
        Smallest count of a bin.

    Returns
    -------
    Bins or None
        None where fewer than two bins are left, or fewer than `FEWEST` patients have a value.
    """
    known = np.sort(values[np.isfinite(values)].astype(np.float64))
    if len(known) < FEWEST:
        return None
    edges = np.unique(known[(len(known) * np.arange(1, BINS)) // BINS - 1])
    kept, below = [], 0
    for edge in edges:
        here = int(np.searchsorted(known, edge, side="right"))
        if here - below >= least and len(known) - here >= least:
            kept.append(float(edge))
            below = here
    if not kept:
        return None
    made = Bins(edges=kept, counts=[0] * (len(kept) + 1))
    return Bins(edges=kept, counts=made.count(known).tolist())


def classes_of(levels: Sequence[str], least: int) -> dict[str, int]:
    """Patients by class; the rarest are together as `OTHERS` until these are at least `least`, or none."""
    names, counts = np.unique(np.asarray(levels, dtype=object).astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    named = [(str(names[i]), int(counts[i])) for i in order if names[i] != OTHERS]
    others = sum(int(c) for n, c in zip(names, counts, strict=True) if n == OTHERS)
    while named and (named[-1][1] < least or 0 < others < least):
        others += named.pop()[1]
    return dict(sorted(named)) | {OTHERS: others}


def subgroups_of(subgroup: np.ndarray) -> list[str]:
    """Subgroups of patients, shape `(n_patients,)` with 0 = unassigned, as classes."""
    return [str(g) if g else OTHERS for g in subgroup]


def count_classes(levels: Sequence[str], known: Mapping[str, int]) -> np.ndarray:
    """Patients of a batch in the classes of `classes_of`, in its order; unknown levels count as `OTHERS`."""
    place = {name: i for i, name in enumerate(known)}
    rows = [place.get(level, place[OTHERS]) for level in levels]
    return np.bincount(np.asarray(rows, dtype=np.int64), minlength=len(place))


def embed(values: np.ndarray, width: float) -> np.ndarray:
    """Random Fourier features, shape `(n_patients, 2 * FREQUENCIES)`, of transformed features, NaN where missing."""
    # Not `default_rng`: NumPy promises the same numbers in every version of the older generator alone.
    frequencies = np.random.RandomState(_SEED).standard_normal((values.shape[1], FREQUENCIES)) / width
    phase = np.nan_to_num(values.astype(np.float64), nan=0.0) @ frequencies
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=1) / np.sqrt(FREQUENCIES)


def embedding_of(values: np.ndarray) -> Embedding | None:
    """Embedding of training patients, shape `(n_patients, n_features)`; None of fewer than `FEWEST` patients."""
    from scipy.spatial.distance import pdist

    if len(values) < FEWEST or not values.shape[1]:
        return None
    some = values[np.unique(np.linspace(0, len(values) - 1, _LOOKED_AT).astype(np.int64))]
    width = float(np.median(pdist(np.nan_to_num(some.astype(np.float64), nan=0.0))))
    if width <= 0:
        return None
    made = embed(values, width)
    covariance = np.cov(made.T)
    return Embedding(width=width, n=len(values), mean=made.mean(axis=0).tolist(), covariance=covariance.tolist())


def omic_part(values: np.ndarray, transformed: np.ndarray, features: Sequence[str], without: int, least: int) -> Part:
    """Training patients in one omic.

    Parameters
    ----------
    values
        Shape `(n_patients, n_features)`, on the scaled unit of the kind, of those who have the omic.
    transformed
        The same as models see them, of training patients who have any of these features.
    features
        Names.
    without
        Training patients who lack the omic.
    least
        Smallest count of a bin.
    """
    bins = {name: made for j, name in enumerate(features) if (made := bins_of(values[:, j], least)) is not None}
    gone = (~np.isfinite(values)).sum(axis=0)
    return Part(
        patients=len(values),
        without=blurred(without, least),
        missing={name: min(blurred(int(gone[j]), least), len(values)) for j, name in enumerate(features)},
        bins=bins,
        embedding=embedding_of(transformed),
    )


def clinical_part(numeric: Mapping[str, np.ndarray], levels: Mapping[str, Sequence[str | None]], least: int) -> Part:
    """Training patients in the clinical columns: numbers with NaN, and levels with None, where missing."""
    n = len(next(iter((*numeric.values(), *levels.values())), ()))
    missing = {name: int((~np.isfinite(v)).sum()) for name, v in numeric.items()}
    missing |= {name: sum(level is None for level in own) for name, own in levels.items()}
    return Part(
        patients=n,
        without=0,
        missing={name: min(blurred(count, least), n) for name, count in missing.items()},
        bins={name: made for name, v in numeric.items() if (made := bins_of(v, least)) is not None},
        classes={name: classes_of([x for x in own if x is not None], least) for name, own in levels.items()},
    )


def places_of(latents: np.ndarray) -> Places:
    """Of training patients with any omic, shape `(n_patients, n_latent)`."""
    covariance = np.cov(latents.T).reshape(latents.shape[1], -1)
    return Places(n=len(latents), mean=latents.mean(axis=0).tolist(), covariance=covariance.tolist())


def to_json(reference: Reference) -> dict[str, Any]:
    """As plain values."""
    return reference.model_dump(mode="json")


def read_reference(path: str) -> Reference:
    """What `to_json` gave.

    Raises
    ------
    ValueError
        If it is something else, or too large.
    """
    if Path(path).stat().st_size > MOST_BYTES:
        raise ValueError(f"{Path(path).name} is larger than it can be")
    return Reference.model_validate(json.loads(Path(path).read_bytes()))
