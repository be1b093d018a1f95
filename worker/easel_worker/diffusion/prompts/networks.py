"""Extra networks: ``<lora:name:0.8>`` and its kin, cut out of a positive prompt."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

LORA = "lora"
HYPERNET = "hypernet"
_ALIASES = {"lyco": LORA}
_NAMES = {LORA, HYPERNET}
_OPENING = re.compile(r"<(\w+):")
_KEYWORDS = ("te", "unet", "dyn")


@dataclass(frozen=True)
class NetworkTag:
    """One tag. `kind` is "lora" or "hypernet"; whether a network of that name exists is for others to see.

    te, unet: how strongly the text encoder's and the UNet's part act (a hypernetwork has `unet` alone).
    dyn: rank to cut a LoRA down to, None for all of it. text: the tag as it was written.
    """

    kind: str
    name: str
    te: float
    unet: float
    dyn: int | None
    text: str


@dataclass(frozen=True)
class CutPrompt:
    """A prompt without its tags; and a sentence for each tag that was cut out but says nothing we know."""

    text: str
    networks: tuple[NetworkTag, ...]
    problems: tuple[str, ...] = ()


def cut_networks(prompt: str, default_multiplier: float = 1.0) -> CutPrompt:
    """Cut every ``<word:anything>`` out of a positive prompt. Negative prompts keep them as text.

    A LoRA's arguments are ``name:te:unet:dyn`` or keywords (``te=0.5``), in any mixture; a missing unet is
    te, a missing te is `default_multiplier` (A1111's option extra_networks_default_multiplier).
    """
    kept: list[str] = []
    networks: list[NetworkTag] = []
    problems: list[str] = []
    place = 0
    searched = 0
    while (opening := _OPENING.search(prompt, searched)) is not None:
        closing = prompt.find(">", opening.end())
        if closing < 0:
            break
        if closing == opening.end():  # "<lora:>" has no arguments and is text
            searched = opening.end()
            continue
        kept.append(prompt[place : opening.start()])
        place = searched = closing + 1
        tag = prompt[opening.start() : place]
        try:
            networks.append(_read_tag(opening[1], prompt[opening.end() : closing], tag, default_multiplier))
        except ValueError as error:
            problems.append(f"{_shown(tag)}: {error}")
    kept.append(prompt[place:])
    return CutPrompt("".join(kept), tuple(networks), tuple(problems))


def _read_tag(word: str, arguments: str, tag: str, default: float) -> NetworkTag:
    kind = _ALIASES.get(word, word)
    if kind not in _NAMES:
        raise ValueError(f"there is no kind of network called {_shown(word)}; lora and hypernet are")
    places: list[str] = []
    named: dict[str, str] = {}
    for item in arguments.split(":"):
        key, equals, value = item.partition("=")
        # A file may have "=" in its name.
        if equals and places and key.strip() in _KEYWORDS:
            named[key.strip()] = value
        else:
            places.append(item)
    name = places[0].strip()
    if not name:
        raise ValueError("the network has no name; write <lora:name:0.8>")
    if len(places) > (4 if kind == LORA else 2):
        raise ValueError("too many arguments; a lora takes name:te:unet:dyn, a hypernet name:multiplier")
    given = dict(zip(("te", "unet", "dyn"), places[1:], strict=False)) | named
    te = _multiplier("te", given["te"]) if "te" in given else default
    unet = _multiplier("unet", given["unet"]) if "unet" in given else te
    dyn = _rank(given["dyn"]) if "dyn" in given else None
    return NetworkTag(kind, name, te, unet, dyn, tag)


def _multiplier(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} {_shown(text)} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} {_shown(text)} is not a finite number")
    return value


def _rank(text: str) -> int:
    if not text.strip().isdecimal() or len(text) > 9 or int(text) < 1:
        raise ValueError(f"dyn {_shown(text)} is not a rank: a whole number from 1")
    return int(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
