"""Where a training run stands, kept in one file, so that a stopped run goes on there and ends with the same numbers."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from stratiome.features.block import FeatureSet, StoredFeatures, pieces
from stratiome.latent.errors import LatentError, TrainingStopped
from stratiome.latent.inputs import OmicSpec

logger = logging.getLogger(__name__)

FORMAT = 1

EVERY_SECONDS = 300.0
"""Seconds between two checkpoints that nobody asked for: what a run loses at most that is killed without a warning."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Schedulers send SIGTERM, or SIGUSR1 if told to, some time before they kill; a keyboard sends SIGINT."""


@dataclass(frozen=True)
class State:
    """Where a training run stands.

    Attributes
    ----------
    facts
        What JSON holds exactly: no infinities.
    arrays
        Numbers by name.
    """

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


class Checkpoint:
    """One file with the state of one training run.

    Parameters
    ----------
    path
        The file. Each state replaces the one before it as a whole.
    library
        Version of the code that trains; a state of another version is not used.

    Attributes
    ----------
    carried
        Facts that every state carries from now on.
    """

    def __init__(self, path: str | Path, library: str = "") -> None:
        self.path, self.library = Path(path), library
        self.carried: dict[str, Any] = {}
        self._identity: dict[str, str] = {}
        self._written = time.monotonic()
        self._signal: int | None = None

    def open(self, identity: Mapping[str, str]) -> State | None:
        """The state that a run of the same identity left behind; any other is not used, and the log says why.

        Parameters
        ----------
        identity
            All that the numbers of the run depend on.
        """
        self._identity = {"format": str(FORMAT), "library": self.library, **identity}
        self._written = time.monotonic()
        if not self.path.exists():
            return None
        try:
            return self._read()
        except _Unusable as error:
            logger.warning("%s is not used, training starts from the beginning: %s", self.path, error)
        return None

    def _read(self) -> State:
        from safetensors import safe_open

        try:
            with safe_open(self.path, "np") as file:
                given = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            identity = json.loads(given["identity"])
        except Exception as error:  # whatever a damaged file makes its reader raise
            raise _Unusable(f"it is damaged ({error})") from None
        if given.get("sha256") != _checksum(given["identity"], given.get("facts", ""), arrays):
            raise _Unusable("it is damaged (its checksum is another one)")
        other = sorted(k for k in {*identity, *self._identity} if identity.get(k) != self._identity.get(k))
        if other:
            raise _Unusable(f"it belongs to a run that differs in {', '.join(other)}")
        return State(json.loads(given["facts"]), arrays)

    def write(self, state: State) -> bool:
        """Put a state in the place of the last one; where that fails the last one stays, and the log says so."""
        from safetensors.numpy import save

        began = time.perf_counter()
        identity, facts = json.dumps(self._identity), json.dumps(self.carried | state.facts, allow_nan=False)
        arrays = {name: np.asarray(value, order="C") for name, value in state.arrays.items()}
        checksum = _checksum(identity, facts, arrays)
        content = save(arrays, {"identity": identity, "facts": facts, "sha256": checksum})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._partial.replace(self.path)
        except OSError as error:
            logger.warning("no checkpoint could be written: %s", error)
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)
            return False
        finally:
            self._written = time.monotonic()
        logger.info("checkpoint of %d bytes written in %.3f s", len(content), time.perf_counter() - began)
        return True

    def visit(self, state: Callable[[], State], where: str, *, now: bool = False) -> None:
        """Write the state if it is time, or if a signal has come; then stop.

        Parameters
        ----------
        state
            Gives the state.
        where
            What the run comes to next, for the message.
        now
            Whether it is time in any case.

        Raises
        ------
        TrainingStopped
            After a signal.
        """
        if not now and self._signal is None and time.monotonic() - self._written < EVERY_SECONDS:
            return
        written = self.write(state())
        if self._signal is not None:
            kept = "run the same command again, and it goes on there"
            lost = "see the log for why nothing could be kept of what was learned since the last checkpoint"
            raise TrainingStopped(
                f"training was stopped by {signal.Signals(self._signal).name} at {where}. "
                f"Suggestion: {kept if written else lost}"
            )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Wait with the signals that ask to stop until the next visit; a signal that was ignored before still is."""
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {s: h for s in SIGNALS if (h := signal.getsignal(s)) not in (signal.SIG_IGN, None)}
        for asked in before:
            signal.signal(asked, self._note)
        try:
            yield
        finally:
            for asked, handler in before.items():
                signal.signal(asked, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    def remove(self) -> None:
        """Remove the file, and what a kill left half written, as the outputs of the run are complete."""
        for file in (self.path, *self.path.parent.glob(f".{self.path.name}.*.partial")):
            file.unlink(missing_ok=True)

    @property
    def _partial(self) -> Path:
        """Each process has its own: a job whose run was killed may still be at work when the next run starts."""
        return self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")


class _Unusable(LatentError):
    """A checkpoint that the run cannot go on from."""


def _checksum(identity: str, facts: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps([identity, facts]).encode())
    for name in sorted(arrays):
        value = arrays[name]
        digest.update(json.dumps([name, str(value.dtype), value.shape]).encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def digest_of_patients(features: FeatureSet | StoredFeatures, specs: tuple[OmicSpec, ...], rows: np.ndarray) -> str:
    """SHA-256 of all values that are learned from.

    Parameters
    ----------
    features
        Features of all patients.
    specs
        One per omic.
    rows
        Index of the training patients.
    """
    digest = hashlib.sha256()
    for spec in specs:
        digest.update(json.dumps([spec.name, spec.likelihood, spec.features, spec.scale]).encode())
        digest.update(spec.mean.tobytes())
    for piece in pieces(rows):
        for block in features.take(piece).blocks:
            for part in (block.values, block.counts, block.library):
                digest.update(b"none" if part is None else part.tobytes())
    return digest.hexdigest()
