"""Multimodal variational autoencoder, many members stacked in one module.

Every weight has a leading member axis, so that members train at once by batched matrix products and yet never mix:
what happens in one member does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

MIN_LOG_NOISE = -2.0
"""Floor of the log noise variance of a standardised feature (about half its variance). Nearly duplicated features, as
neighbours on a chromosome, would drive it to minus infinity and take every dimension to be told apart."""

MAX_LOG_PRECISION = 8.0

LOG_DISPERSION = (-8.0, 3.0)
"""Bounds of the log dispersion of counts: their variance is `mean + dispersion * mean**2`."""


@dataclass(frozen=True)
class OmicShape:
    """Size and likelihood of one omic.

    Attributes
    ----------
    features
        Number of features.
    likelihood
        gaussian, bernoulli or negative_binomial.
    inputs
        Number of values that the encoder sees in place of the features; None where it sees the features.
    """

    features: int
    likelihood: str
    inputs: int | None = None

    @property
    def width(self) -> int:
        """Number of inputs of the encoder."""
        return self.features if self.inputs is None else self.inputs


class Posterior(NamedTuple):
    """Gaussian posterior of the latent position, mean and variance of shape `(n_members, n_patients, n_latent)`."""

    mean: Tensor
    variance: Tensor


class Cells(NamedTuple):
    """One omic of some patients.

    Attributes
    ----------
    inputs
        Shape `(n_patients, n_inputs)`, centred on the training patients, 0 where missing.
    targets
        Shape `(n_patients, n_features)`, on the scale of the likelihood, 0 where missing.
    weight
        Shape `(n_patients,)`, weight of each observed cell in the reconstruction; 0 for patients who lack the omic.
    gaps
        Patients with some features missing and others not: their index `(n_gaps,)`, and 1 where a cell is missing and
        0 elsewhere, `(n_gaps, n_features)`. None if there are no such patients.
    offset
        Shape `(n_patients, 1)`, logarithm of the total count; None for other likelihoods than the negative binomial.
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    gaps: tuple[Tensor, Tensor] | None = None
    offset: Tensor | None = None


class Batch(NamedTuple):
    """What the module sees of some patients.

    Attributes
    ----------
    omics
        One per omic.
    observed
        Shape `(n_patients, n_omics)`, share of the features of each omic that was measured; 0 = lacks the omic.
    """

    omics: tuple[Cells, ...]
    observed: Tensor


class StackedVae(nn.Module):
    r"""Stacked multimodal variational autoencoders with a product-of-experts posterior.

    The encoder of omic `o` gives an expert :math:`N(\mu_o(x_o), \tau_o^{-1})`; with the prior expert `N(0, I)` the
    posterior over the present omics `P` is

    .. math:: \lambda = 1 + \sum_{o \in P} f_o \tau_o, \qquad m = \lambda^{-1} \sum_{o \in P} \tau_o \mu_o(x_o)

    with `f_o` the share of the features observed (Wu & Goodman 2018, NeurIPS 31); `mu_o` is a sum over features, which
    shrinks by itself with the features that are missing, so that only the precision needs the share. The mean is linear
    in the features plus one hidden layer that starts at nothing, without constants (see `set_centre`). The decoder is
    linear, and the precision of an expert depends on what was measured, not on its values: for Gaussian features this
    is the form of the exact posterior (Tipping & Bishop 1999, J R Stat Soc B 61:611), and it keeps Gaussian data
    Gaussian, so that no subgroup is made by the model itself. For the same reason the prior is one Gaussian: a mixture
    would pull patients into the groups that it looks for.

    Weights of omic `o`, each with a leading axis of members: `encoder_o` `(n_inputs, n_latent + hidden)`, the linear
    part and the hidden layer side by side; `out_o` `(hidden, n_latent)`; `centre_o` and `log_precision_o`
    `(1, n_latent)`; `decoder_o` `(n_latent, n_features)`; `bias_o` and `log_noise_o` (counts: `log_dispersion_o`)
    `(1, n_features)`.

    Parameters
    ----------
    shapes
        One per omic.
    dims
        Latent dimensions.
    hidden
        Width of the hidden layer of each encoder.
    seeds
        One per member; all that makes members differ.
    """

    def __init__(self, shapes: Sequence[OmicShape], dims: int, hidden: int, seeds: Sequence[int]) -> None:
        super().__init__()
        self.shapes, self.dims, self.hidden = tuple(shapes), dims, hidden
        drawn = [_initial(self.shapes, dims, hidden, seed) for seed in seeds]
        stacked = {name: torch.stack([d[name] for d in drawn]) for name in drawn[0]}
        self.weights = nn.ParameterDict(
            {name: nn.Parameter(w, requires_grad=not name.startswith("centre_")) for name, w in stacked.items()}
        )

    @property
    def members(self) -> int:
        """Number of members."""
        return int(self.weights["out_0"].shape[0])

    def encode(self, inputs: Sequence[Tensor], observed: Tensor) -> Posterior:
        """Posterior of the latent position.

        Parameters
        ----------
        inputs
            One per omic, shape `(n_patients, n_inputs)`, centred, 0 where missing.
        observed
            Shape `(n_patients, n_omics)` or `(n_members, n_patients, n_omics)`, share of features observed.
        """
        w = self.weights
        precision, weighted = torch.ones((), device=observed.device, dtype=observed.dtype), 0.0
        for o, x in enumerate(inputs):
            mean = self.expert_mean(x, o) - w[f"centre_{o}"]
            share, own = observed[..., o : o + 1], w[f"log_precision_{o}"].clamp(max=MAX_LOG_PRECISION).exp()
            precision = precision + share * own
            weighted = weighted + (share > 0) * own * mean
        variance = precision.reciprocal()
        return Posterior(weighted * variance, variance)

    def expert_mean(self, x: Tensor, omic: int) -> Tensor:
        """Mean of the expert of one omic before it is centred, shape `(n_members, n_patients, n_latent)`.

        It is 0 for a patient whose inputs are all 0.
        """
        w = self.weights
        both = torch.bmm(x.expand(self.members, -1, -1), w[f"encoder_{omic}"])
        linear, bent = both.split([self.dims, self.hidden], dim=-1)
        # 2 sigmoid(2x) - 1 is tanh(x), at a fifth of its cost.
        return torch.baddbmm(linear, 2 * torch.sigmoid(2 * bent) - 1, w[f"out_{omic}"])

    @torch.no_grad()
    def set_centre(self, batches: Sequence[Batch] | Any) -> None:
        """Give every expert mean zero over the patients who have its omic.

        An omic that is lacking then stands for its average. Else patients who lack it would lie apart from the others,
        and be taken for a subgroup.

        Parameters
        ----------
        batches
            The training patients, in any number of batches.
        """
        omics = range(len(self.shapes))
        total: list[Tensor | float] = [0.0 for _ in omics]
        n = [0 for _ in omics]
        for batch in batches:
            for o in omics:
                mean = self.expert_mean(batch.omics[o].inputs, o).double()
                # Member by member: the order of a sum over all depends on how many there are.
                total[o] = total[o] + torch.stack([own.sum(dim=0, keepdim=True) for own in mean])
                n[o] += int((batch.observed[:, o] > 0).sum())
        for o in omics:
            self.weights[f"centre_{o}"].copy_(total[o] / max(n[o], 1))

    def reconstruction(self, latent: Tensor, batch: Batch) -> Tensor:
        """Weighted negative log-likelihood of each patient, shape `(n_members, n_patients)`.

        The constant `log(2 pi) / 2` of each Gaussian cell is left out.

        Parameters
        ----------
        latent
            Shape `(n_members, n_patients, n_latent)`.
        batch
            The patients.
        """
        total = latent.new_zeros(latent.shape[:2])
        for o, cells in enumerate(batch.omics):
            decoder, bias = self.weights[f"decoder_{o}"], self.weights[f"bias_{o}"]
            likelihood = self.shapes[o].likelihood
            if likelihood == "gaussian":
                log_noise = self.weights[f"log_noise_{o}"].clamp(min=MIN_LOG_NOISE)
                loss = _gaussian_loss(latent, cells, decoder, bias, log_noise)
            elif likelihood == "bernoulli":
                loss = _BernoulliLoss.apply(torch.baddbmm(bias, latent, decoder), cells.targets, cells.gaps)
            else:
                log_dispersion = self.weights[f"log_dispersion_{o}"].clamp(*LOG_DISPERSION)
                loss = _negative_binomial_loss(torch.baddbmm(bias, latent, decoder), cells, log_dispersion)
            total = total + loss * cells.weight
        return total


def _gaussian_loss(latent: Tensor, cells: Cells, decoder: Tensor, bias: Tensor, log_noise: Tensor) -> Tensor:
    """Negative log-likelihood of each patient under a linear decoder, shape `(n_members, n_patients)`.

    The square is expanded, so that matrix products do the work and no array of members by patients by features is
    made. With precisions `p` and loadings `W`,

        sum p (x - b - zW)^2 = sum p x^2 - 2 (p x)(b + zW)' + sum p b^2 + z (2 W (p b)' + W p W' z')

    Missing cells are in it as zeros; what these cost is taken out again.
    """
    members = latent.shape[0]
    precision = (-log_noise).exp()
    scaled = decoder * precision
    # Narrow factors stand on the left: products with narrow right sides take five times as long on a CPU.
    x = cells.targets.mT.expand(members, -1, -1)
    cross = torch.bmm(torch.cat([scaled, bias * precision], dim=1), x)
    square = torch.bmm(precision, cells.targets.square().mT.expand(members, -1, -1))[:, 0]
    constant = (log_noise + bias.square() * precision).sum(-1)
    slope = torch.bmm(scaled, bias.mT) - cross[:, :-1]
    position = latent.mT
    curved = torch.baddbmm(2 * slope, torch.bmm(scaled, decoder.mT), position)
    loss = square + constant - 2 * cross[:, -1] + (position * curved).sum(1)
    if cells.gaps is not None:
        rows, missing = cells.gaps
        decoded = torch.baddbmm(bias, latent[:, rows], decoder)
        of_zeros = ((decoded.square() * precision + log_noise) * missing).sum(-1)
        loss = loss.index_add(1, rows, of_zeros, alpha=-1)
    return 0.5 * loss


class _BernoulliLoss(torch.autograd.Function):
    """Negative log-likelihood `log(1 + exp(logit)) - target * logit` of each patient, summed over observed features.

    The gradient by the logit, `sigmoid(logit) - target`, is found on the way, which saves half of the passes.
    """

    @staticmethod
    def forward(context: Any, logit: Tensor, targets: Tensor, gaps: tuple[Tensor, Tensor] | None) -> Tensor:
        loss = nn.functional.softplus(logit).sub_(targets * logit)
        slope = torch.sigmoid(logit).sub_(targets)
        if gaps is not None:
            rows, missing = gaps
            for cells in (loss, slope):
                cells.index_add_(1, rows, cells[:, rows] * missing, alpha=-1)
        context.save_for_backward(slope)
        return loss.sum(-1)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0].unsqueeze(-1) * context.saved_tensors[0], None, None


def _negative_binomial_loss(log_share: Tensor, cells: Cells, log_dispersion: Tensor) -> Tensor:
    """Negative log-likelihood of counts, shape `(n_members, n_patients)`.

    The mean is the library size times `exp(log_share)`, the variance `mean + dispersion * mean**2` (as in Lopez et al.
    2018, Nat Methods 15:1053, with a linear decoder). The factorial of the counts is in it, or its size would hide from
    early stopping that the loss falls.
    """
    x, size = cells.targets, (-log_dispersion).exp()
    # log(mean / size) and, from it, log(1 + mean / size) without overflow
    ratio = log_share + log_dispersion + (0.0 if cells.offset is None else cells.offset)
    factorial = torch.lgamma(x + 1)
    loss = (
        factorial + torch.lgamma(size) - torch.lgamma(x + size) - x * ratio + (x + size) * nn.functional.softplus(ratio)
    )
    if cells.gaps is not None:
        rows, missing = cells.gaps
        loss = loss.index_add(1, rows, loss[:, rows] * missing, alpha=-1)
    return loss.sum(-1)


def divergence(posterior: Posterior) -> Tensor:
    """Kullback-Leibler divergence from the posterior to `N(0, I)` in nats, shape `(n_members, n_patients)`."""
    mean, variance = posterior
    return 0.5 * (mean.square() + variance - 1 - variance.log()).sum(-1)


def _initial(shapes: Sequence[OmicShape], dims: int, hidden: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}

    def normal(rows: int, columns: int, scale: float) -> Tensor:
        return torch.randn((rows, columns), generator=generator) * scale

    for o, shape in enumerate(shapes):
        made[f"encoder_{o}"] = normal(shape.width, dims + hidden, shape.features**-0.5)
        made[f"out_{o}"] = torch.zeros(hidden, dims)
        made[f"centre_{o}"] = torch.zeros(1, dims)
        made[f"log_precision_{o}"] = torch.zeros(1, dims)
        made[f"decoder_{o}"] = normal(dims, shape.features, 0.1)
        made[f"bias_{o}"] = torch.zeros(1, shape.features)
        spread = "log_dispersion" if shape.likelihood == "negative_binomial" else "log_noise"
        if shape.likelihood != "bernoulli":
            made[f"{spread}_{o}"] = torch.zeros(1, shape.features)
    return made
