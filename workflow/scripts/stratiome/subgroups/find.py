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
    """

    selection: Selection
    mixture: Mixture
    probabilities: np.ndarray
    labels: np.ndarray
    best: np.ndarray
    jaccard: np.ndarray

    def rows(
        self, model: str, resample: str, features: FeatureSet, settings: SubgroupConfig
    ) -> dict[str, list[dict[str, Any]]]:
        """Rows of the tables assignment, memberships, selection and stability."""
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
    points = latents[rows]
    selection = select_k(points, reference_sampler(model, features, rows, points), settings, seed)
    mixture = fit_mixture(points, selection.chosen, seed)
    probabilities = np.where(measured[:, None], mixture.probabilities(latents), 0.0)
    labels, best = assign(probabilities, measured, settings.min_probability)
    jaccard = np.full(1, np.nan)
    if selection.chosen > 1:
        jaccard = bootstrap_jaccard(points, selection.chosen, seed, probabilities[rows].argmax(axis=1) + 1)
    return Found(selection, mixture, probabilities, labels, best, jaccard)
