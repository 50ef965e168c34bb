"""Forest, deep hazard model and stacking: definitions, known truth, and wrong versions that must fail."""

from __future__ import annotations

import numpy as np
import pytest

from stratiome.prognosis import deep
from stratiome.prognosis.deep import fit_deep_hazard
from stratiome.prognosis.metrics import brier, integrated
from stratiome.prognosis.stack import restricted_mean_risk, stack_weights
from stratiome.survival import forest
from stratiome.survival.concordance import Sample
from stratiome.survival.forest import MIN_LEAF, fit_forest, grow_forest, on_grid

GRID = np.linspace(0.0, 60.0, 31)


def exponential(rng: np.random.Generator, n: int, effect: float = 1.0) -> tuple[np.ndarray, ...]:
    """A covariate, follow-up, events, and the true survival on the grid."""
    x = rng.normal(size=(n, 2))
    rate = np.exp(effect * x[:, 0]) / 40
    failed, censored = rng.exponential(1 / rate), rng.exponential(80, n)
    return x, np.minimum(failed, censored), failed <= censored, np.exp(-rate[:, None] * GRID)


# --- ensemble ---


def test_spread_is_the_deviation_over_members(monkeypatch):
    """Written out from the curves of the members; with one start for all, and no dropout, it is nothing."""
    x, time, event, _ = exponential(np.random.default_rng(4), 120)
    kept = []
    real = deep._on_grid
    monkeypatch.setattr(deep, "_on_grid", lambda *given: kept.append(real(*given)) or kept[-1])
    monkeypatch.setattr(deep, "EPOCHS", 15)
    train = np.arange(120) < 100
    found = fit_deep_hazard(x, time, event, train, GRID, np.random.default_rng(1))
    members = kept[-1]
    assert members.shape == (deep.MEMBERS, 120, len(GRID))
    np.testing.assert_allclose(found.spread, np.std(1 - members, axis=0, ddof=1))
    assert (found.spread[:, 0] == 0).all()
    assert (found.spread[:, -1] > 0).all()
    start = deep._start
    monkeypatch.setattr(deep, "DROPOUT", 0.0)
    monkeypatch.setattr(
        deep, "_start", lambda *given: {k: v[:1].repeat(deep.MEMBERS, 1, 1) for k, v in start(*given).items()}
    )
    alike = fit_deep_hazard(x, time, event, train, GRID, np.random.default_rng(1))
    assert alike.spread.max() < 1e-6


# --- grid ----------------------------------------------------------------------------------------------------------


def test_events_go_up_and_censorings_down_on_the_grid():
    grid = np.array([0.0, 10.0, 20.0])
    time = np.array([3.0, 3.0, 10.0, 10.0, 25.0, 25.0, 20.0])
    event = np.array([True, False, True, False, True, False, True])
    rounded, observed = on_grid(time, event, grid)
    assert rounded.tolist() == [10.0, 0.0, 10.0, 10.0, 20.0, 20.0, 20.0]
    assert observed.tolist() == [True, False, True, False, False, False, True]


def test_a_forest_of_one_leaf_is_the_nelson_aalen_curve_of_its_bootstrap(monkeypatch):
    """With leaves as large as the training set no split is possible, so all patients have one curve."""
    x, time, event, _ = exponential(np.random.default_rng(1), 300)
    train = np.arange(300) < 250
    monkeypatch.setattr(forest, "MIN_LEAF", 250)
    curves = fit_forest(x, time, event, train, GRID, trees=10, seed=1)
    assert np.ptp(curves, axis=0).max() < 1e-12
    rounded, observed = on_grid(time[train], event[train], GRID)
    at_risk = (rounded[:, None] >= GRID).sum(axis=0)
    deaths = ((rounded[:, None] == GRID) & observed[:, None]).sum(axis=0)
    expected = np.exp(-np.cumsum(deaths / at_risk))
    np.testing.assert_allclose(curves[0], expected, atol=0.06)  # ten bootstrap samples of 250 patients


def test_forest_predicts_curves_that_start_at_one_and_find_the_covariate():
    x, time, event, truth = exponential(np.random.default_rng(2), 600)
    train = np.arange(600) < 450
    curves = fit_forest(x, time, event, train, GRID, trees=50, seed=1)
    assert (curves[:, 0] == 1).all()
    assert (np.diff(curves, axis=1) <= 0).all()
    error, flat = (np.abs(c[~train] - truth[~train]).mean() for c in (curves, curves.mean(axis=0)[None].repeat(600, 0)))
    assert error < 0.5 * flat


# --- deep hazard ---------------------------------------------------------------------------------------------------


def test_a_patient_enters_the_intervals_that_are_known():
    edges = np.array([0.0, 10.0, 20.0, 30.0])
    time = np.array([5.0, 10.0, 15.0, 15.0, 20.0, 30.0, 40.0])
    event = np.array([True, True, True, False, False, True, True])
    target, weight = deep._intervals(time, event, edges)
    assert target.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert weight.tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]


def test_deep_hazard_recovers_the_true_curves_and_a_mutant_does_not():
    rng = np.random.default_rng(3)
    x, time, event, truth = exponential(rng, 1200)
    train = np.arange(1200) < 900
    found = fit_deep_hazard(x, time, event, train, GRID, np.random.default_rng(1))
    error = np.abs(found.survival[~train] - truth[~train]).mean()
    assert error < 0.04
    assert (found.survival[:, 0] == 1).all()
    assert (np.diff(found.survival, axis=1) <= 0).all()
    events_only = fit_deep_hazard(x, time, event, train & event, GRID, np.random.default_rng(1))
    assert np.abs(events_only.survival[~train] - truth[~train]).mean() > 2 * error


def test_deep_hazard_sees_what_proportional_hazards_cannot():
    """Crossing hazards: one group fails early, the other late."""
    rng = np.random.default_rng(4)
    n = 1500
    group = rng.integers(2, size=n)
    failed = np.where(group == 1, rng.exponential(12, n), 20 + rng.exponential(12, n))
    time, event = np.minimum(failed, 60.0), failed <= 60
    found = fit_deep_hazard(group[:, None] - 0.5, time, event, np.ones(n, bool), GRID, np.random.default_rng(1))
    early = found.survival[:, np.searchsorted(GRID, 18.0)]
    assert early[group == 0].mean() > 0.9
    assert early[group == 1].mean() < 0.35


def test_deep_hazard_is_repeatable_and_blind_to_other_rows():
    x, time, event, _ = exponential(np.random.default_rng(5), 300)
    train = np.arange(300) < 200
    first = fit_deep_hazard(x, time, event, train, GRID, np.random.default_rng(1))
    other = np.where(train, time, 1.0), np.where(train, event, ~event)
    changed = np.where(train[:, None], x, 100.0)
    second = fit_deep_hazard(changed, *other, train, GRID, np.random.default_rng(1))
    np.testing.assert_array_equal(first.survival[train], second.survival[train])
    assert first.epochs == second.epochs


# --- stacking ------------------------------------------------------------------------------------------------------


def candidates(rng: np.random.Generator, n: int = 800) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow-up, events and curves: the truth bent in two opposite ways, and one that knows nothing."""
    _, time, event, truth = exponential(rng, n)
    flat = np.repeat(truth.mean(axis=0)[None], n, axis=0)
    return time, event, np.stack([truth**0.6, truth**1.6, flat])


def score(time, event, curves, tau=60.0) -> float:
    """Integrated Brier score by the metric that judges held-out patients."""
    return float(integrated(brier(Sample.make(time, event), curves, GRID), GRID)[0])


def test_score_of_stacking_is_that_of_the_evaluation():
    time, event, curves = candidates(np.random.default_rng(6))
    _, alone = stack_weights(time, event, curves, GRID, 60.0)
    np.testing.assert_allclose(alone, [score(time, event, c) for c in curves], rtol=1e-10)


def test_weights_are_the_best_of_all_convex_combinations():
    time, event, curves = candidates(np.random.default_rng(7))
    weights, alone = stack_weights(time, event, curves, GRID, 60.0)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    best = score(time, event, np.tensordot(weights, curves, axes=1))
    assert best <= alone.min()
    for a in np.linspace(0, 1, 11):
        for b in np.linspace(0, 1 - a, 11):
            mixed = a * curves[0] + b * curves[1] + (1 - a - b) * curves[2]
            assert best <= score(time, event, mixed) + 1e-7


def test_a_model_that_knows_nothing_gets_next_to_no_weight():
    time, event, curves = candidates(np.random.default_rng(8), n=3000)
    weights, _ = stack_weights(time, event, curves, GRID, 60.0)
    assert weights[2] < 0.1
    assert min(weights[:2]) > 0.2


def test_equal_models_and_one_model():
    time, event, curves = candidates(np.random.default_rng(9))
    weights, _ = stack_weights(time, event, curves[[0, 0]], GRID, 60.0)
    assert weights.sum() == pytest.approx(1)
    assert stack_weights(time, event, curves[:1], GRID, 60.0)[0].tolist() == [1.0]


def test_unweighted_stacking_is_pulled_by_the_censoring():
    """Mutant: without censoring weights those who failed count too much late, and survival comes out low."""
    rng = np.random.default_rng(10)
    n = 4000
    failed, censored = rng.exponential(60, n), rng.uniform(0, 70, n)
    time, event = np.minimum(failed, censored), failed <= censored
    curves = np.stack([np.exp(-GRID / 60), np.exp(-GRID / 30)])[:, None].repeat(n, axis=1)
    weights, _ = stack_weights(time, event, curves, GRID, 60.0)
    assert weights[0] > 0.9
    known = event[:, None] & (time[:, None] <= GRID)
    alive = time[:, None] > GRID
    shares = np.linspace(0, 1, 101)
    unweighted = [((known | alive) * (alive - a * curves[0] - (1 - a) * curves[1]) ** 2).sum() for a in shares]
    assert shares[np.argmin(unweighted)] < 0.7


def test_risk_is_minus_the_restricted_mean():
    curves = np.exp(-np.outer([0.01, 0.05], GRID))
    risk = restricted_mean_risk(curves, GRID, 60.0)
    np.testing.assert_allclose(-risk, (1 - np.exp(-60 * np.array([0.01, 0.05]))) / [0.01, 0.05], rtol=2e-3)
    assert risk[1] > risk[0]


def test_a_stored_forest_predicts_as_that_of_scikit_survival():
    from sksurv.ensemble import RandomSurvivalForest
    from sksurv.util import Surv

    x, time, event, _ = exponential(np.random.default_rng(6), 300)
    train = np.arange(300) < 240
    rounded, observed = on_grid(time[train], event[train], GRID)
    theirs = RandomSurvivalForest(n_estimators=20, min_samples_leaf=MIN_LEAF, random_state=3, n_jobs=1)
    theirs.fit(x[train][rounded > 0], Surv.from_arrays(observed[rounded > 0], rounded[rounded > 0]))
    steps = np.column_stack([np.ones(len(x)), theirs.predict_survival_function(x, return_array=True)])
    expected = steps[:, np.searchsorted(theirs.unique_times_, GRID, side="right")]
    forest = grow_forest(x, time, event, train, GRID, trees=20, seed=3)
    np.testing.assert_allclose(forest.survival(x), expected, atol=1e-6)
    alone = np.concatenate([forest.survival(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_array_equal(forest.survival(x), alone)
