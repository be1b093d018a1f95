"""The published models' sizes, seen in nothing but names and shapes: the same UNets are built as by their
folders' configurations."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from easel_shapes.single_file import unet_name
from easel_worker.diffusion.parts import build_text_encoder, build_unet
from easel_worker.diffusion.single_file.families import SD1, SD2, SDXL, SDXL_REFINER, Family
from easel_worker.diffusion.single_file.ldm_text import text_config
from easel_worker.diffusion.single_file.ldm_unet import unet_config, unet_sources

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"


@dataclasses.dataclass(frozen=True)
class Published:
    """A UNet's configuration as its folder on the hub has it, and how many parameters it is known to have."""

    family: Family
    parameters: int | None
    down: tuple[str, ...]
    config: dict[str, Any]
    pooled: int = 0


TOLD = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "use_linear_projection": True}
PUBLISHED = {
    "SD 1.5": Published(
        SD1,
        859_520_964,
        (CROSS, CROSS, CROSS, PLAIN),
        {
            "block_out_channels": [320, 640, 1280, 1280],
            "attention_head_dim": 8,
            "cross_attention_dim": 768,
        },
    ),
    "SD 2.1": Published(
        SD2,
        865_910_724,
        (CROSS, CROSS, CROSS, PLAIN),
        {
            "block_out_channels": [320, 640, 1280, 1280],
            "attention_head_dim": [5, 10, 20, 20],
            "cross_attention_dim": 1024,
            "use_linear_projection": True,
        },
    ),
    "SDXL": Published(
        SDXL,
        2_567_463_684,
        (PLAIN, CROSS, CROSS),
        {
            **TOLD,
            "block_out_channels": [320, 640, 1280],
            "attention_head_dim": [5, 10, 20],
            "cross_attention_dim": 2048,
            "transformer_layers_per_block": [1, 2, 10],
            "projection_class_embeddings_input_dim": 2816,
        },
        pooled=1280,
    ),
    "SDXL refiner": Published(
        SDXL_REFINER,
        None,
        (PLAIN, CROSS, CROSS, PLAIN),
        {
            **TOLD,
            "block_out_channels": [384, 768, 1536, 1536],
            "attention_head_dim": [6, 12, 24, 24],
            "cross_attention_dim": 1280,
            "transformer_layers_per_block": 4,
            "projection_class_embeddings_input_dim": 2560,
        },
        pooled=1280,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_unet_is_built_as_its_folder_says(name: str) -> None:
    published = PUBLISHED[name]
    up = [kind.replace("Down", "Up") for kind in reversed(published.down)]
    layout = {"down_block_types": list(published.down), "up_block_types": up, "layers_per_block": 2}
    with torch.device("meta"):
        original = UNet2DConditionModel.from_config({**published.config, **layout})
    shapes = {}
    for ours, tensor in original.state_dict().items():
        told = ours.replace("add_embedding.linear_1", "label_emb.0.0")
        told = told.replace("add_embedding.linear_2", "label_emb.0.2")
        shapes[told if told != ours else unet_name(ours, layout)] = tuple(tensor.shape)
    found = unet_config(shapes, published.family, published.pooled, {})
    built = build_unet(found, name)
    assert {n: t.shape for n, t in built.state_dict().items()} == {
        n: t.shape for n, t in original.state_dict().items()
    }
    assert unet_sources(shapes).keys() == built.state_dict().keys()
    if published.parameters is not None:
        assert sum(parameter.numel() for parameter in built.parameters()) == published.parameters
    heads = [[m.heads for m in unet.modules() if hasattr(m, "heads")] for unet in (built, original)]
    assert heads[0] == heads[1]
    for key in ("addition_embed_type", "addition_time_embed_dim", "projection_class_embeddings_input_dim"):
        assert getattr(built.config, key) == getattr(original.config, key)


def test_the_published_openclip_encoders() -> None:
    """ViT-H of SD 2.x (without its last layer) and ViT-bigG of SDXL: layers, heads, parameters."""
    for family, width, layers, sizes in ((SD2, 1024, 24, (23, 16)), (SDXL, 1280, 32, (32, 20))):
        place = family.encoders[-1]
        shapes: dict[str, tuple[int, ...]] = {
            "token_embedding.weight": (49408, width),
            "positional_embedding": (77, width),
            "text_projection": (width, width),
        }
        for layer in range(layers):
            shapes[f"transformer.resblocks.{layer}.mlp.c_fc.weight"] = (4 * width, width)
        config = text_config(shapes, place, {})
        assert (config["num_hidden_layers"], config["num_attention_heads"]) == sizes
        assert config["hidden_act"] == "gelu"
        encoder = build_text_encoder(config, "it")
        counted = sum(parameter.numel() for parameter in encoder.parameters())
        assert counted == {1024: 340_387_840, 1280: 694_659_840}[width]
