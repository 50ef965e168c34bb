"""A cohort larger than memory: the features stay on disk, and the result is that of memory."""

import anndata
import h5py
import numpy as np
import pytest

from stratiome.config import LatentConfig
from stratiome.features import block
from stratiome.features.block import Block, FeatureSet, StoredFeatures, write_features
from stratiome.latent.model import LatentModel
from test_latent import make_features, run_script

SETTINGS = LatentConfig(dims=2, hidden=8, members=2, epochs=8, warmup_epochs=2, batch_size=32)
NO_MEMORY = SETTINGS.model_copy(update={"memory_gb": 1e-9})


pytestmark = pytest.mark.usefixtures("one_thread")


def with_counts(features, seed=0):
    """The same with raw counts beside the first omic."""
    rng = np.random.default_rng(seed)
    first = features.blocks[0]
    counts = np.where(np.isfinite(first.values), rng.poisson(5, first.values.shape), np.nan).astype(np.float32)
    counts[np.flatnonzero(first.present)] = np.nan_to_num(counts[first.present], nan=3)
    library = np.where(first.present, np.nansum(counts, axis=1) + 10, np.nan).astype(np.float32)
    changed = Block(first.name, first.values, first.likelihood, first.features, counts, library)
    return FeatureSet(features.patient_ids, features.roles, (changed, *features.blocks[1:]))


def assert_same_features(one, two):
    assert one.patient_ids == two.patient_ids
    np.testing.assert_array_equal(one.roles, two.roles)
    for a, b in zip(one.blocks, two.blocks, strict=True):
        assert (a.name, a.likelihood, a.features) == (b.name, b.likelihood, b.features)
        for key in ("values", "counts", "library"):
            np.testing.assert_array_equal(getattr(a, key), getattr(b, key))


@pytest.mark.parametrize("compressed", [False, True])
def test_rows_in_any_order_are_read_from_disk_as_they_are(tmp_path, compressed):
    features = with_counts(make_features(n=60))
    path = str(tmp_path / "f.h5mu")
    write_features(features, path)
    if compressed:
        with h5py.File(path, "r+") as file:
            values = file["mod/rna/X"][:]
            attributes = dict(file["mod/rna/X"].attrs)
            del file["mod/rna/X"]
            file.create_dataset("mod/rna/X", data=values, compression="gzip", chunks=(7, 5)).attrs.update(attributes)
    rng = np.random.default_rng(1)
    with StoredFeatures(path) as stored:
        assert_same_features(stored.take(np.arange(60)), features)
        for rows in (np.array([], dtype=int), np.array([59]), rng.permutation(60)[:17], np.array([3, 3, 2])):
            assert_same_features(stored.take(rows), features.take(rows))
        for a, b in zip(stored.blocks, features.blocks, strict=True):
            np.testing.assert_array_equal(a.present, b.present)


def test_a_file_that_ends_early_is_refused(tmp_path):
    path = tmp_path / "f.h5mu"
    write_features(make_features(n=60, missing=0), str(path))
    with StoredFeatures(str(path)) as stored:
        rows = stored.blocks[0]._values
        rows.start = path.stat().st_size - 10
        with pytest.raises(OSError, match=r"before their last patient.*Suggestion"):
            stored.take(np.arange(60))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"encoder_inputs": 3},
        {"counts": "negative_binomial"},
    ],
)
def test_streamed_training_is_bit_for_bit_that_in_memory(tmp_path, monkeypatch, settings):
    monkeypatch.setattr(block, "CHUNK", 16)
    monkeypatch.setattr("stratiome.latent.phases.AT_ONCE", 16)
    features = with_counts(make_features(n=120))
    path = str(tmp_path / "f.h5mu")
    write_features(features, path)
    most = []
    plain = StoredFeatures.take
    monkeypatch.setattr(StoredFeatures, "take", lambda self, rows: most.append(len(rows)) or plain(self, rows))
    inside = LatentModel.fit(features, SETTINGS.model_copy(update=settings), 3)
    with StoredFeatures(path) as stored:
        streamed = LatentModel.fit(stored, NO_MEMORY.model_copy(update=settings), 3)
    assert inside.history == streamed.history
    for key, value in inside.weights.items():
        np.testing.assert_array_equal(value, streamed.weights[key], err_msg=key)
    np.testing.assert_array_equal(inside.transform(features), streamed.transform(features))
    if "encoder_inputs" not in settings:
        assert max(most) <= 32


def test_the_script_writes_the_same_latents_from_disk(tmp_path):
    features = make_features(n=120)
    one = run_script(features, tmp_path / "a", SETTINGS)
    two = run_script(features, tmp_path / "b", NO_MEMORY)
    assert one["history"].read_bytes() == two["history"].read_bytes()
    a, b = anndata.read_h5ad(one["latents"]), anndata.read_h5ad(two["latents"])
    assert a.obs.equals(b.obs)
    np.testing.assert_array_equal(a.obsm["vae"], b.obsm["vae"])
    np.testing.assert_allclose(a.obsm["pca"], b.obsm["pca"], atol=1e-9)
