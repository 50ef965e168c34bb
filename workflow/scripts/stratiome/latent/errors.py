"""What can go wrong in a latent model."""

from __future__ import annotations


class LatentError(ValueError):
    """A latent model that cannot be trained, stored or applied."""
