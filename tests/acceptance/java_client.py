"""The Java SDK's behaviour on the wire, from its description: 200 or six tries, a uid on every call."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

from .frames import Item, read_item, read_items
from .service import TOKEN, Service
from .wire import CLOSE, PING, WireSocket

TRIES = 6


class JavaQueue:
    """A client whose queue name may be any path behind ``/api/predict/``."""

    def __init__(self, service: Service, name: str) -> None:
        self.path = f"/api/predict/{name}"
        self.requests = 0
        self._service = service
        self._http = service.http  # every header that matters is given with each call
        self._headers = {
            "Authorization": TOKEN,
            "X-EAS-QueueService-Redis-Uid": str(uuid.uuid4()),
            "X-EAS-QueueService-Redis-Gid": "eas",
        }
        self._priority = self.attributes()["meta.header.priority"]

    def attributes(self) -> dict[str, str]:
        """JSON, since Java asks for nothing else here."""
        return dict(self._call("GET", {"_attrs_": "true"}).json())

    def put(self, data: bytes, priority: int = 0, **tags: str) -> tuple[int, str]:
        """A priority goes into the query and into the header."""
        query, headers = dict(tags), {}
        if priority:
            query["_priority_"] = headers[self._priority] = str(priority)
        response = self._call("POST", query, content=data, headers=headers)
        assert response.text.isascii()
        assert response.text.isdigit(), "Long.valueOf takes no blanks"
        return int(response.text), response.headers["X-Eas-Queueservice-Request-Id"]

    def get(self, *, index: int = 0, length: int = 1, timeout: str = "0s", **tags: str) -> list[Item]:
        query = {"_index_": str(index), "_length_": str(length), "_timeout_": timeout, "_raw_": "false"}
        query |= {"_auto_delete_": "true", **tags}
        return read_items(
            self._call("GET", query, headers={"Accept": "application/vnd.google.protobuf"}).content
        )

    def count(self, priority: int = 0, **tags: str) -> int:
        query = {"_count_": "true", **tags, **({"_priority_": str(priority)} if priority else {})}
        return int(self._call("GET", query).text.strip())

    def search(self, index: int) -> dict[str, Any]:
        return dict(self._call("GET", {"_search_": "true", "_index_": str(index)}).json())

    def commit(self, *indexes: int) -> str:
        return self._call("PUT", {"_indexes_": ",".join(map(str, indexes))}).text

    def reject(self, index: int, code: str | None = None, reason: str | None = None) -> str:
        """A negative commit; Java leaves out what its user did not give."""
        form = {name: value for name, value in (("_code_", code), ("_reason_", reason)) if value is not None}
        query = {"_indexes_": str(index), "_negative_": "true"}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._call("PUT", query, data=form, headers=headers).text

    def clear(self) -> None:
        """Attributes, then truncate beyond the last entry."""
        last = int(self.attributes()["stream.lastEntry"])
        self._call("DELETE", {"_index_": str(last + 1), "_trunc_": "true"})

    def end(self, *, force: bool = False) -> None:
        self._call("POST", {"_eos_": "true", **({"_force_": "true"} if force else {})})

    def watch(self, window: int = 5, *, index_only: bool = False, auto_commit: bool = False) -> WireSocket:
        query = {
            "_watch_": "true",
            "_index_": "0",
            "_window_": str(window),
            "_index_only_": str(index_only).lower(),
            "_auto_commit_": str(auto_commit).lower(),
        }
        return WireSocket(
            self._service, self.path, query, {**self._headers, "Accept": "application/vnd.google.protobuf"}
        )

    def _call(self, verb: str, query: dict[str, str], **how: Any) -> httpx.Response:
        headers = {**self._headers, **how.pop("headers", {})}
        for _ in range(TRIES):
            self.requests += 1
            response = self._http.request(verb, self.path, params=query, headers=headers, **how)
            if response.status_code == 200:
                return response
        raise AssertionError(f"{verb} {query}: {response.status_code} {response.text}")


def read(watch: WireSocket) -> Item:
    """The next item of a watch; pings as the SDK does."""
    watch.send(PING, b"ping")
    return read_item(watch.item())


def stop(watch: WireSocket) -> None:
    """The user's close: code 1000 and a text, then the end of TCP."""
    watch.send(CLOSE, (1000).to_bytes(2, "big") + b"Real Stop")
    try:
        while watch.item():
            continue
    except EOFError:
        watch.abort()
