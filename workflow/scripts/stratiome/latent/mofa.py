"""MOFA+: Bayesian factor analysis of several omics (Argelaguet et al. 2020, Genome Biol 21:111), by mofapy2.

mofapy2 fits the model and has no way to place new patients in it. Here every patient, training or new, gets the
posterior mean of the factors given the omics that were measured, which under the fitted weights has a closed form.
"""

from __future__ import annotations

import contextlib
import io
import logging
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.features.block import FeatureSet
from stratiome.latent.errors import LatentError
from stratiome.latent.inputs import OmicSpec, align, learn_specs

logger = logging.getLogger(__name__)

ITERATIONS = 1000
BOUND_STEPS = 50
"""Updates of the bound on the Bernoulli likelihood of a patient; it settles in about ten."""


@dataclass(frozen=True)
class Loadings:
    """Variational posterior of the weights of one omic.

    Attributes
    ----------
    mean, variance
        Shape `(n_features, n_latent)`, of the weights.
    precision
        Shape `(n_features,)`, expected precision of the noise; 0/1 features have none of their own and hold 0.
    intercept
        Shape `(n_features,)`, subtracted from the values, of 0/1 features from the pseudo-data.
    """

    mean: np.ndarray
    variance: np.ndarray
    precision: np.ndarray
    intercept: np.ndarray


@dataclass(frozen=True)
class MofaModel:
    """Factors shared by all omics, with weights that are shrunk by omic and factor.

    Attributes
    ----------
    specs
        One per omic.
    loadings
        One per omic.
    converged
        Whether the lower bound settled within `ITERATIONS`.
    """

    specs: tuple[OmicSpec, ...]
    loadings: tuple[Loadings, ...]
    converged: bool

    @classmethod
    def fit(cls, features: FeatureSet, dims: int, seed: int) -> MofaModel:
        """Learn from the training patients who have at least one omic.

        Parameters
        ----------
        features
            Features of all patients; a missing omic or cell is missing in the likelihood.
        dims
            Number of factors. Those that explain nothing are shrunk to zero, not dropped.
        seed
            Seed of the initial values.

        Raises
        ------
        LatentError
            If mofapy2 gives up.
        """
        specs = learn_specs(features, balance=False)
        inputs = align(features, specs)
        rows = features.train & inputs.has_any
        values = [raw[rows] for raw in inputs.raw]
        used = [m for m, v in enumerate(values) if np.isfinite(v).any()]
        nodes = (run := run_mofapy2([values[m] for m in used], [specs[m] for m in used], dims, seed)).model.nodes
        fitted = {
            m: _loadings(nodes["W"].nodes[j], nodes["Tau"].nodes[j], nodes["Y"].nodes[j], values[m], specs[m])
            for j, m in enumerate(used)
        }
        # Where it stops before the last iteration, mofapy2 cuts the history short.
        converged = len(run.model.train_stats["elbo"]) < ITERATIONS
        if not converged:
            logger.warning("MOFA+ has not converged in %d iterations; its factors are used as they are", ITERATIONS)
        loadings = [fitted[m] if m in fitted else _unknown(spec, dims) for m, spec in enumerate(specs)]
        return cls(specs, _in_order(loadings), converged)

    def transform(self, features: FeatureSet) -> np.ndarray:
        """Posterior mean of the factors given what was measured of each patient.

        With weights `w_d` and noise precisions `t_d` of the measured features, the mean is `(I + sum_d t_d E[w_d
        w_d'])^-1 sum_d t_d E[w_d] y_d`: the exact maximiser of the variational bound over the factors of one patient.
        0/1 values enter through the quadratic bound of Jaakkola & Jordan (2000, Stat Comput 10:25), whose parameters
        are found by iteration.

        Returns
        -------
        numpy.ndarray
            Shape `(n_patients, n_latent)`, float64; 0 for patients without any omic.
        """
        inputs = align(features, self.specs)
        dims = self.loadings[0].mean.shape[1]
        n = len(features.patient_ids)
        information = np.repeat(np.eye(dims)[None], n, axis=0)
        evidence = np.zeros((n, dims))
        binary = []
        for spec, raw, loading in zip(self.specs, inputs.raw, self.loadings, strict=True):
            seen = np.isfinite(raw)
            if spec.likelihood == "bernoulli":
                binary.append((loading, np.where(seen, raw, 0.0), seen))
                continue
            weight = seen * loading.precision
            information += _precision(weight, loading)
            evidence += (weight * np.where(seen, raw - loading.intercept, 0.0)) @ loading.mean
        return _with_binary(information, evidence, binary)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Numbers and description to store."""
        tensors = {
            f"loadings.{spec.name}.{key}": getattr(loading, key)
            for spec, loading in zip(self.specs, self.loadings, strict=True)
            for key in Loadings.__dataclass_fields__
        }
        return tensors, {"kind": "mofa", "converged": self.converged}

    @classmethod
    def from_state(
        cls, tensors: dict[str, np.ndarray], description: dict[str, Any], specs: tuple[OmicSpec, ...]
    ) -> MofaModel:
        """The model of a stored state."""
        loadings = tuple(
            Loadings(*(tensors[f"loadings.{s.name}.{key}"] for key in Loadings.__dataclass_fields__)) for s in specs
        )
        return cls(specs, loadings, bool(description["converged"]))


def _precision(weight: np.ndarray, loading: Loadings) -> np.ndarray:
    """Sum over features of weight times the second moment of the weights, shape `(n_patients, n_latent, n_latent)`."""
    p, dims = loading.mean.shape
    second = loading.mean[:, :, None] * loading.mean[:, None, :]
    second[:, np.arange(dims), np.arange(dims)] += loading.variance
    return (weight @ second.reshape(p, -1)).reshape(-1, dims, dims)


def _with_binary(
    information: np.ndarray, evidence: np.ndarray, binary: list[tuple[Loadings, np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Posterior mean after 0/1 omics have been added, from precision and precision-weighted mean of the others."""
    if not binary:
        return np.linalg.solve(information, evidence[..., None])[..., 0]
    covariance = np.linalg.inv(information)
    mean = (covariance @ evidence[..., None])[..., 0]
    for _ in range(BOUND_STEPS):
        total, both = information.copy(), evidence.copy()
        moment = covariance + mean[:, :, None] * mean[:, None, :]
        for loading, values, seen in binary:
            bound = np.sqrt(np.maximum(_second_moment(moment, loading), 1e-12))
            precision = seen * np.tanh(bound / 2) / (2 * bound)
            total += _precision(precision, loading)
            # Pseudo-data times its precision is the value less one half, so only the intercept needs the precision.
            both += (seen * (values - 0.5) - precision * loading.intercept) @ loading.mean
        covariance = np.linalg.inv(total)
        mean = (covariance @ both[..., None])[..., 0]
    return mean


def _second_moment(moment: np.ndarray, loading: Loadings) -> np.ndarray:
    """Expected square of factors times weights, shape `(n_patients, n_features)`."""
    n, dims, _ = moment.shape
    second = loading.mean[:, :, None] * loading.mean[:, None, :]
    second[:, np.arange(dims), np.arange(dims)] += loading.variance
    return moment.reshape(n, -1) @ second.reshape(len(second), -1).T


def _in_order(loadings: list[Loadings]) -> tuple[Loadings, ...]:
    """Factors by falling share in the omics, each with its largest weight positive."""
    strength = np.sum([(x.mean**2).sum(axis=0) for x in loadings], axis=0)
    order = np.argsort(-strength, kind="stable")
    everything = np.concatenate([x.mean for x in loadings])[:, order]
    sign = np.where(everything[np.abs(everything).argmax(axis=0), np.arange(len(order))] < 0, -1.0, 1.0)
    return tuple(Loadings(x.mean[:, order] * sign, x.variance[:, order], x.precision, x.intercept) for x in loadings)


def run_mofapy2(values: list[np.ndarray], specs: list[OmicSpec], dims: int, seed: int) -> Any:
    """The `entry_point` of mofapy2 after training; its progress output is kept back.

    Raises
    ------
    LatentError
        If mofapy2 gives up.
    """
    printed = io.StringIO()
    with _contained(), contextlib.redirect_stdout(printed):
        from mofapy2.run.entry_point import entry_point

        run = entry_point()
        try:
            run.set_data_options()
            run.set_data_matrix(
                [[v.copy()] for v in values],
                likelihoods=[s.likelihood for s in specs],
                views_names=[s.name for s in specs],
                features_names=[[f"{s.name}/{f}" for f in s.features] for s in specs],
            )
            run.set_model_options(factors=dims)
            run.set_train_options(iter=ITERATIONS, seed=seed % 2**32, quiet=True)
            run.build()
            for node in run.model.nodes["Y"].nodes:
                if hasattr(node, "obs"):
                    node.updateExpectations = types.MethodType(_pseudo_data, node)
            run.run()
        except SystemExit:
            said = [line for line in printed.getvalue().splitlines() if line.strip()]
            raise LatentError(
                f"mofapy2 gave up: {said[-1] if said else 'no reason given'}. "
                "Suggestion: take mofa out of `latent.baselines`"
            ) from None
    if not run.model.trained:
        raise KeyboardInterrupt  # mofapy2 swallows it
    return run


def _loadings(weights: Any, noise: Any, data: Any, values: np.ndarray, spec: OmicSpec) -> Loadings:
    moments = weights.getExpectations()
    mean = np.asarray(moments["E"], dtype=np.float64)
    variance = np.maximum(np.asarray(moments["E2"], dtype=np.float64) - mean**2, 0.0)
    if spec.likelihood == "bernoulli":
        return Loadings(mean, variance, np.zeros(len(mean)), np.array(data.means, dtype=np.float64))
    precision = np.array(noise.getExpectation()[0], dtype=np.float64)
    return Loadings(mean, variance, precision, np.nanmean(values, axis=0))


def _unknown(spec: OmicSpec, dims: int) -> Loadings:
    """Of an omic that no training patient has."""
    p = len(spec.features)
    return Loadings(np.zeros((p, dims)), np.zeros((p, dims)), np.zeros(p), np.zeros(p))


def _pseudo_data(node: Any) -> None:
    """Pseudo-data of a 0/1 omic, centred on the patients who have it.

    mofapy2 0.7.5 takes the mean over all patients, with a zero for the missing ones, which leaves an offset in those
    who have the omic: a factor then learns who was measured.
    """
    bound = node.params["zeta"]
    seen = ~node.mask
    value = (node.obs - 0.5) * 2 * bound / np.tanh(bound / 2)
    node.means = np.where(seen, value, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    node.E = np.where(seen, value - node.means, 0.0)


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Keep warnings back, and undo what mofapy2 does to the process: it seeds numpy and silences all warnings."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
