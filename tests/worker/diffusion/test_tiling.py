"""Tiling: pictures without a seam, and a model as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import easel_shapes
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.tiling import tiling


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
    """Every attribute of every part of a model: plain values as they are, objects by identity."""

    def state(value: object) -> object:
        if isinstance(value, dict):
            return {key: state(item) for key, item in value.items()}
        return value if isinstance(value, str | int | float | tuple | None) else id(value)

    return [{name: state(value) for name, value in vars(part).items()} for part in module.modules()]


@torch.inference_mode()
def draw(shapes: Checkpoint, noise: torch.Tensor, *, tiled: bool) -> torch.Tensor:
    """A picture (3, 8h, 8w) from `noise` (4, h, w): DDIM in 6 steps, without words."""
    kept = torch.cumprod(1.0 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, dim=0)
    context = torch.zeros(1, 77, shapes.unet.config.cross_attention_dim)
    x = noise[None]
    with tiling(shapes.unet, shapes.vae, enabled=tiled):
        steps = [999, 799, 599, 399, 199, 0]
        for t, after in zip(steps, [*steps[1:], None], strict=True):
            velocity = shapes.unet(x, t, context, return_dict=False)[0]
            signal, level = kept[t].sqrt(), (1.0 - kept[t]).sqrt()
            data, direction = signal * x - level * velocity, signal * velocity + level * x
            x = data if after is None else kept[after].sqrt() * data + (1.0 - kept[after]).sqrt() * direction
        picture: torch.Tensor = shapes.vae.decode(x / shapes.scaling_factor, return_dict=False)[0][0]
    return picture


def step_across_the_border(picture: torch.Tensor, dim: int) -> float:
    return float((picture.select(dim, 0) - picture.select(dim, -1)).abs().mean())


def step_in_the_middle(picture: torch.Tensor, dim: int) -> float:
    half = picture.shape[dim] // 2
    return float((picture.select(dim, half) - picture.select(dim, half - 1)).abs().mean())


def test_a_tiled_picture_goes_on_beyond_its_edges(shapes: Checkpoint) -> None:
    """The noise wrapped by half draws the picture wrapped by half: no place in it is an edge."""
    noise = torch.randn((4, 16, 16), generator=torch.Generator().manual_seed(5))
    wrapped = noise.roll((8, 8), dims=(1, 2))
    tiled, tiled_wrapped = draw(shapes, noise, tiled=True), draw(shapes, wrapped, tiled=True)
    torch.testing.assert_close(tiled_wrapped, tiled.roll((64, 64), dims=(1, 2)), rtol=0, atol=0.02)
    plain, plain_wrapped = draw(shapes, noise, tiled=False), draw(shapes, wrapped, tiled=False)
    assert (plain_wrapped - plain.roll((64, 64), dims=(1, 2))).abs().max() > 0.5
    for dim in (1, 2):
        # What lies in the middle of one lies across the border of the other.
        inside = step_in_the_middle(tiled, dim)
        assert step_across_the_border(tiled_wrapped, dim) == pytest.approx(inside, abs=0.005)


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
