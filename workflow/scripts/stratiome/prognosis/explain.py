"""Attribution of the risk at a horizon to the columns that a model sees, by integrated gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stratiome.prognosis.models import ANY_MISSING, Linear, standardisation

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-4
"""Largest difference, in probability, of the sum of attributions to the difference of risks that they explain."""
STEPS = (16, 32, 64, 128, 256, 512)
"""Points on the way from the baseline to the patient, tried in turn."""

_ROWS = 4096  # rows of one pass through the model
_MAX_LINEAR = 50.0

Places = Callable[["Tensor", "Tensor"], "Tensor"]
"""Differentiable map from centred omics columns and shares observed to latents, shape `(n_patients, n_latent)`."""


class ExplainError(ValueError):
    """An attribution that does not add up."""


@dataclass(frozen=True)
class Attribution:
    """What of the difference of a patient's risk to that of the average patient goes to which column.

    Attributes
    ----------
    omics
        Shape `(n_patients, n_omics_columns)`, in probability; 0 where a patient lacks the omic.
    clinical
        Shape `(n_patients, n_clinical)`, in probability.
    risk, average
        Shape `(n_patients,)`, risk at the horizon of the patient, and of the average one measured in the same omics.
    error
        Largest absolute difference of the sum of attributions to `risk - average`.
    steps
        Points used.
    """

    omics: np.ndarray
    clinical: np.ndarray
    risk: np.ndarray
    average: np.ndarray
    error: float
    steps: int


def attribute_risk(
    linear: Linear,
    places: Places,
    omics: np.ndarray,
    observed: np.ndarray,
    clinical: np.ndarray,
    clinical_names: tuple[str, ...],
    latents: np.ndarray,
    train: np.ndarray,
    rows: np.ndarray,
    horizon: float,
) -> Attribution:
    r"""Integrated gradients of the risk of a Cox model on clinical columns and latents.

    With `F(x)` the risk at the horizon of a patient with columns `x`, and `x0` the average training patient, column `j`
    gets :math:`(x_j - x_{0j}) \int_0^1 \partial_j F(x_0 + a (x - x_0)) da` (Sundararajan, Taly & Yan 2017, ICML), by
    Gauss-Legendre quadrature (captum). Attributions of a patient add up to `F(x) - F(x0)`. The baseline has the same
    omics as the patient, all features at their training mean: which omics were measured explains nothing here.

    Parameters
    ----------
    linear
        Model on columns named as `clinical_names`, then `latent 1`, ... in SD of the training patients; further columns
        are kept at the patient's value.
    places
        The latent model, in double precision.
    omics, observed
        Shapes `(n_patients, n_omics_columns)` and `(n_patients, n_omics)`, as `places` takes them.
    clinical
        Shape `(n_patients, n_clinical)`.
    clinical_names
        Names of its columns.
    latents
        Shape `(n_patients, n_latent)`, what `places` gives; NaN rows where a patient has no omic.
    train
        Shape `(n_patients,)`, patients whose mean and SD scaled the latents of the model.
    rows
        Patients to explain; each has at least one omic.
    horizon
        Months.

    Raises
    ------
    ExplainError
        If the risk is not the one that the model predicts, or attributions do not add up.
    """
    import torch
    from captum.attr import IntegratedGradients

    columns = _columns(linear, clinical, clinical_names, latents, observed, train)
    centre, scale, _ = standardisation(latents, train)
    weight = dict(zip(linear.names, linear.model.coefficients, strict=True))
    own = np.array([weight.get(name, 0.0) for name in clinical_names])
    of_latents = np.array([weight.get(_latent(j), 0.0) for j in range(latents.shape[1])])
    of_latents = np.divide(of_latents, scale, out=np.zeros_like(of_latents), where=of_latents != 0)
    # What is the same for a patient and its baseline: other columns, and means.
    other = [j for j, name in enumerate(linear.names) if name == ANY_MISSING]
    shift = columns[:, other] @ linear.model.coefficients[other]
    shift = shift - linear.model.centre @ linear.model.coefficients - centre @ of_latents
    steps = np.concatenate([[0.0], linear.model.cumulative_hazard])
    hazard = float(steps[np.searchsorted(linear.model.times, horizon, side="right")])
    average = clinical[train].mean(axis=0)

    split = omics.shape[1]
    slopes = [torch.from_numpy(np.ascontiguousarray(v, dtype=np.float64)) for v in (own, of_latents)]

    def risk(columns: Tensor, seen: Tensor, constant: Tensor) -> Tensor:
        score = columns[:, split:] @ slopes[0] + places(columns[:, :split], seen) @ slopes[1] + constant
        return -torch.expm1(-hazard * score.clamp(-_MAX_LINEAR, _MAX_LINEAR).exp())

    given = np.column_stack([omics[rows], clinical[rows]])
    base = np.column_stack([np.zeros((len(rows), split)), np.tile(average, (len(rows), 1))])
    x, x0, seen, constant = (torch.from_numpy(v) for v in (given, base, observed[rows], shift[rows]))
    with torch.no_grad():
        reached, start = risk(x, seen, constant), risk(x0, seen, constant)
    predicted = 1.0 - linear.model.survival(columns[rows], np.array([horizon]))[:, 0]
    if len(rows) and (error := float(np.abs(predicted - reached.numpy()).max())) > TOLERANCE:
        raise ExplainError(f"the explained function misses the predicted risk by {error:.2g}")
    method = IntegratedGradients(risk)
    for points in STEPS:
        found = method.attribute(
            x,
            x0,
            additional_forward_args=(seen, constant),
            n_steps=points,
            method="gausslegendre",
            internal_batch_size=_ROWS,
        )
        error = float((found.sum(dim=1) - (reached - start)).abs().max()) if len(rows) else 0.0
        if error <= TOLERANCE:
            parts = found.detach().numpy()
            return Attribution(parts[:, :split], parts[:, split:], reached.numpy(), start.numpy(), error, points)
    raise ExplainError(f"attributions miss the difference of risks by {error:.2g} even with {STEPS[-1]} steps")


def _columns(
    linear: Linear,
    clinical: np.ndarray,
    clinical_names: tuple[str, ...],
    latents: np.ndarray,
    observed: np.ndarray,
    train: np.ndarray,
) -> np.ndarray:
    """What the model sees, shape `(n_patients, n_columns)`, made again from the parts."""
    lacking = ((observed > 0).sum(axis=1) < max(observed.shape[1], 1)).astype(np.float64)
    parts = {name: clinical[:, j] for j, name in enumerate(clinical_names)}
    for values, names in ((latents, map(_latent, range(latents.shape[1]))), (lacking[:, None], [ANY_MISSING])):
        centre, scale, kept = standardisation(values, train)
        for j, name in enumerate(names):
            if j in kept:
                parts[name] = np.nan_to_num((values[:, j] - centre[j]) / scale[j])
    if unknown := [name for name in linear.names if name not in parts]:
        raise ExplainError(f"columns {unknown[:3]} are not known. Suggestion: explain the model on latents")
    return np.column_stack([parts[name] for name in linear.names])


def _latent(number: int) -> str:
    return f"latent {number + 1}"
