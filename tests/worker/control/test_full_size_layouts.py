"""The published networks' sizes, seen in nothing but names and shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, ControlNetUnionModel, T2IAdapter

from easel_worker.diffusion.control.config import adapter_config, control_config, from_checkpoint
from easel_worker.diffusion.control.factors import whole_shapes
from easel_worker.diffusion.control.model import family_of
from easel_worker.diffusion.control.names import adapter_names, control_names
from easel_worker.diffusion.control.network import build_network

from ...small_models.control import original_adapter_weights, original_weights

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
PUBLISHED: dict[str, tuple[int | None, int, dict[str, Any]]] = {
    # Parameters where they are known, residuals, configuration as the folder on the hub has it.
    "sd1": (361_279_120, 13, {"attention_head_dim": 8, "cross_attention_dim": 768}),
    "sd2": (
        None,
        13,
        {
            "attention_head_dim": [5, 10, 20, 20],
            "cross_attention_dim": 1024,
            "use_linear_projection": True,
        },
    ),
    "sdxl": (
        1_251_014_160,
        10,
        {
            "attention_head_dim": [5, 10, 20],
            "block_out_channels": [320, 640, 1280],
            "cross_attention_dim": 2048,
            "down_block_types": [PLAIN, CROSS, CROSS],
            "transformer_layers_per_block": [1, 2, 10],
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    ),
}


def on_meta(kind: Any, config: dict[str, Any]) -> Any:
    with torch.device("meta"):
        return kind.from_config(config)


def shapes_of(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def rebuilt(stored: dict[str, tuple[int, ...]], unet: dict[str, Any], *, union: bool = False) -> Any:
    """What is built for a file with these weights beside a checkpoint with this UNet."""
    shapes = {ours: stored[whole] for ours, whole in control_names(stored).items()}
    config = control_config(whole_shapes(shapes), union=union)
    assert all(name in config for name in ("block_out_channels", "transformer_layers_per_block"))
    return build_network(from_checkpoint(config, unet), "it"), family_of(config)


@pytest.mark.parametrize("family", PUBLISHED)
def test_a_published_controlnet(family: str) -> None:
    parameters, residuals, config = PUBLISHED[family]
    net = on_meta(ControlNetModel, config)
    stored = shapes_of(original_weights(net))
    assert {
        "input_hint_block.14.weight",
        f"zero_convs.{residuals - 2}.0.weight",
        "middle_block_out.0.bias",
    } < set(stored)
    made, found = rebuilt(stored, dict(net.config))
    assert found == family
    assert shapes_of(made.state_dict()) == shapes_of(net.state_dict())
    if parameters is not None:
        assert sum(weight.numel() for weight in made.parameters()) == parameters


def test_the_published_union_model() -> None:
    config = {**PUBLISHED["sdxl"][2], "conditioning_embedding_out_channels": (16, 32, 96, 256)}
    for types in (6, 8):
        net = on_meta(ControlNetUnionModel, {**config, "num_control_type": types})
        made, found = rebuilt(shapes_of(net.state_dict()), dict(net.config), union=True)
        assert found == "sdxl"
        assert shapes_of(made.state_dict()) == shapes_of(net.state_dict())


@pytest.mark.parametrize(
    ("kind", "channels", "parameters"),
    [
        ("full_adapter", [320, 640, 1280, 1280], 77_369_280),
        ("full_adapter_xl", [320, 640, 1280, 1280], None),
        ("light_adapter", [320, 640, 1280], None),
    ],
)
def test_a_published_adapter(kind: str, channels: list[int], parameters: int | None) -> None:
    config = {
        "in_channels": 3,
        "channels": channels,
        "num_res_blocks": 4 if kind == "light_adapter" else 2,
        "downscale_factor": 16 if kind == "full_adapter_xl" else 8,
        "adapter_type": kind,
    }
    adapter = on_meta(T2IAdapter, config)
    stored = shapes_of(original_adapter_weights(adapter))
    names = adapter_names(stored)
    assert adapter_config({ours: stored[whole] for ours, whole in names.items()}) == config
    assert {ours: stored[whole] for ours, whole in names.items()} == shapes_of(adapter.state_dict())
    if parameters is not None:
        assert sum(weight.numel() for weight in adapter.parameters()) == parameters
