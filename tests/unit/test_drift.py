"""Drift of a batch: tests by hand and against libraries, size and power at few replicates, mutants that must fail."""

from __future__ import annotations

import json
import os
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency, fisher_exact, hypergeom, kruskal, power_divergence

import drift_simulator as gates
from stratiome import monitor, tables
from stratiome.audit import drift, two_samples
from stratiome.bundle.reference import OTHERS, bins_of, classes_of, count_classes, embed, embedding_of
from stratiome.bundle.scored import stretches
from stratiome.cohort.manifest import sha256
from stratiome.survival.expected import event_counts, events_between, outcome_slope

FEW = 20
"""Replicates; at 5 %, six alarms come less than once in 1000 runs."""
MOST = 5


# --- tests of two samples ------------------------------------------------------------------------------------------


def test_homogeneity_is_scipys_power_divergence_of_the_table():
    t, b = np.array([60, 80, 60, 50, 50]), np.array([20, 10, 15, 30, 25])
    expected = np.outer([t.sum(), b.sum()], t + b) / (t.sum() + b.sum())
    statistic = power_divergence(np.stack([t, b]), expected, axis=None, lambda_=1 / 3).statistic
    assert two_samples.homogeneity(t, b) == pytest.approx(chi2.sf(statistic, 4), rel=1e-10)


@pytest.mark.parametrize("test", [two_samples.homogeneity, two_samples.same_order])
def test_small_bins_are_put_together_and_two_go_to_fishers_test(test):
    t, b = np.array([100, 100, 2, 1]), np.array([10, 10, 0, 1])
    assert test(t, b) == two_samples.two_proportions(100, 203, 10, 21)
    assert test(np.array([100, 1]), np.array([20, 0])) is None


def test_the_mid_p_counts_the_table_itself_half():
    p = fisher_exact([[3, 17], [40, 260]]).pvalue - hypergeom.pmf(3, 320, 43, 20) / 2
    assert two_samples.two_proportions(3, 20, 40, 300) == pytest.approx(p, rel=1e-10)
    assert two_samples.two_proportions(0, 20, 0, 300) == two_samples.two_proportions(20, 20, 300, 300) == 1.0


def test_the_place_is_that_of_wilcoxons_test_and_with_three_bins_nothing_else_is_left():
    t, b = np.array([60, 80, 60, 50, 50]), np.array([20, 10, 15, 30, 25])
    place, spread = two_samples.components(t, b)
    ranked = kruskal(*(np.repeat(np.arange(5), counts) for counts in (t, b)))
    assert place**2 == pytest.approx(ranked.statistic, rel=1e-10)
    assert place > 0
    assert two_samples.same_order(t, b) == pytest.approx(chi2.sf(place**2 + spread**2, 2))
    assert two_samples.components(np.array([60, 60, 60, 60, 60]), np.array([25, 10, 10, 10, 25]))[1] > 3
    three = np.array([[100, 120, 80], [30, 20, 40]])
    whole = chi2_contingency(three).statistic * (three.sum() - 1) / three.sum()
    assert (two_samples.components(*three) ** 2).sum() == pytest.approx(whole, rel=1e-10)


def test_what_lies_between_two_references_is_no_drift():
    beyond = two_samples.beyond_both
    assert beyond(np.array([9.0, -9.0]), np.array([-9.0, 9.0])) == 1.0
    assert beyond(np.array([3.0, 1.0]), np.array([2.0, -5.0])) == pytest.approx(chi2.sf(4.0, 1))
    assert beyond(np.array([3.0, -1.0]), np.array([2.0, -5.0])) == pytest.approx(chi2.sf(5.0, 2))


@pytest.mark.parametrize("apart", [(0.0, 0.0), (0.0, 3.0), (1.0, 1.0), (3.0, 3.0)])
def test_a_population_at_or_between_the_references_is_alarmed_in_five_percent_at_most(apart):
    """It lies at the first; the second is `apart` standard errors beyond. Three Monte Carlo errors of 5,000: 0.0092."""
    near = np.random.default_rng(11).normal(size=(5_000, 2))
    alarms = np.mean([two_samples.beyond_both(z, z + np.array(apart)) <= 0.05 for z in near])
    assert alarms <= 0.0592


@given(st.lists(st.integers(1, 200), min_size=3, max_size=5), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_the_same_shares_are_no_evidence(counts, times):
    t = np.array(counts)
    for test in (two_samples.homogeneity, two_samples.same_order):
        p = test(t, t * times)
        assert p is None or p == pytest.approx(1.0) or p > 0.5  # the mid-p of two bins is below 1
    assert two_samples.stability_index(t, t * times) == pytest.approx(0.0, abs=0.1)


def test_the_test_of_embeddings_has_its_size_with_few_patients_and_finds_small_directions():
    """Size with three Monte Carlo errors of 400; the squared distance of the means is nearly all in the first."""
    rng = np.random.default_rng(1)
    root = np.diag(np.geomspace(3.0, 0.1, 60))
    found: dict[float, list[float]] = {0.0: [], 1.0: []}
    for shift, p in found.items():
        for _ in range(400):
            x, y = rng.normal(size=(300, 60)) @ root, rng.normal(size=(50, 60)) @ root
            y[:, 30:] += shift * np.diag(root)[30:]
            means, covariances = (x.mean(axis=0), y.mean(axis=0)), (np.cov(x.T), np.cov(y.T))
            squared, value = two_samples.discrepancy(means, covariances, (300, 50))
            assert squared == pytest.approx(((means[0] - means[1]) ** 2).sum())
            p.append(value)
    assert 0.02 < np.mean(np.array(found[0.0]) < 0.05) < 0.083
    assert np.mean(found[0.0]) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.array(found[1.0]) < 0.05) > 0.8


def test_same_rate_in_one_stretch_is_the_exact_test_of_two_rates_by_hand():
    from scipy.stats import binom

    ratio, p = two_samples.same_rate(np.array([30]), np.array([20.0]), np.array([100]), np.array([110.0]))
    assert ratio == pytest.approx(100 / 110)
    chances = binom.pmf(np.arange(131), 130, 20.0 / 130.0)  # 20 months of exposure of 130
    assert p == pytest.approx(chances[chances <= chances[30] * (1 + 1e-7)].sum(), rel=1e-6)


def test_a_batch_followed_briefly_rests_on_the_events_of_that_time_alone():
    reference, expected = np.array([10, 90]), np.array([10.0, 90.0])
    _, early = two_samples.same_rate(np.array([40, 0]), np.array([25.0, 0.0]), reference, expected)
    _, late = two_samples.same_rate(np.array([0, 40]), np.array([0.0, 25.0]), reference, expected)
    assert early > 2 * late


# --- what is kept ---------------------------------------------------------------------------------------------------


@given(st.integers(20, 300), st.integers(1, 30), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_no_bin_holds_fewer_patients_than_may_be_told(n, least, seed):
    values = np.random.default_rng(seed).integers(0, 6, n).astype(float)
    made = bins_of(values, least)
    if made is not None:
        assert min(made.counts) >= least
        assert sum(made.counts) == n
        assert made.count(values).tolist() == made.counts
        assert made.count(np.array([np.nan, np.inf])).sum() == 0


def test_rare_classes_are_together_and_new_ones_join_them():
    known = classes_of(["a"] * 50 + ["b"] * 30 + ["c"] * 12 + ["d"] * 4, 10)
    assert known == {"a": 50, "b": 30, OTHERS: 16}  # d alone would be told by what c leaves
    assert count_classes(["a", "c", "new", "new"], known).sum() == 4
    assert dict(zip(known, count_classes(["a", "c", "new", "new"], known), strict=True))[OTHERS] == 3


def test_an_embedding_is_the_same_in_every_version_of_numpy():
    made = embed(np.array([[1.0, np.nan], [0.5, -1.0]]), 2.0)
    assert made.shape == (2, 64)
    assert made[0, :3] == pytest.approx([0.1198379502337647, 0.17174331152054148, 0.17549270931233085], abs=1e-12)
    assert (made**2).sum(axis=1) == pytest.approx(1.0)


def test_an_embedding_counted_in_pieces_is_that_of_all():
    rng = np.random.default_rng(2)
    kept, batch = gates.keep(gates.draw(gates.STILL, 100, rng)), gates.draw(gates.STILL, 60, rng)
    seen = gates.standardised(batch.features, kept.by)
    tally = drift.Tally(kept.part, gates.NAMES)
    for rows in (slice(0, 25), slice(25, 60)):
        tally.add(batch.features[rows], seen[rows])
    n, mean, covariance = tally.embedding()
    made = embed(seen, kept.part.embedding.width)
    assert n == 60
    assert mean == pytest.approx(made.mean(axis=0))
    assert covariance == pytest.approx(np.cov(made.T))
    assert embedding_of(seen[:10]) is None


def test_events_of_stretches_add_up_to_those_of_all():
    own = gates.follow(gates.STILL, 300, np.random.default_rng(3))
    curves = gates.right().survival(own.x)
    until = stretches(own.time[own.event], gates.GRID, 10)
    observed, expected = events_between(own.time, own.event, curves, gates.GRID, until)
    whole = event_counts(own.time, own.event, curves, gates.GRID)
    assert observed.min() >= 10
    assert until[-1] == gates.HORIZON
    assert observed.sum() == whole[0]
    assert expected.sum() == pytest.approx(whole[1])
    assert stretches(np.array([5.0, 9.0]), gates.GRID, 10) is None


def test_the_slope_of_the_true_risks_is_one():
    own = gates.follow(gates.STILL, 4000, np.random.default_rng(4))
    slope, error = outcome_slope(own.time, own.event, gates.right().survival(own.x)[:, -1], gates.HORIZON)
    assert slope == pytest.approx(1.0, abs=4 * error)
    assert error < 0.1
    flat = np.full(len(own.time), 0.5)
    assert outcome_slope(own.time, own.event, flat, gates.HORIZON) is None


# --- looks ----------------------------------------------------------------------------------------------------------


@cache
def _looks(population: gates.Population, batch: int) -> list[dict[str, bool]]:
    found = []
    for seed in range(FEW):
        rng = np.random.default_rng([seed, batch, 9])
        kept = gates.keep(gates.draw(gates.STILL, 300, rng))
        found.append(gates.alarms(gates.look(kept, gates.draw(population, batch, rng))))
    return found


def _alarms(population: gates.Population, batch: int, name: str) -> int:
    return sum(found[name] for found in _looks(population, batch))


@pytest.mark.parametrize("batch", [50, 200])
def test_an_unchanged_population_raises_few_alarms(batch):
    assert _alarms(gates.STILL, batch, "whole look") <= MOST


def test_mutant_without_control_of_false_discoveries_is_alarmed_always():
    assert _alarms(gates.STILL, 50, "no control") > 0.9 * FEW


@pytest.mark.parametrize(
    ("population", "part"),
    [
        (gates.Population(shift=0.5), "inputs"),
        (gates.Population(shift=0.5), "joint"),
        (gates.Population(missing=0.2), "missingness"),
        (gates.Population(shares=(0.3, 0.3, 0.4)), "memberships"),
    ],
)
def test_planted_drift_is_found(population, part):
    assert _alarms(population, 200, part) >= 0.8 * FEW


def test_scores_that_a_model_has_learned_from_are_no_yardstick():
    made = [gates.scorable("forest", 300, seed) for seed in range(10)]
    new = [np.random.default_rng([seed, 1]).normal(size=(1000, 20)) for seed in range(10)]
    assert sum(m.p(x, "both") <= 0.05 for m, x in zip(made, new, strict=True)) <= 4
    assert sum(m.p(x, "trained") <= 0.05 for m, x in zip(made, new, strict=True)) >= 9


def test_a_model_without_held_out_patients_has_no_yardstick():
    made = gates.scorable("linear", 100, 1)
    told = made.told.model_copy(update={"held_out": None})
    row = drift.score_row("model", told, made.predict(np.zeros((50, 20))))
    assert row["p_value"] is None
    assert row["method"] == drift.NO_HELD_OUT


def test_short_follow_up_is_no_drift_of_the_outcome_and_counting_shares_says_it_is():
    model, followed = gates.right(), gates.Population(follow_up=6.0)
    batches = [gates.follow(followed, 1000, np.random.default_rng([seed, 6])) for seed in range(FEW)]
    assert sum(gates.outcome_alarm(model, b) for b in batches) <= MOST
    assert sum(gates.naive_alarm(model, b) for b in batches) == FEW


def test_hazards_half_as_high_again_are_found():
    more = gates.Population(hazard=1.5)
    batches = [gates.follow(more, 300, np.random.default_rng([seed, 7])) for seed in range(20)]
    assert sum(gates.outcome_alarm(gates.learned(500, seed), b) for seed, b in enumerate(batches)) >= 16


def test_few_events_are_not_judged():
    few = gates.follow(gates.Population(follow_up=2.0), 100, np.random.default_rng(8))
    rows = gates.outcome_look(gates.right(), few)
    assert [r["method"] for r in rows] == [drift.UNRIPE]
    assert drift.judged(rows)[0]["q_value"] is None


def test_a_tiny_batch_is_not_tested():
    rng = np.random.default_rng(9)
    rows = gates.look(gates.keep(gates.draw(gates.STILL, 100, rng)), gates.draw(gates.STILL, 19, rng))
    assert all(r["p_value"] is None for r in rows)
    assert not any(r["flagged"] for r in drift.judged(rows))


def test_a_slope_between_the_ideal_and_what_was_seen_is_no_drift():
    told = gates.learned(300, 1).told
    far = told.model_copy(update={"held_out_slope": told.slope.model_copy(update={"value": 2.0, "error": 0.1})})
    events = (np.array(told.events.observed), np.array(told.events.expected))

    def p(slope: float) -> float:
        rows = list(drift.outcome_rows("model", far, events, (slope, 0.05), (0, 500)))
        return next(r["p_value"] for r in rows if r["quantity"] == "slope")

    assert p(1.4) == 1.0
    assert p(0.3) < 0.01
    assert p(4.0) < 0.01


def test_q_values_and_flags_agree_and_alarmed_parts_have_a_flag():
    rows = [
        {"part": "inputs", "p_value": 0.0001},
        {"part": "inputs", "p_value": 0.02},
        {"part": "scores", "p_value": 0.5},
        {"part": "missingness", "p_value": None},
        {"part": "outcome", "p_value": 0.01},
    ]
    made = drift.judged(rows)
    # A tenth of the error rate is that of the inputs, and nine tenths that of the scores.
    assert [r["flagged"] for r in made] == [True, False, False, False, True]
    q = [r["q_value"] for r in made if r["q_value"] is not None]
    assert q == pytest.approx([0.0002 / 0.1, 0.02 / 0.1, 0.5 / 0.9, 0.01])


def test_two_alarmed_parts_allow_each_other_twice_as_much():
    rows = [{"part": "inputs", "p_value": 0.001}, {"part": "memberships", "p_value": 0.1}]
    assert [r["flagged"] for r in drift.judged(rows)] == [True, False]
    rows[1]["p_value"] = 0.06
    made = drift.judged(rows)
    assert [r["flagged"] for r in made] == [True, True]  # 0.06 / 0.9 alone would be above 0.05
    assert [r["q_value"] for r in made] == pytest.approx([0.001 / 0.1 / 2, 0.06 / 0.9 / 2])


def test_the_error_rate_of_parts_that_were_not_tested_goes_to_the_others():
    assert drift.shares(drift.PARTS) == pytest.approx(
        {"inputs": 1 / 30, "joint": 1 / 30, "missingness": 1 / 30, "scores": 9 / 20, "memberships": 9 / 20}
    )
    assert drift.shares(["memberships", "inputs"]) == pytest.approx({"inputs": 0.1, "memberships": 0.9})
    assert drift.shares(["joint", "inputs"]) == pytest.approx({"inputs": 0.5, "joint": 0.5})
    assert drift.shares(["outcome"]) == {"outcome": 1.0}


# --- exit codes -----------------------------------------------------------------------------------------------------


def _drift(*rows: tuple[str, float | None, bool]) -> pl.DataFrame:
    base = {"scope": "x", "name": "", "quantity": "psi", "estimate": 0.1, "reference": None, "n_training": 100}
    made = [
        base | {"part": part, "p_value": p, "q_value": p, "flagged": flagged, "n_batch": 50, "method": "how"}
        for part, p, flagged in rows
    ]
    return tables.from_rows(made, tables.Drift)


@pytest.mark.parametrize(
    ("rows", "code", "said"),
    [
        ((("inputs", 0.5, False),), 0, "nothing drifted; the outcome was not judged"),
        ((("inputs", 0.01, True), ("inputs", 0.4, False), ("outcome", 0.5, False)), 10, "drifted: inputs (1 of 2)"),
        ((("inputs", 0.5, False), ("outcome", 0.01, True)), 20, "drifted: outcome (1 of 1)"),
        ((("scores", 0.01, True), ("outcome", 0.01, True)), 30, "drifted: outcome (1 of 1), scores (1 of 1)"),
        ((("inputs", None, False),), 1, "nothing could be tested"),
    ],
)
def test_exit_codes_tell_a_scheduler_what_drifted(tmp_path, capsys, rows, code, said):
    tables.write_table(_drift(*rows), tmp_path / "drift.parquet", tables.Drift)
    assert monitor.main([str(tmp_path / "drift.parquet")]) == code
    told = capsys.readouterr()
    assert said in told.out + told.err


def test_a_config_leads_to_its_table(tmp_path, capsys):
    from conftest import write_config, write_tiny

    config = write_config(write_tiny(tmp_path / "data"), tmp_path / "batch.yaml")
    assert monitor.main([str(config)]) == 1
    assert "results/monitor/drift.parquet" in capsys.readouterr().err
    results = tmp_path / "data/results"
    names = {"clinical": "clinical.tsv", "mrna": "mrna.tsv", "protein": "protein.tsv"}
    read = [{"name": name, "sha256": sha256(tmp_path / "data" / file)} for name, file in names.items()]
    for part in ("cohort/inputs.json", "applied/patients.parquet"):
        (results / part).parent.mkdir(parents=True)
        (results / part).write_text(json.dumps(read))
    tables.write_table(_drift(("inputs", 0.01, True)), results / "monitor/drift.parquet", tables.Drift)
    assert monitor.main([str(config)]) == 10
    (tmp_path / "broken.yaml").write_text("cohort: [")
    assert monitor.main([str(tmp_path / "broken.yaml")]) == 1
    capsys.readouterr()
    with open(tmp_path / "data/mrna.tsv", "a") as file:
        file.write("\n")
    assert monitor.main([str(config)]) == 1
    assert "was made of other data than" in capsys.readouterr().err
    later = (results / "monitor/drift.parquet").stat().st_mtime + 10
    os.utime(results / "cohort/inputs.json", (later, later))  # read anew, and refused before the end
    assert monitor.main([str(config)]) == 1
    assert "did not come to its end" in capsys.readouterr().err
    os.utime(results / "cohort/inputs.json", (0, 0))
    (results / "applied/patients.parquet").unlink()  # taken back by the run that failed
    assert monitor.main([str(config)]) == 1
    assert "did not come to its end" in capsys.readouterr().err


def test_a_table_that_is_none_is_a_failure(tmp_path, capsys):
    (tmp_path / "drift.parquet").write_bytes(b"PAR1 no table")
    assert monitor.main([str(tmp_path / "drift.parquet")]) == 1
    assert monitor.main([str(tmp_path / "absent.parquet")]) == 1
    assert "absent.parquet" in capsys.readouterr().err
