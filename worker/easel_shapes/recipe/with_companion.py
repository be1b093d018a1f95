"""The model with a companion built in, for the judge: the plainest way, beside which the worker's own can be
held."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from numpy.typing import NDArray

from easel_shapes.recipe.companion_files import merge_control_lora, split_kohya
from easel_shapes.recipe.train_control import HINT_CHANNELS
from easel_worker.diffusion.checkpoint import Checkpoint


class _Outlined(torch.nn.Module):
    """A UNet that a ControlNet leads along one outline."""

    def __init__(self, unet: Any, network: Any, hint: torch.Tensor, weight: float) -> None:
        super().__init__()
        self.unet, self.network = unet, network
        self.hint, self.weight = hint, weight

    @property
    def config(self) -> Any:
        """The UNet's."""
        return self.unet.config

    def forward(
        self, sample: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor, **more: Any
    ) -> Any:
        hint = self.hint.expand(len(sample), -1, -1, -1)
        down, middle = self.network(
            sample,
            timesteps,
            context,
            controlnet_cond=hint,
            conditioning_scale=self.weight,
            return_dict=False,
        )
        return self.unet(
            sample,
            timesteps,
            context,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            **more,
        )


def with_control(
    checkpoint: Checkpoint, file: Path, outline: NDArray[Any], *, weight: float = 1.0
) -> Checkpoint:
    """The checkpoint led along `outline`, (height, width) of 0 to 255, by a control-LoRA."""
    unet = checkpoint.unet
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINT_CHANNELS)
    network.load_state_dict(merge_control_lora(file, unet.state_dict()))
    network.to(checkpoint.device, checkpoint.dtype).eval()
    hint = torch.from_numpy(outline.copy()).to(checkpoint.device, checkpoint.dtype) / 255
    led = _Outlined(unet, network, hint[None, None].expand(1, 3, -1, -1), weight)
    return dataclasses.replace(checkpoint, unet=led)


def with_lora(checkpoint: Checkpoint, file: Path, *, weight: float = 1.0) -> Checkpoint:
    """The checkpoint with a LoRA of the UNet added into a copy of its weights."""
    unet = copy.deepcopy(checkpoint.unet)
    modules = {name.replace(".", "_"): module for name, module in unet.named_modules()}
    with torch.no_grad():
        for name, difference in split_kohya(file).items():
            tensor = modules[name].weight
            tensor += weight * difference.to(tensor).view_as(tensor)
    return dataclasses.replace(checkpoint, unet=unet)
