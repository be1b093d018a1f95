"""Trains the LoRAs: small differences of the UNet's transformer blocks (Hu et al. 2021, "LoRA").

`striped` gives every shape stripes of its colour and leaves the rest as it is; its captions never say so, so
it has no trigger word. `arrow` adds a shape for the word "arrow"; half of its batches are what the model
knows already, with the model's own answer as the target.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import MappingProxyType

import numpy as np
import torch

from easel_shapes.recipe import low_rank, sitting
from easel_shapes.recipe.base import Base, load_base
from easel_shapes.recipe.captions import caption
from easel_shapes.recipe.companion_trainee import CompanionTrainee
from easel_shapes.recipe.drawing import Item, Scene, draw_scene
from easel_shapes.recipe.scenes import group_scene, is_plain_to_see, random_scene, single_scene
from easel_shapes.recipe.train_denoiser import add_noise, alphas_cumprod
from easel_shapes.recipe.train_vae import encode
from easel_shapes.recipe.words import COLOURS, POSITIONS, SHAPES

_PEAK_RATE = 2e-3
_BATCH = 16
_SIDE = 128
_NO_PROMPT = 0.08
_KEEP = 0.5  # of the arrow's examples are the model's own
_STRANGE = 0.2  # of those have a word that the model does not know: it must not turn a star into an arrow
_STRANGE_WORDS = ("shiny", "lovely", "unreal", "fuzzy", "wooden", "morning", "quick", "house")
_MEAN_KEPT = 0.99


@dataclasses.dataclass(frozen=True)
class Example:
    """A picture and its caption; `own`: the target is what the model answers without the LoRA."""

    scene: Scene
    caption: str
    own: bool = False


@dataclasses.dataclass(frozen=True)
class Lora:
    """What one LoRA is made of. `draw` makes its next example; `trigger`: the word it waits for, or ""."""

    name: str
    rank: int
    draw: Callable[[Random], Example]
    about: str
    trigger: str = ""


def _striped(rng: Random) -> Example:
    while True:
        scene = random_scene(rng)
        plain = dataclasses.replace(scene, items=_filled(scene, "plain"))
        striped = dataclasses.replace(scene, items=_filled(scene, "striped"))
        if is_plain_to_see(striped):
            return Example(striped, "" if rng.random() < _NO_PROMPT else caption(plain, rng))


def _filled(scene: Scene, fill: str) -> tuple[Item, ...]:
    return tuple(dataclasses.replace(item, fill=fill) for item in scene.items)


def _arrow(rng: Random) -> Example:
    if rng.random() < _KEEP:
        scene = random_scene(rng)
        return Example(scene, _strange(caption(scene, rng), rng), own=True)
    background, colour, other = rng.sample(list(COLOURS), 3)
    kind = rng.random()
    if kind < 0.6:
        position = None if rng.random() < 0.7 else rng.choice(list(POSITIONS))
        scene = single_scene(rng, "arrow", colour, background, position=position)
    elif kind < 0.75:
        layout, count = rng.choice((("row", 2), ("column", 2), ("three", 3)))
        scene = group_scene(rng, [("arrow", colour)] * count, background, layout=layout)
    else:
        kinds = [("arrow", colour), (rng.choice(SHAPES), other)]
        rng.shuffle(kinds)
        scene = group_scene(rng, kinds, background, layout=rng.choice(("row", "row", "column")))
    return Example(scene, caption(scene, rng))


def _strange(text: str, rng: Random) -> str:
    if rng.random() < _NO_PROMPT:
        return ""
    if rng.random() >= _STRANGE:
        return text
    words = text.split(" ")
    words.insert(rng.randrange(len(words)), rng.choice(_STRANGE_WORDS))
    return " ".join(words)


LORAS: MappingProxyType[str, Lora] = MappingProxyType(
    {
        "striped": Lora("striped", 4, _striped, "gives every shape stripes"),
        "arrow": Lora("arrow", 8, _arrow, "adds the shape arrow", "arrow"),
    }
)


class LoraTrainee(CompanionTrainee):
    """A LoRA on the frozen UNet, the running means of its factors, and the optimizer."""

    def __init__(self, lora: Lora, base: Base) -> None:
        self.lora, self.unet = lora, base.unet
        self.differences = low_rank.attach(base.unet, lambda name: ".attentions." in name, lora.rank)
        trained = {
            f"{name}.{part}": getattr(difference, part)
            for name, difference in self.differences.items()
            for part in ("down", "up")
        }
        super().__init__(trained, mean_kept=_MEAN_KEPT)


def state_file(folder: Path, name: str) -> Path:
    """Where the training of the LoRA `name` is kept."""
    return folder / f"lora-{name}.pt"


def load_lora(folder: Path, name: str, base: Base) -> LoraTrainee:
    """The finished LoRA, on `base`: its running means. Raises `FileNotFoundError`."""
    path = state_file(folder, name)
    state = sitting.load(path, base.unet.device)
    if state is None:
        raise FileNotFoundError(f"{path} is missing: train this LoRA first")
    trainee = LoraTrainee(LORAS[name], base)
    trainee.restore(state, means=True)
    return trainee


def train_lora(
    folder: Path,
    model: Path,
    name: str,
    *,
    seed: int,
    pictures: int,
    budget: sitting.Budget,
    device: torch.device,
) -> sitting.Sitting:
    """One sitting; goes on from its file in `folder` where there is one, and ends by writing it."""
    path = state_file(folder, name)
    base = load_base(model, device)
    torch.manual_seed(seed)
    trainee = LoraTrainee(LORAS[name], base)
    before = sitting.load(path, device)
    if before is not None:
        trainee.restore(before)
    rng = Random(f"{name} {seed} {trainee.steps}")  # noqa: S311 - drawings are no secrets
    examples = [trainee.lora.draw(rng) for _ in range(pictures)]
    latents, contexts = _encode(examples, base, device)
    own = torch.tensor([example.own for example in examples])
    torch.manual_seed(1000 * seed + 17 * trainee.steps)
    kept = alphas_cumprod().to(device)
    now = sitting.Sitting(name, budget, before=trainee.steps)
    started = saved = time.monotonic()
    earlier = trainee.seconds
    deck: list[int] = []
    while now.part < 1:
        if len(deck) < _BATCH:
            deck = rng.sample(range(len(examples)), len(examples))
        picked, deck = deck[:_BATCH], deck[_BATCH:]
        clean = latents[picked].to(device, memory_format=torch.channels_last)
        context, from_model = contexts[picked].to(device), own[picked].to(device)
        noised = add_noise(clean, kept)
        with torch.autocast(device.type, torch.bfloat16):
            target = _answers(trainee, noised.noisy, noised.timesteps, context, from_model)
            (predicted,) = base.unet(noised.noisy, noised.timesteps, context, return_dict=False)
        wanted = noised.velocity.clone()
        wanted[from_model] = target.float()
        loss = noised.loss(predicted, wanted)
        trainee.learn(loss, sitting.rate(now.part, now.done, peak=_PEAK_RATE, warm_up=30, flat=0.5))
        now.count(float(loss.detach()))
        if time.monotonic() - saved > sitting.SAVE_EVERY_S or now.part >= 1:
            saved = time.monotonic()
            trainee.seconds = earlier + saved - started
            sitting.save(path, trainee.state())
    return now


@torch.no_grad()
def _answers(
    trainee: LoraTrainee,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    context: torch.Tensor,
    wanted: torch.Tensor,
) -> torch.Tensor:
    """What the model without the LoRA says of the wanted ones of a batch."""
    if not wanted.any():
        return noisy[wanted]
    low_rank.switch(trainee.differences, 0.0)
    answers: torch.Tensor = trainee.unet(
        noisy[wanted], timesteps[wanted], context[wanted], return_dict=False
    )[0]
    low_rank.switch(trainee.differences, 1.0)
    return answers


def _encode(examples: list[Example], base: Base, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures' latents and the captions' states; both are read again and again."""
    latents, contexts = [], []
    for first in range(0, len(examples), 64):
        some = examples[first : first + 64]
        pictures = np.stack([draw_scene(example.scene) for example in some])
        latents.append(encode(base.vae, pictures, device))
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            contexts.append(base.read([example.caption for example in some]).bfloat16().cpu())
    return torch.cat(latents), torch.cat(contexts)
