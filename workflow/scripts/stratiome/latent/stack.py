"""The trainable weights of all members as one matrix, a row per member."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stratiome.latent.module import StackedVae

CLIP_NORM = 1.0
"""Largest gradient norm of a member; the loss is an average over features, so its gradient is of order one."""

ALIGNED = 16
"""Each weight of a member starts at a multiple of so many numbers, a cache line."""


class MemberMatrix:
    """Optimiser of stacked members.

    The weights of the module become views of one matrix, so that clipping, Adam (Kingma & Ba 2015, ICLR), keeping the
    best weights and taking members out are single operations on it.

    Parameters
    ----------
    module
        The stacked members.
    learning_rate
        Step size of Adam.

    Attributes
    ----------
    matrix
        Shape `(n_members, n_weights)`.
    """

    def __init__(self, module: StackedVae, learning_rate: float) -> None:
        self.module, self.learning_rate = module, learning_rate
        self.names = [name for name, p in module.weights.items() if p.requires_grad]
        self.shapes = [tuple(module.weights[name].shape[1:]) for name in self.names]
        self.padding = [-rows * columns % ALIGNED for rows, columns in self.shapes]
        self.matrix = torch.empty(0)
        self._attach(self._flatten([module.weights[name].detach() for name in self.names]), None)

    def _flatten(self, parts: Sequence[Tensor]) -> Tensor:
        members = parts[0].shape[0]
        pieces: list[Tensor] = []
        for part, padding in zip(parts, self.padding, strict=True):
            pieces += [part.reshape(members, -1), part.new_zeros(members, padding)]
        return torch.cat(pieces, dim=1)

    def _attach(self, matrix: Tensor, state: dict[str, Tensor] | None) -> None:
        self.matrix = matrix
        weights = nn.Parameter(matrix)
        self.optimiser = torch.optim.Adam([weights], lr=self.learning_rate, fused=True)
        if state is not None:
            self.optimiser.state[weights] = state
        start = 0
        for name, (rows, columns), padding in zip(self.names, self.shapes, self.padding, strict=True):
            view = matrix[:, start : start + rows * columns].view(-1, rows, columns)
            self.module.weights[name] = nn.Parameter(view)
            start += rows * columns + padding
        for name, value in self.module.weights.items():
            if name not in self.names:
                self.module.weights[name] = nn.Parameter(value[: len(matrix)], requires_grad=False)
        self.leaves = [self.module.weights[name] for name in self.names]

    def step(self, loss: Tensor) -> None:
        """One step of Adam on the sum of the members' losses, the gradient of each member clipped."""
        gradient = self._flatten(torch.autograd.grad(loss, self.leaves))
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        gradient *= (CLIP_NORM / (norm + 1e-12)).clamp(max=1.0)
        weights = self.optimiser.param_groups[0]["params"][0]
        weights.grad = gradient
        self.optimiser.step()

    def keep(self, members: Tensor) -> None:
        """Go on with some of the members only.

        Parameters
        ----------
        members
            Their positions in the stack.
        """
        weights = self.optimiser.param_groups[0]["params"][0]
        state = {
            key: value if value.dim() == 0 else value[members] for key, value in self.optimiser.state[weights].items()
        }
        self._attach(self.matrix[members], state)

    def state(self) -> dict[str, Tensor]:
        """The matrix, and what Adam remembers of its steps."""
        weights = self.optimiser.param_groups[0]["params"][0]
        return {"matrix": self.matrix, **self.optimiser.state[weights]}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a state, of as many members as there are."""
        self._attach(state["matrix"], {name: value for name, value in state.items() if name != "matrix"})

    def load(self, matrix: Tensor) -> None:
        """Put other weights, of any number of members, into the module; the optimiser starts anew."""
        self._attach(matrix, None)
