"""Prompts -> what every model call of a pass attends to.

Each image of a batch has a positive prompt, in parts joined by AND, and a negative one. Every text may change
while the picture forms, so each is a row of phases.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.prompts.composition import split_parts
from easel_worker.diffusion.prompts.editing import PromptSteps, schedule
from easel_worker.diffusion.text import Encoded, TextModel

if TYPE_CHECKING:
    from easel_worker.diffusion.embeddings import Embedding

MAX_PARTS = 32
"""Prompts joined by AND in one picture. Each costs a pass through the UNet at every step."""

MAX_CHUNKS = 1024
"""Chunks that all texts of a batch may have together, and that one image's parts may fill; a quarter of a
gigabyte in fp32 for SD 1.5. A long prompt that is another text at every step would ask for any amount."""


@dataclass(frozen=True, eq=False)
class Phases:
    """One text as it changes: `encoded[i]` acts up to and including call `untils[i]`, the last to the end."""

    untils: tuple[int, ...]
    encoded: tuple[Encoded, ...]

    def at(self, call: int) -> Encoded:
        """What acts in a model call counted from 0: the first phase whose until is `call` or more."""
        return self.encoded[min(bisect_left(self.untils, call), len(self.encoded) - 1)]


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """What one image attends to: weighted positive parts, and the negative prompt."""

    parts: tuple[tuple[float, Phases], ...]
    negative: Phases

    @property
    def chunks(self) -> int:
        """Chunks of the parts' contexts, each as long as the longest."""
        longest = max(encoded.chunks for _, phases in self.parts for encoded in phases.encoded)
        return longest * len(self.parts)

    @property
    def total_weight(self) -> float:
        """Sum of the parts' weights; at 1 and guidance scale 1 the negative prompt has no say."""
        return sum(weight for weight, _ in self.parts)


@dataclass(frozen=True)
class Moment:
    """What acts in one model call: for each image its parts with their weights, and its negative.

    Two moments are equal where the same encodings act, so that what is made of one can be used again.
    """

    parts: tuple[tuple[tuple[float, Encoded], ...], ...]
    negatives: tuple[Encoded, ...]


class Conditioning:
    """The prompts of a batch, by model call. `images` has one entry per image."""

    def __init__(self, images: Sequence[ImagePrompt]) -> None:
        if not images:
            raise JobError("prompt: at least one is needed, one per image")
        self.images = tuple(images)
        phases = [phases for image in images for phases in (image.negative, *(p for _, p in image.parts))]
        # Between two of these nothing changes.
        self._boundaries = sorted({until for phase in phases for until in phase.untils})
        self._moments: dict[int, Moment] = {}
        self.embeddings = _used(phases)

    def __len__(self) -> int:
        return len(self.images)

    def at(self, call: int) -> Moment:
        """What acts in a model call counted from 0. The same object for as long as nothing changes."""
        place = min(bisect_left(self._boundaries, call), len(self._boundaries) - 1)
        found = self._moments.get(place)
        if found is None:
            until = self._boundaries[place]
            found = Moment(
                tuple(tuple((weight, p.at(until)) for weight, p in image.parts) for image in self.images),
                tuple(image.negative.at(until) for image in self.images),
            )
            self._moments[place] = found
        return found


def make_conditioning(
    text: TextModel, prompts: Sequence[str], negative_prompts: Sequence[str], steps: PromptSteps
) -> Conditioning:
    """Read and encode the prompts of a batch, one of each kind per image.

    Styles, comments and extra networks are already taken care of. The negative prompt is one text: AND in it
    is a word. Texts that occur more than once are encoded once.

    Raises:
        JobError: more than MAX_PARTS prompts joined by AND, more than MAX_CHUNKS chunks, or a clip skip
            beyond the encoder's layers.
    """
    reader = _Reader(text, steps)
    images = []
    for prompt, negative_prompt in zip(prompts, negative_prompts, strict=True):
        parts = split_parts(prompt)
        if len(parts) > MAX_PARTS:
            raise JobError(f"prompt: {len(parts)} prompts are joined by AND; at most {MAX_PARTS}")
        image = ImagePrompt(
            tuple((part.weight, reader.phases(part.text)) for part in parts),
            reader.phases(negative_prompt, negative=True),
        )
        if image.chunks > MAX_CHUNKS:
            raise _too_long()
        images.append(image)
    return Conditioning(images)


class _Reader:
    """Encodes each text of a batch once, and counts."""

    def __init__(self, text: TextModel, steps: PromptSteps) -> None:
        self._text = text
        self._steps = steps
        self._phases: dict[tuple[str, bool], Phases] = {}
        self._encoded: dict[tuple[str, bool], Encoded] = {}
        self._chunks = 0

    def phases(self, prompt: str, *, negative: bool = False) -> Phases:
        found = self._phases.get((prompt, negative))
        if found is None:
            rows = schedule(prompt, self._steps)
            found = self._phases[prompt, negative] = Phases(
                tuple(row.until for row in rows), tuple(self._encode(row.text, negative) for row in rows)
            )
        return found

    def _encode(self, text: str, negative: bool) -> Encoded:
        found = self._encoded.get((text, negative))
        if found is None:
            found = self._encoded[text, negative] = self._text.encode(text, negative=negative)
            self._chunks += found.chunks
            if self._chunks > MAX_CHUNKS:
                raise _too_long()
        return found


def _too_long() -> JobError:
    return JobError(
        f"prompt: its texts need more than {MAX_CHUNKS} chunks of 75 tokens, all steps and parts together;"
        " shorten it, or let less of it change"
    )


def _used(phases: Sequence[Phases]) -> tuple[Embedding, ...]:
    """The textual inversions of all texts, each once, in order of appearance."""
    used = (embedding for phase in phases for encoded in phase.encoded for embedding in encoded.embeddings)
    return tuple({embedding.name: embedding for embedding in used}.values())
