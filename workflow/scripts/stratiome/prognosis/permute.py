"""Held-out patients with one block of data exchanged among them: what a fitted model loses without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stratiome.prognosis.models import OPTIONAL, Inputs, Omic

CLINICAL = "clinical"
"""Name of the block of all clinical columns."""

MOST_ROWS = 6000
"""Most rows that are added; beyond, fewer held-out patients take part, drawn at random."""

Latents = Callable[[np.ndarray, dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray | None]]
"""From patients, and for some omics the patients whose values they get, to latents and MOFA+ factors (or None)."""


@dataclass(frozen=True)
class Permuted:
    """Inputs with further rows, none of them a training patient.

    Attributes
    ----------
    inputs
        The patients as they were, then the exchanged copies.
    patient
        Shape `(n_added,)`, row of the patient that an added row is a copy of.
    block
        Shape `(n_added,)`, name of the block that was exchanged.
    draw
        Shape `(n_added,)`, number of the exchange, from 1.
    """

    inputs: Inputs
    patient: np.ndarray
    block: np.ndarray
    draw: np.ndarray


def permute(
    inputs: Inputs, held_out: np.ndarray, latents: Latents, *, draws: int, rng: np.random.Generator
) -> Permuted:
    """Add copies of held-out patients, in each of which one block belongs to another of them (Breiman 2001).

    A block is an omic, or all clinical columns together. An omic goes from patient to patient among those who have it,
    whole, so that what is known of its features among each other stays; latents and factors are computed anew from the
    exchanged omic. Models are not learned again.

    Parameters
    ----------
    inputs
        Patients, roles, outcome and predictors.
    held_out
        Row numbers of held-out patients.
    latents
        Places of patients whose omics were exchanged.
    draws
        Exchanges of each block.
    rng
        Source of the exchanges.
    """
    blocks = [o.name for o in inputs.omics] + ([CLINICAL] if inputs.clinical_names else [])
    most = MOST_ROWS // max(draws * len(blocks), 1)
    rows = np.sort(rng.choice(held_out, most, replace=False)) if len(held_out) > most else held_out
    parts: list[Inputs] = []
    patient, block, draw = [], [], []
    for name in blocks:
        for number in range(1, draws + 1):
            parts.append(_exchanged(inputs, rows, name, latents, rng))
            patient.append(rows)
            block += [name] * len(rows)
            draw.append(np.full(len(rows), number))
    if not len(rows) or not parts:
        empty = np.zeros(0, dtype=np.int64)
        return Permuted(inputs, empty, np.zeros(0, dtype=object), empty)
    return Permuted(
        _stacked(inputs, parts), np.concatenate(patient), np.asarray(block, dtype=object), np.concatenate(draw)
    )


def _exchanged(inputs: Inputs, rows: np.ndarray, block: str, latents: Latents, rng: np.random.Generator) -> Inputs:
    """The patients `rows` alone, one block exchanged."""
    own = _taken(inputs, rows)
    if block == CLINICAL:
        return replace(own, clinical=own.clinical[rng.permutation(len(rows))])
    omic = next(o for o in own.omics if o.name == block)
    here = np.flatnonzero(np.isfinite(omic.values).any(axis=1))
    source = np.arange(len(rows))
    source[here] = rng.permutation(here)
    places, factors = latents(rows, {block: rows[source]})
    omics = tuple(Omic(o.name, o.values[source], o.features) if o is omic else o for o in own.omics)
    return replace(own, omics=omics, latents=places, factors=factors)


def _taken(inputs: Inputs, rows: np.ndarray) -> Inputs:
    """Some patients, none of them a training patient."""
    return replace(
        inputs.take(rows),
        train=np.zeros(len(rows), dtype=bool),
        time=np.zeros(len(rows)),
        event=np.zeros(len(rows), dtype=bool),
    )


def _stacked(inputs: Inputs, parts: Sequence[Inputs]) -> Inputs:
    every = [inputs, *parts]
    omics = tuple(
        Omic(o.name, np.concatenate([p.omics[j].values for p in every]), o.features) for j, o in enumerate(inputs.omics)
    )
    whole: dict[str, Any] = {
        name: np.concatenate([getattr(p, name) for p in every])
        for name in ("train", "time", "event", "clinical", "latents", "n_omics")
    }
    optional: dict[str, Any] = {
        name: None if getattr(inputs, name) is None else np.concatenate([getattr(p, name) for p in every])
        for name in OPTIONAL
    }
    return replace(inputs, omics=omics, **whole, **optional)
