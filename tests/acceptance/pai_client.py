"""pai-python-sdk's asynchronous predictor, from its description: put, then poll the sink by request id."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass

from .service import TOKEN, WAIT_S, Service


class PredictionError(Exception):
    """The service answered with another status than 2xx."""

    def __init__(self, code: int, content: bytes) -> None:
        super().__init__(f"{code}: {content!r}")
        self.code = code
        self.content = content


@dataclass
class AsyncPredictor:
    """`path` is what the endpoint's address goes on with; the SDK polls every 5 seconds, tests more often."""

    service: Service
    path: str = ""
    interval_s: float = 0.05

    def predict(self, data: bytes) -> bytes:
        """Put, poll until something else than 204 comes, decode."""
        request_id = self.put(data)
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            found = self.look(request_id)
            if found is None:
                time.sleep(self.interval_s)
                continue
            code, content = found
            if code // 100 != 2:
                raise PredictionError(code, content)
            return content
        raise AssertionError("no result came")

    def put(self, data: bytes) -> str:
        """The request id, without which the SDK raises an error."""
        url = f"{self.service.path()}{self.path}"
        response = self.service.http.post(url, content=data, headers={"Authorization": TOKEN})
        assert response.status_code // 100 == 2, response.text
        return response.headers["X-Eas-Queueservice-Request-Id"]

    def look(self, request_id: str) -> tuple[int, bytes] | None:
        """Status and content of the result, None while it is not there."""
        response = self.service.http.get(
            self.service.path("sink"),
            params={"requestId": request_id, "_raw_": "false"},
            headers={"Authorization": TOKEN, "Accept": "*/*"},
        )
        if response.status_code == 204:
            return None
        assert response.status_code // 100 == 2, response.text
        item = response.json()[0]
        return int(item["tags"].get("lastCode", 200)), base64.b64decode(item["data"])
