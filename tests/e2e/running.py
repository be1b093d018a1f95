"""A real `easel up`, started and stopped as a user would."""

from __future__ import annotations

import base64
import io
import json
import os
import queue
import re
import signal
import subprocess
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

READY_S = 120.0
TASK_S = 120.0

EASEL = Path(sysconfig.get_path("scripts")) / "easel"


class Running:
    """One `easel up` on a free port with its own data directory."""

    def __init__(self, data_dir: Path, *, workers: int = 1, token: str | None = None, **env: str) -> None:
        self.data_dir = data_dir
        self.token = token
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.log: list[str] = []
        settings = {name: value for name, value in os.environ.items() if not name.startswith("EASEL_")}
        settings |= {"PYTHONUNBUFFERED": "1", "EASEL_TORCH_THREADS": "1", "EASEL_STOP_GRACE_S": "20", **env}
        if token:
            settings["EASEL_TOKENS"] = token
        argv = [str(EASEL), "up", "--port", "0", "--data-dir", str(data_dir), "--workers", str(workers)]
        self.process = subprocess.Popen(
            argv,
            env=settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._await_ready()
        headers = {"Authorization": token} if token else {}
        self.http = httpx.Client(base_url=self.url, timeout=TASK_S, headers=headers)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.log.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def _await_ready(self) -> str:
        while True:
            line = self._lines.get(timeout=READY_S)
            assert line is not None, "".join(self.log)
            match = re.match(r"Easel is ready: (http://\S+)", line)
            if match:
                return match[1]

    def wait_for_line(self, pattern: str, timeout_s: float = READY_S) -> str:
        """The next line of the program's output that matches."""
        while True:
            line = self._lines.get(timeout=timeout_s)
            assert line is not None, "".join(self.log)
            if re.search(pattern, line):
                return line

    @property
    def record(self) -> dict[str, Any]:
        """What `easel up` tells about itself."""
        loaded: dict[str, Any] = json.loads((self.data_dir / "run" / "up.json").read_text())
        return loaded

    def pid(self, role: str) -> int:
        """Process id of a role: redis, gateway, worker-1."""
        return int(self.record["pids"][role])

    def kill(self, role: str) -> None:
        """`kill -9` one part."""
        os.kill(self.pid(role), signal.SIGKILL)

    def stop(self) -> int:
        """Ctrl-C, as a terminal sends it; answers the exit status."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=60)
        self._reader.join(10)
        return status

    # -- what a client does ------------------------------------------------------------------------------

    def submit(self, task_id: str, **body: Any) -> str:
        """Queue a txt2img; answers its request id."""
        response = self.http.post("/sdapi/v1/txt2img", params={"task_id": task_id}, json=body)
        assert response.status_code == 200, response.text
        assert response.text.isdigit()
        return response.headers["X-Eas-Queueservice-Request-Id"]

    def events(self, request_id: str) -> Iterator[dict[str, Any]]:
        """The task's events as they happen."""
        with self.http.stream("GET", f"/easel/v1/tasks/{request_id}/events") as response:
            assert response.status_code == 200
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    def wait_until_rendering(self, request_id: str) -> None:
        """Return once the task has finished its first step."""
        for event in self.events(request_id):
            if event.get("step", 0) >= 1:
                return
        raise AssertionError(f"task {request_id} ended before it was seen rendering")

    def sink(self, wanted: int) -> list[dict[str, Any]]:
        """Exactly `wanted` results, read and removed from the sink by long polls."""
        found: list[dict[str, Any]] = []
        while len(found) < wanted:
            response = self.http.get(
                f"/api/predict/{self.service}/sink",
                params={"_length_": wanted - len(found), "_timeout_": "60s", "_raw_": "false"},
            )
            assert response.status_code == 200, f"{len(found)} of {wanted}: {response.status_code}"
            found += response.json()
        return found

    def clear(self) -> None:
        """Empty the input queue and the sink, as the SDK's truncate does."""
        for queue_name, suffix in (("in", ""), ("sink", "/sink")):
            last = int(self.attributes(queue_name).get("stream.lastEntry") or 0)
            params = {"_index_": last + 1, "_trunc_": "true"}
            response = self.http.delete(f"/api/predict/{self.service}{suffix}", params=params)
            assert response.status_code == 200, response.text

    @property
    def service(self) -> str:
        return str(self.record["service"])

    def attributes(self, queue_name: str = "sink") -> dict[str, str]:
        suffix = "/sink" if queue_name == "sink" else ""
        headers = {"X-EAS-QueueService-Access-Rear": "true"} if queue_name == "rear" else {}
        response = self.http.get(
            f"/api/predict/{self.service}{suffix}", params={"_attrs_": "true"}, headers=headers
        )
        assert response.status_code == 200
        loaded: dict[str, str] = response.json()
        return loaded


@contextmanager
def running(data_dir: Path, **how: Any) -> Iterator[Running]:
    """`easel up` for the length of a block."""
    easel = Running(data_dir, **how)
    try:
        yield easel
    finally:
        easel.stop()


def body_of(item: dict[str, Any]) -> dict[str, Any]:
    """The JSON inside a sink item."""
    loaded: dict[str, Any] = json.loads(base64.b64decode(item["data"]))
    return loaded


def picture(image: str) -> Image.Image:
    """A base64 picture of a response, decoded."""
    opened = Image.open(io.BytesIO(base64.b64decode(image)))
    opened.load()
    return opened
