"""Training of the stacked variational autoencoder: what is learned from whom, in which order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stratiome.config import LatentConfig
from stratiome.features.block import FeatureSet, StoredFeatures
from stratiome.latent.bases import BASIS_PATIENTS, learn_bases
from stratiome.latent.checkpoint import Checkpoint, digest_of_patients
from stratiome.latent.errors import LatentError
from stratiome.latent.inputs import OmicSpec
from stratiome.latent.phases import Refit, Search
from stratiome.latent.source import Source, matrix_gib

logger = logging.getLogger(__name__)


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
    checkpoint: Checkpoint | None = None,
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
    checkpoint
        Where the state of the run is kept while it goes on, and from where a run that was stopped goes on: its outcome
        is then, bit for bit, that of a run without a stop. None: nothing is kept, and signals do what they always do.

    Raises
    ------
    LatentError
        If there are too few patients, or a loss is not finite.
    TrainingStopped
        If a signal told the run to stop, and there is a checkpoint.
    """
    fit, validation = inner_split(len(rows), settings.validation_fraction, seed)
    device = choose_device(settings.device)
    which = range(settings.members) if members is None else members
    stream = isinstance(features, StoredFeatures) and matrix_gib(features, rows) > settings.memory_gb

    def source(part: np.ndarray, bases: list[np.ndarray | None]) -> Source:
        return Source(features, specs, rows[np.sort(part)], bases, device, in_memory=not stream)

    with _deterministic(settings.tf32 and device.type == "cuda"):
        identity = _identity(features, specs, rows, settings, seed, which, device) if checkpoint else {}
        state = checkpoint.open(identity) if checkpoint else None
        if state is None or state.facts["phase"] == Search.name:
            bases = learn_bases(features, specs, rows[fit[:BASIS_PATIENTS]], settings.encoder_inputs)
            search = Search(source(fit, bases), source(validation, bases), specs, bases, settings, seed, which)
            search.run("epochs", checkpoint, state)
            history, best, state = search.history, search.best_epoch.tolist(), None
            logger.info("latent model: best epochs %s", [epoch + 1 for epoch in best])
            del search  # and its copy of the patients
        else:
            history, best = state.facts["history"], state.facts["best_epoch"]
        if checkpoint:
            checkpoint.carried = {"history": history, "best_epoch": best}
        everybody = np.concatenate([fit, validation])
        bases = learn_bases(features, specs, rows[everybody[:BASIS_PATIENTS]], settings.encoder_inputs)
        final = Refit(source(everybody, bases), np.array(best) + 1, specs, bases, settings, seed, which)
        final.run("all patients", checkpoint, state)
        return Trained(final.weights(bases), sorted(history, key=lambda r: (r["member"], r["epoch"])), best)


def _identity(
    features: FeatureSet | StoredFeatures,
    specs: tuple[OmicSpec, ...],
    rows: np.ndarray,
    settings: LatentConfig,
    seed: int,
    members: Sequence[int],
    device: torch.device,
) -> dict[str, str]:
    """All that the numbers of a run depend on, to the last bit; whether patients are read from disk is not of it."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "patients": digest_of_patients(features, specs, rows),
        "settings": settings.model_dump_json(exclude={"device", "memory_gb", "baselines"}),
        "seed": str(seed),
        "members": str(list(members)),
        "versions": f"torch {torch.__version__}, numpy {np.__version__}",
        "device": f"{device.type}, {kind}",
        "threads": str(torch.get_num_threads()),
    }


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
