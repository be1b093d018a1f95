"""The supervisor with real processes that stand in for the roles."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from easel_gateway.cli.process import ProcessSpec, how_it_ended
from easel_gateway.cli.supervisor import RestartPolicy, Supervisor

FAST = RestartPolicy(first_s=0.01, longest_s=0.05, healthy_s=60)


class Heard:
    """What the supervisor said, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, text: str) -> None:
        self.lines.append(text)
        self._news.set()

    async def wait_for(self, part: str) -> str:
        async def look() -> str:
            while True:
                for line in self.lines:
                    if part in line:
                        return line
                self._news.clear()
                await self._news.wait()

        return await asyncio.wait_for(look(), 20)


def python(name: str, code: str, **options: object) -> ProcessSpec:
    return ProcessSpec(name=name, argv=(sys.executable, "-c", code), **options)  # type: ignore[arg-type] # by name


async def line_of(path: Path) -> str:
    """First line of a file that a child writes, once it is there."""

    def read() -> str:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if path.exists() and (text := path.read_text()).endswith("\n"):
                return text.strip()
            time.sleep(0.01)
        pytest.fail(f"{path} was not written")

    return await asyncio.to_thread(read)


def alive(pid: int) -> bool:
    """Whether `pid` runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


FOREVER = "import threading; threading.Event().wait()"
STUBBORN = """
import pathlib, signal, sys, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text("up\\n")
threading.Event().wait()
"""


async def test_a_killed_child_is_started_again_and_the_reason_said() -> None:
    heard, changed = Heard(), asyncio.Event()
    supervisor = Supervisor(say=heard, policy=FAST, changed=changed.set)
    keeper = await supervisor.start("workers", python("worker-1", FOREVER))
    first = keeper.pid
    os.kill(first, signal.SIGKILL)
    line = await heard.wait_for("worker-1 ended")
    assert line == "worker-1 ended: killed by SIGKILL; starting it again in 0.01 s"
    while keeper.pid in {0, first}:
        changed.clear()
        await asyncio.wait_for(changed.wait(), 20)
    assert supervisor.pids() == {"worker-1": keeper.pid}
    second = keeper.pid
    await supervisor.stop("workers", 10)
    assert supervisor.pids() == {}
    assert not alive(second)


async def test_deaths_in_a_row_wait_longer_each_time() -> None:
    heard = Heard()
    supervisor = Supervisor(say=heard, policy=FAST)
    await supervisor.start("workers", python("w", "raise SystemExit(7)"))
    await heard.wait_for("0.05 s")
    await supervisor.stop("workers", 10)
    delays = [line.rpartition("in ")[2] for line in heard.lines]
    assert delays[:4] == ["0.01 s", "0.02 s", "0.04 s", "0.05 s"]
    assert heard.lines[0].startswith("w ended: exit status 7;")


def test_back_off_doubles_to_its_limit_and_is_forgotten_after_a_healthy_life() -> None:
    policy = RestartPolicy()
    delay, seen = 0.0, []
    for _ in range(9):
        delay = policy.next_delay(delay, lived_s=1)
        seen.append(delay)
    assert seen == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert policy.next_delay(30, lived_s=59.9) == 30
    assert policy.next_delay(30, lived_s=60) == 0.5


async def test_bad_settings_are_not_tried_again() -> None:
    heard = Heard()
    supervisor = Supervisor(say=heard, policy=FAST)
    keeper = await supervisor.start("gateway", python("gateway", "raise SystemExit(2)"))
    await asyncio.wait_for(supervisor.refused.wait(), 20)
    assert heard.lines == ["gateway ended: exit status 2 (its settings are wrong)"]
    assert keeper.pid == 0
    await supervisor.stop("gateway", 1)


async def test_who_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    heard = Heard()
    supervisor = Supervisor(say=heard, policy=FAST)
    up = tmp_path / "up"
    spec = ProcessSpec(name="worker-1", argv=(sys.executable, "-c", STUBBORN, str(up)))
    keeper = await supervisor.start("workers", spec)
    await line_of(up)
    pid = keeper.pid
    await supervisor.stop("workers", 0.2)
    assert heard.lines == ["worker-1 did not stop within 0.2 s and was killed"]
    assert not alive(pid)


async def test_stop_during_the_pause_starts_nothing() -> None:
    heard = Heard()
    supervisor = Supervisor(say=heard, policy=RestartPolicy(first_s=30))
    await supervisor.start("workers", python("w", "pass"))
    await heard.wait_for("w ended")
    await asyncio.wait_for(supervisor.stop("workers", 30), 5)
    assert supervisor.pids() == {}


async def test_kill_takes_grandchildren_too(tmp_path: Path) -> None:
    supervisor = Supervisor(say=Heard(), policy=FAST)
    note = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, sys, threading\n"
        f"child = subprocess.Popen([sys.executable, '-c', {FOREVER!r}])\n"
        f"pathlib.Path({str(note)!r}).write_text(f'{{child.pid}}\\n')\n"
        "threading.Event().wait()"
    )
    keeper = await supervisor.start("workers", python("w", code))
    grandchild = int(await line_of(note))
    pid = keeper.pid
    supervisor.kill()
    await supervisor.stop("workers", 10)
    assert not alive(pid)
    for _ in range(500):  # its new parent may take a moment to see it
        if not alive(grandchild):
            break
        await asyncio.sleep(0.01)
    assert not alive(grandchild)


async def test_a_log_s_last_line_is_the_reason(tmp_path: Path) -> None:
    heard = Heard()
    supervisor = Supervisor(say=heard, policy=FAST)
    code = "import sys; print('Bad file format reading the append only file'); sys.exit(1)"
    await supervisor.start("redis", python("redis", code, log=tmp_path / "redis.log"))
    line = await heard.wait_for("redis ended")
    await supervisor.stop("redis", 1)
    assert "exit status 1 (Bad file format reading the append only file)" in line
    assert (tmp_path / "redis.log").stat().st_mode & 0o777 == 0o600


async def test_stdin_and_environment_reach_the_child(tmp_path: Path) -> None:
    note = tmp_path / "said"
    code = (
        "import os, pathlib, sys, threading\n"
        f"pathlib.Path({str(note)!r}).write_text(sys.stdin.read() + os.environ['EASEL_X'] + '\\n')\n"
        "threading.Event().wait()"
    )
    supervisor = Supervisor(say=Heard(), policy=FAST)
    await supervisor.start("a", python("a", code, stdin=b"secret ", env={"EASEL_X": "hushed"}))
    assert await line_of(note) == "secret hushed"
    await supervisor.stop("a", 5)
    assert "hushed" not in repr(python("a", "", stdin=b"hushed", env={"A": "hushed"}))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (2, "exit status 2 (its settings are wrong)"),
        (-9, "killed by SIGKILL"),
        (-11, "killed by SIGSEGV"),
        (-63, "killed by signal 63"),
    ],
)
def test_endings_in_words(status: int, words: str) -> None:
    assert how_it_ended(status) == words
