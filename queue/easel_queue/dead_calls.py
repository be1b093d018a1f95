"""Dead letters: tasks that were given up, listed, shown, and put back into the input queue.

Deleting and truncating them, and EAS's own operations, are the rear queue's `StreamCalls`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from easel_queue.call import Call, Raw, chunks, mapping, text, to_json
from easel_queue.errors import raise_for
from easel_queue.keys import INPUT, REAR, Keys
from easel_queue.model import Claim, DeadLetter, DeadPage, Placed, Requeued


class DeadCalls:
    """Builds the calls about dead letters of one service.

    A letter is named by its index or its request id; a name that is both is an index.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._rear = (keys.of(REAR, "entries"), keys.of(REAR, "rid"))
        self._both = (
            *self._rear,
            keys.of(INPUT, "entries"),
            keys.of(INPUT, "rid"),
            keys.waiting,
            keys.of(INPUT, "eos"),
        )

    def page(
        self,
        *,
        start: int = 0,
        limit: int = 50,
        newest_first: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> Call[DeadPage]:
        """Letters without their bodies, in order of their index.

        It begins at `start` (inclusive; 0: the end where the order begins). With `tags` at most 1000 are
        looked at; `DeadPage.next_index` says where to go on.
        """
        args = (start, limit, int(newest_first), to_json(tags or {}))

        def read(raw: Raw) -> DeadPage:
            return DeadPage(tuple(_letter(item) for item in chunks(raw[1:], 9)), int(raw[0]))

        return Call("list_dead", self._rear[:1], args, read)

    def show(self, name: str) -> Call[DeadLetter | None]:
        """One letter with its body, or None."""

        def read(raw: Raw) -> DeadLetter | None:
            return None if raw is None else _letter(raw)

        return Call("show_dead", self._rear, (name,), read)

    def requeue(self, name: str, *, max_length: int = 0, max_bytes: int = 0) -> Call[Placed | None]:
        """Put one letter back to its old place in the line, under its index and request id.

        None when there is no such letter. Repeating it while the task lives answers the same.

        Its tag ``requeued`` counts how often that was done; a second result will come, with that tag.

        Raises:
            QueueFullError: the input queue has no room; the letter stays.
            StreamEndedError: the input's stream was ended; the letter stays.
            RequestIdTakenError: a newer task has its request id; the letter stays.
        """

        def read(raw: Raw) -> Placed | None:
            if raw is None:
                return None
            if isinstance(raw, int):
                why = "the input queue is full or has ended, or a newer task has its request id"
                raise_for(raw, f"requeue {name} refused: {why}")
            return Placed(int(raw[0]), text(raw[1]))

        return Call("requeue_dead", self._both, (name, max_length, max_bytes), read, durable=True)

    def requeue_matching(
        self,
        *,
        start: int = 0,
        limit: int = 100,
        tags: Mapping[str, str] | None = None,
        max_length: int = 0,
        max_bytes: int = 0,
    ) -> Call[Requeued]:
        """Put letters that have all of `tags` back, oldest first, until `limit` or the input queue is full.

        At most 100 are looked at in one call; call again with `start` at `Requeued.next_index`.

        Raises:
            StreamEndedError: the input's stream was ended; the letters stay.
        """
        args = (start, limit, to_json(tags or {}), max_length, max_bytes)

        def read(raw: Raw) -> Requeued:
            if isinstance(raw, int):
                raise_for(raw, "requeue refused: the input's stream was ended")
            return Requeued(int(raw[0]), int(raw[1]), bool(raw[2]))

        # What died again since an answer that was lost would be put back twice, and the count would be wrong.
        return Call("requeue_matching", self._both, args, read, repeatable=False, durable=True)


def _letter(raw: Raw) -> DeadLetter:
    """Nine fields, and for a single letter the meta, the body and its claim behind them."""
    index, rid, tags, priority, deliveries, died, put, errors, size = raw[:9]
    meta, data, claim = raw[9:] if len(raw) > 9 else (None, b"", "")
    return DeadLetter(
        index=int(index),
        request_id=text(rid),
        tags=mapping(tags),
        priority=int(priority),
        deliveries=int(deliveries or 0),
        died_ms=int(died),
        enqueued_ms=int(put or 0),
        errors=tuple(json.loads(errors)) if errors else (),
        size=int(size or 0),
        meta=mapping(meta),
        data=bytes(data),
        claim=Claim.read(text(claim)),
    )
