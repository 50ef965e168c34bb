"""Held-out predictions of the survival models, read from the files of the resamples and put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.prognosis.evaluate import Design, Predictions, Problem
from stratiome.prognosis.models import MODELS


@dataclass(frozen=True)
class Files:
    """Paths of what was predicted, one of each kind a resample."""

    curves: Sequence[str]
    risks: Sequence[str]
    models: Sequence[str]
    bounds: Sequence[str]
    censoring: Sequence[str]


def read_designs(
    problem: Problem,
    patients: pl.Series,
    held_out: pl.DataFrame,
    sets: Mapping[str, Sequence[Sequence[str]]],
    files: Files,
) -> list[Design]:
    """Every design that there is, in the order of `tables.DESIGNS`.

    Parameters
    ----------
    problem
        Outcome and times.
    patients
        Identifiers in the order of the problem.
    held_out
        Rows of `Resamples` with role test.
    sets
        Design -> sets of resamples in each of which a patient is held out at most once.
    files
        What was predicted.

    Raises
    ------
    TableError
        If a held-out patient has no prediction, or curves are on another time grid.
    """
    score = pl.concat([tables.read_table(p, tables.PrognosisRisks) for p in files.risks])
    curve = pl.concat([tables.read_table(p, tables.PrognosisCurves) for p in files.curves])
    observed = pl.concat([tables.read_table(p, tables.PrognosisCensoring) for p in files.censoring])
    fits = pl.concat([tables.read_table(p, tables.PrognosisModels) for p in files.models])
    designs: list[Design] = []
    for name in [d for d in tables.DESIGNS if d in sets]:
        made = [_predictions(problem, patients, held_out, score, curve, fits, tuple(members)) for members in sets[name]]
        known = tuple(replace(m, uncensored=_uncensored(problem, patients, m, observed)) for m in made if len(m.rows))
        designs += [Design(name, known)] if known else []
    return designs


def read_bounds(patients: pl.Series, repeat: Predictions, bounds: Sequence[str]) -> dict[str, np.ndarray]:
    """Lower bounds by model of the held-out patients of a repeat, shape `(n_held_out,)`, months; NaN without one.

    Parameters
    ----------
    patients
        Identifiers in the order of the problem.
    repeat
        Predictions.
    bounds
        Paths, one a resample.
    """
    lower = pl.concat([tables.read_table(p, tables.PrognosisBounds) for p in bounds])
    keys, on = _keys(patients, repeat), ["patient_id", "resample"]
    return {
        m: keys.join(lower.filter(pl.col("model") == m), on=on, how="left", maintain_order="left")["lower_months"]
        .fill_null(float("nan"))
        .to_numpy()
        for m in MODELS
        if (lower["model"] == m).any()
    }


def _predictions(
    problem: Problem,
    patients: pl.Series,
    held_out: pl.DataFrame,
    score: pl.DataFrame,
    curve: pl.DataFrame,
    fits: pl.DataFrame,
    members: tuple[str, ...],
) -> Predictions:
    rows = pl.DataFrame({"patient_id": patients, "row": np.arange(len(patients))})
    folds = pl.DataFrame({"resample": list(members), "fold": np.arange(len(members))})
    keys = held_out.join(folds, on="resample").join(rows, on="patient_id").sort("row")
    keys = keys.select("patient_id", "resample", "row", "fold")
    on = ["patient_id", "resample"]
    risk, survival, stand_in = {}, {}, {}
    not_fitted = fits.filter(pl.col("stand_in").is_not_null() & pl.col("note").str.starts_with(tables.NOT_FITTED))
    for model in [m for m in MODELS if (score["model"] == m).any()]:
        one = keys.join(score.filter(pl.col("model") == model), on=on, how="left", maintain_order="left")
        many = keys.join(curve.filter(pl.col("model") == model), on=on, how="left").sort("row", "time_months")
        _complete(one, many, problem, model)
        risk[model] = one["risk"].to_numpy()
        survival[model] = many["survival"].to_numpy().reshape(len(keys), len(problem.grid))
        gone = not_fitted.filter(pl.col("model") == model)["resample"].to_list()
        if set(gone) & set(members):
            stand_in[model] = keys["resample"].is_in(gone).to_numpy()
    return Predictions(keys["row"].to_numpy(), keys["fold"].to_numpy(), members, risk, survival, stand_in)


def _keys(patients: pl.Series, repeat: Predictions) -> pl.DataFrame:
    return pl.DataFrame(
        {"patient_id": patients.gather(repeat.rows), "resample": [repeat.resamples[k] for k in repeat.fold]}
    )


def _uncensored(problem: Problem, patients: pl.Series, repeat: Predictions, censoring: pl.DataFrame) -> np.ndarray:
    """Probabilities of being under observation of the held-out patients of a repeat, by the model of their fold."""
    keys = _keys(patients, repeat)
    numbered = keys.with_columns(row=np.arange(keys.height))
    many = numbered.join(censoring, on=["patient_id", "resample"], how="left").sort("row", "time_months")
    return many["uncensored"].to_numpy().reshape(keys.height, len(problem.grid))


def _complete(one: pl.DataFrame, many: pl.DataFrame, problem: Problem, model: str) -> None:
    lacking = one.filter(pl.col("risk").is_null())["resample"].unique().sort().to_list()
    if lacking:
        raise tables.TableError(
            f"model `{model}`: held-out patients of {lacking} have no prediction. "
            "Suggestion: rerun fit_prognosis for them"
        )
    whole = many.height == one.height * len(problem.grid)
    if not whole or not np.array_equal(many["time_months"].to_numpy(), np.tile(problem.grid, one.height)):
        raise tables.TableError(
            f"model `{model}`: predicted curves are not on the time grid of the endpoint. "
            "Suggestion: rerun fit_prognosis"
        )
