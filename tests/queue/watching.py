"""A watcher without a socket, and items for it."""

from __future__ import annotations

from itertools import count

from easel_queue import Entry, Queue, Rejected

_calls = count(1)


class Watch:
    """A watcher without a socket."""

    def __init__(
        self, queue: Queue, uid: str = "u1", group: str = "eas", connection: str = "c1", **how: object
    ) -> None:
        self.queue, self.uid, self.group, self.connection = queue, uid, group, connection
        self.how: dict[str, object] = {"window": 5, **how}

    def join(self) -> Watch:
        self.queue.run(
            self.queue.sink.join(group=self.group, uid=self.uid, connection=self.connection, **self.how)
        )
        return self

    def deliver(self, limit: int = 100) -> tuple[Entry, ...]:
        return self.queue.run(
            self.queue.sink.deliver(group=self.group, uid=self.uid, connection=self.connection, limit=limit)
        )

    def indexes(self, limit: int = 100) -> list[int]:
        return [entry.index for entry in self.deliver(limit)]

    def commit(self, *indexes: int) -> int:
        return self.queue.run(self.queue.sink.commit(indexes, group=self.group))

    def reject(self, *indexes: int, **how: object) -> Rejected:
        how = {
            "uid": self.uid,
            "call_id": f"call-{next(_calls)}",
            "error": "Broken",
            "max_delivery": 2,
            **how,
        }
        return self.queue.run(self.queue.sink.reject(indexes, group=self.group, **how))

    def leave(self) -> int:
        return self.queue.run(
            self.queue.sink.leave(group=self.group, uid=self.uid, connection=self.connection)
        )


def fill(queue: Queue, count: int, **tags: str) -> None:
    start = queue.run(queue.sink.attributes()).last
    for number in range(start + 1, start + count + 1):
        queue.run(queue.sink.append(b"r%d" % number, request_id=f"s-{number}", tags=tags))
