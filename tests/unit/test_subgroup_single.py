"""Whether a single feature tells the subgroups apart."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from stratiome.features.block import Block, FeatureSet
from stratiome.report import verdicts
from stratiome.subgroups.batch import measured_omics
from stratiome.subgroups.single import single_features_table
from stratiome.tables import Subgroups, from_rows


def cohort(values: dict[str, np.ndarray], label: np.ndarray) -> tuple[FeatureSet, pl.DataFrame]:
    """Features of given values, and subgroups of a model; subgroup 0 is unassigned."""
    ids = tuple(f"P{i:03d}" for i in range(len(label)))
    blocks = tuple(
        Block(name, v.astype(np.float32), "gaussian", tuple(f"{name}{j}" for j in range(v.shape[1])))
        for name, v in values.items()
    )
    rows = [
        {"patient_id": p, "resample": "full", "role": "train", "model": "vae", "subgroup": int(s), "probability": 1.0}
        for p, s in zip(ids, label, strict=True)
    ]
    return FeatureSet(ids, np.full(len(ids), "train"), blocks), from_rows(rows, Subgroups)


def best(table: pl.DataFrame) -> dict:
    return table.sort("estimate", descending=True).row(0, named=True)


def one_locus(rng: np.random.Generator, n: int = 300) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Subgroups that are the loss of one segment with three genes, beside genes that know nothing of it."""
    lost = rng.random(n) < 0.4
    segment = -2.0 * lost[:, None] + 0.2 * rng.normal(size=(n, 1)) + 0.1 * rng.normal(size=(n, 3))
    cna = np.column_stack([rng.normal(size=(n, 5)), segment])
    return {"cna": cna, "mrna": rng.normal(size=(n, 30))}, 1 + lost


def many_features(rng: np.random.Generator, n: int = 300) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Subgroups that only many features together can tell."""
    group = rng.integers(2, size=n)
    return {"cna": rng.normal(size=(n, 8)), "mrna": rng.normal(size=(n, 30)) + group[:, None]}, 1 + group


def test_subgroups_of_one_event_are_told_by_one_feature():
    table = single_features_table(*cohort(*one_locus(np.random.default_rng(1))))
    found = best(table)
    assert found["omic"] == "cna"
    assert found["feature"] in {"cna5", "cna6", "cna7"}
    assert found["estimate"] > 0.95
    assert found["linked"] == 2
    said = verdicts.one_event(found)
    assert said.startswith(f"They may be one event: one feature, {found['feature']} (")
    assert "two of the same omic go with it" in said


def test_subgroups_of_many_features_are_not_called_one_event():
    table = single_features_table(*cohort(*many_features(np.random.default_rng(2))))
    found = best(table)
    assert found["omic"] == "mrna"
    assert found["estimate"] < 0.5
    assert verdicts.one_event(found) == ""
    assert set(table["omic"]) == {"cna", "mrna"}


def test_the_estimate_is_that_of_the_best_cut_of_two_normals():
    """Centres one standard deviation apart: `(2 Phi(1/2) - 1)^2` of 0.147 with equal sizes."""
    rng = np.random.default_rng(7)
    group = rng.integers(2, size=4000)
    values = {"mrna": rng.normal(size=(4000, 1)) + group[:, None]}
    assert best(single_features_table(*cohort(values, 1 + group)))["estimate"] == pytest.approx(0.147, abs=0.03)


def test_three_levels_of_one_feature_tell_three_subgroups():
    rng = np.random.default_rng(3)
    label = rng.integers(3, size=300)
    copies = np.column_stack([label + 0.1 * rng.normal(size=300), rng.normal(size=300)])
    assert best(single_features_table(*cohort({"cna": copies}, label + 1)))["estimate"] > 0.95


def test_unassigned_patients_and_missing_values_are_left_out():
    values, label = one_locus(np.random.default_rng(4))
    values["cna"][:100] = np.nan
    label = np.where(np.arange(300) < 150, 0, label)
    features, full = cohort(values, label)
    found = best(single_features_table(features, full))
    assert found["n"] == 150
    assert found["estimate"] > 0.95
    held_out = full.with_columns(pl.lit("test").alias("role"))
    assert single_features_table(features, held_out).height == 0


def test_one_group_has_no_row():
    values, label = one_locus(np.random.default_rng(5))
    assert single_features_table(*cohort(values, np.ones_like(label))).height == 0


def test_what_was_measured_is_a_variable_only_if_it_differs():
    values, label = one_locus(np.random.default_rng(6), n=60)
    features, _ = cohort(values, label)
    assert measured_omics(features, list(features.patient_ids)) == []
    values["mrna"][:20] = np.nan
    values["cna"][:5] = np.nan
    features, _ = cohort(values, label)
    (found,) = measured_omics(features, ["unknown", *features.patient_ids])
    assert found.role == "batch"
    assert found.values[0] is None
    assert found.values[[1, 10, 40]].tolist() == ["none", "cna", "cna + mrna"]
