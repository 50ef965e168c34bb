"""What the omics that a patient has tell of the patient's place in a latent space.

A patient who lacks omics is placed nearer the centre, between the subgroups, and enough of them are a stable cloud of
their own: a subgroup of missing data. How much is missing is learned from training patients who have more, by hiding
omics of theirs: no model needs to say how sure it is of a place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stratiome.features.block import FeatureSet
from stratiome.latent.space import LatentSpace
from stratiome.subgroups.cluster import Mixture

MIN_REFERENCES = 20
"""Fewest patients with more omics from whom anything is learned, and at least three times the latent dimensions."""

MIN_INFORMED = 100
"""Training patients below which those with the next most telling omics take part in finding subgroups as well."""

MIN_TOLD = 0.5
"""Share of the place below which omics tell too little even then."""

FLOOR = 1e-4
"""Variance added to every direction, as a share of the mean variance."""


@dataclass(frozen=True)
class Pattern:
    """A set of omics, and what it tells.

    Attributes
    ----------
    omics
        Names, in the order of the config.
    n
        Training patients with exactly these omics.
    share
        Share of the variance of the places of patients with more omics that is kept when they are seen with these
        omics only; None if there are too few patients with more omics to tell.
    references
        Index of the patients with more omics.
    places
        Shape `(n_references, n_latent)`, their places when seen with these omics only.
    used
        Whether patients with these omics take part in finding subgroups.
    """

    omics: tuple[str, ...]
    n: int
    share: float | None
    references: np.ndarray
    places: np.ndarray
    used: bool = False


@dataclass(frozen=True)
class Information:
    """Patterns of omics of a cohort.

    Attributes
    ----------
    patterns
        One per set of omics that a patient has.
    pattern
        Shape `(n_patients,)`, index of the pattern of each patient, -1 without any omic.
    """

    patterns: tuple[Pattern, ...]
    pattern: np.ndarray

    @property
    def used(self) -> np.ndarray:
        """Shape `(n_patients,)`, True for patients who take part in finding subgroups if they are training patients."""
        return np.array([p.used for p in self.patterns] + [False])[self.pattern]


def learn_information(model: LatentSpace, features: FeatureSet, latents: np.ndarray, least: float) -> Information:
    r"""Share of the place that each set of omics tells, on training patients.

    .. math:: 1 - \frac{\sum_i \lVert z_i - z_i^{(o)} \rVert^2}{\sum_i \lVert z_i - \bar z \rVert^2}

    over training patients with all omics (if too few, with more omics than those in question), `z` being the place and
    `z^{(o)}` the place when all omics but `o` are hidden: the coefficient of determination of the one for the other.
    Where an omic tells some subgroups apart and not others, even patients of whom most is known lie between subgroups,
    so nearly all must be known to take part in finding them, unless too few would.

    Parameters
    ----------
    model
        Model that made the latents.
    features
        Features of all patients.
    latents
        Shape `(n_patients, n_latent)`.
    least
        Share from which patients take part in finding subgroups.
    """
    present = np.stack([block.present for block in features.blocks], axis=1)
    sets, code = np.unique(present, axis=0, return_inverse=True)
    code = np.where(present.any(axis=1), code.ravel(), -1)
    some = np.flatnonzero(sets.any(axis=1))
    fewest = max(MIN_REFERENCES, 3 * latents.shape[1])
    patterns = []
    for own in some:
        more = features.train & (present >= sets[own]).all(axis=1) & (present != sets[own]).any(axis=1)
        complete = more & present.all(axis=1)
        references = np.flatnonzero(complete if complete.sum() >= fewest else more)
        names = tuple(b.name for b, here in zip(features.blocks, sets[own], strict=True) if here)
        n = int((features.train & (code == own)).sum())
        share, places = None, np.zeros((0, latents.shape[1]))
        if len(references) >= fewest:
            places = model.transform(features.take(references).only(names))
            full = latents[references]
            total = float(((full - full.mean(axis=0)) ** 2).sum())
            share = 1 - float(((full - places) ** 2).sum()) / total if total > 0 else 1.0
        patterns.append(Pattern(names, n, share, references, places))
    position = np.full(len(sets) + 1, -1)
    position[some] = np.arange(len(some))
    return Information(tuple(_choose(patterns, least)), position[code])


def _choose(patterns: list[Pattern], least: float) -> list[Pattern]:
    """Mark the patterns whose patients take part, the most telling ones first."""
    told = {i: 1.0 if p.share is None else p.share for i, p in enumerate(patterns)}
    chosen: set[int] = set()
    n = 0
    for i in sorted(told, key=lambda i: (-told[i], patterns[i].omics)):
        if told[i] >= least or (n < MIN_INFORMED and told[i] >= MIN_TOLD and patterns[i].n):
            chosen.add(i)
            n += patterns[i].n
    return [replace(p, used=i in chosen) for i, p in enumerate(patterns)]


def mixture_seen_with(pattern: Pattern, mixture: Mixture, latents: np.ndarray) -> Mixture:
    """The mixture as it looks to patients with few omics.

    Means and the shared covariance of the subgroups are those of the reference patients when seen with these omics
    only, by their memberships when seen with all. Where the omics tell nothing, memberships become the shares of the
    subgroups, and nobody is assigned on grounds of what was not measured.

    Parameters
    ----------
    pattern
        Omics with reference patients.
    mixture
        Mixture found in informed patients.
    latents
        Shape `(n_patients, n_latent)`.
    """
    member = mixture.probabilities(latents[pattern.references])
    size = member.sum(axis=0)
    overall = pattern.places.mean(axis=0)
    means = np.where(size[:, None] >= 1, member.T @ pattern.places / np.maximum(size, 1)[:, None], overall)
    spread = pattern.places[:, None] - means
    covariance = np.einsum("ik,ikd,ike->de", member, spread, spread) / len(pattern.places)
    floor = FLOOR * max(float(np.trace(mixture.covariance)) / len(covariance), 1e-30)
    return Mixture(mixture.weights, means, covariance + floor * np.eye(len(covariance)))
