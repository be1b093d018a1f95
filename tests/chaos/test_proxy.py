"""Each way of misbehaving does what it says, on real sockets."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from easel_queue.embedded import free_port

from .proxy import DELAY_S, Mode, Proxy, ProxyLoop

WAIT_S = 10.0
SILENCE_S = 0.2


class EchoServer:
    """Answers every chunk with itself, and remembers it."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with suppress(OSError), peer:
            while chunk := peer.recv(1024):
                self.heard.put(chunk)
                peer.sendall(chunk)


@pytest.fixture
def server() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def loop() -> Iterator[ProxyLoop]:
    loop = ProxyLoop()
    yield loop
    loop.close()


@pytest.fixture
def proxy(loop: ProxyLoop, server: EchoServer) -> Proxy:
    return Proxy(loop, server.port)


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    """A connection through the proxy that has exchanged one word."""
    with _connect(proxy) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        yield client


def _connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=WAIT_S)


def test_reset_ends_old_and_new_connections_and_heals(proxy: Proxy, client: socket.socket) -> None:
    proxy.set(Mode.RESET)
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    with pytest.raises(ConnectionResetError), _connect(proxy) as another:
        another.recv(100)
    proxy.set(Mode.PASS)
    with _connect(proxy) as third:
        third.sendall(b"again")
        assert third.recv(100) == b"again"


def test_delay_keeps_everything_and_takes_its_time(proxy: Proxy, client: socket.socket) -> None:
    proxy.set(Mode.DELAY)
    began = time.monotonic()
    client.sendall(b"slow")
    assert client.recv(100) == b"slow"
    assert time.monotonic() - began >= 2 * DELAY_S


def test_half_close_ends_the_answers_only(proxy: Proxy, client: socket.socket, server: EchoServer) -> None:
    assert server.heard.get(timeout=WAIT_S) == b"hello"
    proxy.set(Mode.HALF_CLOSE)
    assert client.recv(100) == b"", "end of stream, no reset"
    client.sendall(b"still there")
    assert server.heard.get(timeout=WAIT_S) == b"still there"
    with _connect(proxy) as another:
        assert another.recv(100) == b"", "new ones too"


def test_a_black_hole_holds_everything_back_and_delivers_it_late(
    proxy: Proxy, client: socket.socket, server: EchoServer
) -> None:
    assert server.heard.get(timeout=WAIT_S) == b"hello"
    proxy.set(Mode.BLACK_HOLE)
    client.sendall(b"late")
    with pytest.raises(queue.Empty):
        server.heard.get(timeout=SILENCE_S)
    proxy.set(Mode.PASS)
    assert client.recv(100) == b"late"


def test_mute_carries_requests_out_and_loses_their_answers(
    proxy: Proxy, client: socket.socket, server: EchoServer
) -> None:
    assert server.heard.get(timeout=WAIT_S) == b"hello"
    proxy.set(Mode.MUTE)
    client.sendall(b"do it")
    assert server.heard.get(timeout=WAIT_S) == b"do it"
    client.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        client.recv(100)
    client.settimeout(WAIT_S)
    proxy.set(Mode.PASS)
    with pytest.raises(ConnectionResetError):
        client.recv(100)


def test_nobody_behind_it_is_a_reset(loop: ProxyLoop) -> None:
    with pytest.raises(ConnectionResetError), _connect(Proxy(loop, free_port())) as client:
        client.recv(100)
