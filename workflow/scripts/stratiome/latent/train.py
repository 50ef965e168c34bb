"""Training loop of the stacked variational autoencoder."""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stratiome.config import LatentConfig
from stratiome.features.block import FeatureSet, StoredFeatures
from stratiome.latent.ensemble import fit_projection
from stratiome.latent.errors import LatentError
from stratiome.latent.inputs import OmicSpec, prepare
from stratiome.latent.module import Batch, OmicShape, StackedVae, divergence
from stratiome.latent.source import Source, matrix_gib
from stratiome.latent.stack import MemberMatrix

logger = logging.getLogger(__name__)

MIN_STEPS = 4
"""Gradient steps per epoch at least; in small cohorts whole batches would be too few steps to learn from."""

MIN_BATCH = 16
"""Smaller batches than this are not made to reach `MIN_STEPS`."""

MIN_IMPROVEMENT = 1e-4
"""Relative fall of the validation loss that counts as improvement."""

WINDOW = 2**15
"""Patients for whom noise is drawn together."""

AT_ONCE = 1024
"""Patients per batch where no gradient is taken."""

BASIS_PATIENTS = 2048
"""Most patients from whom the directions of a wide omic are learned."""


@dataclass(frozen=True)
class Trained:
    """Outcome of a training run.

    Attributes
    ----------
    weights
        Weights of each member after it was trained on all patients, leading axis the member.
    history
        How the number of epochs was found: one entry per member (counted from 0) and epoch until it stopped: member,
        epoch, train_loss, validation_loss (negative evidence lower bound per patient and feature, in nats).
    best_epoch
        Epoch of the least validation loss, per member, counted from 0.
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


def train(
    features: FeatureSet | StoredFeatures,
    specs: tuple[OmicSpec, ...],
    rows: np.ndarray,
    settings: LatentConfig,
    seed: int,
    members: Sequence[int] | None = None,
) -> Trained:
    """Train all members at once with Adam, each for the number of epochs that an inner validation finds best.

    The epochs are found first, without the patients of the inner validation; then each member starts again, from the
    same weights, and learns from all patients. Were the first weights kept, the patients of the inner validation would
    lie closer to the centre than those who were learned from, in all members alike, and be taken for a subgroup.

    Parameters
    ----------
    features
        Features of all patients; on disk they are read in batches where the matrix exceeds `latent.memory_gb`.
    specs
        One per omic.
    rows
        Index of the training patients, who all have at least one omic.
    settings
        Sizes and the schedule.
    seed
        Member `m` draws from the stream `[seed, m]`, whoever is trained beside it. Its weights are then the same to
        rounding: matrix products choose their kernel by the place of a matrix in memory.
    members
        Which members to train; None for all.

    Raises
    ------
    LatentError
        If there are too few patients, or a loss is not finite.
    """
    fit, validation = inner_split(len(rows), settings.validation_fraction, seed)
    device = choose_device(settings.device)
    which = range(settings.members) if members is None else members
    stream = isinstance(features, StoredFeatures) and matrix_gib(features, rows) > settings.memory_gb

    def source(part: np.ndarray, bases: list[np.ndarray | None]) -> Source:
        return Source(features, specs, rows[np.sort(part)], bases, device, in_memory=not stream)

    with _deterministic(settings.tf32 and device.type == "cuda"):
        bases = learn_bases(features, specs, rows[fit[:BASIS_PATIENTS]], settings.encoder_inputs)
        search = Search(source(fit, bases), source(validation, bases), specs, bases, settings, seed, which)
        search.run("epochs")
        history, best = search.history, search.best_epoch
        logger.info("latent model: best epochs %s", (best + 1).tolist())
        del search  # and its copy of the patients
        everybody = np.concatenate([fit, validation])
        bases = learn_bases(features, specs, rows[everybody[:BASIS_PATIENTS]], settings.encoder_inputs)
        final = Refit(source(everybody, bases), best + 1, specs, bases, settings, seed, which)
        final.run("all patients")
        return Trained(final.weights(bases), sorted(history, key=lambda r: (r["member"], r["epoch"])), best.tolist())


def inner_split(n: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the patients to learn from and of the inner validation, in random order.

    Raises
    ------
    LatentError
        If there are too few patients.
    """
    n_fit = n - max(2, round(fraction * n))
    if n_fit < 4:
        raise LatentError(
            f"{n} training patients have omics, too few to train and to validate a latent model. "
            "Suggestion: use a larger cohort or fewer folds"
        )
    order = np.random.default_rng([seed, 0]).permutation(n)
    return order[:n_fit], order[n_fit:]


def shapes_of(specs: tuple[OmicSpec, ...], bases: list[np.ndarray | None]) -> tuple[OmicShape, ...]:
    """Sizes of the module for some omics."""
    return tuple(
        OmicShape(len(s.features), s.likelihood, None if b is None else b.shape[1])
        for s, b in zip(specs, bases, strict=True)
    )


def learn_bases(
    features: FeatureSet | StoredFeatures, specs: tuple[OmicSpec, ...], rows: np.ndarray, most: int
) -> list[np.ndarray | None]:
    """Directions that the encoder of a wide omic sees in place of its features, the same for all members.

    These are the leading principal components of (at most `BASIS_PATIENTS`) fitting patients, scaled by the root of
    the number of features, so that a step of Adam moves the encoder about as far as with the features themselves. The
    decoder has every feature. With as many directions as patients nothing is lost: gradients of the encoder lie in
    the span of the patients.

    Parameters
    ----------
    features, specs
        As in `train`.
    rows
        Index of the patients to learn from.
    most
        Number of directions; omics with at most twice as many features, and all if it is 0, are left as they are.

    Returns
    -------
    list of numpy.ndarray or None
        Shape `(n_features, n_directions)`, float32, or None for an omic that is left as it is.
    """
    wide = [most > 0 and len(s.features) > 2 * most for s in specs]
    if not any(wide):
        return [None] * len(specs)
    prepared = prepare(features.take(np.sort(rows)), specs)
    bases: list[np.ndarray | None] = []
    for o, spec in enumerate(specs):
        if not wide[o]:
            bases.append(None)
            continue
        x = prepared.inputs[o][prepared.observed[:, o] > 0].astype(np.float64)
        components = fit_projection(x, most).components if len(x) else np.zeros((len(spec.features), most))
        bases.append((components * np.sqrt(len(spec.features))).astype(np.float32))
    return bases


class _Run(ABC):
    """State of one training run: a stack of members, and the patients that they learn from."""

    def __init__(
        self,
        fit: Source,
        specs: tuple[OmicSpec, ...],
        bases: list[np.ndarray | None],
        settings: LatentConfig,
        seed: int,
        members: Sequence[int],
    ) -> None:
        self.fit, self.settings, self.device = fit, settings, fit.device
        shapes = shapes_of(specs, bases)
        self.scale = sum(s.features for s in shapes) / len(shapes)
        streams = [np.random.SeedSequence([seed, 1 + m]).generate_state(2, np.uint32) for m in members]
        self.module = StackedVae(shapes, settings.dims, settings.hidden, [int(s[0]) for s in streams]).to(self.device)
        self._start_at(specs)
        # Noise is drawn on the CPU, so that a GPU sees the same numbers.
        self.generators = [torch.Generator().manual_seed(int(s[1])) for s in streams]
        self.stack = MemberMatrix(self.module, settings.learning_rate)
        self.shared = np.random.default_rng([seed, 0, 1])
        self.members = np.arange(len(members))
        self.numbers = np.asarray(members)

    @torch.no_grad()
    def _start_at(self, specs: tuple[OmicSpec, ...]) -> None:
        """Start the decoders of 0/1 features and of counts at the training average."""
        for o, spec in enumerate(specs):
            start = spec.start()
            if start is not None:
                self.module.weights[f"bias_{o}"].copy_(torch.from_numpy(start)[None, None])

    def run(self, what: str) -> None:
        """Train until every member has stopped; `what` is said beside the progress bar."""
        for epoch in (progress := _progress(self.settings.epochs, what)):
            loss = self.step_epoch(epoch)
            if hasattr(progress, "set_postfix"):
                progress.set_postfix(loss=f"{loss.mean():.4f}", members=len(self.members), on=self.device.type)
            if not len(self.members):
                break

    def step_epoch(self, epoch: int) -> np.ndarray:
        """One pass over the patients, after which members may leave; training loss of those who were there."""
        warmup = self.settings.warmup_epochs
        kl_weight = self.settings.kl_weight * (min(1.0, (epoch + 1) / warmup) if warmup else 1.0)
        groups = self._groups(self.shared.permutation(len(self.fit)))
        noises = self._for_groups(groups)
        total = torch.zeros(len(self.members), device=self.device)
        for batch, (noise, observed) in zip(self.fit.batches(groups), noises, strict=True):
            fit, divergence_ = self._losses(batch, observed, noise)
            self.stack.step((fit.mean(-1) + kl_weight * divergence_.mean(-1)).sum())
            total += (fit + self.settings.kl_weight * divergence_).detach().sum(-1)
        loss = np.asarray((total / len(self.fit)).double().cpu().numpy())
        self._check(epoch, loss)
        self.end_epoch(epoch, loss)
        return loss

    @abstractmethod
    def end_epoch(self, epoch: int, loss: np.ndarray) -> None:
        """Decide which members go on."""

    def _check(self, epoch: int, loss: np.ndarray) -> None:
        broken = np.flatnonzero(~np.isfinite(loss))
        if broken.size:
            raise LatentError(
                f"the loss of member {self.numbers[self.members[broken[0]]]} is not finite in epoch {epoch + 1}. "
                f"Suggestion: lower `latent.learning_rate` (now {self.settings.learning_rate}) and look for extreme "
                "values in quality"
            )

    def _groups(self, order: np.ndarray) -> list[np.ndarray]:
        """Patients of each gradient step."""
        n = len(order)
        steps = max(1, round(n / self.settings.batch_size), min(MIN_STEPS, n // MIN_BATCH))
        return np.array_split(order, steps)

    def _losses(self, batch: Batch, observed: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.module.encode([cells.inputs for cells in batch.omics], observed)
        latent = posterior.mean + posterior.variance.sqrt() * noise
        return self.module.reconstruction(latent, batch) / self.scale, divergence(posterior) / self.scale

    def _for_groups(self, groups: list[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        """Noise and the shares observed after modality dropout for each group, drawn for many groups at once."""
        per_window = max(1, WINDOW // len(groups[0]))
        for start in range(0, len(groups), per_window):
            window = groups[start : start + per_window]
            sizes = [len(g) for g in window]
            noise = self._normal(sum(sizes)).split(sizes, dim=1)
            observed = self._dropout(torch.from_numpy(self.fit.observed[np.concatenate(window)])).split(sizes, dim=1)
            yield from zip(noise, observed, strict=True)

    def _normal(self, n: int) -> Tensor:
        drawn = [torch.randn((n, self.settings.dims), generator=g) for g in self.generators]
        return torch.stack(drawn).to(self.device)

    def _dropout(self, seen: Tensor) -> Tensor:
        """Shares observed with omics hidden at random, but never the last one of a patient."""
        drawn = torch.stack([torch.rand(seen.shape, generator=g) for g in self.generators])
        keep = drawn >= self.settings.modality_dropout
        # The omic with the largest draw among the present ones always stays.
        last = torch.where(seen > 0, drawn, -1.0).argmax(-1, keepdim=True)
        keep = keep.scatter(-1, last, True)
        return (seen * keep).to(self.device)

    def _go_on_with(self, positions: np.ndarray) -> torch.Tensor:
        """Take all other members out of the stack, so that they cost nothing any more; index of those who stay."""
        self.members = self.members[positions]
        self.generators = [self.generators[i] for i in positions]
        index = torch.from_numpy(positions).to(self.device)
        self.stack.keep(index)
        return index


class Search(_Run):
    """Finds for each member the epoch of the least loss on patients of an inner validation.

    Attributes
    ----------
    history
        As in `Trained`.
    best_epoch
        Shape `(n_members,)`.
    """

    def __init__(self, fit: Source, validation: Source, *given: Any) -> None:
        super().__init__(fit, *given)
        self.validation = validation
        self.validation_noise = self._normal(len(validation))
        self.best_loss = np.full(len(self.members), np.inf)
        self.best_epoch = np.zeros(len(self.members), dtype=np.int64)
        self.history: list[dict[str, float]] = []

    def end_epoch(self, epoch: int, loss: np.ndarray) -> None:
        """Members leave when their own validation loss has not fallen for long."""
        validation = self._validate()
        self._check(epoch, validation)
        for m, own, held in zip(self.members.tolist(), loss.tolist(), validation.tolist(), strict=True):
            self.history.append({"member": m, "epoch": epoch, "train_loss": own, "validation_loss": held})
        least = self.best_loss[self.members]
        improved = validation < least - MIN_IMPROVEMENT * (np.abs(least) if epoch else 1.0)
        better = self.members[improved]
        self.best_loss[better], self.best_epoch[better] = validation[improved], epoch
        # Before the full Kullback-Leibler weight is reached a rising loss says nothing.
        since = epoch - np.maximum(self.best_epoch[self.members], self.settings.warmup_epochs)
        going = improved | (since < self.settings.patience)
        if not going.all():
            self.validation_noise = self.validation_noise[self._go_on_with(np.flatnonzero(going))]

    def _validate(self) -> np.ndarray:
        """Mean loss of the validation patients with the full Kullback-Leibler weight, per member."""
        total = torch.zeros(len(self.members), device=self.device, dtype=torch.float64)
        groups = self.validation.in_order(AT_ONCE)
        with torch.no_grad():
            for group, batch in zip(groups, self.validation.batches(groups), strict=True):
                noise = self.validation_noise[:, group[0] : group[-1] + 1]
                fit, divergence_ = self._losses(batch, batch.observed, noise)
                total += (fit + self.settings.kl_weight * divergence_).double().sum(-1)
        return np.asarray((total / len(self.validation)).cpu().numpy())


class Refit(_Run):
    """Trains each member for a given number of epochs.

    Parameters
    ----------
    fit
        The patients.
    epochs
        Shape `(n_members,)`, at least 1.
    given
        As for `_Run`.
    """

    def __init__(self, fit: Source, epochs: np.ndarray, *given: Any) -> None:
        super().__init__(fit, *given)
        self.epochs = epochs
        self.trained = self.stack.matrix.clone()

    def end_epoch(self, epoch: int, loss: np.ndarray) -> None:
        """Members leave after their last epoch."""
        going = self.epochs[self.members] > epoch + 1
        if not going.all():
            stopped = torch.from_numpy(~going).to(self.device)
            self.trained[torch.from_numpy(self.members[~going]).to(self.device)] = self.stack.matrix[stopped]
            self._go_on_with(np.flatnonzero(going))

    def weights(self, bases: list[np.ndarray | None]) -> dict[str, Tensor]:
        """Weights of all members, experts centred on the patients; encoders see the features themselves again."""
        for name in self.module.weights:
            if name.startswith("centre_"):
                shape = (len(self.trained), 1, self.settings.dims)
                self.module.weights[name] = torch.nn.Parameter(self.trained.new_zeros(shape), requires_grad=False)
        self.stack.load(self.trained)
        self.module.set_centre(self.fit.batches(self.fit.in_order(AT_ONCE)))
        weights = {k: v.detach().cpu().clone() for k, v in self.module.weights.items()}
        for o, basis in enumerate(bases):
            if basis is not None:
                weights[f"encoder_{o}"] = torch.from_numpy(basis) @ weights[f"encoder_{o}"]
        return weights


@contextmanager
def _deterministic(tf32: bool) -> Iterator[None]:
    """Deterministic algorithms, and TensorFloat-32 in matrix products where `tf32` is true."""
    deterministic: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled()
    fill, precision = deterministic.fill_uninitialized_memory, torch.get_float32_matmul_precision()
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that was not written; filling it costs a tenth of the time.
    deterministic.fill_uninitialized_memory = False
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        deterministic.fill_uninitialized_memory = fill
        torch.set_float32_matmul_precision(precision)


def _progress(epochs: int, what: str) -> Any:
    if not sys.stderr.isatty():
        return range(epochs)
    from tqdm import tqdm

    return tqdm(range(epochs), desc=f"latent model, {what}", unit="epoch", file=sys.stderr)
