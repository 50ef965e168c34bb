"""Multimodal variational autoencoder, many members stacked in one module.

Every weight has a leading member axis, so that members train at once by batched matrix products and yet never mix:
what happens in one member does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

MIN_LOG_NOISE = -0.7
"""Floor of the log noise variance of a standardised feature (about half its variance). Nearly duplicated features, as
neighbours on a chromosome, would drive it to minus infinity and take every dimension to be told apart."""

MAX_LOG_PRECISION = 8.0


@dataclass(frozen=True)
class OmicShape:
    """Size and likelihood of one omic.

    Attributes
    ----------
    features
        Number of features.
    likelihood
        gaussian or bernoulli.
    """

    features: int
    likelihood: str


class Posterior(NamedTuple):
    """Gaussian posterior of the latent position, mean and variance of shape `(n_members, n_patients, n_latent)`."""

    mean: Tensor
    variance: Tensor


class Batch(NamedTuple):
    """What the module sees of some patients.

    Attributes
    ----------
    inputs
        Shape `(n_patients, n_features)` over all omics, centred on the training patients, 0 where missing.
    targets
        Same shape, on the scale of the likelihood, 0 where missing.
    weights
        Same shape, weight of each cell in the reconstruction; 0 where missing.
    observed
        Shape `(n_patients, n_omics)`, share of the features of each omic that was measured; 0 = lacks the omic.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor
    observed: Tensor

    def rows(self, index: Tensor) -> Batch:
        """The patients of `index`."""
        return Batch(*(part[index] for part in self))


class StackedVae(nn.Module):
    r"""Stacked multimodal variational autoencoders with a product-of-experts posterior.

    The encoder of omic `o` gives an expert :math:`N(\mu_o(x_o), \tau_o^{-1})`; with the prior expert `N(0, I)` the
    posterior over the present omics `P` is

    .. math:: \lambda = 1 + \sum_{o \in P} f_o \tau_o, \qquad m = \lambda^{-1} \sum_{o \in P} \tau_o \mu_o(x_o)

    with `f_o` the share of the features observed (Wu & Goodman 2018, NeurIPS 31); `mu_o` is a sum over features, which
    shrinks by itself with the features that are missing, so that only the precision needs the share. The mean is linear
    in the features plus one hidden layer that starts at nothing, without constants (see `centre`). The decoder is
    linear, and the precision of an expert depends on what was measured, not on its values: for Gaussian features this
    is the form of the exact posterior (Tipping & Bishop 1999, J R Stat Soc B 61:611), and it keeps Gaussian data
    Gaussian, so that no subgroup is made by the model itself.

    Parameters
    ----------
    shapes
        One per omic; features lie side by side in this order.
    dims
        Latent dimensions.
    hidden
        Width of the hidden layer of each encoder.
    seeds
        One per member; all that makes members differ.
    """

    def __init__(self, shapes: Sequence[OmicShape], dims: int, hidden: int, seeds: Sequence[int]) -> None:
        super().__init__()
        self.shapes = tuple(shapes)
        self.bounds = [0]
        for shape in self.shapes:
            self.bounds.append(self.bounds[-1] + shape.features)
        drawn = [_initial(self.shapes, dims, hidden, seed) for seed in seeds]
        stacked = {name: torch.stack([d[name] for d in drawn]) for name in drawn[0]}
        self.weights = nn.ParameterDict(
            {name: nn.Parameter(w, requires_grad=not name.startswith("centre_")) for name, w in stacked.items()}
        )

    def encode(self, inputs: Tensor, observed: Tensor) -> Posterior:
        """Posterior of the latent position.

        Parameters
        ----------
        inputs
            Shape `(n_patients, n_features)`, centred, 0 where missing.
        observed
            Shape `(n_patients, n_omics)` or `(n_members, n_patients, n_omics)`, share of features observed.
        """
        w = self.weights
        members = w["decoder"].shape[0]
        precision, weighted = torch.ones((), device=inputs.device, dtype=inputs.dtype), 0.0
        for o in range(len(self.shapes)):
            x = inputs[:, self.bounds[o] : self.bounds[o + 1]].expand(members, -1, -1)
            mean = self._expert_mean(x, o) - w[f"centre_{o}"]
            share, own = observed[..., o : o + 1], w[f"log_precision_{o}"].clamp(max=MAX_LOG_PRECISION).exp()
            precision = precision + share * own
            weighted = weighted + (share > 0) * own * mean
        variance = precision.reciprocal()
        return Posterior(weighted * variance, variance)

    def _expert_mean(self, x: Tensor, omic: int) -> Tensor:
        w = self.weights
        bent = torch.tanh(torch.bmm(x, w[f"hidden_{omic}"]))
        return torch.bmm(x, w[f"linear_{omic}"]) + torch.bmm(bent, w[f"out_{omic}"])

    @torch.no_grad()
    def centre(self, inputs: Tensor, observed: Tensor) -> None:
        """Give every expert mean zero over the patients who have its omic.

        An omic that is lacking then stands for its average. Else patients who lack it would lie apart from the others,
        and be taken for a subgroup.

        Parameters
        ----------
        inputs
            Shape `(n_patients, n_features)`, of the training patients.
        observed
            Shape `(n_patients, n_omics)`.
        """
        members = self.weights["decoder"].shape[0]
        for o in range(len(self.shapes)):
            rows = observed[:, o] > 0
            if rows.any():
                x = inputs[rows, self.bounds[o] : self.bounds[o + 1]].expand(members, -1, -1)
                self.weights[f"centre_{o}"].copy_(self._expert_mean(x, o).mean(dim=1, keepdim=True))

    def reconstruction(self, latent: Tensor, batch: Batch) -> Tensor:
        """Weighted negative log-likelihood of each patient, shape `(n_members, n_patients)`.

        Parameters
        ----------
        latent
            Shape `(n_members, n_patients, n_latent)`.
        batch
            The patients.
        """
        w = self.weights
        decoded = torch.baddbmm(w["decoder_bias"], latent, w["decoder"])
        total = latent.new_zeros(latent.shape[:2])
        for o, shape in enumerate(self.shapes):
            part = slice(self.bounds[o], self.bounds[o + 1])
            value, target = decoded[..., part], batch.targets[:, part]
            if shape.likelihood == "bernoulli":
                # log(1 + exp(value)) - target * value, the negative log-likelihood with logit `value`
                loss = nn.functional.softplus(value) - target * value
            else:
                log_noise = w["log_noise"][..., part].clamp(min=MIN_LOG_NOISE)
                loss = 0.5 * ((target - value).square() * (-log_noise).exp() + log_noise)
            total = total + (loss * batch.weights[:, part]).sum(-1)
        return total


def divergence(posterior: Posterior) -> Tensor:
    """Kullback-Leibler divergence from the posterior to `N(0, I)` in nats, shape `(n_members, n_patients)`."""
    mean, variance = posterior
    return 0.5 * (mean.square() + variance - 1 - variance.log()).sum(-1)


def _initial(shapes: Sequence[OmicShape], dims: int, hidden: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    total = sum(s.features for s in shapes)

    made: dict[str, Tensor] = {}

    def normal(rows: int, columns: int, scale: float) -> Tensor:
        return torch.randn((rows, columns), generator=generator) * scale

    for o, shape in enumerate(shapes):
        made[f"linear_{o}"] = normal(shape.features, dims, shape.features**-0.5)
        made[f"centre_{o}"] = torch.zeros(1, dims)
        made[f"hidden_{o}"] = normal(shape.features, hidden, shape.features**-0.5)
        made[f"out_{o}"] = torch.zeros(hidden, dims)
        made[f"log_precision_{o}"] = torch.zeros(1, dims)
    made["decoder"] = normal(dims, total, 0.1)
    made["decoder_bias"] = torch.zeros(1, total)
    made["log_noise"] = torch.zeros(1, total)
    return made
