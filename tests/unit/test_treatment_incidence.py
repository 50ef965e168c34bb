"""Effects where other causes compete: identities, figures of riskRegression, and what ignoring other causes does."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from stratiome.survival.competing import aalen_johansen
from stratiome.treatment.doubly_robust import average, cross_fit, fit_nuisance, influence
from stratiome.treatment.effect import Question, compare_crude, curves
from stratiome.treatment.emulate import Sample

FOLDER = Path(__file__).parents[1] / "fixtures" / "survival"
HORIZONS = np.array([6.0, 20.0, 36.0])
TAU = 30.0


def simulated(seed: int, n: int = 300, *, censored: bool = True, other: float = 40.0) -> tuple[np.ndarray, Sample]:
    """The treatment lowers the hazard of the event; the other cause depends on the first column too."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=n), rng.random(n) < 0.4]).astype(np.float64)
    treated = rng.random(n) < expit(0.8 * x[:, 0] - 0.3)
    first = rng.exponential(30 / np.exp(0.7 * x[:, 0] - 0.6 * treated))
    second = rng.exponential(other / np.exp(0.6 * x[:, 0] + 0.4 * treated))
    leave = rng.exponential(50 / np.exp(0.5 * x[:, 0])) if censored else np.full(n, np.inf)
    time = np.minimum(np.minimum(first, second), leave)
    ids = pl.DataFrame({"patient_id": [f"P{i:04d}" for i in range(n)]})
    return x, Sample(ids, treated, time, first == time, second == time)


def test_without_censoring_scores_are_those_of_a_binary_outcome():
    x, sample = simulated(1, censored=False)
    nuisance = fit_nuisance(x, sample)
    other, held = simulated(2, 150, censored=False)
    found = influence(nuisance, other, held, HORIZONS, TAU)
    p = nuisance.propensity(other)
    lost = held.event * np.maximum(TAU - held.time, 0.0)
    for arm in (0, 1):
        weight = (held.treated == bool(arm)) / (p if arm else 1 - p)
        free = 1.0 - (held.event[:, None] & (held.time[:, None] <= HORIZONS))
        plain = found.predicted_survival[arm]
        np.testing.assert_allclose(found.survival[arm], plain + weight[:, None] * (free - plain), atol=1e-9)
        months = found.predicted_restricted[arm]
        np.testing.assert_allclose(found.restricted[arm], months + weight * (TAU - lost - months), atol=1e-9)


def test_restricted_means_are_integrals_of_the_scores():
    x, sample = simulated(3)
    nuisance = fit_nuisance(x, sample)
    other, held = simulated(4, 30)
    found = influence(nuisance, other, held, np.linspace(0, TAU, 20_001), TAU)
    for whole, at in (
        (found.restricted, found.survival),
        (found.predicted_restricted, found.predicted_survival),
    ):
        np.testing.assert_allclose(whole, at[..., :-1].mean(axis=-1) * TAU, atol=0.02)


def test_without_other_causes_scores_are_those_of_survival():
    x, sample = simulated(5)
    alone = dataclasses.replace(sample, other=None)
    nobody = dataclasses.replace(sample, other=np.zeros(len(sample), dtype=bool))
    one = influence(fit_nuisance(x, alone), x, alone, HORIZONS, TAU)
    two = influence(fit_nuisance(x, nobody), x, nobody, HORIZONS, TAU)
    np.testing.assert_allclose(one.survival, two.survival, atol=1e-9)
    np.testing.assert_allclose(one.restricted, two.restricted, atol=1e-8)


def test_scores_are_the_formula_written_out():
    x, sample = simulated(6, 200)
    nuisance = fit_nuisance(x, sample)
    other, held = simulated(7, 12)
    found = influence(nuisance, other, held, HORIZONS, TAU)
    p = nuisance.propensity(other)
    assert nuisance.other is not None
    for arm in (0, 1):
        models, observed = (nuisance.survival[arm], nuisance.other[arm]), nuisance.censoring[arm]
        steps = np.union1d(models[0].times, models[1].times)
        for i in range(len(held)):
            row = other[i : i + 1]
            total = [-np.log(m.survival(row, np.concatenate([[0.0], steps])))[0] for m in models]
            moved = [np.diff(t) for t in total]
            free = np.exp(-(total[0] + total[1]))
            fails = 1.0 - free[1:] / free[:-1]
            hazard = [fails * m / (moved[0] + moved[1]) for m in moved]
            incidence = np.concatenate([[0.0], np.cumsum(free[:-1] * hazard[0])])

            def at(t: float, steps: np.ndarray = steps) -> int:
                return int(np.searchsorted(steps, t, side="right"))

            for j, t in enumerate(HORIZONS):
                inside = 0.0
                for k, u in enumerate(steps):
                    if u <= min(t, held.time[i]):
                        q = (incidence[at(t)] - incidence[k + 1]) / free[k + 1]
                        known = max(observed.uncensored(row, np.array([u]))[0, 0], 0.05)
                        inside -= (hazard[0][k] * (1.0 - q) - hazard[1][k] * q) / known
                if held.ended[i] and held.time[i] <= t:
                    q = (incidence[at(t)] - incidence[at(held.time[i])]) / free[at(held.time[i])]
                    known = max(observed.uncensored(row, held.time[i : i + 1])[0, 0], 0.05)
                    inside += ((1.0 if held.event[i] else 0.0) - q) / known
                weight = (held.treated[i] == bool(arm)) / (p[i] if arm else 1 - p[i])
                expected = 1.0 - (incidence[at(t)] + weight * inside)
                assert found.survival[arm, i, j] == pytest.approx(expected, abs=1e-9)


def truth(other: float, n: int = 400_000) -> np.ndarray:
    """Differences in the probability of being free of the event, all patients."""
    rng = np.random.default_rng(99)
    x = rng.normal(size=n)
    found = []
    for a in (0, 1):
        first = rng.exponential(30 / np.exp(0.7 * x - 0.6 * a))
        second = rng.exponential(other / np.exp(0.6 * x + 0.4 * a))
        found.append(1.0 - ((first < second)[:, None] & (first[:, None] <= HORIZONS)).mean(axis=0))
    return found[1] - found[0]


def test_the_planted_difference_is_found_and_censoring_other_causes_is_seen():
    """Other causes taken for censorings answer another question: their difference is too large where they are many."""
    known = truth(15.0)
    estimates, wrong = [], []
    for seed in range(12):
        x, sample = simulated(100 + seed, 1500, other=15.0)
        scores = cross_fit(x, sample, HORIZONS, TAU, folds=2, rng=np.random.default_rng(seed))
        estimates.append(average(scores, sample.treated, "all").estimate[1:])
        alone = dataclasses.replace(sample, other=None)
        mutant = cross_fit(x, alone, HORIZONS, TAU, folds=2, rng=np.random.default_rng(seed))
        wrong.append(average(mutant, sample.treated, "all").estimate[1:])
    error = np.std(estimates, axis=0, ddof=1) / np.sqrt(len(estimates))
    assert (np.abs(np.mean(estimates, axis=0) - known) < 3 * error).all()
    assert abs(np.mean(wrong, axis=0)[-1] - known[-1]) > 5 * error[-1]


def test_crude_curves_are_aalen_johansen():
    _, sample = simulated(8)
    question = Question(tuple(HORIZONS), TAU, np.array([0.0, 10.0]))
    found = curves(sample, np.ones((1, len(sample))), question)
    for arm in (0, 1):
        rows = sample.treated == bool(arm)
        incidence = aalen_johansen(sample.time[rows], sample.cause[rows], causes=2).at(question.grid)[0, 0]
        np.testing.assert_allclose(found.survival[0, arm], 1 - incidence, atol=1e-12)
    compared = compare_crude(sample, question, 50, 0.95, np.random.default_rng(1))
    np.testing.assert_allclose(compared.estimate, found.contrasts[0])


def test_scores_are_those_of_riskregression():
    """Its hazards multiply as product limits, ours as exponentials: 0.001 of risk where the standard error is 0.045."""
    known = json.loads((FOLDER / "ate.json").read_text(encoding="utf-8"))
    table = pl.read_csv(FOLDER / "treated.csv")
    x = table.select("x1", "x2").to_numpy().astype(np.float64)
    cause = table["cause"].to_numpy()
    sample = Sample(table, table["a"].to_numpy() == 1, table["time"].to_numpy(), cause == 1, cause == 2)
    scores = influence(fit_nuisance(x, sample), x, sample, np.array(known["times"], dtype=float), TAU)
    np.testing.assert_allclose(1 - scores.survival.mean(axis=1), known["risk"], atol=1e-3)
    found = average(scores, sample.treated, "all")
    np.testing.assert_allclose(-found.estimate[1:], known["difference"], atol=1e-3)
    np.testing.assert_allclose(found.error[1:], known["error"], rtol=0.04)
