"""Clinical design matrices: learned on training rows, defined for every row."""

import numpy as np
import polars as pl
import pytest

from stratiome.survival.design import ClinicalDesign


def _table(n: int = 40) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "age": rng.normal(60, 10, n),
            "size": [None if i % 5 == 0 else float(i) for i in range(n)],
            "er": [["pos", "neg", "pos", None][i % 4] for i in range(n)],
            "same": [3.0] * n,
        },
        schema={"age": pl.Float64, "size": pl.Float64, "er": pl.String, "same": pl.Float64},
    )


TRAIN = np.arange(40) < 30


def test_numeric_columns_are_standardised_on_training_rows():
    table = _table()
    design = ClinicalDesign.fit(table, ("age",), {}, TRAIN)
    x = design.transform(table)
    assert design.names == ["age"]
    assert x[TRAIN, 0].mean() == pytest.approx(0, abs=1e-12)
    assert x[TRAIN, 0].std() == pytest.approx(1, abs=1e-12)


def test_missing_numbers_take_the_median_and_an_indicator():
    table = _table()
    design = ClinicalDesign.fit(table, ("size",), {}, TRAIN)
    x = design.transform(table)
    assert design.names == ["size", "size: missing"]
    missing = table["size"].is_null().to_numpy()
    median = float(np.median(table["size"].to_numpy()[TRAIN & ~missing]))
    term = design.terms[0]
    np.testing.assert_allclose(x[missing, 0], (median - term.centre) / term.scale)
    np.testing.assert_array_equal(x[:, 1], missing)


def test_levels_against_the_most_frequent_one():
    table = _table()
    design = ClinicalDesign.fit(table, ("er",), {}, TRAIN)
    x = design.transform(table)
    assert design.names == ["er: neg", "er: missing"]
    np.testing.assert_array_equal(x[:, 0], (table["er"] == "neg").fill_null(False).to_numpy())
    np.testing.assert_array_equal(x[:, 1], table["er"].is_null().to_numpy())


def test_rare_and_unseen_levels_count_as_the_reference():
    table = _table().with_columns(
        pl.Series("er", ["a"] * 14 + ["b"] * 12 + ["rare"] * 4 + ["unseen"] * 10, dtype=pl.String)
    )
    design = ClinicalDesign.fit(table, ("er",), {}, TRAIN)
    assert design.names == ["er: b"]
    np.testing.assert_array_equal(design.transform(table)[26:, 0], 0.0)
    assert design.remarks == "rare classes joined with the reference: er (rare)"
    alone = ClinicalDesign.fit(table.with_columns(pl.col("er").replace("b", "a")), ("er", "age"), {}, TRAIN)
    assert (alone.names, alone.remarks) == (["age"], design.remarks)  # no term is left, and yet it is said
    assert ClinicalDesign.fit(table, ("age",), {}, TRAIN).remarks == ""


def test_references_are_named():
    table = _table()
    design = ClinicalDesign.fit(table, ("age", "size", "er"), {}, TRAIN)
    counts = table.filter(pl.Series(TRAIN))["er"].drop_nulls().value_counts().sort("count")
    most = counts["er"][-1]
    assert design.references == {"size: missing": "recorded, at the median", "er: neg": most, "er: missing": most}
    rare = table.with_columns(pl.Series("er", ["a"] * 14 + ["b"] * 12 + ["rare"] * 4 + ["a"] * 10, dtype=pl.String))
    assert ClinicalDesign.fit(rare, ("er",), {}, TRAIN).references == {"er: b": "a or a rare class"}


def test_a_constant_column_makes_no_term():
    table = _table()
    design = ClinicalDesign.fit(table, ("same", "age"), {}, TRAIN)
    assert design.names == ["age"]
    assert ClinicalDesign.fit(table, ("same",), {}, TRAIN).transform(table).shape == (40, 0)


def test_a_column_missing_everywhere_in_training_makes_no_term():
    table = _table().with_columns(pl.when(pl.Series(TRAIN)).then(None).otherwise(pl.col("age")).alias("age"))
    assert ClinicalDesign.fit(table, ("age",), {}, TRAIN).names == []


def test_declared_types_win():
    table = _table().with_columns(pl.Series("grade", [1.0, 2.0, 3.0, 2.0] * 10))
    assert ClinicalDesign.fit(table, ("grade",), {"grade": "categorical"}, TRAIN).names == ["grade: 1.0", "grade: 3.0"]
    assert ClinicalDesign.fit(table, ("grade",), {}, TRAIN).names == ["grade"]


def test_held_out_rows_change_nothing_learned():
    table = _table()
    noise = np.random.default_rng(9)
    other = pl.DataFrame(
        {
            "age": np.where(TRAIN, table["age"].to_numpy(), noise.normal(0, 1e6, 40)),
            "size": [v if t else None for v, t in zip(table["size"], TRAIN, strict=True)],
            "er": [v if t else "noise" for v, t in zip(table["er"], TRAIN, strict=True)],
        },
        schema={"age": pl.Float64, "size": pl.Float64, "er": pl.String},
    )
    columns = ("age", "size", "er")
    first, second = (ClinicalDesign.fit(t, columns, {}, TRAIN) for t in (table, other))
    assert first == second
    np.testing.assert_array_equal(first.transform(table)[TRAIN], second.transform(other)[TRAIN])


def test_every_value_is_finite():
    table = _table()
    x = ClinicalDesign.fit(table, ("age", "size", "er", "same"), {}, TRAIN).transform(table)
    assert np.isfinite(x).all()
