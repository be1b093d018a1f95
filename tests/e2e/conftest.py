"""End to end: real processes, real clients."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..once import made_once
from ..store.conftest import s3_server
from .running import Running, running

__all__ = ["s3_server"]

SDK = ("eas-prediction==0.36", "requests", "minio")
"""The official SDK, and what the guide's programs and their bucket need beside it."""


@pytest.fixture(scope="session")
def shared_easel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One Easel for all tests that break nothing."""
    with running(tmp_path_factory.mktemp("easel")) as started:
        yield started


@pytest.fixture
def easel(shared_easel: Running) -> Running:
    """The shared Easel with empty queues, whatever the test before left there."""
    shared_easel.clear()
    return shared_easel


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """A Python with the official SDK, in an environment of its own: it pins an old protobuf.

    Made once beside the environment that runs the tests.
    """
    home = Path(sys.prefix) / "eas-sdk"
    interpreter = home / "bin" / "python"

    def make() -> None:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "--quiet", *SDK], check=True)

    made_once(home, make)
    return interpreter
