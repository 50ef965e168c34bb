"""Sizes of the module, and the directions that encoders of wide omics see in place of features."""

from __future__ import annotations

import numpy as np

from stratiome.features.block import FeatureSet, StoredFeatures
from stratiome.latent.ensemble import fit_projection
from stratiome.latent.inputs import OmicSpec, prepare
from stratiome.latent.module import OmicShape

BASIS_PATIENTS = 2048
"""Most patients from whom the directions of a wide omic are learned."""


def shapes_of(specs: tuple[OmicSpec, ...], bases: list[np.ndarray | None]) -> tuple[OmicShape, ...]:
    """Sizes of the module for some omics."""
    return tuple(
        OmicShape(len(s.features), s.likelihood, None if b is None else b.shape[1])
        for s, b in zip(specs, bases, strict=True)
    )


def learn_bases(
    features: FeatureSet | StoredFeatures, specs: tuple[OmicSpec, ...], rows: np.ndarray, most: int
) -> list[np.ndarray | None]:
    """Directions that the encoder of a wide omic sees in place of its features, the same for all members.

    These are the leading principal components of (at most `BASIS_PATIENTS`) fitting patients, scaled by the root of
    the number of features, so that a step of Adam moves the encoder about as far as with the features themselves. The
    decoder has every feature. With as many directions as patients nothing is lost: gradients of the encoder lie in
    the span of the patients.

    Parameters
    ----------
    features, specs
        As in `train`.
    rows
        Index of the patients to learn from.
    most
        Number of directions; omics with at most twice as many features, and all if it is 0, are left as they are.

    Returns
    -------
    list of numpy.ndarray or None
        Shape `(n_features, n_directions)`, float32, or None for an omic that is left as it is.
    """
    wide = [most > 0 and len(s.features) > 2 * most for s in specs]
    if not any(wide):
        return [None] * len(specs)
    prepared = prepare(features.take(np.sort(rows)), specs)
    bases: list[np.ndarray | None] = []
    for o, spec in enumerate(specs):
        if not wide[o]:
            bases.append(None)
            continue
        x = prepared.inputs[o][prepared.observed[:, o] > 0].astype(np.float64)
        components = fit_projection(x, most).components if len(x) else np.zeros((len(spec.features), most))
        bases.append((components * np.sqrt(len(spec.features))).astype(np.float32))
    return bases
