"""The bodies of ``POST /sdapi/v1/txt2img`` and ``img2img``, with A1111's names and defaults, and the cloud's
additions.

Every field may be null, which means its default; unknown fields are ignored; numbers may come as text. What
cannot be done is refused by name instead of being left out silently.
"""

from __future__ import annotations

from easel_contract.requests.alwayson import AlwaysonOptions, SoftInpainting
from easel_contract.requests.body import from_validation, read_object
from easel_contract.requests.checks import check_request
from easel_contract.requests.generation import SEED_MAX, GenerationRequest
from easel_contract.requests.img2img import Img2ImgRequest, parse_img2img
from easel_contract.requests.paths import (
    GENERATION_PATHS,
    IMG2IMG_PATH,
    TXT2IMG_PATH,
    UNITS_IMG2IMG_PATH,
    UNITS_TXT2IMG_PATH,
    parse_request,
)
from easel_contract.requests.txt2img import Txt2ImgRequest, parse_txt2img

__all__ = [
    "GENERATION_PATHS",
    "IMG2IMG_PATH",
    "SEED_MAX",
    "TXT2IMG_PATH",
    "UNITS_IMG2IMG_PATH",
    "UNITS_TXT2IMG_PATH",
    "AlwaysonOptions",
    "GenerationRequest",
    "Img2ImgRequest",
    "SoftInpainting",
    "Txt2ImgRequest",
    "check_request",
    "from_validation",
    "parse_img2img",
    "parse_request",
    "parse_txt2img",
    "read_object",
]
