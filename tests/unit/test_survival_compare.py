"""Group comparisons against statsmodels, lifelines and closed forms."""

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.statistics import multivariate_logrank_test
from scipy.stats import chi2
from statsmodels.duration.survfunc import survdiff

from stratiome.survival.compare import likelihood_ratio, log_rank, restricted_mean_error
from stratiome.survival.curves import restricted_mean


def _data(seed: int, n: int = 240, groups: int = 3, decimals: int = 0):
    rng = np.random.default_rng(seed)
    group, stratum = rng.integers(groups, size=n), rng.integers(4, size=n)
    time = np.round(rng.exponential(20 / (1 + 0.4 * group + 0.5 * stratum)), decimals) + 1  # rounded, so that times tie
    return time, rng.random(n) < 0.7, group, stratum


@pytest.mark.parametrize("seed", range(4))
def test_log_rank_is_that_of_statsmodels_and_lifelines(seed):
    time, event, group, stratum = _data(seed)
    ours = log_rank(time, event, group, stratum)
    statistic, p = survdiff(time, event.astype(int), group, strata=stratum)
    assert ours.statistic == pytest.approx(statistic, rel=1e-9)
    assert ours.p_value == pytest.approx(p, rel=1e-9)
    assert ours.df == 2
    plain = multivariate_logrank_test(time, group, event)
    assert log_rank(time, event, group).statistic == pytest.approx(plain.test_statistic, rel=1e-9)


def test_log_rank_does_not_compare_across_strata():
    time, event, group, _ = _data(1, groups=2)
    assert log_rank(time, event, group, strata=group).reason == "no two groups are at risk together within a stratum"
    alone = np.append(group, [2])  # a third group whose only patient shares no stratum with anybody
    strata = np.append(np.zeros(len(group)), [1])
    apart = log_rank(np.append(time, 5.0), np.append(event, True), alone, strata)
    assert apart.df == 1
    assert apart.statistic == pytest.approx(log_rank(time, event, group).statistic)


def test_log_rank_says_why_it_was_not_done():
    time, event, group, _ = _data(1)
    assert log_rank(time, event, np.zeros(len(time))).reason == "fewer than two groups"
    assert log_rank(time, np.zeros(len(time), dtype=bool), group).reason == "no events"


@pytest.mark.parametrize("tau", [7.0, 20.0, 500.0])
def test_error_of_the_restricted_mean_without_censoring_is_that_of_a_mean(tau):
    time = _data(3)[0]
    mean, error = restricted_mean_error(time, np.ones(len(time), dtype=bool), tau)
    cut = np.minimum(time, tau)
    assert mean == pytest.approx(cut.mean())
    assert error == pytest.approx(cut.std() / np.sqrt(len(time)))


def test_error_of_the_restricted_mean_with_censoring_is_the_spread_of_repeated_cohorts():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(1500):
        time, censored = rng.exponential(20, size=100), rng.uniform(5, 60, size=100)
        found.append(restricted_mean_error(np.minimum(time, censored), time <= censored, 24.0))
    means, errors = np.array(found).T
    truth = 20 * (1 - np.exp(-24 / 20))
    assert means.mean() == pytest.approx(truth, abs=3 * means.std() / np.sqrt(1500))
    assert errors.mean() == pytest.approx(means.std(), rel=0.06)
    covered = np.abs(means - truth) < 1.96 * errors
    assert 0.927 < covered.mean() < 0.970


def test_restricted_mean_is_the_shared_one():
    time, event, *_ = _data(6)
    assert restricted_mean_error(time, event, 15.0)[0] == restricted_mean(time, event, 15.0)


@pytest.mark.parametrize("clinical", [0, 2])
def test_likelihood_ratio_is_that_of_two_fits(clinical):
    time, event, group, stratum = _data(2)
    x = np.random.default_rng(0).normal(size=(len(time), clinical))
    extra = (group[:, None] == [1, 2]).astype(float)
    ours = likelihood_ratio(x, extra, time, event, stratum)
    frame = pd.DataFrame(np.hstack([x, extra])).add_prefix("x")
    frame["t"], frame["e"], frame["s"] = time, event, stratum
    large = CoxPHFitter().fit(frame, "t", "e", strata=["s"]).log_likelihood_
    if clinical:
        small = CoxPHFitter().fit(frame.drop(columns=["x2", "x3"]), "t", "e", strata=["s"]).log_likelihood_
    else:
        fit = CoxPHFitter().fit(frame, "t", "e", strata=["s"])
        small = large - fit.log_likelihood_ratio_test().test_statistic / 2
    assert ours.statistic == pytest.approx(2 * (large - small), abs=1e-5)
    assert ours.df == 2
    assert ours.p_value == pytest.approx(chi2.sf(ours.statistic, 2))


def test_likelihood_ratio_leaves_out_what_strata_say_already():
    time, event, group, stratum = _data(2)
    site = (stratum[:, None] == [1, 2, 3]).astype(float)
    extra = (group[:, None] == [1, 2]).astype(float)
    with_site = likelihood_ratio(np.hstack([site, extra[:, :1]]), extra, time, event, stratum)
    assert with_site.df == 1
    assert with_site.statistic == pytest.approx(
        likelihood_ratio(extra[:, :1], extra[:, 1:], time, event, stratum).statistic
    )
    assert likelihood_ratio(site, site, time, event).reason == "fewer than two groups"


def test_likelihood_ratio_of_a_group_without_events_is_that_of_the_supremum():
    time, event, group, _ = _data(2)
    event = event & (group > 0)
    extra = (group[:, None] == [1, 2]).astype(float)
    nothing = np.zeros((len(time), 0))
    found = likelihood_ratio(nothing, extra, time, event)
    # Its patients leave the risk sets as their hazard goes to zero.
    here = group > 0
    among = likelihood_ratio(nothing[here], extra[here, 1:], time[here], event[here])
    ends, deaths = np.unique(time[event], return_counts=True)
    lost = sum(
        np.log((time >= t).sum() - i) - np.log((time[here] >= t).sum() - i)
        for t, d in zip(ends, deaths, strict=True)
        for i in range(d)
    )
    assert found.df == 2
    assert found.statistic == pytest.approx(among.statistic + 2 * lost, rel=1e-3)


def test_likelihood_ratio_needs_more_events_than_coefficients():
    time, _, group, _ = _data(2)
    few = np.zeros(len(time), dtype=bool)
    few[:2] = True
    extra = (group[:, None] == [1, 2]).astype(float)
    assert "too few" in likelihood_ratio(np.zeros((len(time), 0)), extra, time, few).reason
