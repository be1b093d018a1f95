"""The shape of every background thread of the worker."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

log = logging.getLogger(__name__)


class Duty(ABC):
    """One named thread with a start and a stop. Subclasses write `body`, which ends soon after `stop`.

    An exception that leaves `body` is a bug: it is logged and `on_crash` ends the process, because a
    worker with a missing stage would hold leases for ever without doing anything.
    """

    name = "duty"

    def __init__(self, on_crash: Callable[[str], None]) -> None:
        self.stopping = threading.Event()
        self._on_crash = on_crash
        # A daemon, so that a thread stuck inside a C call cannot keep a stopped worker alive.
        self._thread = threading.Thread(target=self._run, name=f"easel-{self.name}", daemon=True)

    def start(self) -> None:
        """Begin; at most once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; returns at once. `join` waits for it."""
        self.stopping.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end. False when the thread still runs after `timeout_s`."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @abstractmethod
    def body(self) -> None:
        """What the thread does."""

    def _run(self) -> None:
        try:
            self.body()
        except Exception:
            log.exception("the %s thread failed; the worker cannot go on", self.name)
            self._on_crash(self.name)
