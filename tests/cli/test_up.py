"""`easel up` as an operator meets it: real processes, real signals. `tests/e2e` renders."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from easel_queue import Queue, QueueUnavailableError

READY = re.compile(r"Easel is ready: (http://127\.0\.0\.1:\d+)  \(service easel, (.*), data in (.*)\)\n")


class Up:
    """A started `easel up`. Its error output goes to a file, so that no pipe can fill up."""

    def __init__(self, data_dir: Path, log: Path, *arguments: str, **environment: str) -> None:
        self.data_dir = data_dir
        self._log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "easel_gateway.cli.main", "up",
                 "--port", "0", "--data-dir", str(data_dir), *(arguments or ("--workers", "0"))],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=clean_environment(**environment), start_new_session=True,
            )  # fmt: skip

    def wait_ready(self) -> re.Match[str]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = READY.fullmatch(line)
        assert match, f"said {line!r}; errors: {self.said()}"
        return match

    def said(self) -> str:
        return self._log.read_text()

    def wait_said(self, part: str) -> str:
        return until(lambda: self.said() if part in self.said() else None, f"{part!r} said")

    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.data_dir / "run/up.json").read_text()))

    def wait_pid(self, role: str, *, other_than: int = 0) -> int:
        return until(lambda: (p := self.record()["pids"].get(role)) != other_than and p, f"a new {role}")

    def pids(self) -> list[int]:
        return list(self.record()["pids"].values())

    def wait_ended(self) -> int:
        status = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


def clean_environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EASEL_")}
    return {**kept, **more}


def until(look: Callable[[], Any], what: str) -> Any:
    """The first true answer of `look`; fails after 60 s. For facts that only the file system can tell."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if answer := look():
            return answer
        time.sleep(0.02)
    pytest.fail(f"not within 60 s: {what}")


def gone(pid: int) -> bool:
    """Whether no such process runs (a zombie that nobody reaped does not run)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in {"Z", "X"}


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*arguments: str, data_dir: Path | None = None, **environment: str) -> Up:
        up = Up(data_dir or tmp_path / "data", tmp_path / f"log-{len(started)}", *arguments, **environment)
        started.append(up)
        return up

    yield start
    for up in started:
        if up.process.poll() is None:
            up.process.kill()
        up.wait_ended()


def test_ready_then_ctrl_c_leaves_nothing(start_up: Callable[..., Up], tmp_path: Path) -> None:
    up = start_up()
    match = up.wait_ready()
    assert match[2] == "0 workers"
    assert match[3] == str(tmp_path / "data")
    record = up.record()
    assert record["ready"]
    assert record["address"] == match[1]
    assert (up.data_dir / "run/up.json").stat().st_mode & 0o777 == 0o600
    pids = up.pids()
    assert len(pids) == 2
    password = record["redis_url"].split(":")[2].split("@")[0]
    for pid in [*pids, up.process.pid]:
        assert password not in Path(f"/proc/{pid}/cmdline").read_text()
    up.process.send_signal(signal.SIGINT)
    assert up.wait_ended() == 0
    assert all(gone(pid) for pid in pids)
    assert not (up.data_dir / "run/up.json").exists()
    assert password not in up.said()
    assert {"models", "embeddings", "outputs"} <= {path.name for path in up.data_dir.iterdir()}


def test_what_was_queued_is_there_after_a_restart(start_up: Callable[..., Up]) -> None:
    first = start_up()
    first.wait_ready()
    queue = Queue(first.record()["redis_url"])
    placed = queue.run(queue.tasks.put(b"picture me", request_id="7b9a", tags={"task_id": "t1"}))
    queue.close()
    first.process.send_signal(signal.SIGTERM)
    assert first.wait_ended() == 0
    second = start_up()
    second.wait_ready()
    queue = Queue(second.record()["redis_url"])
    (entry,) = queue.run(queue.source.get()).entries
    queue.close()
    assert (entry.index, entry.data, entry.tags["task_id"]) == (placed.index, b"picture me", "t1")


def test_a_killed_redis_comes_back_with_its_data_and_its_port(start_up: Callable[..., Up]) -> None:
    up = start_up()
    up.wait_ready()
    record = up.record()
    queue = Queue(record["redis_url"])
    queue.run(queue.tasks.put(b"x", request_id="r1"))
    os.kill(record["pids"]["redis"], signal.SIGKILL)
    up.wait_said("redis ended: killed by SIGKILL")
    up.wait_pid("redis", other_than=record["pids"]["redis"])
    assert until(lambda: _length(queue), "Redis back on its port") == 1
    queue.close()
    assert up.record()["redis_url"] == record["redis_url"]
    assert up.record()["pids"]["gateway"] == record["pids"]["gateway"]


def _length(queue: Queue) -> int | None:
    try:
        return queue.run(queue.source.attributes()).length
    except QueueUnavailableError:
        return None


def test_a_killed_gateway_is_started_again_on_its_port(start_up: Callable[..., Up]) -> None:
    up = start_up()
    address = up.wait_ready()[1]
    first = up.record()["pids"]["gateway"]
    os.kill(first, signal.SIGSEGV)
    up.wait_said("gateway ended: killed by SIGSEGV; starting it again in 0.5 s")
    up.wait_pid("gateway", other_than=first)
    host, port = address.removeprefix("http://").split(":")
    until(lambda: _connects(host, int(port)), "the gateway on its port again")


def _connects(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent")
def test_kill_9_of_the_supervisor_leaves_no_process(start_up: Callable[..., Up]) -> None:
    up = start_up()
    up.wait_ready()
    pids = up.pids()
    up.process.send_signal(signal.SIGKILL)
    assert up.wait_ended() == -signal.SIGKILL
    until(lambda: all(gone(pid) for pid in pids), "all of them gone")
    again = start_up()  # the stale up.json and lock file are no obstacle
    again.wait_ready()


def test_a_second_one_on_the_same_data_is_refused(start_up: Callable[..., Up]) -> None:
    first = start_up()
    first.wait_ready()
    second = start_up()
    assert second.wait_ended() == 1
    assert second.said() == (
        f"easel: another `easel up` (pid {first.process.pid}) runs with the data directory "
        f"{first.data_dir}; stop it first, or give --data-dir another folder\n"
    )
    assert first.record()["ready"]  # and the first one's notes are untouched


def test_a_port_in_use_is_one_clear_line(start_up: Callable[..., Up]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        up = start_up("--port", str(port))
        assert up.wait_ended() == 1
    assert up.said().startswith(f"easel: cannot listen on 127.0.0.1:{port}: address already in use;")
    assert up.said().count("\n") == 1
    assert not up.data_dir.exists()


def test_a_second_ctrl_c_kills(start_up: Callable[..., Up]) -> None:
    up = start_up()
    up.wait_ready()
    pids = up.pids()
    stuck = up.record()["pids"]["gateway"]
    os.kill(stuck, signal.SIGSTOP)  # it cannot stop by itself any more
    up.process.send_signal(signal.SIGINT)
    up.wait_said("stopping; press Ctrl-C again to kill")

    def again() -> bool:  # a repeat right after the first counts as the same
        up.process.send_signal(signal.SIGINT)
        return "killed everything" in up.said()

    until(again, "killed")
    assert up.wait_ended() == 130
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize(
    ("environment", "field"),
    [
        ({"EASEL_PORT": "many"}, "EASEL_PORT"),
        ({"EASEL_WORKERS": "-1"}, "EASEL_WORKERS"),
        ({"EASEL_REDIS_FSYNC": "sometimes"}, "EASEL_REDIS_FSYNC"),
        ({"EASEL_REDIS_URL": "http://x"}, "EASEL_REDIS_URL"),
        ({"EASEL_HOST": "192.0.2.1"}, "EASEL_TOKENS"),
        ({"EASEL_S3_ENDPOINT": "127.0.0.1:9"}, "s3_access_key"),
        ({"EASEL_SERVICE": "a b"}, "EASEL_SERVICE"),
    ],
)
def test_bad_settings_name_the_field(tmp_path: Path, environment: dict[str, str], field: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "easel_gateway.cli.main", "up"],
        env=clean_environment(EASEL_DATA_DIR=str(tmp_path / "data"), **environment),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert field in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_worker_s_bad_settings_end_everything(start_up: Callable[..., Up]) -> None:
    up = start_up("--workers", "1", EASEL_HEARTBEAT_S="never")
    assert up.wait_ended() == 2
    assert "EASEL_HEARTBEAT_S" in up.said()
    assert "worker-1 ended: exit status 2 (its settings are wrong)" in up.said()


def test_a_flag_wins_over_its_variable(start_up: Callable[..., Up], tmp_path: Path) -> None:
    up = start_up(EASEL_DATA_DIR=str(tmp_path / "other"), EASEL_WORKERS="7")
    assert up.wait_ready()[2] == "0 workers"
    assert not (tmp_path / "other").exists()


def test_a_data_dir_that_cannot_be_made_is_named(start_up: Callable[..., Up], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    up = start_up(data_dir=tmp_path / "file")
    assert up.wait_ended() == 1
    assert up.said().startswith(f"easel: EASEL_DATA_DIR={tmp_path / 'file'}: ")
    assert up.said().count("\n") == 1


def test_an_append_only_file_that_redis_refuses_is_no_endless_loop(start_up: Callable[..., Up]) -> None:
    first = start_up()
    first.wait_ready()
    first.process.send_signal(signal.SIGINT)
    first.wait_ended()
    (manifest,) = (first.data_dir / "redis").glob("appendonlydir/*.manifest")
    manifest.write_text("nonsense\n")
    second = start_up()
    assert second.wait_ended() == 1
    assert "redis ended: exit status 1" in second.said()
    assert f"see {second.data_dir / 'run/redis.log'}" in second.said()
