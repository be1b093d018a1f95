"""`easel up`: everything on one machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from easel_gateway.cli import ready, roles
from easel_gateway.cli.process import EXIT_BAD_SETTINGS
from easel_gateway.cli.runfile import AlreadyRunningError, RunFolder
from easel_gateway.cli.settings import UpSettings
from easel_gateway.cli.supervisor import Supervisor
from easel_queue import embedded
from easel_store import StoreError, make_layout

REDIS_GRACE_S = 15.0
"""Redis only has to sync its file."""
GATEWAY_EXTRA_S = 5.0
"""On top of the gateway's own `shutdown_grace_s`."""

SAME_SIGNAL_S = 0.5
"""One Ctrl-C can arrive twice: from the terminal, and handed on by whatever started us (timeout, a shell)."""
KILL_TIMEOUT_S = 10.0
"""A killed process can stay for a moment where its driver is busy."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

EXIT_FAILED = 1
EXIT_KILLED = 130


def run_up(settings: UpSettings) -> int:
    """Run until a signal. Returns the exit status: 0 stopped, 1 could not start, 2 settings, 130 killed."""
    data_dir = Path(settings.data_dir).absolute()
    problem = ready.port_problem(settings.host, settings.port)
    if problem:
        return _refuse(problem)
    folder = RunFolder(data_dir)
    try:
        folder.lock()
        make_layout(data_dir)
        (data_dir / "redis").mkdir(mode=0o700, exist_ok=True)
    except (AlreadyRunningError, StoreError) as exc:
        return _refuse(str(exc))
    except OSError as exc:
        return _refuse(f"EASEL_DATA_DIR={data_dir}: {exc.strerror}: {exc.filename}")
    try:
        return asyncio.run(_Up(settings, data_dir, folder).run())
    finally:
        folder.remove()
        folder.unlock()


class _Up:
    """One run: start in order, wait, stop in order."""

    def __init__(self, settings: UpSettings, data_dir: Path, folder: RunFolder) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._folder = folder
        self._supervisor = Supervisor(say=_say, changed=self._record)
        self._signalled = asyncio.Event()
        self._signalled_at = 0.0
        self._kill_now = asyncio.Event()
        self._port = settings.port or embedded.free_port(ready.probe_host(settings.host))
        self._redis_url = settings.redis_url.get_secret_value() if settings.redis_url else ""
        self._private_redis = not self._redis_url
        self._ready = False

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        try:
            return await self._until_stopped()
        finally:
            for (
                number
            ) in _SIGNALS:  # everything is over: an impatient third Ctrl-C must not spoil the exit status
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)

    async def _until_stopped(self) -> int:
        started = asyncio.create_task(self._serve())
        killed = asyncio.create_task(self._kill_now.wait())
        await asyncio.wait({started, killed}, return_when=asyncio.FIRST_COMPLETED)
        if self._kill_now.is_set():
            self._supervisor.kill()
            _say("killed everything; unfinished tasks stay in the queue")
            await asyncio.wait({started}, timeout=KILL_TIMEOUT_S)  # it sees them all end
            return EXIT_KILLED
        killed.cancel()
        return started.result()

    async def _serve(self) -> int:
        try:
            which = await ready.first_of(
                self._signalled.wait(), self._start_and_watch(), self._supervisor.refused.wait()
            )
            status = EXIT_BAD_SETTINGS if which == 2 else 0
            if which == 0:
                _say("stopping; press Ctrl-C again to kill")
        except (_CannotStartError, embedded.ServerNotFoundError, OSError) as exc:
            _say(str(exc))
            status = EXIT_FAILED
        await self._stop()
        return status

    async def _start_and_watch(self) -> None:
        """Start everything, say when it is ready, then wait without end."""
        settings, service = self._settings, self._settings.service
        if self._private_redis:
            await self._start_redis()
        else:
            await ready.wait_for(lambda: ready.redis_answers(self._redis_url, service), say=_say)
        env = {
            "EASEL_REDIS_URL": self._redis_url,
            "EASEL_DATA_DIR": str(self._data_dir),
            "EASEL_PORT": str(self._port),
        }
        worker_env = {**env, **roles.drain_env(settings.stop_grace_s)}
        for spec in roles.worker_specs(settings.workers, worker_env, roles.visible_gpus()):
            await self._supervisor.start("workers", spec)
        await self._supervisor.start("gateway", roles.gateway_spec(env))
        host = ready.probe_host(settings.host)
        shown = settings.own_authorization()
        await ready.wait_for(lambda: ready.gateway_answers(host, self._port, shown), say=_say)
        if settings.workers:
            wanted = settings.workers
            await ready.wait_for(
                lambda: ready.workers_seen(self._redis_url, service, self._worker_pids, wanted), say=_say
            )
        self._ready = True
        self._record()
        workers = "1 worker" if settings.workers == 1 else f"{settings.workers} workers"
        _out(f"Easel is ready: {self._address()}  (service {service}, {workers}, data in {self._data_dir})")
        await asyncio.Event().wait()

    async def _start_redis(self) -> None:
        program = embedded.find_server()
        password, port = embedded.new_password(), embedded.free_port()
        self._redis_url = embedded.url(port=port, password=password)
        spec = roles.redis_spec(
            program,
            port=port,
            password=password,
            data_dir=self._data_dir,
            run_dir=self._folder.path,
            fsync=self._settings.redis_fsync,
        )
        keeper = await self._supervisor.start("redis", spec)
        answers = ready.wait_for(
            lambda: ready.redis_answers(self._redis_url, self._settings.service), say=_say
        )
        if await ready.first_of(answers, keeper.ended.wait()) == 1:
            raise _CannotStartError(f"the private Redis does not start; see {spec.log}")

    async def _stop(self) -> None:
        """The gateway first, so that nothing new is taken on; then workers; Redis when nobody needs it."""
        settings = self._settings
        await self._supervisor.stop("gateway", settings.shutdown_grace_s + GATEWAY_EXTRA_S)
        await self._supervisor.stop("workers", settings.stop_grace_s)
        await self._supervisor.stop("redis", REDIS_GRACE_S)

    def _on_signal(self) -> None:
        now = time.monotonic()
        if self._signalled.is_set() and now - self._signalled_at > SAME_SIGNAL_S:
            self._kill_now.set()
        if not self._signalled.is_set():
            self._signalled_at = now
            self._signalled.set()

    def _worker_pids(self) -> set[int]:
        return {pid for name, pid in self._supervisor.pids().items() if name.startswith("worker-")}

    def _address(self) -> str:
        host = ready.probe_host(self._settings.host)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    def _record(self) -> None:
        record: dict[str, Any] = {
            "pid": os.getpid(),
            "address": self._address(),
            "service": self._settings.service,
            "redis_url": self._redis_url,
            "private_redis": self._private_redis,
            "ready": self._ready,
            "pids": self._supervisor.pids(),
        }
        self._folder.write(record)


class _CannotStartError(Exception):
    """Something failed before anything could be served."""


def _say(text: str) -> None:
    print(f"easel: {text}", file=sys.stderr, flush=True)


def _out(text: str) -> None:
    print(text, flush=True)


def _refuse(text: str) -> int:
    _say(text)
    return EXIT_FAILED
