"""Modules without weights are built once for each configuration, and each copy stands alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.libraries import UNet2DConditionModel
from easel_worker.diffusion.placing import give
from easel_worker.diffusion.skeletons import build, copy_module

CONFIG: dict[str, Any] = {
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "cross_attention_dim": 8,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}


def filled(seed: int) -> Any:
    unet = build(UNet2DConditionModel, CONFIG, "it")
    generator = torch.Generator().manual_seed(seed)
    give(unet, {n: torch.rand(p.shape, generator=generator) for n, p in unet.named_parameters()})
    return unet.eval()


def test_copies_share_nothing_that_can_be_changed() -> None:
    one, other = filled(1), filled(2)
    assert not {id(inner) for inner in one.modules()} & {id(inner) for inner in other.modules()}
    before = {name: weight.clone() for name, weight in other.state_dict().items()}
    seen: list[str] = []
    one.conv_in.register_forward_hook(lambda *_: seen.append("one"))
    with torch.no_grad():
        one.conv_in.weight.zero_()
    one.conv_in.padding_mode = "circular"

    inputs = (torch.rand(1, 4, 8, 8), torch.tensor(5), torch.rand(1, 2, 8))
    with torch.inference_mode():
        expected = other(*inputs).sample
        one(*inputs)

    assert seen == ["one"]
    assert other.conv_in.padding_mode == "zeros"
    assert all(torch.equal(weight, before[name]) for name, weight in other.state_dict().items())
    plain = UNet2DConditionModel.from_config(CONFIG).eval()
    plain.load_state_dict(before)
    with torch.inference_mode():
        assert torch.equal(plain(*inputs).sample, expected), "a copy computes what a built one does"
    assert build(UNet2DConditionModel, CONFIG, "it").conv_in.weight.is_meta, "none has the skeleton's place"


def test_a_module_in_two_places_is_one_in_the_copy_too() -> None:
    layer = nn.Linear(2, 2)
    copied: Any = copy_module(nn.ModuleDict({"a": layer, "b": layer}), {})
    assert copied["a"] is copied["b"]
    assert copied["a"] is not layer


def test_what_cannot_be_built_is_told_each_time() -> None:
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"^it describes no model"):
            build(UNet2DConditionModel, {**CONFIG, "norm_num_groups": 5}, "it")
