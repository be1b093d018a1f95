"""What only the S3 store promises: signatures, presigned addresses, and errors that say what to do."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from typing import Any

import pytest
import requests

from easel_store import S3Options, S3Store, StoreError, open_store


def _get(url: str) -> tuple[int, bytes]:
    answer = requests.get(url, timeout=10)
    return answer.status_code, answer.content if answer.ok else b""


def test_presigned_address_works_for_anybody(s3_server: Any) -> None:
    store = S3Store(s3_server.options(prefix="p"))
    store.put("outputs/a b.png", b"picture", "image/png")
    assert _get(store.presigned_url("outputs/a b.png", 60)) == (200, b"picture")


def test_presigned_addresses_can_name_the_host_that_clients_reach(s3_server: Any) -> None:
    port = s3_server.endpoint.rpartition(":")[2]
    options = replace(s3_server.options(), public_endpoint=f"http://localhost:{port}")
    store = S3Store(options)
    store.put("public.png", b"picture", "image/png")
    url = store.presigned_url("public.png", 60)
    assert url.startswith(f"http://localhost:{port}/")
    assert _get(url) == (200, b"picture")
    assert _get(url.replace("localhost", "127.0.0.1"))[0] == 403  # the signature covers the host


def test_tampered_and_expired_addresses_are_refused(s3_server: Any) -> None:
    store = S3Store(s3_server.options())
    store.put("mine.png", b"mine", "image/png")
    store.put("other.png", b"other", "image/png")
    url = store.presigned_url("mine.png", 1)
    assert _get(url.replace("mine.png", "other.png"))[0] == 403
    assert _get(url.replace("X-Amz-Expires=1&", "X-Amz-Expires=9&"))[0] == 403
    old = url.replace("X-Amz-Date=2", "X-Amz-Date=1")  # a thousand years ago
    assert _get(old)[0] in {400, 403}
    expired = threading.Event()
    for _ in range(50):  # the server counts whole seconds: ask until it refuses, at most five of them
        status, data = _get(url)
        if status in {400, 403}:
            break
        assert data == b"mine"
        expired.wait(0.1)
    else:
        pytest.fail("the address still worked five seconds after a lifetime of one second")


@pytest.mark.parametrize("expires_s", [0, -1, 7 * 24 * 3600 + 1])
def test_impossible_lifetimes_are_refused(s3_server: Any, expires_s: int) -> None:
    with pytest.raises(StoreError, match="604800"):
        S3Store(s3_server.options()).presigned_url("a.png", expires_s)


def test_a_wrong_secret_is_refused_in_every_call_and_never_told(s3_server: Any) -> None:
    S3Store(s3_server.options()).put("a.png", b"x", "image/png")
    store = S3Store(replace(s3_server.options(), secret_key="not-the-secret"))
    calls = (
        lambda: store.put("b.png", b"x", "image/png"),
        lambda: store.get("a.png"),
        lambda: store.exists("a.png"),
        lambda: store.delete("a.png"),
        lambda: list(store.list("")),
        store.check,
    )
    for call in calls:
        with pytest.raises(StoreError, match="EASEL_S3_ACCESS_KEY and EASEL_S3_SECRET_KEY") as caught:
            call()
        assert "not-the-secret" not in str(caught.value)
        assert s3_server.access_key not in str(caught.value)
        assert caught.value.__suppress_context__
    assert S3Store(s3_server.options()).exists("a.png")


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        store = S3Store(S3Options(address, "key", "secret", secure=False))
        with pytest.raises(StoreError, match=rf"http://{address}.*NewConnectionError.*EASEL_S3_ENDPOINT"):
            store.check()


def test_a_bucket_name_that_s3_forbids(s3_server: Any) -> None:
    with pytest.raises(StoreError, match="EASEL_S3_"):
        S3Store(s3_server.options(bucket="No")).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (S3Options("ftp://host", "k", "s"), "EASEL_S3_ENDPOINT"),
        (S3Options("http://host/path", "k", "s"), "EASEL_S3_ENDPOINT"),
        (S3Options("", "k", "s"), "EASEL_S3_ENDPOINT"),
        (S3Options("host", "k", "s", public_endpoint="http://u@host"), "EASEL_S3_PUBLIC_ENDPOINT"),
        (S3Options("host:9000", "", "s"), "EASEL_S3_ACCESS_KEY"),
        (S3Options("host:9000", "k", "s", prefix="../x"), "'..'"),
    ],
)
def test_bad_options_name_the_setting(options: S3Options, message: str, tmp_path: Any) -> None:
    with pytest.raises(StoreError, match=message.replace(".", r"\.")):
        open_store(tmp_path, options)


def test_an_address_decides_over_tls(s3_server: Any) -> None:
    options = replace(s3_server.options(), endpoint=f"http://{s3_server.endpoint}/", secure=True)
    S3Store(options).check()


def test_keys_do_not_show_in_the_options() -> None:
    assert "hush" not in repr(S3Options("host", "hush-key", "hush-secret"))
