"""Short words for tests about whose turn it is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from typing_extensions import Unpack

from easel_queue import Kin, Origin, Queue, Serving, Task

LEASE_MS = 10_000_000


class Line:
    """Puts and serves; a task is called ``<user><number>`` by its user, or as the test says."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._made = itertools.count(1)

    def put(
        self,
        user: str,
        *,
        priority: int = 0,
        share: float = 1.0,
        models: Sequence[str] = (),
        batch: str = "",
        name: str = "",
    ) -> str:
        """Returns the task's name."""
        rid = name or f"{user}{next(self._made)}"
        call = self.queue.tasks.put(
            b"x",
            request_id=rid,
            priority=priority,
            origin=Origin(user, share=share),
            kin=Kin(batch, models),
            meta={"user": user},
        )
        self.queue.run(call)
        return rid

    def serve(self, **how: Unpack[Serving]) -> Task | None:
        return self.queue.run(self.queue.tasks.reserve(worker="w", lease_ms=LEASE_MS, **how))

    def serve_batch(self, limit: int, **how: Unpack[Serving]) -> list[Task]:
        call = self.queue.tasks.reserve_batch(worker="w", lease_ms=LEASE_MS, limit=limit, **how)
        return list(self.queue.run(call))

    def finish(self, task: Task) -> None:
        self.queue.run(self.queue.tasks.finish(task, b"r"))

    def users(self, count: int, **how: Unpack[Serving]) -> str:
        """The users of the next tasks, in the order in which they are served: one letter each."""
        served = []
        for _ in range(count):
            task = self.serve(**how)
            assert task is not None, "nothing may be served"
            self.finish(task)
            served.append(task.meta["user"])
        return "".join(served)

    def names(self, count: int, **how: Unpack[Serving]) -> list[str]:
        """The same by the tasks' names; fewer when nothing more may be served. None of them ends."""
        served = []
        for _ in range(count):
            task = self.serve(**how)
            if task is None:
                break
            served.append(task.request_id)
        return served
