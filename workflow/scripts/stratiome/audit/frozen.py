"""The fitted models of one resample as they are, and held-out patients whose data may be changed before they score."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from stratiome.features.block import Block, FeatureSet
from stratiome.latent.space import LatentSpace
from stratiome.prognosis.models import Omic
from stratiome.prognosis.predictor import Predictor, StackPredictor
from stratiome.prognosis.stored import StoredPrognosis

ROWS_AT_ONCE = 4096
"""Patients that are scored together."""


@dataclass(frozen=True)
class Patients:
    """What models see of some patients.

    Attributes
    ----------
    clinical
        One row per patient, with the columns of the clinical design.
    blocks
        Features of each omic, rows in the same order, NaN where missing.
    """

    clinical: pl.DataFrame
    blocks: tuple[Block, ...]

    def __len__(self) -> int:
        return self.clinical.height

    def with_values(self, values: dict[str, np.ndarray]) -> Patients:
        """The same patients with other values of some omics."""
        blocks = (Block(b.name, values.get(b.name, b.values), b.likelihood, b.features) for b in self.blocks)
        return Patients(self.clinical, tuple(blocks))

    def with_clinical(self, columns: Sequence[pl.Series]) -> Patients:
        """The same patients with other clinical columns."""
        return replace(self, clinical=self.clinical.with_columns(columns))


@dataclass(frozen=True)
class Score:
    """What one model says of patients: risk (higher = worse) and survival at a time, shape `(n_patients,)` each."""

    risk: np.ndarray
    survival: np.ndarray


@dataclass(frozen=True)
class Frozen:
    """Fitted models of one resample, none of which learns again.

    Attributes
    ----------
    prognosis
        Survival models.
    latent, factors
        The latent model, and MOFA+ (None where no model needs it).
    horizon
        Months at which survival is looked at.
    """

    prognosis: StoredPrognosis
    latent: LatentSpace
    factors: LatentSpace | None
    horizon: float

    def only(self, models: Collection[str]) -> Frozen:
        """The same with some of the models; of a stack, parts without weight are left out."""
        kept: dict[str, Predictor] = {}
        for name, model in self.prognosis.models.items():
            if name in models:
                kept[name] = _lighter(model) if isinstance(model, StackPredictor) else model
        return replace(self, prognosis=replace(self.prognosis, models=kept, bounds={}))

    def score(self, patients: Iterable[Patients]) -> list[dict[str, Score]]:
        """Scores by model of each of several groups of patients, each patient alone."""
        found: list[dict[str, Score]] = []
        group: list[Patients] = []
        for one in patients:
            if group and sum(map(len, group)) + len(one) > ROWS_AT_ONCE:
                found += self._together(group)
                group = []
            group.append(one)
        return found + (self._together(group) if group else [])

    def _together(self, group: Sequence[Patients]) -> list[dict[str, Score]]:
        clinical = pl.concat([p.clinical for p in group], how="vertical_relaxed")
        blocks = tuple(
            Block(b.name, np.concatenate([p.blocks[j].values for p in group]), b.likelihood, b.features)
            for j, b in enumerate(group[0].blocks)
        )
        ends = np.cumsum([len(p) for p in group])[:-1]
        made: list[dict[str, Score]] = [{} for _ in group]
        for model, score in self._scores(clinical, blocks).items():
            parts = zip(np.split(score.risk, ends), np.split(score.survival, ends), strict=True)
            for one, part in zip(made, parts, strict=True):
                one[model] = Score(*part)
        return made

    def _scores(self, clinical: pl.DataFrame, blocks: tuple[Block, ...]) -> dict[str, Score]:
        features = FeatureSet(tuple(map(str, range(clinical.height))), np.full(clinical.height, "test"), blocks)
        any_omic = np.any([b.present for b in blocks], axis=0)[:, None]
        latents = np.where(any_omic, self.latent.transform(features), np.nan)
        factors = None if self.factors is None else np.where(any_omic, self.factors.transform(features), np.nan)
        omics = tuple(Omic(b.name, b.values, b.features) for b in blocks)
        at = int(np.argmin(np.abs(self.prognosis.grid - self.horizon)))
        predicted = self.prognosis.predict(clinical, omics, latents, factors)
        return {model: Score(p.risk, p.survival[:, at]) for model, p in predicted.items()}


def _lighter(stack: StackPredictor) -> StackPredictor:
    kept = np.flatnonzero(stack.weights > 0)
    return StackPredictor(stack.weights[kept], tuple(stack.models[i] for i in kept), stack.tau)
