"""A commit wakes the watchers of its queue only when one of them can get something by it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from easel_queue import Queue

WATCHER = {"group": "eas", "uid": "u", "connection": "c"}


class Events:
    """What the service publishes."""

    def __init__(self, url: str, channel: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(channel)
        self._channel = channel
        assert self._pubsub.get_message(timeout=5) is None  # the subscription itself, ignored

    def so_far(self) -> int:
        """How many came since the last look. A message of our own marks the end."""
        self._client.publish(self._channel, "end")
        count = 0
        while True:
            message = self._pubsub.get_message(timeout=5)
            if message and message["data"] == b"end":
                return count
            count += message is not None

    def close(self) -> None:
        self._pubsub.close()
        self._client.close()


@pytest.fixture
def events(redis_url: str, sink: Queue) -> Iterator[Events]:
    events = Events(redis_url, sink.keys.events)
    yield events
    events.close()


def put_and_deliver(sink: Queue, count: int, window: int) -> list[int]:
    for number in range(count):
        sink.run(sink.sink.append(b"x", request_id=f"r{number}"))
    sink.run(sink.sink.join(**WATCHER, window=window, ttl_ms=60_000))
    return [entry.index for entry in sink.run(sink.sink.deliver(**WATCHER, limit=100))]


def test_a_commit_that_leaves_nothing_to_deliver_wakes_nobody(sink: Queue, events: Events) -> None:
    indexes = put_and_deliver(sink, count=3, window=10)
    events.so_far()
    assert sink.run(sink.sink.commit(indexes, group="eas")) == 3
    assert events.so_far() == 0


def test_room_in_a_window_wakes_who_waits_for_it(sink: Queue, events: Events) -> None:
    indexes = put_and_deliver(sink, count=3, window=2)
    assert len(indexes) == 2
    events.so_far()
    sink.run(sink.sink.commit(indexes, group="eas"))
    assert events.so_far() == 1


def test_the_last_commit_of_an_ended_stream_wakes_its_watchers(sink: Queue, events: Events) -> None:
    indexes = put_and_deliver(sink, count=1, window=2)
    sink.run(sink.sink.end())
    events.so_far()
    sink.run(sink.sink.commit(indexes, group="eas"))
    assert events.so_far() == 1
