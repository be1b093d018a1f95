"""One supervisor per data directory; ports and probes."""

from __future__ import annotations

import asyncio
import http.server
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from easel_gateway.cli import ready
from easel_gateway.cli.runfile import AlreadyRunningError, RunFolder


def test_a_second_one_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    first.lock()
    first.write({"pid": 4711, "redis_url": "secret"})
    assert first.file.stat().st_mode & 0o777 == 0o600
    assert second.held()
    with pytest.raises(AlreadyRunningError, match=r"pid 4711.*--data-dir"):
        second.lock()
    first.unlock()
    assert not second.held()
    second.lock()
    assert second.read() is None  # what a killed one left is not believed
    second.unlock()


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from easel_gateway.cli.runfile import RunFolder\n"
        "RunFolder(Path(sys.argv[1])).lock(); print('locked', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "locked\n"
    assert RunFolder(tmp_path).held()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    holder.stdin.close()
    assert not RunFolder(tmp_path).held()


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        problem = ready.port_problem("127.0.0.1", port)
        assert problem.startswith(f"cannot listen on 127.0.0.1:{port}: address already in use; ")
        assert "--port" in problem
    assert ready.port_problem("127.0.0.1", port) == ""
    assert "EASEL_HOST" in ready.port_problem("no such host", 1)


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        right = self.path == "/readyz" and self.headers["Authorization"] == "hush-hush"
        body = b"" if right else b'{"redis": "down"}'
        self.send_response(200 if right else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


def test_the_gateway_probe_tells_why_not() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        port = server.server_address[1]
        assert ready.gateway_answers("127.0.0.1", port, "hush-hush") == ""
        assert (
            ready.gateway_answers("127.0.0.1", port, "") == 'the gateway is not ready (503 {"redis": "down"})'
        )
        server.shutdown()
    assert "does not answer yet" in ready.gateway_answers("127.0.0.1", port, "")


def test_redis_probe_tells_why_not() -> None:
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        assert ready.redis_answers(f"redis://127.0.0.1:{taken.getsockname()[1]}", "easel")


async def test_the_first_wait_wins_and_the_others_are_cancelled() -> None:
    cancelled = asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def at_once() -> None:
        await asyncio.sleep(0)

    async def broken() -> None:
        raise OSError(5, os.strerror(5))

    assert await ready.first_of(never(), at_once()) == 1
    assert cancelled.is_set()
    with pytest.raises(OSError, match="Input/output"):
        await ready.first_of(never(), broken())
