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
