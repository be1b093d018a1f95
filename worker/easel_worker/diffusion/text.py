"""Prompt -> conditioning: what the UNet attends to.

A prompt of any length is cut into chunks of 75 tokens; each is encoded alone between BOS and EOS, and the
encodings are laid end to end along the token axis (77 positions per chunk), as AUTOMATIC1111 does.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from easel_worker.diffusion.errors import JobError

if TYPE_CHECKING:
    from easel_worker.diffusion.checkpoint import Checkpoint

CHUNK_TOKENS = 75
# A full chunk hands the words after its last comma to the next one if they are at most this many tokens
# (A1111's option comma_padding_backtrack, default 20), so that a phrase is not torn apart.
COMMA_BACKTRACK = 20
_REMEMBERED = 64  # encodings; a chunk of SD 1.5 takes 236 kB in fp32


@dataclass
class ConditioningCache:
    """The encodings used last, by (prompt, clip skip). One checkpoint's; least recently used goes first."""

    size: int = _REMEMBERED
    _entries: OrderedDict[tuple[str, int], torch.Tensor] = field(default_factory=OrderedDict)

    def get(self, prompt: str, clip_skip: int) -> torch.Tensor | None:
        found = self._entries.get((prompt, clip_skip))
        if found is not None:
            self._entries.move_to_end((prompt, clip_skip))
        return found

    def put(self, prompt: str, clip_skip: int, encoded: torch.Tensor) -> None:
        self._entries[prompt, clip_skip] = encoded
        self._entries.move_to_end((prompt, clip_skip))
        while len(self._entries) > self.size:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)


def split_chunks(tokens: list[int], comma: int | None) -> list[list[int]]:
    """Cut token ids (no BOS or EOS among them) into chunks of at most 75; at least one, maybe empty.

    `comma` is the id of the token "," (None: this vocabulary has none, cut anywhere).
    """
    chunks: list[list[int]] = []
    rest = tokens
    while len(rest) > CHUNK_TOKENS:
        cut = CHUNK_TOKENS
        # The overflowing token itself being a comma means that the phrase just fits.
        if comma is not None and rest[cut] != comma:
            nearest = CHUNK_TOKENS - COMMA_BACKTRACK
            commas = [place for place in range(nearest, CHUNK_TOKENS) if rest[place] == comma]
            cut = commas[-1] + 1 if commas else cut
        chunks.append(rest[:cut])
        rest = rest[cut:]
    return [*chunks, rest]


def encode_prompt(checkpoint: Checkpoint, prompt: str, clip_skip: int = 1) -> torch.Tensor:
    """The conditioning of one prompt: (1, 77 * chunks, width), in the checkpoint's dtype, on its device.

    `clip_skip` N takes the text encoder's Nth hidden state from the end, then its final layer norm: 1 is the
    usual output. Raises `JobError` where the encoder has fewer layers.
    """
    remembered = checkpoint.conditionings.get(prompt, clip_skip)
    if remembered is not None:
        return remembered
    layers = checkpoint.text_encoder.config.num_hidden_layers
    if not 1 <= clip_skip <= layers:
        raise JobError(
            f"clip_skip: {clip_skip} should be 1 to {layers}, the layers of this model's text encoder"
        )
    tokenizer = checkpoint.tokenizer
    tokens = tokenizer(prompt, add_special_tokens=False, truncation=False, verbose=False).input_ids
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    chunks = split_chunks(tokens, None if comma == tokenizer.unk_token_id else comma)
    begin, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    rows = [[begin, *chunk, end, *[pad] * (CHUNK_TOKENS - len(chunk))] for chunk in chunks]
    encoded = _encode_rows(checkpoint, rows, clip_skip)
    conditioning = encoded.reshape(1, -1, encoded.shape[-1])
    checkpoint.conditionings.put(prompt, clip_skip, conditioning)
    return conditioning


def encode_pair(
    checkpoint: Checkpoint, prompt: str, negative_prompt: str, clip_skip: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both prompts' conditionings, the shorter one filled with empty chunks to the longer one's length.

    Equal lengths let the UNet take both in one forward pass. The length depends on these two prompts only,
    never on other images of a batch.
    """
    positive = encode_prompt(checkpoint, prompt, clip_skip)
    negative = encode_prompt(checkpoint, negative_prompt, clip_skip)
    length = max(positive.shape[1], negative.shape[1])
    return _fill(checkpoint, positive, length, clip_skip), _fill(checkpoint, negative, length, clip_skip)


def _fill(checkpoint: Checkpoint, conditioning: torch.Tensor, length: int, clip_skip: int) -> torch.Tensor:
    lacking = length - conditioning.shape[1]
    if not lacking:
        return conditioning
    empty = encode_prompt(checkpoint, "", clip_skip)
    return torch.cat([conditioning, empty.repeat(1, lacking // empty.shape[1], 1)], dim=1)


def _encode_rows(checkpoint: Checkpoint, rows: list[list[int]], clip_skip: int) -> torch.Tensor:
    encoder = checkpoint.text_encoder
    output = encoder(torch.tensor(rows, device=checkpoint.device), output_hidden_states=clip_skip > 1)
    encoded: torch.Tensor = output.last_hidden_state
    if clip_skip > 1:
        # hidden_states ends with the last layer's output before the final norm.
        encoded = encoder.final_layer_norm(output.hidden_states[-clip_skip])
    return encoded
