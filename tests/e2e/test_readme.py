"""The README's first command does what stands beside it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from ..looking import look, pixels_of
from .running import TASK_S, Running

ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8000"


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


def blocks(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)


def test_its_program_writes_a_picture(easel: Running, tmp_path: Path) -> None:
    [program] = [block for block in blocks("python") if "/sdapi/v1/txt2img" in block and "answer" in block]
    assert ADDRESS in program
    program = program.replace(ADDRESS, easel.url)
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=TASK_S)
    picture = Image.open(tmp_path / "picture.png")
    assert (picture.format, picture.size) == ("PNG", (128, 128))
    assert "a red circle on a blue background" in picture.info["parameters"]


def test_its_commands_follow_a_task_and_cancel_it(easel: Running) -> None:
    [block] = [block for block in blocks("sh") if "/easel/v1/tasks/$ID" in block]
    show, follow, cancel = re.findall(rf"^curl (?:-N |-X POST )?{ADDRESS}(\S+)", block, re.MULTILINE)
    body = {"prompt": "a red circle", "steps": 150, "width": 256, "height": 256, "n_iter": 16}
    accepted = easel.http.post("/sdapi/v1/txt2img", params={"task_id": "long"}, json=body)
    task = accepted.headers["X-Request-Id"]

    assert easel.http.get(show.replace("$ID", task)).json()["status"] in {"waiting", "reserved", "running"}
    assert easel.http.post(cancel.replace("$ID", task)).is_success
    events = easel.http.get(follow.replace("$ID", task)).text
    assert '"status":"cancelled"' in events.replace(": ", ":"), events
