"""A gateway in a process of its own, and what must be true of it after every attack."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx

READY_S = 60.0
CLIENT_S = 60.0

_ADDRESS = re.compile(r"gateway listens on (http://127\.0\.0\.1:(\d+))")
_UNWELL = re.compile(r"Traceback|\b(?:ERROR|CRITICAL)\b|never awaited|Exception ignored|Fatal error")

_FAILED = re.compile(r'^easel_http_requests_total\{.*status="5\d\d".*$', re.MULTILINE)
_DOCUMENTED = re.compile(r'status="50[13]"|route="/sdapi/v1/png-info"')
"""A1111 answers 500 to what is no picture, and so do we."""


class GatewayProcess:
    """``python -m easel_gateway`` on a free port. Its log is kept and scanned."""

    def __init__(self, python: str, data_dir: Path, *, redis_url: str, service: str, **settings: Any) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "EASEL_DATA_DIR": str(data_dir),
            "EASEL_REDIS_URL": redis_url,
            "EASEL_SERVICE": service,
            "EASEL_PORT": "0",
            "EASEL_SHUTDOWN_GRACE_S": "1",
            **{f"EASEL_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.service = service
        self.process = subprocess.Popen(
            [python, "-m", "easel_gateway"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._grown = threading.Condition()
        self._ready = threading.Event()
        self.url = ""
        self.port = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(READY_S) or not self.url:
            self.process.kill()
            raise RuntimeError("".join(self._lines))
        self.http = httpx.Client(base_url=self.url, timeout=CLIENT_S)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._grown:
                self._lines.append(line)
                self._grown.notify_all()
            if not self.url and (found := _ADDRESS.search(line)):
                self.url, self.port = found[1], int(found[2])
                self._ready.set()
        self._ready.set()

    @property
    def source(self) -> str:
        """Path of the input queue."""
        return f"/api/predict/{self.service}"

    @property
    def sink(self) -> str:
        """Path of the sink."""
        return f"{self.source}/sink"

    @property
    def socket_url(self) -> str:
        return self.url.replace("http://", "ws://")

    @property
    def log(self) -> str:
        """What it has written so far."""
        return "".join(self._lines)

    def wait_log(self, text: str) -> None:
        """Come back when it has written this."""
        with self._grown:
            assert self._grown.wait_for(lambda: text in self.log, CLIENT_S), self.log

    def resident(self) -> int:
        """Bytes of memory that it holds now."""
        return self._status("VmRSS") * 1024

    def files(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def _status(self, field: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
        raise AssertionError(field)

    def assert_well(self) -> None:
        """The same process serves, failed no request by its own fault, and logged no unhandled error."""
        assert self.process.poll() is None, self.log
        with httpx.Client(base_url=self.url, timeout=CLIENT_S) as fresh:  # a connection of its own
            assert fresh.get("/healthz").status_code == 200
            counted = _FAILED.findall(fresh.get("/metrics").text)
        assert not [line for line in counted if not _DOCUMENTED.search(line)], counted
        unwell = _UNWELL.search(self.log)
        assert unwell is None, self.log[max(0, unwell.start() - 500) :][:6000]

    def empty(self) -> None:
        """Remove what is in its queues."""
        for path, headers in (
            (self.source, {}),
            (self.sink, {}),
            (self.source, {"X-EAS-QueueService-Access-Rear": "true"}),
        ):
            params = {"_index_": str(2**53 - 1), "_trunc_": "true"}
            assert self.http.delete(path, params=params, headers=headers).status_code == 200

    def stop(self) -> None:
        """SIGTERM, and its end."""
        self.http.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=60)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
