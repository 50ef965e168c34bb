"""Kinds of omic: what they accept, and that their change of scale learns nothing."""

import numpy as np
import pytest

from stratiome import omics
from stratiome.config import Kind
from stratiome.omics import OmicError
from stratiome.omics.kind import quantiles
from stratiome.omics.screen import UnitScreen, second_scale

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


def test_percentages_and_logarithms_are_refused_with_a_way_out():
    rng = np.random.default_rng(0)
    with pytest.raises(OmicError, match=r"percentages\. Suggestion: divide by 100"):
        omics.get("methylation").check(rng.uniform(0, 100, (5, 4)).astype(np.float32), "f.tsv")
    reads = rng.integers(1, 5000, (6, 30)).astype(np.float32)
    omics.get("mirna").check(reads, "f.tsv")
    with pytest.raises(OmicError, match=r"these are logarithms\. Suggestion: give counts"):
        omics.get("mirna").check(np.log2(1 + reads), "f.tsv")


def test_row_quantiles_are_those_of_numpy():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(9, 31)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    values[4] = np.nan
    found = quantiles(values, (0.1, 0.5, 0.75))
    assert np.isnan(found[:, 4]).all()
    rest = np.arange(9) != 4
    np.testing.assert_allclose(
        found[:, rest], np.nanquantile(values[rest].astype(np.float64), [0.1, 0.5, 0.75], axis=1), rtol=1e-6
    )


def test_counts_have_the_measures_of_scanpy():
    values = np.array([[90, 6, 4, 0], [1, 1, 0, 2]], dtype=np.float32)
    found = omics.get("counts").measure(values, ("A", "B", "MT-C", "D"))
    np.testing.assert_allclose(found["total"], [100, 4])
    np.testing.assert_allclose(found["detected"], [3, 3])
    np.testing.assert_allclose(found["mitochondrial"], [4, 0])
    np.testing.assert_allclose(found["top"], [100, 100])
    assert "mitochondrial" not in omics.get("counts").measure(values, ("A", "B", "C", "D"))


def _screen(kind, values, step=17):
    screen = UnitScreen(omics.get(kind), len(values))
    for start in range(0, len(values), step):
        part = np.arange(start, min(start + step, len(values)))
        screen.add(part, values[part])
    return screen


def _log_expression(n=120, p=60, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(8, 2, p) + rng.normal(0, 0.8, (n, p)) + rng.normal(0, 0.2, (n, 1))).astype(np.float32)


UNITS = {
    "factor 1000": lambda x: x * 1000,
    "divided by 1000": lambda x: x / 1000,
    "linear among logarithms": lambda x: 2.0**x,
    "natural among binary logarithms": lambda x: x * np.log(2),
    "log10 among binary logarithms": lambda x: x * np.log10(2),
}


@pytest.mark.parametrize("slip", UNITS)
@pytest.mark.parametrize("share", [0.07, 0.3, 0.5])
def test_patients_in_another_unit_are_found(slip, share):
    values = _log_expression()
    other = np.arange(len(values)) < share * len(values)
    values[other] = UNITS[slip](values[other])
    found = _screen("expression", values).two_scales()
    assert found.beyond_doubt
    assert (found.members == other).all() or (share == 0.5 and (found.members == ~other).all())


def test_logarithms_among_linear_values_and_among_reads_are_found():
    linear = 2.0 ** _log_expression()
    linear[:12] = np.log2(1 + linear[:12])
    found = _screen("expression", linear).two_scales()
    assert found.members.nonzero()[0].tolist() == list(range(12))
    reads = np.random.default_rng(0).poisson(2.0 ** np.linspace(-2, 14, 80), (120, 80)).astype(np.float32)
    assert _screen("counts", reads).two_scales() is None
    reads[:12] = np.log2(1 + reads[:12])
    assert _screen("counts", reads).two_scales().members.nonzero()[0].tolist() == list(range(12))


def test_one_unit_raises_no_alarm():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        values = _log_expression(seed=seed)
        values[: len(values) // 2] += 0.5  # a batch
        values[rng.choice(len(values), 3, replace=False)] += 6  # outliers, too few for a unit
        assert _screen("expression", values).two_scales() is None
        libraries = rng.poisson(rng.lognormal(0, 1.2, (120, 1)) * 2.0 ** np.linspace(-2, 12, 50)).astype(np.float32)
        assert _screen("mirna", libraries + 1).two_scales() is None


def test_a_split_of_one_gaussian_lies_as_close_as_its_halves():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=4000)
    assert second_scale(numbers, 0.1, "location") is None
    both = np.concatenate([numbers, 15 + rng.normal(size=1000)])
    found = second_scale(both, 0.1, "location")
    assert found.members.nonzero()[0].tolist() == list(range(4000, 5000))
    np.testing.assert_allclose(found.distance, 15, rtol=0.1)


def test_patients_with_many_undetected_genes_are_no_second_unit():
    rng = np.random.default_rng(0)
    values = rng.gamma(8, 0.15, (100, 80)).astype(np.float32)
    values[rng.random(values.shape) < np.where(np.arange(100) < 50, 0.55, 0.3)[:, None]] = 0
    assert _screen("expression", values).two_scales() is None


def test_a_small_linear_panel_is_one_unit():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        panel = 2.0 ** (rng.normal(4, 1.5, 12) + rng.normal(size=(60, 12)))  # the largest value is near the limit of 50
        assert _screen("expression", panel.astype(np.float32)).two_scales() is None


def test_a_linear_scale_is_told_from_logarithms_z_scores_and_ranks():
    values = _log_expression()
    assert _screen("expression", 2.0**values).linear
    assert not _screen("expression", values).linear
    assert not _screen("expression", (values - values.mean(0)) * 300).linear
    ranks = np.argsort(np.argsort(values, axis=1), axis=1).astype(np.float32)
    assert not _screen("protein", ranks * 5).linear
    assert not _screen("features", 2.0**values).linear
    kind = omics.get("expression", omics.LINEAR)
    np.testing.assert_allclose(kind.scale(np.array([[0, 1, 7, -2.0]])), [[0, 1, 3, 0]])
    assert kind.scaled_unit == "log2(1 + value)"


@pytest.mark.parametrize("genes", [200, 2000])
@pytest.mark.parametrize("seed", range(5))
def test_shallow_counts_are_not_two_units(genes, seed):
    # A quartile that lies among genes without reads in one patient and with one read in the next jumps.
    rng = np.random.default_rng(seed)
    mean = rng.gamma(0.5, 20.0, genes)
    counts = rng.poisson(mean * rng.lognormal(0.0, 0.3, (300, 1))).astype(np.float32)
    assert _screen("counts", counts).two_scales() is None
    counts[:60] = np.log2(1 + counts[:60])
    members = _screen("counts", counts).two_scales().members
    assert members[:60].all()
    assert members[60:].sum() <= 1  # of 200 genes, one patient in some cohorts is as narrow as logarithms are
