"""Cohorts whose subgroups have nothing to do with survival, and ways, right and wrong, to test them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from stratiome.subgroups.match import pool_held_out
from stratiome.subgroups.partition import partition
from stratiome.subgroups.survival import Compared, compared
from stratiome.survival.compare import log_rank
from stratiome.tables import Subgroups, from_rows

K, FOLDS, DIMS = 3, 5, 3


@dataclass(frozen=True)
class NullCohort:
    """Features, outcome and site of patients; features and outcome are independent given the site."""

    features: np.ndarray
    outcome: pl.DataFrame
    site: dict[str, str]
    clinical: pl.DataFrame

    @property
    def time(self) -> np.ndarray:
        return self.outcome["time_months"].to_numpy()

    @property
    def event(self) -> np.ndarray:
        return self.outcome["event"].to_numpy().astype(bool)


def null_cohort(
    seed: int, n: int = 200, width: int = 100, sites: int = 1, confounded: float = 0.0, strength: float = 1.0
) -> NullCohort:
    """A cohort of one cloud with factors of some strength; with `confounded`, sites differ in features and hazard."""
    rng = np.random.default_rng(seed)
    where = rng.integers(sites, size=n)
    factors = strength * rng.normal(size=(n, DIMS)) @ rng.normal(size=(DIMS, width))
    shift = confounded * rng.normal(size=(sites, width)) * 2.0
    features = factors + rng.normal(size=(n, width)) + shift[where]
    age = rng.normal(size=n)
    hazard = np.exp(0.5 * age + confounded * np.linspace(-2, 2, sites)[where]) / 20
    time, censored = rng.exponential(1 / hazard), rng.uniform(10, 60, size=n)
    ids = [f"P{i:04d}" for i in range(n)]
    outcome = pl.DataFrame(
        {"patient_id": ids, "time_months": np.minimum(time, censored) + 1e-6, "event": (time <= censored).astype(int)}
    )
    named = {p: f"site {w}" for p, w in zip(ids, where, strict=True)} if sites > 1 else {}
    return NullCohort(features, outcome, named, pl.DataFrame({"patient_id": ids, "age": age}))


def clusters(train: np.ndarray, everybody: np.ndarray, k: int, seed: int, starts: int = 4) -> np.ndarray:
    """Clusters from 1 of everybody, learned on some patients: principal components, then the hard mixture."""
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:DIMS].T
    rng = np.random.default_rng(seed)
    made = partition(((train - mean) @ axes)[None], k, rng, starts=starts, finalists=min(starts, 2))
    return made.labels((everybody - mean) @ axes)[0] + 1


def held_out(cohort: NullCohort, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Subgroups of all resamples and the pooled held-out ones, by the code that the workflow uses."""
    ids = cohort.outcome["patient_id"].to_list()
    fold = np.random.default_rng([seed, 1]).permutation(len(ids)) % FOLDS
    rows = []
    for name, test in (("full", np.zeros(len(ids), dtype=bool)), *((f"cv-1-{f + 1}", fold == f) for f in range(FOLDS))):
        labels = clusters(cohort.features[~test], cohort.features, K, seed)
        rows += [
            {"patient_id": p, "resample": name, "role": "test" if t else "train", "model": "pca"}
            | {"subgroup": int(s), "probability": 1.0}
            for p, t, s in zip(ids, test, labels, strict=True)
        ]
    found = from_rows(rows, Subgroups)
    return found, pool_held_out(found, {(r, "pca"): K for r in found["resample"].unique()})


def people(cohort: NullCohort, seed: int) -> Compared:
    """Held-out patients to compare."""
    found, pooled = held_out(cohort, seed)
    return compared(pooled, found, cohort.outcome, cohort.site)


def p_held_out(seed: int) -> float:
    """The right way: labels of patients that the clustering has not seen."""
    found = people(null_cohort(seed), seed)
    return log_rank(found.time, found.event, found.group, found.stratum).p_value


def p_best_of_many(seed: int) -> float:
    """Mutant: the smallest of 20 p-values over (K, seed), in the patients who were clustered."""
    cohort = null_cohort(seed)
    return min(
        log_rank(cohort.time, cohort.event, clusters(cohort.features, cohort.features, k, s, starts=1)).p_value
        for k in (2, 3, 4, 5)
        for s in range(5)
    )


def p_screened(seed: int, kept: int = 10) -> float:
    """Mutant: clusters of the features that go best with survival, tested in the same patients."""
    cohort = null_cohort(seed, width=400, strength=0.0)
    order = np.argsort(cohort.time)
    at_risk = np.arange(len(order), 0, -1)
    hazard = np.cumsum(cohort.event[order] / at_risk)
    residual = np.empty(len(order))
    residual[order] = cohort.event[order] - hazard  # martingale residual without covariates
    standard = (cohort.features - cohort.features.mean(0)) / cohort.features.std(0)
    best = np.argsort(-np.abs(standard.T @ residual))[:kept]
    return log_rank(cohort.time, cohort.event, clusters(standard[:, best], standard[:, best], 2, seed)).p_value


def p_confounded(seed: int, stratified: bool) -> float:
    """Sites that differ in features and in hazard: stratified by site, or (mutant) not."""
    found = people(null_cohort(seed, sites=4, confounded=0.75), seed)
    test = log_rank(found.time, found.event, found.group, found.stratum if stratified else None)
    return 1.0 if test.p_value is None else test.p_value  # clusters that are sites: nothing to compare within one
