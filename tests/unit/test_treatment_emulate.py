"""Who is compared, who is left out and why, and what the target-trial table admits."""

import polars as pl
import pytest

from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.tables import TreatmentTrial, from_rows
from stratiome.treatment.emulate import COMPONENTS, TreatmentError, assigned, emulate, target_trial

CLINICAL = pl.DataFrame(
    {
        "patient_id": ["f", "e", "d", "c", "b", "a"],
        "drug": [1.0, 0.0, None, 1.0, 0.0, 1.0],
        "stage": [1.0, 2.0, 2.0, None, 4.0, 3.0],
        "sex": ["f", "m", "f", "f", None, "m"],
    }
)
OUTCOME = pl.DataFrame(
    {"patient_id": ["a", "b", "c", "d", "f"], "time_months": [5.0, 6.0, 7.0, 8.0, 9.0], "event": [1, 0, 1, 1, 0]}
)
ENDPOINT = EndpointConfig(time="os_years", event="died", unit="years", horizons=(5,))


def drug(**changes):
    return TreatmentConfig(**{"column": "drug", "design": "observational", "confounders": ("stage",)} | changes)


def test_missing_is_neither_untreated_nor_eligible():
    sample, flow = emulate(CLINICAL, OUTCOME, "drug", drug(eligible="stage IN (1, 2, 3)"))
    assert sample.patient_ids == ["a", "f"]  # sorted; b of stage 4, c of no stage, d of no treatment, e of no outcome
    assert sample.treated.tolist() == [True, True]
    assert sample.time.tolist() == [5.0, 9.0]
    assert sample.event.tolist() == [True, False]
    assert [(r["step"], r["n_in"], r["n_out"]) for r in flow] == [
        ("eligibility", 6, 4),
        ("treatment", 4, 3),
        ("outcome", 3, 2),
    ]
    assert {r["scope"] for r in flow} == {"drug"}
    assert flow[1]["reason"] == "treatment not recorded"


def test_nothing_is_dropped_silently_without_a_condition():
    sample, flow = emulate(CLINICAL, OUTCOME, "drug", drug())
    assert sample.patient_ids == ["a", "b", "c", "f"]
    assert sample.treated.tolist() == [True, False, True, True]
    assert flow[0] == {"step": "eligibility", "scope": "drug", "n_in": 6, "n_out": 6, "reason": "kept"}


def test_null_of_a_compound_condition_is_not_eligible():
    given, _, _ = assigned(CLINICAL, "drug", drug(eligible="stage <= 3 AND sex = 'm'"))
    assert given["patient_id"].to_list() == ["a", "e"]
    negated, _, _ = assigned(CLINICAL, "drug", drug(eligible="NOT sex = 'm'"))
    assert negated["patient_id"].to_list() == ["c", "f"]


@pytest.mark.parametrize("condition", ["stage IN (", "nope = 1", "sex > 3", "stage"])
def test_condition_that_is_none_names_the_key(condition):
    with pytest.raises(TreatmentError, match=r"`treatments\.drug\.eligible`.*Suggestion"):
        emulate(CLINICAL, OUTCOME, "drug", drug(eligible=condition))


def test_wrong_columns_and_codes_are_refused():
    with pytest.raises(TreatmentError, match=r"no column \['ki67'\].*Suggestion"):
        emulate(CLINICAL, OUTCOME, "drug", drug(confounders=("ki67",)))
    with pytest.raises(TreatmentError, match=r"must be 0 \(untreated\) or 1 \(treated\)"):
        emulate(CLINICAL.with_columns(drug=pl.col("drug") + 1), OUTCOME, "drug", drug())
    with pytest.raises(TreatmentError, match="no patient is eligible"):
        emulate(CLINICAL, OUTCOME, "drug", drug(eligible="stage > 9"))


def test_treatment_coded_as_text_is_read():
    text = CLINICAL.with_columns(pl.col("drug").cast(pl.Int64).cast(pl.String))
    assert emulate(text, OUTCOME, "drug", drug())[0].treated.tolist() == [True, False, True, True]


@pytest.mark.parametrize("design", ["observational", "randomised"])
def test_trial_is_complete_and_admits_immortal_time(design):
    rows = target_trial("drug", drug(design=design, label="drug A"), ENDPOINT, EvaluationConfig())
    table = from_rows(rows, TreatmentTrial)
    TreatmentTrial.validate(table)
    assert table["component"].to_list() == list(COMPONENTS)
    assert not table.null_count().sum_horizontal().item()
    told = {r["component"]: r for r in rows}
    cannot = "immortal-time bias in favour of treatment cannot be excluded" in told["time zero"]["emulation"]
    assert cannot == (design == "observational")
    assert ("as good as random given stage" in told["assignment"]["emulation"]) == (design == "observational")
    assert "60 months" in told["contrast"]["target"]
    assert "drug A" in told["strategies"]["target"]


# --- start times ------------------------------------------------------------------------------------------------------

STARTED = pl.DataFrame(
    {
        "patient_id": list("abcdefg"),
        "drug": [1.0, 1.0, 0.0, 1.0, 0.0, None, 1.0],
        "weeks": [4.0, 30.0, None, 2.0, None, None, 8.0],
        "stage": [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0],
        "tested": [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    }
)
FOLLOWED = pl.DataFrame(
    {
        "patient_id": list("abcdefg"),
        "time_months": [20.0, 21.0, 22.0, 1.5, 1.0, 9.0, 24.0],
        "event": [1, 0, 1, 1, 1, 1, 0],
    }
)
LATE = {"start": "weeks", "landmark": 8.0, "unit": "weeks"}


def test_at_the_landmark_who_started_by_then_is_treated_and_time_counts_from_it():
    sample, flow = emulate(STARTED, FOLLOWED, "drug", drug(**LATE))
    landmark = drug(**LATE).landmark_months
    assert landmark == pytest.approx(8 * 7 / 30.4375)
    assert sample.patient_ids == ["a", "b", "c", "g"]  # d and e died before; f is not recorded, and not untreated
    assert sample.treated.tolist() == [True, False, False, True]  # b starts later, g at the landmark itself
    assert sample.time.tolist() == pytest.approx([t - landmark for t in (20.0, 21.0, 22.0, 24.0)])
    assert [(r["step"], r["n_in"], r["n_out"]) for r in flow][-1] == ("landmark", 6, 4)
    assert "within 8 weeks" in flow[-1]["reason"]
    assert assigned(STARTED, "drug", drug(**LATE))[1].tolist() == [True, False, False, True, False, True]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weeks": [4.0, None, None, 2.0, None, None, 8.0]}, "a treated patient has no time in `weeks`"),
        ({"weeks": [4.0, 30.0, 5.0, 2.0, None, None, 8.0]}, "an untreated patient"),
        ({"weeks": [-1.0, 30.0, None, 2.0, None, None, 8.0]}, "negative times"),
        ({"weeks": ["x", "30", None, "2", None, None, "8"]}, "must hold times as numbers"),
    ],
)
def test_starts_that_contradict_the_treatment_are_refused_without_ids(changed, said):
    bad = STARTED.with_columns(**{k: pl.Series(v) for k, v in changed.items()})
    with pytest.raises(TreatmentError, match=f"`treatments.drug.start`: .*{said}.*Suggestion") as error:
        emulate(bad, FOLLOWED, "drug", drug(**LATE))
    assert not any(f" {p} " in str(error.value).replace(" a ", " ") for p in "bcdefg")


def test_confounder_measured_after_treatment_is_refused():
    late = STARTED.with_columns(tested=pl.lit(5.0))
    with pytest.raises(TreatmentError, match=r"`treatments.drug.measured`: the confounder `stage` was measured after"):
        emulate(late, FOLLOWED, "drug", drug(**LATE, measured={"stage": "tested"}))
    early, _ = emulate(STARTED, FOLLOWED, "drug", drug(**LATE, measured={"stage": "tested"}))
    assert len(early) == 4
    with pytest.raises(TreatmentError, match="after time zero, when treatment is taken to start"):
        emulate(STARTED, FOLLOWED, "drug", drug(measured={"stage": "tested"}))


def test_trial_says_what_was_done_about_start_times():
    told = {r["component"]: r["emulation"] for r in target_trial("drug", drug(**LATE), ENDPOINT, EvaluationConfig())}
    assert "no immortal time" in told["time zero"]
    assert "cannot be excluded" not in told["time zero"]
    rows = target_trial("drug", drug(**LATE), ENDPOINT, EvaluationConfig(), later=3)
    assert "start later (fewer than 100) count as untreated" in rows[1]["emulation"]
    later = target_trial("drug", drug(starts="later"), ENDPOINT, EvaluationConfig())
    assert "nothing is compared" in later[3]["emulation"]


# --- several arms -----------------------------------------------------------------------------------------------------

ARMS = {"both": "drug = 1 AND stage = 1", "one": "drug = 1 AND stage = 2", "none": "drug = 0"}


def arms(**changes):
    return TreatmentConfig(**{"arms": ARMS, "reference": "none", "design": "randomised"} | changes)


def test_arms_become_comparisons_of_two_with_the_reference():
    pairs = arms(label="Drugs").pairs("drugs")
    assert {k: v.label for k, v in pairs.items()} == {
        "drugs_both": "Drugs: both against none",
        "drugs_one": "Drugs: one against none",
    }
    assert {n: list(t.pairs(n)) for n, t in pairs.items()} == {"drugs_both": ["drugs_both"], "drugs_one": ["drugs_one"]}
    sample, flow = emulate(STARTED, FOLLOWED, "drugs_one", pairs["drugs_one"])
    assert sample.patient_ids == ["b", "c", "e"]
    assert sample.treated.tolist() == [True, False, False]
    steps = {r["step"]: (r["n_in"], r["n_out"]) for r in flow}
    assert steps["treatment"] == (7, 6)  # f
    assert steps["arms"] == (6, 3)
    with pytest.raises(TreatmentError, match="both `both` and `one`"):
        emulate(STARTED, FOLLOWED, "x", arms(arms=ARMS | {"one": "drug = 1"}, compare="both"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"reference": "placebo"}, "`placebo` is none of the arms. Suggestion: one of both, one, none"),
        ({"reference": None}, "need a `reference`"),
        ({"column": "drug"}, "exactly one of `column` and `arms`"),
        ({"compare": "none"}, "no arm to compare"),
        ({"arms": {"none": "drug = 0"}}, "names one arm"),
        ({"start": "weeks", "landmark": 2.0}, "not for `arms`"),
        ({"arms": ARMS | {"a b": "drug = 2"}}, "pattern"),
    ],
)
def test_arms_that_make_no_sense_are_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        arms(**changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"start": "weeks"}, "belong together"),
        ({"landmark": 3.0}, "belong together"),
        ({"start": "weeks", "landmark": 3.0, "starts": "later"}, "without `start`"),
        ({"start": "weeks", "landmark": 3.0, "design": "randomised"}, "as assigned"),
        ({"measured": {"age": "when"}}, "no confounders"),
    ],
)
def test_times_that_make_no_sense_are_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        drug(**changed)
