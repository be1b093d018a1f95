"""Layouts of the published UNets, which files and requests count in."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from easel_worker.diffusion.attention.layers import find_layout

SD1 = {
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SDXL = {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True,
}


@pytest.mark.parametrize(
    ("config", "numbers", "outputs", "layers"),
    [
        (SD1, [1, 2, 4, 5, 7, 8, 12, 8, 7, 6, 5, 4, 3, 2, 1, 0], 13, 16),
        (SDXL, [4, 5, 7, 8, 9, 8, 7, 6, 5, 4, 3], 10, 70),
    ],
)
def test_transformers_of_the_published_models(
    config: dict[str, object], numbers: list[int], outputs: int, layers: int
) -> None:
    """As many weights as clients send, 16 and 11; blocks numbered as ControlNet's outputs, 13 and 10."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    layout = find_layout(unet)
    assert [transformer.number for transformer in layout.transformers] == numbers
    assert layout.outputs == outputs
    assert len(layout.as_filed) == layers
    filed = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    names = {id(module): name for name, module in unet.named_modules()}
    assert [f"{names[id(attention)]}.processor" for _, attention in layout.as_filed] == filed
