"""Subgroups at sites that the model has not seen: names, differences, their variance between sites, and floors."""

import numpy as np
import polars as pl
import pytest

from stratiome.config import EvaluationConfig
from stratiome.subgroups.batch import sites_table
from stratiome.subgroups.sites import site_labels, site_summary_table, site_survival_table
from stratiome.tables import Subgroups, from_rows

SETTINGS = EvaluationConfig(bootstraps=60)
TAU = 60.0


def cohort(rates, per_site=150, seed=0):
    """One site per entry of `rates`, the hazards of two subgroups; labels of a left-out site are turned round.

    Returns assignments of `full` and of every site, numbers of subgroups, and outcome.
    """
    rng = np.random.default_rng(seed)
    ids, where, group, time, event = [], [], [], [], []
    for s, pair in enumerate(rates):
        mine = rng.permutation(np.repeat([1, 2], [per_site * 2 // 3, per_site - per_site * 2 // 3]))
        death = rng.exponential(1 / np.array(pair)[mine - 1])
        end = rng.uniform(40, 160, per_site)
        ids += [f"{s}-{i:04d}" for i in range(per_site)]
        where += [s] * per_site
        group += mine.tolist()
        time += np.minimum(death, end).tolist()
        event += (death <= end).astype(int).tolist()
    rows = []
    for resample in ("full", *(f"site-{s}" for s in range(len(rates)))):
        for p, w, g in zip(ids, where, group, strict=True):
            held = resample == f"site-{w}"
            label = g if resample == "full" else 3 - g
            rows.append({"patient_id": p, "resample": resample, "role": "test" if held else "train", "model": "vae"}
                        | {"subgroup": label, "probability": 0.9})  # fmt: skip
    counts = {(r, "vae"): 2 for r in ("full", *(f"site-{s}" for s in range(len(rates))))}
    outcome = pl.DataFrame({"patient_id": ids, "time_months": time, "event": event})
    return from_rows(rows, Subgroups), counts, outcome, dict(zip(ids, group, strict=True))


def tables_of(rates, **changes):
    found, counts, outcome, truth = cohort(rates, **changes)
    labels = site_labels(found, counts)
    survival = site_survival_table(labels, outcome, counts, TAU, 0.95)
    agreement = sites_table(found, counts, outcome, SETTINGS, 1)
    return labels, survival, agreement, site_summary_table(agreement, survival, SETTINGS), truth


def restricted(rate):
    return (1 - np.exp(-rate * TAU)) / rate


def of(summary, quantity="rmst_difference"):
    (row,) = summary.filter(pl.col("quantity") == quantity).to_dicts()
    return row


def test_labels_of_a_left_out_site_carry_the_names_of_all_patients():
    labels, *_, truth = tables_of([(0.01, 0.03)] * 3)
    assert labels.height == 450
    assert all(truth[p] == s for p, s in labels.select("patient_id", "subgroup").iter_rows())


def test_the_same_difference_everywhere_is_that_difference():
    """Errors fit the differences of 72 sites (bounds: three standard errors), and no spread is found as a rule."""
    true, away, spreads = restricted(0.03) - restricted(0.008), [], []
    for seed in range(12):
        _, survival, agreement, summary, _ = tables_of([(0.008, 0.03)] * 6, per_site=240, seed=seed)
        row = of(summary)
        away += ((survival["estimate"] - true) / survival["standard_error"]).to_list()
        spreads.append(row["spread"])
    assert np.std(away) == pytest.approx(1.0, abs=0.25)
    assert np.mean(away) == pytest.approx(0.0, abs=3 / np.sqrt(72))
    assert np.median(spreads) < 2
    assert (row["subgroup"], row["versus"]) == (2, 1)  # the smaller one against the larger
    assert row["lower"] < true < row["upper"]
    assert row["prediction_upper"] < 0
    assert (row["sites"], row["of"], row["n"]) == (6, 6, 6 * 240)
    assert survival["held_out"].all()
    assert agreement["estimate"].to_list() == pytest.approx([1.0] * 6)
    same = of(summary, "adjusted_rand_index")
    assert same["estimate"] > 0.99  # complete agreement in finitely many patients has an error, and is summarised
    assert same["lower"] < same["upper"] <= 1.0


def test_differences_that_turn_round_between_sites_are_expected_to_do_so_again():
    rates = [(0.01, 0.04), (0.04, 0.01), (0.01, 0.02), (0.02, 0.02)]
    _, survival, _, summary, _ = tables_of(rates, per_site=300)
    row = of(summary)
    true = np.std([restricted(b) - restricted(a) for a, b in rates], ddof=1)
    assert row["spread"] == pytest.approx(true, rel=0.35)
    assert row["prediction_lower"] < 0 < row["prediction_upper"]
    assert survival["estimate"].null_count() == 0


def test_groups_that_live_alike_are_not_told_apart():
    found = [of(tables_of([(0.02, 0.02)] * 4, seed=s)[3]) for s in range(20)]
    beyond = sum(row["lower"] > 0 or row["upper"] < 0 for row in found)
    assert beyond <= 3  # the modified interval errs in at most 5 %: 1 of 20 expected, 4 or more have p = 0.016


def test_sites_with_few_patients_or_events_of_a_group_are_told():
    _, survival, _, summary, _ = tables_of([(0.01, 0.03)] * 3, per_site=45)
    assert set(survival["method"]) == {"not estimable: fewer than 20 patients in one of both"}
    row = of(summary)
    assert row["estimate"] is None
    assert row["method"].startswith("not estimable: 0 of 3 sites have an estimate, 3 are needed")
    _, survival, _, _, _ = tables_of([(1e-5, 0.03)] * 3)
    assert set(survival["method"]) == {"not estimable: fewer than 5 events in one of both"}


def test_one_group_has_no_differences():
    found, counts, outcome, _ = cohort([(0.01, 0.03)] * 3)
    one = found.with_columns(subgroup=pl.lit(1, dtype=pl.Int64))
    alone = dict.fromkeys(counts, 1)
    survival = site_survival_table(site_labels(one, alone), outcome, alone, TAU, 0.95)
    assert survival.is_empty()
    agreement = sites_table(one, alone, outcome, SETTINGS, 1)
    assert of(site_summary_table(agreement, survival, SETTINGS), "adjusted_rand_index")["estimate"] is None
