"""Tasks while they run and wait: who runs what, how far it looks, and asking it to end early."""

from __future__ import annotations

from collections.abc import Sequence

from easel_queue.call import Arg, Call, Raw, mapping, text
from easel_queue.errors import raise_for
from easel_queue.keys import INPUT
from easel_queue.line_calls import LineCalls, once_key
from easel_queue.model import Once, Task
from easel_queue.run_model import Found, InterruptOutcome, Preview, Running, Waiting, WaitingPage, Whose

MAX_PREVIEW_BYTES = 256 * 1024
"""Size of one preview at most: it is a glimpse, kept in Redis's memory."""

PREVIEW_KEPT_MS = 30_000
"""A preview is older than the next one long before that; of a task that ended nobody asks for one."""

NAME_KEPT_MS = 7 * 24 * 3600 * 1000
"""How long a sender's own name of a task finds it."""

EVERYBODY = Whose()


class RunCalls(LineCalls):
    """Builds the calls about tasks that run, and that wait to."""

    def running(self) -> Call[Sequence[Running]]:
        """The tasks that workers run now, the one that began first in front; 1000 at most."""

        def read(raw: Raw) -> tuple[Running, ...]:
            now = int(raw[0])
            return tuple(_running(item, now) for item in raw[1:])

        return Call("list_running", (self.keys.of(INPUT, "started"),), (), read)

    def waiting(self, *, offset: int = 0, limit: int = 20, whose: Whose = EVERYBODY) -> Call[WaitingPage]:
        """A page of the tasks that wait, in order of priority and arrival; fetched ones stand in front."""

        def read(raw: Raw) -> WaitingPage:
            tasks = tuple(
                Waiting(int(index), text(rid), mapping(meta), int(prio), int(at))
                for index, rid, meta, prio, at in raw[2:]
            )
            return WaitingPage(int(raw[0]), int(raw[1]), tasks)

        args: tuple[Arg, ...] = (offset, limit, whose.mode, *sorted(whose.users or ()))
        return Call("list_waiting", (self.keys.waiting, self.keys.leases), args, read)

    def interrupt(self, request_id: str) -> Call[InterruptOutcome]:
        """Ask a running task to end early with what is done; one that waits stays as it is."""
        return self._interrupt(request_id, "interrupt", repeatable=True)

    def skip(self, request_id: str) -> Call[InterruptOutcome]:
        """Ask a running task to cut its current batch short."""
        # Repeating it after a lost answer could cut two batches.
        return self._interrupt(request_id, "skip", repeatable=False)

    def _interrupt(self, request_id: str, what: str, *, repeatable: bool) -> Call[InterruptOutcome]:
        names = (self.keys.of(INPUT, "rid"),)
        return Call(
            "interrupt_task", names, (request_id, what), lambda raw: InterruptOutcome(text(raw)), repeatable
        )

    def preview(self, task: Task, data: bytes, *, media_type: str) -> Call[int]:
        """Show how a running task's picture looks so far. Answers the preview's number.

        Raises:
            ValueError: more than `MAX_PREVIEW_BYTES`.
            LeaseLostError: the task is no longer the caller's.
        """
        if len(data) > MAX_PREVIEW_BYTES:
            raise ValueError(f"a preview of {len(data)} bytes; at most {MAX_PREVIEW_BYTES}")

        def read(raw: Raw) -> int:
            raise_for(int(raw), f"task {task.index}: preview")
            return int(raw)

        names = (self.keys.leases, self.keys.preview(task.request_id))
        args = (task.index, task.token, task.request_id, media_type, data, PREVIEW_KEPT_MS)
        return Call("preview_task", names, args, read)

    def show_preview(self, request_id: str, *, known: int = -1) -> Call[Preview | None]:
        """A task's newest preview; without its picture if that is the `known` one, None if there is none."""

        def read(raw: Raw) -> Preview | None:
            if raw is None:
                return None
            if len(raw) == 1:
                return Preview(int(raw[0]))
            return Preview(int(raw[0]), text(raw[1]), bytes(raw[2]))

        return Call("show_preview", (self.keys.preview(request_id),), (known,), read)

    def name(self, request_id: str, name: str, *, user: str) -> Call[None]:
        """Let `find` know a task by its sender's name for it, for a week."""
        names = (self.keys.alias(user, name),)
        return Call("name_task", names, (request_id, NAME_KEPT_MS), lambda raw: None)

    def find(self, name: str, *, user: str) -> Call[Found | None]:
        """A task by its request id, by the idempotency key that `user` put it under, or by that user's name
        for it; None for one that is not known (any more)."""

        def read(raw: Raw) -> Found | None:
            if raw is None:
                return None
            return Found(text(raw[0]), text(raw[1]) if len(raw) > 1 else None)

        keys = self.keys
        names = (
            keys.of(INPUT, "rid"),
            keys.done(name),
            once_key(keys, INPUT, Once(user, name, "")),
            keys.alias(user, name),
        )
        return Call("find_task", names, (name,), read)


def _running(raw: Raw, now: int) -> Running:
    index, started, rid, user, meta, tags, progress, worker, interrupt = raw
    began = int(float(started))
    return Running(
        index=int(index),
        request_id=text(rid),
        user=text(user),
        meta=mapping(meta),
        tags=mapping(tags),
        worker=text(worker),
        started_ms=began,
        elapsed_ms=max(0, now - began),
        progress=mapping(progress),
        interrupted=text(interrupt) == "1",
    )
