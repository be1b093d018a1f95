"""No two workers that share a store ever number a picture alike."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easel_store import NotFoundError
from easel_worker.outputs.numbering import Numbers

from .conftest import S3Server
from .number_pictures import FOLDER, open_place, save

T = TypeVar("T")


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What `open_place` needs, in any process."""
    if request.param == "local":
        return {"path": str(tmp_path)}
    server: S3Server = request.getfixturevalue("s3_server")
    return asdict(server.options(prefix=secrets.token_hex(4)))


def test_numbers_go_on_behind_the_highest(place: dict[str, Any]) -> None:
    store, registers = open_place(place)
    numbers = Numbers(store, registers)
    assert [save(store, numbers, seed) for seed in (7, 7, 8)] == [0, 1, 2]
    store.put(f"{FOLDER}/00041-5-mask.png", b"x", "image/png")
    assert save(store, Numbers(store, registers), 9) == 42
    # The first one does not know of 42 yet, and finds out in time.
    store.put(f"{FOLDER}/00003-1.png", b"x", "image/png")
    assert save(store, numbers, 9) == 43
    assert list(registers.list("")) == []


def test_other_files_are_no_numbers(place: dict[str, Any]) -> None:
    store, registers = open_place(place)
    for name in (
        "000123456789-1.png",  # a seed
        "12.png",
        "readme.txt",
        "050607-0a1b2c3d-0000-4000-8000-000000000000-7.png",  # the cloud's
        "00009-sub/00077-1.png",
        "grid-0003.png",
    ):
        store.put(f"{FOLDER}/{name}", b"x", "image/png")
    assert save(store, Numbers(store, registers), 1) == 0
    with Numbers(store, registers).take(FOLDER, "grid-", digits=4) as number:
        assert number == 4


def test_the_root_is_a_folder_too(place: dict[str, Any]) -> None:
    store, registers = open_place(place)
    numbers = Numbers(store, registers)
    store.put("00004-1.png", b"x", "image/png")
    with numbers.take("") as number:
        assert number == 5


def test_a_number_whose_file_was_not_written_is_never_given_again(place: dict[str, Any]) -> None:
    store, registers = open_place(place)
    with pytest.raises(RuntimeError, match="no space"), Numbers(store, registers).take(FOLDER):
        raise RuntimeError("no space")
    assert save(store, Numbers(store, registers), 1) == 1


def test_processes_never_share_a_number(place: dict[str, Any]) -> None:
    count = 15
    command = [
        sys.executable,
        str(Path(__file__).with_name("number_pictures.py")),
        json.dumps(place),
        str(count),
    ]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    taken = [number for process in running for number in json.loads(process.communicate(timeout=120)[0])]

    assert len(set(taken)) == len(taken) == count * len(running)
    files = list(open_place(place)[0].list(FOLDER))
    assert len(files) == len(taken), "a picture was overwritten"


class Turnstile:
    """Lets threads run one store call at a time, in a given order."""

    def __init__(self, workers: int) -> None:
        self._go = [threading.Semaphore(0) for _ in range(workers)]
        self._done = [threading.Semaphore(0) for _ in range(workers)]
        self._ended = [False] * workers

    def call(self, who: int, what: Callable[[], T]) -> T:
        self._go[who].acquire()
        try:
            return what()
        finally:
            self._done[who].release()

    def ends(self, who: int) -> None:
        self._go[who].acquire()
        self._ended[who] = True
        self._done[who].release()

    def run(self, order: list[int]) -> None:
        for who in order:
            self._step(who)
        while not all(self._ended):
            for who in range(len(self._ended)):
                self._step(who)

    def _step(self, who: int) -> None:
        if not self._ended[who]:
            self._go[who].release()
            self._done[who].acquire()


class SteppedStore:
    """A `Store` in memory; every call waits for its thread's turn."""

    def __init__(self, data: dict[str, bytes], turnstile: Turnstile, who: int) -> None:
        self._data, self._turnstile, self._who = data, turnstile, who

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self._turnstile.call(self._who, lambda: self._data.__setitem__(key, data))

    def get(self, key: str) -> bytes:
        found = self._turnstile.call(self._who, lambda: self._data.get(key))
        if found is None:
            raise NotFoundError(key)
        return found

    def exists(self, key: str) -> bool:
        return self._turnstile.call(self._who, lambda: key in self._data)

    def delete(self, key: str) -> None:
        self._turnstile.call(self._who, lambda: self._data.pop(key, None))

    def list(self, prefix: str) -> Iterator[str]:
        keys = self._turnstile.call(self._who, lambda: sorted(self._data))
        return iter([key for key in keys if key.startswith(prefix)])

    def presigned_url(self, key: str, expires_s: int) -> str:
        raise NotImplementedError

    def check(self) -> None:
        raise NotImplementedError

    def tidy(self, older_than_s: float) -> int:
        raise NotImplementedError


@given(order=st.lists(st.integers(0, 2), max_size=60))
def test_numbers_are_unique_in_whatever_order_the_calls_arrive(order: list[int]) -> None:
    workers, each = 3, 2
    turnstile = Turnstile(workers)
    pictures: dict[str, bytes] = {}
    registers: dict[str, bytes] = {}
    taken: list[int] = []

    def work(who: int) -> None:
        store = SteppedStore(pictures, turnstile, who)
        numbers = Numbers(store, SteppedStore(registers, turnstile, who))
        taken.extend(save(store, numbers, 5) for _ in range(each))
        turnstile.ends(who)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(workers)]
    for thread in threads:
        thread.start()
    turnstile.run(order)
    for thread in threads:
        thread.join(60)

    assert sorted(taken) == sorted(set(taken))
    assert len(taken) == len(pictures) == workers * each
