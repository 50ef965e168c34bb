"""The latent that deep models must beat: principal components of all omics side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.features.block import FeatureSet
from stratiome.latent.ensemble import Projection, fit_projection
from stratiome.latent.inputs import OmicSpec, align, learn_specs


@dataclass(frozen=True)
class PcaModel:
    """Principal components of concatenated omics, each omic scaled to total variance one in training patients.

    Missing cells count as the training mean, so a patient who lacks omics lies nearer the centre.

    Attributes
    ----------
    specs
        One per omic.
    projection
        Components over all features.
    """

    specs: tuple[OmicSpec, ...]
    projection: Projection

    @classmethod
    def fit(cls, features: FeatureSet, dims: int) -> PcaModel:
        """Learn from the training patients who have at least one omic.

        Parameters
        ----------
        features
            Features of all patients.
        dims
            Number of components.
        """
        specs = learn_specs(features, balance=True)
        inputs = align(features, specs)
        return cls(specs, fit_projection(inputs.centred[features.train & inputs.has_any], dims))

    def transform(self, features: FeatureSet) -> np.ndarray:
        """Scores of any patients, shape `(n_patients, n_latent)`, float64; 0 for patients without any omic."""
        inputs = align(features, self.specs)
        return np.where(inputs.has_any[:, None], self.projection.apply(inputs.centred), 0.0)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Numbers and description to store."""
        return {}, {"kind": "pca"}
