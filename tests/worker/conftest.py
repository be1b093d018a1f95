"""What the worker's tests share: a Redis that can be killed, a way to wait for events, real workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry

from easel_claims import Depot
from easel_queue import Call, Entry, Keys, Queue, Status
from easel_store import claims_store
from easel_worker.handlers.registry import load_handlers
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats
from easel_worker.worker import Worker

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # breaking_handlers.py is loaded by name, as an operator's handlers are
WAIT_S = 60.0
"""Upper bound for anything a test waits for; nothing takes a second of it on a quiet machine."""

ECHO = "/easel/v1/echo"


class Scene:
    """One service on one Redis, seen from the client's side."""

    def __init__(self, url: str, service: str) -> None:
        self.url = url
        self.service = service
        self.queue = Queue(url, service=service)
        self.redis = redis.Redis.from_url(url)
        self._events = self.redis.pubsub(ignore_subscribe_messages=True)
        self._events.subscribe(Keys(service).events)
        self._events.get_message(timeout=WAIT_S)  # the subscription's own confirmation
        self._seen: list[dict[str, Any]] = []

    def close(self) -> None:
        self._events.close()
        self.redis.close()
        self.queue.close()

    def run(self, call: Call[Any]) -> Any:
        return self.queue.run(call)

    def put(self, body: object, path: str = ECHO, **tags: str) -> str:
        """Put a task; a `body` that is not bytes becomes JSON. Returns its request id."""
        request_id = str(uuid.uuid4())
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.run(self.queue.tasks.put(data, request_id=request_id, tags=tags, meta={"path": path}))
        return request_id

    def wait(self, request_id: str, *states: str) -> dict[str, Any]:
        """The first event about a task with one of `states`, past or to come."""
        for event in self._seen:
            if event.get("r") == request_id and event.get("s") in states:
                return event
        deadline = time.monotonic() + WAIT_S
        while (left := deadline - time.monotonic()) > 0:
            message = self._events.get_message(timeout=left)
            if message is None:
                continue
            event = json.loads(message["data"])
            self._seen.append(event)
            if event.get("r") == request_id and event.get("s") in states:
                return event  # type: ignore[no-any-return] # json.loads answers Any
        raise AssertionError(f"no {states} event for {request_id}; seen: {self._seen}")

    def until(self, condition: Callable[[], bool]) -> None:
        """Poll what Redis has no event for."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, "the condition never became true"
            time.sleep(0.01)

    def results(self, request_id: str) -> tuple[Entry, ...]:
        """Everything in the sink about one task."""
        page = self.run(self.queue.sink.get(limit=100, request_id=request_id))
        return page.entries  # type: ignore[no-any-return] # run is typed loosely here

    def result(self, request_id: str) -> Entry:
        """The one result of a task; waits until it ended."""
        self.wait(request_id, "done", "dead", "cancelled")
        entries = self.results(request_id)
        assert len(entries) == 1, entries
        return entries[0]

    def events(self, request_id: str) -> list[dict[str, Any]]:
        """Everything heard about one task so far."""
        return [event for event in self._seen if event.get("r") == request_id]

    def status(self, request_id: str) -> Status:
        status = self.run(self.queue.tasks.status(request_id))
        assert isinstance(status, Status)
        return status


class WorkerProcess:
    """`python -m easel_worker` with its log in reach."""

    def __init__(self, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "easel_worker"],
            env=env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_log(self, pattern: str) -> str:
        """The first line, past or to come, that `pattern` is found in."""
        found: list[str] = []

        def look() -> bool:
            found.extend(line for line in self.log if re.search(pattern, line))
            return bool(found) or not self._reader.is_alive()

        with self._grown:
            self._grown.wait_for(look, WAIT_S)
        assert found, f"no line like {pattern!r} in:\n{''.join(self.log)}"
        return found[0]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        status = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return status

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.wait()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._grown:
                self.log.append(line)
                self._grown.notify_all()
        with self._grown:
            self._grown.notify_all()


class LocalWorker:
    """A whole worker inside the test process: the same threads, without a process of its own."""

    def __init__(self, queue: Queue, settings: WorkerSettings) -> None:
        self.stats = Stats(CollectorRegistry())
        self.settings = settings
        self.registry = load_handlers(settings.handlers, settings, self.stats)
        depot = Depot(claims_store(settings), service=settings.service, threshold=settings.queue_claim_bytes)
        self.worker = Worker(queue, self.registry, depot, self.stats, settings)

    def start(self) -> None:
        self.worker.start()
        assert self.worker.events.get(timeout=WAIT_S) == "ready"
        self.worker.serve()


@pytest.fixture
def scene(redis_url: str, service: str) -> Iterator[Scene]:
    scene = Scene(redis_url, service)
    yield scene
    scene.close()


@pytest.fixture(scope="module")
def open_scene() -> Iterator[Callable[[str, str], Scene]]:
    """Scenes on a Redis of the test's choice."""
    opened: list[Scene] = []

    def start(url: str, service: str) -> Scene:
        opened.append(Scene(url, service))
        return opened[-1]

    yield start
    for scene in opened:
        scene.close()


def _spawner(data_dir: Path) -> Iterator[Callable[..., WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start(scene: Scene, **settings: object) -> WorkerProcess:
        env = {name: value for name, value in os.environ.items() if not name.startswith("EASEL_")}
        given: dict[str, object] = {
            "redis_url": scene.url,
            "service": scene.service,
            "data_dir": data_dir,
            "handlers": "easel_worker.handlers.echo:EchoHandler",
            "log_level": "DEBUG",
            **settings,
        }
        env |= {f"EASEL_{name.upper()}": str(value) for name, value in given.items()}
        process = WorkerProcess(env)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start worker processes; settings are given as keyword arguments in lower case."""
    yield from _spawner(tmp_path / "data")


@pytest.fixture(scope="module")
def module_spawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., WorkerProcess]]:
    """As `spawn`, for one worker that a whole module shares."""
    yield from _spawner(tmp_path_factory.mktemp("data"))


@pytest.fixture
def local_worker(tmp_path: Path) -> Iterator[Callable[..., LocalWorker]]:
    """Start workers in this process; settings are given as keyword arguments."""
    started: list[LocalWorker] = []

    def start(scene: Scene, **settings: Any) -> LocalWorker:
        given: dict[str, Any] = {
            "service": scene.service,
            "data_dir": tmp_path / "data",
            "handlers": "easel_worker.handlers.echo:EchoHandler",
            "worker_id": f"test-{uuid.uuid4().hex[:8]}",
            "drain_s": 30.0,
            **settings,
        }
        worker = LocalWorker(Queue(scene.url, service=scene.service), WorkerSettings(**given))
        worker.start()
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.worker.drain()


@pytest.fixture
def gate() -> Iterator[Any]:
    """`GateHandler` of breaking_handlers.py: its tasks run until the test opens the gate."""
    from breaking_handlers import GateHandler

    GateHandler.reset()
    yield GateHandler
    GateHandler.gate.set()
