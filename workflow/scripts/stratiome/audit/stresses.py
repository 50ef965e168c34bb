"""Changes of held-out patients with doses: noise, missing values, fewer features, and shifts as of a new batch.

Doses are in standard deviations of the training patients, or shares. Features are those that models see, after the
transforms of `features`, held within the range that these allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from stratiome.audit.frozen import Patients
from stratiome.features.build import CLIP
from stratiome.tables import ROBUSTNESS_CONCEPTS

INPUT, MISSING, LABELS, IMBALANCE, SELECTION, SPECIFICATION, SHIFT, ADVERSARY = ROBUSTNESS_CONCEPTS

NOISE = (0.25, 0.5, 1.0)
LACKING = (0.1, 0.25, 0.5)
"""Shares of features set missing, other ones in each patient."""
PANEL = (0.25, 0.5, 0.75, 0.9)
"""Shares of features that no patient has."""
STRONGEST = (0.01, 0.05, 0.1, 0.25)
"""Shares of features that are removed, those with the largest weights first."""
SHIFTS = (0.25, 0.5, 1.0)

Change = Callable[[Patients, np.random.Generator], Patients]


@dataclass(frozen=True)
class Stress:
    """One change at one dose.

    Attributes
    ----------
    concept
        One of `tables.ROBUSTNESS_CONCEPTS`.
    name
        What is done.
    part
        Omic or covariate to which it is done, "" = all.
    dose
        How much of it.
    change
        From patients to patients.
    random
        Whether the change differs from draw to draw.
    """

    concept: str
    name: str
    part: str
    dose: float
    change: Change
    random: bool = False


@dataclass(frozen=True)
class Scale:
    """What training patients say of the size of a change.

    Attributes
    ----------
    spread
        Omic -> shape `(n_features,)`, SD of each feature.
    mean
        Omic -> shape `(n_features,)`.
    covariates
        Numeric clinical column with more than two values -> its SD; classes are left as they are.
    """

    spread: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]
    covariates: dict[str, float]

    @classmethod
    def of(cls, training: Patients, numeric: dict[str, float]) -> Scale:
        """Learn from training patients; `numeric` holds the SD of each numeric column of the clinical design."""
        spread, mean = {}, {}
        for block in training.blocks:
            known = np.isfinite(block.values)
            n = np.maximum(known.sum(axis=0), 1)
            centre = np.where(known, block.values, 0.0).sum(axis=0) / n
            spread[block.name] = np.sqrt((np.where(known, block.values - centre, 0.0) ** 2).sum(axis=0) / n)
            mean[block.name] = centre
        kept = {c: s for c, s in numeric.items() if training.clinical[c].drop_nulls().n_unique() > 2}
        return cls(spread, mean, kept)


def stresses(patients: Patients, scale: Scale, covariates: tuple[str, ...], weight: np.ndarray) -> Iterator[Stress]:
    """All changes of patients but those of an adversary.

    Parameters
    ----------
    patients
        The held-out patients as they are.
    scale
        Of the training patients.
    covariates
        Clinical columns of the models.
    weight
        Shape `(n_all_features,)`, how much the models rely on each feature of the omics, side by side.
    """
    for dose in NOISE:
        yield Stress(INPUT, "noise on features and numeric covariates", "", dose, noise(dose, scale), random=True)
    for dose in LACKING:
        yield Stress(MISSING, "features missing at random", "", dose, lacking(dose), random=True)
    names = [b.name for b in patients.blocks]
    for name in names:
        yield Stress(MISSING, "without an omic", name, 1.0, without_omics((name,)))
    if len(names) > 1:
        yield Stress(MISSING, "without any omic", "", 1.0, without_omics(tuple(names)))
    for column in covariates:
        yield Stress(MISSING, "without a covariate", column, 1.0, without_covariate(column))
    for dose in PANEL:
        yield Stress(SELECTION, "features left out at random", "", dose, smaller_panel(dose), random=True)
    for dose in STRONGEST:
        yield Stress(SELECTION, "features with the largest weights left out", "", dose, without_strongest(dose, weight))
    for block in patients.blocks:
        if block.likelihood != "gaussian":
            continue
        name = block.name
        for dose in SHIFTS:
            yield Stress(SHIFT, "all features higher", name, dose, shifted(name, dose, scale))
        for dose in SHIFTS:
            yield Stress(SHIFT, "all features higher in one half", name, dose, shifted(name, dose, scale, half=True))
        for dose in SHIFTS:
            yield Stress(SHIFT, "all features spread wider", name, dose, widened(name, dose, scale))


def noise(dose: float, scale: Scale) -> Change:
    """Gaussian noise of `dose` SD on features and numeric covariates.

    A 0/1 feature is drawn anew with its frequency in training, with the probability `1 - 1 / sqrt(1 + dose^2)` that
    leaves it as correlated with the true value as noise leaves a continuous one.
    """

    def change(patients: Patients, rng: np.random.Generator) -> Patients:
        values = {}
        for block in patients.blocks:
            if block.likelihood == "gaussian":
                x = block.values + dose * scale.spread[block.name] * rng.standard_normal(block.values.shape)
                values[block.name] = _held(x)
                continue
            drawn = rng.random(block.values.shape) < scale.mean[block.name]
            anew = (rng.random(block.values.shape) < 1 - (1 + dose**2) ** -0.5) & np.isfinite(block.values)
            values[block.name] = np.where(anew, drawn, block.values).astype(np.float32)
        columns = [
            _numbers(patients, column) + pl.Series(dose * spread * rng.standard_normal(len(patients)))
            for column, spread in scale.covariates.items()
        ]
        return patients.with_values(values).with_clinical(columns)

    return change


def lacking(share: float) -> Change:
    """Features set missing at random, other ones in each patient."""

    def change(patients: Patients, rng: np.random.Generator) -> Patients:
        return patients.with_values(
            {b.name: np.where(rng.random(b.values.shape) < share, np.nan, b.values) for b in patients.blocks}
        )

    return change


def without_omics(names: tuple[str, ...]) -> Change:
    """Omics that nobody has."""

    def change(patients: Patients, rng: np.random.Generator) -> Patients:
        return patients.with_values(
            {b.name: np.full_like(b.values, np.nan) for b in patients.blocks if b.name in names}
        )

    return change


def without_covariate(column: str) -> Change:
    """A clinical column that nobody has."""

    def change(patients: Patients, rng: np.random.Generator) -> Patients:
        gone = pl.Series(column, [None] * len(patients), dtype=patients.clinical[column].dtype)
        return patients.with_clinical([gone])

    return change


def smaller_panel(share: float) -> Change:
    """A share of the features of each omic, drawn at random, that nobody has."""

    def change(patients: Patients, rng: np.random.Generator) -> Patients:
        return _without(patients, [rng.random(len(b.features)) < share for b in patients.blocks])

    return change


def without_strongest(share: float, weight: np.ndarray) -> Change:
    """A share of all features, those on which models rely most, that nobody has; at least one."""

    def change(patients: Patients, rng: np.random.Generator) -> Patients:
        gone = np.zeros(len(weight), dtype=bool)
        gone[np.argsort(-weight, kind="stable")[: max(1, round(share * len(weight)))]] = True
        ends = np.cumsum([len(b.features) for b in patients.blocks])[:-1]
        return _without(patients, np.split(gone, ends))

    return change


def shifted(omic: str, dose: float, scale: Scale, *, half: bool = False) -> Change:
    """All features of an omic higher by `dose` SD, in every patient or in every second one."""

    def change(patients: Patients, rng: np.random.Generator) -> Patients:
        x = _values(patients, omic).copy()
        x[:: 2 if half else 1] += (dose * scale.spread[omic]).astype(x.dtype)
        return patients.with_values({omic: _held(x)})

    return change


def widened(omic: str, dose: float, scale: Scale) -> Change:
    """All features of an omic spread wider about their training means, by the factor `1 + dose`."""

    def change(patients: Patients, rng: np.random.Generator) -> Patients:
        x = _values(patients, omic)
        return patients.with_values({omic: _held(x + dose * (x - scale.mean[omic]))})

    return change


def moved(
    patients: Patients, scale: Scale, features: dict[str, np.ndarray], covariates: dict[str, np.ndarray]
) -> Patients:
    """Patients moved by SDs of training: features of continuous omics, and numeric covariates."""
    values = {
        b.name: _held(b.values + features[b.name] * scale.spread[b.name])
        for b in patients.blocks
        if b.likelihood == "gaussian" and b.name in features
    }
    columns = [
        _numbers(patients, column) + pl.Series(covariates[column] * spread)
        for column, spread in scale.covariates.items()
        if column in covariates
    ]
    return patients.with_values(values).with_clinical(columns)


def _without(patients: Patients, gone: list[np.ndarray]) -> Patients:
    return patients.with_values(
        {b.name: np.where(out, np.nan, b.values) for b, out in zip(patients.blocks, gone, strict=True)}
    )


def _values(patients: Patients, omic: str) -> np.ndarray:
    return next(b.values for b in patients.blocks if b.name == omic)


def _numbers(patients: Patients, column: str) -> pl.Series:
    return patients.clinical[column].cast(pl.Float64)


def _held(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -CLIP, CLIP).astype(np.float32)
