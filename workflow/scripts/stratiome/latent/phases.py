"""The two passages of training: how long each member learns, and then learning from all patients."""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stratiome.config import LatentConfig
from stratiome.latent.bases import shapes_of
from stratiome.latent.checkpoint import Checkpoint, State
from stratiome.latent.errors import LatentError
from stratiome.latent.inputs import OmicSpec
from stratiome.latent.module import Batch, StackedVae, divergence
from stratiome.latent.source import Source
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


class _Run(ABC):
    """State of one training run: a stack of members, and the patients that they learn from."""

    name: str

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
        self.checkpoint: Checkpoint | None = None
        self.epoch = 0
        self._begin_epoch()

    @torch.no_grad()
    def _start_at(self, specs: tuple[OmicSpec, ...]) -> None:
        """Start the decoders of 0/1 features and of counts at the training average."""
        for o, spec in enumerate(specs):
            start = spec.start()
            if start is not None:
                self.module.weights[f"bias_{o}"].copy_(torch.from_numpy(start)[None, None])

    def _begin_epoch(self) -> None:
        """What a checkpoint needs of the epoch that comes: the random numbers before it, and its steps so far."""
        self.steps, self.total = 0, torch.zeros(len(self.members), device=self.device)
        self._order = self.shared.bit_generator.state
        self._noise = self._generator_states()

    def _generator_states(self) -> np.ndarray:
        states = [g.get_state().numpy() for g in self.generators]
        return np.stack(states) if states else np.zeros((0, 0), dtype=np.uint8)

    def run(self, what: str, checkpoint: Checkpoint | None = None, state: State | None = None) -> None:
        """Train until every member has stopped.

        Parameters
        ----------
        what
            Is said beside the progress bar.
        checkpoint
            Where the state is kept; None for nowhere.
        state
            Where to go on; None for the beginning.

        Raises
        ------
        TrainingStopped
            If a signal told the run to stop, and there is a checkpoint.
        """
        if state is not None:
            self.restore(state)
        began = "begins" if state is None else f"resumed at epoch {self.epoch + 1}, step {self.steps + 1}"
        logger.info("latent model: %s %s, %d members on %s", self.name, began, len(self.members), self.device.type)
        self.checkpoint = checkpoint
        with checkpoint.listening() if checkpoint else nullcontext():
            for epoch in (progress := _progress(self.epoch, self.settings.epochs, what)):
                if not len(self.members):
                    break
                loss = self.step_epoch(epoch)
                if hasattr(progress, "set_postfix"):
                    progress.set_postfix(loss=f"{loss.mean():.4f}", members=len(self.members), on=self.device.type)
            if checkpoint:
                checkpoint.visit(self.state, f"the end of the {self.name}", now=True)

    def step_epoch(self, epoch: int) -> np.ndarray:
        """One pass over the patients, after which members may leave; training loss of those who were there."""
        warmup = self.settings.warmup_epochs
        kl_weight = self.settings.kl_weight * (min(1.0, (epoch + 1) / warmup) if warmup else 1.0)
        groups = self._groups(self.shared.permutation(len(self.fit)))
        done = self.steps  # in a run that was stopped
        for batch, (noise, observed) in zip(
            self.fit.batches(groups[done:]), self._for_groups(groups, done), strict=True
        ):
            if self.checkpoint:
                self.checkpoint.visit(self.state, f"epoch {epoch + 1}, step {self.steps + 1} of the {self.name}")
            fit, divergence_ = self._losses(batch, observed, noise)
            self.stack.step((fit.mean(-1) + kl_weight * divergence_.mean(-1)).sum())
            self.total += (fit + self.settings.kl_weight * divergence_).detach().sum(-1)
            self.steps += 1
        loss = np.asarray((self.total / len(self.fit)).double().cpu().numpy())
        self._check(epoch, loss)
        self.end_epoch(epoch, loss)
        self.epoch = epoch + 1
        self._begin_epoch()
        return loss

    def state(self) -> State:
        """All that the rest of the run depends on, beside the patients, the settings and the seed."""
        facts = {"phase": self.name, "epoch": self.epoch, "steps": self.steps, "order": self._order}
        arrays = {"members": self.members, "noise": self._noise, "total": self.total.cpu().numpy()}
        stack = {f"stack.{name}": value.detach().cpu().numpy() for name, value in self.stack.state().items()}
        return State(facts, arrays | stack)

    def restore(self, state: State) -> None:
        """Go on where the run of a state was stopped."""
        facts, arrays = state.facts, state.arrays
        self._go_on_with(arrays["members"].copy())
        stack = {n.removeprefix("stack."): self._tensor(v) for n, v in arrays.items() if n.startswith("stack.")}
        self.stack.restore(stack)
        self.shared.bit_generator.state = facts["order"]
        for generator, noise in zip(self.generators, arrays["noise"], strict=True):
            generator.set_state(torch.tensor(noise))
        self.epoch = facts["epoch"]
        self._begin_epoch()
        self.steps, self.total = facts["steps"], self._tensor(arrays["total"])

    def _tensor(self, value: np.ndarray) -> Tensor:
        """A copy on the device, in memory of its own: products depend on where in memory a matrix starts."""
        return torch.tensor(value, device=self.device)

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

    def _for_groups(self, groups: list[np.ndarray], done: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Noise and the shares observed after modality dropout for each group, drawn for many groups at once.

        The first `done` groups are left out; the generators stand before the numbers of the window of the next one.
        """
        per_window = max(1, WINDOW // len(groups[0]))
        for start in range(done - done % per_window, len(groups), per_window):
            self._noise = self._generator_states()
            window = groups[start : start + per_window]
            sizes = [len(g) for g in window]
            noise = self._normal(sum(sizes)).split(sizes, dim=1)
            observed = self._dropout(torch.from_numpy(self.fit.observed[np.concatenate(window)])).split(sizes, dim=1)
            yield from list(zip(noise, observed, strict=True))[max(0, done - start) :]

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

    name = "search"

    def __init__(self, fit: Source, validation: Source, *given: Any) -> None:
        super().__init__(fit, *given)
        self.validation = validation
        self.validation_noise = self._normal(len(validation))
        self.best_loss = np.full(len(self.members), np.inf)
        self.best_epoch = np.zeros(len(self.members), dtype=np.int64)
        self.history: list[dict[str, float]] = []

    def state(self) -> State:
        """As of any run, and what was found so far."""
        found = super().state()
        own = {"best_loss": self.best_loss, "best_epoch": self.best_epoch}
        return State(found.facts | {"history": self.history}, found.arrays | own)

    def restore(self, state: State) -> None:
        """Go on where the run of a state was stopped."""
        super().restore(state)
        self.validation_noise = self.validation_noise[self._tensor(self.members)]
        self.best_loss, self.best_epoch = (state.arrays[name].copy() for name in ("best_loss", "best_epoch"))
        self.history = state.facts["history"]

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

    name = "refit"

    def __init__(self, fit: Source, epochs: np.ndarray, *given: Any) -> None:
        super().__init__(fit, *given)
        self.epochs = epochs
        self.trained = self.stack.matrix.clone()

    def state(self) -> State:
        """As of any run, and the weights of those who have left."""
        found = super().state()
        return State(found.facts, found.arrays | {"trained": self.trained.cpu().numpy()})

    def restore(self, state: State) -> None:
        """Go on where the run of a state was stopped."""
        super().restore(state)
        self.trained = self._tensor(state.arrays["trained"])

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


def _progress(first: int, epochs: int, what: str) -> Any:
    if not sys.stderr.isatty():
        return range(first, epochs)
    from tqdm import tqdm

    shown = {"desc": f"latent model, {what}", "unit": "epoch", "file": sys.stderr}
    return tqdm(range(first, epochs), initial=first, total=epochs, **shown)
