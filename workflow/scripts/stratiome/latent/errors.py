"""What can go wrong in a latent model."""

from __future__ import annotations


class LatentError(ValueError):
    """A latent model that cannot be trained, stored or applied."""


class TrainingStopped(LatentError):
    """Training that was told to stop, and can go on from its checkpoint."""
