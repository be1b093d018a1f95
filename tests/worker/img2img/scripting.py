"""Requests for scripts, by name and arguments."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.infotext import parse

from ..desk import Answer, Desk

XYZ: list[Any] = [0, "", [], 0, "", [], 0, "", [], True, True, False, False, False, False, False, 0, False]
QUICK = {"steps": 2, "denoising_strength": 0.5}


def xyz(**changes: Any) -> list[Any]:
    """The plot's arguments by name, in their places."""
    places = {
        "x": 0, "xs": 1, "y": 3, "ys": 4, "z": 6, "zs": 7, "legend": 9, "lone": 10, "subs": 11, "free": 12,
        "vary_x": 13, "vary_y": 14, "vary_z": 15,
    }  # fmt: skip
    args = list(XYZ)
    for name, value in changes.items():
        args[places[name]] = value
    return args


def run(desk: Desk, name: str, args: list[Any], init: Image.Image | None = None, **fields: Any) -> Answer:
    fields = {**QUICK, **fields, "script_name": name, "script_args": args}
    return desk.txt2img(**fields) if init is None else desk.img2img(init, **fields)


def refuse(desk: Desk, name: str, args: list[Any], init: Image.Image, **fields: Any) -> ContractError:
    with pytest.raises(ContractError) as caught:
        run(desk, name, args, init, **fields)
    assert caught.value.status == 422
    return caught.value


def told(answer: Answer, key: str) -> list[object]:
    """What each infotext tells."""
    return [parse(text).get(key) for text in answer.info["infotexts"]]
