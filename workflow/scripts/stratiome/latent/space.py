"""What every latent space can do, whatever made it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from stratiome.features.block import FeatureSet
from stratiome.latent.inputs import OmicSpec


class LatentSpace(Protocol):
    """A fitted latent model: any patient with any subset of the omics has a place in it."""

    @property
    def specs(self) -> tuple[OmicSpec, ...]:
        """One per omic."""

    def transform(self, features: FeatureSet) -> np.ndarray:
        """Latents of any patients, shape `(n_patients, n_latent)`, float64; 0 for patients without any omic."""

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Numbers and description to store."""


@runtime_checkable
class Refittable(Protocol):
    """A latent model that is quick enough to be learned anew on every reference cohort."""

    def refit(self, features: FeatureSet) -> LatentSpace:
        """The same model with the same settings, learned on the training patients of other features."""
