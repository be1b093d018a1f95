"""Which body belongs to which address."""

from __future__ import annotations

from collections.abc import Callable

from easel_contract.limits import Limits
from easel_contract.requests.first_api import with_units
from easel_contract.requests.generation import GenerationRequest
from easel_contract.requests.img2img import parse_img2img
from easel_contract.requests.txt2img import parse_txt2img

TXT2IMG_PATH = "/sdapi/v1/txt2img"
IMG2IMG_PATH = "/sdapi/v1/img2img"
UNITS_TXT2IMG_PATH = "/controlnet/txt2img"
UNITS_IMG2IMG_PATH = "/controlnet/img2img"
"""The ControlNet extension's first API: the same bodies, with units in fields of their own."""

_PARSERS: dict[str, Callable[[bytes, Limits], GenerationRequest]] = {
    TXT2IMG_PATH: parse_txt2img,
    IMG2IMG_PATH: parse_img2img,
    UNITS_TXT2IMG_PATH: lambda body, limits: parse_txt2img(with_units(body), limits),
    UNITS_IMG2IMG_PATH: lambda body, limits: parse_img2img(with_units(body), limits),
}

GENERATION_PATHS = tuple(_PARSERS)
"""Every path of a task that is rendered with a checkpoint; the bare service address is txt2img's."""


def parse_request(path: str, body: bytes, limits: Limits) -> GenerationRequest | None:
    """The request that `body` is at `path` (the bare service address is txt2img's); None for another path.

    Raises:
        ContractError: the body is wrong.
    """
    parser = _PARSERS.get("/" + path.strip("/") if path.strip("/") else TXT2IMG_PATH)
    return parser(body, limits) if parser else None
