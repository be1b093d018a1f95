"""The gateway as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx


def start(python: str, tmp_path: Path, **settings: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "EASEL_DATA_DIR": str(tmp_path), **settings}
    command = [python, "-m", "easel_gateway"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_it_says_its_address_serves_and_stops_cleanly(
    python: str, tmp_path: Path, redis_url: str, service: str
) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(python, tmp_path, EASEL_PORT="0", EASEL_REDIS_URL=redis_url, EASEL_SERVICE=service)
        assert process.stderr is not None
        line = process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address, line
        assert httpx.get(f"{address[0]}/readyz", timeout=60).json()["status"] == "ok"
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 0, rest
        assert "Traceback" not in rest


def test_an_open_address_without_tokens_is_refused(python: str, tmp_path: Path) -> None:
    process = start(python, tmp_path, EASEL_HOST="0.0.0.0")  # noqa: S104 - the refusal is tested
    _, text = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "EASEL_TOKENS" in text
    assert "EASEL_HOST" in text


def test_an_address_in_use_is_named(python: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start(python, tmp_path, EASEL_PORT=port)
        _, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"127.0.0.1:{port}" in text
    assert "EASEL_PORT" in text


def test_a_request_may_stop_it_where_that_is_allowed(
    python: str, tmp_path: Path, redis_url: str, service: str
) -> None:
    process = start(
        python,
        tmp_path,
        EASEL_PORT="0",
        EASEL_REDIS_URL=redis_url,
        EASEL_SERVICE=service,
        EASEL_API_SERVER_STOP="true",
    )
    assert process.stderr is not None
    address = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
    assert address
    answer = httpx.post(f"{address[0]}/sdapi/v1/server-stop", timeout=60)
    assert (answer.status_code, answer.text) == (200, "Stopping.")
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
