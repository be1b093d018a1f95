"""One queue's processes during a measurement, and what they and Redis cost."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from peers.registry import Peer

ANSWER_S = 120
"""Nothing here takes as long; a queue that does hangs, and is reported."""
_TICKS = os.sysconf("SC_CLK_TCK")


class PeerError(Exception):
    """A queue's process ended or did not answer."""


class Side:
    """One process of a queue (and what it starts), in a session of its own."""

    def __init__(self, peer: Peer, role: str, url: str, slots: int) -> None:
        self._name = f"{peer.name}'s {role}"
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            peer.command(role, url, slots),
            env=peer.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            start_new_session=True,
        )

    def answer(self) -> dict[str, Any]:
        """The next line that the process writes. Raises PeerError."""
        assert self._process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            ready = selector.select(ANSWER_S)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self._said.seek(0)
            last = (self._said.read().strip().splitlines() or [""])[-1]
            raise PeerError(f"{self._name} {'ended' if ready else 'does not answer'}: {last[:200]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, count: int) -> Any:
        """Let the producer measure; seconds, or a list of them."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, "count": count}) + "\n")
        self._process.stdin.flush()
        return self.answer()["seconds"]

    def cpu_s(self) -> float:
        """Processor time of the session so far. Linux only; elsewhere 0."""
        total = 0.0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            if int(fields[3]) == self._process.pid:
                total += sum(int(ticks) for ticks in fields[11:15]) / _TICKS
        return total

    def end(self) -> None:
        """Kill the session: a benchmark's queue has nothing worth finishing."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._said.close()


@contextmanager
def running(peer: Peer, role: str, url: str, slots: int = 1) -> Iterator[Side]:
    """The process of one side while the block runs."""
    side = Side(peer, role, url, slots)
    try:
        yield side
    finally:
        side.end()


def redis_cpu_s(client: redis.Redis) -> float:
    """Processor time of the Redis server so far."""
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


def stored_bytes(client: redis.Redis) -> int:
    """What Redis holds, without its buffers for clients and for the append-only file."""
    memory = client.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_aof_buffer"]) - int(memory["mem_clients_normal"])
