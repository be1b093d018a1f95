"""Records: what was asked of tasks whose results are kept (`Reply.KEPT`) for callers that come back."""

from __future__ import annotations

from collections.abc import Iterable

from easel_queue.call import Arg, Call, Raw, text
from easel_queue.keys import INPUT, Keys
from easel_queue.line_calls import clamp_priority
from easel_queue.run_calls import EVERYBODY
from easel_queue.run_model import Record, RecordPage, RecordStatus, Whose

WAITING_KEPT_MS = 60 * 24 * 3600 * 1000
"""How long a record waits for its task's end. From then on it is kept as long as the result: a week."""


class RecordCalls:
    """Builds the calls about records, and about the line that their tasks wait in."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def keep(
        self, request_id: str, *, user: str, kind: str, params: str, name: str = "", cut: bool = False
    ) -> Call[None]:
        """Keep what is asked of a task, before it is put.

        Args:
            kind: What is done, for the caller to tell.
            params: The request, opaque here.
            cut: Something in `params` was left out, because it is too large to be kept.
        """
        names = (self.keys.record(request_id), self.keys.records)
        args = (request_id, user, name, kind, params, int(cut), WAITING_KEPT_MS)
        return Call("keep_record", names, args, lambda raw: None, durable=True)

    def show(self, request_id: str) -> Call[Record | None]:
        """One record; None for one that never was, or whose week is over."""

        def read(raw: Raw) -> Record | None:
            return None if raw is None else _record(raw)

        return Call("show_record", (self.keys.record(request_id),), (request_id,), read)

    def page(
        self,
        statuses: Iterable[RecordStatus],
        *,
        offset: int = 0,
        limit: int = 20,
        whose: Whose = EVERYBODY,
    ) -> Call[RecordPage]:
        """Records of these statuses: the newest first, pending ones in the order of the line."""

        def read(raw: Raw) -> RecordPage:
            return RecordPage(int(raw[0]), tuple(_record(item) for item in raw[1:]))

        wanted = f",{','.join(status.value for status in statuses)},"
        args: tuple[Arg, ...] = (offset, limit, wanted, whose.mode, *sorted(whose.users or ()))
        return Call("list_records", (self.keys.records,), args, read)

    def rename(self, request_id: str, name: str) -> Call[bool]:
        """Give a record another name. False when there is none."""
        return self._change(request_id, "name", name)

    def bookmark(self, request_id: str, marked: bool) -> Call[bool]:
        """Mark a record, or take the mark away. False when there is none."""
        return self._change(request_id, "bookmarked", "1" if marked else "")

    def _change(self, request_id: str, field: str, value: str) -> Call[bool]:
        names = (self.keys.record(request_id),)
        return Call("change_record", names, (field, value), bool)

    def drop(self, request_id: str) -> Call[bool]:
        """Forget a record and its result. False when there was none."""
        keys = self.keys
        names = (keys.record(request_id), keys.records, keys.reply(request_id))
        return Call("drop_record", names, (request_id,), bool)

    def move(self, request_id: str, priority: int) -> Call[bool]:
        """Give a waiting task another priority. False when it does not wait."""
        names = (self.keys.of(INPUT, "rid"), self.keys.of(INPUT, "prio"))
        return Call("move_task", names, (request_id, clamp_priority(priority)), bool)

    def pause(self, paused: bool | None = None) -> Call[bool]:
        """Let workers take no more tasks (True) or take them again (False). Answers whether it is paused."""
        names = (self.keys.of(INPUT, "paused"), self.keys.bell)
        return Call("pause_line", names, ("" if paused is None else int(paused),), bool)


def _record(raw: Raw) -> Record:
    rid, user, name, kind, params, at, bookmarked, cut, status, position, ended, priority = raw
    return Record(
        request_id=text(rid),
        user=text(user),
        name=text(name),
        kind=text(kind),
        params=text(params),
        created_ms=int(at),
        bookmarked=text(bookmarked) == "1",
        cut=text(cut) == "1",
        status=RecordStatus(text(status)),
        position=int(position),
        ended_ms=int(text(ended) or 0),
        priority=int(text(priority) or 0),
    )
