"""What a failover loses: acknowledged puts that the new master does not have.

Eight clients put at full speed through Sentinel while the master is killed (SIGKILL), frozen and continued
(SIGSTOP, SIGCONT: a network that swallows everything), or replaced on request while it is alive. Afterwards
every acknowledged request id is looked up on the new master.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from easel_queue import Queue, QueueUnavailableError
from harness import Spread, publish

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from redis_ha.servers import MASTER, Server, Watched, until, watched

CLIENTS = 8
BEFORE_S, AFTER_S = 2.0, 1.0
BODY = b"x" * 500


class Putters:
    """Clients that put one task after the other and remember what was acknowledged."""

    def __init__(self, url: str, replicas: int) -> None:
        self.accepted: list[str] = []
        self.refused = 0
        self._stop = threading.Event()
        self._queue = Queue(url, wait_replicas=replicas, wait_ms=200)
        self._threads = [threading.Thread(target=self._put, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _put(self, thread: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            name = f"{thread}-{number}"
            try:
                self._queue.run(self._queue.tasks.put(BODY, request_id=name))
            except QueueUnavailableError:
                self.refused += 1
                time.sleep(0.05)
            else:
                self.accepted.append(name)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._queue.close()


def kill(setup: Watched, old: Server) -> None:
    old.kill()
    setup.wait_promoted(old)


def cut_off(setup: Watched, old: Server) -> None:
    old.signal(signal.SIGSTOP)
    setup.wait_promoted(old)
    old.signal(signal.SIGCONT)


def planned(setup: Watched, old: Server) -> None:
    with setup.sentinels[0].client() as sentinel:
        sentinel.execute_command("SENTINEL", "FAILOVER", MASTER)
    setup.wait_promoted(old)
    with old.client() as client:
        until("the old master was told", lambda: client.info("replication")["role"] == "slave")


EVENTS: dict[str, Callable[[Watched, Server], None]] = {
    "`kill -9` of the master": kill,
    "master frozen, later continued": cut_off,
    "`SENTINEL FAILOVER`, master alive": planned,
}
GUARDED = ("min-replicas-to-write 1", "min-replicas-max-lag 1")


def once(event: Callable[[Watched, Server], None], replicas: int, lines: tuple[str, ...]) -> tuple[int, int]:
    """Acknowledged puts, and how many of them the new master lacks."""
    with (
        tempfile.TemporaryDirectory(prefix="easel-bench-") as folder,
        watched(Path(folder), lines=lines) as setup,
    ):
        putters = Putters(setup.url, replicas)
        time.sleep(BEFORE_S)
        old = setup.master
        event(setup, old)
        time.sleep(AFTER_S)
        putters.end()
        new = setup.master
        with new.client() as client:
            stored = {name.decode() for name in client.hkeys("easel:{easel}:in:rid")}
        return len(putters.accepted), len(set(putters.accepted) - stored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    rows = [["", "setting", "puts acknowledged", "of them lost", "runs with a loss"]]
    for label, event in EVENTS.items():
        settings: list[tuple[str, int, tuple[str, ...]]] = [("no WAIT", 0, ()), ("WAIT 1", 1, ())]
        if event is planned:
            settings.insert(1, ("no WAIT, min-replicas-to-write 1", 0, GUARDED))
        for setting, replicas, lines in settings:
            runs = [once(event, replicas, lines) for _ in range(given.rounds)]
            print(label, setting, runs, flush=True)
            accepted, lost = zip(*runs, strict=True)
            hit = f"{sum(1 for number in lost if number)} of {len(runs)}"
            rows.append([label, setting, Spread.of(accepted).show(0), Spread.of(lost).show(0), hit])
    publish(
        "failover_loss",
        "Acknowledged puts that a failover loses",
        rows,
        [
            f"Median (lowest to highest) of {given.rounds} runs; {CLIENTS} clients put at full speed.",
            "One master, one replica and three sentinels on one machine, down-after-milliseconds 500.",
            "Between machines the replica is further behind, and more is lost. After a failover no replica",
            "is left, so that WAIT 1 accepts nothing more: its counts of acknowledged puts end there.",
        ],
    )


if __name__ == "__main__":
    main()
