"""What the tokens in file name patterns stand for."""

from __future__ import annotations

import contextlib
import hashlib
import re
import string
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from easel_contract.options import RenderOptions
from easel_worker.outputs.record import GenerationRecord, ImageFacts
from easel_worker.outputs.sanitising import sanitise

HASH_CHARS = 8
"""Hex digits of ``[prompt_hash]`` and its like, unless the token says otherwise."""

_DATE = re.compile(r"%[-_0^#]?[A-Za-z%]|[^%\x00-\x1f\ud800-\udfff]")
_BETWEEN_WORDS = re.compile(f"[\\s{re.escape(string.punctuation)}]+")


@dataclass(frozen=True)
class Subject:
    """The picture that is being named."""

    record: GenerationRecord
    facts: ImageFacts
    """Of a grid: the first picture's."""
    seeds: tuple[int, ...]
    """Of all pictures of the task."""
    index: int
    """Place among them, from 0; 0 for a grid."""
    image: NDArray[np.uint8]
    options: RenderOptions
    basename: str = ""
    """The source file's name without its ending, for extras."""

    @property
    def single(self) -> bool:
        return self.record.n_iter * self.record.batch_size == 1


Arguments = list[str]
Value = Callable[[Subject, Arguments], object]
"""A token's value; None is "nothing to tell", which takes the text before the token with it."""


def value_of(token: str, arguments: Arguments, subject: Subject) -> str | None:
    """What a token stands for, made safe for a file name; None for nothing.

    Raises:
        KeyError: there is no such token.
    """
    value = TOKENS[token.lower()](subject, arguments)
    return None if value is None else str(value)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _prompt_words(subject: Subject, _: Arguments) -> str:
    words = [word for word in _BETWEEN_WORDS.split(subject.facts.prompt[:10_000]) if word]
    return sanitise(" ".join(words[: subject.options.directories_max_prompt_words] or ["empty"]))


def _has_prompt(subject: Subject, arguments: Arguments) -> str | None:
    """``hasprompt<cat|none><dog|none>``: each word that the prompt has, else what stands behind its bar."""
    if not arguments:
        return None
    prompt = subject.facts.prompt.lower()
    found = []
    for argument in arguments:
        wanted, _, otherwise = argument.partition("|")
        found.append(wanted if wanted.lower() in prompt else otherwise)
    return sanitise("".join(found))


def _datetime(subject: Subject, arguments: Arguments) -> str:
    """``datetime<format><time zone>``; an unknown zone is the server's."""
    when: datetime = subject.record.when
    pattern = arguments[0] if arguments and arguments[0] else "%Y%m%d%H%M%S"
    if len(arguments) > 1:
        with contextlib.suppress(ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            when = when.astimezone(zoneinfo.ZoneInfo(arguments[1]))
    # Only plain directives: a width such as %999999999d would fill the memory, and strftime takes no NUL.
    return sanitise(when.strftime("".join(_DATE.findall(pattern[:100]))))


def _hash(text: str, arguments: Arguments) -> str:
    return _digest(text.encode("utf-8", "replace"), arguments)


def _digest(data: bytes, arguments: Arguments) -> str:
    length = (
        int(arguments[0]) if arguments and arguments[0].isdecimal() and len(arguments[0]) < 4 else HASH_CHARS
    )
    return hashlib.sha256(data).hexdigest()[:length]


def _schedule(subject: Subject) -> str:
    schedule = subject.record.schedule
    return "" if schedule == "Automatic" else schedule


TOKENS: dict[str, Value] = {
    "seed": lambda s, _: s.facts.seed,
    "seed_first": lambda s, _: s.seeds[0],
    "seed_last": lambda s, _: s.seeds[-1] if s.record.batch_size > 1 else None,
    "steps": lambda s, _: s.record.steps,
    "cfg": lambda s, _: _number(s.record.cfg_scale),
    "width": lambda s, _: s.image.shape[1],
    "height": lambda s, _: s.image.shape[0],
    "styles": lambda s, _: sanitise(", ".join(s.record.styles) or "None"),
    "sampler": lambda s, _: sanitise(s.record.sampler, spaces=False),
    "scheduler": lambda s, _: sanitise(s.record.schedule, spaces=False),
    "sampler_scheduler": lambda s, _: sanitise(f"{s.record.sampler} {_schedule(s)}", spaces=False),
    "model_hash": lambda s, _: s.record.model_hash,
    "model_name": lambda s, _: sanitise(s.record.model_name, spaces=False),
    "date": lambda s, _: f"{s.record.when:%Y-%m-%d}",
    "datetime": _datetime,
    "job_timestamp": lambda s, _: f"{s.record.when:%Y%m%d%H%M%S}",
    "prompt": lambda s, _: sanitise(s.facts.prompt, spaces=False),
    "prompt_no_styles": lambda s, _: sanitise(s.record.prompt_no_styles or s.facts.prompt, spaces=False),
    "prompt_spaces": lambda s, _: sanitise(s.facts.prompt),
    "prompt_words": _prompt_words,
    "prompt_hash": lambda s, a: _hash(s.facts.prompt, a),
    "negative_prompt_hash": lambda s, a: _hash(s.facts.negative_prompt, a),
    "full_prompt_hash": lambda s, a: _hash(f"{s.facts.prompt} {s.facts.negative_prompt}", a),
    "batch_number": lambda s, _: s.index % s.record.batch_size + 1 if s.record.batch_size > 1 else None,
    "batch_size": lambda s, _: s.record.batch_size,
    "generation_number": lambda s, _: None if s.single else s.index + 1,
    "hasprompt": _has_prompt,
    "clip_skip": lambda s, _: s.record.clip_skip,
    "denoising": lambda s, _: _number(s.record.denoising_strength) if s.record.denoising_strength else None,
    "user": lambda s, _: sanitise(s.record.user or "", spaces=False),
    "vae_filename": lambda s, _: sanitise(s.record.vae_name or "Automatic", spaces=False),
    "none": lambda s, _: "",
    "basename": lambda s, _: sanitise(s.basename),
    "image_hash": lambda s, a: _digest(s.image.tobytes(), a),
}
