"""The simulator keeps its promises: what it calls the truth is what happens, and null is null."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.special import ndtr

from stratiome import omics as kinds
from stratiome import tables
from stratiome.cohort.errors import CohortError
from stratiome.cohort.ingest import read_cohort
from stratiome.cohort.simulate import simulate, write_cohort
from stratiome.cohort.simulate_omics import make_omic
from stratiome.cohort.simulate_patients import cumulative_hazards, make_patients, make_population, true_survival
from stratiome.config import Config, DataConfig, EndpointConfig, SimulateConfig
from stratiome.survival.outcome import time_grid

GRID = np.array([0.0, 12.0, 24.0, 60.0, 120.0])
ENDPOINT = EndpointConfig(time="os_months", event="os_event", horizons=(24, 60))
PROTEIN = {"protein": {"kind": "protein", "features": 10}}
Z = 4.0  # seeds are fixed; a right implementation is outside four standard errors once in 16,000 draws


def _settings(**given: object) -> SimulateConfig:
    return SimulateConfig.model_validate({"patients": 300} | given)


def _at(cohort, column: str) -> np.ndarray:
    """A column of the truth, shape (n_patients, n_times)."""
    return cohort.truth[column].to_numpy().reshape(-1, len(GRID))


def _patients(n: int, seed: int, **given: object):
    population = make_population(_settings(omics=PROTEIN, **given), seed)
    return population, make_patients(population, 0, n)


def _hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


# ---- the truth is the truth ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", ["randomised", "observational"])
@pytest.mark.parametrize("arm", [0, 1])
def test_true_survival_is_what_happens_in_each_arm_and_subgroup(design, arm):
    cohort = simulate(
        _settings(patients=24_000, omics=PROTEIN, censoring=0, treatment={"design": design}), 11, time_grid=GRID
    )
    truth = _at(cohort, "survival_treated" if arm else "survival_untreated")
    subgroup = _at(cohort, "subgroup")[:, 0]
    alive = cohort.clinical["os_months"].to_numpy()[:, None] > GRID
    in_arm = cohort.clinical["treatment"].to_numpy() == arm
    assert cohort.clinical["os_event"].min() == 1
    for group in (1, 2, 3):
        rows = in_arm & (subgroup == group)
        difference = alive[rows].mean(axis=0) - truth[rows].mean(axis=0)
        error = np.sqrt((truth[rows] * (1 - truth[rows])).sum(axis=0)) / rows.sum()
        assert (np.abs(difference[1:]) < Z * error[1:]).all()
        assert difference[0] == 0


def test_each_patient_dies_by_the_own_curve_and_by_the_own_causes():
    population, p = _patients(20_000, 5, censoring=0)
    disease = population.rate_disease * np.exp(p.log_disease + p.treated * p.effect)
    other = population.rate_other * np.exp(p.log_other)
    # Survival at the own death is uniform (probability integral transform).
    own = np.exp(-(disease + other) * p.time**population.settings.weibull_shape)
    assert stats.kstest(own, "uniform").pvalue > 1e-3
    # With hazards in proportion, the cause is independent of the time and its odds are those of the hazards.
    share = disease / (disease + other)
    for rows in (p.time < np.median(p.time), p.time >= np.median(p.time), p.age < 55, p.age > 70):
        error = np.sqrt((share * (1 - share))[rows].sum()) / rows.sum()
        assert abs((p.cause[rows] == 1).mean() - share[rows].mean()) < Z * error


def test_the_reference_patient_is_as_configured():
    population, p = _patients(128, 1, median_survival=40.0, competing_deaths=0.25, weibull_shape=1.7)
    zero = np.zeros_like(p.log_disease)
    reference = type(p)(**{**p.__dict__, "log_disease": zero, "log_other": zero, "effect": zero})
    assert true_survival(population, reference, np.array([40.0]), 0) == pytest.approx(0.5, abs=1e-12)
    disease, other = cumulative_hazards(population, reference, np.array([1.0, 90.0]), 0)
    assert other / (disease + other) == pytest.approx(0.25, abs=1e-12)


def test_arms_differ_by_the_hazard_ratio_of_the_subgroup():
    population, p = _patients(500, 2, treatment={"log_hazard_ratios": [-0.9, 0.0, 0.5]})
    treated = cumulative_hazards(population, p, GRID[1:], 1)
    untreated = cumulative_hazards(population, p, GRID[1:], 0)
    expected = np.array([-0.9, 0.0, 0.5])[p.subgroup]
    assert np.log(treated[0] / untreated[0]) == pytest.approx(np.repeat(expected[:, None], 4, axis=1), abs=1e-9)
    assert np.array_equal(treated[1], untreated[1])  # other causes know no treatment


def test_truth_keeps_its_contract():
    cohort = simulate(_settings(), 3, time_grid=time_grid(ENDPOINT))
    tables.Truth.validate(cohort.truth, lazy=True)
    grid = time_grid(ENDPOINT)
    assert cohort.truth.height == 300 * len(grid)
    assert np.array_equal(cohort.truth["time_months"].to_numpy()[: len(grid)], grid)
    assert cohort.truth["patient_id"].unique(maintain_order=True).to_list() == cohort.clinical["patient_id"].to_list()
    assert cohort.truth.filter(pl.col("time_months") == 0)["survival_treated"].min() == 1.0
    assert "subgroup" not in cohort.clinical.columns
    assert "propensity" not in cohort.clinical.columns


# ---- treatment -------------------------------------------------------------------------------------------------------


def test_crude_effect_is_confounded_toward_harm_and_true_propensity_mends_it():
    settings = _settings(patients=30_000, omics=PROTEIN, censoring=0, treatment={"log_hazard_ratios": [-0.4]})
    cohort = simulate(settings, 7, time_grid=GRID)
    at = int(np.flatnonzero(GRID == 60)[0])
    truth = (_at(cohort, "survival_treated") - _at(cohort, "survival_untreated"))[:, at].mean()
    alive = (cohort.clinical["os_months"].to_numpy() > 60).astype(float)
    treated = cohort.clinical["treatment"].to_numpy()
    propensity = _at(cohort, "propensity")[:, at]
    crude = alive[treated == 1].mean() - alive[treated == 0].mean()
    crude_error = np.sqrt(sum(alive[treated == a].var() / (treated == a).sum() for a in (0, 1)))
    assert truth > 0.05
    assert crude < truth - 10 * crude_error
    contributions = alive * (treated / propensity - (1 - treated) / (1 - propensity))
    weighted_error = contributions.std() / np.sqrt(len(alive))
    assert abs(contributions.mean() - truth) < Z * weighted_error


def test_propensity_is_logistic_in_the_written_columns_and_calibrated():
    cohort = simulate(_settings(patients=20_000, omics=PROTEIN, treatment={"confounding": 1.5}), 4, time_grid=GRID)
    propensity = _at(cohort, "propensity")[:, 0]
    logit = np.log(propensity / (1 - propensity))
    clinical = cohort.clinical
    marker = clinical["marker"].fill_null(clinical["marker"].median()).to_numpy()
    design = np.column_stack(
        [np.ones(len(logit)), clinical["age"], clinical["stage"], marker, clinical["marker"].is_null()]
    )
    fitted = design @ np.linalg.lstsq(design, logit, rcond=None)[0]
    assert fitted == pytest.approx(logit, abs=1e-9)  # so a fill value and an indicator are the right model
    assert logit.std() == pytest.approx(1.5, rel=0.02)  # confounding is in log odds per SD of the risk
    treated = clinical["treatment"].to_numpy()
    for low in (0.0, 0.25, 0.5, 0.75):
        rows = (propensity >= low) & (propensity < low + 0.25)
        error = np.sqrt((propensity * (1 - propensity))[rows].sum()) / rows.sum()
        assert abs(treated[rows].mean() - propensity[rows].mean()) < Z * error


def test_randomised_is_a_fair_coin_and_none_is_none():
    _, p = _patients(20_000, 6, treatment={"design": "randomised"})
    assert set(p.propensity.tolist()) == {0.5}
    assert abs(p.treated.mean() - 0.5) < Z * 0.5 / np.sqrt(20_000)
    assert abs(np.corrcoef(p.treated, p.risk)[0, 1]) < Z / np.sqrt(20_000)
    cohort = simulate(_settings(omics=PROTEIN, treatment={"design": "none"}), 6, time_grid=GRID)
    assert "treatment" not in cohort.clinical.columns
    assert cohort.truth["propensity"].null_count() == cohort.truth.height
    assert cohort.truth["survival_treated"].equals(cohort.truth["survival_untreated"])


# ---- clinical columns and follow-up ----------------------------------------------------------------------------------


def test_clinical_model_discriminates_as_clinical_models_do():
    from lifelines import CoxPHFitter

    cohort = simulate(_settings(patients=4000, omics=PROTEIN), 8, time_grid=GRID)
    frame = cohort.clinical.select("age", "stage", "marker", "os_months", "os_event").to_pandas()
    frame["marker"] = frame["marker"].fillna(frame["marker"].median())
    fitted = CoxPHFitter().fit(frame, "os_months", "os_event")
    assert 0.62 < fitted.concordance_index_ < 0.68


def test_adjusted_cox_recovers_the_planted_coefficients_without_subgroups():
    from lifelines import CoxPHFitter

    settings = _settings(
        patients=8000, subgroups=1, omics=PROTEIN, competing_deaths=0.0, treatment={"log_hazard_ratios": [-0.5]}
    )
    clinical = simulate(settings, 9, time_grid=GRID).clinical
    frame = clinical.select("age", "stage", "marker", "treatment", "os_months", "os_event").to_pandas()
    frame["unmeasured"] = frame["marker"].isna().astype(float)
    frame["marker"] = frame["marker"].fillna(10.0)
    table = CoxPHFitter().fit(frame, "os_months", "os_event").summary
    expected = {"age": 0.025, "stage": 0.5, "marker": 0.12, "treatment": -0.5, "unmeasured": 0.0}
    for name, value in expected.items():
        assert abs(table.loc[name, "coef"] - value) < Z * table.loc[name, "se(coef)"]


def test_other_causes_know_age_only():
    from lifelines import CoxPHFitter

    cohort = simulate(_settings(patients=8000, omics=PROTEIN, competing_deaths=0.5), 29, time_grid=GRID)
    frame = cohort.clinical.select("age", "stage", "treatment", "os_months").to_pandas()
    subgroup = _at(cohort, "subgroup")[:, 0]
    frame["second"], frame["third"] = (subgroup == 2) * 1.0, (subgroup == 3) * 1.0
    frame["other"] = (cohort.clinical["cause"] == 2).to_numpy()
    table = CoxPHFitter().fit(frame, "os_months", "other").summary
    for name, value in {"age": 0.06, "stage": 0.0, "treatment": 0.0, "second": 0.0, "third": 0.0}.items():
        assert abs(table.loc[name, "coef"] - value) < Z * table.loc[name, "se(coef)"]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.35, 0.7])
@pytest.mark.parametrize("informative", [False, True])
def test_censoring_is_as_asked(share, informative):
    _, p = _patients(20_000, 10, censoring=share, marker_dependent_censoring=informative)
    # The search runs on a population of 20,000 of its own: two samples of that size.
    assert abs((p.cause == 0).mean() - share) <= Z * np.sqrt(2 * share * (1 - share) / 20_000)


def test_censoring_is_informative_only_when_asked():
    from statsmodels.duration.survfunc import SurvfuncRight

    z = {}
    for informative in (False, True):
        population, p = _patients(20_000, 12, censoring=0.5, marker_dependent_censoring=informative)
        arms = [true_survival(population, p, np.array([60.0]), arm)[:, 0] for arm in (0, 1)]
        truth = np.where(p.treated == 1, arms[1], arms[0]).mean()
        km = SurvfuncRight(p.time, p.cause > 0)
        at = np.searchsorted(km.surv_times, 60.0, side="right") - 1
        z[informative] = (km.surv_prob[at] - truth) / km.surv_prob_se[at]
    assert abs(z[False]) < Z
    assert z[True] > Z  # the sick leave early, so those who stay look too well


def test_times_causes_and_events_agree():
    cohort = simulate(_settings(patients=2000, omics=PROTEIN), 13, time_grid=GRID)
    time = cohort.clinical["os_months"].to_numpy()
    assert time.min() > 0
    assert np.array_equal(time, np.round(time, 2))
    assert cohort.clinical["os_event"].equals((cohort.clinical["cause"] > 0).cast(pl.Int64), check_names=False)
    assert cohort.clinical["dss_event"].equals((cohort.clinical["cause"] == 1).cast(pl.Int64), check_names=False)
    assert set(cohort.clinical["cause"].to_list()) == {0, 1, 2}
    missing = cohort.clinical["marker"].null_count() / 2000
    assert abs(missing - 0.05) < Z * np.sqrt(0.05 * 0.95 / 2000)


def test_known_label_is_wrong_in_fifteen_of_a_hundred():
    _, p = _patients(20_000, 14)
    assert abs((p.label != p.subgroup).mean() - 0.15) < Z * np.sqrt(0.15 * 0.85 / 20_000)
    expected = np.array([1.15, 1.0, 0.85]) / 3
    assert np.bincount(p.subgroup) / 20_000 == pytest.approx(expected, abs=Z * 0.5 / np.sqrt(20_000))


# ---- omics -----------------------------------------------------------------------------------------------------------


def test_values_fit_their_kinds():
    settings = _settings(patients=400)
    cohort = simulate(settings, 15, time_grid=GRID)
    for name, omic in settings.omics.items():
        frame = cohort.omics[name]
        values = frame.drop("patient_id").cast(pl.Float32).to_numpy()
        assert values.shape[1] == omic.features
        kinds.get(omic.kind).check(values, name)
        assert np.isfinite(values).any(axis=1).all()
    methylation = cohort.omics["methylation"].drop("patient_id").to_numpy()
    cells = methylation.size
    assert abs(np.isnan(methylation).mean() - 0.01) < Z * np.sqrt(0.01 * 0.99 / cells)
    assert ((methylation < 0.3) | (methylation > 0.7)).sum() / np.isfinite(methylation).sum() > 0.7  # two modes
    assert cohort.omics["rna"].null_count().sum_horizontal()[0] == 0


def test_some_proteins_are_missing_at_exactly_one_site():
    cohort = simulate(_settings(patients=600, missing_omics=0), 16, time_grid=GRID)
    frame = cohort.omics["protein"].join(cohort.clinical.select("patient_id", "site"), on="patient_id")
    blind = [c for c in frame.columns if frame[c].null_count()]
    assert len(blind) == 6
    assert len(set(frame.filter(pl.col(blind[0]).is_null())["site"])) == 1
    hidden = frame.filter(pl.col(blind[0]).is_null())["site"][0]
    assert all(frame.filter(pl.col("site") == hidden)[c].null_count() == (frame["site"] == hidden).sum() for c in blind)
    assert all(frame.filter(pl.col("site") != hidden)[c].null_count() == 0 for c in blind)


@pytest.mark.parametrize(("kind", "effect"), [("protein", 0.8), ("expression", 1.5), ("methylation", 0.8)])
def test_subgroups_differ_by_the_effect_in_standard_deviations(kind, effect):
    omic = {"kind": kind, "features": 60, "effect": effect, "informative": 0.5}
    settings = _settings(patients=3000, sites=1, missing_omics=0, subgroups=2, omics={"x": omic})
    cohort = simulate(settings, 17, time_grid=GRID)
    values = kinds.get(kind).scale(cohort.omics["x"].drop("patient_id").to_numpy()).astype(np.float64)
    group = _at(cohort, "subgroup")[:, 0]
    first, second = values[group == 1], values[group == 2]
    pooled = np.sqrt((np.nanvar(first, axis=0) + np.nanvar(second, axis=0)) / 2)
    shift = (np.nanmean(second, axis=0) - np.nanmean(first, axis=0)) / pooled
    planted = cohort.signatures["x"][1] - cohort.signatures["x"][0]
    assert (planted != 0).sum() == 30
    n_first, n_second = len(first), len(second)
    error = np.sqrt(1 / n_first + 1 / n_second + planted**2 / (2 * (n_first + n_second)))
    assert np.abs((shift - planted) / error).max() < Z


def _z_of_mean(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return (values.mean(axis=0) - expected) / (values.std(axis=0) / np.sqrt(len(values)))


def test_counts_have_the_moments_of_the_planted_negative_binomial():
    omic = {"kind": "counts", "features": 60, "effect": 0.5, "informative": 0.5}
    settings = _settings(patients=8000, sites=1, batch_effect=0, subgroups=2, omics={"rna": omic})
    cohort = simulate(settings, 18, time_grid=GRID)
    planted = make_omic(make_population(settings, 18), "rna", settings.omics["rna"])
    counts = cohort.omics["rna"].drop("patient_id").to_numpy().astype(np.float64)
    group = _at(cohort, "subgroup")[:, 0]
    spread = planted.scale**2 + 0.3**2  # biology and library size, both log-normal
    whole = np.sqrt(planted.scale**2 + planted.dispersion + np.exp(-planted.centre))
    for k in (0, 1):
        centre = planted.centre + whole * cohort.signatures["rna"][k]
        rows = counts[group == k + 1]
        assert np.abs(_z_of_mean(rows, np.exp(centre + spread / 2))).max() < Z
        # E[c (c - 1)] = E[mean^2] (1 + dispersion)
        assert np.abs(_z_of_mean(rows * (rows - 1), np.exp(2 * (centre + spread)) * (1 + planted.dispersion))).max() < Z
    # The delta method makes `whole` the SD of the log count of frequent genes at a given library size.
    rich = (planted.centre > 5) & (cohort.signatures["rna"] == 0).all(axis=0)
    logs = np.log(counts[:, rich] + 0.5).std(axis=0)
    assert logs == pytest.approx(np.sqrt(whole[rich] ** 2 + 0.3**2), rel=0.05)


def test_mutation_frequencies_follow_the_liability():
    omic = {"kind": "mutation", "features": 60, "effect": 1.0, "informative": 0.5}
    settings = _settings(patients=20_000, sites=3, subgroups=2, omics={"m": omic})
    cohort = simulate(settings, 19, time_grid=GRID)
    values = cohort.omics["m"].drop("patient_id").to_numpy()
    group = _at(cohort, "subgroup")[:, 0]
    signature = cohort.signatures["m"]
    assert signature.min() == 0.0  # drivers are gained
    for k in (0, 1):
        base = signature[k] == 0
        frequency = values[group == k + 1][:, base].mean(axis=0)
        assert ((frequency > 0.006) & (frequency < 0.42)).all()
    both = (signature[0] == 0) & (signature[1] == 1)
    threshold = make_omic(make_population(settings, 19), "m", settings.omics["m"]).centre[both]
    for k in (0, 1):
        frequency, n = values[group == k + 1][:, both].mean(axis=0), (group == k + 1).sum()
        expected = ndtr(k - threshold)
        assert (np.abs(frequency - expected) < Z * np.sqrt(expected * (1 - expected) / n)).all()
    burden = values.sum(axis=1)
    independent = (values.mean(axis=0) * (1 - values.mean(axis=0))).sum()
    assert burden.var() > 1.3 * independent  # some patients have more of everything


def test_sites_shift_continuous_omics_by_the_batch_effect_but_not_mutations():
    omics = {"x": {"kind": "expression", "features": 400}, "m": {"kind": "mutation", "features": 100}}
    settings = _settings(patients=2000, subgroups=1, missing_omics=0, batch_effect=0.5, omics=omics)
    cohort = simulate(settings, 20, time_grid=GRID)
    site = cohort.clinical["site"].to_numpy()
    names = sorted(set(site))
    x = cohort.omics["x"].drop("patient_id").to_numpy().astype(np.float64)
    n = np.array([(site == s).sum() for s in names])
    means = np.array([x[site == s].mean(axis=0) for s in names])
    within = np.sqrt(np.array([x[site == s].var(axis=0) for s in names]).mean(axis=0))
    spread = means.var(axis=0, ddof=1) / within**2 - (1 / n).mean()
    assert np.sqrt(spread.mean()) == pytest.approx(0.5, rel=0.1)
    m = cohort.omics["m"].drop("patient_id").to_numpy()
    p_values = [
        stats.chi2_contingency([[m[site == s, j].sum(), (1 - m[site == s, j]).sum()] for s in names]).pvalue
        for j in range(100)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_an_omic_does_not_depend_on_the_others():
    one = {"a": {"kind": "counts", "features": 20}}
    two = {"b": {"kind": "protein", "features": 20}, "a": {"kind": "counts", "features": 20}}
    alone = simulate(_settings(missing_omics=0, omics=one), 21, time_grid=GRID)
    beside = simulate(_settings(missing_omics=0, omics=two), 21, time_grid=GRID)
    assert alone.omics["a"].equals(beside.omics["a"])


# ---- null is null ----------------------------------------------------------------------------------------------------


def test_one_subgroup_has_no_signal_in_omics_or_outcome_whatever_the_settings():
    strong = {n: {"kind": k, "features": 30, "informative": 1.0, "effect": 9.0} for n, k in _KINDS.items()}
    weak = {n: o | {"informative": 0.0, "effect": 0.0} for n, o in strong.items()}
    with_, without = (
        simulate(_settings(subgroups=1, omics=o, subgroup_log_hazards=h), 22, time_grid=GRID)
        for o, h in ((strong, (0.4, 2.0)), (weak, (0.0,)))
    )
    assert with_.clinical.equals(without.clinical)
    assert with_.truth.equals(without.truth)
    assert all(with_.omics[n].equals(without.omics[n]) for n in _KINDS)
    assert not any(s.any() for s in with_.signatures.values())
    assert with_.clinical["subtype"].unique().to_list() == ["A"]
    assert with_.truth["subgroup"].unique().to_list() == [1]


_KINDS = {"c": "counts", "e": "expression", "m": "methylation", "p": "protein", "v": "mutation"}


@pytest.mark.parametrize(("k", "expected"), [(1, 1), (3, 3)])
def test_mixture_finds_the_planted_number_of_subgroups(k, expected):
    from sklearn.decomposition import PCA
    from sklearn.metrics import adjusted_rand_score
    from sklearn.mixture import GaussianMixture

    omics = {"x": {"kind": "expression", "features": 300}}
    settings = _settings(patients=600, subgroups=k, missing_omics=0, batch_effect=0, omics=omics)
    cohort = simulate(settings, 23, time_grid=GRID)
    values = cohort.omics["x"].drop("patient_id").to_numpy()
    scores = PCA(7, random_state=0).fit_transform((values - values.mean(axis=0)) / values.std(axis=0))
    fits = {g: GaussianMixture(g, n_init=5, random_state=0).fit(scores) for g in (1, 2, 3, 4)}
    assert min(fits, key=lambda g: fits[g].bic(scores)) == expected
    if k > 1:
        found = fits[k].predict(scores)
        assert adjusted_rand_score(_at(cohort, "subgroup")[:, 0], found) > 0.95


def test_subgroup_is_independent_of_clinical_columns_and_treatment():
    _, p = _patients(20_000, 24)
    for column in (p.age, p.risk, p.female, p.treated, p.site, p.stage):
        assert stats.f_oneway(*(column[p.subgroup == k].astype(float) for k in range(3))).pvalue > 1e-3


# ---- missing omics ---------------------------------------------------------------------------------------------------


def test_omics_are_lacking_at_random():
    population = make_population(_settings(missing_omics=0.3), 25)
    p = make_patients(population, 0, 20_000)
    # All four would be lacking in 0.3^4 of the patients, who get one back, each omic in a quarter of them.
    expected = 0.3 - 0.3**4 / 4
    assert np.abs((1 - p.has.mean(axis=0)) - expected).max() < Z * np.sqrt(0.21 / 20_000)
    assert p.has.any(axis=1).all()
    for j in range(4):
        counts = [[(p.site == s).sum() - p.has[p.site == s, j].sum(), p.has[p.site == s, j].sum()] for s in range(4)]
        assert stats.chi2_contingency(counts).pvalue > 1e-3


@pytest.mark.parametrize(("sites", "share"), [(2, 0.2), (4, 0.2), (4, 0.5), (10, 0.3), (1, 0.2)])
def test_omics_are_lacking_by_site(sites, share):
    population = make_population(_settings(sites=sites, missing_omics=share, missing_mechanism="site"), 26)
    assert population.site_shares @ population.lacking == pytest.approx(np.full(4, share), abs=1e-12)
    p = make_patients(population, 0, 20_000)
    assert p.has.any(axis=1).all()
    if sites >= 4:
        measured = np.array([p.has[p.site == s].mean(axis=0) for s in range(sites)])
        assert (measured == 0).any()  # some sites never measure some omic
        assert (measured == 1).any()


@pytest.mark.parametrize("mechanism", ["random", "site"])
@pytest.mark.parametrize("n_omics", [1, 2])
def test_everybody_keeps_an_omic_even_if_most_are_lacking(mechanism, n_omics):
    omics = {f"o{j}": {"kind": "protein", "features": 4} for j in range(n_omics)}
    cohort = simulate(_settings(missing_omics=0.9, missing_mechanism=mechanism, omics=omics), 27, time_grid=GRID)
    present = set().union(*(f["patient_id"].to_list() for f in cohort.omics.values()))
    assert present == set(cohort.clinical["patient_id"].to_list())


# ---- files -----------------------------------------------------------------------------------------------------------


def test_written_in_pieces_equals_in_memory(tmp_path, monkeypatch):
    settings = _settings(patients=700)
    cohort = simulate(settings, 28, time_grid=GRID)
    monkeypatch.setattr("stratiome.cohort.simulate.CELLS_AT_ONCE", 128 * 60)  # matrices in finer pieces than patients
    write_cohort(settings, 28, tmp_path, time_grid=GRID, chunk=300)
    clinical = pl.read_csv(tmp_path / "clinical.tsv", separator="\t", schema=cohort.clinical.schema)
    assert clinical.equals(cohort.clinical)
    assert tables.read_table(tmp_path / "truth.parquet", tables.Truth).equals(cohort.truth)
    for name, frame in cohort.omics.items():
        assert pl.read_parquet(tmp_path / f"{name}.parquet").equals(frame)
    assert len(_hashes(tmp_path)) == 6  # nothing half-written is left


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    settings = _settings(patients=200)
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_cohort(settings, seed, tmp_path / folder, time_grid=GRID)
    a, b, c = (_hashes(tmp_path / f) for f in "abc")
    assert a == b
    assert all(a[name] != c[name] for name in a)


def test_failing_run_leaves_no_file(tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr("stratiome.cohort.simulate.make_values", broken)
    with pytest.raises(RuntimeError, match="disk full"):
        write_cohort(_settings(), 1, tmp_path, time_grid=GRID)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.6, 0.1), (0.5, 0.5, 0.0)])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(CohortError, match=r"data\.simulate\.proportions.*Suggestion"):
        make_population(_settings(proportions=shares), 1)


def _script():
    path = Path(__file__).resolve().parents[2] / "workflow/scripts/simulate_cohort.py"
    spec = importlib.util.spec_from_file_location("simulate_cohort", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_script_writes_files_that_the_workflow_reads(tmp_path):
    raw = {
        "cohort": "demo",
        "data": {"simulate": {"patients": 150}},
        "endpoint": {"time": "os_months", "event": "os_event", "horizons": [24, 60]},
        "covariates": ["age", "stage", "marker", "sex"],
        "site": "site",
        "known_labels": ["subtype"],
        "treatments": {"t": {"column": "treatment", "design": "observational", "confounders": ["age", "stage"]}},
    }
    config = Config.model_validate(raw)
    paths = {name: tmp_path / f"{name}.parquet" for name in config.omics}
    clinical, truth = tmp_path / "clinical.tsv", tmp_path / "truth.parquet"
    _script().main(
        clinical=str(clinical),
        truth=str(truth),
        swaps=str(tmp_path / "swaps.parquet"),
        omics=[str(p) for p in paths.values()],
        data=config.data,
        endpoint=config.endpoint,
        seed=config.seed,
    )
    cohort = read_cohort(config, clinical, paths)
    assert {n: len(m.source.features) for n, m in cohort.matrices.items()} == {
        "rna": 300,
        "methylation": 200,
        "protein": 60,
        "mutation": 40,
    }
    read = tables.read_table(truth, tables.Truth)
    assert read["time_months"].unique().sort().to_list() == time_grid(config.endpoint).tolist()
    assert read["patient_id"].n_unique() == 150


def test_script_refuses_settings_a_simulated_cohort_cannot_meet(tmp_path):
    given = {"clinical": str(tmp_path / "c.tsv"), "truth": str(tmp_path / "t.parquet"), "omics": [], "seed": 1}
    given["swaps"] = str(tmp_path / "s.parquet")
    endpoint = EndpointConfig(time="os_months", event="os_event", unit="years", horizons=(2, 5))
    with pytest.raises(CohortError) as error:
        _script().main(data=DataConfig(simulate=_settings(), patient_id="id"), endpoint=endpoint, **given)
    assert [p.split(":")[0] for p in error.value.problems] == ["`data.patient_id`", "`endpoint.unit`"]


# ---- copy number, dosage, swaps, sex-linked genes --------------------------------------------------------------------

GENOME = {
    "cna": {"kind": "copy_number", "features": 400},
    "rna": {"kind": "counts", "features": 300, "dosage_of": "cna"},
}


def _changed(**rna: object) -> SimulateConfig:
    return _settings(patients=1000, missing_omics=0.0, omics={"cna": GENOME["cna"], "rna": GENOME["rna"] | rna})


def _both(cohort) -> tuple[np.ndarray, np.ndarray]:
    genes = cohort.omics["rna"].columns[1:301]
    return cohort.omics["cna"].select(genes).to_numpy(), cohort.omics["rna"].select(genes).to_numpy()


def test_calls_are_of_segments_and_expression_follows_as_in_tumours():
    cohort = simulate(_changed(), 31, time_grid=GRID)
    calls, counts = _both(cohort)
    assert set(np.unique(calls)) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert 0.4 < (calls == 0).mean() < 0.8
    assert (calls[:, 1:] == calls[:, :-1]).mean() > 0.9  # neighbours are of one segment
    r = np.array([stats.spearmanr(calls[:, j], counts[:, j]).statistic for j in range(300)])
    assert 0.2 < np.median(r) < 0.4
    assert np.quantile(r, 0.9) < 0.7
    kinds.get("copy_number").check(calls, "cna")
    away = np.array([stats.spearmanr(calls[:, j], counts[:, j - 150]).statistic for j in range(300)])
    assert abs(np.median(away)) < 0.05


def test_what_follows_changes_no_other_number():
    plain = simulate(_settings(), 3, time_grid=GRID)
    more = {n: o.model_dump() for n, o in _settings().omics.items()}
    more["protein"] |= {"swapped": 0.1}
    more["rna"] |= {"sex_linked": True}
    planted = simulate(_settings(omics=more), 3, time_grid=GRID)
    assert planted.clinical.equals(plain.clinical)
    assert planted.omics["methylation"].equals(plain.omics["methylation"])
    assert planted.omics["mutation"].equals(plain.omics["mutation"])
    assert planted.omics["rna"].select(plain.omics["rna"].columns).equals(plain.omics["rna"])


def test_swaps_are_pairwise_and_the_truth_says_who():
    plain, planted = (simulate(_changed(swapped=share), 32, time_grid=GRID) for share in (0.0, 0.05))
    assert plain.swaps.height == 0
    swaps = dict(planted.swaps.select("patient_id", "partner").iter_rows())
    assert abs(len(swaps) / 1000 - 0.05) < Z * np.sqrt(0.05 * 0.95 / 1000)
    assert all(swaps[partner] == patient != partner for patient, partner in swaps.items())
    before = {row[0]: row[1:] for row in plain.omics["rna"].iter_rows()}
    after = {row[0]: row[1:] for row in planted.omics["rna"].iter_rows()}
    assert all(after[p] == before[swaps.get(p, p)] for p in before)
    assert planted.omics["cna"].equals(plain.omics["cna"])


def test_sex_linked_genes_follow_the_recorded_sex():
    cohort = simulate(_changed(sex_linked=True), 33, time_grid=GRID)
    female = (cohort.clinical["sex"] == "female").to_numpy()
    xist, y = cohort.omics["rna"]["XIST"].to_numpy() > 40, cohort.omics["rna"]["RPS4Y1"].to_numpy() > 40
    assert abs(xist[female].mean() - 0.9) < Z * np.sqrt(0.09 / female.sum())
    assert abs(y[~female].mean() - 0.9) < Z * np.sqrt(0.09 / (~female).sum())
    assert not xist[~female].any()
    assert not y[female].any()


def test_planted_files_do_not_depend_on_how_they_are_cut(tmp_path):
    settings = _changed(swapped=0.05, sex_linked=True)
    for name, chunk in (("a", 128), ("b", 20_000)):
        write_cohort(settings, 34, tmp_path / name, time_grid=GRID, chunk=chunk)
    a, b = tmp_path / "a", tmp_path / "b"
    assert sorted(p.name for p in a.iterdir()) == [
        "clinical.tsv", "cna.parquet", "rna.parquet", "swaps.parquet", "truth.parquet"
    ]  # fmt: skip
    assert all(pl.read_parquet(a / n).equals(pl.read_parquet(b / n)) for n in ("cna.parquet", "rna.parquet"))
    assert (a / "swaps.parquet").read_bytes() == (b / "swaps.parquet").read_bytes()


@pytest.mark.parametrize(
    ("omics", "text"),
    [
        ({"rna": {"kind": "counts", "features": 5, "dosage_of": "cna"}}, "no simulated omic of kind `copy_number`"),
        ({"m": {"kind": "mutation", "features": 5, "sex_linked": True}}, "does not go with kind `mutation`"),
        ({"m": {"kind": "methylation", "features": 5, "dosage_of": "m"}}, "does not go with kind `methylation`"),
    ],
)
def test_what_cannot_be_planted_is_refused(omics, text):
    with pytest.raises(ValueError, match=text):
        _settings(omics=omics)
