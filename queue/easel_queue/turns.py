"""Whose turn it is to look, among the watchers that one process has of one group.

A new item is one watcher's business, so one is called and not all: a put costs one delivery for each group,
however many watch. The rules that lose nothing:

- Who looked and left something behind calls the next one, until nothing is left or everybody who waits has
  looked since the last change.
- A change that comes while a watcher looks makes it look again before it waits.
- Who was called and goes away without having looked passes the call on.
- A watcher whose window is full is not called for items; it is when one of its items is committed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection

from easel_queue.model import Delivery


class Turn:
    """One watcher's place among those of its group. `begin`, a delivery, `looked`; when empty, `wait`."""

    def __init__(self, group: GroupTurns, uid: str) -> None:
        self.uid = uid
        self.room = 1
        """Room in the window when it last looked."""
        self.seen = -1
        """The group's version when it last looked."""
        self._group = group
        self._called = asyncio.Event()
        self._looking = False
        self._owes_look = False

    def begin(self) -> None:
        """A look begins: what changes from now on is not part of it."""
        self._called.clear()
        self._looking = True
        self.seen = self._group.version

    def looked(self, delivery: Delivery) -> None:
        """What the look found."""
        self._owes_look = self._looking = False
        self.room = delivery.room
        if delivery.left:
            self._group.call_next()

    async def wait(self, timeout_s: float) -> None:
        """Come back when it is this watcher's turn to look, or the time is over."""
        if self.room and self.seen != self._group.version:
            return
        self._group.queue_up(self)
        # No wait_for: before Python 3.12 it swallows a cancellation that comes together with the call.
        waiting = asyncio.ensure_future(self._called.wait())
        try:
            await asyncio.wait({waiting}, timeout=timeout_s)
        finally:
            waiting.cancel()
            self._group.step_out(self)

    def call(self) -> None:
        """It is this watcher's turn."""
        self._owes_look = True
        self._called.set()

    def made_room(self) -> None:
        """There is room in the window again: for a full one, or for a look that may have missed it."""
        if self._looking or not self.room:
            self.call()

    def leave(self) -> None:
        """The watcher goes."""
        self._group.remove(self)
        if self._owes_look:
            self._group.call_next()


class GroupTurns:
    """The watchers of one group in this process."""

    def __init__(self) -> None:
        self.version = 0
        """Counts the changes that may have brought something to deliver."""
        self.turns: set[Turn] = set()
        self._waiting: dict[Turn, None] = {}  # a dict keeps the order: who waits longest is first

    def enter(self, uid: str) -> Turn:
        """A new watcher."""
        turn = Turn(self, uid)
        self.turns.add(turn)
        return turn

    def remove(self, turn: Turn) -> None:
        self.turns.discard(turn)
        self.step_out(turn)

    def queue_up(self, turn: Turn) -> None:
        """Take part in `call_next`, unless the window is full."""
        if turn.room:
            self._waiting[turn] = None

    def step_out(self, turn: Turn) -> None:
        self._waiting.pop(turn, None)

    def call_next(self) -> None:
        """Call who waits longest, unless it has looked since the last change: then all who wait have."""
        turn = next(iter(self._waiting), None)
        if turn is not None and turn.seen < self.version:
            self.step_out(turn)
            turn.call()

    def changed(self) -> None:
        """Something may be there to deliver: one watcher shall look."""
        self.version += 1
        self.call_next()

    def made_room(self, uids: Collection[str]) -> None:
        """Items of these watchers were committed or given back."""
        for turn in self.turns:
            if turn.uid in uids:
                turn.made_room()

    def call_all(self) -> None:
        """Anything may have changed."""
        self.version += 1
        for turn in self.turns:
            turn.call()


class Turns:
    """The groups of one queue."""

    def __init__(self) -> None:
        self._groups: defaultdict[str, GroupTurns] = defaultdict(GroupTurns)

    def enter(self, group: str, uid: str) -> Turn:
        """A new watcher; names as they stand in keys."""
        return self._groups[group].enter(uid)

    def leave(self, group: str, turn: Turn) -> None:
        """It goes."""
        turn.leave()
        if not self._groups[group].turns:
            del self._groups[group]

    def changed(self) -> None:
        """A new item: every group gets it."""
        for group in self._groups.values():
            group.changed()

    def call_all(self) -> None:
        """Anything may have changed."""
        for group in self._groups.values():
            group.call_all()

    def of(self, group: str) -> GroupTurns | None:
        """A group, if somebody here watches in it."""
        return self._groups.get(group)
