"""How far metrics of the frozen models move on held-out patients under each stress, over resamples."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.audit.robustness import (
    LABEL_DRAWS,
    HeldOut,
    Response,
    Values,
    agreement,
    outcome_stresses,
    responses,
)
from stratiome.audit.stresses import ADVERSARY, IMBALANCE, LABELS, SHIFT, SPECIFICATION
from stratiome.config import EndpointConfig, EvaluationConfig
from stratiome.prognosis.evaluate import FEWEST_EVENTS, FEWEST_PATIENTS, TOO_FEW
from stratiome.resample.names import repeats_of
from stratiome.survival.outcome import check_outcome

logger = logging.getLogger("stratiome.audit")

STACKED, ELSEWHERE = "stacked", "patients of sites that were left out"
AT_HORIZON = ("brier", "observed_expected", "risk_change")
"""Metrics at the last horizon."""
Row = dict[str, Any]
Key = tuple[str, str, str, float | None]
"""Concept, stress, part and dose."""
Scores = tuple[np.ndarray, np.ndarray]
"""Risk, and survival at the horizon, of all held-out patients in their order."""


def main(
    *,
    outcome: str,
    resamples: str,
    metrics: str,
    stressed: list[str],
    robustness: str,
    endpoint: EndpointConfig,
    evaluation: EvaluationConfig,
    seed: int,
) -> None:
    """Read the predictions of all resamples, and write the table."""
    patients = tables.read_table(outcome, tables.Outcome).sort("patient_id")
    time, event = check_outcome(patients["time_months"].to_numpy(), patients["event"].to_numpy())
    competing = None if endpoint.competing is None else patients["competing"].to_numpy() == 1
    sets = repeats_of(tables.read_table(resamples, tables.Resamples).filter(pl.col("role") == "test"))
    design = next((d for d in tables.DESIGNS if d in sets), "")
    members = sets[design][0] if design else []
    scores = pl.concat([tables.read_table(p, tables.PrognosisStressed) for p in stressed])
    scores = scores.filter(pl.col("resample").is_in(members))
    number = {p: i for i, p in enumerate(patients["patient_id"])}
    fold = {name: k for k, name in enumerate(members)}
    rows: list[Row] = []
    for names, part in _same_patients(scores):
        order = part.select("resample", "patient_id").unique().sort("resample", "patient_id")
        at = np.array([number[p] for p in order["patient_id"]], dtype=np.int64)
        few = len(at) < FEWEST_PATIENTS or int(event[at].sum()) < FEWEST_EVENTS
        held_out = HeldOut.drawn(
            time[at],
            event[at],
            None if competing is None else competing[at],
            np.array([fold[r] for r in order["resample"]], dtype=np.int64),
            by_site=design == "leave-site-out",
            tau=endpoint.tau_months,
            horizon=endpoint.horizons_months[-1],
            bootstraps=evaluation.bootstraps,
            rng=np.random.default_rng([seed, 7]),
        )
        judge = _Judge(held_out, order, evaluation, few)
        for model in names:
            rows += judge.under_stress(model, part.filter(pl.col("model") == model))
        rng = np.random.default_rng([seed, 8])
        rows += judge.with_other_outcomes(part, names, rng)
        rows += judge.among_models(part, names)
    rows += _elsewhere(tables.read_table(metrics, tables.PrognosisMetrics), design)
    order_of = {name: i for i, name in enumerate(tables.ROBUSTNESS_CONCEPTS)}
    rows.sort(key=lambda r: order_of[r["concept"]])
    logger.info("%d figures of %d held-out patients", len(rows), scores["patient_id"].n_unique())
    tables.write_table(tables.from_rows(rows, tables.Robustness), robustness, tables.Robustness)


def _same_patients(scores: pl.DataFrame) -> Iterator[tuple[list[str], pl.DataFrame]]:
    """Models that were fitted for the same patients, and their scores."""
    plain = scores.filter(pl.col("concept") == tables.UNSTRESSED)
    groups: dict[tuple[str, ...], list[str]] = {}
    for model in plain["model"].unique(maintain_order=True):
        key = tuple(plain.filter(pl.col("model") == model)["resample"].unique().sort())
        groups.setdefault(key, []).append(model)
    for models in groups.values():
        yield models, scores.filter(pl.col("model").is_in(models))


class _Judge:
    """Rows of the table for models that were fitted for the same held-out patients."""

    def __init__(self, held_out: HeldOut, order: pl.DataFrame, evaluation: EvaluationConfig, few: bool) -> None:
        self.held_out, self.order, self.few = held_out, order, few
        self.level, self.bootstraps = evaluation.level, evaluation.bootstraps

    def under_stress(self, model: str, scores: pl.DataFrame) -> Iterator[Row]:
        """Changed data."""
        as_is = self._in_order(scores.filter(pl.col("concept") == tables.UNSTRESSED))
        plain = self.held_out.values(*as_is)
        keys = ["concept", "stress", "part", "dose"]
        stressed = scores.filter(pl.col("concept") != tables.UNSTRESSED)
        for (concept, stress, part, dose), every in stressed.group_by(keys, maintain_order=True):
            draws = [
                self._against(self._in_order(one), as_is) for _, one in every.group_by("draw", maintain_order=True)
            ]
            for found in responses(plain, draws, self.level):
                yield self._row((str(concept), str(stress), str(part), dose), model, found, len(draws))

    def with_other_outcomes(self, scores: pl.DataFrame, models: list[str], rng: np.random.Generator) -> Iterator[Row]:
        """Changed outcomes, or another mix of patients; the predictions stay."""
        stressed = set(scores.filter(pl.col("concept") != tables.UNSTRESSED)["model"])
        plain = scores.filter(pl.col("concept") == tables.UNSTRESSED)
        for concept, stress, dose, changed in outcome_stresses(self.held_out, rng):
            for model in [m for m in models if m in stressed]:
                own = plain.filter(pl.col("model") == model)
                draws = [self._values(one, own) for one in changed]
                for found in responses(self._values(self.held_out, own), draws, self.level):
                    yield self._row((concept, stress, "", dose), model, found, len(draws))

    def among_models(self, scores: pl.DataFrame, models: list[str]) -> Iterator[Row]:
        """Other models in place of the stacked one, on data as they are."""
        if STACKED not in models:
            return
        plain = scores.filter(pl.col("concept") == tables.UNSTRESSED)
        by_model = {m: self._in_order(plain.filter(pl.col("model") == m)) for m in models}
        base = self.held_out.values(*by_model[STACKED])
        for model in [m for m in models if m != STACKED]:
            other = self._against(by_model[model], by_model[STACKED])
            for found in responses(base, [other], self.level):
                yield self._row((SPECIFICATION, "in place of the stacked model", "", None), model, found, 1)

    def _against(self, own: Scores, other: Scores) -> Values:
        """Metrics of predictions, and how they agree with others of the same patients."""
        agreed = agreement(self.held_out, (own[0], other[0]), (own[1], other[1]))
        return self.held_out.values(*own) | agreed

    def _values(self, held_out: HeldOut, scores: pl.DataFrame) -> Values:
        return held_out.values(*self._in_order(scores))

    def _in_order(self, scores: pl.DataFrame) -> Scores:
        found = self.order.join(scores, on=["resample", "patient_id"], how="left", maintain_order="left")
        return found["risk"].to_numpy(), found["survival"].to_numpy()

    def _row(self, key: Key, model: str, found: Response, draws: int) -> Row:
        concept, stress, part, dose = key
        numbers = {
            name: None if self.few else getattr(found, name)
            for name in ("estimate", "lower", "upper", "difference", "difference_lower", "difference_upper")
        }
        held_out = self.held_out
        method = _method(concept, found.metric, draws, held_out.tau, held_out.horizon)
        method += f"; {100 * self.level:g} % percentile interval of {self.bootstraps} bootstraps of held-out patients"
        if numbers["estimate"] is None:
            why = TOO_FEW if self.few else "no pair of patients compares, or follow-up ends before the horizon"
            method = f"not estimable: {why}; {method}"
        return {
            "concept": concept,
            "stress": stress,
            "part": part,
            "dose": dose,
            "model": model,
            "metric": found.metric,
            "horizon_months": held_out.horizon if found.metric in AT_HORIZON else None,
            "n": len(held_out.time),
            "events": int(held_out.event.sum()),
            "method": method,
            "held_out": True,
        } | numbers


def _method(concept: str, metric: str, draws: int, tau: float, horizon: float) -> str:
    against = "of the stacked model" if concept == SPECIFICATION else "without stress"
    what = {
        "uno_c": f"Uno's C, tau {tau:g} months, pairs within folds, Kaplan-Meier censoring weights",
        "brier": f"Brier score at {horizon:g} months, Kaplan-Meier censoring weights",
        "observed_expected": f"observed over mean predicted risk at {horizon:g} months",
        "rank_correlation": f"Spearman's correlation with the score {against} within folds",
        "risk_change": f"mean absolute difference of the risk at {horizon:g} months to that {against}",
    }[metric]
    how = {
        LABELS: f"predictions kept, event flags turned at random, mean of {LABEL_DRAWS} draws",
        IMBALANCE: "predictions kept, patients with an event weighted by the share that stays, left out at random in"
        " the draws of the interval",
        SPECIFICATION: "all models fitted to the same training patients",
        ADVERSARY: "signs of the slopes of the Cox models and four random signs, forth and back, the worst of them for"
        " each patient and model",
    }.get(concept, "model kept, data of held-out patients changed" + (f", mean of {draws} draws" if draws > 1 else ""))
    return f"{what}; {how}; difference on the same draws of patients"


def _elsewhere(metrics: pl.DataFrame, design: str) -> Iterator[Row]:
    """Left-out sites against the design that mixes them, from the evaluation of prognosis."""
    known = metrics.filter(
        (pl.col("metric") == "uno_c") & pl.col("versus").is_null() & pl.col("estimate").is_not_null()
    )
    mixed = {r["model"]: r for r in known.filter(pl.col("design") == design).iter_rows(named=True)}
    if design == "leave-site-out":
        return
    for row in known.filter(pl.col("design") == "leave-site-out").iter_rows(named=True):
        if row["model"] not in mixed or row["model"] == "kaplan_meier":
            continue
        kept = {k: row[k] for k in ("estimate", "lower", "upper", "n", "events", "held_out")}
        yield kept | {
            "concept": SHIFT,
            "stress": ELSEWHERE,
            "part": "",
            "dose": None,
            "model": row["model"],
            "metric": "uno_c",
            "horizon_months": None,
            "difference": row["estimate"] - mixed[row["model"]]["estimate"],
            "difference_lower": None,
            "difference_upper": None,
            "method": f"{row['method']}; difference to {design}, whose models are others, without interval",
        }


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
