"""Latent model: learned on training patients only, any subset of omics, members that never meet, right on Gaussians."""

import json

import anndata
import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

import train_latent
from stratiome.config import LatentConfig
from stratiome.features.block import Block, FeatureSet, write_features
from stratiome.latent.baselines import PcaModel
from stratiome.latent.ensemble import fit_projection
from stratiome.latent.errors import LatentError
from stratiome.latent.inputs import align, learn_specs
from stratiome.latent.model import LatentModel, _batch, _posterior_means, load_models, save_models
from stratiome.latent.module import MIN_LOG_NOISE, Batch, OmicShape, Posterior, StackedVae, divergence
from stratiome.latent.train import _Run
from stratiome.tables import TrainingHistory, read_table

SMALL = LatentConfig(dims=3, hidden=8, members=2, epochs=6, warmup_epochs=2)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_features(n=80, seed=0, missing=0.25, test=0.25):
    """Two Gaussian omics and mutations, driven by two factors."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 2))
    blocks = []
    for name, width in (("rna", 12), ("protein", 6), ("mutation", 5)):
        signal = factors @ rng.normal(size=(2, width))
        if name == "mutation":
            values = (signal + rng.normal(size=(n, width)) > 0.8).astype(float)
        else:
            values = signal + rng.normal(size=(n, width))
            values = (values - values.mean(0)) / values.std(0)
        values[rng.random(n) < missing] = np.nan
        kind = "bernoulli" if name == "mutation" else "gaussian"
        blocks.append(Block(name, values.astype(np.float32), kind, tuple(f"{name}{j}" for j in range(width))))
    blocks[0].values[3, 2] = np.nan  # a single missing cell
    roles = np.array(["test" if u < test else "train" for u in rng.random(n)])
    return FeatureSet(tuple(f"P{i:03d}" for i in range(n)), roles, tuple(blocks))


def with_values(features, change):
    """The same patients with other values."""
    blocks = tuple(Block(b.name, change(b), b.likelihood, b.features) for b in features.blocks)
    return FeatureSet(features.patient_ids, features.roles, blocks)


def corrupt_held_out(features, seed=9):
    """Noise, and other missing omics, in the rows that are not for training."""
    rng = np.random.default_rng(seed)

    def change(block):
        values = block.values.copy()
        noise = rng.normal(5, 20, values.shape) if block.likelihood == "gaussian" else rng.integers(0, 2, values.shape)
        noise = noise.astype(np.float32)
        noise[rng.random(len(noise)) < 0.5] = np.nan
        values[~features.train] = noise[~features.train]
        return values

    return with_values(features, change)


def take(features, rows):
    """Some of the patients."""
    blocks = tuple(Block(b.name, b.values[rows], b.likelihood, b.features) for b in features.blocks)
    return FeatureSet(tuple(np.array(features.patient_ids)[rows]), features.roles[rows], blocks)


def run_script(features, folder, settings=SMALL, seed=1):
    """Run the rule's script; paths of what it wrote."""
    folder.mkdir()
    write_features(features, str(folder / "features.h5mu"))
    names = {"latents": "l.h5ad", "weights": "w.safetensors", "description": "d.json", "history": "h.parquet"}
    paths = {key: folder / name for key, name in names.items()}
    outputs = {key: str(path) for key, path in paths.items()}
    train_latent.main(features=str(folder / "features.h5mu"), latent=settings, seed=seed, resample="cv-1-1", **outputs)
    return paths


# --- honesty -------------------------------------------------------------------------------------------------------


def test_held_out_patients_change_nothing_that_is_learned(tmp_path):
    features = make_features()
    one = run_script(features, tmp_path / "a")
    two = run_script(corrupt_held_out(features), tmp_path / "b")
    for key in ("weights", "description", "history"):
        assert one[key].read_bytes() == two[key].read_bytes(), key
    a, b = anndata.read_h5ad(one["latents"]), anndata.read_h5ad(two["latents"])
    for name in ("vae", "pca"):
        np.testing.assert_array_equal(a.obsm[name][features.train], b.obsm[name][features.train])


def test_learning_from_everybody_is_seen_by_that_test(tmp_path):
    features = make_features()
    everybody = np.full(len(features.roles), "train")  # the mutant
    one = run_script(FeatureSet(features.patient_ids, everybody, features.blocks), tmp_path / "a")
    noisy = corrupt_held_out(features)
    two = run_script(FeatureSet(noisy.patient_ids, everybody, noisy.blocks), tmp_path / "b")
    assert one["weights"].read_bytes() != two["weights"].read_bytes()


def test_the_same_inputs_give_the_same_bytes(tmp_path):
    features = make_features()
    one, two = (run_script(features, tmp_path / name) for name in "ab")
    for key in one:
        assert one[key].read_bytes() == two[key].read_bytes(), key
    other = run_script(features, tmp_path / "c", seed=2)
    assert one["weights"].read_bytes() != other["weights"].read_bytes()


def test_members_do_not_depend_on_how_many_there_are():
    features = make_features()
    few = LatentModel.fit(features, SMALL.model_copy(update={"members": 1}), 3)
    many = LatentModel.fit(features, SMALL.model_copy(update={"members": 4}), 3)
    for key, value in few.weights.items():
        np.testing.assert_array_equal(value, many.weights[key][:1], err_msg=key)
    assert few.history == [row for row in many.history if row["member"] == 0]
    assert not np.array_equal(many.weights["decoder"][0], many.weights["decoder"][1])


# --- the model -----------------------------------------------------------------------------------------------------


def test_subspace_is_that_of_probabilistic_pca():
    rng = np.random.default_rng(0)
    n, width, dims = 400, 40, 3
    values = rng.normal(size=(n, dims)) @ rng.normal(size=(dims, width)) + 0.7 * rng.normal(size=(n, width))
    values = (values - values.mean(0)) / values.std(0)
    halves = (values[:, :20], values[:, 20:])
    blocks = [
        Block(name, half.astype(np.float32), "gaussian", tuple(f"{name}{j}" for j in range(20)))
        for name, half in zip("ab", halves, strict=True)
    ]
    features = FeatureSet(tuple(map(str, range(n))), np.full(n, "train"), tuple(blocks))
    model = LatentModel.fit(features, LatentConfig(dims=dims, members=3, hidden=16), 0)
    # Closed form (Tipping & Bishop 1999): the leading eigenvectors span the maximum-likelihood loadings.
    loadings = np.linalg.svd(values, full_matrices=False)[2][:dims].T
    for member in range(3):
        assert np.degrees(subspace_angles(loadings, model.weights["decoder"][member].T)).max() < 5
    assert np.degrees(subspace_angles(values @ loadings, model.transform(features))).max() < 5


def _module(dims=2, members=3):
    module = StackedVae([OmicShape(4, "gaussian"), OmicShape(3, "bernoulli")], dims, 5, list(range(members)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return module.double()


def test_posterior_is_the_product_of_the_experts():
    module = _module()
    x = torch.randn(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = module.encode(x, torch.ones(6, 2, dtype=torch.float64))
    parts = [module.encode(x, torch.tensor([row], dtype=torch.float64).expand(6, 2)) for row in ((1, 0), (0, 1))]
    # Each part is expert times prior; the product of both experts with one prior takes one prior out.
    precision = 1 / parts[0].variance + 1 / parts[1].variance - 1
    mean = (parts[0].mean / parts[0].variance + parts[1].mean / parts[1].variance) / precision
    torch.testing.assert_close(both.variance, 1 / precision)
    torch.testing.assert_close(both.mean, mean)


def test_lacking_omics_have_no_say_and_none_gives_the_prior():
    module = _module()
    x = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = x.clone()
    y[:, 4:] = 100.0
    seen = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(5, 2)
    torch.testing.assert_close(module.encode(x, seen).mean, module.encode(y, seen).mean, rtol=0, atol=0)
    nothing = module.encode(x, torch.zeros(5, 2, dtype=torch.float64))
    assert (nothing.mean == 0).all()
    assert (nothing.variance == 1).all()


def test_losses_are_those_of_torch_distributions():
    module = _module()
    latent = torch.randn(3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    targets = torch.cat([torch.randn(6, 4, dtype=torch.float64), torch.ones(6, 3, dtype=torch.float64)], 1)
    weights = torch.rand(6, 7, dtype=torch.float64)
    loss = module.reconstruction(latent, Batch(targets, targets, weights, torch.ones(6, 2)))
    decoded = torch.baddbmm(module.weights["decoder_bias"], latent, module.weights["decoder"])
    sd = (module.weights["log_noise"][..., :4].clamp(min=MIN_LOG_NOISE) / 2).exp()
    gaussian = torch.distributions.Normal(decoded[..., :4], sd).log_prob(targets[:, :4]) + 0.5 * np.log(2 * np.pi)
    bernoulli = torch.distributions.Bernoulli(logits=decoded[..., 4:]).log_prob(targets[:, 4:])
    torch.testing.assert_close(loss, -(torch.cat([gaussian, bernoulli], -1) * weights).sum(-1))
    posterior = Posterior(latent, torch.rand_like(latent) + 0.1)
    own = torch.distributions.Normal(posterior.mean, posterior.variance.sqrt())
    standard = torch.distributions.Normal(torch.zeros_like(latent), torch.ones_like(latent))
    torch.testing.assert_close(divergence(posterior), torch.distributions.kl_divergence(own, standard).sum(-1))


def test_missing_cells_and_omics_have_no_weight_and_size_counts_by_its_root():
    features = make_features()
    specs = learn_specs(features, balance=False)
    batch = _batch(align(features, specs), np.ones(len(features.roles), bool))
    start = 0
    for block in features.blocks:
        part = batch.weights[:, start : start + block.values.shape[1]].numpy()
        np.testing.assert_array_equal(part > 0, np.isfinite(block.values))
        np.testing.assert_allclose(part.sum(1)[block.present], np.sqrt(block.values.shape[1] * 23 / 3), rtol=1e-5)
        start += block.values.shape[1]
    assert np.isfinite(batch.inputs.numpy()).all()


def test_modality_dropout_never_hides_the_last_omic():
    features = make_features(n=200)
    data = align(features, learn_specs(features, balance=False))
    rows = features.train & data.has_any
    batch, count = _batch(data, rows), int(rows.sum())
    shapes = tuple(OmicShape(len(b.features), b.likelihood) for b in features.blocks)
    settings = SMALL.model_copy(update={"modality_dropout": 0.9})
    run = _Run(batch, np.arange(2), np.arange(2, count), shapes, settings, 0, torch.device("cpu"))
    hidden = run._dropout().numpy()
    seen = batch.observed[2:].numpy()
    assert ((hidden > 0).sum(-1) >= 1).all()
    assert (hidden[:, seen == 0] == 0).all()
    assert (hidden > 0).sum() < 0.7 * 2 * (seen > 0).sum()


def test_each_member_keeps_its_best_weights_and_stops_on_its_own():
    features = make_features(n=120)
    settings = LatentConfig(dims=2, hidden=8, members=3, epochs=300, patience=3, warmup_epochs=2, learning_rate=0.05)
    history = LatentModel.fit(features, settings, 0).history
    last = [max(r["epoch"] for r in history if r["member"] == m) for m in range(3)]
    assert max(last) < 299
    assert len(set(last)) > 1
    for m in range(3):
        losses = [r["validation_loss"] for r in history if r["member"] == m]
        assert len(losses) == last[m] + 1
        assert last[m] - int(np.argmin(losses)) <= 2 * settings.patience


def test_trained_members_beat_the_best_model_without_a_latent():
    features = make_features(n=300, test=0)
    alone = np.zeros(300)
    for block in features.blocks:
        p = np.nanmean(block.values, axis=0)
        # Independent features: half a nat for each standardised one, the entropy for each mutation.
        loss = 0.5 if block.likelihood == "gaussian" else -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()
        alone += loss * block.present * np.sqrt(len(block.features) / (23 / 3))  # 23 features in three omics
    history = LatentModel.fit(features, LatentConfig(dims=2, hidden=16, members=2), 0).history
    for m in range(2):
        assert min(r["validation_loss"] for r in history if r["member"] == m) < 0.95 * alone[alone > 0].mean()


# --- transform -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    features = make_features(n=150, seed=4)
    return features, {"vae": LatentModel.fit(features, LatentConfig(dims=2, hidden=16, members=2, epochs=80), 0)} | {
        "pca": PcaModel.fit(features, 2)
    }


@pytest.mark.parametrize("name", ["vae", "pca"])
def test_one_patient_alone_is_where_it_is_in_bulk(fitted, name):
    features, models = fitted
    bulk = models[name].transform(features)
    for i in range(0, 150, 13):
        np.testing.assert_allclose(models[name].transform(take(features, [i]))[0], bulk[i], atol=1e-5)


@pytest.mark.parametrize("name", ["vae", "pca"])
def test_training_patients_are_centred_and_ordered_by_variance(fitted, name):
    features, models = fitted
    z = models[name].transform(features)[features.train]
    np.testing.assert_allclose(z[np.any(z != 0, axis=1)].mean(0), 0, atol=1e-8)
    assert z[:, 0].var() >= z[:, 1].var()


def test_lacking_an_omic_moves_patients_nowhere_on_average(fitted):
    features, models = fitted
    model = models["vae"]
    for name in ("protein", "mutation"):
        alone = with_values(features, lambda b, n=name: b.values if b.name == n else np.full_like(b.values, np.nan))
        inputs = align(alone, model.specs)
        means = _posterior_means(inputs, model.specs, model.settings, model.weights)[features.train & inputs.has_any]
        assert means.std(0).max() > 0.1
        np.testing.assert_allclose(means.mean(0), 0, atol=0.15)
    # Exactly so in the patients that the weights were fitted on, all of the training but the inner validation.


def test_a_patient_without_an_omic_stays_close_and_without_any_is_at_the_centre(fitted):
    features, models = fitted
    complete = np.all([b.present for b in features.blocks], axis=0)
    lacking = with_values(features, lambda b: np.full_like(b.values, np.nan) if b.name == "protein" else b.values)
    full, part = (models["vae"].transform(f)[complete] for f in (features, lacking))
    for j in range(2):
        assert np.corrcoef(full[:, j], part[:, j])[0, 1] > 0.9
    empty = with_values(features, lambda b: np.full_like(b.values, np.nan))
    for model in models.values():
        assert (model.transform(empty) == 0).all()


@pytest.mark.parametrize("name", ["vae", "pca"])
def test_features_are_matched_by_name(fitted, name):
    features, models = fitted
    turned = tuple(
        Block(b.name, b.values[:, ::-1].copy(), b.likelihood, b.features[::-1]) for b in reversed(features.blocks)
    )
    moved = FeatureSet(features.patient_ids, features.roles, turned)
    np.testing.assert_array_equal(models[name].transform(moved), models[name].transform(features))
    fewer = FeatureSet(features.patient_ids, features.roles, features.blocks[:2])
    lacking = with_values(features, lambda b: np.full_like(b.values, np.nan) if b.name == "mutation" else b.values)
    np.testing.assert_array_equal(models[name].transform(fewer), models[name].transform(lacking))


def test_another_likelihood_is_refused(fitted):
    features, models = fitted
    wrong = tuple(Block(b.name, b.values, "gaussian", b.features) for b in features.blocks)
    with pytest.raises(LatentError, match=r"mutation has likelihood gaussian.*Suggestion"):
        models["vae"].transform(FeatureSet(features.patient_ids, features.roles, wrong))


# --- storage -------------------------------------------------------------------------------------------------------


def test_saved_models_are_the_same(fitted, tmp_path):
    features, models = fitted
    paths = str(tmp_path / "w.safetensors"), str(tmp_path / "d.json")
    save_models(models, *paths)
    again = load_models(*paths)
    assert list(again) == ["pca", "vae"] or list(again) == ["vae", "pca"]
    for name, model in models.items():
        np.testing.assert_array_equal(again[name].transform(features), model.transform(features))
    models["vae"].save(*paths)
    np.testing.assert_array_equal(LatentModel.load(*paths).transform(features), models["vae"].transform(features))
    assert json.loads((tmp_path / "d.json").read_text())["models"]["vae"]["settings"]["members"] == 2


def test_files_that_do_not_belong_together_are_refused(fitted, tmp_path):
    _, models = fitted
    both = str(tmp_path / "w.safetensors"), str(tmp_path / "d.json")
    only_pca = str(tmp_path / "w2.safetensors"), str(tmp_path / "d2.json")
    save_models(models, *both)
    save_models({"pca": models["pca"]}, *only_pca)
    with pytest.raises(LatentError, match="lacks"):
        load_models(only_pca[0], both[1])
    with pytest.raises(LatentError, match="no model `vae`"):
        LatentModel.load(*only_pca)
    (tmp_path / "d.json").write_text('{"format": 99}')
    with pytest.raises(LatentError, match="format 99"):
        load_models(*both)


# --- baseline ------------------------------------------------------------------------------------------------------


def test_pca_is_that_of_scikit_learn_on_balanced_blocks():
    features = make_features(missing=0, test=0.3)
    scaled = []
    for block in features.blocks:
        values = block.values.astype(np.float64)
        values = values - np.nanmean(values[features.train], axis=0)
        values[np.isnan(values)] = 0
        scaled.append(values / np.sqrt((values[features.train] ** 2).mean(0).sum()))
    values = np.concatenate(scaled, axis=1)
    expected = PCA(3).fit(values[features.train]).transform(values)
    found = PcaModel.fit(features, 3).transform(features)
    signs = np.sign((expected * found).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-8)


def test_repeating_features_of_an_omic_gives_it_no_weight():
    features = make_features(missing=0)
    blocks = list(features.blocks)
    wide = np.tile(blocks[1].values, (1, 7))
    blocks[1] = Block("protein", wide, "gaussian", tuple(f"p{j}" for j in range(wide.shape[1])))
    repeated = FeatureSet(features.patient_ids, features.roles, tuple(blocks))
    one, two = (PcaModel.fit(f, 2).transform(f) for f in (features, repeated))
    np.testing.assert_allclose(np.abs(one), np.abs(two), atol=1e-6)


def test_projection_is_the_same_by_covariance_and_by_gram_matrix():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(20, 50))
    found = fit_projection(wide, 4)
    expected = np.linalg.svd(wide - wide.mean(0), full_matrices=False)[2][:4].T
    np.testing.assert_allclose(np.abs(found.components), np.abs(expected), atol=1e-8)
    largest = np.abs(found.components).argmax(0)
    assert (found.components[largest, range(4)] > 0).all()
    np.testing.assert_allclose(found.apply(wide).var(0, ddof=1), found.variance)


def test_fewer_directions_than_dimensions_leave_zeros():
    values = np.random.default_rng(0).normal(size=(30, 2))
    scores = fit_projection(values, 5).apply(values)
    assert scores.shape == (30, 5)
    assert (scores[:, 2:] == 0).all()


# --- errors and the script -----------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_with_a_reason():
    features = with_values(make_features(), lambda b: b.values * np.float32(1e30))
    with pytest.raises(LatentError, match=r"member \d is not finite in epoch.*learning_rate"):
        LatentModel.fit(features, SMALL, 0)


def test_too_few_patients_are_refused():
    with pytest.raises(LatentError, match=r"too few to train.*Suggestion"):
        LatentModel.fit(take(make_features(missing=0, test=0), np.arange(5)), SMALL, 0)
    none = with_values(make_features(), lambda b: np.full_like(b.values, np.nan))
    with pytest.raises(LatentError, match="no training patient has any omic"):
        PcaModel.fit(none, 2)


def test_cuda_without_a_gpu_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(LatentError, match="no GPU"):
        LatentModel.fit(make_features(), SMALL.model_copy(update={"device": "cuda"}), 0)


def test_script_writes_what_the_contract_says(tmp_path):
    features = make_features()
    paths = run_script(features, tmp_path / "a")
    data = anndata.read_h5ad(paths["latents"])
    assert data.shape == (80, 0)
    assert tuple(data.obs_names) == features.patient_ids
    assert (data.obs["role"].to_numpy().astype(str) == features.roles).all()
    for block in features.blocks:
        assert data.obs[f"has_{block.name}"].dtype == bool
        assert (data.obs[f"has_{block.name}"].to_numpy() == block.present).all()
    assert (data.obs["n_omics"] == np.sum([b.present for b in features.blocks], axis=0)).all()
    assert {name: latents.shape for name, latents in data.obsm.items()} == dict.fromkeys(
        ("vae", "pca", "mofa"), (80, 3)
    )
    history = read_table(paths["history"], TrainingHistory)
    assert history["member"].unique().sort().to_list() == [0, 1]
