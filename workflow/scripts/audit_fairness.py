"""Rule audit_fairness: what held-out predictions are worth in each group of patients that the config names."""

import logging

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.audit import fairness, group_tests, recalibration
from stratiome.cohort.groups import groupings
from stratiome.config import EndpointConfig, EvaluationConfig
from stratiome.prognosis.evaluate import Design, Problem
from stratiome.prognosis.held_out import Files, read_bounds, read_designs
from stratiome.resample.names import repeats_of
from stratiome.survival.outcome import check_outcome, time_grid

logger = logging.getLogger("stratiome.audit")


def main(
    *,
    clinical: str,
    outcome: str,
    resamples: str,
    curves: list[str],
    risks: list[str],
    models: list[str],
    bounds: list[str],
    censoring: list[str],
    fairness_groups: str,
    fairness_tests: str,
    fairness_recalibration: str,
    groups: list[str],
    cuts: dict[str, list[float]],
    intersections: bool,
    endpoint: EndpointConfig,
    evaluation: EvaluationConfig,
    seed: int,
) -> None:
    """Judge the first design there is, and write the tables; they are empty where no groups are named."""
    measured: list[dict] = []
    tested: list[dict] = []
    updated: list[dict] = []
    if groups:
        patients = tables.read_table(outcome, tables.Outcome).sort("patient_id")
        problem = _problem(patients, endpoint)
        held_out = tables.read_table(resamples, tables.Resamples).filter(pl.col("role") == "test")
        files = Files(curves, risks, models, bounds, censoring)
        sets = repeats_of(held_out)
        first = {name: sets[name][:1] for name in [d for d in tables.DESIGNS if d in sets][:1]}
        for design in read_designs(problem, patients["patient_id"], held_out, first, files):
            given = design.repeats[0]
            ids = patients["patient_id"].gather(given.rows)
            own = pl.DataFrame({"patient_id": ids}).join(
                pl.read_parquet(clinical), on="patient_id", how="left", maintain_order="left"
            )
            named = groupings(own, groups, cuts, intersections)
            logger.info("%s: %d held-out patients, %s", design.name, len(given.rows), _sizes(named))
            limits = read_bounds(patients["patient_id"], given, bounds)
            draws = fairness.Draws(evaluation.bootstraps, evaluation.level, seed)
            measured = _measured(problem, design, named, limits, draws)
            tested = _tested(problem, design, named, 1.0 - evaluation.level)
            updated = _updated(problem, design, named, draws)
    for rows, path, contract in (
        (measured, fairness_groups, tables.Fairness),
        (tested, fairness_tests, tables.FairnessTests),
        (updated, fairness_recalibration, tables.FairnessRecalibration),
    ):
        tables.write_table(tables.from_rows(rows, contract), path, contract)


def _problem(patients: pl.DataFrame, endpoint: EndpointConfig) -> Problem:
    time, event = check_outcome(patients["time_months"].to_numpy(), patients["event"].to_numpy())
    competing = None if endpoint.competing is None else patients["competing"].to_numpy() == 1
    return Problem(time, event, time_grid(endpoint), endpoint.horizons_months, endpoint.tau_months, competing)


def _sizes(named: dict[str, np.ndarray]) -> str:
    """Number of groups of each grouping; those of patients stay out of the log."""
    return "; ".join(f"{k}: {len(set(v) - {''})} groups" for k, v in named.items())


def _columns(row: fairness.Measured, design: str) -> dict:
    claimed = (
        "estimate",
        "lower",
        "upper",
        "n",
        "events",
        "method",
        "grouping",
        "group",
        "model",
        "metric",
        "threshold",
    )
    found = {k: getattr(row, k) for k in claimed}
    return found | {"held_out": True, "design": design, "horizon_months": row.horizon}


def _measured(
    problem: Problem, design: Design, named: dict[str, np.ndarray], limits: dict[str, np.ndarray], draws: fairness.Draws
) -> list[dict]:
    given = design.repeats[0]
    found = fairness.judge(problem, given, named, draws, by_site=design.by_site)
    found += fairness.covered(problem, given, named, limits, draws)
    return [_columns(row, design.name) for row in found]


def _tested(problem: Problem, design: Design, named: dict[str, np.ndarray], alpha: float) -> list[dict]:
    given = design.repeats[0]
    models = [m for m in fairness.JUDGED if m in given.survival]
    words = group_tests.methods(problem)
    return [
        {
            "design": design.name,
            "kind": t.kind,
            "grouping": t.grouping,
            "group": t.group,
            "model": t.model,
            "horizon_months": t.horizon,
            "statistic": t.statistic,
            "df": t.df,
            "p_value": t.p_value,
            "p_holm": t.p_holm,
            "flagged": t.p_holm is not None and t.p_holm <= alpha,
            "groups": t.groups,
            "n": t.n,
            "events": t.events,
            "method": f"not estimable: {t.reason}; {words[t.kind]}" if t.reason else words[t.kind],
            "held_out": True,
        }
        for t in group_tests.judge_groups(problem, given, named, models, problem.horizons[-1])
    ]


def _updated(problem: Problem, design: Design, named: dict[str, np.ndarray], draws: fairness.Draws) -> list[dict]:
    found = recalibration.recalibrate(problem, design.repeats[0], named, problem.horizons[-1], draws)
    return [_columns(row.measured, design.name) | {"state": row.state} for row in found]


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
