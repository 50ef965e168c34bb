"""Rule detect_drift: is this batch still like the patients that the models of a bundle have learned from?"""

import logging
from pathlib import Path

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.audit import drift as audit
from stratiome.bundle.align import align
from stratiome.bundle.files import BundleError, open_bundle
from stratiome.bundle.score import as_learned, check_scale, measured
from stratiome.bundle.scored import has_hazards
from stratiome.bundle.scorer import Scorer
from stratiome.cohort.store import read_stored
from stratiome.config import BundleConfig, EndpointConfig
from stratiome.survival.expected import events_between, outcome_slope
from stratiome.survival.outcome import check_outcome

logger = logging.getLogger("stratiome.detect_drift")


def main(
    *,
    card: str,
    cohort_file: str,
    clinical: str,
    outcome: str,
    names: list[str],
    patients: str,
    curves: str,
    latents: str,
    drift: str,
    bundle: BundleConfig,
    endpoint: EndpointConfig,
) -> None:
    """Compare features as they were read, and what the bundle said of them, with its reference."""
    import anndata

    scorer = Scorer.load(open_bundle(Path(card).parent))
    sources = {omic.name: omic for omic in read_stored(cohort_file)[1]}
    aligned = align(scorer, sources, dict(zip(bundle.features, names, strict=True)), dict(bundle.align))
    check_scale(scorer, sources, aligned)
    table = as_learned(scorer, pl.read_parquet(clinical))
    tallies = {n: audit.Tally(p, scorer.transforms[n].features) for n, p in scorer.reference.omics.items()}
    for some in measured(scorer, table, sources, aligned):
        blocks = {b.name: b.values[b.present] for b in some.blocks}
        for name, tally in tallies.items():
            has = some.clinical["patient_id"].is_in(_patients(sources, name, bool(aligned[name].reason))).to_numpy()
            tally.add(some.values[name][has], blocks.get(name), int((~has).sum()))
    rows = [row for name, tally in tallies.items() for row in _omic(name, tally)]
    rows += _clinical(scorer, table)
    scored = tables.read_table(patients, tables.ScoredPatients)
    rows.append(audit.latent_row(scorer.reference.places, np.asarray(anndata.read_h5ad(latents).obsm["vae"])))
    rows += audit.membership_rows(scorer.reference.subgroups, scored["subgroup"].to_numpy())
    rows += _models(scorer, curves, tables.read_table(outcome, tables.Outcome), endpoint)
    made = audit.judged(rows)
    logger.info("%d tests, %d flagged", sum(r["p_value"] is not None for r in made), sum(r["flagged"] for r in made))
    tables.write_table(tables.from_rows(made, tables.Drift), drift, tables.Drift)


def _patients(sources: dict, name: str, unused: bool) -> list[str]:
    """Patients of the batch who have an omic."""
    return [] if unused or name not in sources else list(sources[name].patient_ids)


def _omic(name: str, tally: audit.Tally) -> list[audit.Row]:
    joint = [audit.joint_row(name, tally)] if tally.part.embedding is not None else []
    return [*audit.input_rows(name, tally), *joint, *audit.missing_rows(name, tally)]


def _clinical(scorer: Scorer, table: pl.DataFrame) -> list[audit.Row]:
    """Covariates: numbers by bins, categories by class."""
    part = scorer.reference.clinical
    columns = [c for c in part.missing if c in table.columns]
    numeric = [c for c in columns if c not in part.classes]
    values = {c: table[c].cast(pl.Float64, strict=False) for c in numeric}
    levels = {c: table[c].cast(pl.String) for c in columns if c in part.classes}
    there = {c: own.is_not_null().cast(pl.Float64).replace(0.0, None) for c, own in levels.items()}
    tally = audit.Tally(part, columns)
    tally.add(np.stack([(values | there)[c].fill_null(float("nan")).to_numpy() for c in columns], axis=1))
    classes = {c: own.to_list() for c, own in levels.items()}
    scope = "clinical"
    return [
        *audit.input_rows(scope, tally),
        *audit.class_rows(scope, part, classes),
        *audit.missing_rows(scope, tally),
    ]


def _models(scorer: Scorer, curves: str, known: pl.DataFrame, endpoint: EndpointConfig) -> list[audit.Row]:
    """Scores of every model at the last horizon of the bundle, and the outcome against its curves."""
    learned = scorer.bundle.card.outcome
    if endpoint.given and (learned.response is None) != (endpoint.response is None):
        raise BundleError("`endpoint`: another kind of outcome than that of the bundle. Suggestion: declare it alike")
    hazards = has_hazards(learned) and has_hazards(endpoint)
    horizon = learned.horizons_months[-1]
    rows: list[audit.Row] = []
    for model, told in scorer.reference.models.items():
        own = pl.scan_parquet(curves).filter(pl.col("model") == model, pl.col("time_months") <= horizon + 1e-6)
        table = own.sort("patient_id", "time_months").collect()
        grid = table["time_months"].unique().sort().to_numpy()
        survival = table["survival"].to_numpy().reshape(-1, len(grid))
        score = audit.score_row(model, told, 1.0 - survival[:, -1])
        rows += [] if score is None else [score]
        ids = table["patient_id"].unique(maintain_order=True)
        rows += _outcome(model, told, ids, survival, grid, known, (scorer.bundle.card.n, known.height), hazards)
    return rows


def _outcome(
    model: str,
    told: audit.Scored,
    ids: pl.Series,
    survival: np.ndarray,
    grid: np.ndarray,
    known: pl.DataFrame,
    n: tuple[int, int],
    hazards: bool,
) -> list[audit.Row]:
    if not hazards or not known.height:
        return [audit.unjudged(model, n, audit.NO_LABELS if hazards else audit.NO_HAZARD)]
    if told.events is None:
        return [audit.unjudged(model, n, audit.NO_HELD_OUT)]
    rows = pl.DataFrame({"patient_id": ids, "row": np.arange(len(ids))}).join(known, on="patient_id", how="inner")
    rows = rows.sort("row")
    time, event = check_outcome(rows["time_months"].to_numpy(), rows["event"].to_numpy())
    own = survival[rows["row"].to_numpy()]
    events = events_between(time, event, own, grid, np.asarray(told.events.until))
    slope = outcome_slope(time, event, own[:, -1], float(grid[-1]))
    return list(audit.outcome_rows(model, told, events, slope, n))


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
