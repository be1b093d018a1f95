"""The README's first command does what stands beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from ..looking import look, pixels_of
from .running import Running

ROOT = Path(__file__).parents[2]


def test_the_first_picture_is_the_one_beside_its_command(easel: Running) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(
        r"curl -s \S+(/sdapi/v1/txt2img) .*?-d '(\{.*?\})'.*?!\[[^]]*\]\((\S+\.png)\)", readme, re.DOTALL
    )
    assert found, "the README begins with a command and its picture"
    path, body, shown = found.groups()
    answer = easel.http.post(path, json=json.loads(body)).json()
    assert look(answer["images"][0]).words == "red circle on blue"
    drawn, printed = pixels_of(answer["images"][0]), pixels_of(Image.open(ROOT / shown))
    # Another processor adds up in another order: a pixel of an edge may differ, the picture may not.
    assert np.abs(drawn.astype(int) - printed.astype(int)).mean() < 1
