"""Easel as a synchronous call uses it: put; reserve, start and finish (the result to its caller); take it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from easel_queue import Reply
from peers import easel_peer

DISTRIBUTIONS = easel_peer.DISTRIBUTIONS
work = easel_peer.work


class Producer(easel_peer.Producer):
    """Puts tasks and waits for their own results, as the gateway does for a caller that waits."""

    reply = Reply.DIRECT

    def results(self, jobs: Sequence[str]) -> None:
        missing = set(jobs)
        while missing:
            ended = self._next_ended(missing)
            missing -= ended
            for answer in self._queue.run_many([self._queue.tasks.take_reply(job) for job in ended]):
                if isinstance(answer, Exception):
                    raise answer
                assert answer is not None
                assert answer.data == b"{}"
            if missing:
                time.sleep(easel_peer.LOOK_EVERY_S)

    def _next_ended(self, jobs: set[str]) -> set[str]:
        """Those that ended, by the events that are there; waits for the first."""
        ended: set[str] = set()
        while message := self._events.get_message(timeout=0 if ended else 1.0):
            event = json.loads(message["data"])
            if event.get("s") == "done" and event["r"] in jobs:
                ended.add(event["r"])
        return ended


def connect(url: str) -> Producer:
    return Producer(url)
