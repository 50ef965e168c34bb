"""The features as a latent model takes them: matched by name, centred, missing cells marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stratiome.features.block import FeatureSet, StoredFeatures, pieces
from stratiome.latent.errors import LatentError


@dataclass(frozen=True)
class OmicSpec:
    """What a latent model remembers of one omic.

    Attributes
    ----------
    name
        Name of the omic.
    likelihood
        gaussian, bernoulli, or negative_binomial: raw counts, whose scaled values the encoder sees.
    features
        Names, in the order of the weights.
    mean
        Shape `(n_features,)`, of the training patients; what a missing cell is worth.
    scale
        Number by which all features of the omic are divided in the input.
    rate
        Shape `(n_features,)`, share of the reads of the training patients, of omics with a negative binomial
        likelihood; None for others, and not stored.
    """

    name: str
    likelihood: str
    features: tuple[str, ...]
    mean: np.ndarray
    scale: float
    rate: np.ndarray | None = None

    def start(self) -> np.ndarray | None:
        """Where the decoder starts, on its own scale, shape `(n_features,)`; None for 0, the average of the omic."""
        if self.likelihood == "bernoulli":
            mean = np.clip(self.mean, 1e-3, 1 - 1e-3)
            return np.asarray(np.log(mean / (1 - mean)), dtype=np.float32)
        return None if self.rate is None else np.log(np.maximum(self.rate, 1e-9)).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """As plain data, without the numbers that belong to the weights."""
        return {"name": self.name, "likelihood": self.likelihood, "features": list(self.features)}


@dataclass(frozen=True)
class Inputs:
    """Features of all omics side by side.

    Attributes
    ----------
    raw
        One array per omic, shape `(n_patients, n_features)`, float64, NaN where missing.
    centred
        Shape `(n_patients, n_all_features)`, centred and scaled by omic, 0 where missing.
    observed
        Shape `(n_patients, n_omics)`, share of the features of each omic that was measured.
    """

    raw: list[np.ndarray]
    centred: np.ndarray
    observed: np.ndarray

    @property
    def has_any(self) -> np.ndarray:
        """Shape `(n_patients,)`, True where any omic was measured."""
        return np.any(self.observed > 0, axis=1)


def learn_specs(features: FeatureSet | StoredFeatures, *, balance: bool, counts: bool = False) -> tuple[OmicSpec, ...]:
    """Centre and scale of each omic, from training patients only.

    Parameters
    ----------
    features
        Features of all patients, which pass in pieces.
    balance
        True: each omic is divided by the root of its total variance, so that all count the same. False: by the root of
        its mean variance, so that a feature has variance one on average.
    counts
        Whether omics that bring their raw counts get a negative binomial likelihood.

    Raises
    ------
    LatentError
        If no training patient has any omic.
    """
    rows = np.flatnonzero(features.train)
    sizes = [len(b.features) for b in features.blocks]
    n, total = ([np.zeros(p) for p in sizes] for _ in range(2))
    for values, seen, o in _training(features, rows):
        n[o] += seen.sum(axis=0)
        total[o] += np.where(seen, values, 0.0).sum(axis=0)
    if not any(k.any() for k in n):
        raise LatentError("no training patient has any omic. Suggestion: look at the patient flow of the cohort")
    means = [t / np.maximum(k, 1) for t, k in zip(total, n, strict=True)]
    squares = [np.zeros(p) for p in sizes]
    rates: list[np.ndarray | None] = _rates(features, rows) if counts else [None for _ in sizes]
    for values, seen, o in _training(features, rows):
        squares[o] += (np.where(seen, values - means[o], 0.0) ** 2).sum(axis=0)
    specs = []
    block: Any
    for o, block in enumerate(features.blocks):
        mean, square, k, rate = means[o], squares[o], n[o], rates[o]
        variance = square / (len(rows) if balance else np.maximum(k, 1))
        scale = float(np.sqrt(variance.sum() if balance else variance.mean())) if block.features else 1.0
        likelihood = block.likelihood if rate is None else "negative_binomial"
        specs.append(OmicSpec(block.name, likelihood, block.features, mean, scale if scale > 0 else 1.0, rate))
    return tuple(specs)


def _rates(features: FeatureSet | StoredFeatures, rows: np.ndarray) -> list[np.ndarray | None]:
    """Share of each feature in the reads of the patients `rows`; None for omics without counts."""
    reads = [np.zeros(len(b.features)) for b in features.blocks]
    total = [0.0] * len(reads)
    for piece in pieces(rows):
        for o, block in enumerate(features.take(piece).blocks):
            if block.counts is not None and block.library is not None:
                reads[o] += np.nansum(block.counts, axis=0, dtype=np.float64)
                total[o] += float(np.nansum(block.library, dtype=np.float64))
    return [r / t if t > 0 else None for r, t in zip(reads, total, strict=True)]


def _training(features: FeatureSet | StoredFeatures, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Values in double precision, what is finite and the position of each omic, a piece of patients at a time."""
    for piece in pieces(rows):
        for o, block in enumerate(features.take(piece).blocks):
            values = block.values.astype(np.float64)
            yield values, np.isfinite(values), o


def align(features: FeatureSet, specs: tuple[OmicSpec, ...]) -> Inputs:
    """Features in the order of the model; features or omics that are lacking count as missing.

    Raises
    ------
    LatentError
        If an omic has another likelihood than the one the model was trained with.
    """
    blocks = {b.name: b for b in features.blocks}
    raw, centred, observed = [], [], []
    for spec in specs:
        values = _values(blocks.get(spec.name), spec, len(features.patient_ids))
        seen = np.isfinite(values)
        raw.append(values)
        centred.append(np.where(seen, values - spec.mean, 0.0) / spec.scale)
        observed.append(seen.sum(axis=1) / max(values.shape[1], 1))
    return Inputs(raw, np.concatenate(centred, axis=1), np.stack(observed, axis=1))


class Prepared(NamedTuple):
    """Numbers of some patients as a model is trained on them, one array per omic, all float32 but `seen`.

    Attributes
    ----------
    inputs
        Shape `(n_patients, n_features)`, centred and scaled, 0 where missing.
    targets
        Same shape, on the scale of the likelihood, 0 where missing: the inputs themselves for a Gaussian omic.
    seen
        Same shape, bool, False where missing.
    library
        Shape `(n_patients, 1)`, logarithm of the total count; 0 for omics without counts.
    observed
        Shape `(n_patients, n_omics)`, share of the features of each omic that was measured.
    """

    inputs: list[np.ndarray]
    targets: list[np.ndarray]
    seen: list[np.ndarray]
    library: list[np.ndarray]
    observed: np.ndarray


def prepare(features: FeatureSet, specs: tuple[OmicSpec, ...]) -> Prepared:
    """What a model is trained on, from the features that its specs were learned on."""
    inputs, targets, every_seen, library = [], [], [], []
    for block, spec in zip(features.blocks, specs, strict=True):
        seen = np.isfinite(block.values)
        mean = spec.mean.astype(np.float32)
        x = np.where(seen, (block.values - mean) / np.float32(spec.scale), np.float32(0))
        offset = np.zeros((len(x), 1), dtype=np.float32)
        target = x
        if spec.likelihood == "bernoulli":
            target = np.where(seen, block.values, np.float32(0))
        elif spec.likelihood == "negative_binomial":
            assert block.counts is not None
            assert block.library is not None
            seen = seen & np.isfinite(block.counts)
            target = np.where(seen, block.counts, np.float32(0))
            offset = np.log(np.where(block.present, np.maximum(block.library, 1), 1)).astype(np.float32)[:, None]
        inputs.append(x)
        targets.append(target)
        every_seen.append(seen)
        library.append(offset)
    shares = [s.sum(axis=1, dtype=np.float32) / np.float32(max(s.shape[1], 1)) for s in every_seen]
    return Prepared(inputs, targets, every_seen, library, np.stack(shares, axis=1))


def _values(block: Any, spec: OmicSpec, n: int) -> np.ndarray:
    if block is None:
        return np.full((n, len(spec.features)), np.nan)
    # Counts are encoded by their scaled values, which count as Gaussian.
    if block.likelihood != ("gaussian" if spec.likelihood == "negative_binomial" else spec.likelihood):
        raise LatentError(
            f"omic {spec.name} has likelihood {block.likelihood}, the model was trained with {spec.likelihood}. "
            "Suggestion: give it the kind that it had in the training config"
        )
    if block.features == spec.features:
        return block.values.astype(np.float64)
    values = np.full((n, len(spec.features)), np.nan)
    column = {name: j for j, name in enumerate(block.features)}
    for j, name in enumerate(spec.features):
        if name in column:
            values[:, j] = block.values[:, column[name]]
    return values
