"""What every store promises, asked of each of them."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from typing import Any

import pytest

from easel_store import InvalidKeyError, LocalStore, NotFoundError, S3Store, Store


@pytest.fixture(params=["local", "s3", "s3-with-prefix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(tmp_path / "data")
    server: Any = request.getfixturevalue("s3_server")
    prefix = "team-a/pictures" if request.param == "s3-with-prefix" else ""
    return S3Store(server.options(bucket=f"b-{secrets.token_hex(6)}", prefix=prefix))


def test_what_was_put_is_got(store: Store) -> None:
    data = secrets.token_bytes(100_000)
    store.put("outputs/txt2img-images/2026-01-01/00000-1.png", data, "image/png")
    assert store.get("outputs/txt2img-images/2026-01-01/00000-1.png") == data
    assert store.exists("outputs/txt2img-images/2026-01-01/00000-1.png")


def test_empty_and_odd_names(store: Store) -> None:
    for key in ("a b/ü 漢字 (1)+&=%25.png", "outputs/#1?.txt", "x" * 255):
        store.put(key, b"", "application/octet-stream")
        assert store.get(key) == b""
        assert store.exists(key)
    assert sorted(store.list("")) == sorted(["a b/ü 漢字 (1)+&=%25.png", "outputs/#1?.txt", "x" * 255])


def test_put_replaces(store: Store) -> None:
    store.put("a.txt", b"first, and longer", "text/plain")
    store.put("a.txt", b"second", "text/plain")
    assert store.get("a.txt") == b"second"


def test_missing_key(store: Store) -> None:
    for _ in range(2):  # first without, then with a bucket or folder
        with pytest.raises(NotFoundError, match="nothing is stored under 'outputs/none'"):
            store.get("outputs/none")
        assert not store.exists("outputs/none")
        store.delete("outputs/none")
        assert list(store.list("outputs/none")) == []
        store.put("outputs/other.png", b"x", "image/png")


def test_a_folder_is_no_object(store: Store) -> None:
    store.put("outputs/a/1.png", b"x", "image/png")
    assert not store.exists("outputs/a")
    with pytest.raises(NotFoundError):
        store.get("outputs/a")


def test_delete(store: Store) -> None:
    store.put("outputs/a.png", b"x", "image/png")
    store.delete("outputs/a.png")
    store.delete("outputs/a.png")
    assert not store.exists("outputs/a.png")
    assert list(store.list("")) == []


def test_list_goes_by_string_prefix_in_byte_order(store: Store) -> None:
    keys = ["outputs/b.png", "outputs/B.png", "outputs/a/2.png", "outputs/a/10.png", "outputs/a-1.png", "top"]
    for key in keys:
        store.put(key, b"x", "image/png")
    assert list(store.list("")) == sorted(keys)
    assert list(store.list("outputs/a")) == ["outputs/a-1.png", "outputs/a/10.png", "outputs/a/2.png"]
    assert list(store.list("outputs/a/")) == ["outputs/a/10.png", "outputs/a/2.png"]
    assert list(store.list("none/")) == []


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../x", "a/../x", "a/./x", "a//x", "a/", "a\\x", "a\0x", "a\nx", ".easel-x/y",
     "run/up.json", "redis/appendonly.aof", "Run/up.json", "claims/x/1", "x" * 256, "a/" * 600 + "x",
     "a\ud800"],
)  # fmt: skip
def test_bad_keys_are_refused_by_every_call(store: Store, key: str) -> None:
    with pytest.raises(InvalidKeyError):
        store.put(key, b"x", "image/png")
    with pytest.raises(InvalidKeyError):
        store.get(key)
    with pytest.raises(InvalidKeyError):
        store.exists(key)
    with pytest.raises(InvalidKeyError):
        store.delete(key)
    assert list(store.list("")) == []


def test_there_is_nothing_unfinished_to_remove(store: Store) -> None:
    store.put("a.txt", b"x", "text/plain")
    assert store.tidy(0) == 0
    assert store.get("a.txt") == b"x"


def test_check_leaves_nothing_behind(store: Store) -> None:
    store.check()
    assert list(store.list("")) == []


def test_many_threads_write_the_same_key(store: Store) -> None:
    payloads = [bytes([n]) * 200_000 for n in range(4)]
    threads = [threading.Thread(target=store.put, args=("same.bin", data, "x/y")) for data in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("same.bin") in payloads
    # As a set: rclone's directory cache may tell of one object twice after writes at the same time.
    assert set(store.list("")) == {"same.bin"}
