"""Features: learned on training patients only."""

import json

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from sklearn.preprocessing import QuantileTransformer

from stratiome.config import FeatureConfig
from stratiome.features.block import Block, FeatureSet, read_features, write_features
from stratiome.features.build import add_counts, fit_transform, make_block, save_transforms, summarise
from stratiome.features.tails import RankScores
from stratiome.tables import FeatureSummary, from_rows, write_table


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
    # Without a true difference in any feature little is removed: the prediction is shrunk toward none.
    raw = values[site == "b", 10:].mean(0) - values[site == "a", 10:].mean(0)
    same = fit_transform(values[:, 10:], np.ones(1000, bool), FeatureConfig(), continuous=True, site=site)
    assert np.abs(same.shifts[1] - same.shifts[0]).mean() < 0.5 * np.abs(raw).mean()
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


def test_raw_counts_come_along_for_the_kept_features_and_the_library_for_all():
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.uniform(1, 40, 6), size=(20, 6)).astype(np.float32)
    place = np.array([3, 0, *range(4, 22)])  # 22 patients, two of them not measured
    values = np.full((22, 6), np.nan, dtype=np.float32)
    values[place] = np.log1p(counts)
    t = fit_transform(values, np.ones(22, bool), FeatureConfig(max_features=4), continuous=True)
    block = make_block("rna", values, tuple("abcdef"), t, "gaussian", None)
    pieces = [(slice(0, 7), counts[:7]), (slice(7, 20), counts[7:])]
    found = add_counts(block, t, place, pieces)
    np.testing.assert_array_equal(found.counts[place], counts[:, t.keep])
    np.testing.assert_array_equal(found.library[place], counts.sum(axis=1))
    assert np.isnan(found.counts[[1, 2]]).all()
    assert np.isnan(found.library[[1, 2]]).all()
    assert found.features == block.features


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


def _heavy(seed=0, n=300):
    """Gaussian, reference z-scores with a long tail, mostly one value with a long tail, calls, with gaps."""
    rng = np.random.default_rng(seed)
    values = np.column_stack(
        [
            rng.normal(size=n),
            np.exp(rng.normal(0, 3, n)) - 1,
            np.where(rng.random(n) < 0.7, -0.3, np.exp(rng.normal(0, 3, n))),
            rng.integers(-2, 3, n),
        ]
    ).astype(np.float32)
    values[rng.random(values.shape) < 0.03] = np.nan
    return values, np.arange(n) < 200


def test_heavy_tails_become_the_normal_scores_of_scikit_learn():
    values, train = _heavy()
    t = fit_transform(values, train, FeatureConfig(), continuous=True)
    assert t.keep[t.ranks.columns].tolist() == [1, 2]
    kept = values.astype(np.float64)
    t.ranks.apply(kept)
    np.testing.assert_array_equal(kept[:, [0, 3]], values[:, [0, 3]])
    for j in (1, 2):
        column = values[:, [j]].astype(np.float64)
        oracle = QuantileTransformer(n_quantiles=200, output_distribution="normal", subsample=None)
        expected = oracle.fit(column[train]).transform(column)[:, 0]
        n = np.isfinite(column[train]).sum()
        # scikit-learn sends every value at either end to 5.2 SD, also where most patients are tied there.
        inside = (column[:, 0] > np.nanmin(column[train])) & (column[:, 0] < np.nanmax(column[train]))
        inside &= np.abs(expected) < 2.5
        assert inside.sum() > (280 if j == 1 else 80)
        np.testing.assert_allclose(kept[inside, j], expected[inside], atol=1e-6)
        assert (np.isnan(kept[:, j]) == np.isnan(column[:, 0])).all()
        # The ends are those of n values, not of a continuum: no patient becomes an outlier by being the first.
        assert np.nanmax(np.abs(kept[:, j])) <= -_score(0.5 / n) + 1e-9
    tied = values[:, 2] == np.float32(-0.3)
    share = tied[train].sum() / np.isfinite(values[train, 2]).sum()
    np.testing.assert_allclose(kept[tied, 2], _score(share / 2), atol=0.02)  # the middle of the ranks they share
    out = t.apply(values, None)
    np.testing.assert_allclose(np.nanmean(out[train], axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(out[train], axis=0), 1, atol=1e-5)


def _score(share):
    from scipy.stats import norm

    return float(norm.ppf(share))


def test_ranks_do_not_depend_on_a_monotonic_change_and_keep_order():
    values, train = _heavy()
    only = values[:, [1]].astype(np.float64)
    t = fit_transform(only, train, FeatureConfig(tails="rank"), continuous=True)
    other = fit_transform(np.log(only + 2), train, FeatureConfig(tails="rank"), continuous=True)
    here = train & np.isfinite(only[:, 0])
    # Exact at the training values where every one is a quantile; between them the interpolation differs.
    np.testing.assert_allclose(t.apply(only, None)[here], other.apply(np.log(only + 2), None)[here], atol=0.02)
    order = np.argsort(only[here, 0])
    assert (np.diff(t.apply(only, None)[here, 0][order]) >= 0).all()


@pytest.mark.parametrize(("tails", "columns"), [("none", []), ("auto", [1, 2]), ("rank", [0, 1, 2, 3])])
def test_setting_of_tails(tails, columns):
    values, train = _heavy()
    t = fit_transform(values, train, FeatureConfig(tails=tails), continuous=True)
    assert t.ranks.columns.tolist() == columns
    if tails == "none":  # without ranks extremes are clipped
        assert np.nanmax(t.apply(values, None)) == 8


def test_extremes_do_not_choose_the_features():
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, (200, 4)).astype(np.float32)
    values[:, 0] *= 0.01
    values[5, 0] = 36893
    values[:, 1] *= 3
    train = np.ones(200, bool)
    assert fit_transform(values, train, FeatureConfig(max_features=3), continuous=True).keep.tolist() == [1, 2, 3]
    assert 0 in fit_transform(values, train, FeatureConfig(max_features=3, tails="none"), continuous=True).keep


def _arrays(t, folder, name):
    path = folder / f"{name}.safetensors"
    save_transforms({"x": t}, {"x": tuple("abcd")}, str(path), {"x": "linear"})
    return path.read_bytes()


@pytest.mark.parametrize("tails", ["auto", "rank"])
def test_held_out_patients_change_no_rank_score(tmp_path, tails):
    values, train = _heavy()
    noisy = values.copy()
    noisy[~train] = np.random.default_rng(1).normal(0, 1e6, noisy[~train].shape)
    settings = FeatureConfig(tails=tails)
    site = np.where(np.arange(len(values)) % 2, "a", "b").astype(object)

    def fitted(on, v):
        return _arrays(fit_transform(v, on, settings, continuous=True, site=site), tmp_path, "t")

    assert fitted(train, values) == fitted(train, noisy)
    everybody = np.ones(len(train), dtype=bool)  # the mutant: ranks among all patients
    assert fitted(everybody, values) != fitted(everybody, noisy)


def test_stored_quantiles_are_enough_for_new_patients(tmp_path):
    values, train = _heavy()
    t = fit_transform(values, train, FeatureConfig(), continuous=True)
    _arrays(t, tmp_path, "t")
    with safe_open(tmp_path / "t.safetensors", "numpy") as file:
        read = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        names = json.loads(file.metadata()["names"])["x"]
    assert names["unit"] == "linear"
    ranks = RankScores(read["x.rank_columns"], read["x.rank_quantiles"], read["x.rank_n"])
    new = _heavy(seed=5)[0]
    kept = new.astype(np.float64)
    ranks.apply(kept)
    found = np.clip((kept - read["x.mean"]) / read["x.scale"], -8, 8).astype(np.float32)
    np.testing.assert_array_equal(found, t.apply(new, None))


def test_site_shifts_of_heavy_tails_are_those_of_scores():
    rng = np.random.default_rng(2)
    site = np.repeat(["a", "b"], 300).astype(object)
    values = np.exp(rng.normal(0, 3, (600, 3)) + 2 * (site == "b")[:, None]).astype(np.float32)
    t = fit_transform(values, np.ones(600, bool), FeatureConfig(), continuous=True, site=site)
    out = t.apply(values, site)
    assert len(t.ranks.columns) == 3
    assert np.abs(out[site == "a"].mean(0) - out[site == "b"].mean(0)).max() < 0.1


def test_summary_counts_what_became_of_every_feature(tmp_path):
    values, train = _heavy()
    extra = np.zeros((len(values), 3), dtype=np.float32)
    extra[:150, 0] = np.nan  # too many missing
    extra[:, 2] = np.random.default_rng(0).normal(0, 1e-3, len(values))  # least variance
    values = np.hstack([values, extra])
    t = fit_transform(values, train, FeatureConfig(max_features=4), continuous=True)
    names = tuple("abcdefg")
    row = {"resample": "full"} | summarise("x", make_block("x", values, names, t, "gaussian", None), t, train)
    nothing = fit_transform(np.zeros((300, 2), np.float32), train, FeatureConfig(), continuous=False)
    empty = summarise("y", make_block("y", np.zeros((300, 2)), ("a", "b"), nothing, "bernoulli", None), nothing, train)
    assert (empty["n_train"], empty["n_kept"], empty["n_dropped_constant"]) == (200, 0, 2)
    assert row == {
        "resample": "full",
        "omic": "x",
        "n_train": 200,
        "n_features_in": 7,
        "n_kept": 4,
        "n_rank_transformed": 2,
        "n_dropped_missing": 1,
        "n_dropped_constant": 1,
        "n_dropped_variance": 1,
        "n_clipped": 0,
    }
    write_table(from_rows([row], FeatureSummary), tmp_path / "f.parquet", FeatureSummary)
    assert pl.read_parquet(tmp_path / "f.parquet").height == 1


def test_reference_z_scores_of_a_real_cohort_are_tamed(shared_data):
    frame = pl.read_parquet(shared_data / "tcga_brca/mrna.parquet").drop("patient_id")
    values = frame.to_numpy().astype(np.float32)
    train = np.random.default_rng(0).random(len(values)) < 0.8
    assert np.nanmax(values) > 36000
    clipped, most = {}, {}
    for tails in ("auto", "none"):
        t = fit_transform(values, train, FeatureConfig(tails=tails), continuous=True)
        out = t.apply(values, None)[train]
        clipped[tails] = (np.abs(out) >= 8).mean()
        most[tails] = np.median((out**2).max(0) / (out**2).sum(0))  # share of one patient in a feature's variance
        assert len(t.ranks.columns) == {"auto": 996, "none": 0}[tails]
    assert clipped["auto"] < 0.1 * clipped["none"]
    assert most["auto"] < 0.3 * most["none"]
