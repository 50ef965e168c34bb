"""Features: learned on training patients only."""

import numpy as np

from stratiome.config import FeatureConfig
from stratiome.features.block import Block, FeatureSet, read_features, write_features
from stratiome.features.build import fit_transform, make_block, save_transforms


def _data(seed=0, n=200, p=8):
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 2, (n, p)).astype(np.float32)
    values[rng.random((n, p)) < 0.05] = np.nan
    return values, rng.random(n) < 0.7, rng.choice(["a", "b", "c"], n).astype(object)


def test_training_patients_are_standardised():
    values, train, _ = _data()
    out = fit_transform(values, train, FeatureConfig(), continuous=True).apply(values, None)
    np.testing.assert_allclose(np.nanmean(out[train], axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(out[train], axis=0), 1, atol=1e-5)
    assert np.isnan(out).sum() == np.isnan(values).sum()


def test_held_out_patients_change_nothing(tmp_path):
    values, train, site = _data()
    noisy = values.copy()
    noisy[~train] = np.random.default_rng(9).normal(100, 50, noisy[~train].shape)
    moved = site.copy()
    moved[~train] = "a"
    files = []
    for i, (v, s) in enumerate([(values, site), (noisy, moved)]):
        t = fit_transform(v, train, FeatureConfig(), continuous=True, site=s)
        save_transforms({"x": t}, {"x": tuple("abcdefgh")}, str(tmp_path / f"{i}.safetensors"))
        files.append((tmp_path / f"{i}.safetensors").read_bytes())
    assert files[0] == files[1]


def test_scaling_on_all_patients_is_seen_by_that_test():
    values, train, _ = _data()
    noisy = values.copy()
    noisy[~train] = 100
    everybody = np.ones(len(train), dtype=bool)  # the mutant: learn on all
    a = fit_transform(values, everybody, FeatureConfig(), continuous=True).mean
    b = fit_transform(noisy, everybody, FeatureConfig(), continuous=True).mean
    assert not np.allclose(a, b)


def test_site_shifts_are_removed_and_shrunk():
    rng = np.random.default_rng(1)
    site = np.repeat(["a", "b"], 500).astype(object)
    values = rng.normal(size=(1000, 20)).astype(np.float32)
    values[site == "b", :10] += 2.0
    t = fit_transform(values, np.ones(1000, bool), FeatureConfig(), continuous=True, site=site)
    out = t.apply(values, site)
    assert np.abs(out[site == "b"].mean(0) - out[site == "a"].mean(0)).max() < 0.15
    np.testing.assert_allclose(t.shifts[1, :10] - t.shifts[0, :10], 2.0, atol=0.2)
    # Without a true difference little is removed: the prediction is shrunk toward none.
    raw = values[site == "b", 10:].mean(0) - values[site == "a", 10:].mean(0)
    assert np.abs(t.shifts[1, 10:] - t.shifts[0, 10:]).mean() < np.abs(raw).mean()
    new = t.apply(values[:5], np.array(["z"] * 5, dtype=object))
    np.testing.assert_allclose(new, ((values[:5] - t.mean) / t.scale), rtol=1e-5)


def test_selection_by_variance_missingness_and_carriers():
    values, train, _ = _data()
    values[:, 0] = 1
    values[: len(values) // 2, 1] = np.nan
    values[:, 2] *= 10
    t = fit_transform(values, train, FeatureConfig(max_features=2), continuous=True)
    assert 0 not in t.keep
    assert 1 not in t.keep
    assert 2 in t.keep
    genes = np.zeros((100, 3), dtype=np.float32)
    genes[:2, 0] = 1
    genes[:40, 1] = 1
    genes[:99, 2] = 1
    assert fit_transform(genes, np.ones(100, bool), FeatureConfig(), continuous=False).keep.tolist() == [1]


def test_features_survive_the_file(tmp_path):
    values, train, _ = _data(n=30)
    values[:10] = np.nan
    t = fit_transform(values, train[:30], FeatureConfig(max_missing=0.5), continuous=True)
    block = make_block("x", values, tuple("abcdefgh"), t, "gaussian", None)
    other = Block("y", (np.arange(60).reshape(30, 2) % 2).astype(np.float32), "bernoulli", ("g1", "g2"))
    given = FeatureSet(tuple(f"p{i:02d}" for i in range(30)), np.where(train[:30], "train", "test"), (block, other))
    write_features(given, str(tmp_path / "f.h5mu"))
    back = read_features(str(tmp_path / "f.h5mu"))
    assert back.patient_ids == given.patient_ids
    assert (back.roles == given.roles).all()
    for a, b in zip(back.blocks, given.blocks, strict=True):
        assert (a.name, a.likelihood, a.features) == (b.name, b.likelihood, b.features)
        np.testing.assert_array_equal(a.values, b.values)
    assert not back.blocks[0].present[:10].any()
