"""Columns that each Cox model may use, and whether there are patients enough for so many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.prognosis.models import Inputs, columns_of_omics, columns_of_scores
from stratiome.prognosis.sample_size import SampleSize, least_sample_size

SIZED = ("clinical", "clinical_latent", "clinical_factors", "clinical_omics")
"""Models whose columns can be counted, so that Riley's criteria apply."""


@dataclass(frozen=True)
class Candidates:
    """Columns that a model may use.

    Attributes
    ----------
    x
        Shape `(n_patients, n_columns)`, standardised in training, finite.
    names
        Names of the columns.
    """

    x: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Sized:
    """Patients that a model has and is asked to have.

    Attributes
    ----------
    model
        Name of the model.
    n, events
        Training patients and events among them.
    parameters
        Candidate columns, chosen or not.
    asked
        What Riley's criteria ask for; None where that cannot be said.
    reason
        Why not, or "".
    """

    model: str
    n: int
    events: int
    parameters: int
    asked: SampleSize | None
    reason: str = ""


def candidates(inputs: Inputs, model: str) -> Candidates | None:
    """Columns of a model of `SIZED`, constant ones left out; None where MOFA+ did not run.

    Parameters
    ----------
    inputs
        Patients, roles, outcome and predictors.
    model
        One of `SIZED`.
    """
    own = Candidates(inputs.clinical, inputs.clinical_names)
    if model == "clinical":
        return own
    if model == "clinical_omics":
        columns = columns_of_omics(inputs)
        return Candidates(np.column_stack([own.x, columns.x]), own.names + columns.names)
    source = "latents" if model == "clinical_latent" else "factors"
    if getattr(inputs, source) is None:
        return None
    scores, _ = columns_of_scores(source, source[:-1], inputs)
    return own if scores is None else Candidates(scores.x, scores.names)


def sample_sizes(inputs: Inputs, models: tuple[str, ...], horizon: float) -> list[Sized]:
    """Whether the training patients are as many as Riley's criteria ask for, by model.

    Every candidate column counts, whether it is chosen or not. The rate of events and the mean follow-up are those of
    the training patients; 15 % of the largest possible R squared (Cox-Snell) is expected.

    Parameters
    ----------
    inputs
        Patients, roles, outcome and predictors.
    models
        Models; those that are not in `SIZED` are left out.
    horizon
        Months at which risk is predicted.
    """
    train = inputs.train
    n, events, months = int(train.sum()), int(inputs.event[train].sum()), float(inputs.time[train].sum())
    found = []
    for model in [m for m in SIZED if m in models]:
        columns = candidates(inputs, model)
        if columns is None:
            continue
        p = len(columns.names)
        if p == 0:
            found.append(Sized(model, n, events, 0, None, "no column varies in training"))
        elif events == 0:
            found.append(Sized(model, n, events, p, None, "no event in training"))
        else:
            found.append(Sized(model, n, events, p, least_sample_size(p, events / months, months / n, horizon)))
    return found
