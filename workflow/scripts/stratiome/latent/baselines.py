"""The latents that deep models must beat: principal components, MOFA+, similarity network fusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.config import LatentConfig
from stratiome.features.block import FeatureSet
from stratiome.latent.ensemble import Projection, fit_projection
from stratiome.latent.fusion import FusionModel
from stratiome.latent.inputs import OmicSpec, align, learn_specs
from stratiome.latent.mofa import MofaModel
from stratiome.latent.space import LatentSpace


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
        return self.projection.tensors(), {"kind": "pca"}

    @classmethod
    def from_state(
        cls, tensors: dict[str, np.ndarray], description: dict[str, Any], specs: tuple[OmicSpec, ...]
    ) -> PcaModel:
        """The model of a stored state."""
        return cls(specs, Projection.of(tensors))

    def refit(self, features: FeatureSet) -> PcaModel:
        """The same model learned on other features."""
        return PcaModel.fit(features, self.projection.components.shape[1])


def fit_baselines(features: FeatureSet, settings: LatentConfig, seed: int) -> dict[str, LatentSpace]:
    """Fit the baselines that the config names, in the order of the config.

    Parameters
    ----------
    features
        Features of all patients; others than those with role train are not looked at.
    settings
        Which baselines, and the number of dimensions.
    seed
        Seed of those that begin at random.
    """
    fits: dict[str, Callable[[], LatentSpace]] = {
        "pca": lambda: PcaModel.fit(features, settings.dims),
        "mofa": lambda: MofaModel.fit(features, settings.dims, seed),
        "snf": lambda: FusionModel.fit(features, settings.dims),
    }
    return {name: fits[name]() for name in settings.baselines}
