"""Survival models: agreement with libraries, optimality, blindness to held-out rows, and awkward data."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from sksurv.linear_model.coxph import BreslowEstimator

from stratiome.config import PrognosisConfig
from stratiome.prognosis import deep
from stratiome.prognosis.bounds import Bounds, learn_bounds
from stratiome.prognosis.elastic_net import fit_elastic_net
from stratiome.prognosis.models import MODELS, Fit, Inputs, Omic, fit_models
from stratiome.survival.censoring import survival_curve
from stratiome.survival.cox import CoxError, fit_cox, independent_columns, partial_log_likelihood, with_baseline
from stratiome.survival.cox_path import stratified_folds
from stratiome.survival.outcome import OutcomeError


@pytest.fixture(scope="module", autouse=True)
def few_epochs():
    """The deep model is trained for a few epochs, for time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "EPOCHS", 25)
        yield


GRID = np.linspace(0.0, 120.0, 61)
SETTINGS = {"l1_ratio": 0.5, "inner_folds": 4, "min_events": 20, "trees": 20}


def _inputs(seed: int = 1, n: int = 240, features: int = 40, train: int = 180, rounded: bool = False) -> Inputs:
    rng = np.random.default_rng(seed)
    clinical = rng.normal(size=(n, 3))
    rna = rng.normal(size=(n, features))
    rna[rng.random(n) < 0.1] = np.nan
    gene = np.nan_to_num(rna[:, 0])
    failed = rng.exponential(60 * np.exp(-0.6 * clinical[:, 0] - 0.8 * gene))
    censored = rng.exponential(120, n)
    time = np.minimum(failed, censored)
    latents = np.column_stack([gene + 0.3 * rng.normal(size=n), rng.normal(size=n)])
    latents[np.isnan(rna[:, 0])] = np.nan
    return Inputs(
        train=np.arange(n) < train,
        time=np.maximum(np.round(time), 1) if rounded else time,
        event=failed <= censored,
        clinical=clinical,
        clinical_names=("age", "size", "grade"),
        omics=(Omic("rna", rna.astype(np.float32), tuple(f"g{j}" for j in range(features))),),
        latents=latents,
        n_omics=np.isfinite(rna[:, 0]).astype(np.int64),
        factors=latents[:, ::-1] + 0.5,
    )


def _changed(inputs: Inputs, **changes) -> Inputs:
    return Inputs(**({name: getattr(inputs, name) for name in Inputs.__dataclass_fields__} | changes))


def _fit(inputs: Inputs, grid: np.ndarray = GRID, **changes) -> dict[str, Fit]:
    settings = PrognosisConfig(**(SETTINGS | changes))
    fits = fit_models(inputs, grid, settings, tau=grid[-1], rng=np.random.default_rng(1))
    assert tuple(f.model for f in fits) == MODELS
    for fit in fits:
        _sound(fit)
    return {f.model: f for f in fits}


def _sound(fit: Fit) -> None:
    assert np.isfinite(fit.risk).all()
    assert np.isfinite(fit.survival).all()
    assert (fit.survival[:, 0] == 1).all()
    assert (np.diff(fit.survival, axis=1) <= 0).all()
    assert ((fit.survival >= 0) & (fit.survival <= 1)).all()
    assert all(np.isfinite(c.value) for c in fit.coefficients)
    assert fit.note


@pytest.mark.parametrize("rounded", [False, True])
def test_clinical_is_the_cox_model_of_lifelines(rounded):
    inputs = _inputs(rounded=rounded)
    fit = _fit(inputs)["clinical"]
    frame = pd.DataFrame(inputs.clinical, columns=list(inputs.clinical_names)).assign(t=inputs.time, e=inputs.event)
    expected = CoxPHFitter().fit(frame[inputs.train], "t", "e", fit_options={"precision": 1e-12, "r_precision": 1e-14})
    np.testing.assert_allclose([c.value for c in fit.coefficients], expected.params_, atol=1e-8)
    limits = expected.confidence_intervals_.to_numpy()
    np.testing.assert_allclose([[c.lower, c.upper] for c in fit.coefficients], limits, atol=1e-8)
    if not rounded:
        # Asked for times, lifelines interpolates; its own steps are exact.
        steps = expected.predict_survival_function(frame[~inputs.train])
        at = np.searchsorted(steps.index.to_numpy(), GRID[1:], side="right") - 1
        reached = at >= 0
        np.testing.assert_allclose(
            fit.survival[~inputs.train][:, 1:][:, reached], steps.to_numpy()[at[reached]].T, atol=1e-8
        )


def test_baseline_is_that_of_breslow_where_nothing_ties():
    inputs = _inputs()
    fitted = with_baseline(inputs.clinical, inputs.time, inputs.event, np.array([0.5, -0.2, 0.1]))
    expected = BreslowEstimator().fit(fitted.risk(inputs.clinical), inputs.event, inputs.time).cum_baseline_hazard_
    np.testing.assert_allclose(fitted.cumulative_hazard, expected(fitted.times), rtol=1e-9)


def test_partial_likelihood_is_its_definition():
    inputs = _inputs(n=60, train=60, rounded=True)
    risk = inputs.clinical[:, :2]
    expected = [
        sum(r[i] - np.log(np.exp(r[inputs.time >= inputs.time[i]]).sum()) for i in np.flatnonzero(inputs.event))
        for r in risk.T
    ]
    np.testing.assert_allclose(partial_log_likelihood(risk, inputs.time, inputs.event), expected, atol=1e-10)


def test_kaplan_meier_is_the_curve_of_the_training_patients():
    inputs = _inputs()
    fit = _fit(inputs)["kaplan_meier"]
    expected = survival_curve(inputs.time[inputs.train], inputs.event[inputs.train]).at(GRID)[0]
    np.testing.assert_array_equal(fit.survival, np.tile(expected, (len(inputs.train), 1)))


def _elastic(n: int = 200, p: int = 30, **changes):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(n, p))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    failed, censored = rng.exponential(50 * np.exp(-0.7 * x[:, 0] - 0.7 * x[:, 5])), rng.exponential(100, n)
    time, event = np.minimum(failed, censored), failed <= censored
    settings = {"l1_ratio": 0.5, "inner_folds": 5, "rng": np.random.default_rng(2)} | changes
    return x, time, event, fit_elastic_net(x[:, :2], (x[:, 2:],), time, event, **settings)


def test_elastic_net_meets_its_optimality_conditions():
    x, time, event, net = _elastic()
    penalised = np.arange(x.shape[1]) >= 2
    beta = net.model.coefficients
    hazard = np.exp(x @ beta)
    gradient = np.zeros(x.shape[1])
    for i in np.flatnonzero(event):
        at_risk = time >= time[i]
        gradient += x[i] - (hazard[at_risk, None] * x[at_risk]).sum(axis=0) / hazard[at_risk].sum()
    gradient /= len(x)
    penalty = net.penalties[0] * penalised
    active = beta != 0
    stationary = gradient - penalty * (0.5 * np.sign(beta) + 0.5 * beta)
    np.testing.assert_allclose(stationary[active], 0, atol=2e-5)
    assert (np.abs(gradient[~active]) <= 0.5 * penalty[~active] + 2e-5).all()
    assert active[~penalised].all()
    assert active[5]


def test_elastic_net_takes_the_best_cross_validated_likelihood():
    from sksurv.linear_model import CoxnetSurvivalAnalysis
    from sksurv.util import Surv

    x, time, event, net = _elastic()
    rng = np.random.default_rng(2)
    options = {"l1_ratio": 0.5, "penalty_factor": np.repeat([0.0, 1.0], [2, 28]), "tol": 1e-7}
    whole = CoxnetSurvivalAnalysis(n_alphas=40, alpha_min_ratio=0.02, **options).fit(x, Surv.from_arrays(event, time))
    total, clinical = np.zeros(40), 0.0
    for fold in (stratified_folds(event, 5, rng), stratified_folds(event, 5, rng)):
        for k in range(5):
            rest = fold != k
            path = CoxnetSurvivalAnalysis(alphas=whole.alphas_, **options)
            path.fit(x[rest], Surv.from_arrays(event[rest], time[rest]))
            kept = np.column_stack([x[:, :2], np.clip(x[:, 2:], x[rest, 2:].min(axis=0), x[rest, 2:].max(axis=0))])
            own = x[:, :2] @ fit_cox(x[rest, :2], time[rest], event[rest]).coefficients
            risk = np.column_stack([kept @ path.coef_, own])
            terms = partial_log_likelihood(risk, time, event) - partial_log_likelihood(
                risk[rest], time[rest], event[rest]
            )
            total += terms[:-1] / 2
            clinical += terms[-1] / 2
    assert net.penalties[0] == pytest.approx(whole.alphas_[np.argmax(total)] * 30 / 28, rel=1e-6)
    assert net.gain == pytest.approx(total.max() - clinical, abs=1e-3)


def test_inner_folds_are_stratified_and_shrink_with_the_events():
    event = np.arange(50) % 5 == 0
    fold = stratified_folds(event, 5, np.random.default_rng(1))
    assert np.bincount(fold[event]).tolist() == [2] * 5
    assert np.bincount(fold).tolist() == [10] * 5
    assert stratified_folds(np.arange(50) < 3, 5, np.random.default_rng(1)).max() == 2
    with pytest.raises(CoxError, match="fewer than two events"):
        stratified_folds(np.arange(50) < 1, 5, np.random.default_rng(1))


def test_planted_gene_is_found_and_missing_omics_do_no_harm():
    fits = _fit(_inputs(n=500, train=400))
    omics = {c.feature: c.value for c in fits["clinical_omics"].coefficients}
    assert omics["rna: g0"] > 0.3
    assert {"age", "size", "grade"} <= set(omics)
    latent = {c.feature: c.value for c in fits["clinical_latent"].coefficients}
    assert latent["latent 1"] > 0.3
    assert "omics: any missing" in latent


def _other_held_out(inputs: Inputs) -> Inputs:
    """The same training patients, and noise in every held-out row, outcomes included."""
    test = ~inputs.train
    rng = np.random.default_rng(99)

    def noise(values: np.ndarray, scale: float = 1e4) -> np.ndarray:
        changed = np.array(values, copy=True)
        changed[test] = (scale * rng.normal(size=changed[test].shape)).astype(changed.dtype)
        return changed

    return _changed(
        inputs,
        time=np.where(test, rng.exponential(5, len(test)) + 0.1, inputs.time),
        event=np.where(test, ~inputs.event, inputs.event),
        clinical=noise(inputs.clinical),
        omics=(Omic("rna", noise(inputs.omics[0].values), inputs.omics[0].features),),
        latents=noise(inputs.latents),
        factors=noise(inputs.factors),
        n_omics=np.where(test, 0, inputs.n_omics),
    )


def test_held_out_rows_change_no_coefficient_by_a_bit():
    inputs = _inputs()
    first, second = _fit(inputs), _fit(_other_held_out(inputs))
    for model in MODELS:
        assert first[model].coefficients == second[model].coefficients
        assert first[model].note == second[model].note
        np.testing.assert_array_equal(first[model].survival[inputs.train], second[model].survival[inputs.train])
        np.testing.assert_array_equal(first[model].risk[inputs.train], second[model].risk[inputs.train])
        if first[model].held_in is not None:
            np.testing.assert_array_equal(first[model].held_in, second[model].held_in)


def _bounds(inputs: Inputs) -> tuple[dict[str, Bounds], np.ndarray]:
    fits = tuple(_fit(inputs).values())
    found, uncensored = learn_bounds(inputs, fits, GRID, share=0.9, folds=4, rng=np.random.default_rng(3))
    return {b.model: b for b in found}, uncensored


def test_lower_bounds_are_learned_on_training_patients_alone():
    inputs = _inputs()
    (first, seen), (second, other) = _bounds(inputs), _bounds(_other_held_out(inputs))
    assert set(first) == set(second) == {"clinical", "stacked"}
    np.testing.assert_array_equal(seen[inputs.train], other[inputs.train])
    for model in first:
        assert first[model].note == second[model].note
        np.testing.assert_array_equal(first[model].lower[inputs.train], second[model].lower[inputs.train])


def test_bounds_calibrated_on_patients_the_model_has_seen_are_too_high():
    """Mutant: the curves of the models that were fitted on the calibration patients in place of the held-in ones."""
    inputs = _inputs(n=260, features=120, train=160)
    fits = tuple(_fit(inputs).values())
    shared = {"share": 0.9, "folds": 4}
    own, _ = learn_bounds(inputs, fits, GRID, **shared, rng=np.random.default_rng(3))
    seen = tuple(replace(f, held_in=f.survival[inputs.train]) for f in fits)
    mutant, _ = learn_bounds(inputs, seen, GRID, **shared, rng=np.random.default_rng(3))
    for right, wrong in zip(own, mutant, strict=True):
        assert wrong.lower.mean() >= right.lower.mean()
    assert mutant[-1].lower.mean() > 1.05 * own[-1].lower.mean()


def test_two_runs_are_equal():
    first, second = _fit(_inputs()), _fit(_inputs())
    for model in MODELS:
        np.testing.assert_array_equal(first[model].survival, second[model].survival)


def test_the_unit_of_time_changes_no_coefficient():
    inputs = _inputs()
    first, second = _fit(inputs), _fit(_changed(inputs, time=inputs.time * 30.4375), GRID * 30.4375)
    for model in MODELS:
        scale = (
            30.4375 if model in ("clinical_forest", "forest", "deep", "stacked") else 1.0
        )  # their risk is a restricted mean
        atol = 1e-8 if model in ("kaplan_meier", "clinical", "clinical_omics") else 1e-4 * scale
        np.testing.assert_allclose(first[model].risk * scale, second[model].risk, atol=atol)


def test_no_covariates():
    fits = _fit(_changed(_inputs(), clinical=np.zeros((240, 0)), clinical_names=()))
    np.testing.assert_array_equal(fits["clinical"].survival, fits["kaplan_meier"].survival)
    assert "no covariates" in fits["clinical"].note
    assert fits["clinical_omics"].parameters > 0
    assert "not fitted" not in fits["clinical_latent"].note


@pytest.mark.parametrize("events", [0, 1, 19])
def test_too_few_events_end_in_the_null_model_with_a_reason(events):
    inputs = _inputs()
    fits = _fit(_with_events(inputs, events))
    for model in MODELS[1:]:
        np.testing.assert_array_equal(fits[model].survival, fits["kaplan_meier"].survival)
        assert "fewer than 20 training events" in fits[model].note
        assert fits[model].stand_in == "kaplan_meier"
        assert fits[model].parameters == 0


def _with_events(inputs: Inputs, events: int) -> Inputs:
    event = np.zeros_like(inputs.event)
    event[np.flatnonzero(inputs.event & inputs.train)[:events]] = True
    return _changed(inputs, event=event)


def test_one_event_is_survived_even_where_it_is_allowed():
    fits = _fit(_with_events(_inputs(), 2), min_events=2)
    assert all(f.note for f in fits.values())


def test_perfect_separation_ends_in_a_ridge_and_says_so():
    inputs = _inputs()
    clinical = inputs.clinical.copy()
    clinical[:, 1] = -inputs.time
    fits = _fit(_changed(inputs, clinical=clinical))
    assert "separates" in fits["clinical"].note or "did not converge" in fits["clinical"].note
    assert "ridge penalty" in fits["clinical"].note
    assert fits["clinical"].coefficients[0].lower is None
    assert "the clinical columns separate patients" in fits["clinical_omics"].note
    np.testing.assert_array_equal(fits["clinical_omics"].risk, fits["clinical"].risk)
    assert fits["clinical_omics"].stand_in == "clinical"


def test_a_level_without_events_ends_in_a_ridge_and_says_so():
    inputs = _inputs()
    clinical = inputs.clinical.copy()
    clinical[:, 2] = (~inputs.event) & (np.arange(240) % 4 == 0)
    fits = _fit(_changed(inputs, clinical=clinical))
    assert "separates" in fits["clinical"].note
    assert "ridge penalty 0.001" in fits["clinical"].note
    assert "one score of their ridge fit" in fits["clinical_omics"].note
    ratios = [
        one.value / own.value
        for one, own in zip(fits["clinical_omics"].coefficients, fits["clinical"].coefficients, strict=False)
    ]
    np.testing.assert_allclose(ratios, ratios[0])
    assert 0.8 < ratios[0] < 1.5


def test_repeated_and_constant_columns_are_left_out_by_name():
    inputs = _inputs()
    clinical = np.column_stack([inputs.clinical, inputs.clinical[:, 0] * 2 + 1, np.ones(240)])
    fits = _fit(_changed(inputs, clinical=clinical, clinical_names=("age", "size", "grade", "age_twice", "one")))
    plain = _fit(inputs)
    assert fits["clinical"].coefficients == plain["clinical"].coefficients
    assert "age_twice, one" in fits["clinical"].note
    assert fits["clinical_omics"].coefficients == plain["clinical_omics"].coefficients


def test_independent_columns():
    x = np.random.default_rng(1).normal(size=(30, 3))
    wide = np.column_stack([np.ones(30), x[:, 0], 1e-9 * x[:, 1], x[:, 0] - 1e-9 * x[:, 1] + 4, x[:, 2]])
    assert independent_columns(wide).tolist() == [1, 2, 4]
    with pytest.raises(CoxError, match="constant"):
        fit_cox(np.ones((30, 2)), np.arange(1.0, 31.0), np.ones(30, dtype=bool))


def test_two_thousand_columns_for_ninety_patients():
    fits = _fit(_inputs(n=110, features=2000, train=90))
    assert "of 200" in fits["clinical_omics"].note  # 2,000 features, and the indicator of missing omics if it varies
    assert fits["clinical_omics"].parameters < 90


def test_omics_that_say_nothing_fall_back():
    inputs = _inputs()
    none = Omic("rna", np.zeros((240, 3), dtype=np.float32), ("a", "b", "c"))
    fits = _fit(_changed(inputs, omics=(none,), latents=np.zeros((240, 2)), n_omics=np.ones(240, dtype=int)))
    for model in ("clinical_omics", "clinical_latent"):
        np.testing.assert_array_equal(fits[model].survival, fits["clinical"].survival)
        assert "predictions are those of clinical" in fits[model].note
        assert fits[model].stand_in == "clinical"


def test_no_training_outcome_is_an_error_with_a_suggestion():
    inputs = _inputs()
    with pytest.raises(OutcomeError, match=r"no training patient has an outcome.*Suggestion"):
        _fit(_changed(inputs, train=np.zeros(240, dtype=bool)))
