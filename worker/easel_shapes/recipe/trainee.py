"""What a training of the denoiser holds, and what one sitting leaves to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from easel_shapes.recipe import sitting
from easel_shapes.recipe.muon import Muon
from easel_shapes.recipe.networks import Vocabulary, build_text_encoder, build_unet, find_vocabulary
from easel_shapes.recipe.reading import Questions

_EMA = 0.999


class Trainee:
    """The two networks and the questions asked of one of them, their running means, and the optimizer; what a
    sitting leaves to the next."""

    def __init__(self, vocabulary: Vocabulary, device: torch.device) -> None:
        self.vocabulary = vocabulary
        self.unet = build_unet(training=True).to(device, memory_format=torch.channels_last)
        self.text_encoder = build_text_encoder(vocabulary.rows).to(device)
        self.questions = Questions(self.text_encoder.config.hidden_size).to(device)
        self.all = torch.nn.ModuleDict(
            {"unet": self.unet, "text_encoder": self.text_encoder, "questions": self.questions}
        )
        self.optimizer = Muon(self.all)
        self.steps = self.reading_steps = 0  # of the denoiser, and of the text encoder alone
        self.is_fresh = True  # whether the optimizer has no momentum yet
        self.keep_means()

    def keep_means(self) -> None:
        """Let the running means begin anew, at what the networks are now."""
        self.mean = {name: tensor.detach().clone() for name, tensor in self.all.named_parameters()}

    def average(self) -> None:
        """One more step into the running mean; the first steps weigh less than the rate would let them."""
        keep = min(_EMA, (1 + self.steps) / (10 + self.steps))
        own = [tensor.detach() for tensor in self.all.parameters()]
        torch._foreach_lerp_(list(self.mean.values()), own, 1 - keep)
        self.steps += 1

    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {
            "networks": self.all.state_dict(),
            "mean": self.mean,
            "optimizer": self.optimizer.state_dict(),
            "tokens": list(self.vocabulary.tokens),
            "steps": self.steps,
            "reading_steps": self.reading_steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier sitting."""
        # A shipped model brings no questions: they begin anew.
        missing, unexpected = self.all.load_state_dict(state["networks"], strict=False)
        lost = [name for name in (*missing, *unexpected) if not name.startswith("questions.")]
        if lost:
            raise ValueError(f"the training state is of other networks: {', '.join(lost[:5])}")
        self.keep_means()
        self.mean.update(state["mean"])
        if state["optimizer"] is not None:  # None: the sitting begins from a shipped model
            self.optimizer.load_state_dict(state["optimizer"])
            self.is_fresh = False
        self.steps, self.reading_steps = state["steps"], state["reading_steps"]


def load_trainee(folder: Path, seed: int, device: torch.device) -> Trainee:
    """What the last sitting left in `folder`, or untrained networks."""
    before = sitting.load(folder / "denoiser.pt", device)
    torch.manual_seed(seed)
    vocabulary = find_vocabulary() if before is None else Vocabulary(tuple(before["tokens"]))
    trainee = Trainee(vocabulary, device)
    if before is not None:
        trainee.restore(before)
    return trainee
