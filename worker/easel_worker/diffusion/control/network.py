"""ControlNets and union models: the copied half of the UNet with a hint added, step by step.

Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models". The forward pass is
diffusers' (`models/controlnets/controlnet.py`) in two halves: what depends on the hint alone is computed once
per pass, what depends on the latent at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from easel_worker.diffusion.control.args import UNION_TYPES, UNKNOWN
from easel_worker.diffusion.control.config import from_checkpoint
from easel_worker.diffusion.control.model import Attached, ControlModel, compare, fill
from easel_worker.diffusion.libraries import ControlNetModel, ControlNetUnionModel
from easel_worker.diffusion.skeletons import build


class Network(Attached):
    """A ControlNet beside a UNet: diffusers' `ControlNetModel` or `ControlNetUnionModel`."""

    def __init__(self, module: Any, config: Mapping[str, Any]) -> None:
        self.module: Any = module
        self.pooled = bool(config.get("global_pool_conditions"))
        self._flips = config.get("controlnet_conditioning_channel_order") == "bgr"
        self._types: int | None = config.get("num_control_type")

    def control_type(self, name: str) -> int | None:
        """The place of a union model's control type; None for "Unknown", the only one that others have.

        Raises:
            ValueError: the model knows no such type.
        """
        if self._types is None or name == UNKNOWN:
            return None
        known = UNION_TYPES[: self._types]
        if name not in known:
            raise ValueError(f"{name!r} is unknown to this model, use one of {', '.join((*known, UNKNOWN))}")
        return known.index(name)

    def embed_hint(self, hint: torch.Tensor, control_type: int | None) -> torch.Tensor:
        """What is added to the latents' features: (n, 3, H, W) -> (n, channels, H / 8, W / 8)."""
        net = self.module
        embedded: torch.Tensor = net.controlnet_cond_embedding(hint.flip(1) if self._flips else hint)
        if control_type is None:
            return embedded
        # The published code attends over the batch, whose rows of one picture all hold the same vector: so
        # each attends to itself. Computed that way, the pictures of a batch do not see each other.
        token = embedded.mean(dim=(2, 3)) + net.task_embedding[control_type]
        for layer in net.transformer_layes:
            token = token + _values(layer.attn, layer.ln_1(token))
            token = token + layer.mlp(layer.ln_2(token))
        return torch.add(embedded, net.spatial_ch_projs(token)[:, :, None, None])

    def embed_extras(
        self,
        added: Mapping[str, torch.Tensor] | None,
        control_type: int | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> torch.Tensor | None:
        """What is added to the time's embedding at every step: SDXL's sizes and pooled text, a union model's
        control type."""
        net, extras = self.module, None
        if self._types is not None:
            types = torch.zeros(self._types, device=device)
            if control_type is not None:
                types[control_type] = 1.0
            extras = net.control_add_embedding(net.control_type_proj(types).reshape(1, -1).to(dtype))
        if added is not None:
            text = added["text_embeds"]
            sizes = net.add_time_proj(added["time_ids"].flatten()).reshape(len(text), -1)
            sizes = net.add_embedding(torch.cat([text, sizes.to(text.dtype)], dim=-1).to(dtype))
            extras = sizes if extras is None else extras + sizes
        return extras

    def residuals(
        self,
        sample: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor,
        hint: torch.Tensor,
        extras: torch.Tensor | None,
    ) -> list[torch.Tensor]:
        """One tensor per skip connection of the UNet and, last, the middle block's; all are new.

        Args:
            sample: Scaled latents, (rows, 4, h, w).
            timesteps: (rows,).
            context: (rows, tokens, features).
            hint: Of `embed_hint`, with 1 or as many rows.
            extras: Of `embed_extras`, likewise.
        """
        net = self.module
        time = net.time_embedding(net.time_proj(timesteps).to(sample.dtype))
        if extras is not None:
            time = time + extras
        x = net.conv_in(sample) + hint
        skips = [x]
        for block in net.down_blocks:
            if getattr(block, "has_cross_attention", False):
                x, more = block(hidden_states=x, temb=time, encoder_hidden_states=context)
            else:
                x, more = block(hidden_states=x, temb=time)
            skips += more
        if getattr(net.mid_block, "has_cross_attention", False):
            x = net.mid_block(x, time, encoder_hidden_states=context)
        else:
            x = net.mid_block(x, time)
        found = [out(skip) for out, skip in zip(net.controlnet_down_blocks, skips, strict=True)]
        return [*found, net.controlnet_mid_block(x)]


def _values(attention: nn.MultiheadAttention, x: torch.Tensor) -> torch.Tensor:
    """Attention of each vector to itself: its values, projected."""
    width = attention.embed_dim
    values = functional.linear(x, attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    return functional.linear(values, attention.out_proj.weight, attention.out_proj.bias)


_SHARED = ("block_out_channels", "layers_per_block", "projection_class_embeddings_input_dim")


def build_network(config: Mapping[str, Any], where: str) -> Any:
    """diffusers' module on the meta device. Raises `CheckpointError`, which begins with `where`."""
    kind = ControlNetUnionModel if "num_control_type" in config else ControlNetModel
    return build(kind, config, where)


def misfit_of(model: ControlModel, unet: Any) -> str | None:
    """`ControlModel.misfit` of networks that are shaped as half a UNet."""
    # One without attention to the text fits any text.
    names = (*_SHARED, "cross_attention_dim") if "cross_attention_dim" in model.config else _SHARED
    return compare(model, {name: model.config.get(name) for name in names}, unet)


@dataclass(eq=False)
class ControlNet(ControlModel):
    """A whole ControlNet, or a union model: one for several kinds of hints (xinsir/ControlNetPlus)."""

    _built: tuple[dict[str, Any], Network] | None = field(default=None, init=False)

    def rebind(self) -> None:
        if self._built is not None:
            fill(self._built[1].module, self.weights, self.name)

    def misfit(self, unet: Any) -> str | None:
        return misfit_of(self, unet)

    def attach(self, unet: Any) -> Network:
        config = from_checkpoint(self.config, unet.config)
        if self._built is None or self._built[0] != config:
            self._built = (
                config,
                Network(fill(build_network(config, self.name), self.weights, self.name), config),
            )
        return self._built[1]
