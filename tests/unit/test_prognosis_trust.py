"""Sample size, instability, optimism, proportional hazards and sites: known truth, closed forms, and mutants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stratiome.config import PrognosisConfig
from stratiome.prognosis import instability
from stratiome.prognosis.candidates import candidates, sample_sizes
from stratiome.prognosis.evaluate import Design, Predictions, Problem, evaluate_resamples
from stratiome.prognosis.instability import Bootstrapped, bootstrap_models, optimism
from stratiome.prognosis.models import FLEXIBLE, MODELS, Inputs, Omic, fit_models
from stratiome.prognosis.proportionality import check_models, contrasts
from stratiome.prognosis.sample_size import least_sample_size
from stratiome.prognosis.sites import summarise_sites
from stratiome.survival.compare import restricted_mean_difference
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.cox import fit_cox
from stratiome.survival.meta import random_effects
from stratiome.survival.proportional import proportional_hazards

SETTINGS = PrognosisConfig(models=("clinical_latent",))
HORIZONS = (24.0, 48.0)


def cohort(seed: int, n: int = 150, columns: int = 2, effect: float = 0.7, held_out: int = 0) -> Inputs:
    """Exponential survival with one effective clinical column and two latents, the first with half the effect."""
    rng = np.random.default_rng(seed)
    x, latents = rng.normal(size=(n, columns)), rng.normal(size=(n, 2))
    failed = rng.exponential(60 * np.exp(-effect * (x[:, 0] + 0.5 * latents[:, 0])))
    censored = rng.uniform(30, 120, n)
    rna = rng.normal(size=(n, 5))
    rna[: n // 10] = np.nan
    return Inputs(
        train=np.arange(n) >= held_out,
        time=np.minimum(failed, censored),
        event=failed <= censored,
        clinical=x,
        clinical_names=tuple(f"c{j}" for j in range(columns)),
        omics=(Omic("rna", rna, tuple(f"g{j}" for j in range(5))),),
        latents=latents,
        n_omics=np.isfinite(rna).any(axis=1).astype(np.int64),
    )


def bootstrapped(inputs: Inputs, draws: int = 12, seed: int = 1, model: str = "clinical") -> Bootstrapped:
    found = bootstrap_models(inputs, SETTINGS, HORIZONS, tau=60.0, draws=draws, rng=np.random.default_rng(seed))
    return next(one for one in found if one.model == model)


# Sample size


def test_every_candidate_column_counts_and_the_criteria_are_rileys():
    inputs = cohort(1, 200)
    found = {s.model: s for s in sample_sizes(inputs, ("clinical", "clinical_omics", "clinical_latent", "deep"), 48.0)}
    assert list(found) == ["clinical", "clinical_latent", "clinical_omics"]  # a network has no columns to count
    # Two clinical columns; two latents and a flag of missing omics; five features and a flag.
    assert {m: s.parameters for m, s in found.items()} == {"clinical": 2, "clinical_latent": 5, "clinical_omics": 8}
    n, events, months = 200, int(inputs.event.sum()), inputs.time.sum()
    for s in found.values():
        assert (s.n, s.events) == (n, events)
        assert s.asked == least_sample_size(s.parameters, events / months, months / n, 48.0)


def test_columns_are_those_of_the_fitted_models():
    inputs = replace(cohort(2), factors=np.random.default_rng(1).normal(size=(150, 3)))
    fits = fit_models(
        inputs,
        np.array([0.0, 24.0]),
        PrognosisConfig(models=("clinical_latent", "clinical_factors")),
        tau=24.0,
        rng=np.random.default_rng(1),
    )
    for fit in fits[1:]:
        columns = candidates(inputs, fit.model)
        assert columns.names == tuple(c.feature for c in fit.coefficients)
    assert candidates(replace(inputs, factors=None), "clinical_factors") is None


def test_sample_size_without_columns_or_events_has_a_reason():
    inputs = replace(cohort(1), clinical=np.zeros((150, 0)), clinical_names=())
    alone = sample_sizes(inputs, ("clinical",), 48.0)[0]
    assert (alone.asked, alone.parameters, alone.reason) == (None, 0, "no column varies in training")
    quiet = sample_sizes(replace(cohort(1), event=np.zeros(150, dtype=bool)), ("clinical",), 48.0)[0]
    assert (quiet.asked, quiet.reason) == (None, "no event in training")


def test_flexible_models_need_events_or_a_written_reason():
    inputs = cohort(3, 60)
    inputs = replace(inputs, event=inputs.event & (np.cumsum(inputs.event) <= 30))
    settings = PrognosisConfig(models=("clinical_latent", "forest", "stacked"), trees=10, inner_folds=2)

    def fitted(**changes):
        made = settings.model_copy(update=changes)
        return {
            f.model: f for f in fit_models(inputs, np.linspace(0, 48, 9), made, tau=48, rng=np.random.default_rng(1))
        }

    found = fitted()
    assert list(found) == [m for m in MODELS if m in found] == ["kaplan_meier", "clinical", *settings.models]
    assert found["forest"].stand_in == "clinical"
    reason = "not fitted: fewer than 50 training events (`prognosis.deep_min_events`)"
    assert found["forest"].note == f"{reason}; predictions are those of clinical"
    assert "forest" not in found["stacked"].note
    assert "forest" in FLEXIBLE
    for changes in ({"deep_override": "a pilot, agreed"}, {"deep_min_events": 30}):
        again = fitted(**changes)
        assert again["forest"].stand_in is None
        np.testing.assert_array_equal(again["clinical"].risk, found["clinical"].risk)


# Instability


def moved(found: Bootstrapped) -> float:
    return instability.instability(found)[-1].error


def truth_error(seeds: range, n: int) -> float:
    """Mean absolute distance of predicted risks at 48 months from those of other cohorts of the same kind."""
    at = cohort(99, 200).clinical
    risks = []
    for seed in seeds:
        inputs = cohort(seed, n)
        model = fit_cox(inputs.clinical, inputs.time, inputs.event)
        risks.append(1 - model.survival(at, np.array([48.0]))[:, 0])
    return float(np.abs(np.array(risks) - np.mean(risks, axis=0)).mean())


def test_instability_is_what_other_cohorts_would_do(monkeypatch):
    """Bootstrap against 40 cohorts drawn anew; the mutant that does not learn anew has 0 and fails the same gate."""
    expected = truth_error(range(100, 140), 150)

    def gate() -> bool:
        error = np.mean([moved(bootstrapped(cohort(seed), 15)) for seed in (11, 12, 13)])
        return 0.7 * expected < error < 1.4 * expected

    assert gate()
    real = instability._fit
    # Mutant: bootstrap samples are drawn, but the models are those of all training patients.
    monkeypatch.setattr(instability, "_fit", lambda i, learn, apply, *rest: real(i, apply, apply, *rest))
    assert moved(bootstrapped(cohort(11), 3)) == 0
    assert not gate()


def test_instability_shrinks_with_the_root_of_patients():
    few, many = (moved(bootstrapped(cohort(5, n), 20)) for n in (100, 900))
    assert 2.0 < few / many < 4.5  # 3 expected


def test_samples_are_drawn_with_replacement_from_training_patients_alone():
    inputs = cohort(6, 120, held_out=20)
    found = bootstrapped(inputs, 4, model="clinical_latent")
    assert found.counts.shape == (4, 100)
    assert (found.counts.sum(axis=1) == 100).all()
    assert ((found.counts == 0).mean(axis=1) > 0.25).all()
    noise = np.random.default_rng(0).normal(size=(20, 2))
    other = replace(
        inputs,
        clinical=np.vstack([noise, inputs.clinical[20:]]),
        latents=np.vstack([noise, inputs.latents[20:]]),
        time=np.concatenate([np.ones(20), inputs.time[20:]]),
    )
    again = bootstrapped(other, 4, model="clinical_latent")
    np.testing.assert_array_equal(found.predictions, again.predictions)


def made_up() -> Bootstrapped:
    """Forty patients, two horizons, four draws."""
    predicted = np.repeat(np.linspace(0.05, 0.83, 40)[:, None], 2, axis=1)
    shift = np.array([0.1, -0.1, 0.02, 0.0])[:, None, None]
    time = np.random.default_rng(1).exponential(40, 40)
    return Bootstrapped(
        "clinical",
        time,
        np.ones(40, dtype=bool),
        predicted[:, 0],
        np.repeat(predicted[:, 0][None], 4, axis=0),
        predicted,
        np.clip(predicted + shift, 0, 1),
        np.ones((4, 40)),
        HORIZONS,
        4,
    )


def test_summaries_are_what_they_say():
    found = made_up()
    one = instability.instability(found)[1]
    drawn, predicted = found.predictions[:, :, 1], found.predicted[:, 1]
    error = np.abs(drawn - predicted).mean(axis=0)
    assert one.error == pytest.approx(error.mean())
    assert one.quantiles == pytest.approx(np.quantile(error, [0.5, 0.9, 0.95]))
    for threshold, share in one.changed.items():
        assert share == pytest.approx(np.mean([(drawn[b] >= threshold) != (predicted >= threshold) for b in range(4)]))
    assert [b.n for b in one.bands] == [20, 20]
    assert one.bands[0].predicted == pytest.approx(predicted[:20].mean())
    assert one.bands[1].lower == pytest.approx(np.quantile(drawn[:, 20:], 0.025, axis=0).mean())
    assert one.bands[1].upper == pytest.approx(np.quantile(drawn[:, 20:], 0.975, axis=0).mean())


def test_a_model_that_is_seldom_fitted_has_no_summary():
    found = replace(made_up(), asked=10)
    assert not found.enough
    assert instability.instability(found) == []
    assert all(o.optimism is None and o.corrected is None and o.apparent is not None for o in optimism(found, 60.0))


def test_no_covariates_or_no_events_give_no_model():
    empty = replace(cohort(1), clinical=np.zeros((150, 0)), clinical_names=())
    rng = np.random.default_rng(1)
    found = bootstrap_models(empty, SETTINGS, HORIZONS, tau=60.0, draws=2, rng=rng)
    assert [one.model for one in found] == ["clinical_latent"]
    quiet = replace(cohort(1), event=np.zeros(150, dtype=bool))
    assert bootstrap_models(quiet, SETTINGS, HORIZONS, tau=60.0, draws=2, rng=rng) == []


# Optimism


def test_noise_looks_like_a_model_until_optimism_is_taken_off():
    """Twelve columns without effect, 100 patients: apparent C far above 0.5, corrected near it.

    Mutants: no correction, and optimism in the sample alone (apparent C of each draw less that of the model).
    """
    apparent, corrected, mutant = [], [], []
    for seed in (21, 22, 23):
        found = bootstrapped(cohort(seed, 100, columns=12, effect=0.0), 15)
        c = next(o for o in optimism(found, 60.0) if o.metric == "uno_c")
        apparent.append(c.apparent)
        corrected.append(c.corrected)
        own = [
            uno_c(Sample.make(found.time, found.event, weights=w[None]), r, 60.0)[0]
            for w, r in zip(found.counts, found.risks, strict=True)
        ]
        mutant.append(c.apparent - (np.mean(own) - c.apparent))
    assert abs(np.mean(corrected) - 0.5) < 0.05
    assert np.mean(apparent) > 0.6
    assert np.mean(mutant) > 0.55


def test_slopes_over_the_whole_follow_up_are_one_in_training_and_corrected_below():
    """A Cox model is its own best: by the likelihood that it was fitted with, the slope is 1 to the digit."""
    inputs = cohort(31, 100, columns=8, effect=0.5)
    made = bootstrap_models(inputs, SETTINGS, (24.0, 200.0), tau=60.0, draws=10, rng=np.random.default_rng(1))[0]
    slopes = [o for o in optimism(made, 60.0) if o.metric == "calibration_slope"]
    assert [o.horizon for o in slopes] == [24.0, 200.0]
    assert slopes[1].apparent == pytest.approx(1.0, abs=1e-6)
    for o in slopes:
        assert o.corrected < o.apparent - 0.05


# Proportional hazards


def crossing(seed: int, n: int = 400) -> Inputs:
    """The hazard of one half is five times that of the other in the first year and a third of it after."""
    inputs = cohort(seed, n, effect=0.0)
    rng = np.random.default_rng([seed, 1])
    arm = rng.random(n) < 0.5
    early = rng.exponential(np.where(arm, 20.0, 100.0))
    late = 12 + rng.exponential(np.where(arm, 120.0, 40.0))
    failed = np.where(early < 12, early, late)
    censored = rng.uniform(40, 120, n)
    return replace(
        inputs,
        clinical=np.column_stack([arm.astype(float), inputs.clinical[:, 0]]),
        clinical_names=("arm: b", "age"),
        time=np.minimum(failed, censored),
        event=failed <= censored,
    )


def test_hazards_that_cross_are_found_and_get_a_restricted_mean():
    inputs = crossing(1)
    found = check_models(inputs, ("clinical", "clinical_latent", "clinical_omics"))
    assert [t.model for t in found] == ["clinical", "clinical_latent"]
    assert all(t.fails(0.05) for t in found)
    assert found[0].failing(0.05) == ["arm: b"]
    expected = proportional_hazards(inputs.clinical, inputs.time, inputs.event)
    assert found[0].overall.p_value == pytest.approx(expected.overall.p_value)
    assert found[0].terms["age"].p_value == pytest.approx(expected.terms[1].p_value)
    first = contrasts(inputs, found, 36.0, 0.95)[0]
    assert (first.model, first.feature, first.sides) == ("clinical", "arm: b", "with it against without")
    arm = inputs.clinical[:, 0] == 1
    assert first.difference == restricted_mean_difference(inputs.time, inputs.event, arm, 36.0)


def test_proportional_hazards_are_left_alone():
    inputs = cohort(8, 300)
    found = check_models(inputs, ("clinical", "clinical_latent"))
    assert not any(t.fails(0.05) for t in found)
    assert contrasts(inputs, found, 36.0, 0.95) == []
    p = [t.overall.p_value for t in found]
    low, high = sorted(p)
    assert sorted(t.adjusted for t in found) == pytest.approx([min(1, 2 * low), max(min(1, 2 * low), high)])


def test_false_alarms_are_as_rare_as_promised():
    """30 proportional cohorts, two models each, at 5 %: more than 6 would happen less than once in 1000 runs."""
    alarms = sum(
        any(t.fails(0.05) for t in check_models(cohort(seed, 100), ("clinical", "clinical_latent")))
        for seed in range(200, 230)
    )
    assert alarms <= 6


def test_what_cannot_be_compared_has_a_reason():
    inputs = crossing(1)
    found = check_models(inputs, ("clinical",))
    assert "ends before 500 months" in contrasts(inputs, found, 500.0, 0.95)[0].reason
    rare = inputs.clinical.copy()
    rare[:, 0] = np.arange(len(rare)) < 4
    few = contrasts(replace(inputs, clinical=rare), found, 36.0, 0.95)[0]
    assert (few.difference, few.reason) == (None, "fewer than 10 patients on one side")


def test_no_columns_give_no_test_and_a_penalised_model_a_reason():
    empty = replace(cohort(1), clinical=np.zeros((150, 0)), clinical_names=())
    assert check_models(empty, ("clinical",)) == []
    inputs = cohort(1)
    split = np.column_stack([inputs.event.astype(float), inputs.clinical[:, 1]])  # tells who fails: no plain fit
    found = check_models(replace(inputs, clinical=split), ("clinical",))[0]
    assert found.adjusted is None
    assert not found.fails(0.05)
    assert found.overall.reason


# Sites


def left_out(n: int, rng: np.random.Generator) -> tuple[Problem, Predictions]:
    risk = rng.normal(size=n)
    failed, censored = rng.exponential(40 * np.exp(-0.8 * risk)), rng.uniform(20, 90, n)
    problem = Problem(np.minimum(failed, censored), failed <= censored, np.linspace(0, 60, 7), (60.0,), 60.0)
    curves = np.exp(-np.outer(np.exp(risk), problem.grid / 60))
    half = (np.arange(n) >= n // 2).astype(int)
    made = Predictions(np.arange(n), half, ("site-a", "site-b"), {"clinical": risk}, {"clinical": curves})
    return problem, made


def errors(problem: Problem, predictions: Predictions, design: str = "leave-site-out", draws: int = 100):
    rng = np.random.default_rng(2)
    return evaluate_resamples(problem, Design(design, (predictions,)), bootstraps=draws, level=0.95, rng=rng)


def test_errors_within_sites_are_those_of_new_patients():
    """Standard deviation of C over 80 sets of patients against the mean bootstrap error."""
    rng = np.random.default_rng(9)
    found = [errors(*left_out(160, rng))[0] for _ in range(80)]
    seen = np.std([e.uno_c for e in found], ddof=1)
    assert 0.75 < np.mean([e.error for e in found]) / seen < 1.3
    inside = np.mean([e.lower <= np.mean([f.uno_c for f in found]) <= e.upper for e in found])
    assert inside > 0.85


def test_only_sites_have_errors():
    problem, predictions = left_out(100, np.random.default_rng(3))
    for e in errors(problem, predictions, "cross-validation"):
        assert e.uno_c is not None
        assert (e.error, e.lower, e.upper) == (None, None, None)
    perfect = replace(predictions, risk={"clinical": -problem.time})
    for e in errors(problem, perfect):
        assert (e.uno_c, e.error) == (1.0, None)  # no draw differs, which is no certainty


def site(model: str, c: float | None, error: float | None) -> dict:
    return {"model": model, "uno_c": c, "standard_error": error, "n": 50, "events": 20}


def test_sites_are_summarised_on_the_log_odds():
    given = [(0.6, 0.05), (0.7, 0.04), (0.66, 0.08), (0.75, 0.06)]
    rows = [site("clinical", c, e) for c, e in given] + [site("clinical", 1.0, 0.01), site("clinical", None, None)]
    found = summarise_sites(rows, 0.95)[0]
    c, e = (np.array(v) for v in zip(*given, strict=True))
    expected = random_effects(np.log(c / (1 - c)), e / (c * (1 - c)))

    def share(v):
        return 1 / (1 + np.exp(-v))

    assert (found.estimate, found.lower, found.upper) == pytest.approx(
        [share(v) for v in (expected.estimate, expected.lower, expected.upper)]
    )
    assert (found.low, found.high) == pytest.approx([share(expected.low), share(expected.high)])
    assert (found.sites, found.of, found.n, found.events) == (4, 6, 200, 80)
    assert found.low <= found.lower < found.upper <= found.high


def test_fewer_than_three_sites_are_not_summarised():
    rows = [site("clinical", 0.6, 0.05), site("clinical", 0.7, 0.05), site("clinical", None, None)]
    found = summarise_sites(rows, 0.95)[0]
    assert found.estimate is found.low is found.spread is None
    assert found.reason == "2 of 3 sites have an estimate, 3 are needed"
    assert summarise_sites([], 0.95) == []
