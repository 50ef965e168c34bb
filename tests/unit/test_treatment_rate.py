"""Rank-weighted average effects: their definition, ties, draws, and the size of the test."""

import numpy as np
import pytest

from stratiome.treatment.rate import autoc, rate, toc


def _written_out(contrast: np.ndarray, order: np.ndarray) -> float:
    running = np.cumsum(contrast[order]) / np.arange(1, len(order) + 1)
    return float(running.mean() - contrast.mean())


def test_autoc_is_its_definition():
    rng = np.random.default_rng(1)
    contrast, priority = rng.normal(size=200), rng.normal(size=200)
    order = np.argsort(-priority)
    assert autoc(contrast, priority)[0] == pytest.approx(_written_out(contrast, order), abs=1e-12)
    shares = np.arange(1, 201) / 200
    assert toc(contrast, priority, shares).mean() == pytest.approx(autoc(contrast, priority)[0], abs=1e-12)
    assert toc(contrast, priority, np.array([1.0]))[0] == pytest.approx(0.0, abs=1e-12)


def test_ties_are_the_mean_over_all_orders_among_them():
    rng = np.random.default_rng(2)
    contrast, priority = rng.normal(size=12), np.repeat([3.0, 1.0, 2.0], 4)
    values = []
    for _ in range(20_000):
        order = np.lexsort((rng.random(12), -priority))
        values.append(_written_out(contrast, order))
    error = np.std(values) / np.sqrt(len(values))
    assert autoc(contrast, priority)[0] == pytest.approx(np.mean(values), abs=4 * error)
    assert autoc(contrast, np.zeros(12))[0] == pytest.approx(0.0, abs=1e-12)


def test_weights_are_patients_left_out():
    rng = np.random.default_rng(3)
    contrast, priority = rng.normal(size=50), rng.normal(size=50)
    kept = rng.random(50) < 0.5
    inner = autoc(contrast[kept], priority[kept])[0]
    assert autoc(contrast, priority, kept[None].astype(float))[0] == pytest.approx(inner, abs=1e-12)


def test_an_order_that_tells_nothing_is_rejected_as_often_as_asked_and_one_that_tells_more_often():
    rng = np.random.default_rng(4)
    null, real = [], []
    for _ in range(400):
        effect = rng.normal(size=300)
        noise = 3 * rng.standard_t(5, size=300)
        null.append(rate(noise, effect, draws=100, rng=rng).p_value < 0.05)
        real.append(rate(noise + 0.8 * effect, effect, draws=100, rng=rng).p_value < 0.05)
    assert 0.02 <= np.mean(null) <= 0.085
    assert np.mean(real) > 0.7
