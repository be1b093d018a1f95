"""Easel: put; reserve, start and finish (the result into the sink); deliver to a watcher, commit."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from itertools import count as counter

import redis

from easel_queue import Queue, Reply, Task

DISTRIBUTIONS = ("easel", "redis")
LEASE_MS = 30_000
WINDOW = 100
LOOK_EVERY_S = 0.002
"""Between two looks for the results of many jobs; one job's result is looked for when it is announced."""


class Producer:
    """Puts tasks and watches the sink, as the gateway does for its clients."""

    reply = Reply.SINK

    def __init__(self, url: str) -> None:
        self._queue = Queue(url, service="bench")
        self._name = uuid.uuid4().hex
        self._numbers = counter()
        self._joined = False
        self._events = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
        self._events.subscribe(self._queue.keys.events)

    def _put_call(self):
        return self._queue.tasks.put(
            b"{}", request_id=f"{self._name}-{next(self._numbers)}", reply=self.reply
        )

    def put(self) -> str:
        return self._queue.run(self._put_call()).request_id

    def put_many(self, count: int) -> Sequence[str]:
        placed = self._queue.run_many([self._put_call() for _ in range(count)])
        return [one.request_id for one in placed]  # an error has no id and ends the run, as it should

    def results(self, jobs: Sequence[str]) -> None:
        watcher = {"group": "eas", "uid": self._name, "connection": self._name}
        if not self._joined:
            self._queue.run(self._queue.sink.join(**watcher, window=WINDOW, ttl_ms=600_000))
            self._joined = True
        missing = set(jobs)
        deliver = self._queue.sink.deliver(**watcher, limit=WINDOW)
        entries = self._wait_and_deliver(deliver) if len(jobs) == 1 else self._queue.run(deliver)
        while True:
            if entries:
                commit = self._queue.sink.commit([entry.index for entry in entries], group="eas")
                missing.difference_update(entry.request_id for entry in entries)
                if not missing:
                    self._queue.run(commit)
                    return
                time.sleep(LOOK_EVERY_S)
                _, entries = self._queue.run_many([commit, deliver])
            else:
                entries = self._wait_and_deliver(deliver)

    def _wait_and_deliver(self, deliver):
        """Wait for the signal of a new result, as the gateway does, then look. What tells of a commit (it has
        the watchers whose windows have room again) concerns only those whose windows were full."""
        while message := self._events.get_message(timeout=1.0):
            event = json.loads(message["data"])
            if event.get("q") == "sink" and "w" not in event:
                break
        return self._queue.run(deliver)


def connect(url: str) -> Producer:
    return Producer(url)


def work(url: str, slots: int) -> None:
    """While one task is worked on the next is reserved, as by Easel's own worker; with more slots, that many
    of both. One round trip ends what is done, begins what was reserved and reserves what comes next. When
    nothing is running, a task is reserved and begun in the step that rings the bell."""
    queue = Queue(url, service="bench")
    reserve = queue.tasks.reserve(worker="w", lease_ms=LEASE_MS)
    begin = queue.tasks.reserve(worker="w", lease_ms=LEASE_MS, begin=True)
    running: list[Task] = []
    reserved: list[Task] = []
    while True:
        calls = [queue.tasks.finish(task, task.data) for task in running]
        calls += [queue.tasks.start(task, lease_ms=LEASE_MS) for task in reserved]
        idle = not running and not reserved
        answers = queue.run_many([*calls, *[begin if idle else reserve] * slots])
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        taken = [task for task in answers[len(calls) :] if task is not None]
        running, reserved = (taken, []) if idle else (reserved, taken)
        while not running and not reserved:
            running = [task for task in [queue.run_at_bell(begin, 1.0)] if task is not None]
