"""Kinds of omic: what they accept, and that their change of scale learns nothing."""

import numpy as np
import pytest

from held_omic import Held
from stratiome import omics
from stratiome.config import Kind
from stratiome.omics import OmicError
from stratiome.quality.metrics import feature_quality, omic_quality

KINDS = Kind.__args__


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_the_config_has_a_module(name):
    assert omics.get(name).name == name


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("counts", -1, "negative"),
        ("counts", np.nan, "missing"),
        ("methylation", 1.2, "outside 0 to 1"),
        ("mutation", 2, "not 0 or 1"),
        ("copy_number", 99, "beyond 20"),
        ("mirna", -0.1, "negative"),
    ],
)
def test_values_that_do_not_fit_are_refused(kind, value, message):
    values = np.ones((4, 3), dtype=np.float32)
    values[1, 2] = value
    with pytest.raises(OmicError, match=message):
        omics.get(kind).check(values, "f.tsv")


@pytest.mark.parametrize("name", KINDS)
def test_scale_of_a_patient_does_not_depend_on_the_others(name):
    rng = np.random.default_rng(0)
    values = (
        rng.integers(0, 2, (20, 7)).astype(np.float32) if name == "mutation" else rng.random((20, 7)).astype(np.float32)
    )
    values[:, 0] = 1
    kind = omics.get(name)
    np.testing.assert_allclose(kind.scale(values)[3:4], kind.scale(values[3:4]), rtol=1e-6)


def test_counts_scale_is_log_of_counts_per_ten_thousand():
    values = np.array([[1, 3], [10, 0]], dtype=np.float32)
    np.testing.assert_allclose(
        omics.get("counts").scale(values), np.log1p(values / values.sum(1, keepdims=True) * 1e4), rtol=1e-6
    )


def test_m_values():
    np.testing.assert_allclose(omics.get("methylation").scale(np.array([[0.5, 0.8]])), [[0, 2]], atol=1e-6)


def test_quality_flags():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(50, 6)).astype(np.float32)
    values[:, 1] = 3
    values[:30, 2] = np.nan
    values[:, 4] = values[:, 3]
    values[0, 5] = 500
    omic = Held("x", tuple(f"P{i:02d}" for i in range(50)), tuple("abcdef"), values)
    table = feature_quality(omic, omics.get("expression"))
    assert table["flag"].to_list() == ["", "constant", "mostly missing", "", "same values as d", "heavy tail"]
    np.testing.assert_allclose(table["mean"][0], values[:, 0].mean(), rtol=1e-5)
    rows = {r["metric"]: r["value"] for r in omic_quality(omic, table, omics.get("expression"), 60)}
    assert rows["features: constant"] == 1
    assert rows["patients"] == 50
