"""Survival of held-out subgroups against each other, and what they add to the clinical variables.

Nothing here is computed on patients a subgroup was learned from: labels come from a model that has not seen the
patient, and where a Cox model predicts, it was fitted on the training patients of the same fold.

Comparisons are made within strata. Where the config names a site, these are the sites: sites differ in survival and,
through batch effects, in omics, and such a difference is no difference between subgroups. Otherwise they are the folds,
since every fold has its own subgroups, which carry the same names but need not be quite the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from stratiome.config import EvaluationConfig
from stratiome.subgroups.match import held_out_folds
from stratiome.survival.compare import ChiSquared, likelihood_ratio, log_rank, restricted_mean_error
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.cox import CoxError, fit_cox
from stratiome.survival.curves import is_determined
from stratiome.survival.design import ClinicalDesign, ColumnType
from stratiome.survival.interval import percentile_interval
from stratiome.tables import SubgroupSurvival, SubgroupTests, from_rows

MIN_EVENTS = 10
"""Events among the training patients of a fold below which no Cox model is fitted."""
MIN_LEVEL = 5
"""Training patients below which a subgroup has no coefficient of its own."""

_CELLS = 1_000_000  # elements of the weight matrix of one batch of draws


@dataclass(frozen=True)
class Compared:
    """Assigned held-out patients of one model who have an outcome.

    Attributes
    ----------
    patients
        Length `n_patients`.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    group
        Shape `(n_patients,)`, held-out subgroup, from 1.
    stratum
        Shape `(n_patients,)`, site or fold.
    by
        What the strata are: `site` or `fold`.
    """

    patients: list[str]
    time: np.ndarray
    event: np.ndarray
    group: np.ndarray
    stratum: np.ndarray
    by: str

    @property
    def largest(self) -> int | None:
        """Subgroup of most patients, the first of them if several."""
        levels, sizes = np.unique(self.group, return_counts=True)
        return int(levels[sizes.argmax()]) if len(levels) else None


def compared(held_out: pl.DataFrame, found: pl.DataFrame, outcome: pl.DataFrame, site: dict[str, str]) -> Compared:
    """Held-out patients of one model to compare.

    Parameters
    ----------
    held_out
        Contract `SubgroupAssignment`, one model.
    found
        Contract `Subgroups`, all resamples.
    outcome
        Columns patient_id, time_months, event.
    site
        Patient -> site; empty where there are no sites.
    """
    part = held_out.filter(pl.col("subgroup") > 0)
    joined = part.join(outcome, on="patient_id", how="inner", maintain_order="left")
    patients = joined["patient_id"].to_list()
    where = site or held_out_folds(found)
    return Compared(
        patients,
        joined["time_months"].to_numpy(),
        joined["event"].to_numpy().astype(bool),
        joined["subgroup"].to_numpy(),
        np.array([where.get(p, "") for p in patients], dtype=str),
        "site" if site else "fold",
    )


def survival_table(
    held_out: pl.DataFrame,
    found: pl.DataFrame,
    outcome: pl.DataFrame,
    clinical: pl.DataFrame,
    covariates: tuple[str, ...],
    types: dict[str, ColumnType],
    site: dict[str, str],
    tau: float,
    settings: EvaluationConfig,
    seed: int,
) -> pl.DataFrame:
    """Restricted means of subgroups and what subgroups add to discrimination (contract `SubgroupSurvival`).

    Parameters
    ----------
    held_out
        Contract `SubgroupAssignment`.
    found
        Contract `Subgroups`, all resamples.
    outcome
        Columns patient_id, time_months, event.
    clinical
        One row per patient.
    covariates, types
        Columns of the clinical model and their declared types.
    site
        Patient -> site, if any.
    tau
        Upper limit of restricted means and concordance, in months.
    settings
        Bootstraps and level.
    seed
        Seed of the bootstrap.
    """
    rows = []
    for m, model in enumerate(held_out["model"].unique(maintain_order=True).to_list()):
        own = held_out.filter(pl.col("model") == model)
        people = compared(own, found, outcome, site)
        rows += [{"model": model, **row} for row in restricted_means(people, tau, settings.level)]
        predictions = predict(found.filter(pl.col("model") == model), outcome, clinical, covariates, types)
        rng = np.random.default_rng([seed, m])
        rows += [{"model": model, **row} for row in added_concordance(predictions, tau, settings, rng)]
    return from_rows(rows, SubgroupSurvival)


def restricted_means(people: Compared, tau: float, level: float) -> list[dict[str, Any]]:
    """Restricted mean survival time of each subgroup, and its difference to the largest subgroup."""
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + level / 2))
    means: dict[int, tuple[float, float] | None] = {}
    size: dict[int, dict[str, int]] = {}
    for g in sorted(set(people.group.tolist())):
        here = people.group == g
        time, event = people.time[here], people.event[here]
        means[g] = restricted_mean_error(time, event, tau) if is_determined(time, event, tau) else None
        size[g] = {"n": len(time), "events": int(event.sum())}
    rows = []
    why = f"not estimable: follow-up of this subgroup ends before {tau:g} months"
    how = (
        f"area under the Kaplan-Meier curve up to {tau:g} months, {level:.0%} normal interval with Greenwood's variance"
    )
    base: dict[str, Any] = {"tau_months": tau, "held_out": True}
    for g, found in means.items():
        claim = _within(_normal(*found, z), tau) if found else _nothing()
        rows.append(
            base
            | {"quantity": "rmst", "subgroup": g, "versus": None, **claim, **size[g], "method": how if found else why}
        )
    largest = people.largest
    for g, found in means.items():
        if g == largest or largest is None:
            continue
        other = means[largest]
        both = {k: size[g][k] + size[largest][k] for k in ("n", "events")}
        claim, text = _nothing(), f"not estimable: follow-up of one of both ends before {tau:g} months"
        if found and other:
            claim = _normal(found[0] - other[0], float(np.hypot(found[1], other[1])), z)
            text = f"difference in {how}, not adjusted for covariates or for the number of subgroups"
        rows.append(
            base | {"quantity": "rmst_difference", "subgroup": g, "versus": largest, **claim, **both, "method": text}
        )
    return rows


def _normal(estimate: float, error: float, z: float) -> dict[str, Any]:
    return {"estimate": estimate, "lower": estimate - z * error, "upper": estimate + z * error}


def _within(claim: dict[str, Any], tau: float) -> dict[str, Any]:
    """A restricted mean lies between 0 and its limit, and so does its interval."""
    return claim | {"lower": max(claim["lower"], 0.0), "upper": min(claim["upper"], tau)}


def _nothing() -> dict[str, Any]:
    return {"estimate": None, "lower": None, "upper": None}


def tests_table(
    held_out: pl.DataFrame,
    found: pl.DataFrame,
    outcome: pl.DataFrame,
    clinical: pl.DataFrame,
    covariates: tuple[str, ...],
    types: dict[str, ColumnType],
    site: dict[str, str],
) -> pl.DataFrame:
    """Tests that held-out subgroups do not differ in survival (contract `SubgroupTests`).

    Plain and stratified log-rank, and likelihood ratio of adding subgroups to the clinical Cox model. Parameters as in
    `survival_table`.

    The clinical model of the likelihood ratio is fitted to the held-out patients themselves, with and without their
    subgroups: labels are what must not come from these patients, coefficients may.
    """
    rows = []
    for model in held_out["model"].unique(maintain_order=True).to_list():
        people = compared(held_out.filter(pl.col("model") == model), found, outcome, site)
        base = {"model": model, "n": len(people.time), "events": int(people.event.sum()), "held_out": True}
        within = f"stratified by {people.by}"
        ids = pl.DataFrame({"patient_id": people.patients}, schema={"patient_id": pl.String})
        table = ids.join(clinical, on="patient_id", how="left", maintain_order="left")
        design = ClinicalDesign.fit(table, covariates, types, np.ones(len(ids), dtype=bool))
        levels = sorted(set(people.group.tolist()))
        extra = (people.group[:, None] == [g for g in levels if g != people.largest]).astype(np.float64)
        beyond = likelihood_ratio(design.transform(table), extra, people.time, people.event, people.stratum)
        named = f"clinical columns {', '.join(covariates)}" if covariates else "no clinical columns"
        for test, result, method in (
            ("log-rank", log_rank(people.time, people.event, people.group), "log-rank"),
            (
                "stratified log-rank",
                log_rank(people.time, people.event, people.group, people.stratum),
                f"log-rank, {within}",
            ),
            (
                "likelihood ratio",
                beyond,
                f"likelihood ratio of a Cox model with {named} and subgroup against one without subgroup, {within}, "
                "Efron ties, fitted to the held-out patients",
            ),
        ):
            rows.append(base | {"test": test} | chi_squared_columns(result, method))
    return from_rows(rows, SubgroupTests)


def chi_squared_columns(result: ChiSquared, method: str) -> dict[str, Any]:
    """Columns statistic, df, p_value and method of a test; the method says why it was not done."""
    name, _, rest = method.partition(",")
    text = f"{name}, not done: {result.reason}" if result.reason else f"{name}{',' if rest else ''}{rest}"
    return {"statistic": result.statistic, "df": result.df, "p_value": result.p_value, "method": text}


@dataclass(frozen=True)
class Predictions:
    """Risk scores of held-out patients with an outcome, without and with their subgroup.

    Attributes
    ----------
    time, event
        Shape `(n_patients,)`.
    fold
        Shape `(n_patients,)`, position of the fold.
    clinical, both
        Shape `(n_patients,)`, log partial hazard; comparable within a fold only.
    problem
        Why there are none, or "".
    """

    time: np.ndarray
    event: np.ndarray
    fold: np.ndarray
    clinical: np.ndarray
    both: np.ndarray
    problem: str = ""


def predict(
    found: pl.DataFrame,
    outcome: pl.DataFrame,
    clinical: pl.DataFrame,
    covariates: tuple[str, ...],
    types: dict[str, ColumnType],
) -> Predictions:
    """Cox models of clinical columns, and of these and the subgroup, fitted on the training patients of each fold.

    A fold's own labels are used, so nothing depends on how they are matched; unassigned patients are a class of
    their own. Where the model with subgroups cannot be fitted the clinical one stands in: there they add nothing.

    Parameters
    ----------
    found
        Contract `Subgroups` of one model, all resamples.
    outcome, clinical, covariates, types
        As in `survival_table`.
    """
    folds = sorted(set(held_out_folds(found).values()))
    parts: list[tuple[np.ndarray, ...]] = []
    for k, fold in enumerate(folds):
        rows = (
            found.filter((pl.col("resample") == fold) & pl.col("role").is_in(["train", "test"]))
            .select("patient_id", "role", "subgroup")
            .join(outcome, on="patient_id", how="inner", maintain_order="left")
        )
        table = rows.select("patient_id").join(clinical, on="patient_id", how="left", maintain_order="left")
        train = (rows["role"] == "train").to_numpy()
        time, event = rows["time_months"].to_numpy(), rows["event"].to_numpy().astype(bool)
        if event[train].sum() < MIN_EVENTS:
            problem = f"fewer than {MIN_EVENTS} events among the training patients of a fold"
            return _no_predictions(problem)
        x = ClinicalDesign.fit(table, covariates, types, train).transform(table)
        labels = _indicators(rows["subgroup"].to_numpy(), train)
        base = _risk(x, time, event, train, np.zeros(len(rows)))
        both = _risk(np.hstack([x, labels]), time, event, train, base) if labels.shape[1] else base
        test = ~train
        parts.append((time[test], event[test], np.full(test.sum(), k), base[test], both[test]))
    if not parts:
        return _no_predictions("no patient is held out by a fold")
    time, event, where, clinically, jointly = (np.concatenate(p) for p in zip(*parts, strict=True))
    return Predictions(time, event, where, clinically, jointly)


def _no_predictions(problem: str) -> Predictions:
    nobody = np.zeros(0)
    return Predictions(nobody, nobody, nobody, nobody, nobody, problem)


def _indicators(group: np.ndarray, train: np.ndarray) -> np.ndarray:
    """One column per subgroup, without the largest and those of few training patients."""
    levels, sizes = np.unique(group[train], return_counts=True)
    kept = [g for g, n in zip(levels, sizes, strict=True) if n >= MIN_LEVEL and g != levels[sizes.argmax()]]
    return (group[:, None] == np.array(kept)).astype(np.float64) if kept else np.zeros((len(group), 0))


def _risk(x: np.ndarray, time: np.ndarray, event: np.ndarray, train: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    if x.shape[1] == 0:
        return otherwise
    try:
        return fit_cox(x[train], time[train], event[train]).risk(x)
    except CoxError:
        return otherwise


def added_concordance(
    predictions: Predictions, tau: float, settings: EvaluationConfig, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Uno's C of both models and their difference, intervals from bootstrap draws of held-out patients that both share.

    Parameters
    ----------
    predictions
        Of held-out patients.
    tau
        Months beyond which events do not count.
    settings
        Bootstraps and level.
    rng
        Source of the draws.
    """
    n = len(predictions.time)
    base: dict[str, Any] = {"subgroup": None, "versus": None, "tau_months": tau, "held_out": True}
    base |= {"n": n, "events": int(predictions.event.sum())}
    names = ("uno_c_clinical", "uno_c_with_subgroups", "uno_c_difference")
    if predictions.problem:
        claim: dict[str, Any] = _nothing() | {"method": f"not estimable: {predictions.problem}"}
        return [base | {"quantity": name} | claim for name in names]
    point = _concordances(predictions, np.ones((1, n)), tau)[:, 0]
    size = max(1, _CELLS // max(n, 1))
    drawn = [
        _concordances(predictions, rng.multinomial(n, np.full(n, 1 / n), size=min(size, settings.bootstraps - i)), tau)
        for i in range(0, settings.bootstraps, size)
    ]
    draws = np.concatenate(drawn, axis=1)
    text = (
        f"Uno's C, tau {tau:g} months, Cox models fitted on the training patients of each fold, pairs within folds, "
        f"ties in score count 1/2; {settings.level:.0%} percentile interval of {settings.bootstraps} bootstraps of "
        "held-out patients, models kept fixed"
    )
    rows = []
    for name, value, own in zip(names, point, draws, strict=True):
        claim = _nothing() | {"method": "not estimable: no pair of held-out patients of a fold compares before tau"}
        if np.isfinite(value):
            lower, upper = percentile_interval(own, settings.level)
            claim = {"estimate": float(value), "lower": lower, "upper": upper, "method": text}
            if name == "uno_c_difference":
                claim["method"] = f"with subgroups minus clinical, same draws: {text}"
        rows.append(base | {"quantity": name} | claim)
    return rows


def _concordances(predictions: Predictions, weights: np.ndarray, tau: float) -> np.ndarray:
    """Clinical, with subgroups, and difference, shape `(3, n_draws)`."""
    sample = Sample.make(predictions.time, predictions.event, fold=predictions.fold, weights=weights)
    base, both = (uno_c(sample, risk, tau) for risk in (predictions.clinical, predictions.both))
    return np.stack([base, both, both - base])
