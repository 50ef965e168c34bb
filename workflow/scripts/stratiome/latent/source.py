"""Where a training run takes its patients from: memory, or features on disk that never come into memory as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from stratiome.features.block import FeatureSet, StoredFeatures, pieces
from stratiome.latent.inputs import OmicSpec, Prepared, prepare
from stratiome.latent.module import Batch, Cells

GIB = 2**30


def matrix_gib(features: FeatureSet | StoredFeatures, rows: np.ndarray) -> float:
    """Size in GiB of the features of the patients `rows` in single precision."""
    return len(rows) * sum(len(b.features) for b in features.blocks) * 4 / GIB


class Source:
    """Training patients, given out in batches.

    Parameters
    ----------
    features
        Features of all patients.
    specs
        One per omic.
    rows
        Index of the patients to give out.
    bases
        Per omic the directions that the encoder sees in place of its features, `(n_features, n_inputs)`; None where
        it sees the features.
    device
        Where batches go.
    in_memory
        Whether all patients are prepared once and kept on the device. Otherwise each batch is read when it is asked
        for, and only the projected inputs are kept. The batches are the same numbers.

    Attributes
    ----------
    observed
        Shape `(n_patients, n_omics)`, float32, share of features observed; on the CPU.
    """

    def __init__(
        self,
        features: FeatureSet | StoredFeatures,
        specs: tuple[OmicSpec, ...],
        rows: np.ndarray,
        bases: Sequence[np.ndarray | None],
        device: torch.device,
        *,
        in_memory: bool,
    ) -> None:
        self.features, self.specs, self.rows, self.device = features, specs, rows, device
        sizes = np.array([len(s.features) for s in specs], dtype=np.float64)
        self._budget, self._sizes = np.sqrt(sizes * sizes.mean()), sizes
        kept: list[Prepared] = []
        observed: list[np.ndarray] = []
        projected: list[list[np.ndarray]] = [[] for _ in specs]
        for piece in pieces(rows):
            prepared = prepare(features.take(piece), specs)
            observed.append(prepared.observed)
            for o, basis in enumerate(bases):
                if basis is not None:
                    projected[o].append(prepared.inputs[o] @ basis)
            if in_memory:
                kept.append(prepared)
        self.observed = np.concatenate(observed)
        self._projected = [torch.from_numpy(np.concatenate(p)).to(device) if p else None for p in projected]
        self._kept = self._keep(kept) if in_memory else None

    def __len__(self) -> int:
        return len(self.rows)

    def _keep(self, parts: list[Prepared]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Inputs, targets, mask and library size of each omic on the device; a Gaussian omic is kept once."""
        kept = []
        for o in range(len(self.specs)):
            inputs = self._join([p.inputs[o] for p in parts])
            shared = parts[0].targets[o] is parts[0].inputs[o]
            targets = inputs if shared else self._join([p.targets[o] for p in parts])
            kept.append(
                (inputs, targets, self._join([p.seen[o] for p in parts]), self._join([p.library[o] for p in parts]))
            )
        return kept

    def _join(self, parts: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(self.device)

    def batches(self, groups: Iterable[np.ndarray]) -> Iterator[Batch]:
        """A batch for each group of positions in `rows`; the next one is read while the last one is worked on."""
        if self._kept is not None:
            yield from map(self._from_memory, groups)
            return
        with ThreadPoolExecutor(1) as reader:
            coming = None
            for group in groups:
                ahead = reader.submit(self._from_disk, group)
                if coming is not None:
                    yield coming.result()
                coming = ahead
            if coming is not None:
                yield coming.result()

    def in_order(self, size: int) -> list[np.ndarray]:
        """All positions in groups of `size`."""
        return np.split(np.arange(len(self)), range(size, len(self), size))

    def _from_memory(self, group: np.ndarray) -> Batch:
        assert self._kept is not None
        index = torch.from_numpy(group).to(self.device)
        omics = []
        for o, (inputs, targets, seen, library) in enumerate(self._kept):
            taken = inputs[index]
            target = taken if targets is inputs else targets[index]
            gaps = self._gaps(group, o)
            mask = None if gaps is None else seen[index[gaps]]
            omics.append(self._cells(o, index, taken, target, gaps, mask, library[index]))
        return self._batch(group, omics)

    def _from_disk(self, group: np.ndarray) -> Batch:
        prepared = prepare(self.features.take(self.rows[group]), self.specs)
        index = torch.from_numpy(group).to(self.device)
        omics = []
        for o in range(len(self.specs)):
            inputs, library = (torch.from_numpy(p[o]).to(self.device) for p in (prepared.inputs, prepared.library))
            shared = prepared.targets[o] is prepared.inputs[o]
            target = inputs if shared else torch.from_numpy(prepared.targets[o]).to(self.device)
            gaps = self._gaps(group, o)
            mask = None if gaps is None else torch.from_numpy(prepared.seen[o][gaps.numpy()]).to(self.device)
            omics.append(self._cells(o, index, inputs, target, gaps, mask, library))
        return self._batch(group, omics)

    def _gaps(self, group: np.ndarray, omic: int) -> Tensor | None:
        share = self.observed[group, omic]
        found = np.flatnonzero((share > 0) & (share < 1))
        return torch.from_numpy(found) if found.size else None

    def _cells(
        self,
        omic: int,
        index: Tensor,
        inputs: Tensor,
        targets: Tensor,
        gaps: Tensor | None,
        seen: Tensor | None,
        library: Tensor,
    ) -> Cells:
        """An omic weighs as the root of its number of features, shared among the cells that a patient has.

        By number, an omic of thousands of features would leave nothing to one of thirty; if all weighed the same, a
        few strongly correlated features (copy numbers of one arm) would take every dimension. In simulations the root
        recovered subgroups best.
        """
        projected = self._projected[omic]
        share = torch.from_numpy(self.observed[index.cpu().numpy(), omic]).to(self.device)
        weight = (share > 0) * (self._budget[omic] / (share * self._sizes[omic]).clamp(min=1))
        missing = None if gaps is None or seen is None else (gaps.to(self.device), (~seen).to(inputs.dtype))
        offset = library if self.specs[omic].likelihood == "negative_binomial" else None
        return Cells(inputs if projected is None else projected[index], targets, weight, missing, offset)

    def _batch(self, group: np.ndarray, omics: list[Cells]) -> Batch:
        return Batch(tuple(omics), torch.from_numpy(self.observed[group]).to(self.device))
