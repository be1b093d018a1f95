"""ControlNet units for requests, and what reading them comes to."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from easel_contract.controlnet import (
    ControlUnit,
    read_units,
)
from easel_contract.controlnet.combining import Init
from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests import GenerationRequest, parse_img2img, parse_txt2img

UNIT = "alwayson_scripts.controlnet.args[0]"
EDGES = {"module": "canny", "model": "edges", "image": "A"}


def png(mode: str = "RGB", size: int = 8) -> str:
    file = io.BytesIO()
    Image.new(mode, (size, size)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def read(unit: dict[str, Any], *, init: Init | None = None, strict: bool = True) -> ControlUnit:
    (found,) = read_units([unit], limit=3, strict=strict, init=init).units
    return found


def edges(**fields: Any) -> ControlUnit:
    return read(EDGES | fields)


def refuse(unit: dict[str, Any], *, init: Init | None = None) -> ContractError:
    with pytest.raises(ContractError) as refused:
        read_units([unit], limit=3, strict=True, init=init)
    assert refused.value.status == 422
    return refused.value


def request_with(*units: Any, limits: Limits | None = None, **fields: Any) -> GenerationRequest:
    body = {**fields, "alwayson_scripts": {"ControlNet": {"args": list(units)}}}
    parse = parse_img2img if "init_images" in fields else parse_txt2img
    return parse(json.dumps(body).encode(), limits or Limits())


GUIDE_HOST = "https://pai-aigc-dataset.oss-cn-hangzhou.aliyuncs.com"
GUIDE_UNIT: dict[str, Any] = {
    "image_link": f"{GUIDE_HOST}/pixabay_images/00008b87bf3ff6742b8cf81c358b9dbc.jpg",
    "enabled": True,
    "module": "canny",
    "model": "control_v11p_sd15_canny",
    "weight": 1,
    "resize_mode": "Crop and Resize",
    "low_vram": False,
    "processor_res": 512,
    "threshold_a": 100,
    "threshold_b": 200,
    "guidance_start": 0,
    "guidance_end": 1,
    "pixel_perfect": True,
    "control_mode": "Balanced",
    "input_mode": "simple",
    "batch_images": "",
    "output_dir": "",
    "loopback": False,
}
"""The unit of the cloud guide's request."""
