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
from stratiome.latent.inputs import learn_specs
from stratiome.latent.model import LatentModel, _posterior_means, load_models, save_models
from stratiome.latent.module import MIN_LOG_NOISE, Batch, Cells, OmicShape, Posterior, StackedVae, divergence
from stratiome.latent.phases import Refit, Search
from stratiome.latent.source import Source
from stratiome.latent.train import inner_split, train
from stratiome.tables import TrainingHistory, read_table

SMALL = LatentConfig(dims=4, hidden=8, members=2, epochs=6, warmup_epochs=2)


pytestmark = pytest.mark.usefixtures("one_thread")


def make_features(n=80, seed=0, missing=0.25, test=0.25, widths=(12, 6, 5)):
    """Two Gaussian omics and mutations, driven by two factors."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 2))
    blocks = []
    for name, width in zip(("rna", "protein", "mutation"), widths, strict=True):
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
    return features.take(np.asarray(rows))


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


def train_each(features, settings):
    """All members trained together, and each of them alone."""
    specs = learn_specs(features, balance=False)
    rows = np.flatnonzero(features.train & np.any([b.present for b in features.blocks], axis=0))
    alone = [train(features, specs, rows, settings, 7, members=[m]) for m in range(settings.members)]
    return train(features, specs, rows, settings, 7), alone


def losses(trained, member):
    """Epochs and losses of one member, shape `(n_epochs, 3)`."""
    keys = ("epoch", "train_loss", "validation_loss")
    return np.array([[row[k] for k in keys] for row in trained.history if row["member"] == member])


def test_a_stack_that_members_leave_is_to_rounding_members_trained_one_by_one():
    features = make_features(n=300, seed=5)
    settings = LatentConfig(dims=3, hidden=9, members=5, epochs=120, patience=3, warmup_epochs=2, learning_rate=0.03)
    together, alone = train_each(features, settings)
    assert len({len(losses(together, m)) for m in range(5)}) > 2  # they leave at different times
    for m in range(5):
        assert alone[m].best_epoch == [together.best_epoch[m]]
        np.testing.assert_allclose(losses(together, m), losses(alone[m], 0), rtol=1e-6)
        for key, value in alone[m].weights.items():
            torch.testing.assert_close(value[0], together.weights[key][m], rtol=1e-4, atol=1e-5)
    assert (together.weights["decoder_0"][0] - together.weights["decoder_0"][1]).abs().max() > 0.01


def test_members_that_have_stopped_cost_nothing(monkeypatch):
    features = make_features(n=200, seed=5)
    stacked = []
    plain = Search._losses
    monkeypatch.setattr(Search, "_losses", lambda run, *a: stacked.append(run.module.members) or plain(run, *a))
    settings = LatentConfig(dims=2, hidden=8, members=4, epochs=120, patience=2, warmup_epochs=2, learning_rate=0.05)
    history = LatentModel.fit(features, settings, 0).history
    per_epoch = len(stacked) // (max(r["epoch"] for r in history) + 1)
    assert sum(stacked) == per_epoch * len(history)
    assert min(stacked) < 4


# --- the model -----------------------------------------------------------------------------------------------------


def _decoder(weights, member):
    """Loadings of one member over all features, shape `(n_latent, n_features)`."""
    return np.concatenate([w[member] for name, w in sorted(weights.items()) if name.startswith("decoder_")], axis=1)


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
        assert np.degrees(subspace_angles(loadings, _decoder(model.weights, member).T)).max() < 5
    assert np.degrees(subspace_angles(values @ loadings, model.transform(features))).max() < 5


def _module(dims=2, members=3):
    module = StackedVae([OmicShape(4, "gaussian"), OmicShape(3, "bernoulli")], dims, 5, list(range(members)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return module.double()


def _split(x):
    return [x[:, :4], x[:, 4:]]


def test_posterior_is_the_product_of_the_experts():
    module = _module()
    x = _split(torch.randn(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
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
    torch.testing.assert_close(module.encode(_split(x), seen).mean, module.encode(_split(y), seen).mean, rtol=0, atol=0)
    nothing = module.encode(_split(x), torch.zeros(5, 2, dtype=torch.float64))
    assert (nothing.mean == 0).all()
    assert (nothing.variance == 1).all()


def _cells(seed=2):
    """Targets of a Gaussian, a 0/1 and a count omic, with missing cells and omics, and what was seen."""
    generator = torch.Generator().manual_seed(seed)
    seen = torch.rand(6, 4, generator=generator) > 0.3
    seen[0], seen[1] = True, False
    targets = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    return targets, seen


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "negative_binomial"])
def test_losses_and_their_gradients_are_those_of_torch_distributions(likelihood):
    module = StackedVae([OmicShape(4, likelihood)], 2, 5, [0, 1, 2]).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    latent = torch.randn(3, 6, 2, dtype=torch.float64, generator=generator).requires_grad_()
    targets, seen = _cells()
    offset = torch.rand(6, 1, dtype=torch.float64, generator=generator) + 1
    targets = {
        "gaussian": targets,
        "bernoulli": (targets > 0).double(),
        "negative_binomial": (targets * 5).abs().round(),
    }
    x = torch.where(seen, targets[likelihood], 0.0)
    weight = torch.rand(6, dtype=torch.float64, generator=generator) * seen.any(1)
    rows = torch.arange(2, 6)
    cells = Cells(x, x, weight, (rows, (~seen[rows]).double()), offset)
    loss = module.reconstruction(latent, Batch((cells,), torch.ones(6, 1)))
    w = module.weights
    decoded = torch.baddbmm(w["bias_0"], latent, w["decoder_0"])
    if likelihood == "gaussian":
        spread = (w["log_noise_0"].clamp(min=MIN_LOG_NOISE) / 2).exp()
        nats = torch.distributions.Normal(decoded, spread).log_prob(x) + 0.5 * np.log(2 * np.pi)
    elif likelihood == "bernoulli":
        nats = torch.distributions.Bernoulli(logits=decoded).log_prob(x)
    else:
        size = (-w["log_dispersion_0"]).exp()
        logits = decoded + offset - size.log()  # of the probability of a "success", mean / (mean + size)
        nats = torch.distributions.NegativeBinomial(size, logits=logits).log_prob(x)
    expected = -(nats * seen).sum(-1) * weight
    torch.testing.assert_close(loss, expected)
    leaves = [
        latent,
        *(p for name, p in w.items() if name.split("_0")[0] in ("decoder", "bias", "log_noise", "log_dispersion")),
    ]
    for found, right in zip(
        torch.autograd.grad(loss.square().sum(), leaves),
        torch.autograd.grad(expected.square().sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(found, right)


def test_divergence_is_that_of_torch_distributions():
    latent = torch.randn(3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    posterior = Posterior(latent, torch.rand_like(latent) + 0.1)
    own = torch.distributions.Normal(posterior.mean, posterior.variance.sqrt())
    standard = torch.distributions.Normal(torch.zeros_like(latent), torch.ones_like(latent))
    torch.testing.assert_close(divergence(posterior), torch.distributions.kl_divergence(own, standard).sum(-1))


def _source(features, **options):
    specs = learn_specs(features, balance=False)
    rows = np.flatnonzero(features.train & np.any([b.present for b in features.blocks], axis=0))
    nothing = [None] * len(specs)
    return Source(features, specs, rows, nothing, torch.device("cpu"), **({"in_memory": True} | options))


def test_missing_cells_and_omics_have_no_weight_and_size_counts_by_its_root():
    features = make_features(test=0)
    source = _source(features)
    batch = next(source.batches([np.arange(len(source))]))
    for block, cells in zip(features.take(source.rows).blocks, batch.omics, strict=True):
        p = len(block.features)
        weights = cells.weight[:, None] * torch.ones(p)
        if cells.gaps is not None:
            weights.index_add_(0, cells.gaps[0], weights[cells.gaps[0]] * cells.gaps[1], alpha=-1)
        np.testing.assert_array_equal(weights.numpy() > 0, np.isfinite(block.values))
        np.testing.assert_allclose(weights.numpy().sum(1)[block.present], np.sqrt(p * 23 / 3), rtol=1e-5)
        assert (cells.inputs.numpy()[~np.isfinite(block.values)] == 0).all()
        assert (cells.targets.numpy()[~np.isfinite(block.values)] == 0).all()


def test_modality_dropout_never_hides_the_last_omic():
    source = _source(make_features(n=200))
    settings = SMALL.model_copy(update={"modality_dropout": 0.9})
    run = Search(source, source, source.specs, [None] * 3, settings, 0, range(2))
    hidden = run._dropout(torch.from_numpy(source.observed)).numpy()
    assert ((hidden > 0).sum(-1) >= 1).all()
    assert (hidden[:, source.observed == 0] == 0).all()
    assert (hidden > 0).sum() < 0.7 * 2 * (source.observed > 0).sum()


def make_counts(n=400, width=40, dispersion=0.2, seed=0):
    """Counts of a negative binomial with linear log mean and library sizes that differ tenfold, with its loadings."""
    rng = np.random.default_rng(seed)
    loadings = 0.5 * rng.normal(size=(2, width))
    library = np.exp(rng.uniform(np.log(3e3), np.log(3e4), n))
    mean = np.exp(rng.normal(size=(n, 2)) @ loadings + rng.normal(size=width) * 0.5)
    mean *= library[:, None] / mean.mean(axis=0).sum()
    counts = rng.poisson(rng.gamma(1 / dispersion, dispersion * mean)).astype(np.float32)
    values = np.log1p(counts / library[:, None] * 1e4)
    values = ((values - values.mean(0)) / values.std(0)).astype(np.float32)
    names = tuple(f"gene{j}" for j in range(width))
    block = Block("rna", values, "gaussian", names, counts, library.astype(np.float32))
    return FeatureSet(tuple(map(str, range(n))), np.full(n, "train"), (block,)), loadings


def test_counts_give_their_loadings_and_dispersion_only_with_the_library_size():
    features, loadings = make_counts()
    settings = LatentConfig(dims=2, hidden=8, members=1, counts="negative_binomial", epochs=120, learning_rate=0.02)
    model = LatentModel.fit(features, settings, 0)
    assert model.specs[0].likelihood == "negative_binomial"
    assert np.degrees(subspace_angles(loadings.T, model.weights["decoder_0"][0].T)).max() < 15
    dispersion = np.exp(model.weights["log_dispersion_0"][0, 0])
    assert 0.15 < np.median(dispersion) < 0.3
    same = np.full_like(features.blocks[0].library, 1e4)  # the mutant does without it
    block = Block(
        *(getattr(features.blocks[0], k) for k in ("name", "values", "likelihood", "features", "counts")), same
    )
    mutant = LatentModel.fit(FeatureSet(features.patient_ids, features.roles, (block,)), settings, 0)
    assert np.median(np.exp(mutant.weights["log_dispersion_0"][0, 0])) > 0.4


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


class _WithoutValidation(Refit):
    """Mutant: the patients of the inner validation are not learned from."""

    def __init__(self, fit, epochs, specs, bases, settings, seed, members):
        rows = fit.rows[np.sort(inner_split(len(fit), settings.validation_fraction, seed)[0])]
        part = Source(fit.features, specs, rows, bases, fit.device, in_memory=True)
        super().__init__(part, epochs, specs, bases, settings, seed, members)


def _spread_of_inner_validation(seed):
    """Mean squared distance from the centre of the inner validation over that of the other training patients."""
    rng = np.random.default_rng([seed, 3])
    n, width = 200, 1500
    values = rng.normal(size=(n, width))
    values = ((values - values.mean(0)) / values.std(0)).astype(np.float32)
    block = Block("rna", values, "gaussian", tuple(f"g{j}" for j in range(width)))
    features = FeatureSet(tuple(f"P{i:03d}" for i in range(n)), np.full(n, "train"), (block,))
    model = LatentModel.fit(features, LatentConfig(dims=8, hidden=32, members=4), seed)
    distance = (model.transform(features) ** 2).sum(1)
    fit, validation = inner_split(n, 0.15, seed)
    return distance[validation].mean() / distance[fit].mean()


def test_patients_of_the_inner_validation_lie_where_the_others_lie(monkeypatch):
    ours = np.mean([_spread_of_inner_validation(seed) for seed in range(3)])
    assert ours == pytest.approx(1, abs=0.25)
    monkeypatch.setattr("stratiome.latent.train.Refit", _WithoutValidation)
    assert np.mean([_spread_of_inner_validation(seed) for seed in range(3)]) < 0.5


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
        means, has_any = _posterior_means(alone, np.arange(150), model.specs, model.settings, model.weights)
        means = means[features.train & has_any]
        assert means.std(0).max() > 0.1
        np.testing.assert_allclose(means.mean(0), 0, atol=1e-5)


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
    features = with_values(make_features(), lambda b: b.values * np.float32(1e38 if b.name == "mutation" else 1))
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
        ("vae", "pca", "mofa"), (80, 4)
    )
    history = read_table(paths["history"], TrainingHistory)
    assert history["member"].unique().sort().to_list() == [0, 1]
