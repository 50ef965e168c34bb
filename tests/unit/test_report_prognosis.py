"""The stacked model, decision curves and lower bounds in the report."""

from __future__ import annotations

import dataclasses

import pytest

import report_fixtures as fixtures
from stratiome import tables
from stratiome.report import (
    fitted,
    methods,
    section_prognosis,
    section_prognosis_calibration,
    section_prognosis_learners,
    section_prognosis_use,
    section_prognosis_weights,
    verdicts,
)
from stratiome.report.inputs import CONTRACTS, ReportInputs
from stratiome.report.section_prognosis_stack import stack_weights

COLOURS = {"clinical": 2, "stacked": 9}


def changed(inputs: ReportInputs, **frames: list[dict]) -> ReportInputs:
    new = {name: tables.from_rows(rows, CONTRACTS[name]) for name, rows in frames.items()}
    return dataclasses.replace(inputs, tables=dict(inputs.tables) | new)


def delta(lower: float, upper: float) -> dict:
    return {"estimate": (lower + upper) / 2, "lower": lower, "upper": upper, "horizon_months": None}


IPA = {"estimate": 0.1, "lower": 0.05, "upper": 0.15}
BETTER, WORSE, OPEN = delta(0.01, 0.03), delta(-0.04, -0.01), delta(-0.01, 0.02)


def with_stacked(
    gain: float, forest: float = 0.0, own: float | None = None, beside: float | None = None
) -> ReportInputs:
    """The demo's fixture with a stacked model and forests.

    Parameters
    ----------
    gain, forest
        Gain in C of the stacked model and of the clinical forest on the clinical model; intervals are 0.01 to each
        side.
    own, beside
        Gain of the forest with omics, and of the stacked model, on the clinical forest; None: not compared.
    """
    inputs = fixtures.inputs("demo")
    rows = inputs.rows("prognosis_metrics")
    pairs = [("stacked", "clinical", gain), ("clinical_forest", "clinical", forest)]
    pairs += [("forest", "clinical", gain), ("forest", "clinical_forest", own)] if own is not None else []
    pairs += [("stacked", "clinical_forest", beside)] if beside is not None else []
    like = [r for r in rows if r["model"] == "clinical_omics"]
    more = [r | {"model": m} for r in like if r["versus"] is None for m in dict.fromkeys(m for m, _, _ in pairs)]
    for model, versus, shift in pairs:
        for r in [r for r in like if r["versus"] == "clinical"]:
            size, half = (shift, 0.01) if r["metric"] == "uno_c" else (-shift / 10, 0.004)
            ends = {"estimate": size, "lower": size - half, "upper": size + half}
            more.append(r | ends | {"model": model, "versus": versus})
    known = inputs.rows("models")
    fits = [r | {"model": m} for r in known if r["model"] == "clinical_omics" for m in {m for m, _, _ in pairs}]
    return changed(inputs, prognosis_metrics=rows + more, models=known + fits)


def test_whether_omics_add_is_told_by_models_of_one_form():
    """A stacked model that is far better changes neither answer nor badge: it has a line of its own beneath."""
    plain, other = section_prognosis.verdict(fixtures.inputs("demo")), section_prognosis.verdict(with_stacked(0.2))
    assert (other.answer, other.tone) == (plain.answer, plain.tone)
    assert plain.beside == ""
    assert "Beside the clinical Cox model, the stacked model ranks better; how much of that is omics" in other.beside
    said = section_prognosis.verdict(with_stacked(0.0)).beside
    assert "There is no evidence that the stacked model is better than the clinical one." in said


def test_a_gain_that_clinical_variables_alone_have_is_not_given_to_omics():
    said = section_prognosis.verdict(with_stacked(0.05, forest=0.03)).beside
    assert "so does a forest of clinical variables alone, so that not all of it comes from omics" in said
    assert "first of all a gain of the learner" in said
    assert "first of all" not in section_prognosis.verdict(with_stacked(0.05)).beside


@pytest.mark.parametrize(
    ("own", "tone", "said"),
    [
        (0.02, "yes", "They add to a forest of clinical variables."),
        (0.005, "mixed", "But there is no evidence that they add to a forest of clinical variables."),
        (-0.05, "yes", "With them, a forest is worse than one of clinical variables alone."),
    ],
)
def test_omics_are_judged_in_a_forest_beside_the_forest_without_them(own, tone, said):
    found = section_prognosis.verdict(with_stacked(0.05, 0.03, own))
    assert found.tone == tone
    assert found.beside.startswith(said)
    assert any(name.endswith("clinical + latent forest less clinical forest") for name, _ in found.facts)


def test_a_forest_that_gains_where_cox_models_do_not_makes_it_mixed():
    inputs = with_stacked(0.05, 0.03, 0.02)
    rows = [
        r | {"estimate": 0.001, "lower": -0.01, "upper": 0.012}
        if r["versus"] == "clinical" and r["model"] in section_prognosis.OF_OMICS and r["metric"] == "uno_c"
        else r
        for r in inputs.rows("prognosis_metrics")
        if not (r["versus"] and r["metric"] == "ibs")
    ]
    found = section_prognosis.verdict(changed(inputs, prognosis_metrics=rows))
    assert (found.tone, found.answer) == ("mixed", "No evidence that omics add to the clinical model.")
    assert found.beside.startswith("They add to a forest of clinical variables, other than to the Cox model.")


@pytest.mark.parametrize(
    ("beside", "said", "mark"),
    [
        (
            0.02,
            "so it does beside the clinical forest",
            ("gain of learner or omics", "mixed"),
        ),
        (0.005, "it is not seen to be better", ("no gain on the clinical forest", "no")),
    ],
)
def test_a_stacked_model_is_never_said_to_show_that_omics_add(beside, said, mark):
    inputs = with_stacked(0.05, 0.03, 0.005, beside)
    assert said in section_prognosis.verdict(inputs).beside
    cell = section_prognosis_learners.own_verdict(inputs, "stacked", "cross-validation")
    assert (cell.text, cell.tone) == mark


def test_praise_of_the_stacked_model_has_a_caveat_where_its_risks_are_off():
    for gain, ends, said in ((0.05, (1.3, 1.5), True), (0.0, (1.3, 1.5), False), (0.05, (1.1, 1.5), False)):
        slope = {"estimate": 1.4, "lower": ends[0], "upper": ends[1], "horizon_months": 60.0}
        plain = verdicts.Verdict("", "", "yes")
        found = section_prognosis_learners.with_learners(with_stacked(gain), plain, [(slope, None)])
        assert ("The risks that the stacked model predicts are too tame" in found.caveat) == said


def test_the_card_and_the_section_say_the_same_once():
    inputs = with_stacked(0.05, 0.03, 0.005, 0.02)
    findings = [b.verdict for b in section_prognosis.prognosis(inputs).blocks if getattr(b, "kind", "") == "finding"]
    assert findings == [section_prognosis.verdict(inputs)]
    assert all("up to 60 months" in name for name, _ in findings[0].facts if name.startswith("Δ C"))


def test_what_would_change_the_answer_is_the_nearest_interval():
    inputs = fixtures.inputs("demo")
    assert "whose interval begins at +0.0" in section_prognosis.verdict(inputs).changes
    null = section_prognosis.verdict(fixtures.inputs("null"))
    assert null.changes.startswith(
        "an interval of what omics add in C to the same learner lay above 0; the nearest is that of clinical + "
    )


def test_a_gain_at_one_horizon_is_told_as_one_of_those_looked_at():
    inputs = fixtures.inputs("null")
    rows = inputs.rows("prognosis_metrics")
    like = next(r for r in rows if r["versus"] == "clinical" and r["model"] == "clinical_latent")
    ends = {36.0: (0.014, 0.003, 0.025), 60.0: (0.005, -0.006, 0.016)}
    more = [
        like | {"metric": "auc", "horizon_months": h} | dict(zip(("estimate", "lower", "upper"), e, strict=True))
        for h, e in ends.items()
    ]
    caveat = section_prognosis.verdict(changed(inputs, prognosis_metrics=rows + more)).caveat
    assert "not corrected for the 2 looked at: clinical + latent at 36 months (+0.014, 0.003 to 0.025)." in caveat
    assert "at 60 months (" not in caveat


def test_hazards_that_are_not_proportional_take_from_the_yardstick():
    inputs = with_stacked(0.05, 0.03)
    rows = [r for r in inputs.rows("proportional") if r["model"] == "clinical" and r["feature"] is None]
    bent = [r | {"p_value": 1e-9, "p_holm": 1e-9} for r in rows]
    assert rows
    said = "which can make it look worse than one learned up to then"
    assert said in section_prognosis.verdict(changed(inputs, proportional=bent)).caveat
    straight = [r | {"p_value": 0.5, "p_holm": 0.5} for r in rows]
    assert said not in section_prognosis.verdict(changed(inputs, proportional=straight)).caveat


def test_gains_stand_in_a_table_with_what_differs():
    (table,) = section_prognosis_learners.gains(with_stacked(0.05, 0.03, 0.005, 0.02), "cross-validation")
    told = {row[0]: (row[1], row[-1].text, row[-1].tone) for row in table.rows}
    assert told["Clinical + latent less clinical"] == ("omics", "omics add", "yes")
    assert told["Clinical + latent forest less clinical forest"] == ("omics", "no evidence that it adds", "no")
    assert told["Clinical forest less clinical"] == ("learner", "no omics: a gain of the learner", "")
    assert told["Stacked less clinical forest"][0] == "learner and omics"
    assert "Δ AUC at 36 mo" in table.head


def test_decision_curves_say_where_a_model_is_of_use():
    inputs = fixtures.inputs("demo")
    rows = inputs.rows("decisions")
    gains = [r | {"model": "stacked", "versus": "clinical"} for r in rows if r["model"] == "clinical"]
    ends = [(0.01, 0.05), (-0.01, 0.02), (-0.05, -0.01), (None, None)]
    gains = [g | {"lower": lo, "upper": up} for g, (lo, up) in zip(gains, ends * 2, strict=True)]
    blocks = section_prognosis_use.decisions(changed(inputs, decisions=rows + gains), COLOURS)
    heading, panels = blocks
    assert heading.text == "Is it of use for a decision? Net benefit"
    assert [title for title, _ in panels.figures] == ["At 36 months", "At 60 months"]
    said = "clinical model: stacked above at 2 and below at 2 of 6 thresholds, 3 at 36 months and 3 at 60 months"
    assert f"{said} (each" in panels.caption
    more = rows + gains + [g | {"model": "clinical_latent", "lower": -0.1, "upper": 0.1} for g in gains]
    _, panels = section_prognosis_use.decisions(changed(inputs, decisions=more), COLOURS)
    assert f"{said}; clinical + latent above at 0 and below at 0 of 8 thresholds (each" in panels.caption
    assert section_prognosis_use.decisions(changed(inputs, decisions=[]), COLOURS) == []


def with_settings(inputs: ReportInputs, **values: object) -> ReportInputs:
    return dataclasses.replace(inputs, settings=dataclasses.replace(inputs.settings, **values))


def test_verdicts_from_few_draws_say_so():
    inputs = with_stacked(0.2)
    for draws, said in ((50, True), (199, True), (200, False)):
        evaluation = inputs.settings.evaluation.model_copy(update={"bootstraps": draws})
        found = section_prognosis.verdict(with_settings(inputs, evaluation=evaluation))
        assert (f"they are of {draws} bootstrap samples only" in found.caveat) == said


def test_a_clinical_model_that_knows_the_outcome_voids_what_is_beside_it():
    inputs = fixtures.inputs("demo")
    assert "before that is mended" not in section_prognosis.verdict(inputs).caveat
    note = {"scope": "clinical table", "file": "c.tsv", "note": f"covariate `stage` {tables.TELLS_OUTCOME} (area 0.98)"}
    found = section_prognosis.verdict(changed(inputs, notes=[*inputs.rows("notes"), note]))
    assert found.caveat.startswith("Covariate `stage` nearly tells who has the event: nothing that is compared with")
    of_treatment = note | {"note": note["note"].replace("stage", "confounder_alone")}
    found = section_prognosis.verdict(changed(inputs, notes=[*inputs.rows("notes"), of_treatment]))
    assert "before that is mended" not in found.caveat


def test_an_ici_beyond_chance_is_named():
    inputs = fixtures.inputs("demo")
    rows = inputs.rows("calibration_measures")
    high = [r | ({"estimate": 0.2, "chance_upper": 0.05} if r["metric"] == "ici" else {}) for r in rows]
    low = [r | ({"estimate": 0.01, "chance_upper": 0.05} if r["metric"] == "ici" else {}) for r in rows]

    def said(measures: list[dict]) -> str:
        found = changed(inputs, calibration_measures=measures)
        models = section_prognosis.fitted(found)
        return str(section_prognosis_calibration._said(found, "cross-validation", models))

    assert "further from the curve than by chance (ICI 0.200, at most 0.050)" in said(high)
    assert "than by chance" not in said(low)


def test_few_patients_in_the_words_of_a_method_are_suppressed(tmp_path):
    from stratiome.report.inputs import _masked

    inputs = fixtures.inputs("demo")
    texts = {"truncated (4 patients)": "truncated (<10 patients)", "(0 patients)": "(0 patients)",
             "(14 patients)": "(14 patients)", "1 patient left": "<10 patients left"}  # fmt: skip
    for text, expected in texts.items():
        rows = [inputs.rows("prognosis_metrics")[0] | {"method": text}]
        frame = tables.from_rows(rows, CONTRACTS["prognosis_metrics"])
        assert _masked(frame, 10)["method"].to_list() == [expected]


def test_models_with_few_events_for_their_size_are_named_with_their_training_sets():
    inputs = fixtures.inputs("demo")
    members = inputs.resamples("cross-validation")
    rows = [r | {"note": r["note"].replace(tables.EVENTS_PER_COEFFICIENT, "")} for r in inputs.rows("models")]
    thin = [r for r in rows if r["model"] == "clinical_latent" and r["resample"] in members]
    rows = [r | {"note": f"only 3.2 {tables.EVENTS_PER_COEFFICIENT}"} if r in thin[:1] else r for r in rows]
    said = fitted.thin(changed(inputs, models=rows), ["clinical", "clinical_latent"], "cross-validation")
    assert len(said) == 1
    assert f": clinical + latent ({1} of {len(thin)}); in brackets, training sets." in said[0]
    assert fitted.thin(changed(inputs, models=rows), ["clinical"], "cross-validation") == []


def test_d_calibration_is_a_method_only_where_it_was_tested():
    inputs = fixtures.inputs("demo")
    rows = inputs.rows("calibration_measures")
    assert "D-calibration (Haider 2020)" in str(methods.write(inputs))
    none = [r | {"p_value": None} for r in rows]
    assert "D-calibration" not in str(methods.write(changed(inputs, calibration_measures=none)))


def test_bounds_that_cover_too_little_are_named():
    inputs = fixtures.inputs("demo")
    rows = inputs.rows("coverage")
    assert rows[0]["nominal"] == 0.9
    blocks = section_prognosis_use.bounds(inputs)
    table = next(b for b in blocks if getattr(b, "kind", "") == "table")
    assert [row[1] for row in table.rows] == ["all", *section_prognosis_use.QUARTERS.values()]
    note = blocks[-1].text
    assert note.startswith("Covered less than asked for: clinical (highest quarter of risk).")
    kept = changed(inputs, coverage=[r for r in rows if r["group"] != "4"])
    assert not any("Covered less" in getattr(b, "text", "") for b in section_prognosis_use.bounds(kept))
    assert section_prognosis_use.bounds(changed(inputs, coverage=[])) == []


def test_bounds_by_class_are_folded_and_those_that_cover_too_little_named():
    inputs = fixtures.inputs("demo")
    rows = inputs.rows("coverage")
    low = {"estimate": 0.7, "lower": 0.6, "upper": 0.8}
    more = [rows[0] | {"by": "stage", "group": g, "n": n, "events": 40} | e
            for g, n, e in (("1", 300, {}), ("2", 200, low), ("3", 6, low))]  # fmt: skip
    blocks = section_prognosis_use.bounds(changed(inputs, coverage=rows + more))
    table = next(b for b in blocks if getattr(b, "kind", "") == "fold").blocks[0]
    assert [row[1] for row in table.rows] == ["Stage: 1", "Stage: 2", "Stage: 3"]
    assert table.rows[2][2] == "too few"
    assert table.rows[2][4].startswith("<10")
    assert "clinical (stage: 2)" in blocks[-1].text
    assert "stage: 3" not in blocks[-1].text


def test_what_omics_add_is_drawn_for_concordance_and_for_the_brier_score():
    figures = section_prognosis_learners.forest(fixtures.inputs("demo"), section_prognosis.TITLES)
    assert [f.title for f in figures] == [
        "What omics add, beside the same learner without them",
        "What omics add, beside the same learner without them: accuracy of the risks",
    ]
    assert "Difference in the integrated Brier score to the model without omics" in figures[1].svg


def test_only_models_with_a_counterpart_are_judged_as_models_of_omics():
    blocks = section_prognosis.prognosis(with_stacked(0.05, 0.03, 0.005)).blocks
    table = next(b for b in blocks if getattr(b, "kind", "") == "table")
    verdict = {row[0]: row[1].text for row in table.rows}
    assert verdict["Clinical forest"] == "no omics"
    assert verdict["Clinical + latent"] == "adds"
    assert verdict["Clinical + latent forest"] == "no evidence that it adds"
    assert verdict["Stacked"] == "no counterpart without omics"
    assert "Δ AUC at 60 mo to clinical" in table.head
    figure = next(b for b in blocks if getattr(b, "title", "").startswith("What omics add, beside"))
    assert "Clinical + latent forest less clinical forest" in figure.svg
    assert "Stacked" not in figure.svg


def test_models_of_the_stack_are_called_as_in_the_tables():
    note = "weights by the integrated Brier score of training patients left out in 5 inner folds: clinical_factors 0.69"
    row = {"model": "stacked", "note": f"{note}, forest 0.31"}
    assert section_prognosis._named(row).endswith("inner folds: Clinical + MOFA+ 0.69, Clinical + latent forest 0.31")


def test_methods_name_only_models_that_were_asked_for():
    text = " ".join(methods.write(changed(fixtures.inputs("demo"), treatment_differences=[]))[0])
    assert "Beside it stood an elastic-net Cox model" in text
    assert "forest" not in text
    alone = changed(fixtures.inputs("demo"), models=[])
    assert "Beside it stood" not in " ".join(methods.write(alone)[0])


def test_a_lone_small_number_of_events_cannot_be_had_by_subtraction():
    inputs = fixtures.inputs("demo")
    events = {"": 100, "1": 4, "2": 21, "3": 30, "4": 45}
    rows = [r | {"events": events[r["group"]]} for r in inputs.rows("coverage")]
    blocks = section_prognosis_use.bounds(changed(inputs, coverage=rows))
    table = next(b for b in blocks if getattr(b, "kind", "") == "table")
    assert [row[4].partition(" / ")[2] for row in table.rows] == ["100", "<10", "≈20", "30", "45"]


def test_names_within_a_sentence_keep_their_capitals():
    deltas = [("clinical_factors", BETTER, None), ("clinical_latent", WORSE, None)]
    found = verdicts.prognosis(deltas, 0.95)
    assert "clinical + MOFA+ adds" in found.answer
    assert found.facts[0][0] == "Δ C, clinical + MOFA+"


@pytest.mark.parametrize(("shift", "matters"), [(0.004, False), (-0.02, True)])
def test_censoring_weights_are_compared_by_model(shift, matters):
    inputs = fixtures.inputs("demo")
    rows = inputs.rows("prognosis_metrics")
    again = [
        r | {"metric": "uno_c_cox", "estimate": r["estimate"] + shift * (r["model"] == "clinical")}
        for r in rows
        if r["metric"] == "uno_c" and r["versus"] is None
    ]
    with_both = changed(inputs, prognosis_metrics=[*rows, *again])
    note, fold = section_prognosis_weights.weights(with_both, ["clinical", "clinical_omics"])
    assert ("depend on how censoring is modelled" in note.text) == matters
    assert ("Uno's C of clinical (−0.020)" in note.text) == matters
    assert "clinical + omics" not in note.text
    (table,) = fold.blocks
    assert [r[:2] for r in table.rows] == [["Clinical", "Uno's C"], ["Clinical + omics", "Uno's C"]]
    assert [r[4] for r in table.rows] == [f"{shift:+.3f}".replace("-", "−"), "0.000"]
    assert section_prognosis_weights.weights(inputs, ["clinical"]) == []


def test_methods_name_what_competing_risks_change():
    inputs = fixtures.inputs("demo")
    endpoint = inputs.settings.endpoint.model_copy(update={"competing": "cause = 'other'"})
    rivals = dataclasses.replace(inputs, settings=dataclasses.replace(inputs.settings, endpoint=endpoint))
    text, cited = methods.write(rivals)
    assert "one cause-specific Cox model of deaths of other causes" in " ".join(text)
    assert "combined into the cumulative incidence (Putter 2007)" in " ".join(text)
    keys = ("Andersen PK. Decomposition", "Blanche P", "Fine JP", "Putter H", "Schoop R", "Wolbers M")
    assert all(any(c.startswith(k) for c in cited) for k in keys)
    authors = [c.split()[0].casefold().replace("ö", "o") for c in cited]
    assert authors == sorted(authors)
    plain = methods.write(inputs)[1]
    assert not any(c.startswith(keys) for c in plain)
    assert any(c.startswith("Gerds TA") for c in plain)


def test_risks_with_a_slope_below_zero_are_not_called_too_extreme():
    slope = {"estimate": -2.0, "lower": -4.0, "upper": -0.2, "horizon_months": 60.0}
    assert verdicts.miscalibrated(slope, None).startswith(verdicts.UNRELATED)
    assert "extreme" in verdicts.miscalibrated(slope | {"estimate": 0.5, "lower": 0.3, "upper": 0.7}, None)
    assert section_prognosis_calibration.tendencies(slope, None)[0].startswith(verdicts.UNRELATED)


def noted(inputs: ReportInputs, model: str, note: str, *, held_out: bool) -> ReportInputs:
    """Notes of a model in the training sets that hold patients out, or in that of all patients."""
    rows = [r | ({"note": note} if r["model"] == model and (r["resample"] != "full") == held_out else {})
            for r in inputs.rows("models")]  # fmt: skip
    return changed(inputs, models=rows)


def test_training_sets_without_a_model_of_other_causes_are_told():
    inputs = fixtures.inputs("demo")
    assert fitted.same_for_all(inputs) == ""
    flat = noted(
        inputs, "clinical", "Cox; other causes of failure by Nelson-Aalen, the same for everybody", held_out=True
    )
    sets = len({r["resample"] for r in inputs.rows("models") if r["resample"] != "full"})
    assert fitted.same_for_all(flat).startswith(f"in {sets} of {sets} training sets there was no such model")


def test_a_stack_of_all_patients_that_no_training_set_could_make_is_told():
    inputs = with_stacked(0.05)
    weights = "weights by the score in 5 inner folds: clinical 0.40, clinical_omics 0.60"
    judged = noted(noted(inputs, "stacked", weights, held_out=True), "stacked", weights, held_out=False)
    design = judged.headline
    assert not any("was not judged" in s for s in section_prognosis._unjudged(judged, design))
    gone = [
        r
        | (
            {"note": "not fitted: too few", "stand_in": "clinical"}
            if r["model"] == "clinical_omics" and r["resample"] != "full"
            else {}
        )
        for r in judged.rows("models")
    ]
    said = section_prognosis._unjudged(changed(judged, models=gone), design)
    assert any("clinical + omics" in s and "was not judged" in s for s in said)


def test_weights_of_the_stack_stand_in_a_table():
    inputs = with_stacked(0.05)
    weights = "weights by the score in 5 inner folds: clinical 0.40, clinical_omics 0.60"
    (table,) = stack_weights(noted(inputs, "stacked", weights, held_out=True), inputs.headline)
    assert table.head == ["Held out", "Clinical", "Clinical + omics"]
    assert [row[1:] for row in table.rows] == [["0.40", "0.60"]] * len(inputs.resamples(inputs.headline))
    assert stack_weights(inputs, inputs.headline) == []
