"""Gates of treatment effects with few replicates; full size in `tests/benchmarks/treatment_gates.py`."""

import numpy as np

import effect_gates as gates
import strategy_gates
import subgroup_effect_gates as subgroups


def test_differences_that_are_not_there_are_found_on_training_patients_only():
    found = [gates.no_differences(s) for s in range(40)]
    share = {key: np.mean([f[key] for f in found]) for key in found[0]}
    assert share["rank-weighted, training patients"] > 0.8
    assert share["calibration slope, training patients"] > 0.8
    assert max(v for key, v in share.items() if key.endswith("held out")) <= 0.2


def test_one_right_model_is_enough_and_two_wrong_ones_are_not():
    found = [gates.four_cells(s, folds=2) for s in range(25)]
    off = {cell: np.array([f[cell]["error of survival"] for f in found]) for cell in gates.CELLS}
    for cell in list(gates.CELLS)[:3]:
        assert abs(off[cell].mean()) < 3.5 * off[cell].std(ddof=1) / 5
    assert off["both wrong"].mean() < -0.1
    assert np.mean([f["both right"]["survival covered"] for f in found]) >= 0.84


def test_unpenalised_weights_balance_exactly_and_penalised_ones_do_not():
    found = [subgroups.balance(s) for s in range(10)]
    assert max(f["ours"] for f in found) < 1e-8
    assert min(f["penalised"] for f in found) > 1e-3


def test_subgroups_that_do_not_differ_are_found_to_by_labels_from_the_same_outcomes_only():
    share = subgroups.shares(subgroups.no_interaction, range(50))
    assert max(v for key, v in share.items() if key.endswith("held-out labels")) <= 0.18
    assert share["months, labels from the same outcomes"] > 0.5


def test_a_subgroup_that_benefits_and_one_that_is_harmed_are_found():
    share = subgroups.shares(subgroups.power, range(20))
    assert share["difference found, planted labels"] >= 0.8
    assert share["truth covered, planted labels"] >= 0.83
    assert share["truth covered, unweighted, planted labels"] < 0.83


def test_a_drug_that_does_nothing_looks_as_if_where_start_times_count():
    found = [gates.inert_drug(s) for s in range(40)]
    values = {key: np.array([f[key] for f in found]) for key in found[0]}
    for key in ("landmark", "counting process", "clone-censor-weight"):
        assert abs(values[key].mean()) < 3.5 * values[key].std(ddof=1) / np.sqrt(40)
    assert np.exp(values["ever treated"].mean()) < 0.5
    assert values["copies without weights of confounders"].mean() > 0.1
    assert values["ever treated, survival"].mean() > 0.2


def test_intervals_of_strategies_hold_the_truth_unless_confounders_are_left_out():
    for name in strategy_gates.RATIOS:
        found = [strategy_gates.strategies(s, name, bootstraps=40) for s in range(25)]
        assert np.mean([f["survival covered"] for f in found]) >= 0.8
        blind = [strategy_gates.strategies(s, name, bootstraps=40, blind=True) for s in range(10)]
        assert np.mean([f["survival covered"] for f in blind]) < 0.5


def test_no_rule_is_recommended_where_none_is_right_unless_it_is_judged_by_those_it_was_learned_from():
    null = [gates.policies(s, "no effect") for s in range(30)]
    constant = [gates.policies(s, "constant effect") for s in range(30)]
    planted = [gates.policies(s, "helps half, harms half", 600) for s in range(20)]
    share = {k: [np.mean([f[k] for f in found]) for found in (null, constant, planted)] for k in null[0]}
    assert max(share["recommended, held out"][:2]) <= 0.1
    assert share["recommended, training patients"][0] > 0.2
    assert share["recommended, held out"][2] > 0.6
    for rule in ("tree", "threshold"):
        lost = share[f"{rule}, months over the better of all and none"]
        assert max(lost[:2]) < 0 < 1 < lost[2]
