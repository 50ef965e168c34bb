"""Gates of METHODS §4 on linear-Gaussian data at few replicates; `tests/benchmarks/latent_gates.py` has the rest."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from latent_gates import (
    DIMS,
    MOST_DEGREES,
    MOST_LOST,
    SETTINGS,
    angle,
    gain_over_imputing,
    linear_gaussian,
    lost_alone,
    mean_imputing,
    never_hiding,
    ours,
    rows_mixed_up,
    stopped_early,
)
from stratiome.latent.errors import LatentError
from stratiome.latent.likelihood import gaussian_log_likelihood
from stratiome.latent.model import LatentModel
from stratiome.latent.module import MIN_LOG_NOISE

pytestmark = pytest.mark.usefixtures("one_thread")


def test_held_out_log_likelihood_is_that_of_the_normal_distribution():
    features = linear_gaussian(60, 3, missing=0.3, widths=(4, 3))
    features.blocks[0].values[5, 1] = np.nan  # a cell
    settings = SETTINGS.model_copy(update={"epochs": 5, "members": 2})
    model = LatentModel.fit(features, settings, 1)
    found = gaussian_log_likelihood(model, features)
    scale = np.concatenate([np.full(len(s.features), s.scale) for s in model.specs])
    centre = np.concatenate([s.mean for s in model.specs])
    values = np.concatenate([b.values for b in features.blocks], axis=1).astype(float)
    for m in range(2):
        w, b, noise = (
            np.concatenate([model.weights[f"{name}_{o}"][m] for o in range(2)], axis=1).astype(float)
            for name in ("decoder", "bias", "log_noise")
        )
        covariance = w.T @ w + np.diag(np.exp(np.maximum(noise[0], MIN_LOG_NOISE)))
        mean, covariance = centre + b[0] * scale, covariance * np.outer(scale, scale)
        for i in range(60):
            seen = np.isfinite(values[i])
            right = multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)]).logpdf(values[i, seen])
            np.testing.assert_allclose(found[m, i], right, rtol=1e-6)


def test_other_likelihoods_have_no_closed_form():
    features = linear_gaussian(60, 3)
    block = features.blocks[0]
    binary = type(block)("m", (block.values > 0).astype(np.float32), "bernoulli", block.features)
    mixed = type(features)(features.patient_ids, features.roles, (binary, features.blocks[1]))
    model = LatentModel.fit(mixed, SETTINGS.model_copy(update={"epochs": 1, "dims": DIMS}), 1)
    with pytest.raises(LatentError, match=r"omics m are not Gaussian.*Suggestion"):
        gaussian_log_likelihood(model, mixed)


def test_subspace_is_that_of_probabilistic_pca():
    assert max(angle(ours, seed) for seed in range(2)) < MOST_DEGREES


@pytest.mark.parametrize("mutant", [stopped_early, rows_mixed_up])
def test_wrong_models_have_another_subspace(mutant):
    assert angle(mutant, 0) > MOST_DEGREES


def test_masking_is_more_probable_on_held_out_patients_than_mean_imputation():
    assert all(gain_over_imputing(ours, seed) > 0 for seed in range(3))


def test_mean_imputation_does_not_pass_as_masking():
    assert not all(gain_over_imputing(mean_imputing, seed) > 0 for seed in range(3))


def test_a_patient_with_one_omic_is_placed_nearly_as_well_as_by_the_true_model():
    assert max(lost_alone(ours, seed) for seed in range(2)) < MOST_LOST


def test_a_model_that_never_hid_an_omic_in_training_does_not_place_such_patients():
    assert min(lost_alone(never_hiding, seed) for seed in range(2)) > MOST_LOST
