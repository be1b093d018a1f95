"""docs/operations.md cannot drift from the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from easel_gateway.cli.settings import UpSettings
from easel_worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()

OUTSIDE_THE_MODELS = {"TORCH", "TORCH_INDEX", "METRICS_TOKEN"}
"""Read by install_torch.py, and by compose.yaml alone."""


def test_every_variable_that_it_names_exists() -> None:
    known = {name.upper() for model in (UpSettings, WorkerSettings) for name in model.model_fields}
    named = set(re.findall(r"\bEASEL_([A-Z0-9_]+)\b(?!\*)", PAGE))
    assert named <= known | OUTSIDE_THE_MODELS | {""}


def test_every_secret_that_compose_asks_for_is_listed() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    assert asked
    for name in asked:
        assert f"{name}=" in PAGE


@pytest.mark.parametrize("target", ["install", "up", "test", "test-slow", "lint", "bench", "clean"])
def test_bare_make_lists_the_targets(target: str) -> None:
    done = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True)
    assert re.search(rf"^  make {target} +\w", done.stdout, re.M)


def test_make_names_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.9.2' && exit 0\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "-C", str(ROOT), "install", f"PYTHON={old}", f"VENV={tmp_path}/venv"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Easel needs Python 3.10 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr
