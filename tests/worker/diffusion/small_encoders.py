"""Small random text encoders of the kinds that Stable Diffusion's families have, made by transformers."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.text import ConditioningCache
from easel_worker.diffusion.tokenizer import clip_tokenizer


def small_encoder(width: int, *, layers: int = 3, act: str = "quick_gelu", projection: int = 0) -> Any:
    """A CLIPTextModel; with `projection` one that has a projection of that width."""
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=77,
        hidden_act=act,
        projection_dim=projection or width,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=1 if projection else 49407,
    )
    torch.manual_seed(width)
    module = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "embedding" in name:  # the libraries' start is too small to tell words apart
                weight.mul_(50)
            if "final_layer_norm.bias" in name:
                weight.fill_(0.1)
    return module.eval().requires_grad_(False)


def with_encoders(checkpoint: Checkpoint, first: Any, second: Any = None) -> Checkpoint:
    """The checkpoint with other text encoders, all with CLIP's own tokenizer."""
    return dataclasses.replace(
        checkpoint,
        text_encoder=first,
        tokenizer=clip_tokenizer(),
        text_encoder_2=second,
        tokenizer_2=clip_tokenizer() if second is not None else None,
        conditionings=ConditioningCache(),
    )
