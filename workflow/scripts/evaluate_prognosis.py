"""Pool held-out predictions over resamples and measure discrimination, accuracy and calibration."""

import logging

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.config import EndpointConfig, EvaluationConfig, PrognosisConfig
from stratiome.prognosis import evaluate
from stratiome.prognosis.models import MODELS
from stratiome.resample.names import repeats_of
from stratiome.survival.outcome import check_outcome, time_grid

logger = logging.getLogger("stratiome.prognosis")


def main(
    *,
    outcome: str,
    resamples: str,
    curves: list[str],
    risks: list[str],
    models: list[str],
    metrics: str,
    by_resample: str,
    calibration: str,
    endpoint: EndpointConfig,
    prognosis: PrognosisConfig,
    evaluation: EvaluationConfig,
    seed: int,
) -> None:
    """Read outcome and predictions, evaluate each design, and write the three tables."""
    patients = tables.read_table(outcome, tables.Outcome).sort("patient_id")
    time, event = check_outcome(patients["time_months"].to_numpy(), patients["event"].to_numpy())
    problem = evaluate.Problem(time, event, time_grid(endpoint), endpoint.horizons_months, endpoint.tau_months)
    held_out = tables.read_table(resamples, tables.Resamples).filter(pl.col("role") == "test")
    fits = pl.concat([tables.read_table(p, tables.PrognosisModels) for p in models])
    designs = _designs(problem, patients["patient_id"], held_out, curves, risks, fits)
    estimates, resample_rows = [], []
    for design in designs:
        count = len(design.repeats[0].rows)
        logger.info("%s: %d repeats, %d held-out patients", design.name, len(design.repeats), count)
        rng = np.random.default_rng(seed)
        found = evaluate.evaluate_design(
            problem, design, bootstraps=evaluation.bootstraps, level=evaluation.level, rng=rng
        )
        estimates += [(design.name, e) for e in found]
        resample_rows += [(design.name, e) for e in evaluate.evaluate_resamples(problem, design)]
    # The table knows no design: it is of the first one there is, and of its first repeat, so that patients count once.
    groups = evaluate.evaluate_calibration(problem, designs[0].repeats[0], evaluation.level) if designs else []
    tables.write_table(_metrics(estimates), metrics, tables.PrognosisMetrics)
    tables.write_table(_by_resample(resample_rows), by_resample, tables.PrognosisResamples)
    tables.write_table(_calibration(groups), calibration, tables.Calibration)


def _designs(
    problem: evaluate.Problem,
    patients: pl.Series,
    held_out: pl.DataFrame,
    curves: list[str],
    risks: list[str],
    fits: pl.DataFrame,
) -> list[evaluate.Design]:
    score = pl.concat([tables.read_table(p, tables.PrognosisRisks) for p in risks])
    curve = pl.concat([tables.read_table(p, tables.PrognosisCurves) for p in curves])
    designs: list[evaluate.Design] = []
    sets = repeats_of(held_out)
    for name in [d for d in tables.DESIGNS if d in sets]:
        made = [_predictions(problem, patients, held_out, score, curve, fits, tuple(members)) for members in sets[name]]
        known = tuple(m for m in made if len(m.rows))
        designs += [evaluate.Design(name, known)] if known else []
    return designs


def _predictions(
    problem: evaluate.Problem,
    patients: pl.Series,
    held_out: pl.DataFrame,
    score: pl.DataFrame,
    curve: pl.DataFrame,
    fits: pl.DataFrame,
    members: tuple[str, ...],
) -> evaluate.Predictions:
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
    return evaluate.Predictions(keys["row"].to_numpy(), keys["fold"].to_numpy(), members, risk, survival, stand_in)


def _complete(one: pl.DataFrame, many: pl.DataFrame, problem: evaluate.Problem, model: str) -> None:
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


def _metrics(estimates: list[tuple[str, evaluate.Estimate]]) -> pl.DataFrame:
    rows = [
        {
            "estimate": e.estimate,
            "lower": e.lower,
            "upper": e.upper,
            "n": e.n,
            "events": e.events,
            "method": e.method,
            "held_out": True,
            "design": design,
            "model": e.model,
            "metric": e.metric,
            "horizon_months": e.horizon,
            "versus": e.versus,
        }
        for design, e in estimates
    ]
    return tables.from_rows(rows, tables.PrognosisMetrics)


def _by_resample(found: list[tuple[str, evaluate.ResampleEstimate]]) -> pl.DataFrame:
    rows = [
        {"design": d, "resample": e.resample, "model": e.model, "uno_c": e.uno_c, "n": e.n, "events": e.events}
        for d, e in found
    ]
    return tables.from_rows(rows, tables.PrognosisResamples)


def _calibration(groups: list[tuple[str, float, int, evaluate.CalibrationGroup]]) -> pl.DataFrame:
    rows = [
        {
            "model": model,
            "horizon_months": horizon,
            "group": number,
            "predicted": g.predicted,
            "observed": g.observed,
            "lower": g.lower,
            "upper": g.upper,
            "n": g.n,
        }
        for model, horizon, number, g in groups
    ]
    return tables.from_rows(rows, tables.Calibration)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
