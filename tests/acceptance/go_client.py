"""The Go SDK's behaviour on the wire, again in Python from its description.

It learns its headers' names from the attributes, speaks protobuf, takes 200 for success and nothing else, and
its watch reads ahead, pings every second and reconnects for ever.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from typing import Any

from .frames import Item, read_attributes, read_item, read_items
from .service import REAR, TOKEN, WAIT_S, Service
from .wire import PING, RefusedError, WireSocket

PROTOBUF = {"Accept": "application/vnd.google.protobuf"}
PING_S = 1.0
RECONNECT_S = 1.0
AHEAD = 100


class GoQueue:
    """A client of one queue, made by its base path; ``""`` addresses ``/`` and ``/sink``."""

    def __init__(
        self,
        service: Service,
        *,
        sink: bool = False,
        base: str | None = None,
        gid: str = "eas",
        rear: bool = False,
    ) -> None:
        base = f"/api/predict/{service.name}" if base is None else base
        self.path = (f"{base}/sink" if sink else base) or "/"
        self.uid = str(uuid.uuid4())
        self.gid = gid
        self._service = service
        self._http = service.http  # every header that matters is given with each call
        self._rear = REAR if rear else {}
        self._names: dict[str, str] = {}

    def attributes(self) -> dict[str, str]:
        """Protobuf attributes; needs to know nothing before."""
        headers = {"Authorization": TOKEN, **PROTOBUF, **self._rear}
        response = self._http.get(self.path, params={"_attrs_": "true"}, headers=headers)
        assert response.status_code == 200, response.text
        return read_attributes(response.content)

    def put(self, data: bytes, tags: dict[str, str] | None = None, priority: int = 0) -> tuple[int, str]:
        """Index and request id."""
        headers = self._identity()
        if priority and self._names["priority"]:
            headers[self._names["priority"]] = str(priority)
        response = self._http.post(self.path, params=tags or {}, content=data, headers=headers)
        assert response.status_code == 200, response.text
        return int(response.text, 0), response.headers["X-Eas-Queueservice-Request-Id"]

    def get(self, *, index: int = 0, timeout: str = "0s", **tags: str) -> list[Item]:
        """One item, removed, if there is one."""
        query = {"_index_": str(index), "_length_": "1", "_timeout_": timeout, "_raw_": "false", **tags}
        query["_auto_delete_"] = "true"
        response = self._http.get(self.path, params=query, headers={**self._identity(), **PROTOBUF})
        assert response.status_code == 200, response.text
        return read_items(response.content)

    def commit(self, *indexes: int) -> None:
        self._indexed("PUT", indexes)

    def delete(self, *indexes: int) -> None:
        self._indexed("DELETE", indexes)

    def reject(self, *indexes: int, code: str, reason: str) -> None:
        """A negative commit."""
        self._indexed("PUT", indexes, {"_negative_": "true"}, data={"_code_": code, "_reason_": reason})

    def truncate(self, index: int) -> None:
        query = {"_index_": str(index), "_trunc_": "true"}
        assert self._http.delete(self.path, params=query, headers=self._identity()).status_code == 200

    def end(self, *, force: bool) -> None:
        """End of the stream."""
        query = {"_eos_": "true", **({"_force_": "true"} if force else {})}
        assert self._http.post(self.path, params=query, headers=self._identity()).status_code == 200

    def watch(self, *, index: int = 0, window: int = 5, auto_commit: bool = False, **tags: str) -> GoWatch:
        query = {
            "_watch_": "true",
            "_index_": str(index),
            "_window_": str(window),
            "_index_only_": "false",
            "_auto_commit_": str(auto_commit).lower(),
            **tags,
        }
        headers = {**self._identity(), **PROTOBUF, "Origin": self._service.url}
        return GoWatch(lambda: WireSocket(self._service, self.path, query, headers))

    def _indexed(
        self, verb: str, indexes: tuple[int, ...], more: dict[str, str] | None = None, **how: Any
    ) -> None:
        query = {"_indexes_": ",".join(map(str, indexes)), **(more or {})}
        response = self._http.request(verb, self.path, params=query, headers=self._identity(), **how)
        assert (response.status_code, response.text) == (200, "OK")

    def _identity(self) -> dict[str, str]:
        if not self._names:
            attributes = self.attributes()
            self._names = {
                what: attributes.get(f"meta.header.{what}", "") for what in ("user", "group", "priority")
            }
            assert self._names["user"], "malformed attributes"
        named = {self._names["user"]: self.uid, self._names["group"]: self.gid}
        return {
            "Authorization": TOKEN,
            **self._rear,
            **{name: value for name, value in named.items() if name},
        }


class GoWatch:
    """A watch that reads up to 100 items ahead of its user."""

    def __init__(self, connect: Any) -> None:
        self._connect = connect
        self._items: queue.Queue[Item] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self.connections = 0
        self.refusals: list[int] = []
        self._socket: WireSocket = connect()
        self.connections += 1
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._ping)]
        for thread in self._threads:
            thread.start()

    def next(self) -> Item:
        """The next item."""
        return self._items.get(timeout=WAIT_S)

    @property
    def ahead(self) -> int:
        """Items that wait for the user here."""
        return self._items.qsize()

    def interrupt(self) -> None:
        """The network cuts the connection."""
        self._socket.abort()

    def close(self) -> None:
        self._closed.set()
        self._socket.abort()
        for thread in self._threads:
            thread.join(WAIT_S)

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                self._items.put(read_item(self._socket.item()))
            except (EOFError, OSError, ValueError):
                self._reconnect()

    def _reconnect(self) -> None:
        while not self._closed.wait(RECONNECT_S):
            try:
                self._socket = self._connect()
                self.connections += 1
                return
            except RefusedError as refused:
                self.refusals.append(refused.status)
            except (OSError, EOFError):
                continue

    def _ping(self) -> None:
        while not self._closed.wait(PING_S):
            self._socket.send(PING)


def within(seconds: float, true: Any) -> bool:
    """Whether `true()` becomes true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
