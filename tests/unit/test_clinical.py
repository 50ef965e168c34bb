"""The clinical table: spellings, types, bounds, time zero, competing events, and what is said of each."""

import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stratiome.cohort.clinical import read_clinical
from stratiome.cohort.columns import dates
from stratiome.cohort.endpoint import _area_under_roc, check_horizons, codes, count_outcomes
from stratiome.cohort.errors import CohortError, some_cells
from stratiome.cohort.ingest import read_cohort
from stratiome.cohort.spelling import _misspelt, entry
from stratiome.config import Config, ConfigError, load_config
from stratiome.plan import clinical_file, omic_files, plan
from stratiome.tables import Outcome, TableError, read_table, write_table


def _read(raw):
    config = load_config(raw)
    return read_clinical(clinical_file(config), config)


def _edit(raw, **columns):
    path = Path(raw["data"]["folder"]) / "clinical.tsv"
    pl.read_csv(path, separator="\t").with_columns(**columns).write_csv(path, separator="\t")


def _declare(raw, **columns):
    raw["data"]["columns"] = {name: yaml.safe_load(text) for name, text in columns.items()}


def _rows(*values):
    """A column whose first cells are `values` and whose others are the last of them."""
    return pl.Series([*values, *[values[-1]] * (60 - len(values))])


# --- spellings ------------------------------------------------------------------------------------------------------


def test_spellings_are_mapped_before_anything_else(tiny):
    _edit(tiny, er=_rows(*["Positve"] * 12, *["Positive"] * 30, *["Negative"] * 8, "?", "Negative"))
    _declare(tiny, er="{values: {Positve: Positive, '?': null, Negativ: Negative}}")
    tiny["covariates"].append("er")
    clinical = _read(tiny)
    counts = dict(clinical.covariates["er"].value_counts().iter_rows())
    assert counts == {"Positive": 42, "Negative": 17, None: 1}
    assert clinical.notes == (
        "column `er`: fewer than 100 cells changed by `data.columns.er.values` "
        "(`?` to missing, `Positve` to `Positive`)",
        "column `er`: `data.columns.er.values` names what never occurs: `Negativ`",
    )


def test_a_measured_number_is_not_repeated(tiny):
    _edit(tiny, os_months=_rows(-2.103, *np.linspace(1, 60, 59)))
    with pytest.raises(CohortError, match="declare the values missing"):
        _read(tiny)
    _declare(tiny, os_months="{values: {-2.103: null}}")
    clinical = _read(tiny)
    assert clinical.without_outcome == {"no follow-up time": 1}
    assert clinical.notes == (
        "column `os_months`: fewer than 100 cells changed by `data.columns.os_months.values` (a number to missing)",
    )


def test_few_cells_are_never_counted_out():
    assert [some_cells(n) for n in (0, 1, 99, 100, 1817)] == [
        "0 cells",
        "fewer than 100 cells",
        "fewer than 100 cells",
        "100 cells",
        "1,817 cells",
    ]


def test_reading_does_not_depend_on_what_may_be_printed(tiny):
    _declare(tiny, grade="{available_at: seen}")
    _edit(tiny, dx=pl.lit("2010-01-01"), seen=pl.lit("2010-02-01"), sex=pl.lit("f"))
    tiny["endpoint"]["index_date"] = "dx"
    tiny["treatments"]["drug"]["eligible"] = "dx >= '2005-01-01' AND sex = 'f'"
    first, second = load_config(tiny), load_config(tiny | {"audit": {"min_cell": 5}})
    assert first.for_reading() == second.for_reading()
    path = clinical_file(first)
    whole, reading = read_clinical(path, first), read_clinical(path, first.for_reading())
    assert reading.covariates.equals(whole.covariates)
    assert reading.outcome.equals(whole.outcome)
    assert reading.notes == whole.notes
    assert reading.flow == whole.flow


@pytest.mark.parametrize(
    ("written", "values"),
    [
        (("yes", "no"), "{yes: 1, no: 0}"),
        (("Yes", "NO"), "{yes: 1, no: 0}"),
        (("true", "false"), "{true: 1, false: 0}"),
        (("True", "False"), "{yes: 1, no: 0}"),
        (("Y", "N"), "{Y: 1, N: 0}"),
        (("1:DECEASED", "0:LIVING"), "{'1:DECEASED': 1, '0:LIVING': 0}"),
        ((2, 1), "{1: 0, 2: 1}"),
        (("2.0", "1.0"), "{1: 0, 2: 1}"),
    ],
)
def test_events_and_treatments_are_what_their_map_says(tiny, written, values):
    before = _read(tiny)
    for name in ("os_event", "drug"):
        one, zero = (pl.lit(v) for v in written)
        _edit(tiny, **{name: pl.when(pl.col(name) == 1).then(one).otherwise(zero)})
    with pytest.raises(CohortError) as caught:
        _read(tiny)
    assert len(caught.value.problems) == 2
    _declare(tiny, os_event=f"{{values: {values}}}", drug=f"{{values: {values}}}")
    after = _read(tiny)
    assert after.outcome.equals(before.outcome)
    assert after.covariates["drug"].to_list() == before.covariates["drug"].to_list()


def test_an_exact_spelling_goes_before_a_truth_value(tiny):
    _edit(tiny, smoker=_rows("yes", "YES", "no"))
    _declare(tiny, smoker="{values: {true: 1, 'YES': 2, false: 0}}")
    assert _read(tiny).covariates["smoker"].to_list()[:3] == [1.0, 2.0, 0.0]


def test_numbers_may_be_given_names(tiny):
    _declare(tiny, grade="{values: {1: low, 2: middle, 3: high}}")
    before = pl.read_csv(Path(tiny["data"]["folder"]) / "clinical.tsv", separator="\t").sort("patient_id")["grade"]
    names = {1: "low", 2: "middle", 3: "high"}
    assert _read(tiny).covariates["grade"].to_list() == [names[g] for g in before]


def test_a_column_of_numbers_after_mapping_is_numeric(tiny):
    ages = [f"{50 + i % 30}.5" for i in range(59)]
    _edit(tiny, age=pl.Series([*ages, "about 60"]))
    with pytest.raises(CohortError, match="`age` seems to hold numbers, but 1 of its cells do not \\('about 60'\\)"):
        _read(tiny)
    _declare(tiny, age="{values: {about 60: 60}}")
    clinical = _read(tiny)
    assert clinical.covariates["age"].dtype == pl.Float64
    assert clinical.covariates["age"].to_list()[-1] == 60


def test_a_config_survives_being_written_and_read_again(tiny):
    _declare(tiny, drug="{values: {yes: 1, off: 0, 1.5: x, unknown: null}}", age="{available_at: -3, minimum: 0}")
    config = load_config(tiny)
    assert config.data.columns["drug"].values == {"true": 1.0, "false": 0.0, "1.5": "x", "unknown": None}
    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert config.data.types == {}


def test_suggested_entries_are_valid_yaml():
    for levels in (["N", "Y"], [1.0, 2.0], [False, True], ["0:LIVING", "1:DECEASED"], ['say "no"', "b", "c"], [3, 4]):
        text = entry("os_event", codes(levels)).strip("`")
        values = yaml.safe_load(text.replace("data.columns: ", "", 1))["os_event"]["values"]
        assert set(values.values()) >= {0, 1}
        assert len(values) == len(levels)
    assert codes(["yes", "no"]) == {"no": 0, "yes": 1}
    assert codes(["LIVING", "DECEASED"]) == {"LIVING": 0, "DECEASED": 1}
    assert codes([2.0, 1.0]) == {1.0: 0, 2.0: 1}
    assert codes(["AC", "none", "FEC", "unknown"]) == {"none": 0, "AC": 1, "FEC": 1, "unknown": None}


@pytest.mark.parametrize(
    ("levels", "meant"),
    [
        ({"Positive": 50, "Positve": 3, "Negative": 20}, {"Positve": "Positive"}),
        ({"Positive": 50, "positive": 40}, {"positive": "Positive"}),
        ({"Basal-like": 30, "Basal like": 20}, {"Basal like": "Basal-like"}),
        ({"invasive ductal": 90, "invasiv ductal": 4}, {"invasiv ductal": "invasive ductal"}),
        ({"Positive": 50, "Positve": 30}, {}),  # as frequent: two classes, for all that can be known
        ({"LumA": 90, "LumB": 3, "II": 80, "III": 2}, {}),
        ({"Luminal A": 90, "Luminal B": 5}, {}),
        ({"stage 1": 90, "stage 2": 5, "Male": 70, "Female": 3}, {}),
    ],
)
def test_near_spellings(levels, meant):
    series = pl.Series([level for level, n in levels.items() for _ in range(n)])
    assert _misspelt(series) == meant


def test_near_spellings_and_unknowns_are_said_with_their_entry(tiny):
    _edit(tiny, er=_rows("Positve", "unknown", *["Positive"] * 30, "Negative"))
    tiny["covariates"].append("er")
    notes = " ".join(_read(tiny).notes)
    assert '`data.columns: {er: {values: {"Positve": "Positive"}}}`' in notes
    assert '`data.columns: {er: {values: {"unknown": null}}}`' in notes
    tiny["covariates"].remove("er")
    tiny["data"]["columns"] = {"er": {}}  # declared, but nothing is learned from it
    assert _read(tiny).notes == ()


def test_unusual_nulls_are_said(tiny):
    _edit(tiny, grade=_rows("null", "NA", "", ".", "2", "3", "1"))
    clinical = _read(tiny)
    assert clinical.covariates["grade"].to_list()[:5] == [None, None, None, None, 2.0]
    assert clinical.notes == ("column `grade`: fewer than 100 cells (`.`, `null`) taken as missing",)


def test_none_is_a_class_unless_the_config_says_otherwise(tiny):
    _edit(tiny, prior=_rows("none", "AC", "None", "FEC", "none"), drug=pl.when(pl.col("drug") == 1).then(pl.lit("AC"))
          .otherwise(pl.lit("none")))  # fmt: skip
    before = pl.read_csv(Path(tiny["data"]["folder"]) / "clinical.tsv", separator="\t").sort("patient_id")["drug"]
    tiny["covariates"].append("prior")
    _declare(tiny, drug="{values: {AC: 1, none: 0}}")
    clinical = _read(tiny)
    assert clinical.covariates["prior"].to_list()[:5] == ["none", "AC", "None", "FEC", "none"]
    assert clinical.covariates["drug"].to_list() == [float(d == "AC") for d in before]
    said = [n for n in clinical.notes if "counts as a class of its own" in n]
    assert [n.split(" counts")[0] for n in said] == ["column `prior`: `None`, `none`"]
    _declare(tiny, drug="{values: {AC: 1, none: 0}}", prior="{values: {none: null, None: null}}")
    assert _read(tiny).covariates["prior"].to_list()[:5] == [None, "AC", None, "FEC", None]


def test_none_is_remarked_on_in_conditions(tiny):
    _edit(tiny, prior=_rows("none", "AC", "none"))
    tiny["treatments"]["drug"]["eligible"] = "prior = 'none'"
    assert any("column `prior`: `none` counts as a class of its own" in n for n in _read(tiny).notes)


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_a_text_that_looks_missing_may_be_given_a_meaning(tiny, suffix):
    _edit(tiny, prior=_rows("NA", "AC", "", "n/a", "NA"), grade=_rows("1", "NA", "2", " ", "3"))
    folder = Path(tiny["data"]["folder"])
    if suffix == ".parquet":
        table = pl.read_csv(folder / "clinical.tsv", separator="\t", schema_overrides={"grade": pl.String})
        table.write_parquet(folder / "clinical.parquet")
        tiny["data"]["clinical"] = "clinical.parquet"
    tiny["covariates"].append("prior")
    _declare(tiny, prior="{values: {NA: not applicable}}", grade="{values: {NA: 0}}")
    clinical = _read(tiny)
    assert clinical.covariates["prior"].to_list()[:5] == ["not applicable", "AC", None, None, "not applicable"]
    assert clinical.covariates["grade"].to_list()[:5] == [1, 0, 2, None, 3]
    assert "column `prior`: fewer than 100 cells changed by `data.columns.prior.values` (`NA` to `not applicable`)" in (
        clinical.notes
    )


def test_blanks_that_are_removed_are_said(tiny):
    _edit(tiny, hospital=_rows("north ", " south", "north", "south"))
    clinical = _read(tiny)
    assert set(clinical.covariates["hospital"]) == {"north", "south"}
    said = [n for n in clinical.notes if "blanks" in n]
    assert said == ["column `hospital`: fewer than 100 cells had blanks around them, which were removed"]


@pytest.mark.parametrize(
    ("first", "others", "found"),
    [
        ((999, 50), np.linspace(30, 90, 58), [999]),
        ((999, -9), np.linspace(30, 90, 58), [-9, 999]),
        ((-1, 50), np.linspace(0, 90, 58), [-1]),
        ((99, 88), np.linspace(30, 90, 58), []),  # ages
        ((-1, 0.5), np.linspace(-2, 2, 58), []),  # a score of both signs
        ((99, 99), [1, 2] * 29, [99]),
        ((99, 999), [99] * 58, []),  # nothing to compare with
    ],
)
def test_codes_for_missing_are_said_and_kept(tiny, first, others, found):
    _edit(tiny, age=pl.Series([*map(float, first), *map(float, others)]))
    clinical = _read(tiny)
    assert clinical.covariates["age"].to_list()[:2] == list(first)
    said = [n for n in clinical.notes if "looks like a code for missing" in n]
    assert len(said) == bool(found)
    if found:
        values = ", ".join(f"{code}: null" for code in found)
        assert f"`data.columns: {{age: {{values: {{{values}}}}}}}`" in said[0]
        _declare(tiny, age=f"{{values: {{{values}}}}}")
        assert _read(tiny).covariates["age"].null_count() == sum(code in found for code in (*first, *others))


# --- types and bounds -----------------------------------------------------------------------------------------------


def test_texts_in_numbers_are_quoted_only_if_they_are_few(tiny):
    ages = [str(40 + i) for i in range(52)]
    _edit(tiny, age=pl.Series([*ages, *[f"secret {i}" for i in range(8)]]))
    with pytest.raises(CohortError, match="8 of its cells do not \\(8 different texts\\)") as caught:
        _read(tiny)
    assert "secret" not in str(caught.value)


def test_classes_with_numbers_are_classes(tiny):
    _edit(tiny, grade=_rows("1", "2", "3", "X", "2"))
    assert _read(tiny).covariates["grade"].to_list()[:4] == ["1", "2", "3", "X"]
    _declare(tiny, grade="{type: numeric}")
    with pytest.raises(CohortError, match="`grade` is declared numeric, but 1 of its cells do not \\('X'\\)"):
        _read(tiny)


def test_declared_types_hold(tiny):
    _declare(tiny, grade="{type: categorical}", age="{type: numeric, unit: years}")
    clinical = _read(tiny)
    assert set(clinical.covariates["grade"].unique()) == {"1", "2", "3"}
    assert load_config(tiny).data.types == {"grade": "categorical", "age": "numeric"}


@pytest.mark.parametrize(
    ("factor", "bounds", "hint"),
    [
        (12, "{unit: years, minimum: 18, maximum: 110}", "divided by 10 or 12 all values fit"),
        (0.1, "{unit: years, minimum: 18, maximum: 110}", "multiplied by 7 or 10 or 12 all values fit"),
        (1e6, "{maximum: 110}", "Suggestion: correct the values, or the bounds"),
    ],
)
def test_a_slip_of_units_is_refused_with_the_factor(tiny, factor, bounds, hint):
    _edit(tiny, age=pl.Series(np.linspace(30, 80, 60)) * factor)
    _declare(tiny, age=bounds)
    with pytest.raises(CohortError, match="is not for 60 patients") as caught:
        _read(tiny)
    assert hint in str(caught.value)


def test_bounds_are_included_and_missing_values_pass(tiny):
    _edit(tiny, age=pl.Series([18.0, 110.0, None] * 20))
    _declare(tiny, age="{minimum: 18, maximum: 110}")
    assert _read(tiny).covariates["age"].to_list()[:3] == [18.0, 110.0, None]
    _edit(tiny, age=pl.Series([17.9, 110.0, None] * 20))
    with pytest.raises(CohortError, match=r"is not for 20 patients \(P000, P003, P006, P009, P012 and 15 more\)"):
        _read(tiny)
    with pytest.raises(CohortError) as caught:
        _read(tiny | {"audit": {"ids_in_messages": False}})
    assert "P000" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"age": {"minimum": 5, "maximum": 1}}, "in this order"),
        ({"age": {"type": "categorical", "minimum": 1}}, "need numbers"),
        ({"age": {"type": "date"}}, "`covariates` contains dates"),
        ({"patient_id": {}}, "is the identifier"),
        ({"drug": {"available_at": 3}}, "`treatments.drug.column`, which is never left out"),
        ({"os_months": {"available_at": 0}}, "`endpoint.time`, which is never left out"),
        ({"age": {"available_at": "seen"}}, "needs `endpoint.index_date`"),
        ({"age": {"available_at": 1}, "grade": {"available_at": 1}}, "all of them are known only after time zero"),
        ({"age": {"typ": "numeric"}}, "`data.columns.age.typ`: unknown key. Did you mean `type`?"),
    ],
)
def test_declarations_that_make_no_sense(tiny, columns, message):
    tiny["data"]["columns"] = columns
    with pytest.raises(ConfigError) as caught:
        load_config(tiny)
    assert message in str(caught.value)


# --- time zero ------------------------------------------------------------------------------------------------------


def test_a_column_known_late_is_left_out_everywhere(tiny):
    _declare(tiny, grade="{available_at: 3}")
    tiny["known_labels"] = ["grade"]
    config = load_config(tiny)
    assert config.covariates == ("age",)
    assert config.treatments["drug"].confounders == ("age",)
    assert config.known_labels == ()
    assert config.at_time_zero() == config
    clinical = _read(tiny)
    assert "grade" not in clinical.covariates.columns
    assert clinical.notes == ("column `grade` is known 3 months after time zero and is left out",)
    assert clinical.flow == (
        {
            "step": "time zero",
            "scope": "column grade",
            "n_in": 60,
            "n_out": 0,
            "reason": "known 3 months after time zero, column left out",
        },
    )


def test_what_is_known_at_or_before_time_zero_stays(tiny):
    before = _read(tiny)
    _declare(tiny, grade="{available_at: 0}", age="{available_at: -12}")
    after = _read(tiny)
    assert after.covariates.select(before.covariates.columns).equals(before.covariates)
    assert after.notes == after.flow == ()


def test_single_cells_known_late_are_missing(tiny):
    day = datetime.date(2010, 3, 1)
    seen = [day - datetime.timedelta(1), day, day + datetime.timedelta(1), None]
    _edit(tiny, diagnosis=pl.lit(str(day)), seen=pl.Series([str(d) if d else None for d in seen] * 15))
    _declare(tiny, grade="{available_at: seen}")
    tiny["endpoint"]["index_date"] = "diagnosis"
    clinical = _read(tiny)
    assert [g is None for g in clinical.covariates["grade"]] == [False, False, True, False] * 15
    assert clinical.notes == (
        "column `grade`: fewer than 100 cells known after time zero (`seen` after `diagnosis`) and taken as missing",
        "column `grade`: fewer than 100 cells with a value but without one of the two dates, kept",
    )
    assert [(r["n_in"], r["n_out"]) for r in clinical.flow] == [(60, 45)]
    assert "seen" not in clinical.covariates.columns
    assert clinical.covariates["diagnosis"].to_list()[0] == "2010-03-01"


def test_flow_of_time_zero_reaches_the_cohort(tiny, caplog):
    _declare(tiny, grade="{available_at: 3}")
    config = load_config(tiny)
    flow = read_cohort(config, clinical_file(config), omic_files(config)).flow
    assert flow.filter(pl.col("step") == "time zero").select("scope", "n_in", "n_out").row(0) == ("column grade", 60, 0)
    assert "clinical table: column `grade` is known 3 months after time zero" in caplog.text


def test_dates():
    texts = pl.Series(["2010-03-01", "2010-03-01T10:00:00", "01/03/2010", "2010-13-01", "2010", None])
    assert dates(texts).to_list() == [datetime.date(2010, 3, 1)] * 2 + [None] * 4
    assert dates(pl.Series([datetime.datetime(2010, 3, 1, 10)])).to_list() == [datetime.date(2010, 3, 1)]


# --- endpoint -------------------------------------------------------------------------------------------------------


def _competing(raw):
    cause = pl.when(pl.col("os_event") == 1).then(pl.lit("disease"))
    _edit(raw, cause=cause.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("other")))
    raw["endpoint"]["competing"] = "cause = 'other'"


def test_competing_deaths_are_censored_and_counted(tiny):
    before = _read(tiny)
    _competing(tiny)
    clinical = _read(tiny)
    assert clinical.outcome.drop("competing").equals(before.outcome.drop("competing"))
    assert before.outcome["competing"].sum() == 0
    died = clinical.outcome["competing"].sum()
    assert died > 0
    assert clinical.outcome.filter(pl.col("competing") == 1)["event"].sum() == 0
    assert dict(count_outcomes(clinical.outcome).iter_rows()) == {
        "event": before.outcome["event"].sum(),
        "competing": died,
        "censored": 60 - before.outcome["event"].sum() - died,
    }
    assert "cause" not in clinical.covariates.columns


def test_the_cause_stays_apart_even_if_it_is_declared(tiny):
    _competing(tiny)
    _declare(tiny, cause="{values: {other: Other}}")
    tiny["endpoint"]["competing"] = "cause = 'Other'"
    clinical = _read(tiny)
    assert clinical.outcome["competing"].sum() > 0
    assert "cause" not in clinical.covariates.columns


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("cause IS NOT NULL", "patients with an event (P0"),
        ("cause = 'accident'", "is met by nobody"),
        ("cause >", "not a valid condition"),
        ("age > 3 AND cause = 'other'", "column `age` tells how patients died"),
        ("caus = 'other'", "Did you mean `cause`?"),
        ("os_event = 0", "met by everybody without an event, so that nobody would be censored"),
    ],
)
def test_competing_conditions_that_make_no_sense(tiny, condition, message):
    _competing(tiny)
    tiny["endpoint"]["competing"] = condition
    with pytest.raises(CohortError) as caught:
        _read(tiny)
    assert message in str(caught.value)


def test_a_cohort_without_anybody_censored_is_remarked_on(tiny):
    alive = pl.when(pl.col("os_event") == 0).then(pl.lit("other"))
    _edit(tiny, cause=alive)
    tiny["endpoint"]["competing"] = "cause = 'other'"
    assert _read(tiny).notes == (
        "everybody without an event meets `cause = 'other'`, so that nobody is censored; check `endpoint.competing`",
    )


def test_the_key_of_a_time_that_is_too_early_or_too_late_is_named(tiny):
    tiny["endpoint"]["tau"] = 0.01
    said = check_horizons(Path("clinical.tsv"), _read(tiny).outcome, load_config(tiny))
    assert [s.partition(" months")[0] for s in said] == ["`endpoint.tau`: no event occurs within 0.01"]
    tiny["endpoint"]["tau"] = 1000
    with pytest.raises(CohortError, match=r"`endpoint.tau`: 1000 months lie beyond the longest follow-up"):
        _read(tiny)


@pytest.mark.parametrize("kind", ["class", "number"])
def test_a_covariate_that_is_the_outcome_is_remarked_on(tiny, kind):
    event, age = pl.col("os_event"), pl.col("age")
    copied = pl.when(event == 1).then(pl.lit("D")).otherwise(pl.lit("A")) if kind == "class" else 1000 * event + age
    _edit(tiny, seen=copied, rank=pl.int_range(pl.len()))
    tiny["covariates"] = [*tiny.get("covariates", []), "seen", "rank"]
    (note,) = _read(tiny).notes
    assert note.startswith("covariate `seen` nearly tells who has the event (area under the ROC curve above 0.98)")


def test_a_long_follow_up_is_remarked_on(tiny):
    assert _read(tiny).notes == ()
    _edit(tiny, os_months=pl.col("os_months") * 800 / pl.col("os_months").max())
    assert _read(tiny).notes == ("column `os_months` reaches 67 years when read as months; check `endpoint.unit`",)


def test_absent_columns_and_bad_values_are_said_together(tiny):
    _edit(tiny, os_event=pl.col("os_event") + 1, age=pl.col("age") * 12)
    _declare(tiny, age="{maximum: 110}", size="{unit: mm}")
    tiny["treatments"]["drug"]["eligible"] = "stage = 1"
    with pytest.raises(CohortError) as caught:
        _read(tiny)
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    "wrong", [{"time_months": 0.0}, {"event": 2}, {"competing": 2}, {"patient_id": "P001"}, {"extra": 1}]
)
def test_the_contract_of_outcomes_is_strict(tiny, tmp_path, wrong):
    outcome = _read(tiny).outcome
    write_table(outcome, tmp_path / "outcome.parquet", Outcome)
    assert read_table(tmp_path / "outcome.parquet", Outcome).equals(outcome)
    changed = outcome.with_columns(**{k: pl.lit(v, dtype=outcome.schema.get(k)) for k, v in wrong.items()})
    changed.write_parquet(tmp_path / "wrong.parquet")
    with pytest.raises(TableError, match="Outcome"):
        read_table(tmp_path / "wrong.parquet", Outcome)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "1", "2.5", "yes", "?", " "]), min_size=1, max_size=30), st.data())
def test_mapping_changes_only_what_it_names(cells, data):
    from stratiome.cohort.spelling import _replaced

    series = pl.Series("x", [None if c == " " else c for c in cells], dtype=pl.String)
    keys = data.draw(st.lists(st.sampled_from(["a", "b", "1", "?"]), unique=True))
    made, _ = _replaced(series, dict.fromkeys(keys, "new"))
    assert made.null_count() == series.null_count()
    for old, new in zip(series, made.cast(pl.String), strict=True):
        if old in keys:
            assert new == "new"
        elif old is not None:
            assert new == old or float(new) == float(old)


# --- other names and units ------------------------------------------------------------------------------------------


def test_a_column_of_another_name_and_unit_is_read(tiny):
    before = _read(tiny).covariates["age"]
    path = Path(tiny["data"]["folder"]) / "clinical.tsv"
    pl.read_csv(path, separator="\t").rename({"age": "age in years"}).write_csv(path, separator="\t")
    _declare(tiny, age="{column: age in years, multiply: 12, unit: months}")
    clinical = _read(tiny)
    np.testing.assert_allclose(clinical.covariates["age"].to_numpy(), 12 * before.to_numpy())
    assert "column `age`: `age in years` of the file" in clinical.notes
    assert "column `age`: multiplied by 12 (`data.columns.age.multiply`)" in clinical.notes


def test_texts_are_not_multiplied(tiny):
    _declare(tiny, hospital="{multiply: 2}")
    said = r"`data.columns.hospital.multiply`: the column holds texts.*hospital.values`"
    with pytest.raises(CohortError, match=said):
        _read(tiny)


# --- enough for an analysis, or for scores only ---------------------------------------------------------------------


def _few(config: dict, change: pl.Expr) -> Path:
    path = Path(config["data"]["folder"]) / "clinical.tsv"
    pl.read_csv(path, separator="\t").with_columns(change).write_csv(path, separator="\t")
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pl.lit(0).alias("os_event"), "has only one value"),
        (pl.lit(50.0).alias("age"), "is the same for everybody"),
        (pl.lit(None).alias("age"), "has no value at all"),
        (pl.lit(1).alias("drug"), "a treatment effect needs treated and untreated patients"),
    ],
)
def test_what_only_an_analysis_needs_is_put_aside_where_none_is_meant(tiny, change, said):
    path = _few(tiny, change)
    config = load_config(tiny)
    with pytest.raises(CohortError, match=said):
        read_clinical(path, config)
    assert any(said in text for text in read_clinical(path, config, enough=False).too_few)


def test_what_is_wrong_for_scores_too_is_refused_all_the_same(tiny):
    path = _few(tiny, pl.lit(-3.0).alias("os_months"))
    with pytest.raises(CohortError, match="is negative or infinite"):
        read_clinical(path, load_config(tiny), enough=False)


def test_without_an_endpoint_nobody_has_an_outcome(tiny):
    raw = {k: v for k, v in tiny.items() if k != "endpoint"} | {"bundle": {"apply": "elsewhere"}}
    config = load_config(raw)
    assert not config.endpoint.given
    clinical = read_clinical(clinical_file(config), config, enough=False)
    assert clinical.outcome.is_empty()
    assert clinical.without_outcome == {"the config names no outcome": clinical.covariates.height}
    assert set(clinical.covariates.columns) == set(_read(tiny).covariates.columns)
    again = load_config(config.for_reading().model_dump(mode="json"))
    assert not again.endpoint.given


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("{column: agee}", "has no column `agee`. Suggestion: did you mean `age`"),
        ("{column: zzz}", "has no column `zzz`. Suggestion: check how the file spells it"),
    ],
)
def test_a_column_that_is_meant_must_be_there(tiny, declared, said):
    tiny["data"]["columns"] = {"years": yaml.safe_load(declared)}
    with pytest.raises(CohortError, match=r"`data\.columns\.years\.column`") as caught:
        _read(tiny)
    assert said in str(caught.value)


def test_a_column_that_is_there_already_is_not_replaced(tiny):
    _declare(tiny, age="{column: os_months}")
    with pytest.raises(CohortError, match="has a column `age` of its own"):
        _read(tiny)


# --- features that are asked for ------------------------------------------------------------------------------------


def test_only_listed_features_are_kept(tiny, tmp_path):
    name = next(iter(tiny["data"]["omics"]))
    config = load_config(tiny)
    whole = read_cohort(config, clinical_file(config), omic_files(config)).matrices[name]
    wanted = list(whole.source.features[::3])
    (Path(tiny["data"]["folder"]) / "kept.txt").write_text("\n".join([*reversed(wanted), "", "nowhere"]))
    tiny["data"]["omics"][name]["only"] = "kept.txt"
    config = load_config(tiny)
    part = read_cohort(config, clinical_file(config), omic_files(config))
    assert part.matrices[name].source.features == tuple(wanted)
    np.testing.assert_array_equal(part.matrices[name].values(), whole.values()[:, ::3])
    notes = part.notes.filter(pl.col("scope") == name)["note"].to_list()
    asked = f"{len(wanted)} of {len(whole.source.features)} features kept, those that `kept.txt` lists"
    assert f"{asked}; 1 that it lists are not there" in notes


def test_a_list_without_any_feature_of_the_matrix_is_refused(tiny):
    name = next(iter(tiny["data"]["omics"]))
    (Path(tiny["data"]["folder"]) / "kept.txt").write_text("nowhere")
    tiny["data"]["omics"][name]["only"] = "kept.txt"
    config = load_config(tiny)
    with pytest.raises(CohortError, match=f"`data.omics.{name}.only`.*lists none of the"):
        read_cohort(config, clinical_file(config), omic_files(config))


def test_a_list_that_is_not_there_is_said_before_any_job(tiny):
    name = next(iter(tiny["data"]["omics"]))
    tiny["data"]["omics"][name]["only"] = "kept.txt"
    tiny["bundle"] = {"apply": "there", "features": {name: "names.tsv"}}
    with pytest.raises(ConfigError) as caught:
        plan(tiny, "config.yaml")
    for key, file in ((f"data.omics.{name}.only", "kept.txt"), (f"bundle.features.{name}", "names.tsv")):
        assert f"`{key}`" in str(caught.value)
        assert file in str(caught.value)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=60))
def test_area_under_the_curve_is_that_of_scikit_learn(pairs):
    from sklearn.metrics import roc_auc_score

    score, event = pl.Series([float(s) for s, _ in pairs]), pl.Series([e for _, e in pairs])
    if event.n_unique() == 2:
        assert _area_under_roc(score, event) == pytest.approx(roc_auc_score(event.to_numpy(), score.to_numpy()))


def test_a_plan_imports_no_library_of_models(tiny):
    """Every job of a cluster plans anew, twice; scikit-learn, SciPy and PyTorch take longer than all it does."""
    import json
    import os
    import subprocess
    import sys

    from conftest import ROOT

    code = "import json, sys; from stratiome.plan import plan; plan(json.loads(sys.argv[1]), 'x'); print(*sys.modules)"

    env = os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts")}
    call = [sys.executable, "-c", code, json.dumps(tiny)]
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=env)
    assert not {"sklearn", "scipy", "torch", "lifelines", "scanpy", "anndata"} & set(done.stdout.split())
