"""Runs the gateway in uvicorn, on a socket of our own making."""

from __future__ import annotations

import gc
import logging
import resource
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from easel_contract import logs
from easel_contract.settings import load
from easel_gateway.app import create_app
from easel_gateway.edge.http_protocol import limited_http
from easel_gateway.edge.socket_protocol import ListenerProtocol
from easel_gateway.settings import GatewaySettings

_log = logging.getLogger(__name__)

KEEPALIVE_IDLE_S = 15
KEEPALIVE_PAUSE_S = 5
KEEPALIVE_TRIES = 4
"""A peer whose machine vanished is noticed after 15 + 4 * 5 s, even while nothing is sent to it."""
BACKLOG = 2048
OTHER_FILES = 256
"""Files that are no client's connection: to Redis, to the store, the log."""


class GatewayServer(uvicorn.Server):
    """uvicorn that logs its address when it takes connections, and tells the application when it begins to
    stop: long polls, event streams and watches then end at once instead of holding the shutdown up."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self.app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the application, then take connections."""
        await super().startup(sockets)
        for sock in sockets or ():
            host, port = sock.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            _log.info("gateway listens on http://%s:%d", shown, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking connections, end the waiting ones, give the others their time."""
        gateway = getattr(self.app.state, "gateway", None)
        if gateway is not None:
            gateway.closing.set()
        await super().shutdown(sockets)


def build_server(settings: GatewaySettings) -> GatewayServer:
    """A configured server, not yet running."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=limited_http(timeout_s=settings.request_timeout_s, max_connections=settings.max_connections),
        ws=ListenerProtocol,
        ws_ping_interval=settings.ws_ping_s,
        ws_ping_timeout=settings.ws_pong_timeout_s,
        ws_per_message_deflate=False,  # pictures do not shrink, and the SDKs do not offer it
        ws_max_size=64 * 1024,  # a watcher has nothing to tell us
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,  # the process has set up logging already
        lifespan="on",
        timeout_keep_alive=75,  # longer than the pause between two polls of a pooled client
        timeout_graceful_shutdown=settings.shutdown_grace_s,
        backlog=BACKLOG,
    )
    return GatewayServer(config, app)


def listen(settings: GatewaySettings) -> socket.socket:
    """A bound socket. What it accepts inherits its TCP keep-alive.

    Raises:
        OSError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # Not every system has these names; without them its own, slower, keep-alive counts.
        for name, value in (
            ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
            ("TCP_KEEPINTVL", KEEPALIVE_PAUSE_S),
            ("TCP_KEEPCNT", KEEPALIVE_TRIES),
        ):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        sock.bind((settings.host.strip("[]"), settings.port))
        sock.set_inheritable(True)
    except OSError:
        sock.close()
        raise
    return sock


def allow_connections(count: int) -> None:
    """Let this process open enough files for `count` connections, as far as it may. The usual limit of 1024
    would end earlier, and worse: connections would wait unanswered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        _log.warning(
            "EASEL_MAX_CONNECTIONS=%d needs %d open files, and this process may have %d (ulimit -n)",
            count,
            wanted,
            allowed,
        )


def run(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT, then come back.

    Raises:
        SystemExit: the address cannot be listened on; the text names it.
    """
    try:
        sock = listen(settings)
    except OSError as error:
        raise SystemExit(
            f"EASEL_HOST, EASEL_PORT: cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        ) from None
    # Its own lines say again what ours say, and one more for every WebSocket.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    allow_connections(settings.max_connections)
    with sock:
        # uvicorn repeats the signal that stopped it; with this handler the stop is not taken for a crash.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _already_stopped)
        server = build_server(settings)
        # What is there now lives as long as the process. Left out of the collector's rounds, it does not hold
        # every request up for tens of milliseconds now and then.
        gc.collect()
        gc.freeze()
        server.run(sockets=[sock])


def _already_stopped(number: int, frame: FrameType | None) -> None:
    _log.info("gateway stopped by %s", signal.Signals(number).name)


def main() -> None:
    """Entry of ``python -m easel_gateway`` and of ``easel gateway``."""
    settings = load(GatewaySettings)
    logs.setup("gateway", settings.log_level, settings.log_format)
    run(settings)
