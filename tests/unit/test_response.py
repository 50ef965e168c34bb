"""An outcome without time: how it is declared and read, and that the models of survival estimate its probability."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy.stats import chi2_contingency
from sklearn.linear_model import LogisticRegression

from stratiome.cohort.clinical import read_clinical
from stratiome.cohort.endpoint import AT_ASSESSMENT, BEYOND
from stratiome.cohort.errors import CohortError
from stratiome.config import ConfigError, load_config
from stratiome.plan import clinical_file
from stratiome.prognosis.calibration import calibration_slope
from stratiome.survival.censoring_model import fit_censoring
from stratiome.survival.compare import log_rank
from stratiome.survival.concordance import Sample as HeldOut
from stratiome.survival.cox import fit_cox
from stratiome.treatment.doubly_robust import average, cross_fit
from stratiome.treatment.effect import Question, Sample, compare_weighted
from stratiome.treatment.weight import fit_propensity, overlap_weights


@pytest.fixture
def responding(tiny):
    """The small cohort with a response in place of survival; 5 of 60 patients were not assessed."""
    path = Path(tiny["data"]["folder"]) / "clinical.tsv"
    frame = pl.read_csv(path, separator="\t")
    response = [None] * 5 + [1] * 20 + [0] * (frame.height - 25)
    frame.with_columns(pcr=pl.Series(response)).write_csv(path, separator="\t")
    return tiny | {"endpoint": {"response": "pcr"}}


def _read(raw):
    config = load_config(raw)
    return config, read_clinical(clinical_file(config), config)


def test_no_response_is_the_event_at_the_assessment(responding):
    config, clinical = _read(responding)
    assert config.endpoint.horizons_months == (1.0,)
    assert clinical.outcome.height == 55
    assert clinical.outcome["event"].sum() == 35
    assert set(clinical.outcome.filter(event=1)["time_months"]) == {AT_ASSESSMENT}
    assert set(clinical.outcome.filter(event=0)["time_months"]) == {BEYOND}
    assert "pcr" not in clinical.covariates.columns


def test_who_was_not_assessed_is_counted(responding):
    assert _read(responding)[1].without_outcome == {"not assessed for a response": 5}


def test_a_config_that_was_filled_in_reads_the_same(responding):
    config = load_config(responding)
    assert load_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endpoint": {"response": "pcr", "time": "t"}}, "`response` is an outcome without time, and `time` belong"),
        ({"endpoint": {"response": "pcr", "horizons": [12]}}, "`horizons`"),
        ({"endpoint": {"response": "pcr", "competing": "x = 1"}}, "`competing`"),
        ({"covariates": ["age", "pcr"]}, "contains the outcome"),
        ({"endpoint": {"response": "answer"}}, "has no column `answer`"),
    ],
)
def test_what_cannot_be_is_refused(responding, change, said):
    with pytest.raises((ConfigError, CohortError)) as error:
        _read(responding | change)
    assert any(said in text for text in error.value.problems), error.value.problems


def test_times_of_treatment_are_refused(responding):
    treatment = {"column": "treated", "design": "observational", "confounders": ["age"], "start": "when", "landmark": 3}
    with pytest.raises(ConfigError) as error:
        load_config(responding | {"treatments": {"drug": treatment}})
    said = "`treatments.drug.start` belongs to an endpoint with time"
    assert any(said in text for text in error.value.problems), error.value.problems


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["yes", "no"], "must be 1 (response), 0 (none) or empty"),
        ([1, 2], "must be 1 (response), 0 (none) or empty"),
        ([0, 0], "of 60 patients who were assessed, 0 responded"),
    ],
)
def test_a_column_that_is_no_response_is_refused(responding, values, said):
    path = Path(responding["data"]["folder"]) / "clinical.tsv"
    frame = pl.read_csv(path, separator="\t")
    coded = pl.Series([values[i % 2] for i in range(frame.height)])
    frame.with_columns(pcr=coded).write_csv(path, separator="\t")
    with pytest.raises(CohortError) as error:
        _read(responding)
    assert any(said in text for text in error.value.problems), error.value.problems


def _draw(n, seed, effect=0.8):
    """Covariates, treatment confounded with the first, response, and the true gain in the probability of a response."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    treated = rng.random(n) < 1 / (1 + np.exp(-0.8 * x[:, 0]))
    of = [1 / (1 + np.exp(-(-0.3 - 0.9 * x[:, 0] + 0.5 * x[:, 1] + effect * arm))) for arm in (0, 1)]
    response = rng.random(n) < np.where(treated, of[1], of[0])
    return x, treated, response, of[1] - of[0]


def _sample(treated, response):
    clinical = pl.DataFrame({"patient_id": [f"P{i}" for i in range(len(treated))]})
    return Sample(clinical, treated, np.where(response, BEYOND, AT_ASSESSMENT), ~response)


def test_cox_predicts_the_probability_of_no_response_as_well_as_logistic_regression():
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(1200, 4))
        chance = 1 / (1 + np.exp(-(0.9 + x[:, 0] - 0.5 * x[:, 1] + 0.8 * (x[:, 2] > 0))))
        event = rng.random(1200) < chance
        train = np.arange(1200) < 600
        time = np.where(event, AT_ASSESSMENT, BEYOND)
        cox = fit_cox(x[train], time[train], event[train])
        risk = 1 - cox.survival(x[~train], np.array([1.0]))[:, 0]
        logistic = LogisticRegression(C=1e6).fit(x[train], event[train]).predict_proba(x[~train])[:, 1]
        far = [np.mean((p - chance[~train]) ** 2) for p in (risk, logistic)]
        found.append([risk.mean() - chance[~train].mean(), *far])
    error, ours, reference = np.mean(found, axis=0)
    assert abs(error) < 0.015
    assert np.sqrt(ours) < np.sqrt(reference) + 0.03


def _predicted(n, seed, true_slope):
    """Events of a response and predicted probabilities of none of them, whose complementary log-log has a slope."""
    rng = np.random.default_rng(seed)
    linear = np.clip(rng.normal(0.2, 0.9, n), None, 3.0)
    event = rng.random(n) < 1 - np.exp(-np.exp(true_slope * linear))
    return np.where(event, AT_ASSESSMENT, BEYOND), event, np.exp(-np.exp(linear))


@pytest.mark.parametrize("true_slope", [0.6, 1.0, 1.5])
def test_calibration_slope_is_that_of_a_binomial_regression(true_slope):
    time, event, survival = _predicted(4000, 3, true_slope)
    fold = np.arange(4000) % 4
    weights = np.vstack([np.ones(4000), np.random.default_rng(1).poisson(1.0, 4000)])
    ours = calibration_slope(HeldOut.make(time, event, fold=fold, weights=weights), survival, 1.0)
    design = np.column_stack([np.log(-np.log(survival)), *(fold == k for k in range(4))]).astype(float)
    family = sm.families.Binomial(sm.families.links.CLogLog())
    for found, w in zip(ours, weights, strict=True):
        assert found == pytest.approx(sm.GLM(event, design, family, freq_weights=w).fit(tol=1e-12).params[0], abs=1e-6)
    assert ours[0] == pytest.approx(true_slope, abs=0.1)


def test_calibration_slope_of_one_prediction_for_all_is_none():
    time, event, survival = _predicted(200, 1, 1.0)
    assert np.isnan(calibration_slope(HeldOut.make(time, event), np.full_like(survival, 0.4), 1.0)).all()


def test_log_rank_is_the_mantel_haenszel_chi_squared_test():
    rng = np.random.default_rng(2)
    group = rng.integers(0, 3, 300)
    event = rng.random(300) < np.array([0.3, 0.5, 0.6])[group]
    found = log_rank(np.where(event, AT_ASSESSMENT, BEYOND), event, group)
    table = np.array([[(event[group == g] == e).sum() for e in (0, 1)] for g in range(3)])
    assert found.statistic == pytest.approx(chi2_contingency(table, correction=False).statistic * 299 / 300)


def test_weighted_difference_is_that_of_proportions():
    x, treated, response, _ = _draw(600, 1)
    sample = _sample(treated, response)
    model = fit_propensity(x, treated)
    weights = overlap_weights(treated, model.probability)
    of = [np.average(response[treated == arm], weights=weights[treated == arm]) for arm in (False, True)]
    question = Question((1.0,), 1.0, np.linspace(0, 1, 11))
    found = compare_weighted(sample, x, model, question, 50, 0.95, np.random.default_rng(1))
    gained, survival = found.estimate
    assert survival == pytest.approx(of[1] - of[0], abs=1e-9)
    assert gained == pytest.approx(of[1] - of[0], abs=2e-4)


def test_doubly_robust_gain_is_the_true_one():
    errors, ratios = [], []
    for seed in range(40):
        x, treated, response, gain = _draw(800, seed)
        rng = np.random.default_rng(seed)
        scores = cross_fit(x, _sample(treated, response), np.array([1.0]), 1.0, folds=5, rng=rng)
        found = average(scores, treated, "all")
        errors.append(found.estimate[0] - gain.mean())
        ratios.append(abs(errors[-1]) / found.error[0])
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(40) + 0.005
    assert np.mean(np.array(ratios) < 1.96) > 0.85


def test_covariates_that_cannot_be_told_apart_end_in_no_estimate_and_not_in_an_error():
    """Few patients and a class that nobody of an arm has: models fall back, nothing stops."""
    rng = np.random.default_rng(4)
    for seed in range(20):
        x, treated, response, _ = _draw(60, seed)
        rare = np.column_stack([x, (rng.random(60) < 0.1), (rng.random(60) < 0.1)]).astype(float)
        scores = cross_fit(rare, _sample(treated, response), np.array([1.0]), 1.0, folds=3, rng=rng)
        assert np.isfinite(scores.contrasts).all()


def test_nobody_is_censored_before_the_assessment():
    x, _, response, _ = _draw(200, 2)
    model = fit_censoring(x, np.where(response, BEYOND, AT_ASSESSMENT), ~response)
    assert model.note == "nobody is censored before the end of follow-up"
    np.testing.assert_array_equal(model.uncensored(x, np.array([0.0, 1.0, BEYOND])), 1.0)
