"""The page on a bundle in another cohort says what its numbers say, and no small count."""

from __future__ import annotations

import pytest

from stratiome import tables
from stratiome.report.outcome_words import OutcomeWords
from stratiome.report.validation import Validation, render, subgroup_verdict, verdict

CARD = {
    "n": 400,
    "events": 150,
    "intended_use": "Research use only.",
    "out_of_scope": "Decisions.",
    "covariates": ["age"],
    "stratiome": "0.1.0",
}


def _metric(metric, estimate, lower, upper, *, model="stacked", versus=None, update="as is"):
    row = {"estimate": estimate, "lower": lower, "upper": upper, "n": 200, "events": 80, "method": "how"}
    horizon = None if metric in ("uno_c", "ibs") else 60.0
    keys = {"update": update, "model": model, "metric": metric, "horizon_months": horizon, "versus": versus}
    return row | {"held_out": True} | keys


def _page(
    c, slope=(1.0, 0.8, 1.2), ratio=(1.0, 0.9, 1.1), more=(), far=12, subgroups=(), effects=(), order=(), aligned=False
) -> Validation:
    metrics = [
        _metric("uno_c", *c),
        _metric("calibration_slope", *slope),
        _metric("observed_expected", *ratio),
        *more,
    ]
    patients = [
        {
            "patient_id": f"SECRET{i}",
            "omics": "rna" if i < 195 else "",
            "missing": 0.1,
            "outside": 0.02,
            "unusual": 0.5,
            "covariates_missing": 0.0,
            "covariates_outside": 0.0,
            "out_of_distribution": i < far,
            "subgroup": 1,
            "probability": 0.9,
        }
        for i in range(200)
    ]
    omics = [{"omic": "rna", "features_asked": 50, "features_found": 45, "patients": 195, "note": ""}]
    omics = [o | {"aligned": aligned} for o in omics]
    return Validation(
        "There",
        "Here",
        CARD,
        "ab" * 32,
        tables.from_rows(patients, tables.ScoredPatients),
        tables.from_rows(omics, tables.ScoredOmics),
        tables.from_rows(metrics, tables.ExternalMetrics),
        tables.from_rows(list(subgroups), tables.ExternalSubgroups),
        10,
        "95 %",
        OutcomeWords(),
        tables.from_rows(list(effects), tables.ExternalEffects),
        tables.from_rows(list(order), tables.ExternalOrder),
        {"drug": "drug A"},
    )


@pytest.mark.parametrize(
    ("numbers", "tone", "said"),
    [
        ({"c": (0.7, 0.65, 0.75)}, "yes", "and its risks agree with what happened"),
        ({"c": (0.7, 0.65, 0.75), "slope": (1.3, 0.4, 2.4)}, "mixed", "intervals are too wide to say that they agree"),
        ({"c": (0.7, 0.65, 0.75), "ratio": (1.6, 1.3, 1.9)}, "mixed", "its risks are off: too low on average."),
        ({"c": (0.7, 0.65, 0.75), "slope": (0.5, 0.3, 0.7)}, "mixed", "its risks are off: too extreme."),
        ({"c": (0.53, 0.47, 0.6)}, "no", "No evidence that the stacked model orders these patients by risk."),
        ({"c": (0.53, 0.47, 0.6), "ratio": (0.6, 0.5, 0.7)}, "no", "and its risks are too high on average."),
        ({"c": (0.4, 0.35, 0.45)}, "harm", "orders these patients the wrong way round"),
        ({"c": (None, None, None)}, "unknown", "Not estimable"),
    ],
)
def test_the_answer_follows_the_intervals(numbers, tone, said):
    found = verdict(_page(**numbers))
    assert found.tone == tone
    assert said in found.answer


def test_a_model_that_is_no_better_than_clinical_variables_is_told_so():
    page = _page((0.7, 0.65, 0.75), more=[_metric("uno_c", 0.01, -0.01, 0.03, versus="clinical")])
    assert "No evidence that it orders them better than clinical variables alone." in verdict(page).caveat
    worse = _page((0.7, 0.65, 0.75), more=[_metric("uno_c", -0.02, -0.03, -0.01, versus="clinical")])
    assert "It orders them worse than clinical variables alone." in verdict(worse).caveat
    better = _page((0.7, 0.65, 0.75), more=[_metric("uno_c", 0.04, 0.01, 0.07, versus="clinical")])
    assert "No evidence" not in verdict(better).caveat


def test_nobody_is_named_and_no_small_count_told():
    page = render(_page((0.7, 0.65, 0.75), far=7))
    assert "SECRET" not in page
    assert "fewer than 10" in page
    assert "&lt;10" in page
    assert "7 of 200" not in page


def test_numbers_of_the_page_are_those_of_the_table():
    more = [_metric("observed_expected", 1.03, 0.91, 1.17, update="baseline")]
    page = render(_page((0.71234, 0.65, 0.75), more=more))
    assert "0.712" in page
    assert "0.91 to 1.17" in page


def test_subgroups_are_shown_with_what_speaks_for_them():
    base = {"lower": None, "upper": None, "n": 90, "events": 30, "method": "how", "held_out": True, "versus": None}
    rows = []
    for g, p in ((1, 0.002), (2, 0.4)):
        own = base | {"subgroup": g, "tau_months": None}
        rows.append(own | {"quantity": "sharpness", "estimate": 0.93, "p_value": p})
        rows.append(own | {"quantity": "in_group_proportion", "estimate": 0.88, "p_value": None})
        means = {"estimate": 30.0 + g, "lower": 28.0, "upper": 33.0, "tau_months": 60.0, "p_value": None}
        rows.append(own | {"quantity": "rmst"} | means)
    rows.append(base | {"quantity": "log_rank", "subgroup": None, "tau_months": None, "estimate": 5.0, "p_value": 0.03})
    page = render(_page((0.7, 0.65, 0.75), subgroups=rows))
    assert "In part: evidence for subgroup 1, none for subgroup 2." in page
    assert "up to 60 months" in page
    assert "0.002" in page
    assert "0.40" in page
    assert "Log-rank test of all: p = 0.030" in page


@pytest.mark.parametrize(
    ("p_values", "tone", "said"),
    [((0.4, 0.8), "no", "No evidence that they are"), ((0.002, 0.01), "yes", "Yes: patients are surer")],
)
def test_whether_subgroups_are_here_follows_their_tests(p_values, tone, said):
    base = {"lower": None, "upper": None, "n": 90, "events": 30, "method": "how", "held_out": True, "versus": None}
    own = base | {"quantity": "sharpness", "estimate": 0.9, "tau_months": None}
    rows = [own | {"subgroup": g + 1, "p_value": p} for g, p in enumerate(p_values)]
    found = subgroup_verdict(_page((0.7, 0.65, 0.75), subgroups=rows))
    assert found.tone == tone
    assert said in found.answer


def test_one_group_is_nothing_to_find_again():
    assert "there is nothing to find again" in render(_page((0.7, 0.65, 0.75)))


def test_a_small_share_out_of_distribution_says_little_of_aligned_features():
    assert "a small share says little here" in render(_page((0.7, 0.65, 0.75), far=0, aligned=True))
    assert "a small share says little here" not in render(_page((0.7, 0.65, 0.75), far=0))


def test_the_foot_of_the_page_names_no_config():
    page = render(_page((0.7, 0.65, 0.75)))
    assert ", config " not in page
    assert "ab" * 32 in page  # the digest of the bundle, as such
