"""Runs a command that cannot outlive its parent. Used by file path, before anything else is imported::

    python -I -S leash.py PARENT_PID LOCK_FILE|- COMMAND [ARGUMENT …]

On Linux the kernel kills the command when its parent dies, whatever the parent died of (prctl(2),
PR_SET_PDEATHSIG; it survives execve). A Popen `preexec_fn` could do the same, but runs Python between
fork and exec of a process with threads, which its documentation warns of.

With a lock file the command holds an exclusive lock on it for as long as it lives: two Redis servers
must never append to the same file, not even while the first one is still dying.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
LOCK_TIMEOUT_S = 10.0
EXIT_LOCKED = 3
"""Exit status when another process keeps the lock."""


def main() -> None:
    """Tie, lock, and become the command."""
    parent, lock, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(EXIT_LOCKED)
    if lock != "-":
        _hold(lock)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as exc:
        sys.exit(f"cannot start {command[0]}: {exc.strerror}")


def _hold(path: str) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(handle, True)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                print(f"another process keeps {path} locked", file=sys.stderr)
                sys.exit(EXIT_LOCKED)
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    main()
