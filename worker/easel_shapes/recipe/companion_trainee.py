"""What the training of a companion holds, and what one sitting leaves to the next."""

from __future__ import annotations

from typing import Any

import torch


class CompanionTrainee:
    """What is trained beside the frozen UNet, its running means, and the optimizer.

    Args:
        trained: The parameters by name.
        mean_kept: The share of the running means that a step keeps, 0 to 1.
    """

    def __init__(self, trained: dict[str, torch.Tensor], *, mean_kept: float) -> None:
        self.trained = trained
        self._mean_kept = mean_kept
        self.mean: dict[str, torch.Tensor] = {}
        self.begin_means()
        self.optimizer = torch.optim.AdamW(trained.values(), betas=(0.9, 0.99), weight_decay=0.0)
        self.steps = 0
        self.seconds = 0.0

    def begin_means(self) -> None:
        """Let the running means begin at what is trained as it is now."""
        self.mean = {name: tensor.detach().clone() for name, tensor in self.trained.items()}

    def learn(self, loss: torch.Tensor, rate: float) -> None:
        """One step of the optimizer down the loss's gradient, whose norm is cut to 1, and of the means."""
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average()

    @torch.no_grad()
    def average(self) -> None:
        """One more step into the running means; the first steps weigh less than the rate would let them."""
        keep = min(self._mean_kept, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.mean.values()), list(self.trained.values()), 1 - keep)
        self.steps += 1

    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {
            "trained": self.trained,
            "mean": self.mean,
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any], *, means: bool = False) -> None:
        """Go on from an earlier sitting; with `means`, hold its running means instead, to be looked at."""
        for name, tensor in self.trained.items():
            tensor.copy_(state["mean" if means else "trained"][name])
        self.mean = {name: tensor.clone() for name, tensor in state["mean"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.seconds = state["steps"], state["seconds"]
