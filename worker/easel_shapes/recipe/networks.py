"""The three networks: Stable Diffusion 1.x's classes and block layout with small widths.

In training the text encoder's table has rows only for the tokens that captions use, and one for all others:
the other 49,000 rows of CLIP's vocabulary would be moved by every optimizer step for nothing. `Vocabulary`
maps between the two, and the export writes the full table, in which all unused tokens share one vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor

from easel_shapes.recipe.captions import caption
from easel_shapes.recipe.data import scene_stream
from easel_worker.diffusion.libraries import (
    AutoencoderKL,
    CLIPTextConfig,
    CLIPTextModel,
    UNet2DConditionModel,
)
from easel_worker.diffusion.tokenizer import MAX_LENGTH, clip_tokenizer

SCALING_FACTOR = 0.18215  # Stable Diffusion 1.x's; `train_vae.whiten` makes it true for this VAE
CLIP_TOKENS = 49408
_END = CLIP_TOKENS - 1
_TEXT_WIDTH = 96
_CAPTIONS_READ = 6000  # every word of the wordings occurs many times among them

VAE_CONFIG: MappingProxyType[str, Any] = MappingProxyType(
    {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [16, 32, 64, 64],
        "layers_per_block": 1,
        "latent_channels": 4,
        # Fewer than 8 channels in a group normalise the colour away, and training stalls.
        "norm_num_groups": 2,
        "sample_size": 128,
        "scaling_factor": SCALING_FACTOR,
    }
)
UNET_CONFIG: MappingProxyType[str, Any] = MappingProxyType(
    {
        "sample_size": 16,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "block_out_channels": [64, 80, 96, 96],
        "layers_per_block": 1,
        "cross_attention_dim": _TEXT_WIDTH,
        # The number of heads, as in Stable Diffusion 1.x's own configuration. Their softmax is what a step
        # on a CPU spends most time on.
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    }
)
TEXT_CONFIG: MappingProxyType[str, Any] = MappingProxyType(
    {
        "vocab_size": CLIP_TOKENS,
        "hidden_size": _TEXT_WIDTH,
        "intermediate_size": 4 * _TEXT_WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_LENGTH,
        "hidden_act": "quick_gelu",
        "projection_dim": _TEXT_WIDTH,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 49407,
    }
)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that captions use. Row i of the training table is CLIP's token `tokens[i]`; the row after
    the last stands for every other token."""

    tokens: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Rows of the training table."""
        return len(self.tokens) + 1

    @property
    def unknown(self) -> int:
        """The row of all tokens that captions never use."""
        return len(self.tokens)

    @property
    def end(self) -> int:
        """The row of the token that ends a text and fills what is left of its 77 places."""
        return self.tokens.index(_END)

    def row_of(self) -> torch.Tensor:
        """CLIP token id -> row: (49408,) int64."""
        rows = torch.full((CLIP_TOKENS,), self.unknown)
        rows[torch.tensor(self.tokens)] = torch.arange(len(self.tokens))
        return rows


class PromptReader:
    """Captions -> rows of the training table, as Easel's prompt encoder lays them out."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokenizer = clip_tokenizer()
        self._row_of = vocabulary.row_of()

    def __call__(self, captions: list[str]) -> torch.Tensor:
        """(len(captions), 77) int64: begin, the words, end, padding."""
        tokens = self._tokenizer(captions, padding="max_length", truncation=True).input_ids
        return self._row_of[torch.tensor(tokens)]


def find_vocabulary() -> Vocabulary:
    """The tokens of the captions that the wordings can make; the same on every machine."""
    tokenizer = clip_tokenizer()
    rng = Random(0)  # noqa: S311 - captions are no secrets
    stream = scene_stream(0, 128, 128)
    captions = [caption(next(stream), rng) for _ in range(_CAPTIONS_READ)]
    used = {token for tokens in tokenizer(captions).input_ids for token in tokens}
    return Vocabulary(tuple(sorted(used)))


def build_vae() -> Any:
    """An untrained `AutoencoderKL`."""
    return AutoencoderKL.from_config(dict(VAE_CONFIG))


def build_unet(*, training: bool = False) -> Any:
    """An untrained `UNet2DConditionModel`; for training with plain attention."""
    unet = UNet2DConditionModel.from_config(dict(UNET_CONFIG))
    if training:
        # On a CPU the backward pass of torch's fused attention takes longer than all convolutions together.
        unet.set_attn_processor(AttnProcessor())
    return unet


def build_text_encoder(rows: int = CLIP_TOKENS) -> Any:
    """An untrained `CLIPTextModel` whose table has `rows` rows."""
    config = CLIPTextConfig(**{**TEXT_CONFIG, "vocab_size": rows}, attn_implementation="eager")
    if rows != CLIP_TOKENS:
        # Only the pooled output, which Stable Diffusion does not use, looks for these ids.
        config.bos_token_id = config.eos_token_id = config.pad_token_id = rows - 2
    encoder = CLIPTextModel(config)
    # CLIP starts at 0.02, for months of training; a few thousand steps need words that differ from the start.
    torch.nn.init.normal_(encoder.embeddings.token_embedding.weight, std=0.3)
    torch.nn.init.normal_(encoder.embeddings.position_embedding.weight, std=0.1)
    return encoder
