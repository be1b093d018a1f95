"""Malformed HTTP, byte by byte: it is refused, and the gateway serves on."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .gateways import GatewayProcess
from .wire import converse, handshake, status

HOST = b"Host: easel\r\n"
POST = b"POST /api/predict/x HTTP/1.1\r\n" + HOST

MALFORMED = {
    "random bytes": (os.urandom(500), {400}),
    "another protocol": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), {400}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "a tunnel": (b"CONNECT easel:1 HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "a path that is not ASCII": (b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "a NUL in a header": (b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: b\0c\r\n\r\n", {400}),
    "a header of 1 MB": (b"GET /healthz HTTP/1.1\r\nA: " + b"a" * 1_000_000 + b"\r\n\r\n", {431, 0}),
    "10,000 headers": (b"GET /healthz HTTP/1.1\r\n" + b"A: bcde\r\n" * 10_000 + b"\r\n", {431, 0}),
    "an address of 1 MB": (b"GET /healthz?" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n", {400, 431, 0}),
    "two lengths": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "a negative length": (POST + b"Content-Length: -5\r\n\r\n", {400}),
    "a length beyond 64 bits": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", {400}),
    "a length of 9 TB": (b"POST /sdapi/v1/txt2img HTTP/1.1\r\nContent-Length: 9999999999999\r\n\r\n", {413}),
    "a wrong chunk": (
        b"POST /sdapi/v1/txt2img HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        {400},
    ),
    "endless chunk extensions": (
        b"POST /sdapi/v1/txt2img HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"e" * 1_000_000,
        {400, 0},
    ),
    "endless trailers": (
        b"POST /sdapi/v1/txt2img HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"e" * 1_000_000,
        {400, 0},
    ),
    "a body cut short": (b"POST /sdapi/v1/txt2img HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello", {0}),
    "a handshake with a long line": (handshake("/", b"A: " + b"a" * 9000), {431}),
    "a handshake with many headers": (handshake("/", *[b"A: b"] * 200), {431}),
    "a handshake with a body": (handshake("/", b"Content-Length: 5") + b"hello", {400}),
    "a handshake in chunks": (handshake("/", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", {400}),
    "a handshake behind an unanswered request": (
        b"POST /sdapi/v1/txt2img HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}" + handshake("/api/predict/x"),
        {400},
    ),
    "a handshake by POST": (handshake("/", method=b"POST"), {405}),
    "a handshake nowhere": (handshake("/nothing/here"), {403}),
    "a handshake at another service": (handshake("/api/predict/no?_watch_=true"), {404}),
    "a handshake that is not ASCII": (handshake(b"/\xff?_watch_=true"), {400}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_it_is_refused(target: GatewayProcess, name: str) -> None:
    request, expected = MALFORMED[name]
    before = target.resident()
    answer = converse(target.port, request, finish=expected == {0})
    assert status(answer) in expected
    assert target.resident() - before < 20_000_000


def test_who_hangs_up_with_requests_in_line_is_no_error_of_ours(target: GatewayProcess) -> None:
    waits = b"POST /sdapi/v1/txt2img HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    for _ in range(3):
        converse(target.port, waits + waits, finish=True)
    target.http.post("/sdapi/v1/txt2img", json={})  # longer than theirs: they have ended when it has
    target.assert_well()


def test_a_refused_handshake_is_no_error_of_ours(target: GatewayProcess) -> None:
    for _ in range(3):
        assert status(converse(target.port, handshake("/api/predict/no?_watch_=true"))) == 404
    target.assert_well()  # uvicorn reported each as an unfinished handshake


METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"HEAD", b"", b"get"])
BYTES = st.binary(max_size=60)
HEADERS = st.lists(
    st.one_of(
        BYTES,
        st.sampled_from(
            [
                b"Content-Length: 3",
                b"Content-Length: 0",
                b"Transfer-Encoding: chunked",
                b"Connection: Upgrade",
                b"Upgrade: websocket",
                b"Sec-WebSocket-Version: 13",
                b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlcy4uLg==",
                b"Expect: 100-continue",
                b"Connection: close",
                b"Host: easel",
            ]
        ),
    ),
    max_size=8,
)
PATHS = st.one_of(
    BYTES,
    st.sampled_from(
        [b"/", b"*", b"/healthz", b"http://easel/healthz", b"/sdapi/v1/txt2img", b"//", b"/%00%ff"]
    ),
)


def requests(target: GatewayProcess) -> st.SearchStrategy[bytes]:
    """Almost HTTP: right parts in wrong places, and random ones."""
    queue = target.source.encode()
    paths = st.one_of(PATHS, st.sampled_from([queue, queue + b"/sink?_watch_=true", queue + b"?_attrs_=1"]))
    versions = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b""])
    heads = st.tuples(METHODS, paths, versions).map(b" ".join)
    lines = st.tuples(heads, HEADERS).map(lambda parts: b"\r\n".join([parts[0], *parts[1], b"", b""]))
    return st.lists(st.tuples(lines, BYTES).map(b"".join), min_size=1, max_size=3).map(b"".join)


@pytest.fixture(params=[60, pytest.param(2000, marks=pytest.mark.slow)])
def examples(request: pytest.FixtureRequest) -> int:
    """How many examples: the short form, and the long one."""
    return int(request.param)


def test_almost_http(target: GatewayProcess, examples: int) -> None:
    before = target.resident()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(target))
    def attack(data: bytes) -> None:
        answer = converse(target.port, data, finish=True)
        assert status(answer) < 500 or status(answer) in {501, 503}, answer

    attack()
    assert target.resident() - before < 30_000_000
