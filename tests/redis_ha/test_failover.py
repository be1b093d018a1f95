"""Clients that were connected to the old master go on with the new one, by themselves."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path

import pytest

from easel_queue import (
    AsyncQueue,
    Call,
    EventHub,
    NotReplicatedError,
    Queue,
    QueueUnavailableError,
    Task,
    embedded,
)
from easel_queue.keys import Keys

from .servers import MASTER, Cluster, Watched, until


def steadily(queue: Queue, call: Call[object]) -> object:
    """Send a call until Redis answers, as a worker does."""
    answers: list[object] = []

    def answered() -> bool:
        try:
            answers.append(queue.run(call))
        except NotReplicatedError:
            raise
        except QueueUnavailableError:
            return False
        return True

    until("an answer", answered)
    return answers[0]


def begin(queue: Queue, rid: str) -> Task:
    queue.run(queue.tasks.put(b"x", request_id=rid))
    task = queue.run(queue.tasks.reserve(worker="w", lease_ms=60_000))
    assert task is not None
    queue.run(queue.tasks.start(task, lease_ms=60_000))
    return task


async def ride(queue: Queue, loop_queue: AsyncQueue, hub: EventHub) -> None:
    """Everything works again, with clients from before."""
    with hub.on_task("heard") as events:
        steadily(queue, queue.tasks.put(b"x", request_id="after"))
        states = []
        for _ in range(100):  # what is said before the hub is back is lost, as events may be
            queue.run(queue.tasks.put(b"x", request_id="heard"))
            queue.run(queue.tasks.cancel(request_id="heard", data=b""))
            queue._redis.delete(queue.keys.done("heard"))  # so that the next put is no repetition
            event = await events.next(0.2)
            states.append(event and event["s"])
            if states[-1] in {"waiting", "cancelled"}:
                break
        assert states[-1] in {"waiting", "cancelled"}, states
    tries = [loop_queue.tasks.status("after")] * 65  # more than there are connections: every old one is met
    found = await asyncio.gather(*map(loop_queue.run, tries))
    assert all(status is not None for status in found)


async def connected(url: str) -> tuple[Queue, AsyncQueue, EventHub]:
    loop_queue = AsyncQueue(url)
    hub = EventHub(loop_queue)
    await hub.start()
    await hub.ready()
    # A starved machine may need more than the usual second for a confirmation; that is not tested here.
    return Queue(url, wait_replicas=1, wait_ms=4000), loop_queue, hub


async def close(queue: Queue, loop_queue: AsyncQueue, hub: EventHub) -> None:
    await hub.stop()
    await loop_queue.close()
    queue.close()


async def test_a_killed_master(own_watched: Watched) -> None:
    clients = await connected(own_watched.url)
    queue = clients[0]
    task = begin(queue, "before")
    old = own_watched.master
    old.kill()
    unsure = Queue(own_watched.url)
    with pytest.raises(QueueUnavailableError) as caught:
        unsure.run(unsure.tasks.put(b"x", request_id="meanwhile"))
    for server in (*own_watched.data, *own_watched.sentinels):
        assert server.password not in str(caught.value)
    unsure.close()
    own_watched.wait_promoted(old)
    # The replica that confirmed is the master now, and the old one comes back as its replica.
    own_watched.bring_back(old)
    assert steadily(queue, queue.tasks.extend(task, lease_ms=60_000)), "the lease went with it"
    steadily(queue, queue.tasks.finish(task, b"result"))
    await ride(*clients)
    page = queue.run(queue.sink.get(limit=10))
    assert [(entry.request_id, entry.data) for entry in page.entries] == [("before", b"result")]
    await close(*clients)


@pytest.mark.slow  # sentinels look for ten seconds before they make the old master a replica
async def test_a_planned_switch(own_watched: Watched) -> None:
    clients = await connected(own_watched.url)
    queue = clients[0]
    task = begin(queue, "before")
    old = own_watched.master
    with own_watched.sentinels[0].client() as sentinel:
        sentinel.execute_command("SENTINEL", "FAILOVER", MASTER)
    own_watched.wait_promoted(old)
    own_watched.wait_replicating()
    steadily(queue, queue.tasks.finish(task, b"result"))
    await ride(*clients)
    await close(*clients)


@pytest.mark.slow
async def test_a_master_that_is_cut_off_and_comes_back(own_watched: Watched) -> None:
    clients = await connected(own_watched.url)
    queue = clients[0]
    task = begin(queue, "before")
    old = own_watched.master
    old.signal(signal.SIGSTOP)
    own_watched.wait_promoted(old)
    free = Queue(own_watched.url)
    steadily(free, free.tasks.finish(task, b"result"))
    free.close()
    old.signal(signal.SIGCONT)
    own_watched.wait_replicating()
    await ride(*clients)
    assert queue.run(queue.sink.count()) == 1
    await close(*clients)


@pytest.mark.skipif(
    embedded.find_server().version < (9, 0, 0),
    reason="servers before Valkey 9 cannot move a slot in one step",
)
def test_a_slot_that_moves_in_one_step(own_cluster: Cluster) -> None:
    queue = Queue(own_cluster.url)
    slot = queue.keys.slot
    old = own_cluster.owner(slot)
    new = next(node for node in own_cluster.nodes if node is not old)
    accepted: list[str] = []
    moved = threading.Event()
    begun = threading.Event()

    def send() -> None:
        while not moved.is_set() or len(accepted) < 500:
            name = f"r{len(accepted)}"
            steadily(queue, queue.tasks.put(b"x", request_id=name))
            accepted.append(name)
            if len(accepted) == 100:
                begun.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert begun.wait(30)
    with old.client() as source, new.client() as target:
        name = target.execute_command("CLUSTER", "MYID").decode()
        source.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", name)
    until("the move", lambda: all(own_cluster.owner(slot, asking=node) is new for node in own_cluster.nodes))
    moved.set()
    sender.join(30)
    assert not sender.is_alive()
    with new.client() as client:
        stored = {rid.decode() for rid in client.hkeys(queue.keys.of("in", "rid"))}
    assert stored == set(accepted)
    queue.close()


async def test_a_killed_owner_of_the_slot(own_cluster: Cluster, tmp_path: Path) -> None:
    slot = Keys("easel").slot
    old = own_cluster.owner(slot)
    replica = own_cluster.add_replica(tmp_path / "replica", old)
    clients = await connected(own_cluster.url)
    queue = clients[0]
    task = begin(queue, "before")
    old.kill()
    assert own_cluster.wait_promoted(slot, old) is replica
    old.start()
    with replica.client() as client:
        until("the old owner follows", lambda: client.info("replication")["connected_slaves"] == 1)
    steadily(queue, queue.tasks.finish(task, b"result"))
    await ride(*clients)
    assert queue.run(queue.sink.count()) == 1

    # And back, planned: the owner of before answers MOVED on connections that are open.
    with old.client() as client:
        until("in step", lambda: client.info("replication")["master_link_status"] == "up")
        client.execute_command("CLUSTER", "FAILOVER")
    own_cluster.wait_promoted(slot, replica)
    steadily(queue, queue.sink.commit([1], group="g"))
    assert queue.run(queue.source.count()) == 1
    await close(*clients)
