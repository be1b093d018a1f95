"""The service that is attacked: every process on its own, proxies before gateways and before Redis.

::

    senders ─┐                     ┌─ proxy ─ gateway-1 ─ proxy ─┐
             ├─ HTTP and WebSocket ┤                             ├─ redis (AOF always)
    watcher-1…3 ┘                  └─ proxy ─ gateway-2 ─ proxy ─┤
                                      worker-1…3, each ─── proxy ─┘
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import httpx

from easel_queue import embedded

from .history import APPEND_ONLY, History, read_history
from .observer import Observer
from .parts import Part
from .proxy import Proxy, ProxyLoop

HERE = Path(__file__).parent
SERVICE = "chaos"
GATEWAYS, WORKERS, WATCHERS = 2, 3, 3
WINDOW = 5
LEASE_S = 1.5
MAX_DELIVERY = 6
"""A worker that is hit costs its task a delivery; so many hits of one task are rare."""

SETTINGS = {
    "EASEL_SERVICE": SERVICE,
    "EASEL_HANDLERS": "handlers:SleepyHandler",
    "EASEL_LEASE_S": str(LEASE_S),
    "EASEL_MAX_DELIVERY": str(MAX_DELIVERY),
    "EASEL_REAP_INTERVAL_S": "0.2",
    "EASEL_WATCHER_TTL_S": "1.5",
    "EASEL_WS_PING_S": "0.5",
    "EASEL_WS_PONG_TIMEOUT_S": "1",
    "PYTHONUNBUFFERED": "1",
}


def steady_port() -> int:
    """A free port below those that the kernel gives to outgoing connections.

    One of these could take a server's port while the server is dead, even by connecting to itself.
    """
    for port in random.SystemRandom().sample(range(10_000, 30_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("none of a hundred ports is free")


class Arena:
    """All parts, started and ready inside ``with``. Start it in the thread that attacks."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.parts: dict[str, Part] = {}
        self.proxies: dict[str, Proxy] = {}
        """By the name of the part that is cut off from Redis; "front-1" stands before gateway-1."""
        self._stack = ExitStack()
        self._loop = ProxyLoop()
        self._stack.callback(self._loop.close)
        self._redis_port = steady_port()
        self._password = embedded.new_password()
        self._add_redis()
        self._add_gateways()
        self._add_workers()
        self._add_watchers(seed)
        url = embedded.url(port=self._redis_port, password=self._password)
        self.observer = Observer(url, SERVICE)

    def __enter__(self) -> Arena:
        try:
            self.start_redis()
            for part in self.parts.values():
                if part.role != "redis":
                    part.start()
            self._stack.enter_context(self.observer)
            for part in self.parts.values():
                if part.role != "redis":
                    part.await_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything at once; what is stored stays."""
        for part in reversed(self.parts.values()):
            part.end()
        self._stack.close()

    def start_redis(self) -> None:
        """Start Redis and wait until it answers."""
        self.parts["redis"].start()
        self.observer.wait("Redis answers", self.observer.answers)

    def names(self, role: str) -> list[str]:
        """The parts of a role; "front" names the proxies before the gateways."""
        known = self.proxies if role == "front" else self.parts
        return [name for name in known if name.partition("-")[0] == role]

    @property
    def urls(self) -> list[str]:
        """Where clients reach the gateways."""
        return [
            f"http://127.0.0.1:{self.proxies[name].port}/api/predict/{SERVICE}"
            for name in self.names("front")
        ]

    def gateway_answers(self, name: str) -> bool:
        """Whether a gateway, asked past its proxy, says that it lives."""
        try:
            return httpx.get(f"{self._gateways[name]}/healthz", timeout=1.0, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def watched_gateway(self, watcher: str) -> str:
        """The gateway through which a watcher has last begun to watch."""
        said = [line for line in self.parts[watcher].lines if line.startswith("watching ")]
        number = self.urls.index(said[-1].split()[1].removesuffix("/sink"))
        return f"gateway-{number + 1}"

    def diaries(self) -> dict[str, Path]:
        """Uid -> what the watcher wrote."""
        return {name: self.folder / f"{name}.diary" for name in self.names("watcher")}

    def complaints(self) -> list[str]:
        """What no process should ever say, whatever is done to it."""
        bad = re.compile(r"^Traceback|^unexpected|thread failed")
        allowed = {"worker": re.compile(r"^Traceback")}  # its handler fails on purpose
        return [
            f"{part.name} said: {''.join(part.lines[max(0, at - 1) : at + 60])}"
            for part in self.parts.values()
            for at, line in enumerate(part.lines)
            if bad.search(line) and not (part.role in allowed and allowed[part.role].search(line))
        ]

    def history(self) -> History:
        """What happened, once everything has stopped."""
        return read_history(self.folder / "redis", SERVICE)

    def check_alive(self) -> None:
        """Raise StuckError if a part ended although nobody killed it."""
        for part in self.parts.values():
            part.check_alive()

    def _add(self, name: str, argv: list[str], ready: str, env: dict[str, str], stdin: bytes = b"") -> None:
        log = self.folder / f"{name}.log"
        self.parts[name] = Part(name, argv, env={**SETTINGS, **env}, ready=ready, log=log, stdin=stdin)

    def _add_redis(self) -> None:
        folder = self.folder / "redis"
        folder.mkdir(parents=True)
        text = embedded.configuration(
            port=self._redis_port, password=self._password, data_dir=folder, fsync="always"
        )
        command = list(embedded.find_server().command)
        self._add("redis", command, "Ready to accept connections", {}, (text + APPEND_ONLY).encode())

    def _proxied_redis(self, name: str) -> str:
        self.proxies[name] = Proxy(self._loop, self._redis_port)
        return embedded.url(port=self.proxies[name].port, password=self._password)

    def _add_gateways(self) -> None:
        self._gateways: dict[str, str] = {}
        for number in range(1, GATEWAYS + 1):
            name, port = f"gateway-{number}", steady_port()
            env = {"EASEL_PORT": str(port), "EASEL_REDIS_URL": self._proxied_redis(name)}
            self._add(name, [sys.executable, "-m", "easel_gateway"], "gateway listens on", env)
            self._gateways[name] = f"http://127.0.0.1:{port}"
            self.proxies[f"front-{number}"] = Proxy(self._loop, port)

    def _add_workers(self) -> None:
        import_path = [str(HERE), *filter(None, sys.path)]
        for number in range(1, WORKERS + 1):
            name = f"worker-{number}"
            env = {
                "EASEL_REDIS_URL": self._proxied_redis(name),
                "PYTHONPATH": ":".join(import_path),
            }
            self._add(name, [sys.executable, "-m", "easel_worker"], "is ready", env)

    def _add_watchers(self, seed: int) -> None:
        for number, (name, urls) in enumerate((f"watcher-{n + 1}", self.urls) for n in range(WATCHERS)):
            diary = str(self.folder / f"{name}.diary")
            sinks = [f"{url}/sink" for url in urls]
            argv = [str(HERE / "watcher.py"), name, str(WINDOW), str(seed + number), diary, *sinks]
            self._add(name, [sys.executable, *argv], "^watching ", {})
