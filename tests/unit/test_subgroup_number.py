"""The number of subgroups: early ends keep the level, reference cohorts owe nothing to what a model has learned."""

import sys
from pathlib import Path

import numpy as np
import pytest

from stratiome.config import SubgroupConfig
from stratiome.features.block import Block, FeatureSet
from stratiome.subgroups import stability as number
from stratiome.subgroups.reference import match_moments, reference_sampler
from stratiome.subgroups.stability import MIN_DRAWS, select_k, stability

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import subgroup_k

FAST = SubgroupConfig(k=(1, 2, 3), subsamples=8, reference_draws=39, alpha=0.05)


def counted(latents):
    """A Gaussian reference, and the list that grows with every draw."""
    drawn = []

    def draw(rng):
        drawn.append(1)
        return match_moments(rng.normal(size=latents.shape), latents, np.zeros(len(latents), dtype=int))

    return draw, drawn


def features_of(values, kinds):
    blocks = tuple(
        Block(name, v.astype(np.float32), kind, tuple(f"{name}{j}" for j in range(v.shape[1])))
        for name, v, kind in zip(("rna", "mutation"), values, kinds, strict=False)
    )
    n = len(values[0])
    return FeatureSet(tuple(f"P{i:03d}" for i in range(n)), np.full(n, "train"), blocks)


# --- early end -----------------------------------------------------------------------------------------------------


def test_drawing_ends_early_where_nothing_can_be_found_and_only_there():
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(150, 6))
    draw, drawn = counted(cloud)
    found = select_k(cloud, draw, FAST, 0)
    assert (found.chosen, len(drawn), len(found.null)) == (1, MIN_DRAWS, MIN_DRAWS)
    assert found.p_stable > FAST.alpha
    groups = cloud + 8 * rng.integers(0, 2, (150, 1))
    draw, drawn = counted(groups)
    found = select_k(groups, draw, FAST, 0)
    assert (found.chosen, len(drawn), found.p_stable) == (2, FAST.reference_draws, 1 / 40)


@pytest.mark.parametrize("draws", [19, 39])
def test_early_ends_keep_the_level_and_the_decision(monkeypatch, draws):
    settings = FAST.model_copy(update={"reference_draws": draws, "min_stability": 0.0})
    monkeypatch.setattr(number, "stability", lambda latents, *_: latents)
    cohorts = np.random.default_rng(1).normal(0.8, [0.02, 0.05], size=(800, draws + 1, 2))
    early, whole, used = [], [], []
    for own, *others in cohorts:
        stream = iter(others)
        null = number._draw_null(own, lambda _, s=stream: next(s), (2, 3), settings, 0)
        early.append(number.max_statistic_p(own, null, 0.0) <= settings.alpha)
        whole.append(number.max_statistic_p(own, np.array(others), 0.0) <= settings.alpha)
        used.append(len(null))
        assert len(null) == draws or not early[-1]  # an early end never rejects
    assert not (np.array(early) & ~np.array(whole)).any()
    assert np.mean(early) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 800)
    assert np.sum(whole) - np.sum(early) <= 0.1 * np.sum(whole)  # little power is lost
    assert np.mean(used) < 0.7 * draws


def test_one_reference_cohort_just_above_the_floor_does_not_hide_clear_subgroups():
    null = np.random.default_rng(0).normal([0.6, 0.3], [0.12, 0.1], size=(39, 2)).clip(0, 0.8)
    null[:, 1] = np.minimum(null[:, 1], 0.55)
    null[0, 1] = 0.72
    assert number.max_statistic_p(np.array([0.99, 0.5]), null, 0.6) == 1 / 40

    def spread_of_what_is_left(observed, drawn, floor):  # the mutant
        everything = np.maximum(np.vstack([observed, drawn]), floor)
        largest = ((everything - everything.mean(0)) / np.maximum(everything.std(0), number.MIN_SPREAD)).max(axis=1)
        return (1 + (largest[1:] >= largest[0]).sum()) / len(everything)

    assert spread_of_what_is_left(np.array([0.99, 0.5]), null, 0.6) > 1 / 40


# --- the choice ----------------------------------------------------------------------------------------------------


def test_the_number_varies_less_with_the_seed_than_on_the_subsamples_of_the_test(monkeypatch):
    rng = np.random.default_rng(3)
    labels = rng.choice(3, 240, p=[0.4, 0.3, 0.3])
    points = np.array([[0, 0], [6, 0], [6, 3.6]])[labels] + rng.normal(size=(240, 2))
    draw, _ = counted(points)
    null = np.array([stability(draw(np.random.default_rng(i)), (2, 3), FAST, np.random.default_rng(i)) for i in (0, 1)])
    monkeypatch.setattr(number, "_draw_null", lambda *_: np.repeat(null, 20, axis=0))
    spread = {}
    for precision in (1, number.PRECISION):
        monkeypatch.setattr(number, "PRECISION", precision)
        spread[precision] = np.std([select_k(points, draw, FAST, seed).stability for seed in range(12)], axis=0).max()
    assert spread[5] < 0.7 * spread[1]


# --- reference cohorts of a trained model --------------------------------------------------------------------------


def test_a_common_mutation_makes_no_subgroup_of_a_trained_model():
    rng = np.random.default_rng(0)
    values = (rng.random((300, 4)) < [0.4, 0.1, 0.1, 0.1]).astype(float)
    features = features_of([rng.normal(size=(300, 10)), values], ["gaussian", "bernoulli"])

    class Trained:
        def transform(self, cohort):
            v = cohort.blocks[0].values.astype(float)
            return np.c_[8 * cohort.blocks[1].values[:, 0] + 0.3 * v[:, 3], v[:, :2]]

    rows = np.ones(300, dtype=bool)
    latents = Trained().transform(features)
    assert stability(latents, (2,), FAST, rng)[0] > 0.95
    assert select_k(latents, reference_sampler(Trained(), features, rows, latents), FAST, 0).chosen == 1


# --- the gate, with few replicates ---------------------------------------------------------------------------------


def test_gate_of_the_number_with_few_replicates(tmp_path):
    counts = {"null": 4, "mutation": 1, "planted": 2}
    found = subgroup_k.collect(tmp_path, counts, seed=5)
    right = {name: sum(row["chosen"] == subgroup_k.RIGHT[name] for row in rows) for name, rows in found.items()}
    # At 95 % right per cohort, three or more wrong in four have probability 0.05 %; at 97 %, both wrong 0.09 %.
    assert right["null"] >= 2
    assert right["planted"] >= 1
    for mutant in ("no reference", "stability alone", "inertia elbow"):
        assert subgroup_k.failures(found, mutant)
    assert "| rule |" in subgroup_k.table(found, "x")
    assert subgroup_k.collect(tmp_path, counts, seed=5) == found  # read again, not computed
