"""Conformal lower bounds against split conformal quantiles, integrals, Kaplan-Meier curves and simulated truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from conformal_gates import GATES, GRID, SIMULATORS, Patients, Replicate, Shares, replicate, shares
from stratiome.prognosis.conformal import (
    ConformalError,
    calibrate,
    coverage,
    curve_at,
    lower_bounds,
    risk_quarters,
)
from stratiome.survival.censoring import censoring_curve, survival_curve


def _curves(rate: np.ndarray, grid: np.ndarray = GRID) -> np.ndarray:
    return np.exp(-np.outer(rate, grid))


def _rates(n: int, seed: int) -> np.ndarray:
    return np.exp(0.6 * np.random.default_rng(seed).normal(size=n)) / 40


# --- bounds of given curves ------------------------------------------------------------------------------------------


def test_the_bound_is_where_the_curve_between_grid_points_reaches_one_minus_the_level():
    grid = np.array([0.0, 10.0, 30.0])
    curves = np.array([[1.0, 0.8, 0.4], [1.0, 1.0, 0.9], [1.0, 0.9, 0.9], [1.0, 0.5, 0.0]])
    np.testing.assert_allclose(lower_bounds(curves, grid, 0.1), [5.0, 30.0, 10.0, 2.0], rtol=1e-12)
    np.testing.assert_allclose(lower_bounds(curves, grid, 0.4), [20.0, 30.0, 30.0, 8.0], rtol=1e-12)
    np.testing.assert_array_equal(lower_bounds(curves, grid, 0.0), 0.0)
    np.testing.assert_array_equal(lower_bounds(curves, grid, 1.0), 30.0)
    np.testing.assert_allclose(lower_bounds(curves, grid, 0.1, limit=7.0), [5.0, 7.0, 7.0, 2.0], rtol=1e-12)


@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_bounds_grow_with_the_level_and_stay_on_the_grid(seed, a, b):
    rng = np.random.default_rng(seed)
    curves = np.minimum.accumulate(np.column_stack([np.ones(20), rng.random((20, 60))]), axis=1)
    curves[:, 30:] = curves[:, [30]]  # flat
    low, high = (lower_bounds(curves, GRID, level) for level in sorted((a, b)))
    assert (low <= high + 1e-9).all()
    assert (low >= 0).all()
    assert (high <= GRID[-1]).all()
    inside = (high < GRID[-1]) & (high > 0)
    reached = curve_at(curves, GRID, high)[inside]
    np.testing.assert_allclose(reached, 1 - max(a, b), atol=1e-9)


# --- without censoring -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [9, 10, 19, 57, 200])
@pytest.mark.parametrize("alpha", [0.1, 0.25])
def test_without_censoring_the_level_is_the_split_conformal_quantile(n, alpha):
    rate = _rates(n, n)
    time = np.random.default_rng(n + 1).exponential(1 / rate)
    curves = _curves(rate)
    made = calibrate(time, np.ones(n, dtype=bool), curves, np.ones_like(curves), GRID, alpha)
    scores = [1.0 - np.interp(t, GRID, c) if t < GRID[-1] else np.inf for t, c in zip(time, curves, strict=True)]
    k = int(np.floor(alpha * (n + 1) + 1e-9))
    assert made.level == pytest.approx(np.sort(scores)[k - 1], abs=1e-14)
    assert made.missed == pytest.approx((k - 1) / n, abs=1e-14)
    assert (made.limit, made.truncated, made.note) == (GRID[-1], 0, "")


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_exactly_the_promised_number_is_missed_when_each_of_exchangeable_patients_is_new_in_turn(alpha):
    n = 40
    rate = _rates(n, 3)
    time = np.random.default_rng(4).exponential(30, n)  # nothing to do with the curves: the model is wrong
    curves = _curves(rate)
    missed = 0
    for i in range(n):
        rest = np.arange(n) != i
        made = calibrate(time[rest], np.ones(n - 1, dtype=bool), curves[rest], np.ones((n - 1, 61)), GRID, alpha)
        missed += int(time[i] < made.lower_bounds(curves[[i]], GRID)[0])
    assert missed == int(np.floor(alpha * n + 1e-9))


def test_too_few_patients_get_no_bound_but_zero():
    curves = _curves(np.full(8, 0.01))
    made = calibrate(np.arange(10.0, 90.0, 10.0), np.ones(8, dtype=bool), curves, np.ones_like(curves), GRID, 0.1)
    assert made.level == 0.0
    np.testing.assert_array_equal(made.lower_bounds(curves, GRID), 0.0)
    assert "no bound but 0" in made.note
    assert "Suggestion" in made.note


def test_patients_who_outlive_the_grid_are_never_missed():
    grid = np.linspace(0.0, 60.0, 31)
    time = np.append(np.linspace(1.0, 29.0, 29), np.full(30, 500.0))
    curves = _curves(np.append(np.full(29, 0.02), np.full(30, 1e-6)), grid)  # theirs are the smallest probabilities
    made = calibrate(time, np.ones(59, dtype=bool), curves, np.ones_like(curves), grid, 0.1)
    assert made.level == pytest.approx(1 - np.exp(-0.02 * 6.0), abs=1e-12)


def test_patients_with_tied_times_and_curves_are_missed_together():
    time = np.repeat([10.0, 20.0, 30.0, 40.0, 50.0], 10)
    curves = _curves(np.full(50, 0.01))
    one = np.ones(50, dtype=bool)
    assert calibrate(time, one, curves, np.ones_like(curves), GRID, 0.19).lower_bounds(curves, GRID)[0] == 10.0
    assert calibrate(time, one, curves, np.ones_like(curves), GRID, 0.22).lower_bounds(curves, GRID)[0] == 20.0


# --- with censoring --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("points", "tolerance"), [(61, 1e-4), (12_001, 1e-6)])
def test_the_estimate_is_its_definition_by_numerical_integration(points, tolerance):
    n, grid = 60, np.linspace(0.0, 120.0, points)
    rate, leaving = _rates(n, 5), np.exp(0.5 * np.random.default_rng(6).normal(size=n)) / 50
    rng = np.random.default_rng(7)
    failed, left = rng.exponential(1.3 / rate), rng.exponential(1 / leaving)
    time, event = np.minimum(failed, left), failed <= left
    made = calibrate(time, event, _curves(rate, grid), _curves(leaving, grid), grid, 0.3, min_survival=0.05)
    bound = np.minimum(-np.log(1 - made.level) / rate, made.limit)
    total = 0.0
    for t, d, s, c, end in zip(time, event, rate, leaving, bound, strict=True):

        def before(u: float, s: float = s, end: float = end) -> float:
            return 1.0 - np.exp(-s * (end - u))

        # At this level the last event counted is the one whose score is the next smaller, so `t == end` is no miss.
        if t < end * (1 - 1e-9):
            total += np.exp(c * t) * (1.0 if d else before(t))
        total -= quad(lambda u, c=c, before=before: before(u) * c * np.exp(c * u), 0.0, min(t, end))[0]
    assert 0.1 < made.level < 0.6
    assert (~event & (time < bound)).sum() > 5
    assert made.missed == pytest.approx(total / n, abs=tolerance)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_one_curve_for_all_the_estimate_is_that_of_kaplan_meier(seed):
    rng = np.random.default_rng(seed)
    failed, left = np.ceil(rng.exponential(30, 200)), np.ceil(rng.exponential(40, 200))  # with ties
    time, event = np.minimum(failed, left), failed <= left
    grid = np.union1d(np.arange(0.0, 60.0), np.arange(0.0, 60.0) + 0.01)
    grid = np.union1d(grid, np.arange(1.0, 60.0) - 0.01)  # steps of the curves between two points that are near
    survival = np.repeat(survival_curve(time, event).at(grid), 200, axis=0)
    uncensored = np.repeat(censoring_curve(time, event).at(grid, left=True), 200, axis=0)
    made = calibrate(time, event, survival, uncensored, grid, 0.25)
    bound = made.lower_bounds(survival[:1], grid)[0]
    assert bound == pytest.approx(round(bound), abs=1e-9)
    assert made.missed == pytest.approx(1 - survival_curve(time, event).at(bound - 0.5)[0, 0], abs=1e-10)
    after = 1 - survival_curve(time, event).at(bound)[0, 0]
    assert made.missed < 0.25 < after + 2 / 200


def test_everybody_censored_says_that_nothing_is_known():
    n = 30
    time = np.linspace(1.0, 60.0, n)
    curves = np.ones((n, len(GRID)))
    uncensored = np.repeat(censoring_curve(time, np.zeros(n, dtype=bool)).at(GRID, left=True), n, axis=0)
    made = calibrate(time, np.zeros(n, dtype=bool), curves, uncensored, GRID, 0.1)
    assert made.level == 0.0
    np.testing.assert_array_equal(made.lower_bounds(curves, GRID), 0.0)
    assert "no bound but 0 months: 30 calibration patients with 0 events" in made.note


def test_where_everybody_outlives_the_grid_its_end_is_the_bound():
    n = 30
    curves = _curves(_rates(n, 1))
    made = calibrate(np.full(n, GRID[-1]), np.zeros(n, dtype=bool), curves, np.ones_like(curves), GRID, 0.1)
    assert (made.level, made.limit) == (1.0, GRID[-1])
    np.testing.assert_array_equal(made.lower_bounds(curves, GRID), GRID[-1])
    assert "120 months" in made.note


def test_no_bound_lies_beyond_what_patients_were_followed_for():
    rng = np.random.default_rng(1)
    failed = rng.exponential(300, 200)
    time, event = np.minimum(failed, 24.0), failed <= 24.0
    curves = _curves(np.full(200, 1 / 3000))  # far too hopeful
    made = calibrate(time, event, curves, np.ones_like(curves), GRID, 0.1)
    assert made.limit == 24.0
    assert made.lower_bounds(curves, GRID).max() <= 24.0


def test_small_probabilities_of_being_uncensored_are_counted():
    rng = np.random.default_rng(2)
    rate = _rates(100, 2)
    time, event = rng.exponential(1 / rate), rng.random(100) < 0.7
    uncensored = np.repeat(np.array([[1.0] + [0.01] * 60]), 100, axis=0)
    made = calibrate(time, event, _curves(rate), uncensored, GRID, 0.3, min_survival=0.05)
    assert made.level > 0
    until = np.minimum(time, made.lower_bounds(_curves(rate), GRID))
    assert made.truncated == int((np.interp(until, GRID, uncensored[0]) < 0.05).sum()) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, r"alpha must be between 0 and 1.*Suggestion"),
        ({"survival": np.ones((3, 61))}, r"survival curves have shape \(3, 61\), not \(5, 61\)"),
        ({"uncensored": np.full((5, 61), np.nan)}, r"censoring curves are not probabilities.*Suggestion"),
        ({"survival": np.full((5, 61), 1.2)}, r"survival curves are not probabilities"),
        ({"grid": GRID + 1.0}, r"grid must increase from 0.*Suggestion"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"survival": np.ones((5, 61)), "uncensored": np.ones((5, 61)), "grid": GRID, "alpha": 0.1}
    with pytest.raises(ConformalError, match=message):
        calibrate(np.arange(1.0, 6.0), np.ones(5, dtype=bool), **(good | change))


# --- coverage on held-out patients -----------------------------------------------------------------------------------


def _held_out(n: int = 120, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    failed, left = np.ceil(rng.exponential(30, n)), np.ceil(rng.exponential(40, n))
    lower = rng.integers(1, 25, n).astype(float)
    return np.minimum(failed, left), failed <= left, lower, rng.integers(0, 3, n)


def test_coverage_is_its_definition_patient_by_patient():
    time, event, lower, group = _held_out()
    uncensored = np.random.default_rng(2).uniform(0.01, 1.0, len(time))
    found = {(c.by, c.group): c for c in coverage(time, event, lower, uncensored=uncensored, groupings={"g": group})}
    for key, wanted in {("all", ""): {0, 1, 2}, ("g", "0"): {0}, ("g", "1"): {1}, ("g", "2"): {2}}.items():
        top = bottom = 0.0
        known = truncated = 0
        for t, d, bound, g, of in zip(time, event, lower, uncensored, group, strict=True):
            if of not in wanted or (not d and t < bound):
                continue  # censored before the bound: nobody knows
            weight = 1 / max(g, 0.05)
            known, truncated = known + 1, truncated + int(g < 0.05)
            bottom += weight
            top += weight if t >= bound else 0.0
        assert found[key].covered == pytest.approx([top / bottom], abs=1e-12)
        assert (found[key].known, found[key].truncated) == (known, truncated)
        assert found[key].n == np.isin(group, list(wanted)).sum()


def test_coverage_of_weights_is_that_of_repeated_rows():
    time, event, lower, group = _held_out()
    rng = np.random.default_rng(3)
    weights = rng.integers(0, 3, (4, len(time)))
    uncensored = rng.uniform(0.2, 1.0, len(time))
    for given_uncensored in (None, uncensored):
        found = coverage(time, event, lower, groupings={"g": group}, weights=weights, uncensored=given_uncensored)
        for b, row in enumerate(weights):
            again = np.repeat(np.arange(len(time)), row)
            repeated = coverage(
                time[again],
                event[again],
                lower[again],
                groupings={"g": group[again]},
                uncensored=None if given_uncensored is None else uncensored[again],
            )
            for one, other in zip(found, repeated, strict=True):
                assert one.covered[b] == pytest.approx(other.covered[0], abs=1e-12)


def test_coverage_without_censoring_is_a_share():
    time, _, lower, group = _held_out()
    everyone, first, *_ = coverage(time, np.ones(len(time), dtype=bool), lower, groupings={"g": group})
    assert everyone.covered[0] == pytest.approx((time >= lower).mean(), abs=1e-12)
    assert first.covered[0] == pytest.approx((time >= lower)[group == 0].mean(), abs=1e-12)


def test_a_common_bound_gives_the_kaplan_meier_estimate():
    time, event, _, _ = _held_out()
    for horizon in (8.0, 17.0, 30.5):
        found = coverage(time, event, np.full(len(time), horizon))[0].covered[0]
        assert found == pytest.approx(survival_curve(time, event).at(horizon, left=True)[0, 0], abs=1e-12)


def test_coverage_is_missing_where_no_status_is_known():
    time, event = np.array([2.0, 3.0, 9.0, 5.0]), np.array([False, False, True, False])
    found = coverage(time, event, np.full(4, 5.0), groupings={"g": np.array(["a", "a", "b", "b"])})
    everyone, a, b = found
    assert (a.group, a.n, a.known) == ("a", 2, 0)
    assert np.isnan(a.covered[0])
    assert (b.known, b.covered[0], everyone.covered[0]) == (2, 1.0, 1.0)  # censored at the bound: it was reached
    nobody = coverage(time, event, np.full(4, 5.0), weights=np.array([[1, 1, 0, 0], [1, 1, 1, 1]]))[0]
    np.testing.assert_array_equal(nobody.covered, [np.nan, 1.0])


def test_risk_quarters():
    np.testing.assert_array_equal(risk_quarters(np.array([5.0, 1, 2, 3, 4, 6, 7, 8])), [3, 1, 1, 2, 2, 3, 4, 4])
    fold = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(
        risk_quarters(np.array([1.0, 2, 3, 4, 50, 60, 70, 80]), fold), [1, 2, 3, 4, 1, 2, 3, 4]
    )
    assert len(set(risk_quarters(np.zeros(7)))) == 1
    sizes = np.unique(risk_quarters(np.random.default_rng(0).normal(size=101)), return_counts=True)[1]
    assert (sizes.min(), sizes.max(), len(sizes)) == (25, 26, 4)


# --- simulated truth; `tests/benchmarks/conformal_gates.py` has the gates at full size -------------------------------

REPLICATES = 8
# Standard deviations of a replicate's coverage, seen in 40 others: 0.014 (easy), 0.025 (hard), 0.015 (right base), and
# at most 0.025 for mutants. Bounds lie 3.3 standard errors of a mean of 8 away from the means seen, or further.
BOUNDS = {"easy": (0.884, 0.920), "hard": (0.870, 0.935), "right base": (0.884, 0.922)}
OUTSIDE = {
    "easy": {"events_only": "above", "time_as_event": "above"},
    "hard": {
        "no_conformal": "below",
        "unweighted": "below",
        "same_censoring_for_all": "below",
        "time_as_event": "above",
    },
    "right base": {"wrong_censoring_no_augmentation": "below"},
}


@pytest.fixture(scope="module")
def simulated() -> dict[str, list[Replicate]]:
    return {
        name: [replicate(simulator, s, folds=2) for s in range(REPLICATES)] for name, simulator in SIMULATORS.items()
    }


def _mean(simulated: dict[str, list[Replicate]], simulator: str, method: str) -> Shares:
    chosen = next(m for m in GATES[simulator] if m.__name__ == method)
    return Shares(*np.mean([shares(chosen, made) for made in simulated[simulator]], axis=0))


@pytest.mark.parametrize(
    ("simulator", "method"), [*((name, "ours") for name in BOUNDS), ("right base", "wrong_censoring")]
)
def test_true_coverage_is_as_wanted(simulated, simulator, method):
    low, high = BOUNDS[simulator]
    assert low < _mean(simulated, simulator, method).everyone < high


@pytest.mark.parametrize(("simulator", "method"), [(name, m) for name in OUTSIDE for m in OUTSIDE[name]])
def test_mutants_have_another_coverage(simulated, simulator, method):
    low, high = BOUNDS[simulator]
    found = _mean(simulated, simulator, method).everyone
    assert found < low if OUTSIDE[simulator][method] == "below" else found > high


def test_a_right_marginal_coverage_can_hide_the_sickest(simulated):
    found = _mean(simulated, "hard", "ours")
    assert found.truly_sickest < 0.85 < found.everyone


def _bounds(calibration: Patients, survival: np.ndarray) -> np.ndarray:
    made = calibrate(calibration.time, calibration.event, calibration.survival, calibration.uncensored, GRID)
    return made.lower_bounds(survival, GRID)


def test_estimated_coverage_needs_the_censoring_of_each_patient(simulated):
    errors = []
    for made in simulated["hard"]:
        new, bound = made.new, _bounds(made.calibration, made.new.survival)
        modelled = curve_at(new.uncensored, GRID, np.minimum(new.time, bound))
        found = [coverage(new.time, new.event, bound, uncensored=g)[0].covered[0] for g in (modelled, None)]
        errors.append(np.array(found) - (made.true_time >= bound).mean())
    by_model, by_kaplan_meier = np.mean(errors, axis=0)
    assert abs(by_model) < 0.02
    assert by_kaplan_meier > 0.025
