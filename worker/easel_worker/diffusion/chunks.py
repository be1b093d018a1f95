"""Tokens -> chunks of 75: what a CLIP text encoder reads at once, between BOS and EOS.

Plain lists, no torch. A textual inversion embedding takes as many places as it has vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from easel_worker.diffusion.embeddings import Embedding, EmbeddingTable

CHUNK_TOKENS = 75
COMMA_BACKTRACK = 20
"""Default of A1111's option comma_padding_backtrack: a full chunk hands the tokens after its last comma to
the next one if they are at most this many, so that a phrase is not torn apart. 0 turns that off."""

PLACEHOLDER = 0
"""Stands in a chunk where an embedding's vectors go; any id that is not EOS would do."""


@dataclass(frozen=True)
class TokenSpan:
    """A text's token ids, without BOS and EOS, and their weight. A `cut` has no tokens: it ends the chunk."""

    ids: Sequence[int] = ()
    weight: float = 1.0
    cut: bool = False


@dataclass
class Chunk:
    """At most 75 token ids, a weight for each, and the embeddings that replace placeholders, by place."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    inserts: list[tuple[int, Embedding]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def split(self, place: int) -> Chunk:
        """Cut off and return what stands from `place` on."""
        rest = Chunk(
            self.ids[place:],
            self.weights[place:],
            [(at - place, embedding) for at, embedding in self.inserts if at >= place],
        )
        del self.ids[place:], self.weights[place:]
        self.inserts = [(at, embedding) for at, embedding in self.inserts if at < place]
        return rest


def split_chunks(
    spans: Iterable[TokenSpan],
    *,
    comma: int | None,
    embeddings: EmbeddingTable | None = None,
    backtrack: int = COMMA_BACKTRACK,
) -> list[Chunk]:
    """Distribute tokens over chunks; at least one, maybe empty.

    `comma` is the id of the token "," (None: this vocabulary has none, cut anywhere). Names of `embeddings`
    among the tokens of one span are replaced by placeholders; an embedding never straddles two chunks.
    """
    chunks = [Chunk()]
    last_comma = -1
    for span in spans:
        if span.cut:
            chunks.append(Chunk())
            last_comma = -1
            continue
        place = 0
        while place < len(span.ids):
            chunk, token = chunks[-1], span.ids[place]
            if token == comma:
                last_comma = len(chunk)
            elif len(chunk) == CHUNK_TOKENS and last_comma >= 0 and len(chunk) - last_comma <= backtrack:
                chunks.append(chunk.split(last_comma + 1))
                last_comma = -1
            if len(chunks[-1]) == CHUNK_TOKENS:
                chunks.append(Chunk())
                last_comma = -1
            found = embeddings.find(span.ids, place) if embeddings else None
            if found is None:
                chunks[-1].ids.append(token)
                chunks[-1].weights.append(span.weight)
                place += 1
                continue
            embedding, length = found
            if len(chunks[-1]) + embedding.count > CHUNK_TOKENS:
                chunks.append(Chunk())
                last_comma = -1
            chunk = chunks[-1]
            chunk.inserts.append((len(chunk), embedding))
            chunk.ids += [PLACEHOLDER] * embedding.count
            chunk.weights += [span.weight] * embedding.count
            place += length
    # A cut at the very end begins no chunk of its own.
    if len(chunks) > 1 and not chunks[-1].ids:
        chunks.pop()
    return chunks
