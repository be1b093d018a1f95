"""CLIP text encoders, and how the families of Stable Diffusion read them.

| model | encoder | hidden state | final norm | pads with | clip skip |
|---|---|---|---|---|---|
| SD 1.x | CLIP ViT-L | last | yes | EOS | yes |
| SD 2.x | OpenCLIP ViT-H | last but one | yes | 0 | no |
| SDXL | CLIP ViT-L and OpenCLIP ViT-bigG, side by side | last but one | no | EOS; 0 | ViT-L, by an option |
| SDXL refiner | OpenCLIP ViT-bigG | last but one | no | 0 | no |

ViT-bigG also gives the pooled vector, which SDXL's UNet takes beside the context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from easel_worker.diffusion.chunks import CHUNK_TOKENS, Chunk
from easel_worker.diffusion.errors import JobError

if TYPE_CHECKING:
    from easel_worker.diffusion.checkpoint import Checkpoint

Role = Literal["clip", "clip_l", "clip_g"]
"""Which of an embedding file's tensors is for this encoder: "clip" is the only encoder of SD 1.x and 2.x."""

_OPENCLIP_PAD = 0
_VIT_H_LAYERS = 24


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """One text encoder of a checkpoint.

    module: a transformers CLIPTextModel, or CLIPTextModelWithProjection where `pooled`. depth: the hidden
    state that is taken, counted from the end; 1 is the last layer's. norm: whether the final layer norm
    follows. skips: whether clip skip N takes the Nth state from the end instead. pad: the id that fills a
    chunk behind EOS.
    """

    role: Role
    module: Any
    tokenizer: Any
    pad: int
    depth: int = 1
    norm: bool = True
    skips: bool = True
    pooled: bool = False

    @property
    def width(self) -> int:
        """Numbers per token: 768 for ViT-L, 1024 for ViT-H, 1280 for ViT-bigG."""
        return int(self.module.config.hidden_size)

    @property
    def comma(self) -> int | None:
        """The id of the token ",", None where the vocabulary has none."""
        comma: int = self.tokenizer.convert_tokens_to_ids(",</w>")
        return None if comma == self.tokenizer.unk_token_id else comma

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without BOS and EOS, of any length."""
        ids: list[list[int]] = self.tokenizer(
            list(texts), add_special_tokens=False, truncation=False, verbose=False
        ).input_ids
        return ids

    def encode(
        self, chunks: Sequence[Chunk], *, clip_skip: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Each chunk's hidden states, (chunks, 77, width), and the first one's pooled vector, (1, width).

        Raises `JobError` for a clip skip beyond the encoder's layers.
        """
        depth = self._depth(clip_skip)
        device = self.module.device
        ids = torch.tensor([self._row(chunk) for chunk in chunks], device=device)
        with _inserting(self, chunks):
            output = self.module(ids, output_hidden_states=depth > 1 or not self.norm)
        if depth == 1 and self.norm:
            hidden: torch.Tensor = output.last_hidden_state
        else:
            # hidden_states ends with the last layer's output before the final norm.
            hidden = output.hidden_states[-depth]
            if self.norm:
                hidden = self.inner.final_layer_norm(hidden)
        return hidden, output.text_embeds[:1] if self.pooled else None

    @property
    def inner(self) -> Any:
        """The CLIPTextModel itself."""
        return self.module.text_model if self.pooled else self.module

    def _depth(self, clip_skip: int) -> int:
        if not self.skips:
            return self.depth
        layers = self.module.config.num_hidden_layers
        if not 1 <= clip_skip <= layers:
            raise JobError(
                f"clip_skip: {clip_skip} should be 1 to {layers}, the layers of this model's text encoder"
            )
        return clip_skip

    def _row(self, chunk: Chunk) -> list[int]:
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        return [begin, *chunk.ids, end, *[self.pad] * (CHUNK_TOKENS - len(chunk))]


def text_encoders(checkpoint: Checkpoint, *, clip_l_skip: bool = False) -> tuple[TextEncoder, ...]:
    """A checkpoint's encoders as its family reads them, in the order of the context's features.

    clip_l_skip: A1111's option sdxl_clip_l_skip: clip skip acts on SDXL's ViT-L too.
    """
    first, second = checkpoint.text_encoder, checkpoint.text_encoder_2
    if second is not None:
        return (
            TextEncoder(
                "clip_l",
                first,
                checkpoint.tokenizer,
                checkpoint.tokenizer.eos_token_id,
                depth=2,
                norm=False,
                skips=clip_l_skip,
            ),
            _big_g(second, checkpoint.tokenizer_2),
        )
    if hasattr(first, "text_projection"):
        return (_big_g(first, checkpoint.tokenizer),)
    # OpenCLIP's networks use the exact GELU, OpenAI's its quick approximation.
    if first.config.hidden_act == "gelu":
        # diffusers' folders of SD 2.x leave the last layer out, so that the last is the last but one.
        depth = 2 if first.config.num_hidden_layers >= _VIT_H_LAYERS else 1
        return (TextEncoder("clip", first, checkpoint.tokenizer, _OPENCLIP_PAD, depth=depth, skips=False),)
    return (TextEncoder("clip", first, checkpoint.tokenizer, checkpoint.tokenizer.pad_token_id),)


def _big_g(module: Any, tokenizer: Any) -> TextEncoder:
    return TextEncoder(
        "clip_g", module, tokenizer, _OPENCLIP_PAD, depth=2, norm=False, skips=False, pooled=True
    )


@contextmanager
def _inserting(encoder: TextEncoder, chunks: Sequence[Chunk]) -> Iterator[None]:
    """Put embeddings' vectors where the encoder looks up the placeholders of `chunks`."""
    # Behind BOS, so one place further than in the chunk.
    places = [
        (row, place + 1, embedding.vectors[encoder.role])
        for row, chunk in enumerate(chunks)
        for place, embedding in chunk.inserts
    ]
    if not places:
        yield
        return

    def insert(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        looked_up = output.clone()
        for row, place, vectors in places:
            looked_up[row, place : place + len(vectors)] = vectors.to(output)
        return looked_up

    hook = encoder.inner.embeddings.token_embedding.register_forward_hook(insert)
    try:
        yield
    finally:
        hook.remove()
