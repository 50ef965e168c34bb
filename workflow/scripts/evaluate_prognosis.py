"""Pool held-out predictions over resamples and measure discrimination, accuracy and calibration."""

import logging

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.config import EndpointConfig, EvaluationConfig, PrognosisConfig
from stratiome.prognosis import calibration_summary, evaluate, risk_distribution, use
from stratiome.prognosis.held_out import Files, read_bounds, read_designs
from stratiome.resample.names import repeats_of
from stratiome.survival.censoring import MIN_CENSORING_SURVIVAL
from stratiome.survival.outcome import check_outcome, time_grid

logger = logging.getLogger("stratiome.prognosis")


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
    metrics: str,
    by_resample: str,
    calibration: str,
    decisions: str,
    coverage: str,
    calibration_curves: str,
    calibration_measures: str,
    risks_by_outcome: str,
    covariates: tuple[str, ...],
    endpoint: EndpointConfig,
    prognosis: PrognosisConfig,
    evaluation: EvaluationConfig,
    seed: int,
    site: str | None = None,
) -> None:
    """Read outcome and predictions, evaluate each design, and write the tables."""
    patients = tables.read_table(outcome, tables.Outcome).sort("patient_id")
    time, event = check_outcome(patients["time_months"].to_numpy(), patients["event"].to_numpy())
    competing = None if endpoint.competing is None else patients["competing"].to_numpy() == 1
    grid, horizons, tau = time_grid(endpoint), endpoint.horizons_months, endpoint.tau_months
    problem = evaluate.Problem(time, event, grid, horizons, tau, competing)
    held_out = tables.read_table(resamples, tables.Resamples).filter(pl.col("role") == "test")
    files = Files(curves, risks, models, bounds, censoring)
    designs = read_designs(problem, patients["patient_id"], held_out, repeats_of(held_out), files)
    settings = {"bootstraps": evaluation.bootstraps, "level": evaluation.level}
    estimates, resample_rows = [], []
    for design in designs:
        count = len(design.repeats[0].rows)
        logger.info("%s: %d repeats, %d held-out patients", design.name, len(design.repeats), count)
        rng = np.random.default_rng(seed)
        found = evaluate.evaluate_design(problem, design, rng=rng, **settings)
        estimates += [(design.name, e) for e in found]
        rng = np.random.default_rng([seed, 3])
        resample_rows += [(design.name, e) for e in evaluate.evaluate_resamples(problem, design, rng=rng, **settings)]
    # The table knows no design: it is of the first one there is, and of its first repeat, so that patients count once.
    groups = evaluate.evaluate_calibration(problem, designs[0].repeats[0], evaluation.level) if designs else []
    benefits: list[use.Benefit] = []
    covered: list[use.Covered] = []
    for first in designs[:1]:
        repeat = first.repeats[0]
        benefits = use.decision_curves(problem, repeat, rng=np.random.default_rng([seed, 1]), **settings)
        given = read_bounds(patients["patient_id"], repeat, bounds)
        assert repeat.uncensored is not None
        rng = np.random.default_rng([seed, 2])
        classes = _classes(pl.read_parquet(clinical), (*covariates, site), patients["patient_id"])
        classes = {name: values[repeat.rows] for name, values in classes.items()}
        covered = use.coverage_of_bounds(problem, repeat, given, repeat.uncensored, rng=rng, groups=classes, **settings)
    name = designs[0].name if designs else ""
    observed = "Kaplan-Meier survival" if competing is None else "Aalen-Johansen cumulative incidence"
    tables.write_table(_decisions(benefits, name, observed, evaluation), decisions, tables.PrognosisDecisions)
    tables.write_table(_coverage(covered, name, prognosis.bound, evaluation), coverage, tables.PrognosisCoverage)
    tables.write_table(_metrics(estimates), metrics, tables.PrognosisMetrics)
    tables.write_table(_by_resample(resample_rows), by_resample, tables.PrognosisResamples)
    tables.write_table(_calibration(groups), calibration, tables.Calibration)
    agreement = _agreement(problem, designs, competing, evaluation, seed)
    for table, path, contract in zip(
        agreement,
        (calibration_curves, calibration_measures, risks_by_outcome),
        (tables.CalibrationCurves, tables.CalibrationSummary, tables.RiskDistribution),
        strict=True,
    ):
        tables.write_table(table, path, contract)


MOST_CLASSES = 12
"""Classes of a clinical column beyond which lower bounds are not judged by it."""


def _classes(clinical: pl.DataFrame, columns: tuple[str | None, ...], patients: pl.Series) -> dict[str, np.ndarray]:
    """Class of each patient in every clinical column of few values, "" where it is not known."""
    joined = pl.DataFrame({"patient_id": patients}).join(clinical, on="patient_id", how="left", maintain_order="left")
    named = dict.fromkeys(c for c in columns if c is not None and c in joined.columns)
    few = [c for c in named if 2 <= joined[c].drop_nulls().n_unique() <= MOST_CLASSES]
    return {c: joined[c].cast(pl.String).fill_null("").to_numpy().astype(str) for c in few}


def _decisions(found: list[use.Benefit], design: str, observed: str, evaluation: EvaluationConfig) -> pl.DataFrame:
    method = (
        f"net benefit with {observed} of those above the threshold; "
        f"{100 * evaluation.level:g} % percentile interval of {evaluation.bootstraps} bootstraps of held-out patients"
    )
    rows = [
        {
            "estimate": b.estimate,
            "lower": b.lower,
            "upper": b.upper,
            "n": b.n,
            "events": b.events,
            "method": method if b.estimate is not None else f"not estimable: nobody followed long enough; {method}",
            "held_out": True,
            "design": design,
            "model": b.model,
            "horizon_months": b.horizon,
            "threshold": b.threshold,
            "versus": b.versus,
        }
        for b in found
    ]
    return tables.from_rows(rows, tables.PrognosisDecisions)


def _coverage(found: list[use.Covered], design: str, nominal: float, evaluation: EvaluationConfig) -> pl.DataFrame:
    rows = [
        {
            "estimate": c.estimate,
            "lower": c.lower,
            "upper": c.upper,
            "n": c.n,
            "events": c.events,
            "method": (
                f"share who outlive their bound, of those whose status is known ({c.known} patients), inverse"
                " probability of censoring weights of a Cox model on clinical columns, truncated at G ="
                f" {MIN_CENSORING_SURVIVAL:g} ({c.truncated} patients); {100 * evaluation.level:g} % percentile"
                f" interval of {evaluation.bootstraps} bootstraps of held-out patients"
            ),
            "held_out": True,
            "design": design,
            "model": c.model,
            "nominal": nominal,
            "by": c.by,
            "group": c.group,
            "median_months": c.median,
        }
        for c in found
    ]
    return tables.from_rows(rows, tables.PrognosisCoverage)


def _metrics(estimates: list[tuple[str, evaluate.Estimate]]) -> pl.DataFrame:
    rows = [{"design": design} | e.columns() for design, e in estimates]
    return tables.from_rows(rows, tables.PrognosisMetrics)


def _by_resample(found: list[tuple[str, evaluate.ResampleEstimate]]) -> pl.DataFrame:
    rows = [
        {
            "design": d,
            "resample": e.resample,
            "model": e.model,
            "uno_c": e.uno_c,
            "standard_error": e.error,
            "lower": e.lower,
            "upper": e.upper,
            "n": e.n,
            "events": e.events,
        }
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


def _agreement(
    problem: evaluate.Problem,
    designs: list[evaluate.Design],
    competing: np.ndarray | None,
    evaluation: EvaluationConfig,
    seed: int,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Smooth calibration curves, their summaries and the distribution of risks, of the first repeat of each design."""
    curves, measures, distribution = [], [], []
    for design in designs:
        points, found = calibration_summary.calibrate(
            problem,
            design.repeats[0],
            by_site=design.by_site,
            bootstraps=evaluation.bootstraps,
            level=evaluation.level,
            seed=[seed, 3],
            competing=competing,
        )
        curves += [
            {
                "design": design.name,
                "model": p.model,
                "horizon_months": p.horizon,
                "predicted": p.predicted,
                "observed": p.observed,
                "lower": p.lower,
                "upper": p.upper,
            }
            for p in points
        ]
        measures += [
            {
                "estimate": m.estimate,
                "lower": m.lower,
                "upper": m.upper,
                "n": m.n,
                "events": m.events,
                "method": m.method,
                "held_out": True,
                "design": design.name,
                "model": m.model,
                "metric": m.metric,
                "horizon_months": m.horizon,
                "chance": m.chance,
                "chance_upper": m.chance_upper,
                "df": m.df,
                "p_value": m.p_value,
            }
            for m in found
        ]
        distribution += [
            {
                "design": design.name,
                "model": c.model,
                "horizon_months": c.horizon,
                "outcome": c.outcome,
                "bin_lower": c.lower,
                "bin_upper": c.upper,
                "n": c.n,
            }
            for c in risk_distribution.risk_distribution(problem, design.repeats[0], competing)
        ]
    return (
        tables.from_rows(curves, tables.CalibrationCurves),
        tables.from_rows(measures, tables.CalibrationSummary),
        tables.from_rows(distribution, tables.RiskDistribution),
    )


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
