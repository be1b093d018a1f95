"""Tiling: pictures without a seam, and a model as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import easel_shapes
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.tiling import tiling
from easel_worker.diffusion.txt2img import Txt2ImgJob, txt2img

PROMPT = "a large red circle on a blue background, upper left"


@pytest.fixture(scope="module")
def shapes() -> Checkpoint:
    return load_checkpoint(easel_shapes.model_folder(), device=torch.device("cpu"), dtype=torch.float32)


def convolutions(module: nn.Module) -> Iterator[nn.Conv2d]:
    return (layer for layer in module.modules() if isinstance(layer, nn.Conv2d))


def padding_modes(checkpoint: Checkpoint) -> list[str]:
    return [
        layer.padding_mode for module in (checkpoint.unet, checkpoint.vae) for layer in convolutions(module)
    ]


def snapshot(module: nn.Module) -> list[dict[str, object]]:
    """Every attribute of every part of a model, the parameters by identity and value."""
    return [{name: repr(value) for name, value in vars(part).items()} for part in module.modules()]


def draw(checkpoint: Checkpoint, seed: int, *, tiled: bool) -> NDArray[np.uint8]:
    job = Txt2ImgJob(PROMPT, seeds=(seed,), steps=8, width=128, height=128, sampler="DPM++ 2M")
    with tiling(checkpoint.unet, checkpoint.vae, enabled=tiled):
        return txt2img(checkpoint, job, on_step=lambda step, steps: None)[0]


def seam(picture: NDArray[np.uint8], axis: int) -> float:
    """How much larger the step across the border is than the largest one between rows (or columns) inside."""
    levels = picture.astype(float)
    border = np.abs(np.take(levels, 0, axis) - np.take(levels, -1, axis)).mean()
    inside = np.abs(np.diff(levels, axis=axis)).mean(axis=tuple({0, 1, 2} - {axis}))
    return float(border / inside.max())


def test_a_tiled_picture_has_no_seam(shapes: Checkpoint) -> None:
    tiled, plain = ([draw(shapes, seed, tiled=on) for seed in (1, 2, 3)] for on in (True, False))
    for axis in (0, 1):
        assert max(seam(picture, axis) for picture in tiled) < 1.0
        assert max(seam(picture, axis) for picture in plain) > 1.0


def test_a_decoder_that_goes_around_moves_with_its_latent(checkpoint: Checkpoint) -> None:
    """Rolling the latent rolls the picture: no place is an edge any more."""
    latent = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))

    def decode(latent: torch.Tensor) -> torch.Tensor:
        picture: torch.Tensor = checkpoint.vae.decode(latent, return_dict=False)[0]
        return picture

    rolled_latent = latent.roll((4, 4), dims=(2, 3))
    with torch.inference_mode(), tiling(checkpoint.vae):
        picture, rolled = decode(latent), decode(rolled_latent)
    torch.testing.assert_close(rolled, picture.roll((32, 32), dims=(2, 3)), rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        assert (decode(rolled_latent) - decode(latent).roll((32, 32), dims=(2, 3))).abs().max() > 1e-2


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_the_model_is_as_before(checkpoint: Checkpoint, fails: bool) -> None:
    modules = (checkpoint.unet, checkpoint.vae)
    weights = [{name: tensor.clone() for name, tensor in module.state_dict().items()} for module in modules]
    before = [snapshot(module) for module in modules]
    try:
        with tiling(*modules):
            assert set(padding_modes(checkpoint)) == {"circular", "zeros"}
            assert [snapshot(module) for module in modules] != before
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert [snapshot(module) for module in modules] == before
    assert set(padding_modes(checkpoint)) == {"zeros"}
    for module, kept in zip(modules, weights, strict=True):
        assert all(torch.equal(tensor, kept[name]) for name, tensor in module.state_dict().items())


def test_only_padded_convolutions_change_and_inner_contexts_leave_outer_ones_alone() -> None:
    padded, point = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 1)
    reflecting = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")
    model = nn.Sequential(padded, point, reflecting)
    with tiling(model, padded):
        modes = [padded.padding_mode, point.padding_mode, reflecting.padding_mode]
        assert modes == ["circular", "zeros", "circular"]
        with tiling(model):
            pass
        assert padded.padding_mode == "circular"
    assert [padded.padding_mode, reflecting.padding_mode] == ["zeros", "reflect"]


def test_it_can_be_off() -> None:
    layer = nn.Conv2d(1, 1, 3, padding=1)
    with tiling(layer, enabled=False):
        assert layer.padding_mode == "zeros"


def test_an_edge_sees_the_opposite_edge() -> None:
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    dot = torch.zeros(1, 1, 4, 4)
    dot[0, 0, 0, 0] = 1.0
    with torch.inference_mode(), tiling(layer):
        seen = layer(dot)[0, 0]
    assert seen.tolist() == [[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]]
