"""What each omic adds to the models, and what moves the risk of held-out patients, over resamples."""

import logging

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.config import EndpointConfig, EvaluationConfig
from stratiome.prognosis.evaluate import FEWEST_EVENTS, FEWEST_PATIENTS, Problem, draw_weights
from stratiome.prognosis.importance import Exchanged, Loss, losses
from stratiome.resample.names import repeats_of
from stratiome.survival.interval import percentile_interval
from stratiome.survival.outcome import check_outcome, time_grid

logger = logging.getLogger("stratiome.prognosis")


def main(
    *,
    outcome: str,
    resamples: str,
    risks: list[str],
    curves: list[str],
    permuted: list[str],
    contributions: list[str],
    attributions: list[str],
    coefficients: str,
    importance: str,
    shares: str,
    explained: str,
    endpoint: EndpointConfig,
    evaluation: EvaluationConfig,
    seed: int,
) -> None:
    """Read predictions and attributions of all resamples, and write the three tables."""
    patients = tables.read_table(outcome, tables.Outcome).sort("patient_id")
    time, event = check_outcome(patients["time_months"].to_numpy(), patients["event"].to_numpy())
    competing = None if endpoint.competing is None else patients["competing"].to_numpy() == 1
    problem = Problem(time, event, time_grid(endpoint), endpoint.horizons_months, endpoint.tau_months, competing)
    held_out = tables.read_table(resamples, tables.Resamples).filter(pl.col("role") == "test")
    sets = repeats_of(held_out)
    design = next((d for d in tables.DESIGNS if d in sets), "")
    members = tuple(sets[design][0]) if design else ()
    horizon = endpoint.horizons_months[-1]
    moved = _read(permuted, tables.PrognosisPermuted)
    moved = moved.filter(pl.col("resample").is_in(members))
    plain = _plain(risks, curves, members, problem.grid[problem.column(horizon)])
    number = {p: i for i, p in enumerate(patients["patient_id"])}
    found = []
    for model, block in moved.select("model", "block").unique(maintain_order=True).iter_rows():
        own = moved.filter((pl.col("model") == model) & (pl.col("block") == block))
        given = _exchanged(own, plain.filter(pl.col("model") == model), number, members)
        rng = np.random.default_rng([seed, 4])
        made = losses(
            problem,
            given,
            horizon,
            by_site=design == "leave-site-out",
            bootstraps=evaluation.bootstraps,
            level=evaluation.level,
            rng=rng,
        )
        found += [(model, block, loss) for loss in made]
    tables.write_table(
        _importance(found, design, problem.tau, evaluation, _draws(moved)), importance, tables.PrognosisImportance
    )
    parts = _read(contributions, tables.PrognosisContributions)
    parts = parts.filter(pl.col("resample").is_in(members))
    known = set(number)
    dead = {p for p, e in zip(patients["patient_id"], event, strict=True) if e}
    made_shares = _shares(parts, design, horizon, evaluation, known, dead, seed)
    tables.write_table(made_shares, shares, tables.PrognosisShares)
    names = _read(attributions, tables.PrognosisAttributions)
    sparse = tables.read_table(coefficients, tables.PrognosisCoefficients).filter(pl.col("model") == "clinical_omics")
    tables.write_table(
        _explained(names.filter(pl.col("resample").is_in(members)), sparse), explained, tables.PrognosisExplained
    )


def _read(paths: list[str], contract: type[tables.Table]) -> pl.DataFrame:
    parts = [tables.read_table(p, contract) for p in paths]
    return pl.concat(parts) if parts else tables.from_rows([], contract)


def _draws(moved: pl.DataFrame) -> int:
    return int(moved["draw"].max() or 0)  # type: ignore[arg-type]


def _plain(risks: list[str], curves: list[str], members: tuple[str, ...], at: float) -> pl.DataFrame:
    """Predictions of held-out patients as they are, survival at one time."""
    risk = _read(risks, tables.PrognosisRisks)
    curve = _read(curves, tables.PrognosisCurves).filter((pl.col("time_months") - at).abs() < 1e-6)
    keys = ["patient_id", "resample", "model"]
    return risk.filter(pl.col("resample").is_in(members)).join(curve.select(*keys, "survival"), on=keys)


def _exchanged(own: pl.DataFrame, plain: pl.DataFrame, number: dict[str, int], members: tuple[str, ...]) -> Exchanged:
    """Predictions of one model with one block exchanged, beside those as they are, a row per patient."""
    order = own["patient_id", "resample"].unique().sort("patient_id", "resample")
    order = order.join(plain.select("patient_id", "resample", "risk", "survival"), on=["patient_id", "resample"])
    order = order.sort("patient_id", "resample")
    draws = sorted(own["draw"].unique().to_list())
    keys = ["patient_id", "resample"]
    by_draw = [
        order.select(keys).join(own.filter(pl.col("draw") == d), on=keys, how="left", maintain_order="left")
        for d in draws
    ]
    fold = {name: k for k, name in enumerate(members)}
    return Exchanged(
        np.array([number[p] for p in order["patient_id"]], dtype=np.int64),
        np.array([fold[r] for r in order["resample"]], dtype=np.int64),
        order["risk"].to_numpy(),
        order["survival"].to_numpy(),
        np.stack([d["risk"].to_numpy() for d in by_draw]),
        np.stack([d["survival"].to_numpy() for d in by_draw]),
    )


def _importance(
    found: list[tuple[str, str, Loss]], design: str, tau: float, evaluation: EvaluationConfig, draws: int
) -> pl.DataFrame:
    how = (
        f"values of the block exchanged among held-out patients of a fold who have it, mean of {draws} exchanges, model"
        f" not learned again; {100 * evaluation.level:g} % percentile interval of {evaluation.bootstraps} bootstraps of"
        " held-out patients"
    )
    what = {
        "uno_c": f"loss of Uno's C, tau {tau:g} months, pairs within folds, ties in score count 1/2",
        "brier": "rise of the Brier score, Kaplan-Meier censoring weights",
    }
    lacking = f"not estimable: fewer than {FEWEST_PATIENTS} patients or {FEWEST_EVENTS} events, or no comparison; "
    rows = [
        {
            "estimate": loss.estimate,
            "lower": loss.lower,
            "upper": loss.upper,
            "n": loss.n,
            "events": loss.events,
            "method": ("" if loss.estimate is not None else lacking) + f"{what[loss.metric]}; {how}",
            "held_out": True,
            "design": design,
            "model": model,
            "block": block,
            "metric": loss.metric,
            "horizon_months": loss.horizon,
        }
        for model, block, loss in found
    ]
    return tables.from_rows(rows, tables.PrognosisImportance)


def _shares(
    parts: pl.DataFrame,
    design: str,
    horizon: float,
    evaluation: EvaluationConfig,
    known: set[str],
    dead: set[str],
    seed: int,
) -> pl.DataFrame:
    """Mean absolute contribution of each block with its interval over patients."""
    rows = []
    for block in parts["block"].unique(maintain_order=True):
        own = parts.filter((pl.col("block") == block) & pl.col("patient_id").is_in(list(known))).sort("patient_id")
        size = own["contribution"].abs().to_numpy()
        n = len(size)
        if not n:
            continue
        rng = np.random.default_rng([seed, 5])
        weights = np.concatenate(list(draw_weights(np.arange(n), n, evaluation.bootstraps, rng)))
        lower, upper = percentile_interval(weights @ size / n, evaluation.level)
        rows.append(
            {
                "estimate": float(size.mean()),
                "lower": lower,
                "upper": upper,
                "n": n,
                "events": sum(p in dead for p in own["patient_id"]),
                "method": (
                    f"mean absolute sum of integrated gradients of the risk at {horizon:g} months, Cox model on"
                    " clinical columns and latents, of the patients who have the block, against the average training"
                    " patient with the same omics;"
                    f" {100 * evaluation.level:g} % percentile interval of {evaluation.bootstraps} bootstraps of"
                    " held-out patients, models kept fixed"
                ),
                "held_out": True,
                "design": design,
                "block": block,
                "horizon_months": horizon,
            }
        )
    return tables.from_rows(rows, tables.PrognosisShares)


def _explained(names: pl.DataFrame, sparse: pl.DataFrame) -> pl.DataFrame:
    """Features and sets over resamples, largest first, with the coefficient that the elastic net gives a feature."""
    if names.is_empty():
        return tables.from_rows([], tables.PrognosisExplained)
    coefficient = dict(sparse.filter(pl.col("coefficient") != 0).select("feature", "coefficient").iter_rows())
    every = names.group_by("level", "block", "name", maintain_order=True).agg(
        pl.col("size").max(),
        pl.len().cast(pl.Int64).alias("resamples"),
        pl.col("mean_absolute").mean(),
        pl.col("mean_absolute").min().alias("lowest"),
        pl.col("mean_absolute").max().alias("highest"),
        pl.col("direction").mean(),
        pl.col("random").mean(),
    )
    rows = [
        r
        | {
            "coefficient": coefficient.get(r["name"], coefficient.get(f"{r['block']}: {r['name']}"))
            if r["level"] == "feature"
            else None
        }
        for r in every.sort("mean_absolute", descending=True, maintain_order=True).iter_rows(named=True)
    ]
    return tables.from_rows(rows, tables.PrognosisExplained)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
