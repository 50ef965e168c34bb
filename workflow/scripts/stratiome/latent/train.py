"""Training loop of the stacked variational autoencoder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stratiome.config import LatentConfig
from stratiome.latent.errors import LatentError
from stratiome.latent.module import Batch, OmicShape, StackedVae, divergence

logger = logging.getLogger(__name__)

CLIP_NORM = 1.0
"""Largest gradient norm of a member; the loss is an average over features, so its gradient is of order one."""

MIN_STEPS = 4
"""Gradient steps per epoch at least; in small cohorts whole batches would be too few steps to learn from."""

MIN_BATCH = 16
"""Smaller batches than this are not made to reach `MIN_STEPS`."""

MIN_IMPROVEMENT = 1e-4
"""Relative fall of the validation loss that counts as improvement."""


@dataclass(frozen=True)
class Trained:
    """Outcome of a training run.

    Attributes
    ----------
    weights
        Best weights of each member by validation loss, leading axis the member.
    history
        One entry per member and epoch until that member stopped: member, epoch, train_loss, validation_loss (negative
        evidence lower bound per patient and feature, in nats).
    best_epoch
        Epoch of the kept weights, per member.
    """

    weights: dict[str, Tensor]
    history: list[dict[str, float]]
    best_epoch: list[int]


def choose_device(name: str) -> torch.device:
    """Device of a `latent.device` setting.

    Raises
    ------
    LatentError
        If CUDA is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise LatentError("`latent.device` is cuda, but no GPU can be used. Suggestion: set it to auto or cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def train(data: Batch, shapes: tuple[OmicShape, ...], settings: LatentConfig, seed: int) -> Trained:
    """Train all members at once with Adam, each until its own validation loss stops falling.

    Parameters
    ----------
    data
        The training patients, who all have at least one omic, with the weights of their cells.
    shapes
        One per omic.
    settings
        Sizes and the schedule.
    seed
        Member `m` draws from the stream `[seed, m]`, however many members there are.

    Raises
    ------
    LatentError
        If there are too few patients, or a loss is not finite.
    """
    n = data.inputs.shape[0]
    n_validation = max(2, round(settings.validation_fraction * n))
    if n - n_validation < 4:
        raise LatentError(
            f"{n} training patients have omics, too few to train and to validate a latent model. "
            "Suggestion: use a larger cohort or fewer folds"
        )
    shared = np.random.default_rng([seed, 0])
    order = shared.permutation(n)
    device = choose_device(settings.device)
    with _deterministic():
        run = _Run(data, order[:n_validation], order[n_validation:], shapes, settings, seed, device)
        for epoch in _progress(settings.epochs):
            run.step_epoch(epoch, shared)
            if not run.active.any():
                break
        return run.result()


class _Run:
    """State of one training run."""

    def __init__(
        self,
        data: Batch,
        validation: np.ndarray,
        fit: np.ndarray,
        shapes: tuple[OmicShape, ...],
        settings: LatentConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self.settings, self.device = settings, device
        self.fit = Batch(*(p.to(device) for p in data.rows(torch.from_numpy(np.sort(fit)))))
        self.validation = Batch(*(p.to(device) for p in data.rows(torch.from_numpy(np.sort(validation)))))
        self.scale = sum(s.features for s in shapes) / len(shapes)
        streams = [np.random.SeedSequence([seed, 1 + m]).generate_state(2, np.uint32) for m in range(settings.members)]
        self.module = StackedVae(shapes, settings.dims, settings.hidden, [int(s[0]) for s in streams]).to(device)
        # Noise is drawn on the CPU, so that a GPU sees the same numbers.
        self.generators = [torch.Generator().manual_seed(int(s[1])) for s in streams]
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.parameters, lr=settings.learning_rate)
        self.validation_noise = self._normal(len(validation))
        self.active = np.ones(settings.members, dtype=bool)
        self.best_loss = np.full(settings.members, np.inf)
        self.best_epoch = [0] * settings.members
        self.best = {k: v.detach().clone() for k, v in self.module.weights.items()}
        self.history: list[dict[str, float]] = []

    def step_epoch(self, epoch: int, shared: np.random.Generator) -> None:
        """One pass over the patients, validation, and the decision of each member whether to go on."""
        n = self.fit.inputs.shape[0]
        warmup = self.settings.warmup_epochs
        kl_weight = self.settings.kl_weight * (min(1.0, (epoch + 1) / warmup) if warmup else 1.0)
        noise, observed = self._normal(n), self._dropout()
        batches = np.array_split(shared.permutation(n), self._steps(n))
        total = torch.zeros(self.settings.members, device=self.device)
        for rows in batches:
            index = torch.from_numpy(rows).to(self.device)
            batch = self.fit.rows(index)
            fit, divergence_ = self._losses(batch, observed[:, index], noise[:, index])
            self.optimiser.zero_grad(set_to_none=True)
            (fit.mean(-1) + kl_weight * divergence_.mean(-1)).sum().backward()
            self._clip()
            self.optimiser.step()
            total += (fit + self.settings.kl_weight * divergence_).detach().sum(-1)
        with torch.no_grad():
            fit, divergence_ = self._losses(self.validation, self.validation.observed, self.validation_noise)
            validation = (fit + self.settings.kl_weight * divergence_).mean(-1)
        self._record(epoch, (total / n).double().cpu().numpy(), validation.double().cpu().numpy())

    def _steps(self, n: int) -> int:
        """Gradient steps in an epoch of `n` patients."""
        return max(1, round(n / self.settings.batch_size), min(MIN_STEPS, n // MIN_BATCH))

    def result(self) -> Trained:
        """Best weights and the history, ordered by member and epoch."""
        history = sorted(self.history, key=lambda row: (row["member"], row["epoch"]))
        logger.info("latent model: best epochs %s", [e + 1 for e in self.best_epoch])
        self.module.weights.load_state_dict(self.best)
        self.module.centre(self.fit.inputs, self.fit.observed)
        weights = {k: v.detach().cpu().clone() for k, v in self.module.weights.items()}
        return Trained(weights, history, self.best_epoch)

    def _losses(self, batch: Batch, observed: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.module.encode(batch.inputs, observed)
        latent = posterior.mean + posterior.variance.sqrt() * noise
        return self.module.reconstruction(latent, batch) / self.scale, divergence(posterior) / self.scale

    def _normal(self, n: int) -> Tensor:
        drawn = [torch.randn((n, self.settings.dims), generator=g) for g in self.generators]
        return torch.stack(drawn).to(self.device)

    def _dropout(self) -> Tensor:
        """Shares observed with omics hidden at random, but never the last one of a patient."""
        seen = self.fit.observed.cpu()
        drawn = torch.stack([torch.rand(seen.shape, generator=g) for g in self.generators])
        keep = drawn >= self.settings.modality_dropout
        # The omic with the largest draw among the present ones always stays.
        last = torch.where(seen > 0, drawn, -1.0).argmax(-1, keepdim=True)
        keep = keep.scatter(-1, last, True)
        return (seen * keep).to(self.device)

    def _clip(self) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        factor = (CLIP_NORM / (norm + 1e-12)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor[:, None, None])

    def _record(self, epoch: int, train_loss: np.ndarray, validation: np.ndarray) -> None:
        broken = np.flatnonzero(self.active & ~(np.isfinite(train_loss) & np.isfinite(validation)))
        if broken.size:
            raise LatentError(
                f"the loss of member {broken[0]} is not finite in epoch {epoch + 1}. Suggestion: lower "
                f"`latent.learning_rate` (now {self.settings.learning_rate}) and look for extreme values in quality"
            )
        for m in np.flatnonzero(self.active).tolist():
            row = {"train_loss": float(train_loss[m]), "validation_loss": float(validation[m])}
            self.history.append({"member": m, "epoch": epoch, **row})
            if validation[m] < self.best_loss[m] - MIN_IMPROVEMENT * abs(self.best_loss[m] if epoch else 1.0):
                self.best_loss[m], self.best_epoch[m] = validation[m], epoch
                for key, value in self.module.weights.items():
                    self.best[key][m] = value.detach()[m]
            # Before the full Kullback-Leibler weight is reached a rising loss says nothing.
            elif epoch - max(self.best_epoch[m], self.settings.warmup_epochs) >= self.settings.patience:
                self.active[m] = False


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _progress(epochs: int) -> Iterator[int]:
    if not sys.stderr.isatty():
        return iter(range(epochs))
    from tqdm import tqdm

    return iter(tqdm(range(epochs), desc="latent model", unit="epoch", file=sys.stderr))
