"""Deep discrete-time hazard model, an ensemble whose members are trained at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.cox_path import stratified_folds

INTERVALS = 12
"""Most intervals of follow-up; their ends are quantiles of the training event times."""

HIDDEN, MEMBERS, EPOCHS, PATIENCE = 32, 8, 1000, 60
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 0.003, 3.0, 0.5
VALIDATION_FOLDS = 5


@dataclass(frozen=True)
class Network:
    """Weights of all members, leading axis the member, and the ends of the intervals.

    Attributes
    ----------
    weights
        `base` `(members, 1, n_intervals)`, `linear` `(members, n_columns, 1)`, `hidden`, `shift` and `out`.
    edges
        Shape `(n_intervals + 1,)`, months from 0 to the end of the grid.
    """

    weights: dict[str, np.ndarray]
    edges: np.ndarray

    def curves(self, x: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Survival by each member, shape `(members, n_patients, n_times)`; x and grid as in `fit_deep_hazard`."""
        import torch

        weights = {k: torch.from_numpy(v) for k, v in self.weights.items()}
        with torch.no_grad():
            hazard = torch.sigmoid(_logits(weights, torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))))
            log_survival = torch.log1p(-hazard.double().clamp(max=1 - 1e-9)).cumsum(dim=2).numpy()
        return _on_grid(log_survival, self.edges, grid)

    def survival(self, x: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Mean over members, shape `(n_patients, n_times)`; not even by a rounding error does it rise."""
        return np.minimum.accumulate(self.curves(x, grid).mean(axis=0), axis=1)


@dataclass(frozen=True)
class DeepHazard:
    """What was fitted.

    Attributes
    ----------
    network
        The members.
    survival
        Shape `(n_patients, n_times)`, mean over members.
    spread
        Shape `(n_patients, n_times)`, standard deviation of the predicted risk over members. Members learn from the
        same patients and differ in their start and dropout only, so that it is no interval.
    epochs
        Epochs of the fit on all training patients.
    intervals
        Number of intervals.
    """

    network: Network
    survival: np.ndarray
    spread: np.ndarray
    epochs: int
    intervals: int


def fit_deep_hazard(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, train: np.ndarray, grid: np.ndarray, rng: np.random.Generator
) -> DeepHazard:
    r"""Discrete-time hazards by a neural network (Gensheimer & Narasimhan 2019, PeerJ 7:e6257).

    The logit of the hazard of interval `j` is :math:`b_j + x^T w + f_j(x)` with one hidden layer in `f`, which starts
    at nothing: the model starts from proportional odds and bends it as far as the data ask. A patient enters the
    likelihood in the intervals that were lived through and in that of the event; one censored within an interval does
    not enter it in that interval. Within an interval the hazard is constant. Members differ in their start and their
    dropout; a fifth of the training patients says how many epochs to train, then all of them are used.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, standardised, finite.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed; read in training rows only.
    train
        Shape `(n_patients,)`, rows to learn from.
    grid
        Shape `(n_times,)`, increasing months from 0; follow-up beyond its end is not used.
    rng
        Source of validation patients, starts and dropout.

    Raises
    ------
    CoxError
        If fewer than two events could be split.
    """
    import torch

    edges = _edges(time[train], event[train], grid[-1])
    target, weight = _intervals(time[train], event[train], edges)
    held = stratified_folds(event[train], VALIDATION_FOLDS, rng) == 0
    seed = int(rng.integers(2**31))
    rows = torch.from_numpy(np.ascontiguousarray(x[train], dtype=np.float32))
    y, w = (torch.from_numpy(v.astype(np.float32)) for v in (target, weight))
    best = _train(rows[~held], y[~held], w[~held], seed, EPOCHS, (rows[held], y[held], w[held]))[1]
    weights, _ = _train(rows, y, w, seed, best, None)
    network = Network({k: v.detach().numpy() for k, v in weights.items()}, edges)
    spread = network.curves(x, grid).std(axis=0, ddof=1)
    return DeepHazard(network, network.survival(x, grid), spread, best, len(edges) - 1)


def _edges(time: np.ndarray, event: np.ndarray, end: float) -> np.ndarray:
    """Ends of the intervals, from 0 to the end of the grid."""
    events = time[event & (time <= end)]
    inner = np.quantile(events, np.arange(1, INTERVALS) / INTERVALS) if len(events) else np.zeros(0)
    return np.unique(np.concatenate([[0.0], inner[inner < end], [end]]))


def _intervals(time: np.ndarray, event: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the event falls into an interval, and whether the patient is under observation throughout it."""
    failed = event[:, None] & (time[:, None] > edges[:-1]) & (time[:, None] <= edges[1:])
    lived = time[:, None] >= edges[1:]
    return failed.astype(np.float64), (failed | lived).astype(np.float64)


def _start(columns: int, intervals: int, seed: int) -> dict:
    import torch

    generator = torch.Generator().manual_seed(seed)
    shape = (MEMBERS, columns, HIDDEN)
    return {
        "base": torch.full((MEMBERS, 1, intervals), -3.0),
        "linear": torch.zeros(MEMBERS, columns, 1),
        "hidden": torch.randn(shape, generator=generator) * (2.0 / max(columns, 1)) ** 0.5,
        "shift": torch.zeros(MEMBERS, 1, HIDDEN),
        "out": torch.zeros(MEMBERS, HIDDEN, intervals),
    }


def _logits(weights: dict, x, mask=None):
    """Shape `(members, n_patients, n_intervals)`."""
    import torch

    hidden = torch.relu(torch.matmul(x, weights["hidden"]) + weights["shift"])
    if mask is not None:
        hidden = hidden * mask
    return weights["base"] + torch.matmul(x, weights["linear"]) + torch.matmul(hidden, weights["out"])


def _loss(weights: dict, x, target, weight, mask=None):
    """Negative log-likelihood per patient of each member, shape `(members,)`."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    logits = _logits(weights, x, mask)
    every = binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
    return (every * weight).sum(dim=(1, 2)) / len(x)


def _train(x, target, weight, seed: int, epochs: int, held: tuple | None) -> tuple[dict, int]:
    """Weights after training, and the epoch at which the held patients were predicted best, mean over members."""
    import torch

    weights = {k: v.requires_grad_() for k, v in _start(x.shape[1], target.shape[1], seed).items()}
    decayed = [weights["linear"], weights["hidden"], weights["out"]]
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": [weights["base"], weights["shift"]], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed + 1)
    best, least = 1, np.inf
    for epoch in range(1, epochs + 1):
        keep = torch.rand((MEMBERS, len(x), HIDDEN), generator=generator) >= DROPOUT
        optimiser.zero_grad()
        _loss(weights, x, target, weight, keep / (1.0 - DROPOUT)).sum().backward()
        optimiser.step()
        if held is None:
            continue
        with torch.no_grad():
            now = float(_loss(weights, *held).mean())
        if now < least:
            best, least = epoch, now
        elif epoch - best >= PATIENCE:
            break
    return weights, best


def _on_grid(log_survival: np.ndarray, edges: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Curves of each member on the grid, log survival linear within intervals, shape `(members, n, n_times)`."""
    padded = np.concatenate([np.zeros((*log_survival.shape[:2], 1)), log_survival], axis=2)
    at = np.clip(np.searchsorted(edges, grid, side="right") - 1, 0, len(edges) - 2)
    share = np.clip((grid - edges[at]) / (edges[at + 1] - edges[at]), 0.0, 1.0)
    return np.exp(padded[:, :, at] * (1 - share) + padded[:, :, at + 1] * share)
