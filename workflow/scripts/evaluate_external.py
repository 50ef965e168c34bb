"""Rule evaluate_external: what the models of a bundle are worth in this cohort."""

import logging
from pathlib import Path

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.audit.replication import Here, effect_rows, order_rows
from stratiome.audit.transport import AS_IS, evaluate_external, in_group_proportion, on_grid, sharpness_test
from stratiome.bundle.files import BundleError, open_bundle
from stratiome.bundle.score import as_learned
from stratiome.bundle.scorer import Scorer
from stratiome.config import DataConfig, EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.prognosis.evaluate import Predictions, Problem
from stratiome.subgroups.cluster import Mixture
from stratiome.subgroups.survival import Compared, restricted_means
from stratiome.survival.compare import log_rank
from stratiome.survival.outcome import check_outcome, time_grid

logger = logging.getLogger("stratiome.evaluate_external")

DRAWS = 499
"""Clouds without subgroups against which sharpness is tested."""
SAME = 1e-4
"""Difference between mean places up to which two cohorts are the same patients."""


def main(
    *,
    card: str,
    outcome: str,
    clinical: str,
    patients: str,
    risks: str,
    curves: str,
    latents: str,
    metrics: str,
    subgroups: str,
    effects: str,
    order: str,
    endpoint: EndpointConfig,
    evaluation: EvaluationConfig,
    treatments: dict[str, TreatmentConfig],
    data: DataConfig,
    seed: int,
) -> None:
    """Judge predictions, subgroups and treatment effects on the patients with an outcome."""
    bundle = open_bundle(Path(card).parent)
    known = tables.read_table(outcome, tables.Outcome).sort("patient_id")
    time, event = check_outcome(known["time_months"].to_numpy(), known["event"].to_numpy())
    competing = None if endpoint.competing is None else known["competing"].to_numpy() == 1
    problem = Problem(time, event, time_grid(endpoint), endpoint.horizons_months, endpoint.tau_months, competing)
    learned = bundle.card.outcome
    _same_outcome(learned, endpoint)
    given = _predictions(known["patient_id"], risks, curves, problem.grid)
    settings = {"bootstraps": evaluation.bootstraps, "level": evaluation.level}
    scorer = Scorer.load(bundle)
    table = as_learned(scorer, pl.read_parquet(clinical))
    people = known.select("patient_id").join(table, on="patient_id", how="left", maintain_order="left")
    columns = scorer.prognosis.design.transform(people)
    found = evaluate_external(problem, given, columns=columns, seed=seed, **settings)
    rows = [{"update": update} | e.columns() for update, e in found]
    own = _learned_from(scorer, latents)
    if own:
        logger.warning("these are the patients that the bundle has learned from: nothing here is a validation")
    for row in rows:
        row["held_out"] = not own
        if row["update"] != AS_IS:
            row["method"] += f"; {row['update']} learned on the other half of the patients"
    tables.write_table(tables.from_rows(rows, tables.ExternalMetrics), metrics, tables.ExternalMetrics)
    scored = tables.read_table(patients, tables.ScoredPatients)
    made = _subgroups(scored, known, latents, scorer.mixture, problem.tau, evaluation, seed)
    tables.write_table(tables.from_rows(made, tables.ExternalSubgroups), subgroups, tables.ExternalSubgroups)
    labels = dict(scored.select("patient_id", "subgroup").iter_rows())
    here = Here(
        table,
        known,
        labels,
        treatments,
        data.types,
        time_grid(learned),
        evaluation.bootstraps,
        evaluation.level,
        seed,
    )
    again = effect_rows(scorer.claims, here)
    tables.write_table(tables.from_rows(again, tables.ExternalEffects), effects, tables.ExternalEffects)
    grouped = known.join(scored.filter(pl.col("subgroup") > 0).select("patient_id", "subgroup"), on="patient_id")
    pairs = order_rows(scorer.claims, grouped, evaluation.level)
    tables.write_table(tables.from_rows(pairs, tables.ExternalOrder), order, tables.ExternalOrder)


def _learned_from(scorer: Scorer, latents: str) -> bool:
    """Whether these are the training patients: their mean place in the latent space is the same."""
    import anndata

    places = np.asarray(anndata.read_h5ad(latents).obsm["vae"])
    known = np.isfinite(places).all(axis=1)
    return bool(known.any()) and np.allclose(places[known].mean(axis=0), scorer.places.centre, rtol=0, atol=SAME)


def _same_outcome(learned: EndpointConfig, endpoint: EndpointConfig) -> None:
    """Refuse another kind of outcome, and times beyond those that the models predict."""
    kinds = [("response" if e.response else "competing" if e.competing else "time") for e in (learned, endpoint)]
    if kinds[0] != kinds[1]:
        names = {"response": "a response", "competing": "an event with competing ones", "time": "one event in time"}
        raise BundleError(
            f"`endpoint`: the bundle predicts {names[kinds[0]]}, and this cohort has {names[kinds[1]]}. Suggestion: "
            "declare the outcome as in the bundle's cohort"
        )
    end, asked = time_grid(learned)[-1], time_grid(endpoint)[-1]
    if asked > end + 1e-6:
        raise BundleError(
            f"`endpoint.horizons`: {asked:g} months lie beyond the {end:g} months that the bundle predicts. "
            "Suggestion: choose horizons (and `tau`) of at most that"
        )


def _predictions(patients: pl.Series, risks: str, curves: str, grid: np.ndarray) -> Predictions:
    """Predictions of the patients with an outcome, on the grid of this cohort's endpoint."""
    score = tables.read_table(risks, tables.ScoredRisks)
    curve = pl.scan_parquet(curves).filter(pl.col("patient_id").is_in(patients.implode())).collect()
    rows = pl.DataFrame({"patient_id": patients, "row": np.arange(len(patients))})
    risk, survival = {}, {}
    for model in score["model"].unique(maintain_order=True):
        own = rows.join(score.filter(pl.col("model") == model), on="patient_id", how="inner").sort("row")
        many = own.select("row", "patient_id").join(curve.filter(pl.col("model") == model), on="patient_id")
        many = many.sort("row", "time_months")
        times = many["time_months"].unique().sort().to_numpy()
        risk[model] = own["risk"].to_numpy()
        survival[model] = on_grid(many["survival"].to_numpy().reshape(own.height, len(times)), times, grid)
    n = len(patients)
    return Predictions(np.arange(n), np.zeros(n, dtype=np.int64), ("external",), risk, survival)


def _subgroups(
    scored: pl.DataFrame,
    known: pl.DataFrame,
    latents: str,
    mixture: Mixture,
    tau: float,
    evaluation: EvaluationConfig,
    seed: int,
) -> list[dict]:
    """Restricted means, their differences, whether groups are there, and one test of survival."""
    import anndata

    assigned = scored.filter(pl.col("subgroup") > 0).join(known, on="patient_id", how="left", maintain_order="left")
    followed = assigned.filter(pl.col("time_months").is_not_null())
    people = Compared(
        followed["patient_id"].to_list(),
        followed["time_months"].to_numpy(),
        followed["event"].to_numpy().astype(bool),
        followed["subgroup"].to_numpy(),
        np.full(followed.height, "all"),
        "fold",
    )
    rows = [row | {"p_value": None} for row in restricted_means(people, tau, evaluation.level)]
    base = {"lower": None, "upper": None, "versus": None, "held_out": True}
    if followed["subgroup"].n_unique() < 2:
        return rows
    test = log_rank(people.time, people.event, people.group)
    rows.append(
        base
        | {
            "quantity": "log_rank",
            "subgroup": None,
            "tau_months": None,
            "estimate": test.statistic,
            "p_value": test.p_value,
            "n": followed.height,
            "events": int(people.event.sum()),
            "method": "log-rank test of all subgroups, by labels that have not seen the outcome",
        }
    )
    stored = anndata.read_h5ad(latents)
    place = {str(p): i for i, p in enumerate(stored.obs_names)}
    where = np.asarray(stored.obsm["vae"])[[place[p] for p in assigned["patient_id"]]]
    group = assigned["subgroup"].to_numpy()
    tested = sharpness_test(where, mixture.probabilities, DRAWS, np.random.default_rng(seed))
    near = in_group_proportion(where, group)
    sharp = (
        f"mean probability of the own subgroup, against {DRAWS} cohorts of one cloud with the same mean and "
        "covariance, assigned by the same rule"
    )
    neighbours = "share of patients whose nearest neighbour in the latent space is of the same subgroup"
    for g in sorted(near):
        own = assigned.filter(pl.col("subgroup") == g)
        size = {"n": own.height, "events": int(own["event"].fill_null(0).sum()), "subgroup": g, "tau_months": None}
        value, p = tested.get(g, (None, None))
        rows.append(base | size | {"quantity": "sharpness", "estimate": value, "p_value": p, "method": sharp})
        rows.append(
            base
            | size
            | {
                "quantity": "in_group_proportion",
                "estimate": near[g],
                "p_value": None,
                "method": f"{neighbours} (Kapp & Tibshirani 2007); high in any cloud that is cut",
            }
        )
    return rows


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
