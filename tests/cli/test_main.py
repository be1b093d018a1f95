"""The command line itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from easel_gateway.cli.main import main


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "easel_gateway.cli.main", *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_help_names_every_command() -> None:
    said = run("--help").stdout
    assert all(f"    {name} " in said for name in ("up", "gateway", "worker", "doctor", "version"))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith("easel ")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["up", "--wings", "2"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "environment", "field"),
    [
        (["gateway", "--port", "many"], {}, "EASEL_PORT"),
        (["worker"], {"EASEL_HEARTBEAT_S": "never"}, "EASEL_HEARTBEAT_S"),
    ],
)
def test_single_parts_check_their_own_settings(
    arguments: list[str], environment: dict[str, str], field: str
) -> None:
    done = run(*arguments, EASEL_REDIS_URL="redis://127.0.0.1:9", **environment)
    assert done.returncode == 2
    assert field in done.stderr


def test_nothing_heavy_is_imported_for_the_command_line() -> None:
    code = (
        "import sys, easel_gateway.cli.main; "
        "print([name for name in ('fastapi', 'torch', 'redis', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
