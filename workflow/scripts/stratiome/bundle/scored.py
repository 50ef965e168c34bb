"""How the models of a bundle score the training patients, and how models of a resampling scored those held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.bundle.reference import STRETCHES, Bins, Events, Scored, Slope, bins_of
from stratiome.bundle.training import FEWEST
from stratiome.config import EndpointConfig
from stratiome.features.block import FeatureSet
from stratiome.prognosis.models import Omic
from stratiome.prognosis.stored import StoredPrognosis
from stratiome.survival.expected import events_between, outcome_slope


@dataclass(frozen=True)
class Curves:
    """Predicted survival of some patients by one model.

    Attributes
    ----------
    patient_ids
        Length `n_patients`.
    survival
        Shape `(n_patients, n_times)`.
    resample
        Shape `(n_patients,)`, which models predicted.
    """

    patient_ids: tuple[str, ...]
    survival: np.ndarray
    resample: np.ndarray


def trained_curves(
    models: StoredPrognosis,
    features: FeatureSet,
    clinical: pl.DataFrame,
    latents: np.ndarray,
    factors: np.ndarray | None,
) -> dict[str, Curves]:
    """Curves of the training patients by the models that have learned from them.

    Parameters
    ----------
    models
        Of the resample `full`.
    features
        Its features.
    clinical
        Clinical columns of all patients.
    latents, factors
        Shape `(n_patients, n_latent)` and `(n_patients, n_factors)`, rows as `features`; None without factors.
    """
    own = features.take(np.flatnonzero(features.train))
    ids = pl.DataFrame({"patient_id": list(own.patient_ids)}, schema={"patient_id": pl.String})
    rows = ids.join(clinical, on="patient_id", how="left", maintain_order="left")
    known = np.any([b.present for b in own.blocks], axis=0)[:, None]
    seen = tuple(Omic(b.name, b.values, b.features) for b in own.blocks)
    places = [None if m is None else np.where(known, m[features.train], np.nan) for m in (latents, factors)]
    predicted = models.predict(rows, seen, *places)  # type: ignore[arg-type]
    same = np.full(len(own.patient_ids), "full", dtype=object)
    return {name: Curves(own.patient_ids, made.survival, same) for name, made in predicted.items()}


def read_held_out(curves: Sequence[str], models: Sequence[str]) -> dict[str, Curves]:
    """Curves of held-out patients by model, without those of resamples where another model stands in.

    Parameters
    ----------
    curves, models
        Paths, contracts `PrognosisCurves` and `PrognosisModels`, one of each per resample.
    """
    parts: dict[str, list[Curves]] = {}
    for path, about in zip(curves, models, strict=True):
        told = tables.read_table(about, tables.PrognosisModels)
        fitted = told.filter(pl.col("stand_in").is_null() & ~pl.col("note").str.starts_with(tables.NOT_FITTED))
        table = tables.read_table(path, tables.PrognosisCurves)
        for (model,), own in table.group_by("model", maintain_order=True):
            if model not in fitted["model"]:
                continue
            rows = own.sort("patient_id", "time_months")
            ids = tuple(rows["patient_id"].unique(maintain_order=True).to_list())
            survival = rows["survival"].to_numpy().reshape(len(ids), -1)
            made = Curves(ids, survival, np.full(len(ids), rows["resample"][0], dtype=object))
            parts.setdefault(str(model), []).append(made)
    return {model: _joined(own) for model, own in parts.items()}


def _joined(parts: Iterable[Curves]) -> Curves:
    own = list(parts)
    ids = tuple(p for part in own for p in part.patient_ids)
    return Curves(ids, np.concatenate([p.survival for p in own]), np.concatenate([p.resample for p in own]))


def has_hazards(endpoint: EndpointConfig) -> bool:
    """Whether curves are exponentials of a cumulative hazard: one event in time, without competing ones."""
    return endpoint.response is None and endpoint.competing is None


def scored(
    trained: Curves,
    held_out: Curves | None,
    outcome: pl.DataFrame,
    grid: np.ndarray,
    endpoint: EndpointConfig,
    least: int,
) -> Scored:
    """Summary of the scores of a model.

    Parameters
    ----------
    trained, held_out
        Curves of training patients by the model itself, and by models that had not seen them (None without).
    outcome
        Contract `Outcome`.
    grid
        Shape `(n_times,)`, months of all curves.
    endpoint
        The outcome; its last horizon counts.
    least
        Smallest count of a bin.
    """
    at = int(np.argmin(np.abs(grid - endpoint.horizons_months[-1])))
    bins = [None if own is None else _bins(own, at, least) for own in (trained, held_out)]
    slope = held_slope = events = None
    if has_hazards(endpoint):
        slope, _ = _outcome(trained, outcome, grid, at, least)
        held_slope, events = (None, None) if held_out is None else _outcome(held_out, outcome, grid, at, least)
    return Scored(trained=bins[0], held_out=bins[1], slope=slope, held_out_slope=held_slope, events=events)


def _bins(curves: Curves, at: int, least: int) -> Bins | None:
    """Bins of the risk; None where a model tells few patients apart."""
    risk = 1.0 - curves.survival[:, at]
    apart = [len(np.unique(risk[curves.resample == r])) for r in dict.fromkeys(curves.resample)]
    return bins_of(risk, least) if apart and min(apart) >= FEWEST else None


def _outcome(
    curves: Curves, outcome: pl.DataFrame, grid: np.ndarray, at: int, least: int
) -> tuple[Slope | None, Events | None]:
    rows = pl.DataFrame({"patient_id": list(curves.patient_ids), "row": np.arange(len(curves.patient_ids))})
    known = rows.join(outcome, on="patient_id", how="inner").sort("row")
    time, event = known["time_months"].to_numpy(), known["event"].to_numpy() == 1
    own = known["row"].to_numpy()
    survival, resample, months = curves.survival[own][:, : at + 1], curves.resample[own], grid[: at + 1]
    until = stretches(time[event], months, least)
    if until is None:
        return None, None
    observed, expected = events_between(time, event, survival, months, until)
    slope = outcome_slope(time, event, survival[:, -1], float(grid[at]), resample)
    found = None if slope is None else Slope(value=slope[0], error=slope[1])
    told = Events(until=until.tolist(), observed=observed.tolist(), expected=np.maximum(expected, 1e-9).tolist())
    return found, told


def stretches(events: np.ndarray, grid: np.ndarray, least: int) -> np.ndarray | None:
    """Ends of stretches of follow-up with at least `least` events each, months of the grid; None where none has.

    Parameters
    ----------
    events
        Shape `(n_events,)`, months.
    grid
        Shape `(n_times,)`, months from 0; the last one ends the last stretch.
    """
    total = int((events <= grid[-1]).sum())
    most = max(least, -(-total // STRETCHES), 1)
    ends, before = [], 0
    for month in grid[1:]:
        here = int((events <= month).sum())
        if here - before >= most and (total - here >= most or month == grid[-1]):
            ends.append(float(month))
            before = here
    if ends and ends[-1] != grid[-1]:
        ends.append(float(grid[-1]))
    return np.array(ends) if ends else None
