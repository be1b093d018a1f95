"""Prompt -> conditioning: what the UNet attends to.

A text's attention weights are read, its tokens laid out in chunks of 75, each chunk encoded alone between BOS
and EOS, weighted, and the encodings laid end to end along the token axis (77 positions per chunk), as
AUTOMATIC1111 does. With two encoders (SDXL) their features stand side by side.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from easel_worker.diffusion.chunks import CHUNK_TOKENS, COMMA_BACKTRACK, Chunk, TokenSpan, split_chunks
from easel_worker.diffusion.emphasis import Emphasis, weigh
from easel_worker.diffusion.prompts.attention import Span, parse_attention
from easel_worker.diffusion.text_encoders import TextEncoder, text_encoders

if TYPE_CHECKING:
    from easel_worker.diffusion.checkpoint import Checkpoint
    from easel_worker.diffusion.embeddings import Embedding, EmbeddingFolder, StoredEmbedding

_REMEMBERED_BYTES = 64 * 1024**2
"""Encodings that a checkpoint keeps. A chunk of SD 1.5 takes 236 kB in fp32, one of SDXL 315 kB in fp16."""


@dataclass(frozen=True)
class TextOptions:
    """What else decides how a text is encoded; A1111's options of the same meaning.

    clip_skip: CLIP_stop_at_last_layers, 1 is the last layer; SD 2.x and SDXL ignore it. clip_l_skip:
    sdxl_clip_l_skip, SDXL's first encoder heeds it. backtrack: comma_padding_backtrack, in tokens.
    """

    clip_skip: int = 1
    emphasis: Emphasis = "Original"
    backtrack: int = COMMA_BACKTRACK
    clip_l_skip: bool = False


@dataclass(frozen=True, eq=False)
class Encoded:
    """One encoded text, in the checkpoint's dtype, on its device.

    context: (1, 77 * chunks, features). pooled: SDXL's vector of the first chunk, (1, width), None for
    others. embeddings: the textual inversions in the text, in order, for the infotext.
    """

    context: torch.Tensor
    pooled: torch.Tensor | None = None
    embeddings: tuple[Embedding, ...] = ()

    @property
    def chunks(self) -> int:
        """How many chunks of 75 tokens the text has."""
        return self.context.shape[1] // (CHUNK_TOKENS + 2)

    @property
    def nbytes(self) -> int:
        return self.context.nbytes + (0 if self.pooled is None else self.pooled.nbytes)


@dataclass
class ConditioningCache:
    """The encodings used last, of one checkpoint, up to a number of bytes; what was used longest ago goes
    first. The newest stays in any case.

    A key names everything that the encoding depends on beside the checkpoint's own weights.
    """

    max_bytes: int = _REMEMBERED_BYTES
    _entries: OrderedDict[Hashable, Encoded] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def get(self, key: Hashable) -> Encoded | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: Hashable, encoded: Encoded) -> None:
        before = self._entries.pop(key, None)
        self._bytes += encoded.nbytes - (0 if before is None else before.nbytes)
        self._entries[key] = encoded
        while self._bytes > self.max_bytes and len(self._entries) > 1:
            self._bytes -= self._entries.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)


class TextModel:
    """A checkpoint's text side, ready to encode. Cheap to make: one per job.

    embeddings: where textual inversions lie; None for none. bundled: further ones, for this job alone.
    adapters: names what has changed the encoders' weights (LoRAs with their multipliers), so that a cached
    encoding is not taken for another's.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        options: TextOptions = TextOptions(),
        *,
        embeddings: EmbeddingFolder | None = None,
        bundled: Sequence[StoredEmbedding] = (),
        adapters: Hashable = (),
    ) -> None:
        self.options = options
        self.encoders: tuple[TextEncoder, ...] = text_encoders(checkpoint, clip_l_skip=options.clip_l_skip)
        self.embeddings = embeddings.table(self.encoders, bundled) if embeddings else None
        self._dtype = checkpoint.dtype
        self._cache = checkpoint.conditionings
        self._key = (options, self.embeddings.version if self.embeddings else (), adapters)

    def encode(self, text: str, *, negative: bool = False) -> Encoded:
        """Encode a text in which editing and AND are already resolved.

        `negative`: SDXL's empty negative prompt is all zeros, as the model was trained (`force_zero` of
        Stability's configuration). Raises `JobError` for a clip skip beyond the encoder's layers.
        """
        zeros = negative and text == "" and len(self.encoders) > 1
        key = (text, zeros, self._key)
        found = self._cache.get(key)
        if found is None:
            found = self._zeros() if zeros else self._encode(text)
            self._cache.put(key, found)
        return found

    def _zeros(self) -> Encoded:
        like = self.encode("")
        pooled = None if like.pooled is None else torch.zeros_like(like.pooled)
        return Encoded(torch.zeros_like(like.context), pooled)

    def _encode(self, text: str) -> Encoded:
        # All encoders of a checkpoint share one vocabulary.
        first = self.encoders[0]
        chunks = self._chunks(first, text)
        weights = [[1.0, *chunk.weights, *[1.0] * (CHUNK_TOKENS + 1 - len(chunk))] for chunk in chunks]
        features: list[torch.Tensor] = []
        pooled: torch.Tensor | None = None
        for encoder in self.encoders:
            hidden, vector = encoder.encode(chunks, clip_skip=self.options.clip_skip)
            features.append(weigh(hidden, torch.tensor(weights, device=hidden.device), self.options.emphasis))
            pooled = vector if pooled is None else pooled
        joined = torch.cat(features, dim=-1) if len(features) > 1 else features[0]
        used = tuple(embedding for chunk in chunks for _, embedding in chunk.inserts)
        context = joined.reshape(1, -1, joined.shape[-1]).to(self._dtype).contiguous()
        return Encoded(context, pooled, used)

    def _chunks(self, encoder: TextEncoder, text: str) -> list[Chunk]:
        literal = self.options.emphasis == "None"
        spans = [Span(text, 1.0)] if literal else parse_attention(text)
        ids = encoder.tokenize([span.text for span in spans])
        tokens: Sequence[TokenSpan] = [
            TokenSpan(cut=True) if span.is_break and not literal else TokenSpan(own, span.weight)
            for span, own in zip(spans, ids, strict=True)
        ]
        return split_chunks(
            tokens, comma=encoder.comma, embeddings=self.embeddings, backtrack=self.options.backtrack
        )
