"""A running Easel as a plain HTTP client sees it: for what the test itself puts, reads and counts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import httpx

from ..e2e.running import Running

TOKEN = "acceptance-token"
WAIT_S = 30.0
"""Upper bound for what a test waits for."""
ROUTE = "/api/predict/{rest:path}"
SUFFIXES = {"in": "", "sink": "/sink", "rear": ""}
REAR = {"X-EAS-QueueService-Access-Rear": "true"}


class Service:
    """One `easel up`."""

    def __init__(self, easel: Running) -> None:
        self.easel = easel
        self.url = easel.url
        self.name = easel.service
        self.http = easel.http
        self.address = self.url.removeprefix("http://")

    def path(self, queue: str = "in") -> str:
        """Path of the input (and the rear), or of the sink."""
        return f"/api/predict/{self.name}{SUFFIXES[queue]}"

    def call(self, method: str, queue: str = "in", **how: Any) -> httpx.Response:
        """One operation; ``params``, ``content`` and ``headers`` as httpx knows them."""
        headers = {**(REAR if queue == "rear" else {}), **how.pop("headers", {})}
        return self.http.request(method, self.path(queue), headers=headers, **how)

    def put(self, queue: str, data: bytes = b"x", **tags: str) -> tuple[int, str]:
        """Index and request id."""
        response = self.call("POST", queue, content=data, params=tags)
        assert response.status_code == 200, response.text
        return int(response.text), response.headers["X-Eas-Queueservice-Request-Id"]

    def attributes(self, queue: str = "sink") -> dict[str, str]:
        """JSON attributes."""
        response = self.call("GET", queue, params={"_attrs_": "true"})
        assert response.status_code == 200, response.text
        return dict(response.json())

    def length(self, queue: str = "sink") -> int:
        """Items stored now."""
        return int(self.attributes(queue)["stream.length"])

    def consumer(self, uid: str, group: str = "eas", queue: str = "sink") -> dict[str, str]:
        """The consumer's line in the attributes; empty when there is none."""
        for name, line in self.attributes(queue).items():
            if name.startswith("consumers.list.") and line.startswith(f"Id: {group}.{uid}, "):
                return dict(part.split(": ", 1) for part in line.split(", "))
        return {}

    def clear(self) -> None:
        """Empty all queues and open the ended ones, as the SDKs do."""
        for queue in SUFFIXES:
            last = int(self.attributes(queue)["stream.lastEntry"] or 0)
            params = {"_trunc_": "true", "_index_": str(last + 1)}
            assert self.call("DELETE", queue, params=params).status_code == 200
            assert self.length(queue) == 0

    def answered(self, method: str, status: int = 0, route: str = ROUTE) -> int:
        """HTTP requests that the gateway has answered so far, as it counts; of any status when that is 0."""
        total = 0
        for line in self.http.get("/metrics").text.splitlines():
            found = re.match(
                r'easel_http_requests_total\{method="(\w+)",route="(.*)",status="(\d+)"\} (\S+)', line
            )
            if found and found[1] == method and found[2] == route and status in {0, int(found[3])}:
                total += int(float(found[4]))
        return total


def until(true: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
    """Come back when `true()` is, for states that nobody announces."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
