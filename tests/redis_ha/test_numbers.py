"""A promoted replica that lost the newest writes gives out no number that its old master had given out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from easel_queue import AsyncQueue, LeaseLostError, Queue, QueueUnavailableError, Task, embedded
from easel_queue.promotion import GAP

from .servers import Server, until


@dataclass
class Pair:
    """A master, and its replica that can be promoted behind its back: what comes later is lost."""

    master: Server
    replica: Server

    def promote(self) -> None:
        with self.master.client() as old, self.replica.client() as new:
            behind = old.info("replication")["master_repl_offset"]
            until("a replica in step", lambda: new.info("replication")["slave_repl_offset"] >= behind)
            new.execute_command("REPLICAOF", "NO", "ONE")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    password = embedded.new_password()
    master = Server(tmp_path / "master", password).start()
    follow = f"replicaof 127.0.0.1 {master.port}"
    replica = Server(tmp_path / "replica", password, (follow,)).start()
    with replica.client() as client:
        until("replication", lambda: client.info("replication")["master_link_status"] == "up")
    yield Pair(master, replica)
    master.stop()
    replica.stop()


def take(queue: Queue, worker: str) -> Task:
    task = queue.run(queue.tasks.reserve(worker=worker, lease_ms=60_000))
    assert task is not None
    queue.run(queue.tasks.start(task, lease_ms=60_000))
    return task


def test_a_lease_that_was_lost_fences_nobody_and_is_not_given_twice(pair: Pair) -> None:
    before = Queue(pair.master.url)
    before.run(before.tasks.put(b"x", request_id="r1"))
    pair.promote()
    lost = take(before, "old")

    after = Queue(pair.replica.url)
    fresh = take(after, "new")
    assert (fresh.index, fresh.request_id) == (lost.index, lost.request_id), "both were given the same task"
    assert fresh.token > lost.token + GAP // 2
    with pytest.raises(LeaseLostError):
        after.run(after.tasks.finish(lost, b"stale"))
    after.run(after.tasks.finish(fresh, b"right"))
    page = after.run(after.sink.get(limit=10))
    assert [entry.data for entry in page.entries] == [b"right"]
    before.close()
    after.close()


def test_a_late_commit_names_nobody_else_s_result(pair: Pair) -> None:
    before = Queue(pair.master.url)
    for rid in ("r1", "r2"):
        before.run(before.tasks.put(b"x", request_id=rid))
    pair.promote()
    seen = before.run(before.tasks.finish(take(before, "old"), b"lost")).sink_index
    lost = before.run(before.tasks.put(b"x", request_id="lost")).index

    after = Queue(pair.replica.url)
    kept = after.run(after.tasks.finish(take(after, "new"), b"kept")).sink_index
    again = after.run(after.tasks.put(b"x", request_id="other")).index
    assert after.run(after.sink.commit([seen], group="g")) == 0
    assert after.run(after.source.delete([lost])) == 0
    assert after.run(after.sink.count()) == 1
    assert kept > seen + GAP // 2
    assert again > lost + GAP // 2
    before.close()
    after.close()


async def test_the_gap_is_made_once_for_each_promotion(pair: Pair) -> None:
    before = Queue(pair.master.url)
    assert before.run(before.tasks.put(b"x", request_id="r0")).index == 1
    before.close()
    pair.promote()
    indexes = []
    for number in range(3):
        queue = AsyncQueue(pair.replica.url)
        indexes.append((await queue.run(queue.tasks.put(b"x", request_id=f"a{number}"))).index)
        await queue.close()
        threaded = Queue(pair.replica.url)
        indexes.append(threaded.run(threaded.tasks.put(b"x", request_id=f"t{number}")).index)
        threaded.close()
    assert indexes == list(range(indexes[0], indexes[0] + 6))
    assert 1 + GAP < indexes[0] <= 1 + 2 * GAP


def test_a_replica_is_refused_even_for_reading(pair: Pair) -> None:
    queue = Queue(pair.replica.url)
    with pytest.raises(QueueUnavailableError, match="is a replica"):
        queue.run(queue.sink.count())
    queue.close()
