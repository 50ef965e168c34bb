"""Gates of calibration and of intervals with few replicates; full size in `tests/benchmarks/prognosis_gates.py`."""

import numpy as np
import pytest

import calibration_gates as gates
from stratiome.survival.interval import percentile_interval


def _mean(found: list[dict]) -> dict:
    return {key: float(np.mean([f[key] for f in found])) for key in found[0]}


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


@pytest.mark.parametrize("planted", gates.SLOPE_BOUNDS)
def test_planted_slope_is_found_and_wrong_ones_are_not(planted):
    found = _mean([gates.slopes(planted, s) for s in range(60)])
    bounds = gates.SLOPE_BOUNDS[planted]
    assert {method: _within(value, bounds) for method, value in found.items()} == {
        "slope_ours": True,
        "slope_of_logit": False,
        "slope_of_events": False,
    }


def test_slope_on_training_patients_does_not_see_overfitting():
    found = _mean([gates.overfitted(s) for s in range(25)])
    assert abs(found["slope_ours"]) < 0.05
    assert found["slope_of_training_patients"] > 0.2


@pytest.mark.parametrize("shift", [0.0, gates.PLANTED_SHIFT])
def test_planted_shift_is_found_and_not_by_wrong_treatment_of_the_censored(shift):
    found = [gates.levels(shift, s) for s in range(50)]
    bounds = gates.level_bounds(shift)
    ours = _mean([f["known_ours"] for f in found])
    assert [key for key in bounds if not _within(ours[key], bounds[key])] == []
    for mutant in ("known_without_censored", "known_censored_as_event_free"):
        wrong = _mean([f[mutant] for f in found])
        assert [key for key in bounds if _within(wrong[key], bounds[key])] == []


def test_d_calibration_has_its_size_and_finds_a_planted_slope():
    size = _mean([gates.rejections(1.0, s) for s in range(400)])
    assert 0.01 <= size["d_ours"] <= 0.08  # 0.05 with an error of 0.011
    assert size["d_pearson"] < 0.02  # as published: counts that were spread vary less
    assert size["d_own_bin"] > 0.9
    power = _mean([gates.rejections(gates.PLANTED_SLOPE, s, gates.POWER_PATIENTS) for s in range(60)])
    assert power["d_ours"] > 0.8
    assert power["d_pearson"] < power["d_ours"] - 0.1


def test_intervals_of_metrics_hold_the_truth():
    covered = {d.__name__: [gates.intervals(s, d) for s in range(60)] for d in gates.RESAMPLINGS}
    share = {name: np.mean([list(f.values()) for f in found]) for name, found in covered.items()}
    assert 0.92 <= share["draws_ours"] <= 0.975
    assert share["draws_of_half"] > 0.98
    assert share["draws_of_events"] < share["draws_ours"] - 0.02


def test_an_ici_is_read_beside_chance():
    found = _mean([gates.by_chance(s, bootstraps=100) for s in range(60)])
    assert found["chance"] == pytest.approx(found["ICI"], abs=0.008)
    assert found["ICI"] > 0.02
    assert found["above chance"] <= 0.12
    assert found["above zero"] == 1.0  # so an interval tells nothing about zero


def test_ends_of_intervals_are_order_statistics_that_hold_what_they_promise():
    assert percentile_interval(np.arange(1.0, 200.0), 0.95) == pytest.approx((5.0, 195.0))  # (199 + 1) p
    # The share of a new draw within is the level; between the least and the largest draw it would be 0.94.
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(4000):
        draws = rng.random(200)
        lower, upper = percentile_interval(draws, 0.95)
        inside.append(upper - lower)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.001)
