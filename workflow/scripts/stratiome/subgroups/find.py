"""The subgroup stage for one latent space: choose the number, fit, assign, and say how stable it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.config import SubgroupConfig
from stratiome.features.block import FeatureSet
from stratiome.latent.errors import LatentError
from stratiome.latent.space import LatentSpace
from stratiome.subgroups.cluster import Mixture, assign, fit_mixture
from stratiome.subgroups.information import Information, Pattern, learn_information, mixture_seen_with
from stratiome.subgroups.reference import reference_sampler
from stratiome.subgroups.stability import Selection, bootstrap_jaccard, select_k


@dataclass(frozen=True)
class Found:
    """Subgroups of one latent space.

    Attributes
    ----------
    selection
        Evidence for the number of subgroups.
    mixture
        The fitted mixture.
    probabilities
        Shape `(n_patients, k)`, 0 for patients without any omic.
    labels
        Shape `(n_patients,)`, from 1 to k, 0 = unassigned.
    best
        Shape `(n_patients,)`, probability of the most probable subgroup.
    jaccard
        Shape `(k,)`, bootstrap Jaccard index; NaN where there is but one subgroup.
    information
        What the omics of patients tell of their places.
    seen_with
        The mixture as it looks to patients whose omics tell little, by names of omics, for training patients.
    """

    selection: Selection
    mixture: Mixture
    probabilities: np.ndarray
    labels: np.ndarray
    best: np.ndarray
    jaccard: np.ndarray
    information: Information
    seen_with: dict[str, Mixture]

    def mixtures(self) -> dict[str, Any]:
        """The mixtures as plain numbers for JSON."""
        return self.mixture.to_dict() | {"seen_with": {name: m.to_dict() for name, m in self.seen_with.items()}}

    def rows(
        self, model: str, resample: str, features: FeatureSet, settings: SubgroupConfig
    ) -> dict[str, list[dict[str, Any]]]:
        """Rows of the tables assignment, memberships, selection, stability and information."""
        key = {"resample": resample, "model": model}
        ids, roles = features.patient_ids, features.roles.astype(str).tolist()
        assignment = [
            {"patient_id": p, "role": r, "subgroup": s, "probability": b, **key}
            for p, r, s, b in zip(ids, roles, self.labels.tolist(), self.best.tolist(), strict=True)
        ]
        memberships = [
            {"patient_id": p, "model": model, "subgroup": j + 1, "probability": v}
            for p, own in zip(ids, np.clip(self.probabilities, 0.0, 1.0).tolist(), strict=True)
            for j, v in enumerate(own)
        ]
        size = [int((features.train & (self.labels == j + 1)).sum()) for j in range(self.mixture.k)]
        stability = [
            {"subgroup": j + 1, "n": size[j], "jaccard": float(v) if np.isfinite(v) else None, **key}
            for j, v in enumerate(self.jaccard)
        ]
        return {
            "assignment": assignment,
            "memberships": memberships,
            "selection": [key | row for row in self._selection_rows(settings)],
            "stability": stability,
            "information": [
                {
                    "omics": _name(pattern),
                    "n": pattern.n,
                    "references": len(pattern.references),
                    "share": pattern.share,
                    "used": pattern.used,
                    **key,
                }
                for pattern in self.information.patterns
                if pattern.n
            ],
        }

    def _selection_rows(self, settings: SubgroupConfig) -> list[dict[str, Any]]:
        considered = {k: j for j, k in enumerate(self.selection.k)}
        rows = []
        for k in settings.k:
            row: dict[str, Any] = {"k": k, "stability": None, "null_mean": None, "null_upper": None, "p_value": None}
            row["p_stable"] = None
            row["chosen"] = k == self.selection.chosen
            if considered:
                row["p_value"], row["p_stable"] = self.selection.p_value, self.selection.p_stable
            if k in considered:
                null = self.selection.null[:, considered[k]]
                row["stability"] = float(self.selection.stability[considered[k]])
                row["null_mean"], row["null_upper"] = float(null.mean()), float(np.quantile(null, 0.95))
            rows.append(row)
        return rows


def find_subgroups(
    latents: np.ndarray, features: FeatureSet, model: LatentSpace, settings: SubgroupConfig, seed: int
) -> Found:
    """Find subgroups in training patients and assign everybody.

    Patients whose omics tell too little of their place take no part in finding subgroups, and are assigned by what
    their omics tell (`subgroups.information`).

    Parameters
    ----------
    latents
        Shape `(n_patients, n_latent)`, as `model` made them of `features`.
    features
        Features of all patients; test patients are assigned and nothing else.
    model
        The latent model, which shows reference cohorts without subgroups in the same space.
    settings
        Numbers to consider and limits.
    seed
        Seed of everything random.

    Raises
    ------
    LatentError
        If latents and features are not of the same patients.
    """
    if len(latents) != len(features.patient_ids):
        raise LatentError(
            f"{len(latents)} latents for {len(features.patient_ids)} patients. Suggestion: give both of one resample"
        )
    measured = np.any([block.present for block in features.blocks], axis=0)
    rows = features.train & measured
    information = learn_information(model, features, latents, settings.min_information)
    informed = rows & information.used
    points = latents[informed]
    everybody = reference_sampler(model, features, rows, latents[rows])
    selection = select_k(points, lambda rng: everybody(rng)[informed[rows]], settings, seed)
    mixture = fit_mixture(points, selection.chosen, seed)
    probabilities, seen_with = memberships(mixture, information, latents)
    labels, best = assign(probabilities, measured, settings.min_probability)
    jaccard = np.full(1, np.nan)
    if selection.chosen > 1:
        jaccard = bootstrap_jaccard(points, selection.chosen, seed, probabilities[informed].argmax(axis=1) + 1)
    return Found(selection, mixture, probabilities, labels, best, jaccard, information, seen_with)


def memberships(
    mixture: Mixture, information: Information, latents: np.ndarray
) -> tuple[np.ndarray, dict[str, Mixture]]:
    """Probability of each subgroup for everybody, by what the omics of each patient tell.

    Parameters
    ----------
    mixture
        Found in the patients who took part.
    information
        What the omics of patients tell.
    latents
        Shape `(n_patients, n_latent)`.

    Returns
    -------
    tuple
        Probabilities, shape `(n_patients, k)`, 0 for patients without any omic; and the mixture as it looks with each
        set of omics that tells too little, by names of omics, for sets that training patients have.
    """
    probabilities = np.where(information.pattern[:, None] >= 0, mixture.probabilities(latents), 0.0)
    seen_with = {}
    for j, pattern in enumerate(information.patterns):
        if pattern.share is not None and not pattern.used:
            own = mixture_seen_with(pattern, mixture, latents)
            here = information.pattern == j
            probabilities[here] = own.probabilities(latents[here])
            if pattern.n:
                seen_with[_name(pattern)] = own
    return probabilities, seen_with


def _name(pattern: Pattern) -> str:
    return " + ".join(pattern.omics)
