"""The survival models of one resample on disk: arrays as safetensors, description as JSON; reading runs no code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stratiome.prognosis.bounds import Bounds
from stratiome.prognosis.conformal import lower_bounds
from stratiome.prognosis.models import Fit, Inputs, Omic
from stratiome.prognosis.predictor import Predictor, PredictorError, Tensors, from_state
from stratiome.survival.design import ClinicalDesign
from stratiome.tables import NOT_FITTED

FORMAT = 1


@dataclass(frozen=True)
class Prediction:
    """What one model says of some patients.

    Attributes
    ----------
    risk
        Shape `(n_patients,)`; higher = worse.
    survival
        Shape `(n_patients, n_times)`.
    lower
        Shape `(n_patients,)`, lower bounds on survival time in months; None where the model gives none.
    """

    risk: np.ndarray
    survival: np.ndarray
    lower: np.ndarray | None


@dataclass(frozen=True)
class StoredPrognosis:
    """Survival models that are ready to be applied to other patients.

    Attributes
    ----------
    grid
        Shape `(n_times,)`, months of the curves.
    design
        How clinical columns become numbers.
    omics
        Name of each omic and its features, as the models see them.
    models
        Models by name.
    bounds
        Level and limit of the lower bounds, by model.
    notes
        How each model was fitted.
    """

    grid: np.ndarray
    design: ClinicalDesign
    omics: dict[str, tuple[str, ...]]
    models: dict[str, Predictor]
    bounds: dict[str, tuple[float, float]]
    notes: dict[str, str]

    def predict(
        self, clinical: pl.DataFrame, omics: tuple[Omic, ...], latents: np.ndarray, factors: np.ndarray | None
    ) -> dict[str, Prediction]:
        """Predictions of every model.

        Parameters
        ----------
        clinical
            One row per patient, with the columns of the design.
        omics
            Features as `omics` names them, NaN where missing, rows as in `clinical`.
        latents
            Shape `(n_patients, n_latent)`, NaN rows where a patient has no omic.
        factors
            Shape `(n_patients, n_factors)`, or None where there are none.

        Raises
        ------
        PredictorError
            If the features are others.
        """
        given = {omic.name: omic.features for omic in omics}
        if given != self.omics:
            raise PredictorError("the features are not those of the models. Suggestion: build them by the bundle")
        n = clinical.height
        inputs = Inputs(
            np.zeros(n, dtype=bool),
            np.zeros(n),
            np.zeros(n, dtype=bool),
            self.design.transform(clinical),
            tuple(self.design.names),
            omics,
            latents,
            np.sum([np.isfinite(o.values).any(axis=1) for o in omics], axis=0).astype(np.int64),
            factors,
        )
        found: dict[str, Prediction] = {}
        for name, model in self.models.items():
            risk, survival = model.predict(inputs, self.grid, {n: p.survival for n, p in found.items()})
            lower = lower_bounds(survival, self.grid, *self.bounds[name]) if name in self.bounds else None
            found[name] = Prediction(risk, survival, lower)
        return found


def save_prognosis(
    fits: tuple[Fit, ...],
    bounds: tuple[Bounds, ...],
    design: ClinicalDesign,
    omics: tuple[Omic, ...],
    grid: np.ndarray,
    weights_path: str,
    description_path: str,
) -> None:
    """Write the models that were fitted; where a simpler one stands in, nothing is stored under the name.

    Parameters
    ----------
    fits
        Models.
    bounds
        Their lower bounds.
    design
        How clinical columns became numbers.
    omics
        Features that the models saw.
    grid
        Shape `(n_times,)`, months of the curves.
    weights_path, description_path
        Files to write.
    """
    from safetensors.numpy import save_file

    tensors: Tensors = {"grid": np.ascontiguousarray(grid)}
    models: dict[str, Any] = {}
    for fit in fits:
        if fit.note.startswith(NOT_FITTED) or fit.stand_in is not None:
            continue
        own, described = fit.predictor.state()
        tensors |= {f"{fit.model}.{k}": np.ascontiguousarray(v) for k, v in own.items()}
        models[fit.model] = described | {"note": fit.note}
    document = {
        "format": FORMAT,
        "design": design.state(),
        "omics": [{"name": o.name, "features": list(o.features)} for o in omics],
        "order": list(models),
        "models": models,
        "bounds": {b.model: {"level": b.calibrated.level, "limit": _finite(b.calibrated.limit)} for b in bounds},
    }
    for path in (weights_path, description_path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file({k: tensors[k] for k in sorted(tensors)}, weights_path)
    Path(description_path).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def load_prognosis(weights_path: str, description_path: str) -> StoredPrognosis:
    """Read what `save_prognosis` wrote.

    Raises
    ------
    PredictorError
        If the files do not belong together, or are of another format.
    """
    from safetensors.numpy import load_file

    document = json.loads(Path(description_path).read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        found = document.get("format")
        raise PredictorError(f"{description_path} has format {found}, not {FORMAT}. Suggestion: fit the models again")
    tensors = load_file(weights_path)
    models: dict[str, Predictor] = {}
    try:
        for name in document["order"]:
            own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
            models[name] = from_state(own, document["models"][name], models)
        limits = {k: np.inf if b["limit"] is None else float(b["limit"]) for k, b in document["bounds"].items()}
        return StoredPrognosis(
            tensors["grid"],
            ClinicalDesign.from_state(document["design"]),
            {o["name"]: tuple(o["features"]) for o in document["omics"]},
            models,
            {k: (float(b["level"]), limits[k]) for k, b in document["bounds"].items()},
            {name: str(document["models"][name]["note"]) for name in models},
        )
    except (KeyError, TypeError) as error:
        raise PredictorError(
            f"{description_path} and {weights_path} do not fit together ({error}). Suggestion: take both of one run"
        ) from None
