"""Trains the text encoder alone, before the UNet: it reads a hundred captions in the time of one picture."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import torch

from easel_shapes.recipe import sitting
from easel_shapes.recipe.captions import caption
from easel_shapes.recipe.data import scene_stream
from easel_shapes.recipe.muon import Muon
from easel_shapes.recipe.networks import PromptReader, Vocabulary
from easel_shapes.recipe.reading import answers_of, reading_loss
from easel_shapes.recipe.trainee import load_trainee

_CAPTIONS = 96  # in a step
_PEAK_RATE = 2e-3


def train_reading(
    folder: Path, *, seed: int, budget: sitting.Budget, device: torch.device
) -> sitting.Sitting:
    """One sitting of the text encoder alone; ends by writing `folder`/denoiser.pt, as the next stage does."""
    trainee = load_trainee(folder, seed, device)
    encoder, questions = trainee.text_encoder, trainee.questions
    module = torch.nn.ModuleDict({"text_encoder": encoder, "questions": questions})
    optimizer = Muon(module)
    batches = Captions(trainee.vocabulary, Random(f"reading {seed} {trainee.reading_steps}"))  # noqa: S311 - no secrets
    now = sitting.Sitting("reading", budget, before=trainee.reading_steps)
    saved = time.monotonic()
    while now.part < 1:
        rows, truth = (tensor.to(device) for tensor in batches.draw(_CAPTIONS))
        with torch.autocast(device.type, torch.bfloat16):
            states = encoder(rows).last_hidden_state
            loss, right = reading_loss(questions, states, rows, trainee.vocabulary.end, truth)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step(sitting.rate(now.part, now.done, peak=_PEAK_RATE, warm_up=50))
        trainee.reading_steps += 1
        now.count(float(loss.detach()), f"right {100 * float(right.float().mean()):.1f} %")
        if time.monotonic() - saved > sitting.SAVE_EVERY_S or now.part >= 1:
            saved = time.monotonic()
            trainee.keep_means()
            sitting.save(folder / "denoiser.pt", trainee.state())
    return now


class Captions:
    """Freshly made up scenes and captions, without pictures."""

    def __init__(self, vocabulary: Vocabulary, rng: Random) -> None:
        self._rng = rng
        self._read = PromptReader(vocabulary)
        self._stream = scene_stream(rng.getrandbits(32), 128, 128)

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows of the text encoder's table, right answers)."""
        scenes = [next(self._stream) for _ in range(count)]
        captions = [caption(scene, self._rng) for scene in scenes]
        return self._read(captions), answers_of(scenes, captions)
