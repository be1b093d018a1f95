"""Every operation in every form, at each of the four addresses: input, input with a path, sink, rear."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from .frames import read_attributes, read_item, read_items
from .service import REAR, WAIT_S, Service, until
from .wire import RefusedError, WireSocket

PROTOBUF = {"Accept": "application/vnd.google.protobuf"}
UID = {"X-EAS-QueueService-Redis-Uid": "u1", "X-EAS-QueueService-Redis-Gid": "eas"}
KEEP = {"_auto_delete_": "false"}


@dataclass
class Where:
    """One address of a service, and how it is spoken to."""

    service: Service
    path: str
    headers: dict[str, str]

    def call(self, method: str, params: dict[str, str], **how: Any) -> httpx.Response:
        headers = {**UID, **self.headers, **how.pop("headers", {})}
        return self.service.http.request(method, self.path, params=params, headers=headers, **how)

    def ok(self, method: str, params: dict[str, str], **how: Any) -> httpx.Response:
        """A call that must be answered 200."""
        response = self.call(method, params, **how)
        assert response.status_code == 200, response.text
        return response

    def put(self, text: str, **params: str) -> int:
        return int(self.ok("POST", params, content=text.encode()).text)

    def length(self) -> int:
        return int(self.ok("GET", {"_attrs_": "true"}).json()["stream.length"])

    def indexes(self, **params: str) -> list[int]:
        """What a get finds."""
        response = self.call("GET", {"_length_": "9", **KEEP, **params})
        assert response.status_code in {200, 204}, response.text
        return [item["index"] for item in response.json()] if response.content else []

    def watch(self, **query: str) -> WireSocket:
        parameters = {"_watch_": "true", "_index_": "0", "_window_": "5", **query}
        return WireSocket(self.service, self.path, parameters, {**UID, **PROTOBUF, **self.headers})

    @contextmanager
    def stream(self, **query: str) -> Iterator[Callable[[], bytes]]:
        """The watch without a WebSocket: a function that reads one frame."""
        parameters = {"_watch_": "true", "_index_": "0", "_window_": "5", **query}
        headers = {**UID, **PROTOBUF, **self.headers}
        with self.service.http.stream("GET", self.path, params=parameters, headers=headers) as response:
            assert response.status_code == 200
            chunks, left = response.iter_raw(), b""

            def take(count: int) -> bytes:
                nonlocal left
                while len(left) < count:
                    left += next(chunks)
                taken, left = left[:count], left[count:]
                return taken

            yield lambda: take(int.from_bytes(take(4), "big"))


@pytest.fixture(params=["input", "input with a path", "sink", "rear"])
def where(request: pytest.FixtureRequest, store: Service) -> Where:
    """Each address in turn."""
    path, headers = {
        "input": (store.path(), {}),
        "input with a path": (f"{store.path()}/sdapi/v1/txt2img", {}),
        "sink": (store.path("sink"), {}),
        "rear": (store.path(), REAR),
    }[request.param]
    return Where(store, path, headers)


def data_of(watch: WireSocket) -> bytes:
    return read_item(watch.item()).data


def test_put_and_every_form_of_get(where: Where) -> None:
    first, second, third = (where.put(text, colour=colour) for text, colour in zip("abc", "rgr", strict=True))
    assert (second, third) == (first + 1, first + 2)
    for newest in ("-1", "18446744073709551615"):
        assert where.indexes(_index_=newest) == [third]
    assert where.indexes(_index_="0", _length_="2") == [first, second]
    assert where.indexes(_index_=str(second)) == [second, third]
    assert where.indexes(colour="r") == [first, third]
    assert where.indexes(colour="r", _index_=str(second)) == [third]
    (item,) = where.ok("GET", {"_index_": str(second), **KEEP}).json()
    assert (item["tags"]["colour"], base64.b64decode(item["data"])) == ("g", b"b")
    assert where.indexes(requestId=item["tags"]["requestId"]) == [second]
    binary = read_items(where.ok("GET", {"_length_": "9", **KEEP}, headers=PROTOBUF).content)
    assert [found.data for found in binary] == [b"a", b"b", b"c"]
    raw = where.ok("GET", {"_raw_": "true", "_index_": str(second)})
    assert (raw.content, where.indexes()) == (b"b", [first, third]), "read without a word is removed"
    assert where.ok("GET", {"_auto_delete_": "true"}).json()[0]["index"] == first
    assert where.indexes() == [third]


def test_a_long_poll_waits_for_what_it_wants_and_no_longer(where: Where) -> None:
    where.put("other", task="a")
    began = time.monotonic()
    assert where.call("GET", {"_timeout_": "500ms", "task": "b"}).status_code == 204
    assert time.monotonic() - began > 0.1
    later = threading.Timer(0.2, where.put, args=("wanted",), kwargs={"task": "b"})
    later.start()
    began = time.monotonic()
    (item,) = where.ok("GET", {"_timeout_": f"{WAIT_S:g}s", "task": "b"}).json()
    later.join()
    assert base64.b64decode(item["data"]) == b"wanted"
    assert time.monotonic() - began < WAIT_S - 5


def test_priorities_by_query_and_by_header_go_first(where: Where) -> None:
    name = where.ok("GET", {"_attrs_": "true"}).json()["meta.header.priority"]
    where.put("normal")
    where.put("high", _priority_="1")
    where.ok("POST", {}, content=b"higher", headers={name: "2"})
    with where.watch() as watch:
        assert [data_of(watch) for _ in range(3)] == [b"higher", b"high", b"normal"]


def test_count_by_priority_and_tag(where: Where) -> None:
    assert where.ok("GET", {"_count_": "true"}).text == "0"
    where.put("a", colour="red")
    where.put("b", colour="red", _priority_="1")
    where.put("c")
    for params, count in (
        ({}, "3"),
        ({"_priority_": "1"}, "1"),
        ({"_priority_": "0"}, "2"),
        ({"colour": "red"}, "2"),
        ({"colour": "red", "_priority_": "1"}, "1"),
        ({"colour": "blue"}, "0"),
    ):
        assert where.ok("GET", {"_count_": "true", **params}).text == count, params


def test_attributes_in_both_encodings(where: Where) -> None:
    index = where.put("x")
    plain = where.ok("GET", {"_attrs_": "true"}).json()
    binary = read_attributes(where.ok("GET", {"_attrs_": "true"}, headers=PROTOBUF).content)
    assert plain.keys() == binary.keys()
    # A consumer's line tells how long it has been idle.
    assert {name for name in plain if plain[name] != binary[name]} <= {"consumers.list.[0]"}
    shown = (plain["stream.length"], plain["stream.firstEntry"], plain["stream.lastEntry"])
    assert shown == ("1", str(index), str(index))


def test_search_in_the_callers_group(where: Where) -> None:
    indexes = [where.put(text) for text in "abc"]

    def search(index: int) -> Any:
        return where.ok("GET", {"_search_": "true", "_index_": str(index)}).json()

    with where.watch(_window_="1") as watch:
        assert read_item(watch.item()).index == indexes[0]
        assert search(indexes[0]) == {"ConsumerId": "eas.u1", "IsPending": True, "WaitCount": 0}
        assert [search(index)["WaitCount"] for index in indexes[1:]] == [0, 1]
        assert not any(search(index)["IsPending"] for index in indexes[1:])
    missing = where.call("GET", {"_search_": "true", "_index_": "999999"})
    assert (missing.status_code, missing.text) == (404, "no data in stream")


def test_commit_and_delete_remove_and_may_be_repeated(where: Where) -> None:
    first, second, third = (where.put(text) for text in "abc")
    with where.watch() as watch:
        for _ in range(3):
            watch.item()
        for _ in range(2):
            assert where.ok("PUT", {"_indexes_": f"{first},{second},999999"}).text == "OK"
            assert where.indexes() == [third]
        for _ in range(2):
            assert where.ok("DELETE", {"_indexes_": f"{third}"}).text == "OK"
            assert where.length() == 0


def test_truncate_removes_what_is_before_and_what_is_delivered(where: Where) -> None:
    first, second, third = (where.put(text) for text in "abc")
    with where.watch(_window_="1") as watch:
        assert read_item(watch.item()).index == first
        where.ok("DELETE", {"_trunc_": "true", "_index_": str(third)})
        assert where.indexes() == [third]
        assert read_item(watch.item()).index == third, "the window is free again"
        assert second not in where.indexes()


def test_a_negative_commit_brings_the_item_again_with_its_reason(where: Where) -> None:
    index = where.put("x")
    with where.watch() as watch:
        assert read_item(watch.item()).index == index
        form = {"_code_": "Disk.Full", "_reason_": "kein Platz: ü"}
        assert where.ok("PUT", {"_indexes_": str(index), "_negative_": "true"}, data=form).text == "OK"
        again = read_item(watch.item())
        assert (again.index, again.data) == (index, b"x")
        assert again.message == "delivery 1 to eas.u1: Disk.Full: kein Platz: ü"


@pytest.mark.parametrize("force", ["false", "true"])
def test_an_end_of_stream_finishes_watchers_and_refuses_puts_until_it_is_cleared(
    where: Where, force: str
) -> None:
    first, second = where.put("a"), where.put("b")
    with where.watch(_window_="1") as watch:
        assert read_item(watch.item()).index == first
        where.ok("POST", {"_eos_": "true", "_force_": force})
        assert where.call("POST", {}, content=b"late").status_code == 410
        if force == "false":
            where.ok("PUT", {"_indexes_": str(first)})
            assert read_item(watch.item()).index == second
            where.ok("PUT", {"_indexes_": str(second)})
        with pytest.raises(EOFError):
            watch.item()
    assert where.length() == (force == "true"), "what was delivered may still be committed"
    where.ok("PUT", {"_indexes_": str(first)})
    with pytest.raises(RefusedError) as refused:
        where.watch()
    assert refused.value.status == 410
    last = int(where.ok("GET", {"_attrs_": "true"}).json()["stream.lastEntry"])
    assert last > second, "the marker has an index"
    where.ok("DELETE", {"_trunc_": "true", "_index_": str(last + 1)})
    assert where.put("on time") > last


def test_watch_with_window_filter_and_start(where: Where) -> None:
    for text, colour in zip("abc", ("red", "blue", "red"), strict=True):
        where.put(text, colour=colour)
    second, third = where.indexes()[1:]
    with where.watch(colour="red") as watch:
        assert [data_of(watch) for _ in range(2)] == [b"a", b"c"]
    with where.watch(_index_=str(second)) as watch:
        assert [data_of(watch) for _ in range(2)] == [b"b", b"c"]
    for newest in ("-1", "18446744073709551615"):
        with where.watch(_index_=newest) as watch:
            fresh = where.put("fresh")
            assert read_item(watch.item()).index == fresh
            where.ok("DELETE", {"_indexes_": str(fresh)})
    with where.watch(_index_only_="true", _window_="1") as watch:
        item = read_item(watch.item())
        assert (item.data, item.tags["colour"]) == (b"", "red")
        where.ok("PUT", {"_indexes_": str(item.index)})
        assert read_item(watch.item()).index == second
    with where.watch(_auto_commit_="true", _window_="1") as watch:
        assert [read_item(watch.item()).index for _ in range(2)] == [second, third]
        where.put("d")
        assert data_of(watch) == b"d"
    until(lambda: where.length() == 0, "what was sent is committed")


def test_watch_as_a_plain_stream_of_frames(where: Where) -> None:
    first = where.put("a", colour="red")
    with where.stream(_window_="1") as frame:
        item = read_item(frame())
        assert (item.index, item.data, item.tags["colour"]) == (first, b"a", "red")
        second = where.put("b")
        where.ok("PUT", {"_indexes_": str(first)})
        assert read_item(frame()).index == second
    with where.watch(_auto_commit_="true") as watch:
        assert read_item(watch.item()).index == second, "the uid is free, its item comes again"


def test_json_when_nothing_else_is_asked_for(where: Where) -> None:
    index = where.put("a", colour="red")
    query = {"_watch_": "true", "_window_": "1"}
    with WireSocket(where.service, where.path, query, {**UID, **where.headers}) as watch:
        frame = json.loads(watch.item())
    assert frame == where.ok("GET", KEEP).json()[0]
    assert frame["index"] == index
    assert frame.keys() == {"index", "tags", "data"}
