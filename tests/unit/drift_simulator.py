"""Populations that drift or do not, what a bundle keeps of the first sample of one, and what a look at a batch says.

Features share five factors; a third are counts with many zeros, or present or absent. Half of them are missing in one
patient of ten. The outcome is exponential.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.audit import drift
from stratiome.audit.two_samples import adjusted
from stratiome.bundle.reference import (
    Bins,
    Events,
    Part,
    Places,
    Scored,
    Slope,
    bins_of,
    classes_of,
    omic_part,
    places_of,
    subgroups_of,
)
from stratiome.bundle.scored import stretches
from stratiome.survival.cox import fit_cox
from stratiome.survival.cox_path import stratified_folds
from stratiome.survival.expected import events_between, outcome_slope

WIDTH, FACTORS, DIMS = 200, 5, 6
LEAST = 10
SHARES = (0.5, 0.3, 0.2)
HORIZON = 60.0
GRID = np.linspace(0.0, HORIZON, 61)
FOLDS = 5
COVARIATES = 5
NAMES = tuple(f"f{j}" for j in range(WIDTH))


@dataclass(frozen=True)
class Population:
    """What drifts.

    Attributes
    ----------
    shift
        Of a fifth of the features, in SD.
    missing
        Share of values that half of the features lack.
    shares
        Of the subgroups.
    hazard
        Factor of all hazards.
    follow_up
        Months after which everybody is censored.
    """

    shift: float = 0.0
    missing: float = 0.1
    shares: tuple[float, float, float] = SHARES
    hazard: float = 1.0
    follow_up: float = 120.0


STILL = Population()


@dataclass(frozen=True)
class Sample:
    """Patients: `features` `(n, WIDTH)` NaN where missing, `latents` `(n, DIMS)`, `subgroup` from 1."""

    features: np.ndarray
    latents: np.ndarray
    subgroup: np.ndarray


def draw(population: Population, n: int, rng: np.random.Generator) -> Sample:
    """Patients of a population."""
    loadings = np.random.default_rng(7).normal(0.0, 0.6, (FACTORS, WIDTH))
    values = rng.normal(size=(n, FACTORS)) @ loadings + rng.normal(size=(n, WIDTH))
    values /= np.sqrt((loadings**2).sum(axis=0) + 1.0)
    values[:, : WIDTH // 5] += population.shift
    # Every fifth a count with zeros, every tenth present or absent; the shift is that of the hidden normal variable.
    values[:, ::5] = np.floor(np.exp(np.clip(values[:, ::5], None, 5.0)))
    values[:, ::10] = values[:, ::10] >= 2.0
    gone = rng.random((n, WIDTH)) < population.missing
    gone[:, WIDTH // 2 :] = False
    subgroup = rng.choice(3, n, p=population.shares) + 1
    return Sample(np.where(gone, np.nan, values), rng.normal(size=(n, DIMS)), subgroup)


def standardised(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Features as models see them, by the means and SDs of others."""
    return (values - np.nanmean(by, axis=0)) / np.maximum(np.nanstd(by, axis=0), 1e-9)


@dataclass(frozen=True)
class Kept:
    """What a bundle keeps of its training patients, and their features to standardise others by."""

    part: Part
    places: Places
    subgroups: dict[str, int]
    by: np.ndarray


def keep(sample: Sample) -> Kept:
    """Reference of training patients."""
    seen = standardised(sample.features, sample.features)
    part = omic_part(sample.features, seen, NAMES, 0, LEAST)
    subgroups = classes_of(subgroups_of(sample.subgroup), LEAST)
    return Kept(part, places_of(sample.latents), subgroups, sample.features)


def look(kept: Kept, batch: Sample) -> list[drift.Row]:
    """Rows of a look without models."""
    tally = drift.Tally(kept.part, NAMES)
    tally.add(batch.features, standardised(batch.features, kept.by))
    return [
        *drift.input_rows("omic", tally),
        drift.joint_row("omic", tally),
        drift.latent_row(kept.places, batch.latents),
        *drift.missing_rows("omic", tally),
        *drift.membership_rows(kept.subgroups, batch.subgroup),
    ]


def alarms(rows: list[drift.Row]) -> dict[str, bool]:
    """Alarm of each part on its own, of the whole look, and of a look without control of false discoveries."""
    parts: dict[str, list[float]] = {}
    for row in rows:
        if row["p_value"] is not None:
            parts.setdefault(row["part"], []).append(row["p_value"])
    found = {part: bool(adjusted(np.array(p)).min() <= drift.LEVEL) for part, p in parts.items()}
    found["whole look"] = any(row["flagged"] for row in drift.judged(rows))
    return found | {"no control": any(p <= drift.LEVEL for own in parts.values() for p in own)}


def encoded(seed: int, n: int, new: int, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Latents of training patients and of new ones by a deep model, shape `(n, DIMS)` and `(new, DIMS)`."""
    from stratiome.config import LatentConfig
    from stratiome.features.block import Block, FeatureSet
    from stratiome.latent.model import LatentModel

    rng = np.random.default_rng(seed)
    values = draw(STILL, n + new, rng).features[:, -width:]
    seen = standardised(values, values[:n]).astype(np.float32)
    roles = np.where(np.arange(n + new) < n, "train", "test")
    ids = tuple(f"p{i:06d}" for i in range(n + new))
    data = FeatureSet(ids, roles, (Block("omic", seen, "gaussian", NAMES[:width]),))
    settings = LatentConfig(dims=DIMS, members=2, epochs=100, hidden=32, device="cpu")
    model = LatentModel.fit(data.take(np.arange(n)), settings, seed)
    places = model.transform(data)
    return places[:n], places[n:]


# --- scores --------------------------------------------------------------------------------------------------------


def _forest(x: np.ndarray, y: np.ndarray, seed: int):
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(50, min_samples_leaf=5, max_features=0.33, random_state=seed).fit(x, y).predict


def _linear(x: np.ndarray, y: np.ndarray, seed: int):
    coefficients = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), y, rcond=None)[0]
    return lambda other: np.column_stack([np.ones(len(other)), other]) @ coefficients


MODELS = {"forest": _forest, "linear": _linear}


@dataclass(frozen=True)
class Scorable:
    """A model that has learned, and how it scored its patients: itself, and by models that had not seen them."""

    told: Scored
    predict: object

    def p(self, batch: np.ndarray, against: str) -> float:
        """P-value of a batch against `both`, as a look does, or one of `trained` and `held_out`."""
        told = self.told
        if against != "both":
            one: Bins | None = getattr(told, against)
            told = replace_scores(told, one)
        row = drift.score_row("model", told, self.predict(batch))  # type: ignore[operator]
        return 1.0 if row is None or row["p_value"] is None else row["p_value"]


def replace_scores(told: Scored, bins: Bins | None) -> Scored:
    """Both references the same."""
    return told.model_copy(update={"trained": bins, "held_out": bins})


def scorable(model: str, n: int, seed: int, width: int = 20) -> Scorable:
    """A model of a noisy sum of a few features, 20 of them normal."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width))
    y = x[:, :5].sum(axis=1) * 0.4 + rng.normal(size=n)
    fold, held = rng.permutation(np.arange(n) % FOLDS), np.zeros(n)
    for k in range(FOLDS):
        held[fold == k] = MODELS[model](x[fold != k], y[fold != k], seed)(x[fold == k])
    predict = MODELS[model](x, y, seed)
    return Scorable(Scored(trained=bins_of(predict(x), LEAST), held_out=bins_of(held, LEAST)), predict)


# --- outcome -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Followed:
    """Covariates and outcome of patients."""

    x: np.ndarray
    time: np.ndarray
    event: np.ndarray


BETA = np.array([0.6, -0.4, 0.3, 0.0, 0.0])
HAZARD = 0.012


def follow(population: Population, n: int, rng: np.random.Generator) -> Followed:
    """Patients who enter over time and are censored by the end of follow-up at the latest."""
    x = rng.normal(size=(n, COVARIATES))
    death = rng.exponential(1.0 / (population.hazard * HAZARD * np.exp(x @ BETA)))
    censored = rng.uniform(0.0, 1.0, n) * population.follow_up
    return Followed(x, np.maximum(np.minimum(death, censored), 1e-3), death <= censored)


@dataclass(frozen=True)
class Model:
    """A survival model, and what the bundle tells of it."""

    told: Scored
    coefficients: object

    def survival(self, x: np.ndarray) -> np.ndarray:
        """Curves, shape `(n_patients, n_times)`."""
        if self.coefficients is None:
            return np.exp(-np.outer(HAZARD * np.exp(x @ BETA), GRID))
        return self.coefficients.survival(x, GRID)  # type: ignore[attr-defined]


def learned(n: int, seed: int) -> Model:
    """A Cox model of n patients, its slope in them, and slope and events of five folds held out."""
    rng = np.random.default_rng(seed)
    own = follow(STILL, n, rng)
    fold = stratified_folds(own.event, FOLDS, rng)
    held = np.zeros((n, len(GRID)))
    for k in range(FOLDS):
        part = fold != k
        held[~part] = fit_cox(own.x[part], own.time[part], own.event[part]).survival(own.x[~part], GRID)
    model = fit_cox(own.x, own.time, own.event)
    until = stretches(own.time[own.event], GRID, LEAST)
    observed, expected = events_between(own.time, own.event, held, GRID, until)
    events = Events(until=until.tolist(), observed=observed.tolist(), expected=expected.tolist())
    slopes = [
        outcome_slope(own.time, own.event, curves[:, -1], HORIZON, strata)
        for curves, strata in ((model.survival(own.x, GRID), None), (held, fold.astype(str)))
    ]
    told = [None if s is None else Slope(value=s[0], error=s[1]) for s in slopes]
    return Model(Scored(slope=told[0], held_out_slope=told[1], events=events), model)


def right() -> Model:
    """The true model, known as by infinitely many patients."""
    exact = Slope(value=1.0, error=1e-6)
    events = Events(until=[HORIZON], observed=[10**9], expected=[1e9])
    return Model(Scored(slope=exact, held_out_slope=exact, events=events), None)


def outcome_alarm(model: Model, batch: Followed) -> bool:
    """Whether a look at the outcome of a batch is alarmed."""
    return any(row["flagged"] for row in drift.judged(outcome_look(model, batch)))


def outcome_look(model: Model, batch: Followed) -> list[drift.Row]:
    """Rows of the outcome of a batch."""
    curves = model.survival(batch.x)
    events = events_between(batch.time, batch.event, curves, GRID, np.asarray(model.told.events.until))
    slope = outcome_slope(batch.time, batch.event, curves[:, -1], HORIZON)
    return list(drift.outcome_rows("model", model.told, events, slope, (0, len(batch.time))))


def naive_alarm(model: Model, batch: Followed) -> bool:
    """Mutant: share of patients with an event so far against the risk predicted at the horizon."""
    from scipy.stats import binomtest

    risk = float(1.0 - model.survival(batch.x)[:, -1].mean())
    observed = int((batch.event & (batch.time <= HORIZON)).sum())
    return bool(binomtest(observed, len(batch.time), risk).pvalue <= drift.LEVEL)
