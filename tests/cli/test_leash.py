"""A process on the leash dies with its parent, and holds its lock until then."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import easel_gateway.cli.leash as leash

LEASH = str(Path(leash.__file__))

_PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-I", "-S", {leash!r}, str(os.getpid()), "-", sys.executable, "-c",
    "import threading; print('up', flush=True); threading.Event().wait()"],
    start_new_session=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent")
def test_kill_9_of_the_parent_takes_the_child() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT.format(leash=LEASH)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert parent.stdout.read() == ""  # end of file: the child, which held the pipe too, is gone
    parent.stdout.close()


def test_the_lock_is_held_as_long_as_the_command_lives(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", LEASH, str(os.getpid()), str(lock), sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "up\n"
    with lock.open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.stdin.close()
        process.wait()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.stdout.close()


def test_a_parent_that_is_already_gone_starts_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", LEASH, "1", "-", "touch", str(tmp_path / "made")], check=False
    )
    assert done.returncode == leash.EXIT_LOCKED
    assert not (tmp_path / "made").exists()


def test_a_missing_command_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", LEASH, str(os.getpid()), "-", "/no/such/program"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "cannot start /no/such/program: No such file or directory\n"
