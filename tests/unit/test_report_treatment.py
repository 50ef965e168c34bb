"""Average effects by several estimators in the report: what is shown, and what is said where they disagree."""

from __future__ import annotations

import dataclasses

import pytest

import report_fixtures as fixtures
from stratiome import tables
from stratiome.config import TreatmentConfig
from stratiome.report import section_treatment
from stratiome.report.inputs import CONTRACTS, ReportInputs


def changed(inputs: ReportInputs, **frames: list[dict]) -> ReportInputs:
    new = {name: tables.from_rows(rows, CONTRACTS[name]) for name, rows in frames.items()}
    return dataclasses.replace(inputs, tables=dict(inputs.tables) | new)


def averages(inputs: ReportInputs) -> list:
    return section_treatment._averages(inputs, "treatment")


def test_every_estimator_and_population_has_a_line():
    (table,) = averages(fixtures.inputs("demo"))
    assert [row[:2] for row in table.rows] == [
        ["Doubly robust", "all eligible"],
        ["Doubly robust", "propensity 0.05 to 0.95"],
        ["Doubly robust", "overlap"],
        ["Inverse probability", "propensity 0.05 to 0.95"],
    ]
    assert table.rows[0][2:4] == ["593 / 290", "+1.2 (0.1 to 2.3)"]
    assert table.head[-3:] == ["Percentage points at 36 mo", "Percentage points at 60 mo", "Method"]
    assert len(table.notes) == len({row[-1] for row in table.rows})


def test_estimates_that_disagree_are_told():
    inputs = fixtures.inputs("demo")
    rows = inputs.rows("treatment_averages")
    moved = {"estimate": 0.2, "lower": -0.9, "upper": 1.3}
    other = [r | moved if (r["population"], r["estimand"]) == ("overlap", "rmst_difference") else r for r in rows]
    note, _ = averages(changed(inputs, treatment_averages=other))
    assert note.tone == "care"
    assert "+1.3 (0.1 to 2.5) months by the curves, +0.2 (-0.9 to 1.3) by the doubly robust" in note.text.replace(
        "−", "-"
    )
    elsewhere = [r | moved if (r["population"], r["estimand"]) == ("all", "rmst_difference") else r for r in rows]
    assert len(averages(changed(inputs, treatment_averages=elsewhere))) == 1  # other patients, another number


def test_an_answer_that_only_one_estimate_gives_is_withheld():
    inputs = fixtures.inputs("demo")
    assert section_treatment.verdict(inputs, "treatment").tone not in ("mixed", "unknown")
    moved = {"estimate": 0.2, "lower": -0.9, "upper": 1.3}
    rows = [
        r | (moved if (r["population"], r["estimand"]) == ("overlap", "rmst_difference") else {})
        for r in inputs.rows("treatment_averages")
    ]
    shown = changed(inputs, treatment_averages=rows)
    found = section_treatment.verdict(shown, "treatment")
    assert found.tone == "mixed"
    assert found.answer == ("Not answered: two estimates of the average effect in the same patients do not agree.")
    assert [value.replace("−", "-") for _, value in found.facts[:2]] == ["+1.3 (0.1 to 2.5)", "+0.2 (-0.9 to 1.3)"]
    assert "The cohort may be too small, or one of the models" in averages(shown)[0].text
    far = [r | {"estimate": -3.0, "lower": -4.0, "upper": -2.0} if r["estimate"] == 0.2 else r for r in rows]
    assert "Probably one of the models" in averages(changed(inputs, treatment_averages=far))[0].text


def test_a_confounder_that_tells_the_outcome_voids_the_answer_and_another_column_does_not():
    inputs = fixtures.inputs("demo")
    sound = section_treatment.verdict(inputs, "treatment")

    def told(column: str) -> ReportInputs:
        note = {"scope": "clinical table", "file": "c.tsv", "note": f"covariate `{column}` {tables.TELLS_OUTCOME} (x)"}
        return changed(inputs, notes=[*inputs.rows("notes"), note])

    found = section_treatment.verdict(told("marker"), "treatment")
    assert found.tone == "unknown"
    assert found.answer.startswith("Not answered: confounder `marker` nearly tells who has the event")
    assert section_treatment.verdict(told("sex"), "treatment") == sound


def test_averages_that_could_not_be_made_say_why_once():
    inputs = fixtures.inputs("demo")
    none = {"estimate": None, "lower": None, "upper": None, "method": "not estimable: fewer than 20 patients in an arm"}
    blocks = averages(changed(inputs, treatment_averages=[r | none for r in inputs.rows("treatment_averages")]))
    assert [b.text for b in blocks] == [
        "No doubly robust estimate, nor one with inverse probability weights: fewer than 20 patients in an arm."
    ]
    assert averages(changed(inputs, treatment_averages=[])) == []


# --- differences between patients -------------------------------------------------------------------------------------


def told(inputs: ReportInputs) -> str:
    said = []
    for block in section_treatment.differences(inputs, "treatment"):
        if getattr(block, "kind", "") == "table":
            said += [" ".join(c.text if hasattr(c, "text") else c for c in row) for row in block.rows]
        said += [str(getattr(block, name)) for name in ("text", "caption", "note") if hasattr(block, name)]
    return " ".join(said)


def test_what_the_effect_differs_with_is_named_and_nothing_else():
    said = told(fixtures.inputs("demo"))
    assert (
        "The effect differs with the predicted effect (p = 0.001): among held-out patients, as an association." in said
    )
    assert "No evidence that the effect differs by risk, clinical variable or predicted effect" in told(
        fixtures.inputs("null")
    )


def test_an_uncorrected_p_value_of_a_covariate_claims_nothing():
    inputs = fixtures.inputs("null")
    rows = [
        r | ({"p_value": 0.02, "p_holm": 0.06} if r["kind"] == "covariate" else {})
        for r in inputs.rows("treatment_difference_tests")
    ]
    assert "No evidence that" in told(changed(inputs, treatment_difference_tests=rows))
    sure = [r | ({"p_holm": 0.01} if r["variable"] == "sex" else {}) for r in rows]
    assert "The effect differs with sex (p = 0.01" in told(changed(inputs, treatment_difference_tests=sure))


def test_predictions_that_rank_the_wrong_way_round_have_failed():
    inputs = fixtures.inputs("demo")
    wrong = {"estimate": -1.1, "lower": -2.1, "upper": -0.1, "p_value": 0.039}
    tests = inputs.rows("treatment_difference_tests")
    ranked = [r for r in tests if r["test"] == "rank-weighted average"]
    rows = [r | (wrong if r["test"] == "rank-weighted average" else {}) for r in tests]
    rows += [r | {"variable": "forest", "estimate": 0.1, "lower": -0.5, "upper": 0.7, "p_value": 0.7} for r in ranked]
    said = told(changed(inputs, treatment_difference_tests=rows))
    assert "The effect differs with" not in said
    assert "Predicted effects do not hold in held-out patients" in said
    assert "gained less (p = 0.039)" in said
    assert "that of combination of all learners lies wholly below 0 (the wrong way round)" in said
    assert "the interval of each other learner includes 0" in said


def test_a_difference_in_a_trial_is_no_association():
    inputs = fixtures.inputs("demo")
    trial = {"treatment": TreatmentConfig(column="treatment", design="randomised")}
    found = dataclasses.replace(inputs, settings=dataclasses.replace(inputs.settings, treatments=trial))
    assert "The effect differs with the predicted effect (p = 0.001): among held-out patients. " in told(found)
    assert "treatment alone, not weighted" in told(found)
    assert "treatment alone, with overlap weights of the held-out propensity" in told(inputs)
    assert "A constant hazard ratio" not in told(inputs)


def test_small_groups_are_suppressed():
    inputs = fixtures.inputs("demo")
    rows = [
        r | ({"n": 40, "n_treated": 3, "events": 2} if r["group"] == "male" else {})
        for r in inputs.rows("treatment_differences")
    ]
    said = told(changed(inputs, treatment_differences=rows))
    assert "too few" in said
    assert " 40 / 3 " not in said


def test_no_held_out_patients_are_told():
    inputs = changed(fixtures.inputs("demo"), treatment_differences=[], treatment_difference_tests=[])
    assert "Not asked: too few patients were held out" in told(inputs)


def test_how_strong_an_unmeasured_confounder_would_have_to_be_is_said():
    said = section_treatment._unmeasured(fixtures.inputs("demo"), "treatment")
    assert "hazard ratio of 0.80 away" in said
    assert "a risk ratio of 1.60 each" in said
    assert "1.20 would do for the interval" in said
    assert "includes 1, so no such cause" in section_treatment._unmeasured(fixtures.inputs("null"), "treatment")
    none = changed(fixtures.inputs("demo"), treatment_sensitivity=[])
    assert section_treatment._unmeasured(none, "treatment") == ""


def test_few_patients_outside_the_trimmed_population_are_not_told_by_subtraction():
    inputs = fixtures.inputs("demo")
    rows = [r | ({"n": 591, "n_treated": 289} if r["n"] == 540 else {}) for r in inputs.rows("treatment_averages")]
    (table,) = averages(changed(inputs, treatment_averages=rows))
    assert [row[2] for row in table.rows] == ["593 / 290", ">583 / >280", "593 / 290", ">583 / >280"]


def test_group_sizes_do_not_add_up_to_who_was_left_out():
    inputs = fixtures.inputs("demo")
    rows = inputs.rows("treatment_differences")
    quarter = {"lowest quarter": 149, "second quarter": 148, "third quarter": 147, "highest quarter": 147}
    near = [r | {"n": quarter.get(r["group"], r["n"]), "events": 89} for r in rows]  # 591 of 593, 356 of 360
    blocks = section_treatment.differences(changed(inputs, treatment_differences=near), "treatment")
    table = next(b for b in blocks if getattr(b, "caption", "").startswith("Effect by group, absolute"))
    assert [row[2].split(" / ")[0] for row in table.rows[:4]] == ["≈150"] * 4
    assert [row[2].split(" / ")[0] for row in table.rows[4:7]] == ["186"] * 3
    figure = next(b for b in blocks if getattr(b, "kind", "") == "figure")
    assert figure.caption.startswith("n >583, >350 events; ")


def test_an_event_that_is_not_death_is_called_by_its_name():
    inputs = fixtures.inputs("demo")
    relapse = dataclasses.replace(inputs, settings=dataclasses.replace(inputs.settings, event_name="relapse"))
    said = section_treatment.verdict(relapse, "treatment").answer
    assert "free of relapse" in said
    assert "live" not in said
    assert section_treatment.estimand_name(relapse, "survival_difference") == "Free of relapse, percentage points"
    assert "live" in section_treatment.verdict(inputs, "treatment").answer


# --- whom to treat, and patients like a profile -----------------------------------------------------------------------


def said_by(blocks: list) -> str:
    said = []
    for block in blocks:
        if getattr(block, "kind", "") == "fold":
            said += [block.summary, said_by(block.blocks)]
        if getattr(block, "kind", "") == "table":
            said += [" ".join(f"{c.text} {c.below}" if hasattr(c, "text") else c for c in row) for row in block.rows]
        said += [str(getattr(block, name)) for name in ("text", "caption", "note") if hasattr(block, name)]
    return " ".join(said).replace("−", "-")


def test_a_rule_that_is_recommended_is_told_with_what_it_gains_and_in_words():
    blocks = section_treatment.policy(fixtures.inputs("demo"), "treatment")
    said = said_by(blocks)
    assert (
        "the decision tree gains +3.1 (1.7 to 4.5) months per patient over treating everybody and +4.2 (2.8 to 5.6)"
        " over treating nobody (p = 0.002 for both, corrected for the number of rules)." in said
    )
    assert "As an association" in said
    tree = next(b for b in blocks if getattr(b, "kind", "") == "table")
    assert [row[:2] for row in tree.rows] == [
        ["Age at most 63.2", "Do not treat"],
        ["Age above 63.2 and not in subgroup 1", "Do not treat"],
        ["Age above 63.2 and in subgroup 1", "Treat"],
    ]
    assert [row[2] for row in tree.rows] == ["≈200", "275", "<10"]
    fold = next(b for b in blocks if getattr(b, "kind", "") == "fold")
    assert "not recommended" in fold.summary
    assert "predicted effect above -0.51 months" in said_by(fold.blocks).lower()


def test_a_threshold_that_treats_the_harmed_is_not_printed_bare():
    inputs = fixtures.inputs("demo")
    said = said_by(section_treatment.policy(inputs, "treatment"))
    assert "for whom harm is predicted, those between the limit and 0: this rule is not recommended" in said
    assert "Of these held-out patients, as decided by rules that were learned without them" in said
    assert "Counted here are the patients it was learned from" in said
    none = said_by(section_treatment.policy(fixtures.inputs("null"), "treatment"))
    assert "those between the limit and 0: no rule is recommended" in none
    trees = inputs.rows("treatment_policy_trees")
    gain = [r | ({"threshold": 0.51} if r["kind"] == "predicted effect" else {}) for r in trees]
    said = said_by(section_treatment.policy(changed(inputs, treatment_policy_trees=gain), "treatment"))
    assert "harm is predicted" not in said


def test_without_spread_no_threshold_is_printed():
    inputs = fixtures.inputs("demo")
    flat = [r | {"spread": 0.0} for r in inputs.rows("treatment_learners")]
    said = said_by(section_treatment.policy(changed(inputs, treatment_learners=flat), "treatment"))
    assert "No threshold of the predicted effect is printed" in said
    assert "redicted effect above" not in said


def test_no_recommendation_is_an_answer():
    blocks = section_treatment.policy(fixtures.inputs("null"), "treatment")
    assert "No rule is recommended" in said_by(blocks)
    assert not [b for b in blocks if getattr(b, "kind", "") == "table"]  # no tree to follow in the open
    assert section_treatment.policy(changed(fixtures.inputs("null"), treatment_policy=[]), "treatment")[1].text == (
        "No rule was learned: too few training patients could have had either."
    )


def test_patients_like_a_profile_are_shown_or_it_is_said_why_not():
    blocks = section_treatment.profiles(fixtures.inputs("demo"), "treatment")
    said = said_by(blocks)
    assert "The average for patients like this" in said
    assert "Older age 75, stage III 61 +3.3 (1.3 to 5.3) +6.0 (2.0 to 10.0)" in said
    assert "Too old is not shown: age 99 is outside the range of the eligible patients." in said
    assert "Too old age 99 <10 – – – –" in said
    panels = next(b for b in blocks if getattr(b, "kind", "") == "panels")
    assert [title for title, _ in panels.figures] == ["Older"]
    assert "Untreated" in panels.figures[0][1]
    none = changed(fixtures.inputs("demo"), treatment_profiles=[], treatment_profile_effects=[])
    assert section_treatment.profiles(none, "treatment") == []


def test_every_subgroup_has_curves_of_both_arms():
    (panels,) = section_treatment.subgroup_curves(fixtures.inputs("demo"), "treatment", "overlap")
    assert [title for title, _ in panels.figures] == ["Subgroup 1", "Subgroup 2", "Subgroup 3"]
    assert all("Treated" in svg and "Untreated" in svg for _, svg in panels.figures)
    assert section_treatment.subgroup_curves(fixtures.inputs("null"), "treatment", "overlap") == []


def test_where_no_learner_tells_who_benefits_it_is_said():
    assert "No learner tells who benefits more" in told(fixtures.inputs("null"))
    demo = fixtures.inputs("demo")
    assert "who benefits more" not in told(demo)
    tests = demo.rows("treatment_difference_tests")
    ranked = [r for r in tests if r["test"] == "rank-weighted average"]
    weak = {"estimate": 0.1, "lower": -0.5, "upper": 0.7, "p_value": 0.7}
    rows = [r | weak if r["test"] == "rank-weighted average" else r for r in tests]
    rows += [r | {"variable": "forest"} for r in ranked]
    said = told(changed(demo, treatment_difference_tests=rows))
    assert (
        "without correction for their number, the interval of survival forest of each arm lies above 0: nothing is"
        in said
    )
    assert "No evidence that the effect differs by risk, clinical variable or predicted effect" in said


def test_whether_those_put_first_gain_more_is_drawn_and_told():
    said = said_by(section_treatment.differences(fixtures.inputs("demo"), "treatment"))
    assert "differ by 1.9 months (standard deviation) about an average of 1.2 months" in said
    same = changed(
        fixtures.inputs("demo"),
        treatment_targeting=[],
        treatment_learners=[r | {"spread": 0.0} for r in fixtures.inputs("demo").rows("treatment_learners")],
    )
    assert "gives every patient of a fold the same effect" in said_by(section_treatment.differences(same, "treatment"))


def test_who_the_comparison_is_about_is_told_and_few_are_not():
    inputs = fixtures.inputs("demo")
    balance = inputs.rows("treatment_balance", treatment="treatment", subgroup=0)
    blocks = section_treatment._population(inputs, "treatment", balance)
    table = next(b for b in blocks if getattr(b, "kind", "") == "table")
    assert table.rows[0] == ["Age", "61.8", "64.2"]
    assert [row[1:] for row in table.rows[3:]] == [["few", "–"], ["48 %", "50 %"]]
    away = [
        r | {"n": 300 if r["bin_upper"] <= 0.05 and r["arm"] == 0 else r["n"]} for r in inputs.rows("treatment_overlap")
    ]
    warned = section_treatment._population(changed(inputs, treatment_overlap=away), "treatment", balance)
    assert "of the untreated have a propensity below 0.05" in said_by(warned)


def test_a_negative_control_that_shows_a_difference_is_said_beside_the_answer():
    inputs = fixtures.inputs("demo")
    assert "onfounded" not in section_treatment.verdict(inputs, "treatment").caveat
    rows = inputs.rows("treatment_robustness")
    told = [r | {"estimate": 3.0, "lower": 0.9} if r["check"] == "negative control" else r for r in rows]
    shown = changed(inputs, treatment_robustness=told)
    assert (
        "Probably confounded: treated patients go longer without death by accident"
        in section_treatment.verdict(shown, "treatment").caveat
    )
    said = said_by(section_treatment.robustness(shown, "treatment", "overlap"))
    assert "differ in death by accident, which the treatment is taken not to change" in said
    assert "no proof" in said_by(section_treatment.robustness(inputs, "treatment", "overlap"))


# --- what a change of the analysis does -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "other", "said"),
    [
        ((1.0, -0.5, 2.5), (1.2, 0.1, 2.3), "seen only when one thing is changed (propensity: with 16 latent"),
        ((1.5, 0.5, 2.5), (0.9, -0.1, 1.9), "is no longer clear with propensity: with 16 latent dimensions."),
        ((1.5, 0.5, 2.5), (-0.2, -1.2, 0.8), "turns round with propensity: with 16 latent dimensions."),
        ((0.2, -0.8, 1.2), (-0.2, -1.2, 0.8), ""),
        ((1.5, 0.5, 2.5), (1.1, 0.1, 2.1), ""),
    ],
)
def test_a_change_that_turns_what_is_concluded_is_named(main, other, said):
    inputs = fixtures.inputs("demo")
    moved = {"main analysis": main, "omics in propensity": other}
    rows = [
        r | dict(zip(("estimate", "lower", "upper"), moved.get(r["check"], main), strict=True))
        for r in inputs.rows("treatment_robustness")
    ]
    shown = changed(inputs, treatment_robustness=rows, treatment_averages=_moved(inputs, main))
    caveat, section = section_treatment.verdict(shown, "treatment").caveat, section_treatment.robustness
    text = said_by(section(shown, "treatment", "overlap"))
    if said:
        assert said in caveat
        assert said in text
    else:
        assert all(s not in caveat + text for s in ("seen only", "no longer clear", "turns round"))


def _moved(inputs: ReportInputs, ends: tuple[float, float, float], population: str | None = None) -> list[dict]:
    """Averages by other estimators at an estimate with its interval, all or those of one population."""
    moved = dict(zip(("estimate", "lower", "upper"), ends, strict=True))
    return [
        r | (moved if r["estimand"] == "rmst_difference" and population in (None, r["population"]) else {})
        for r in inputs.rows("treatment_averages")
    ]


def test_other_estimators_are_among_the_changes_and_shorter_means_are_not():
    inputs = fixtures.inputs("demo")
    ends = {"restriction time": (0.2, -0.8, 1.2)}
    rows = [
        r | dict(zip(("estimate", "lower", "upper"), ends.get(r["check"], (1.5, 0.5, 2.5)), strict=True))
        for r in inputs.rows("treatment_robustness")
    ]
    averages = _moved(inputs, (0.9, -0.4, 2.2), "all")
    caveat = section_treatment.verdict(
        changed(inputs, treatment_robustness=rows, treatment_averages=averages), "treatment"
    ).caveat
    assert "The effect is no longer clear with doubly robust: all eligible." in caveat
    assert "shorter time" not in caveat


# --- whether an answer is borne out -----------------------------------------------------------------------------------


def _plain(inputs: ReportInputs, ratio: tuple[float, float, float], late: tuple[float, float, float]) -> ReportInputs:
    """Without subgroups: the treated live longer by the mean; the ratio and late survival are given."""
    given = {
        ("rmst_difference", 60.0): (4.7, 0.9, 8.5),
        ("hazard_ratio", None): ratio,
        ("survival_difference", 36.0): (0.055, 0.013, 0.097),
        ("survival_difference", 60.0): late,
    }
    rows = [
        r | dict(zip(("estimate", "lower", "upper"), given[r["estimand"], r["horizon_months"]], strict=True))
        for r in inputs.rows("treatment_effects", subgroup=0)
    ]
    averages = _moved(inputs, (4.4, 0.6, 8.2))
    return changed(inputs, treatment_effects=rows, treatment_averages=averages, treatment_interaction=[])


def test_an_effect_that_all_estimates_bear_out_is_not_called_fragile():
    inputs = _plain(fixtures.inputs("demo"), (0.7, 0.6, 0.8), (0.06, 0.01, 0.11))
    found = section_treatment.verdict(inputs, "treatment")
    assert found.badge == "Association: longer survival"
    assert found.answer.startswith("After balancing, treated patients lived longer: 4.7 months")
    assert "early one" not in found.caveat
    assert found.changes.startswith("a bias of 0.9 months were found")
    assert "risk ratios of 1.20" in found.changes


def test_an_effect_that_other_estimates_do_not_bear_out_says_so_first():
    inputs = _plain(fixtures.inputs("demo"), (1.0, 0.87, 1.15), (0.03, -0.023, 0.083))
    found = section_treatment.verdict(inputs, "treatment")
    assert found.badge == "Not robust"
    assert found.answer.startswith(
        "Not robust: other estimates of the same question do not bear it out. After balancing, treated patients lived"
        " longer: 4.7 months"
    )
    said = "The weighted hazard ratio and survival at 60 months do not exclude that there is no effect."
    assert found.beside.startswith(said)
    assert ("Weighted hazard ratio", "1.00 (0.87 to 1.15)") in found.facts
    assert not any("Doubly robust" in name for name, _ in found.facts)  # these bear it out
    assert "an early one: +5.5 (1.3 to 9.7) percentage points at 36 months" in found.caveat
    assert found.changes == (
        "the weighted hazard ratio (now 1.00, 0.87 to 1.15) and the others named above excluded no effect, too"
    )
    assert ("treatment-assumptions-treatment", "What could be wrong") in found.more


def test_a_single_estimate_that_does_not_bear_an_effect_out_is_named_on_the_page():
    inputs = _plain(fixtures.inputs("demo"), (0.7, 0.6, 0.8), (0.03, -0.023, 0.083))
    page = fixtures.render(inputs)
    assert "survival at 60 months (now +3.0, −2.3 to 8.3) excluded no effect, too" in page
    assert "Survival at 60 months does not exclude that there is no effect." in page


def test_an_effect_that_another_estimate_turns_round_is_not_robust():
    inputs = _plain(fixtures.inputs("demo"), (1.3, 1.1, 1.5), (0.06, 0.01, 0.11))
    found = section_treatment.verdict(inputs, "treatment")
    assert found.badge == "Not robust"
    assert found.beside.startswith("The opposite is seen by the weighted hazard ratio.")


def _controlled(inputs: ReportInputs, ends: tuple[float, float, float]) -> ReportInputs:
    moved = dict(zip(("estimate", "lower", "upper"), ends, strict=True))
    rows = [r | moved if r["check"] == "negative control" else r for r in inputs.rows("treatment_robustness")]
    return changed(inputs, treatment_robustness=rows)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((3.0, 0.9, 5.1), "it flatters the treatment, which is what is seen: all of it, or a part, may be due to that"),
        ((-3.0, -5.1, -0.9), "it makes the treatment look worse, the opposite of what is seen: it does not explain"),
    ],
)
def test_a_failed_negative_control_heads_the_answer_and_its_direction_is_told(ends, said):
    inputs = _controlled(_plain(fixtures.inputs("demo"), (0.7, 0.6, 0.8), (0.06, 0.01, 0.11)), ends)
    found = section_treatment.verdict(inputs, "treatment")
    assert found.badge == "Probably confounded"
    assert found.answer.startswith("Not to be read as an effect: the treated go ")
    assert "without death by accident, which the treatment is taken not to change. After balancing" in found.answer
    assert said in found.caveat
    assert "alike in death by accident" in found.changes
    assert "do not read the difference above as an effect" in said_by(
        section_treatment.robustness(inputs, "treatment", "overlap")
    )


def test_a_failed_control_of_an_answer_that_sees_nothing_is_said_to_hide_something():
    nothing = _plain(fixtures.inputs("demo"), (1.0, 0.87, 1.15), (0.03, -0.023, 0.083))
    rows = [r | {"lower": -1.0} if r["estimand"] == "rmst_difference" else r for r in nothing.rows("treatment_effects")]
    nothing = changed(nothing, treatment_effects=rows, treatment_averages=_moved(nothing, (1.0, -2.0, 4.0)))
    assert section_treatment.verdict(nothing, "treatment").changes.startswith("more patients narrowed the interval")
    found = section_treatment.verdict(_controlled(nothing, (3.0, 0.9, 5.1)), "treatment")
    assert found.badge == "Probably confounded"
    assert "so that it may hide harm" in found.caveat


def test_the_interaction_test_stands_beneath_its_heading():
    inputs = fixtures.inputs("demo")
    kept = dataclasses.replace(inputs, tables=dict(inputs.tables))
    text = said_by(section_treatment._subgroups(kept, "treatment", inputs.settings.treatments["treatment"]))
    assert "The effect differs between subgroups (test that the effect is the same in all subgroups: p < 0.001" in text
    tests = [r | {"p_value": 0.85} for r in inputs.rows("treatment_interaction")]
    other = changed(inputs, treatment_interaction=tests)
    text = said_by(section_treatment._subgroups(other, "treatment", inputs.settings.treatments["treatment"]))
    assert "No conclusion is drawn by subgroup, as there is no evidence that the effect differs" in text
    assert "p = 0.85" in text


def test_where_nothing_is_seen_there_is_nothing_to_explain_away():
    inputs = fixtures.inputs("demo")
    assert "To explain the weighted hazard ratio of 0.80 away" in section_treatment._unmeasured(inputs, "treatment")
    rows = [r | {"hazard_ratio": 1.0, "e_value_limit": 1.0} for r in inputs.rows("treatment_sensitivity")]
    said = section_treatment._unmeasured(changed(inputs, treatment_sensitivity=rows), "treatment")
    assert "no such cause is needed to explain that ratio" in said
    assert "To explain" not in said


def test_the_count_beside_a_changed_analysis_is_that_of_the_main_one():
    inputs = fixtures.inputs("demo")
    rows = [
        r | ({"n": 593, "events": 50} if r["check"] == "negative control" else {"n": 592, "events": 250})
        for r in inputs.rows("treatment_robustness")
    ]
    text = said_by(section_treatment.robustness(changed(inputs, treatment_robustness=rows), "treatment", "overlap"))
    assert "n = 592, 250 events in the main analysis; treated minus untreated" in text


def test_overlap_weights_are_of_the_overlap_population():
    inputs = fixtures.inputs("demo")
    rows = [
        r | {"method": f"{r['weighting']}; average effect in all eligible patients"}
        for r in inputs.rows("treatment_effects")
    ]
    blocks = section_treatment._effects(changed(inputs, treatment_effects=rows), "treatment")
    fold = next(b for b in blocks if getattr(b, "kind", "") == "fold")
    assert list(fold.blocks[0].notes) == [
        "None; average effect in all eligible patients",
        "Overlap; average effect in the overlap population",
    ]


def test_the_card_says_which_minus_which_and_whether_patients_differ():
    facts = dict(section_treatment.verdict(fixtures.inputs("demo"), "treatment").facts)
    assert "Average, treated minus untreated, months" in facts
    assert facts["Differs between patients?"] == "with the predicted effect (p = 0.001)"
    facts = dict(section_treatment.verdict(fixtures.inputs("null"), "treatment").facts)
    assert facts["Differs between patients?"] == "no evidence that it does"
