"""Absolute risk from cause-specific models: closed forms, properties, and the models of one resample."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import competing_gates as gates
from stratiome.config import PrognosisConfig
from stratiome.prognosis.bounds import learn_bounds
from stratiome.prognosis.incidence import fit_other_causes
from stratiome.prognosis.instability import bootstrap_models, optimism
from stratiome.prognosis.models import Inputs, fit_models
from stratiome.survival.censoring_model import fit_censoring
from stratiome.survival.competing import aalen_johansen, absolute_risk
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.cox import fit_cox

GRID = gates.GRID


def _falling(seed: int, n: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    steps = rng.exponential(0.2, (n, len(GRID))) * (rng.random((n, len(GRID))) < 0.5)
    steps[:, 0] = 0.0
    curves = np.exp(-np.cumsum(steps, axis=1))
    curves[0, len(GRID) // 2 :] = 0.0
    return curves


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_risks_and_survival_add_up_to_one(seed):
    first, other = _falling(seed), _falling(seed + 1)
    risk, rival, free = absolute_risk(first, other)
    np.testing.assert_allclose(risk + rival + free, 1.0, atol=1e-12)
    np.testing.assert_allclose(free, first * other, atol=1e-12)
    for curve in (risk, rival):
        assert (np.diff(curve, axis=1) >= 0).all()
        assert (curve >= 0).all()
    assert (risk <= 1.0 - first + 1e-12).all()  # other causes take patients away


def test_constant_hazards_are_met_exactly_on_any_grid():
    grid = np.array([0.0, 5.0, 30.0, 31.0, 60.0])
    risk = absolute_risk(np.exp(-0.02 * grid)[None], np.exp(-0.05 * grid)[None])[0][0]
    np.testing.assert_allclose(risk, 2 / 7 * -np.expm1(-0.07 * grid), atol=1e-14)


def test_without_other_causes_it_is_one_minus_survival():
    curves = _falling(3)
    risk, rival, _ = absolute_risk(curves, np.ones_like(curves))
    np.testing.assert_allclose(risk, 1.0 - curves, atol=1e-12)
    assert (rival == 0).all()


def test_breslow_and_nelson_aalen_curves_give_aalen_johansen_up_to_the_grid():
    made = gates.draw_competing(3000, np.random.default_rng(2))
    time, event, competing = made.follow_up, made.first(1), made.first(2)
    others = fit_other_causes(np.zeros((3000, 0)), time, event, competing, 5)
    assert "no clinical column" in others.note
    hazard = fit_other_causes(np.zeros((3000, 0)), time, competing, event, 5)
    curves = hazard.survival(np.zeros((1, 0)), GRID)
    exact = aalen_johansen(time, np.where(event, 1, np.where(competing, 2, 0))).at(GRID)[0, 0]
    np.testing.assert_allclose(1.0 - others.free_of_event(curves, np.zeros((1, 0)), GRID)[0], exact, atol=5e-4)
    np.testing.assert_array_equal(others.marginal(2, GRID), np.stack([1.0 - exact] * 2))


@pytest.mark.parametrize(("n", "said"), [(60, "fewer than 40"), (600, "by a Cox model")])
def test_few_deaths_of_other_causes_have_no_model(n, said):
    made = gates.draw_competing(n, np.random.default_rng(5))
    others = fit_other_causes(made.x, made.follow_up, made.first(1), made.first(2), 40)
    assert said in others.note
    curves = others.survival(made.x, GRID)
    assert (np.ptp(curves, axis=0).max() == 0) == (n == 60)


def _inputs(n: int = 800) -> Inputs:
    made = gates.draw_competing(n, np.random.default_rng(6))
    train = np.arange(n) % 3 > 0
    return Inputs(
        train, made.follow_up, made.first(1), made.x, ("a", "b"), (), np.zeros((n, 0)), np.zeros(n, dtype=int),
        competing=made.first(2),
    )  # fmt: skip


MODELS = ("clinical_forest", "stacked")
SETTINGS = PrognosisConfig(models=MODELS, trees=20, inner_folds=3, min_events=10)


def _fit(inputs: Inputs, **changes):
    settings = SETTINGS.model_copy(update=changes)
    made = fit_models(inputs, GRID, settings, tau=60.0, rng=np.random.default_rng(1))
    return {fit.model: fit for fit in made}


def test_every_model_of_a_resample_predicts_absolute_risk():
    inputs = _inputs()
    fits, alone = _fit(inputs), _fit(replace(inputs, competing=None))
    train = inputs.train
    cause = np.where(inputs.event, 1, np.where(inputs.competing, 2, 0))
    exact = 1.0 - aalen_johansen(inputs.time[train], cause[train]).at(GRID)[0, 0]
    np.testing.assert_allclose(fits["kaplan_meier"].survival[0], exact, atol=1e-12)
    assert "Aalen-Johansen" in fits["kaplan_meier"].note
    other = fit_cox(inputs.clinical[train], inputs.time[train], inputs.competing[train])
    for model in ("clinical", "clinical_forest"):
        own = absolute_risk(alone[model].survival, other.survival(inputs.clinical, GRID))[0]
        np.testing.assert_allclose(fits[model].survival, 1.0 - own, atol=1e-12)
        np.testing.assert_array_equal(fits[model].risk, alone[model].risk)  # cause-specific all the same
        assert "Cox model on clinical columns" in fits[model].note
    for fit in fits.values():
        assert (np.diff(fit.survival, axis=1) <= 0).all()
        assert (fit.survival[:, 0] == 1).all()
        assert fit.held_in.shape == (train.sum(), len(GRID))
    # Held-in curves are of the same kind: what they say of the training patients is what happened to them.
    sample = np.array([1.0 - fits["stacked"].held_in[:, -1].mean(), 1.0 - exact[-1]])
    assert abs(sample[0] / sample[1] - 1.0) < 0.1
    truth = gates.true_incidence(inputs.clinical, GRID)[:, -1]
    apart = {m: np.abs(1.0 - f["clinical"].survival[:, -1] - truth).mean() for m, f in (("us", fits), ("km", alone))}
    assert apart["us"] < 0.05 < apart["km"]


def test_models_that_could_not_be_fitted_predict_the_incidence_of_all():
    inputs = _inputs()
    fits = _fit(inputs, min_events=int(inputs.event.sum()))
    assert {f.stand_in for f in fits.values()} == {None, "kaplan_meier"}
    for fit in fits.values():
        np.testing.assert_array_equal(fit.survival, fits["kaplan_meier"].survival)
    assert fits["clinical"].note.startswith("not fitted")


def test_held_out_deaths_change_nothing():
    inputs = _inputs()
    test = ~inputs.train
    changed = replace(
        inputs,
        event=np.where(test, False, inputs.event),
        competing=np.where(test, ~inputs.competing, inputs.competing),
        time=np.where(test, 1.0, inputs.time),
    )
    before = _fit(inputs)
    for model, fit in _fit(changed).items():
        np.testing.assert_array_equal(fit.survival, before[model].survival)


def test_there_are_no_lower_bounds_and_censoring_is_failing_of_neither():
    inputs = _inputs()
    fits = tuple(_fit(inputs).values())
    bounds, uncensored = learn_bounds(inputs, fits, GRID, share=0.9, folds=3, rng=np.random.default_rng(1))
    assert bounds == ()
    train = inputs.train
    ended = (inputs.event | inputs.competing)[train]
    expected = fit_censoring(inputs.clinical[train], inputs.time[train], ended).uncensored(inputs.clinical, GRID)
    np.testing.assert_array_equal(uncensored, expected)
    # Uniform censoring up to 120 months, whatever the patient: half are under observation at 60.
    assert abs(uncensored[:, -1].mean() - 0.5) < 0.08


def test_instability_is_that_of_absolute_risks():
    inputs = _inputs()
    (found,) = bootstrap_models(inputs, SETTINGS, (60.0,), tau=60.0, draws=4, rng=np.random.default_rng(1))
    alone = _fit(inputs, models=())["clinical"]
    np.testing.assert_allclose(found.predicted[:, 0], 1.0 - alone.survival[inputs.train, -1], atol=1e-9)
    np.testing.assert_array_equal(found.competing, inputs.competing[inputs.train])
    own = Sample.make(found.time, found.event, competing=found.competing)
    assert optimism(found, 60.0)[0].apparent == pytest.approx(uno_c(own, found.risk, 60.0)[0], abs=1e-12)
