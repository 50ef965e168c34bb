"""Baselines: MOFA+ with a projection, similarity network fusion; learned on training patients, any subset of omics."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from stratiome.config import LatentConfig
from stratiome.features.block import Block, FeatureSet
from stratiome.latent import fusion, mofa
from stratiome.latent.baselines import PcaModel, fit_baselines
from stratiome.latent.errors import LatentError
from stratiome.latent.fusion import FusionModel, affinity, fuse, spectral_coordinates
from stratiome.latent.model import load_models, save_models
from stratiome.latent.mofa import MofaModel
from stratiome.latent.space import Refittable
from stratiome.subgroups.agreement import adjusted_rand, contingency
from stratiome.subgroups.cluster import fit_mixture
from stratiome.subgroups.reference import reference_sampler, without_subgroups
from test_latent import corrupt_held_out, make_features, take, with_values

SETTINGS = LatentConfig(dims=3, baselines=("pca", "mofa", "snf"))
ORACLE = json.loads((Path(__file__).parents[1] / "fixtures" / "snf.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def features():
    return make_features()


@pytest.fixture(scope="module")
def models(features):
    return fit_baselines(features, SETTINGS, 1)


def linear_gaussian(n=200, width=20, dims=2, seed=0, missing=0.3):
    """Two Gaussian omics of two factors; some patients lack one; and the factors."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, dims))
    lacks = rng.choice(3, n, p=[1 - missing, missing / 2, missing / 2])
    blocks = []
    for j, name in enumerate(("a", "b")):
        values = factors @ rng.normal(size=(dims, width)) + 0.7 * rng.normal(size=(n, width))
        values = (values - values.mean(0)) / values.std(0)
        values[lacks == j + 1] = np.nan
        blocks.append(Block(name, values.astype(np.float32), "gaussian", tuple(f"{name}{i}" for i in range(width))))
    return FeatureSet(tuple(map(str, range(n))), np.full(n, "train"), tuple(blocks)), factors


# --- what holds for all of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pca", "mofa", "snf"])
def test_held_out_patients_change_nothing_that_is_learned(name, features):
    settings = LatentConfig(dims=3, baselines=(name,))
    one = fit_baselines(features, settings, 1)[name]
    noisy = corrupt_held_out(features)
    two = fit_baselines(noisy, settings, 1)[name]
    assert one.state()[1] == two.state()[1]
    for key, value in one.state()[0].items():
        np.testing.assert_array_equal(value, two.state()[0][key], err_msg=key)
    np.testing.assert_array_equal(one.transform(features)[features.train], two.transform(noisy)[features.train])


@pytest.mark.parametrize("name", ["pca", "mofa", "snf"])
def test_learning_from_everybody_is_seen_by_that_test(name, features):
    settings = LatentConfig(dims=3, baselines=(name,))
    noisy = corrupt_held_out(features)
    found = []
    for cohort in (features, noisy):
        everybody = FeatureSet(cohort.patient_ids, np.full(len(cohort.roles), "train"), cohort.blocks)  # the mutant
        found.append(fit_baselines(everybody, settings, 1)[name].transform(cohort)[features.train])
    assert not np.array_equal(*found)


def test_what_is_stored_is_what_was_fitted(models, features, tmp_path):
    paths = str(tmp_path / "w.safetensors"), str(tmp_path / "d.json")
    save_models(models, *paths)
    again = load_models(*paths)
    assert set(again) == {"pca", "mofa", "snf"}
    for name, model in models.items():
        assert type(again[name]) is type(model)
        np.testing.assert_array_equal(again[name].transform(features), model.transform(features), err_msg=name)


def test_two_fits_give_the_same_bytes(models, features, tmp_path):
    files = []
    for folder, fitted in (("a", models), ("b", fit_baselines(features, SETTINGS, 1))):
        paths = [tmp_path / f"{folder}.safetensors", tmp_path / f"{folder}.json"]
        save_models(fitted, *map(str, paths))
        files.append([path.read_bytes() for path in paths])
    assert files[0] == files[1]


@pytest.mark.parametrize("name", ["pca", "mofa", "snf"])
def test_one_patient_at_a_time_is_the_same_as_all_at_once(name, models, features):
    together = models[name].transform(features)
    for i in range(0, len(together), 7):
        alone = models[name].transform(take(features, [i]))
        np.testing.assert_allclose(alone[0], together[i], atol=1e-9)


@pytest.mark.parametrize("name", ["pca", "mofa", "snf"])
def test_any_subset_of_the_omics_and_of_the_features_has_a_place(name, models, features):
    whole = models[name].transform(features)
    without = FeatureSet(features.patient_ids, features.roles, features.blocks[1:])
    fewer = models[name].transform(without)
    assert np.isfinite(fewer).all()
    assert not np.allclose(whole, fewer)
    partial = Block("rna", features.blocks[0].values[:, :5], "gaussian", features.blocks[0].features[:5])
    some = models[name].transform(FeatureSet(features.patient_ids, features.roles, (partial, *features.blocks[1:])))
    assert np.isfinite(some).all()
    nothing = models[name].transform(with_values(features, lambda b: np.full_like(b.values, np.nan)))
    np.testing.assert_array_equal(nothing, 0.0)


def test_the_order_of_rows_changes_no_latent(features, models):
    """MOFA+ starts from random factors by row; ingest sorts patients and features, so that it is repeatable as well."""
    order = np.random.default_rng(3).permutation(len(features.patient_ids))
    for name in ("pca", "snf"):
        again = fit_baselines(take(features, order), LatentConfig(dims=3, baselines=(name,)), 1)[name]
        moved = again.transform(take(features, order))
        np.testing.assert_allclose(moved, models[name].transform(features)[order], atol=1e-6, err_msg=name)


def test_which_of_them_are_refitted_on_reference_cohorts(models):
    assert {name: isinstance(model, Refittable) for name, model in models.items()} == {
        "pca": True,
        "mofa": False,
        "snf": True,
    }


@pytest.mark.parametrize("name", ["pca", "mofa", "snf"])
def test_reference_cohorts_are_refitted_or_matched_to_the_observed_moments(name, models, features):
    rows = features.train & np.any([b.present for b in features.blocks], axis=0)
    latents = models[name].transform(features)[rows]
    drawn = reference_sampler(models[name], features, rows, latents)(np.random.default_rng(5))
    assert drawn.shape == latents.shape
    cohort = without_subgroups(features, rows, np.random.default_rng(5))
    if name == "mofa":
        np.testing.assert_allclose(drawn.mean(axis=0), latents.mean(axis=0), atol=1e-9)
        assert not np.allclose(drawn.std(axis=0), models[name].transform(cohort).std(axis=0))
    else:
        again = fit_baselines(cohort, LatentConfig(dims=3, baselines=(name,)), 1)[name]
        np.testing.assert_array_equal(drawn, again.transform(cohort))


def test_the_config_names_each_baseline_once():
    with pytest.raises(ValueError, match="each once"):
        LatentConfig(baselines=("pca", "pca"))
    assert list(fit_baselines(make_features(), LatentConfig(dims=2, baselines=("snf", "pca")), 1)) == ["snf", "pca"]
    assert isinstance(fit_baselines(make_features(), LatentConfig(dims=2, baselines=("pca",)), 1)["pca"], PcaModel)


# --- MOFA+ ---------------------------------------------------------------------------------------------------------


def fitted_factors(features, dims, seed, monkeypatch):
    """The model and the factors that mofapy2 itself gives to the training patients."""
    kept = {}
    run = mofa.run_mofapy2

    def spy(*arguments):
        kept["entry"] = run(*arguments)
        return kept["entry"]

    monkeypatch.setattr(mofa, "run_mofapy2", spy)
    model = MofaModel.fit(features, dims, seed)
    return model, kept["entry"].model.nodes["Z"].getExpectation()


def test_projection_of_training_patients_is_the_factors_of_mofapy2(monkeypatch):
    features, _ = linear_gaussian()
    model, factors = fitted_factors(features, 2, 1, monkeypatch)
    ours = model.transform(features)
    for k in range(2):  # order and sign are ours
        match = np.abs(np.corrcoef(ours[:, k], factors.T)[0, 1:])
        j = match.argmax()
        sign = np.sign(ours[:, k] @ factors[:, j])
        np.testing.assert_allclose(ours[:, k], sign * factors[:, j], atol=0.02)


def test_projection_with_mutations_follows_the_factors_of_mofapy2(features, monkeypatch):
    model, factors = fitted_factors(features, 2, 1, monkeypatch)
    trained = features.train & np.any([b.present for b in features.blocks], axis=0)
    ours = model.transform(features)[trained]
    found = np.abs(np.corrcoef(ours.T, factors.T)[:2, 2:]).max(axis=1)
    assert (found > 0.99).all()


def test_new_patients_get_the_factors_that_made_them():
    features, factors = linear_gaussian(n=400)
    roles = np.where(np.arange(400) < 300, "train", "test")
    features = FeatureSet(features.patient_ids, roles, features.blocks)
    found = MofaModel.fit(features, 2, 1).transform(features)[300:]
    design = np.column_stack([found, np.ones(100)])
    left = factors[300:] - design @ np.linalg.lstsq(design, factors[300:], rcond=None)[0]
    assert (1 - left.var(axis=0) / factors[300:].var(axis=0) > 0.9).all()


def test_the_projection_is_the_conditional_mean_of_a_gaussian():
    features, _ = linear_gaussian(n=60)
    model = MofaModel.fit(features, 2, 1)
    i = int(np.flatnonzero(~features.blocks[0].present)[0])
    weights, row = model.loadings[1], features.blocks[1].values[i].astype(float)
    second = [np.outer(m, m) + np.diag(v) for m, v in zip(weights.mean, weights.variance, strict=True)]
    precision = np.eye(2) + np.tensordot(weights.precision, second, axes=1)
    expected = np.linalg.solve(precision, weights.mean.T @ (weights.precision * (row - weights.intercept)))
    np.testing.assert_allclose(model.transform(features)[i], expected, atol=1e-10)


def mofapy2_pseudo_data(node):
    """As mofapy2 has it: the mean is over all patients."""
    from mofapy2.core.nodes.nongaussian_nodes import Bernoulli_PseudoY_Jaakkola

    Bernoulli_PseudoY_Jaakkola.updateExpectations(node)


def test_who_was_measured_is_no_factor(monkeypatch):
    """Mutations that nobody shares, missing in half of the patients: mofapy2 alone makes a factor of who has them."""
    rng = np.random.default_rng(2)
    mutations = (rng.random((300, 60)) < 0.3).astype(np.float32)
    has = rng.random(300) < 0.5
    mutations[~has] = np.nan
    rna = rng.normal(size=(300, 10)).astype(np.float32)
    blocks = (
        Block("rna", rna, "gaussian", tuple(f"r{j}" for j in range(10))),
        Block("mutation", mutations, "bernoulli", tuple(f"m{j}" for j in range(60))),
    )
    features = FeatureSet(tuple(map(str, range(300))), np.full(300, "train"), blocks)

    def gap():
        latents = MofaModel.fit(features, 3, 1).transform(features)
        return np.abs(latents[has].mean(axis=0) - latents[~has].mean(axis=0)).max()

    assert gap() < 0.05
    monkeypatch.setattr(mofa, "_pseudo_data", mofapy2_pseudo_data)  # the mutant
    assert gap() > 0.3


def test_mofapy2_leaves_the_process_as_it_was(features, capsys):
    filters, state = list(warnings.filters), np.random.get_state()[1].copy()  # noqa: NPY002
    MofaModel.fit(features, 2, 1)
    assert warnings.filters == filters
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert capsys.readouterr().out == ""


def test_no_convergence_is_said(features, monkeypatch, caplog):
    monkeypatch.setattr(mofa, "ITERATIONS", 4)
    model = MofaModel.fit(features, 2, 1)
    assert not model.converged
    assert "has not converged in 4 iterations" in caplog.text
    monkeypatch.undo()
    assert MofaModel.fit(features, 2, 1).converged


def test_an_omic_that_no_training_patient_has_is_left_out(features):
    blocks = list(features.blocks)
    values = blocks[1].values.copy()
    values[features.train] = np.nan
    blocks[1] = Block("protein", values, "gaussian", blocks[1].features)
    lacking = FeatureSet(features.patient_ids, features.roles, tuple(blocks))
    without = FeatureSet(features.patient_ids, features.roles, (blocks[0], blocks[2]))
    one, two = MofaModel.fit(lacking, 2, 1), MofaModel.fit(without, 2, 1)
    assert np.isfinite(one.transform(lacking)).all()
    both = without.train & np.any([b.present for b in without.blocks], axis=0)
    np.testing.assert_allclose(one.transform(lacking)[both], two.transform(without)[both], atol=1e-9)


# --- similarity network fusion -------------------------------------------------------------------------------------


def distances(values):
    return np.sqrt(((values[:, None] - values[None]) ** 2).sum(axis=-1))


def test_affinity_and_fused_network_are_those_of_snfpy():
    omics = [np.array(o) for o in ORACLE["omics"]]
    networks = [affinity(distances(o)) for o in omics]
    np.testing.assert_allclose(networks[0], ORACLE["affinity"], rtol=1e-9)
    fused = fuse(networks)
    np.testing.assert_allclose(fused, ORACLE["fused"], rtol=1e-9, atol=1e-12)


def test_a_missing_omic_is_that_of_the_nearest_who_have_it():
    rng = np.random.default_rng(0)
    group = np.arange(90) % 3
    omics = [rng.normal(size=(90, 6)) + 6 * np.eye(6)[group] for _ in range(3)]
    present = rng.random((90, 3)) > 0.3
    present[:, 0] |= ~present.any(axis=1)
    whole = fusion.impute([np.where(h[:, None], o, 0.0) for o, h in zip(omics, present.T, strict=True)], present)
    for values, true, has in zip(whole, omics, present.T, strict=True):
        np.testing.assert_array_equal(values[has], true[has])
        np.testing.assert_array_equal(values[~has].argmax(axis=1), group[~has])
    one = np.flatnonzero(~present[:, 1])[0]
    known = np.flatnonzero(present[:, 1])
    square = np.zeros(len(known))
    shared = np.zeros(len(known))
    for j in (0, 2):
        has = present[:, j]
        both = has[one] & has[known]
        scale = (distances(omics[j][has]) ** 2).mean()
        square += np.where(both, ((omics[j][known] - omics[j][one]) ** 2).sum(axis=1) / scale, 0)
        shared += both
    near = known[np.argsort(np.where(shared > 0, square / np.maximum(shared, 1), np.inf))[: fusion.DONORS]]
    np.testing.assert_allclose(whole[1][one], omics[1][near].mean(axis=0))
    lonely = fusion.impute([np.ones((4, 2)), np.ones((4, 2))], np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool))
    np.testing.assert_array_equal(lonely[1][:2], 0.0)


def test_coordinates_are_eigenvectors_of_the_random_walk():
    network = np.array(ORACLE["fused"])
    coordinates = spectral_coordinates(network, 3)
    degree = network.sum(axis=1)
    values = np.sort(np.linalg.eigvals(network / degree[:, None]).real)[::-1]
    np.testing.assert_allclose(network @ coordinates / degree[:, None], coordinates * values[1:4], atol=1e-10)
    np.testing.assert_allclose(degree @ coordinates, 0, atol=1e-9)
    np.testing.assert_allclose(degree @ coordinates**2 / degree.sum(), 1)
    assert (spectral_coordinates(network[:3, :3], 4)[:, 2:] == 0).all()


def test_held_out_patients_fall_into_the_subgroup_they_come_from():
    rng = np.random.default_rng(1)
    group = np.arange(150) % 3
    blocks = []
    for name in "ab":
        values = rng.normal(size=(150, 10)) + 3 * np.eye(10)[group]
        values[rng.random(150) < 0.2] = np.nan
        blocks.append(Block(name, values.astype(np.float32), "gaussian", tuple(f"{name}{j}" for j in range(10))))
    roles = np.where(np.arange(150) < 110, "train", "test")
    features = FeatureSet(tuple(map(str, range(150))), roles, tuple(blocks))
    latents = FusionModel.fit(features, 2).transform(features)
    has = np.any([b.present for b in blocks], axis=0)
    mixture = fit_mixture(latents[features.train & has], 3, 1)
    held_out = has & ~features.train
    assert adjusted_rand(contingency(mixture.probabilities(latents[held_out]).argmax(axis=1), group[held_out])) > 0.85


def test_too_many_patients_for_all_pairs_are_refused(features, monkeypatch):
    monkeypatch.setattr(fusion, "MAX_PATIENTS", 10)
    with pytest.raises(LatentError, match=r"take snf out of `latent\.baselines`"):
        FusionModel.fit(features, 2)
