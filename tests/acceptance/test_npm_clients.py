"""Two JavaScript clients of A1111's API, unmodified, against a running Easel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..e2e.running import Running
from ..once import made_once
from .a1111 import ALICE

SOURCE = Path(__file__).with_name("npm")
FILES = ("package.json", "session.cjs")


@pytest.fixture(scope="module")
def session() -> Path:
    """The program with both clients beside it, made once beside the environment that runs the tests."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no node or npm here")
    home = Path(sys.prefix) / "webui-npm"

    def make() -> None:
        for name in FILES:
            shutil.copyfile(SOURCE / name, home / name)
        command = [npm, "install", "--prefix", str(home), "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, check=True, timeout=250)

    return made_once(home, make, of=b"".join((SOURCE / name).read_bytes() for name in FILES)) / "session.cjs"


def test_both_render_and_read_the_lists(a1111: Running, session: Path) -> None:
    done = subprocess.run(
        ["node", str(session), a1111.url, *ALICE], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["stable-diffusion-api"] == {
        "txt2img": [[64, 64]] * 2,
        "seeds": [7, 8],
        "hires": [128, 128],
        "img2img": [64, 64],
        "extra": [128, 128],
        "progress": 0,
        "samplers": 20,
        "upscalers": ["None", "Lanczos", "Nearest"],
        "models": ["deliberate_v2", "easel-shapes"],
        "flags": True,
    }
    assert found["node-sd-webui"] == {
        "txt2img": [[64, 64]] * 2,
        "img2img": [[64, 64]],
        "refused": "Bad Request",
    }
