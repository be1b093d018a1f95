"""Clients that keep a connection busy without using it, and clients that do not read."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import httpx

from .conftest import StartProcess
from .wire import BINARY, CONTINUATION, PING, TEXT, connect, converse, frame, handshake, open_watch, status

MB = 1024 * 1024
UID = b"X-EAS-QueueService-Redis-Uid: "


def read_to_end(peer: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := peer.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def test_a_request_must_come_in_time(start_process: StartProcess) -> None:
    gateway = start_process(request_timeout_s=1)
    began = time.monotonic()
    body = b"POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: easel\r\nContent-Length: 100000\r\n\r\nhello"
    late = {
        "nothing": b"",
        "a blank line": b"\r\n",
        "half a head": b"GET /healthz HTTP/1.1\r\nHost: ea",
        "half a handshake": handshake("/api/predict/x?_watch_=true")[:-20],
        "half a body": body,
    }
    peers = {name: connect(gateway.port) for name in late}
    for name, peer in peers.items():
        peer.sendall(late[name])
    for name, peer in peers.items():
        with peer:
            assert status(read_to_end(peer)) == 408, name
    assert time.monotonic() - began < 15
    gateway.assert_well()
    assert "hello" not in gateway.log


def test_a_later_request_of_a_connection_must_come_in_time_too(start_process: StartProcess) -> None:
    gateway = start_process(request_timeout_s=1)
    with connect(gateway.port) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: easel\r\n\r\n")
        answer = b""
        while not answer.endswith(b'{"status":"ok"}'):
            answer += peer.recv(65536)
        peer.sendall(b"\r\n")  # ends the keep-alive time, and begins no request
        assert status(read_to_end(peer)) == 408


def test_a_body_that_comes_fast_enough_may_take_longer(start_process: StartProcess) -> None:
    gateway = start_process(request_timeout_s=1)
    with connect(gateway.port) as peer:
        head = f"POST {gateway.source} HTTP/1.1\r\nHost: easel\r\nContent-Length: 3000\r\n\r\n"
        peer.sendall(head.encode())
        for _ in range(6):
            peer.sendall(b"x" * 500)
            time.sleep(0.4)  # 2.4 s in all, at 1250 bytes a second
        assert status(peer.recv(65536)) == 200
    gateway.assert_well()


def served(port: int, count: int) -> list[socket.socket]:
    """So many connections, each of which was answered. Asks again while an earlier one still counts."""
    while True:
        peers = [connect(port) for _ in range(count)]
        for peer in peers:
            peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: easel\r\n\r\n")
        if all(status(peer.recv(65536)) == 200 for peer in peers):
            return peers
        for peer in peers:
            peer.close()


def test_one_connection_too_many_is_refused_at_once(start_process: StartProcess) -> None:
    gateway = start_process(max_connections=10)
    gateway.http.close()
    peers = served(gateway.port, 10)
    try:
        refused = converse(gateway.port, handshake(f"{gateway.sink}?_watch_=true"), finish=False)
        assert status(refused) in {503, 0}, "0: reset before the answer could be read"
        gateway.wait_log("EASEL_MAX_CONNECTIONS")
    finally:
        for peer in peers:
            peer.close()
    while "refused" in gateway.log:  # they are gone when the gateway has noticed: ask until it has
        with httpx.Client(base_url=gateway.url, timeout=20) as client:
            try:
                if client.get("/healthz").status_code == 200:
                    break
            except httpx.TransportError:
                continue
    gateway.assert_well()


def test_hundreds_of_unfinished_handshakes(start_process: StartProcess) -> None:
    gateway = start_process(request_timeout_s=3)
    before, files = gateway.resident(), gateway.files()
    peers = [connect(gateway.port) for _ in range(500)]
    for peer in peers:
        peer.sendall(handshake(f"{gateway.sink}?_watch_=true")[:-2])
    gateway.assert_well()
    assert gateway.resident() - before < 30 * MB
    for peer in peers:
        with peer:
            assert status(read_to_end(peer)) == 408
    gateway.assert_well()
    assert gateway.files() <= files + 20, "its connections to Redis"


def test_bodies_of_all_requests_together_are_limited(start_process: StartProcess) -> None:
    gateway = start_process(max_body_bytes=8 * MB, max_bodies_bytes=20 * MB)
    before = gateway.resident()
    peers = []
    answers = []
    for _ in range(12):
        peer = connect(gateway.port)
        peers.append(peer)
        head = f"POST {gateway.source} HTTP/1.1\r\nHost: easel\r\nContent-Length: {8 * MB}\r\n\r\n"
        try:
            peer.sendall(head.encode() + b"x" * (4 * MB))  # and then nothing
        except (ConnectionResetError, BrokenPipeError):
            answers.append(503)  # refused while it was still sending
    gateway.assert_well()
    assert gateway.resident() - before < 60 * MB
    for peer in peers:
        peer.settimeout(0.2)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            answers.append(status(peer.recv(65536)))
        peer.close()
    assert 503 in answers
    assert gateway.http.post(gateway.source, content=b"x" * MB).status_code == 200, "there is room again"
    gateway.assert_well()


def test_a_watcher_that_never_reads_costs_little_and_hurts_nobody(start_process: StartProcess) -> None:
    gateway = start_process()
    for _ in range(40):
        assert gateway.http.post(gateway.sink, content=b"x" * MB).status_code == 200
    before = gateway.resident()
    query = "_watch_=true&_window_=1000"
    stuck = [
        open_watch(gateway.port, f"{gateway.sink}?{query}", b"X-EAS-QueueService-Redis-Gid: stuck%d" % n)
        for n in range(3)
    ]
    stream = connect(gateway.port)
    stream.sendall(f"GET {gateway.sink}?{query} HTTP/1.1\r\nHost: easel\r\n".encode() + UID + b"s\r\n\r\n")
    try:
        reader = open_watch(gateway.port, f"{gateway.sink}?{query}", b"X-EAS-QueueService-Redis-Gid: reader")
        with reader:
            received = 0
            while received < 40 * MB:
                received += len(reader.recv(MB))
        gateway.assert_well()
        # Each holds one delivery (4 MiB), the same as JSON, and what its socket has taken.
        assert gateway.resident() - before < 4 * 25 * MB
    finally:
        for peer in [*stuck, stream]:
            peer.close()
    gateway.assert_well()


def test_pings_of_one_who_does_not_read_are_not_collected(start_process: StartProcess) -> None:
    gateway = start_process()
    before = gateway.resident()
    with open_watch(gateway.port, f"{gateway.sink}?_watch_=true") as peer:
        flood = frame(PING, b"p" * 125) * 4000
        peer.settimeout(2)
        sent = 0
        try:
            while sent < 24 * MB:
                peer.sendall(flood)
                sent += len(flood)
        except TimeoutError:
            pass  # it need not read, either
        assert gateway.resident() - before < 8 * MB
        gateway.assert_well()
        with open_watch(gateway.port, f"{gateway.sink}?_watch_=true") as other:
            other.sendall(frame(PING, b"hello"))
            assert other.recv(7) == b"\x8a\x05hello"
    gateway.assert_well()


def test_messages_of_a_watcher_cost_nothing(start_process: StartProcess) -> None:
    gateway = start_process()
    before = gateway.resident()
    path = f"{gateway.sink}?_watch_=true"
    with open_watch(gateway.port, path) as peer:
        for _ in range(10):
            peer.sendall(frame(TEXT, b"\xff not UTF-8") * 1000 + frame(BINARY, b"x" * 60_000) * 10)
        peer.sendall(frame(TEXT, b"", fin=False))
        for _ in range(30):
            peer.sendall(frame(CONTINUATION, b"", fin=False) * 10_000)
        peer.sendall(frame(CONTINUATION, b"") + frame(PING, b"still here"))
        assert peer.recv(12) == b"\x8a\x0astill here"
        assert gateway.resident() - before < 8 * MB
    gateway.assert_well()


def test_what_breaks_the_protocol_is_closed_with_its_code(start_process: StartProcess) -> None:
    gateway = start_process()
    path = f"{gateway.sink}?_watch_=true"
    broken = {
        1009: frame(BINARY, b"x" * 70_000),  # too big
        1002: frame(3),  # no such opcode
        1000: frame(8, (1000).to_bytes(2, "big")),  # an ordinary close is echoed
    }
    for code, data in broken.items():
        with open_watch(gateway.port, path) as peer:
            peer.sendall(data)
            answer = read_to_end(peer)
            assert answer[:1] == b"\x88", answer
            assert int.from_bytes(answer[2:4], "big") == code
    for unmasked in (b"\x81\x05hello", b"\xff" * 100, frame(CONTINUATION, b"x"), frame(8, b"x")):
        with open_watch(gateway.port, path) as peer:
            peer.sendall(unmasked)
            assert read_to_end(peer)[:1] == b"\x88"
    gateway.assert_well()


def test_what_comes_before_the_handshake_is_answered_waits(start_process: StartProcess) -> None:
    gateway = start_process()
    path = f"{gateway.sink}?_watch_=true"
    uid = b"X-EAS-QueueService-Redis-Uid: same"
    with open_watch(gateway.port, path, uid):
        # The second one of a uid is refused after 0.8 s; meanwhile it sends what is no frame.
        refused = []

        def impatient(early: bytes) -> None:
            with connect(gateway.port) as peer:
                peer.sendall(handshake(path, uid))
                time.sleep(0.1)
                peer.sendall(early)
                refused.append(status(read_to_end(peer)))

        early = (b"\xff" * 200, frame(PING, b"x"), frame(8), frame(BINARY, b"x" * 70_000))
        threads = [threading.Thread(target=impatient, args=(data,)) for data in early]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(refused) <= {409, 0}, "0: reset with unread bytes"
        gateway.assert_well()
    gateway.assert_well()
