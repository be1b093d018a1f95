"""Muon: momentum whose matrix updates are made orthogonal, beside AdamW for everything that is no matrix.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the scale of the updates is
that of Liu et al. 2025, "Muon is Scalable for LLM Training", so that AdamW's learning rates serve for both.
A convolution counts as a matrix of its output channels by everything else.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch

from easel_shapes.recipe import team

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic Newton-Schulz iteration, from the first paper
_ITERATIONS = 5
_RMS = 0.2  # root mean square of AdamW's updates, which a matrix update is scaled to


class Muon:
    """One optimizer for a module: Muon for hidden matrices, AdamW for the rest.

    The rest are vectors, embedding tables, and the convolutions that read or write pictures and latents.
    """

    def __init__(
        self, module: torch.nn.Module, *, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        self._matrices: dict[tuple[int, int], list[tuple[str, torch.nn.Parameter]]] = defaultdict(list)
        rest: list[torch.nn.Parameter] = []
        for name, tensor in module.named_parameters():
            if tensor.ndim < 2 or "embedding." in name or "conv_in." in name or "conv_out." in name:
                rest.append(tensor)
            else:
                self._matrices[tensor.shape[0], tensor[0].numel()].append((name, tensor))
        self._adamw = torch.optim.AdamW(rest, betas=(0.9, 0.99), weight_decay=weight_decay)
        self._momentum, self._weight_decay = momentum, weight_decay
        self._velocity = {
            name: torch.zeros_like(tensor) for group in self._matrices.values() for name, tensor in group
        }

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Apply the gradients that lie in the module, then drop them."""
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        moved: list[list[torch.nn.Parameter]] = []
        updates: list[torch.Tensor] = []
        for (rows, columns), members in self._matrices.items():
            given = [(name, tensor, tensor.grad) for name, tensor in members if tensor.grad is not None]
            if not given:
                continue
            looks_ahead = []
            for name, tensor, gradient in given:
                velocity = self._velocity[name].lerp_(gradient, 1 - self._momentum)
                # Nesterov: a look ahead along the momentum.
                looks_ahead.append(gradient.lerp(velocity, self._momentum).reshape(rows, columns))
                tensor.grad = None
            moved.append([tensor for _, tensor, _ in given])
            updates.append(torch.stack(looks_ahead))
        # The iteration costs as much as ten pictures: each member of a team does its part of the matrices.
        for tensors, stack in zip(moved, team.share_out(updates, orthogonalise), strict=True):
            scale = _RMS * max(stack.shape[1:]) ** 0.5
            for tensor, update in zip(tensors, stack, strict=True):
                tensor.mul_(1 - rate * self._weight_decay)
                tensor.add_(update.reshape(tensor.shape).to(tensor.dtype), alpha=-rate * scale)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"adamw": self._adamw.state_dict(), "velocity": self._velocity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as before."""
        self._adamw.load_state_dict(state["adamw"])
        for name, tensor in self._velocity.items():
            tensor.copy_(state["velocity"][name])


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """(n, rows, columns) -> the same with all singular values near 1, in bfloat16."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x: torch.Tensor = (matrices.mT if tall else matrices).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
