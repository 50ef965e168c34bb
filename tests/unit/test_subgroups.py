"""Subgroups: found where planted and nowhere else, named by training patients, judged on held-out ones."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture

import evaluate_subgroups
import find_subgroups
from stratiome.config import Config, DataConfig, EndpointConfig, EvaluationConfig, LatentConfig, SubgroupConfig
from stratiome.features.block import Block, FeatureSet, write_features
from stratiome.latent.baselines import PcaModel
from stratiome.latent.errors import LatentError
from stratiome.latent.model import LatentModel, save_models
from stratiome.subgroups import describe
from stratiome.subgroups.agreement import (
    METRICS,
    adjusted_rand,
    agreement_claim,
    contingency,
    normalised_mutual_information,
)
from stratiome.subgroups.cluster import Mixture, assign, fit_mixture
from stratiome.subgroups.find import find_subgroups as find
from stratiome.subgroups.match import match_labels, pool_held_out
from stratiome.subgroups.outcomes import kaplan_meier
from stratiome.subgroups.partition import partition
from stratiome.subgroups.reference import match_moments, reference_sampler, without_subgroups
from stratiome.subgroups.stability import bootstrap_jaccard, max_statistic_p, select_k
from stratiome.tables import (
    Memberships,
    Resamples,
    SubgroupAgreement,
    SubgroupAssignment,
    SubgroupAssociations,
    SubgroupCurves,
    SubgroupMarkers,
    SubgroupProfile,
    Subgroups,
    SubgroupSelection,
    SubgroupSingleFeatures,
    SubgroupSites,
    SubgroupSiteSummary,
    SubgroupSiteSurvival,
    SubgroupStability,
    SubgroupSummary,
    SubgroupSurvival,
    SubgroupTests,
    SurvivalTests,
    Truth,
    from_rows,
    read_table,
    write_table,
)

STEADY = SubgroupConfig(k=(1, 2, 3, 4), subsamples=20, reference_draws=19, alpha=0.05)
FAST = SubgroupConfig(k=(1, 2, 3, 4), subsamples=8, reference_draws=19, alpha=0.05)
ENDPOINT = EndpointConfig(time="t", event="e", horizons=(12, 24))
EVALUATION = EvaluationConfig(bootstraps=200)


def blobs(n=240, k=3, distance=7.0, dims=3, seed=0):
    """Gaussian clouds with unit variance in a strongly unequal scale, and who belongs to which."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    centres = np.zeros((k, dims))
    centres[:, :2] = distance * np.array([[np.cos(a), np.sin(a)] for a in 2 * np.pi * np.arange(k) / k]) / np.sqrt(3)
    return (centres[labels] * (k > 1) + rng.normal(size=(n, dims))) * np.array([1.0, 0.2, 3.0])[:dims], labels


def gaussian_reference(latents, patterns=None):
    """Cohorts without subgroups for latents that come from no model."""
    codes = np.zeros(len(latents), dtype=int) if patterns is None else patterns
    return lambda rng: match_moments(rng.normal(size=latents.shape), latents, codes)


def make_features(n=240, k=3, seed=0, missing=0.2, test=0.25, shift=2.0):
    """Two Gaussian omics and mutations, one shared factor, `k` planted subgroups."""
    rng = np.random.default_rng(seed)
    planted = rng.integers(0, k, n)
    factor = rng.normal(size=(n, 1))
    blocks = []
    for name, width in (("rna", 20), ("protein", 10), ("mutation", 8)):
        signal = factor @ (0.4 * rng.normal(size=(1, width)))
        if name == "mutation":
            values = (signal + rng.normal(size=(n, width)) > 0.8).astype(float)
        else:
            values = signal + shift * (k > 1) * rng.normal(size=(k, width))[planted] + rng.normal(size=(n, width))
            values = (values - values.mean(0)) / values.std(0)
        values[rng.random(n) < missing] = np.nan
        kind = "bernoulli" if name == "mutation" else "gaussian"
        blocks.append(Block(name, values.astype(np.float32), kind, tuple(f"{name}{j}" for j in range(width))))
    roles = np.array(["test" if u < test else "train" for u in rng.random(n)])
    return FeatureSet(tuple(f"P{i:03d}" for i in range(n)), roles, tuple(blocks)), planted


# --- agreement -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_agreement_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, 100), rng.integers(0, 3, 100)
    b = np.where(rng.random(100) < 0.5, a % 3, b)
    table = contingency(a, b)
    assert adjusted_rand(table) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)
    assert normalised_mutual_information(table) == pytest.approx(normalized_mutual_info_score(a, b), abs=1e-12)
    both = np.stack([table, np.roll(table, 1, axis=0)])
    np.testing.assert_allclose(adjusted_rand(both), adjusted_rand(table))


def test_agreement_of_the_same_groups_is_one():
    labels = np.repeat([1, 2, 3], 5)
    assert adjusted_rand(contingency(labels, -labels)) == 1
    assert normalised_mutual_information(contingency(labels, -labels)) == pytest.approx(1)
    assert adjusted_rand(contingency(np.ones(4), np.ones(4))) == 1


# --- clustering ----------------------------------------------------------------------------------------------------


def test_partition_finds_groups_along_a_direction_of_small_variance():
    points, truth = blobs(k=2, distance=10.0)
    turned = points[:, [1, 2, 0]] @ np.random.default_rng(0).normal(size=(3, 3))
    for x in (points, turned):
        found = partition(np.stack([x, x[::-1]]), 2, np.random.default_rng(0))
        labels = found.labels(x)
        assert labels.shape == (2, 240)
        assert all(adjusted_rand_score(truth, row) == 1 for row in labels)


def test_partition_is_stationary_and_the_metric_is_that_of_the_groups():
    points, _ = blobs()
    found = partition(points[None], 3, np.random.default_rng(1), iterations=100)
    labels = found.labels(points)[0]
    centres = np.array([points[labels == j].mean(0) for j in range(3)])
    np.testing.assert_allclose(found.centres[0], centres, atol=1e-5)
    residual = points - centres[labels]
    np.testing.assert_allclose(np.linalg.inv(found.metric[0]), residual.T @ residual / len(points), atol=2e-3)


def test_mixture_gives_the_probabilities_of_scikit_learn_and_survives_json():
    points, _ = blobs(distance=3.0)
    mixture = fit_mixture(points, 3, 0)
    again = Mixture.from_dict(json.loads(json.dumps(mixture.to_dict())))
    np.testing.assert_array_equal(again.probabilities(points), mixture.probabilities(points))
    library = GaussianMixture(3, covariance_type="tied")
    library.weights_, library.means_, library.covariances_ = mixture.weights, mixture.means, mixture.covariance
    library.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(mixture.covariance))
    np.testing.assert_allclose(mixture.probabilities(points), library.predict_proba(points), atol=1e-9)
    assert (np.diff(mixture.weights) <= 0).all()


def test_mixture_is_as_likely_as_the_best_of_ten_of_scikit_learn():
    for seed in range(3):
        points, _ = blobs(distance=4.0, seed=seed)
        own = fit_mixture(points, 3, 0)
        library = GaussianMixture(3, covariance_type="tied", n_init=10, random_state=0, tol=1e-5, max_iter=500).fit(
            points
        )
        best = library.score(points)
        library.weights_, library.means_, library.covariances_ = own.weights, own.means, own.covariance
        library.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(own.covariance))
        assert library.score(points) > best - 1e-3


def test_products_that_are_symmetric_up_to_rounding_only_are_no_trouble(monkeypatch):
    """Single-precision products differ between processors: what one of them gives must not be refused."""
    from stratiome.subgroups import cluster

    rng = np.random.default_rng(5)
    points = rng.normal(size=(200, 4)) + 4 * rng.integers(0, 2, 200)[:, None]
    plain = fit_mixture(points, 2, 0)
    real = cluster.partition

    def uneven(*given, **more):
        found = real(*given, **more)
        return found._replace(metric=found.metric * (1 + 1e-4 * np.triu(np.ones((4, 4)), 1)))

    monkeypatch.setattr(cluster, "partition", uneven)
    np.testing.assert_allclose(fit_mixture(points, 2, 0).means, plain.means, atol=0.05)
    for matrix in partition(points[None], 2, rng).metric:
        np.testing.assert_allclose(matrix, matrix.T, rtol=1e-9)


def test_one_subgroup_holds_everybody_who_was_measured():
    points, _ = blobs(k=1)
    mixture = fit_mixture(points, 1, 0)
    np.testing.assert_allclose(mixture.means[0], points.mean(0))
    measured = np.arange(240) > 0
    label, best = assign(mixture.probabilities(points), measured, 0.5)
    assert (label == measured).all()
    assert (best == measured).all()


def test_uncertain_patients_stay_unassigned():
    probabilities = np.array([[0.9, 0.1], [0.45, 0.55], [0.1, 0.9], [1.0, 0.0]])
    label, best = assign(probabilities, np.array([True, True, True, False]), 0.6)
    assert label.tolist() == [1, 0, 2, 0]
    assert best.tolist() == [0.9, 0.55, 0.9, 0.0]


# --- the number of subgroups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_three_planted_subgroups_are_three(seed):
    points, _ = blobs(seed=seed)
    found = select_k(points, gaussian_reference(points), FAST, seed)
    assert found.chosen == 3
    assert found.p_value == 1 / 20


def test_unequal_subgroups_are_three():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 300, p=[0.6, 0.25, 0.15])
    points = np.array([[0, 0], [7, 0], [7, 7]])[labels] + rng.normal(size=(300, 2))
    assert select_k(points, gaussian_reference(points), FAST, 0).chosen == 3


@pytest.mark.parametrize("seed", range(3))
def test_one_cloud_has_no_subgroups(seed):
    points, _ = blobs(k=1, seed=seed)
    assert select_k(points, gaussian_reference(points), FAST, seed).chosen == 1


def test_a_stable_cut_of_one_cloud_is_no_subgroup():
    # In one dimension any cloud is cut in the middle again and again: stable is not real.
    points = np.random.default_rng(0).normal(size=(300, 1))
    found = select_k(points, gaussian_reference(points), FAST, 0)
    assert found.stability[0] > 0.8
    assert found.null[:, 0].mean() > 0.8
    assert found.chosen == 1


def test_too_few_patients_are_one_group():
    points, _ = blobs(n=20)
    found = select_k(points, gaussian_reference(points), FAST, 0)
    assert (found.k, found.chosen, found.p_value) == ((), 1, 1.0)


def test_the_p_value_keeps_its_level_over_all_k():
    rng = np.random.default_rng(0)
    draws, cohorts = 19, 4000
    values = rng.normal(0.8, [0.02, 0.05, 0.1], size=(cohorts, draws + 1, 3))
    p = np.array([max_statistic_p(v[0], v[1:], 0.0) for v in values])
    error = np.sqrt(0.05 * 0.95 / cohorts)
    assert abs((p <= 0.05).mean() - 0.05) < 3 * error
    assert abs((p <= 0.5).mean() - 0.5) < 3 * np.sqrt(0.25 / cohorts)
    assert max_statistic_p(np.full(3, 0.59), rng.uniform(0, 0.1, (39, 3)), 0.6) == 1


def test_jaccard_tells_real_subgroups_from_arbitrary_ones():
    points, _ = blobs()
    labels = fit_mixture(points, 3, 0).probabilities(points).argmax(1) + 1
    real = bootstrap_jaccard(points, 3, 0, labels)
    assert (real > 0.95).all()
    cloud, _ = blobs(k=1)
    arbitrary = bootstrap_jaccard(cloud, 3, 0, fit_mixture(cloud, 3, 0).probabilities(cloud).argmax(1) + 1)
    assert arbitrary.max() < 0.7
    np.testing.assert_array_equal(real, bootstrap_jaccard(points, 3, 0, labels))


# --- reference cohorts ---------------------------------------------------------------------------------------------


def test_reference_cohorts_have_the_moments_and_gaps_of_the_observed_one():
    features, _ = make_features(n=400, missing=0.2)
    rows = features.train
    draws = [without_subgroups(features, rows, np.random.default_rng(i)) for i in range(60)]
    for b, block in enumerate(features.blocks):
        observed = block.values[rows].astype(float)
        for drawn in draws[:3]:
            np.testing.assert_array_equal(np.isnan(drawn.blocks[b].values), np.isnan(observed))
        together = np.concatenate([d.blocks[b].values for d in draws]).astype(float)
        np.testing.assert_allclose(np.nanmean(together, axis=0), np.nanmean(observed, axis=0), atol=0.05)
        np.testing.assert_allclose(np.nanstd(together, axis=0), np.nanstd(observed, axis=0), atol=0.05)
        here, there = (x[np.isfinite(x).all(1)] for x in (observed, together))
        if block.likelihood == "gaussian":
            assert np.abs(np.corrcoef(here.T) - np.corrcoef(there.T)).max() < 0.08
        else:
            assert set(np.unique(there)) == {0.0, 1.0}


def test_moments_match_within_patients_of_the_same_omics():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3)) + 2
    patterns = np.repeat([0, 1, 2, 3], [200, 80, 12, 8])
    latents[patterns == 1] *= 0.3
    matched = match_moments(rng.exponential(size=(300, 3)), latents, patterns)
    for rows in (patterns == 0, patterns == 1, patterns >= 2):  # small patterns are pooled
        np.testing.assert_allclose(matched[rows].mean(0), latents[rows].mean(0), atol=1e-6)
        np.testing.assert_allclose(np.cov(matched[rows].T), np.cov(latents[rows].T), atol=1e-5)


def test_patients_who_lack_omics_are_no_subgroup():
    patterns = (np.arange(300) < 120).astype(int)
    found = []
    for seed in range(4):
        points = np.random.default_rng(seed).normal(size=(300, 5)) * np.where(patterns, 0.1, 1.0)[:, None]
        found.append(select_k(points, gaussian_reference(points, patterns), FAST, seed).p_stable)
    assert sum(p <= 0.05 for p in found) <= 1  # at level 5 %, two of four have probability 1.4 %


@pytest.mark.parametrize(("k", "seed"), [(1, 0), (1, 1), (3, 0), (3, 1)])
def test_whole_stage_finds_what_was_planted(k, seed):
    features, planted = make_features(k=k, seed=seed, shift=3.0)
    model = PcaModel.fit(features, 3)
    found = find(model.transform(features), features, model, STEADY, seed)
    assert found.selection.chosen == k
    if k == 3:
        sure = (found.labels > 0) & np.all([b.present for b in features.blocks], axis=0)
        for role in ("train", "test"):
            rows = sure & (features.roles == role)
            assert adjusted_rand_score(planted[rows], found.labels[rows]) >= 0.9
        assert (found.jaccard > 0.8).all()
    else:
        assert np.isnan(found.jaccard).all()


@pytest.mark.parametrize("k", [1, 3])
def test_whole_stage_on_the_deep_model(k):
    features, planted = make_features(k=k, n=300, shift=3.0)
    model = LatentModel.fit(features, LatentConfig(dims=4, hidden=16, members=4, epochs=200), 0)
    latents = model.transform(features)
    found = find(latents, features, model, STEADY, 0)
    assert found.selection.chosen == k
    if k == 3:
        assert adjusted_rand_score(planted[found.labels > 0], found.labels[found.labels > 0]) >= 0.9
    rows = features.train & np.any([b.present for b in features.blocks], axis=0)
    drawn = reference_sampler(model, features, rows, latents[rows])(np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(0), latents[rows].mean(0), atol=1e-6)
    np.testing.assert_allclose(drawn.var(0), latents[rows].var(0), rtol=0.1)


def test_a_common_mutation_makes_no_subgroup():
    rng = np.random.default_rng(0)
    values = (rng.random((300, 2)) < [0.4, 0.1]).astype(np.float32)
    noise = rng.normal(size=(300, 30)).astype(np.float32)
    blocks = (
        Block("rna", noise, "gaussian", tuple(f"g{j}" for j in range(30))),
        Block("mutation", values, "bernoulli", ("a", "b")),
    )
    features = FeatureSet(tuple(f"P{i:03d}" for i in range(300)), np.full(300, "train"), blocks)
    model = PcaModel.fit(features, 3)
    points = model.transform(features)
    sampler = reference_sampler(model, features, np.ones(300, bool), points)
    found = select_k(points, sampler, FAST, 0)
    assert found.stability.max() > 0.9  # carriers and others are two stable clouds ...
    assert found.chosen == 1  # ... as they would be in any cohort with such a mutation
    assert select_k(points, gaussian_reference(points), FAST, 0).chosen > 1  # the mutant: a Gaussian reference


def test_latents_of_other_patients_are_refused():
    features, _ = make_features()
    with pytest.raises(LatentError, match="3 latents for 240 patients"):
        find(np.zeros((3, 2)), features, PcaModel.fit(features, 2), FAST, 0)


# --- names of held-out subgroups -----------------------------------------------------------------------------------


def test_labels_are_matched_one_to_one():
    full = np.repeat([1, 2, 3], [30, 20, 10])
    assert match_labels(full, np.array([0, 3, 1, 2])[full], 3, 3) == {0: 0, 3: 1, 1: 2, 2: 3}
    unassigned = np.where(np.arange(60) % 7 == 0, 0, full)
    assert match_labels(unassigned, full, 3, 3) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_a_part_of_a_subgroup_takes_its_name_and_a_mixture_none():
    full = np.repeat([1, 2], [60, 40])
    split = np.repeat([1, 2, 3], [35, 25, 40])
    assert match_labels(full, split, 2, 3) == {0: 0, 1: 1, 2: 1, 3: 2}
    full = np.repeat([1, 2, 1, 2], [40, 40, 10, 10])
    mixed = np.repeat([1, 2, 3], [40, 40, 20])
    assert match_labels(full, mixed, 2, 3) == {0: 0, 1: 1, 2: 2, 3: 0}


def test_a_merged_subgroup_takes_one_name_and_no_subgroups_no_name():
    full = np.repeat([1, 2, 3], [30, 20, 10])
    assert match_labels(full, np.repeat([1, 2], [30, 30]), 3, 2) == {0: 0, 1: 1, 2: 2}
    assert match_labels(full, np.ones(60, dtype=int), 3, 1) == {0: 0, 1: 0}
    assert match_labels(np.ones(60, dtype=int), full, 1, 3) == {0: 0, 1: 1, 2: 1, 3: 1}


def test_only_test_patients_of_the_first_repeat_are_pooled():
    ids = [f"P{i}" for i in range(12)]
    truth = {p: 1 + i % 2 for i, p in enumerate(ids)}
    rows = []
    for name, flip in (("full", False), ("cv-1-1", True), ("cv-1-2", False), ("cv-2-1", False), ("site-a", False)):
        for i, p in enumerate(ids):
            fold = {"cv-1-1": i < 6, "cv-1-2": i >= 6}.get(name, name != "full")
            label = 3 - truth[p] if flip else truth[p]
            row = {"patient_id": p, "resample": name, "role": "test" if fold else "train", "model": "pca"}
            rows.append(row | {"subgroup": label, "probability": 0.8 if name == "cv-1-1" else 0.7})
    pooled = pool_held_out(from_rows(rows[::-1], Subgroups), {(r, "pca"): 2 for r in ("full", "cv-1-1", "cv-1-2")})
    assert pooled["patient_id"].to_list() == sorted(ids)
    assert dict(pooled.select("patient_id", "subgroup").iter_rows()) == truth  # the flip is undone
    assert sorted(pooled["probability"].to_list()) == [0.7] * 6 + [0.8] * 6


# --- survival ------------------------------------------------------------------------------------------------------


def test_kaplan_meier_by_hand():
    # Klein & Moeschberger style: at 2 one of five dies, at 4 one of three (one censored at 3), at 6 the last.
    time, event = np.array([2.0, 3.0, 4.0, 5.0, 6.0]), np.array([True, False, True, False, True])
    curve = kaplan_meier(time, event, np.array([0, 1, 2, 3.5, 4, 5.5, 6, 7]), 0.95)
    np.testing.assert_allclose(curve.survival, [1, 1, 0.8, 0.8, 0.8 * 2 / 3, 0.8 * 2 / 3, 0, np.nan])
    assert curve.at_risk.tolist() == [5, 5, 5, 3, 3, 1, 1, 0]
    variance = (1 / (5 * 4)) / np.log(0.8) ** 2  # Greenwood on the log(-log) scale
    band = 0.8 ** np.exp([1.959964 * np.sqrt(variance), -1.959964 * np.sqrt(variance)])
    np.testing.assert_allclose([curve.lower[2], curve.upper[2]], band, atol=1e-6)
    assert (curve.lower[0], curve.upper[0], curve.lower[6]) == (1, 1, 0)
    known = np.isfinite(curve.survival)
    assert (curve.lower[known] <= curve.survival[known]).all()
    assert (curve.survival[known] <= curve.upper[known]).all()


# --- description ---------------------------------------------------------------------------------------------------


def held_out_table(labels, full=None, model="pca"):
    full = labels if full is None else full
    rows = [
        {"patient_id": f"P{i:03d}", "model": model, "subgroup": int(s), "full_subgroup": int(f), "probability": 0.9}
        for i, (s, f) in enumerate(zip(labels, full, strict=True))
    ]
    return from_rows(rows, SubgroupAssignment)


def outcome_table(n, seed=0, hazard=None):
    rng = np.random.default_rng(seed)
    time = rng.exponential(20 / (np.ones(n) if hazard is None else hazard)) + 0.1
    ids = [f"P{i:03d}" for i in range(n)]
    event = (rng.random(n) < 0.8).astype(np.int64)
    return pl.DataFrame(
        {"patient_id": ids, "time_months": time, "event": event, "competing": np.zeros(n, dtype=np.int64)}
    )


def test_agreement_table_leaves_out_unassigned_and_unknown():
    labels = np.repeat([0, 1, 2], [5, 20, 20])
    known = {f"P{i:03d}": "ab"[i % 2] for i in range(40)}
    same = {f"P{i:03d}": str(s) for i, s in enumerate(labels)}
    outcome = outcome_table(45)
    table = describe.agreement_table(held_out_table(labels), {"known": known, "same": same}, outcome, EVALUATION, 0)
    rows = {(r["label"], r["metric"]): r for r in table.iter_rows(named=True)}
    assert len(rows) == 6
    for label in ("same", "full"):
        row = rows[label, "adjusted_rand_index"]
        assert (row["estimate"], row["lower"], row["upper"], row["n"]) == (1, 1, 1, 40)
    row = rows["known", "adjusted_rand_index"]
    i = np.arange(5, 40)
    assert row["estimate"] == pytest.approx(adjusted_rand_score(labels[i], i % 2))
    assert row["lower"] <= row["estimate"] <= row["upper"]
    assert row["n"] == 35
    assert row["events"] == outcome["event"][5:40].sum()
    one = describe.agreement_table(held_out_table(np.ones(40)), {"known": known}, outcome, EVALUATION, 0)
    assert one["estimate"].null_count() == one.height
    assert one["method"].str.contains("not estimable").all()


def test_interval_of_agreement_covers_the_truth():
    rng = np.random.default_rng(0)
    cells = np.array([[0.3, 0.1], [0.1, 0.5]])
    truth = adjusted_rand(1e7 * cells)
    covered = []
    for i in range(200):
        table = rng.multinomial(200, cells.ravel()).reshape(2, 2).astype(float)
        found = agreement_claim(table, "adjusted_rand_index", EVALUATION, np.random.default_rng([1, i]))
        covered.append(found["lower"] <= truth <= found["upper"])
    assert 0.90 <= np.mean(covered) <= 0.99


def test_summary_names_every_subgroup_of_full_even_if_empty():
    labels = np.repeat([0, 1, 2], [4, 30, 26])
    outcome = outcome_table(60).head(50)
    stability = from_rows(
        [{"resample": "full", "model": "pca", "subgroup": s, "n": 9, "jaccard": 0.8} for s in (1, 2, 3)],
        SubgroupStability,
    )
    table = describe.summary_table(held_out_table(labels), outcome, {"pca": 3}, stability, ENDPOINT, 0.95)
    assert table.select("subgroup", "horizon_months").rows() == [(s, h) for s in range(4) for h in (12.0, 24.0)]
    first = table.filter(pl.col("subgroup") == 1)
    assert first["share"].to_list() == [0.5, 0.5]
    assert first["n"].to_list() == [30, 30]
    empty = table.filter(pl.col("subgroup") == 3)
    assert empty["estimate"].null_count() == 2
    assert empty["n"].to_list() == [0, 0]
    assert table.filter(pl.col("subgroup") == 0)["jaccard"].null_count() == 2
    assert table["held_out"].all()


def test_profile_shares_and_means():
    clinical = pl.DataFrame(
        {
            "patient_id": [f"P{i:03d}" for i in range(6)],
            "age": [50.0, 60.0, None, 40.0, 42.0, 44.0],
            "type": ["a", "b", "a", "b", "b", None],
        }
    )
    table = describe.profile_table(held_out_table([1, 1, 1, 2, 2, 2]), clinical, {"age": True, "type": False})
    rows = {(r["subgroup"], r["variable"]): r for r in table.iter_rows(named=True)}
    assert (rows[1, "age"]["value"], rows[1, "age"]["n"]) == (55, 2)
    assert rows[1, "age"]["sd"] == pytest.approx(np.std([50, 60], ddof=1))
    assert (rows[1, "type: a"]["value"], rows[1, "type: a"]["count"]) == (2 / 3, 2)
    assert (rows[2, "type: a"]["value"], rows[2, "type: a"]["n"]) == (0, 2)


def test_markers_are_standardised_differences():
    features, planted = make_features(k=2, missing=0.1, test=0.0)
    rows = [
        {
            "patient_id": p,
            "resample": "full",
            "role": "train",
            "model": "pca",
            "subgroup": int(s) + 1,
            "probability": 1.0,
        }
        for p, s in zip(features.patient_ids, planted, strict=True)
    ]
    table = describe.markers_table(features, from_rows(rows, Subgroups))
    assert table.group_by("subgroup", "omic").len()["len"].max() == 15
    top = table.filter((pl.col("subgroup") == 1) & (pl.col("omic") == "rna"))
    assert (np.diff(top["effect"].abs()) <= 0).all()
    column = features.blocks[0].values[:, int(top["feature"][0][3:])].astype(float)
    a, b = (column[(planted == g) & np.isfinite(column)] for g in (0, 1))
    assert top["effect"][0] == pytest.approx((a.mean() - b.mean()) / np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    other = table.filter((pl.col("subgroup") == 2) & (pl.col("feature") == top["feature"][0]))
    assert other["effect"][0] == pytest.approx(-top["effect"][0])


# --- the scripts ---------------------------------------------------------------------------------------------------


def run_find(features, folder, resample, settings=FAST, name="pca"):
    """Run rule find_subgroups on principal components; paths of what it wrote."""
    import anndata
    import pandas as pd

    folder.mkdir()
    path = {k: str(folder / k) for k in ("features.h5mu", "latents.h5ad", "weights", "description")}
    model = PcaModel.fit(features, 3)
    write_features(features, path["features.h5mu"])
    save_models({name: model}, path["weights"], path["description"])
    obs = pd.DataFrame(index=pd.Index(features.patient_ids, dtype=object))
    anndata.AnnData(obs=obs, obsm={name: model.transform(features)}).write_h5ad(path["latents.h5ad"])
    out = {
        k: str(folder / k) for k in ("assignment", "memberships", "selection", "stability", "information", "mixture")
    }
    find_subgroups.main(
        features=path["features.h5mu"],
        latents=path["latents.h5ad"],
        weights=path["weights"],
        description=path["description"],
        subgroups=settings,
        seed=1,
        resample=resample,
        **out,
    )
    return path | out


def test_held_out_patients_change_no_subgroup(tmp_path):
    features, _ = make_features()
    rng = np.random.default_rng(5)
    noisy = []
    for block in features.blocks:
        values = block.values.copy()
        values[~features.train] = rng.integers(0, 2, values[~features.train].shape)
        values[rng.random(len(values)) < 0.3 * ~features.train] = np.nan
        noisy.append(Block(block.name, values, block.likelihood, block.features))
    changed = FeatureSet(features.patient_ids, features.roles, tuple(noisy))
    one, two, same = (
        run_find(f, tmp_path / n, "cv-1-1") for n, f in (("a", features), ("b", changed), ("c", features))
    )
    for key in ("mixture", "selection", "stability", "information"):
        with open(one[key], "rb") as a, open(two[key], "rb") as b:
            assert a.read() == b.read(), key
    for key in ("assignment", "memberships", "mixture", "selection", "stability"):
        with open(one[key], "rb") as a, open(same[key], "rb") as b:
            assert a.read() == b.read(), key
    train = pl.col("role") == "train"
    tables = [read_table(p["assignment"], Subgroups) for p in (one, two)]
    assert tables[0].filter(train).equals(tables[1].filter(train))
    assert not tables[0].filter(~train).equals(tables[1].filter(~train))


def test_tables_of_one_resample(tmp_path):
    features, _ = make_features(missing=0.5)
    paths = run_find(features, tmp_path / "a", "full")
    assignment = read_table(paths["assignment"], Subgroups)
    memberships = read_table(paths["memberships"], Memberships)
    nothing = ~np.any([b.present for b in features.blocks], axis=0)
    assert nothing.any()
    assert (assignment["subgroup"].to_numpy()[nothing] == 0).all()
    assert (assignment["probability"].to_numpy()[nothing] == 0).all()
    sums = memberships.group_by("patient_id").agg(pl.col("probability").sum()).sort("patient_id")["probability"]
    np.testing.assert_allclose(sums, ~nothing)
    selection = read_table(paths["selection"], SubgroupSelection)
    assert selection["k"].to_list() == [1, 2, 3, 4]
    assert selection["chosen"].sum() == 1
    chosen = selection.filter("chosen")["k"][0]
    assert read_table(paths["stability"], SubgroupStability).height == chosen


def run_evaluate(tmp_path, k, planted=True, locked=()):
    """Full and two folds of a small cohort through both rules; tables by name."""
    features, truth = make_features(n=200, k=k, test=0.0, shift=1.5)
    fold = np.arange(200) % 2
    paths = []
    for name in ("cv-1-2", "full", "cv-1-1"):
        roles = np.where((name != "full") & (fold == int(name[-1] == "2")), "test", "train")
        roles = np.where(np.isin(features.patient_ids, locked), "out", roles)
        settings = FAST.model_copy(update={"k": (1, 2, 3)})
        paths.append(
            run_find(FeatureSet(features.patient_ids, roles, features.blocks), tmp_path / name, name, settings)
        )
    ids = list(features.patient_ids)
    rng = np.random.default_rng(0)
    subtype = [None if i < 9 else "xyz"[s] for i, s in enumerate(truth)]
    clinical = {
        "patient_id": ids,
        "age": rng.normal(60, 9, 200),
        "subtype": subtype,
        "site": rng.choice(["n", "s"], 200),
    }
    pl.DataFrame(clinical).write_parquet(tmp_path / "clinical")
    outcome_table(200, hazard=np.array([0.3, 1.0, 4.0])[truth]).tail(190).write_parquet(tmp_path / "outcome")
    if planted:
        rows = [
            {"patient_id": p, "subgroup": int(s) + 1, "propensity": None, "time_months": t}
            | {"survival_untreated": 0.5, "survival_treated": 0.5}
            for p, s in zip(ids, truth, strict=True)
            for t in (0.0, 12.0)
        ]
        write_table(from_rows(rows, Truth), tmp_path / "truth", Truth)
    contracts = {
        "assignment": SubgroupAssignment,
        "summary": SubgroupSummary,
        "agreement": SubgroupAgreement,
        "profile": SubgroupProfile,
        "markers": SubgroupMarkers,
        "single": SubgroupSingleFeatures,
        "curves": SubgroupCurves,
        "tests": SurvivalTests,
        "comparisons": SubgroupTests,
        "restricted": SubgroupSurvival,
        "associations": SubgroupAssociations,
        "sites": SubgroupSites,
        "site_survival": SubgroupSiteSurvival,
        "site_summary": SubgroupSiteSummary,
        "selection": SubgroupSelection,
    }
    roles = [{"patient_id": p, "resample": "full", "role": "out" if p in locked else "train"} for p in ids]
    write_table(from_rows(roles, Resamples), tmp_path / "resamples", Resamples)
    evaluate_subgroups.main(
        clinical=str(tmp_path / "clinical"),
        outcome=str(tmp_path / "outcome"),
        resamples=str(tmp_path / "resamples"),
        features=paths[1]["features.h5mu"],
        assignments=[p["assignment"] for p in paths],
        selections=[p["selection"] for p in paths],
        stabilities=[p["stability"] for p in paths],
        truth=[str(tmp_path / "truth")] if planted else [],
        endpoint=ENDPOINT,
        covariates=("age",),
        known_labels=("subtype",),
        site="site",
        evaluation=EVALUATION,
        data=DataConfig(example="transbig"),
        seed=1,
        analysis=Config(
            cohort="c", data=DataConfig(example="transbig"), endpoint=ENDPOINT, covariates=("age",), site="site"
        ),
        **{name: str(tmp_path / f"out_{name}") for name in contracts},
    )
    return {name: read_table(tmp_path / f"out_{name}", contract) for name, contract in contracts.items()}, truth


def test_held_out_subgroups_are_those_that_were_planted(tmp_path):
    tables, _ = run_evaluate(tmp_path, 3)
    pooled = tables["assignment"]
    assert pooled.height == 200
    agreement = {(r["label"], r["metric"]): r for r in tables["agreement"].iter_rows(named=True)}
    assert set(agreement) == {(label, metric) for label in ("subtype", "planted", "full") for metric in METRICS}
    assert agreement["planted", "adjusted_rand_index"]["estimate"] > 0.8
    assert agreement["full", "adjusted_rand_index"]["estimate"] > 0.8
    assert agreement["subtype", "adjusted_rand_index"]["n"] < agreement["planted", "adjusted_rand_index"]["n"]
    tests = {r["grouping"]: r for r in tables["tests"].iter_rows(named=True)}
    assert tests["pca subgroups"]["held_out"]
    of_known = tables["tests"].filter(pl.col("grouping") == "subtype")
    assert of_known["method"].to_list() == ["log-rank", "log-rank, stratified by site"]
    assert not of_known["held_out"].any()
    assert tests["pca subgroups"]["df"] == 2
    assert tests["pca subgroups"]["p_value"] < 1e-4
    assert tables["summary"].filter(pl.col("subgroup") > 0).height == 6
    assert tables["curves"].group_by("subgroup").agg(pl.col("survival").is_sorted(descending=True))["survival"].all()
    assert tables["selection"].group_by("resample").len()["len"].to_list() == [3, 3, 3]
    compared = {r["test"]: r for r in tables["comparisons"].iter_rows(named=True)}
    assert compared["stratified log-rank"]["p_value"] == tests["pca subgroups"]["p_value"]
    assert "stratified by site" in compared["likelihood ratio"]["method"]
    assert compared["likelihood ratio"]["p_value"] < 1e-4
    restricted = tables["restricted"]
    assert restricted.filter(pl.col("quantity") == "rmst").height == 3
    gain = restricted.row(by_predicate=pl.col("quantity") == "uno_c_difference", named=True)
    assert gain["lower"] > 0.05
    strength = {r["variable"]: r["strength"] for r in tables["associations"].iter_rows(named=True)}
    assert set(strength) == {"site", "age", "omics measured"}
    assert max(strength.values()) < 0.2
    assert tables["sites"].is_empty()
    assert tables["site_survival"].is_empty()
    assert tables["site_summary"].is_empty()


def test_locked_patients_are_in_no_table(tmp_path):
    ids = make_features(n=200, k=3, test=0.0, shift=1.5)[0].patient_ids
    locked = ids[::4]
    tables, _ = run_evaluate(tmp_path, 3, locked=locked)
    assert set(tables["assignment"]["patient_id"]) == set(ids) - set(locked)
    assert tables["comparisons"]["n"].max() <= 150
    assert tables["restricted"]["n"].max() <= 150
    assert tables["associations"]["n"].max() <= 150
    assert tables["tests"]["n"].max() <= 150  # known labels too
    assert tables["tests"].filter(~pl.col("held_out"))["n"][0] > 100


def test_given_splits_are_pooled_where_there_are_no_folds():
    ids = [f"P{i}" for i in range(12)]

    def pooled(**held_out):
        rows = [
            {"patient_id": p, "resample": name, "role": "test" if p in test else "train", "model": "pca"}
            | {"subgroup": 1 + i % 2, "probability": 0.8}
            for name, test in ({"full": ()} | held_out).items()
            for i, p in enumerate(ids)
        ]
        counts = {(r, "pca"): 2 for r in ("full", *held_out)}
        return pool_held_out(from_rows(rows, Subgroups), counts)["patient_id"].to_list()

    once = {"given-a": ids[:3], "given-b": ids[3:8]}
    assert pooled(**once) == sorted(ids[:8])
    assert pooled(**once, **{"given-c": ids[2:4]}) == []  # two patients held out twice
    assert pooled(**once, **{"cv-1-1": ids[:2]}) == ids[:2]
    assert pooled(locked=ids[:3], temporal=ids[3:]) == []


def test_no_subgroups_give_valid_tables_and_no_test(tmp_path):
    tables, _ = run_evaluate(tmp_path, 1, planted=False)
    assert tables["selection"].filter("chosen")["k"].to_list() == [1, 1, 1]
    test = tables["tests"].row(0, named=True)
    assert (test["statistic"], test["p_value"], test["df"]) == (None, None, 0)
    assert "fewer than two groups" in test["method"]
    assert tables["agreement"]["estimate"].null_count() == tables["agreement"].height
    assert set(tables["summary"]["subgroup"]) <= {0, 1}
    assert tables["markers"].filter(pl.col("subgroup") > 1).is_empty()
    assert tables["comparisons"]["p_value"].null_count() == 3
    gain = tables["restricted"].row(by_predicate=pl.col("quantity") == "uno_c_difference", named=True)
    assert (gain["estimate"], gain["lower"], gain["upper"]) == (0.0, 0.0, 0.0)
