"""What the Go SDK's tests require beyond the Python ones."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from .go_client import GoQueue, within
from .service import REAR, Service, until
from .wire import BINARY, PING, PONG, WireSocket


@pytest.mark.parametrize("base", [None, ""], ids=["the usual base path", "an empty base path"])
def test_put_get_watch_and_truncate_under(easel: Service, base: str | None) -> None:
    source, sink = (GoQueue(easel, sink=end, base=base) for end in (False, True))
    _, request_id = source.put(b"[{}]")
    watch = sink.watch()
    item = watch.next()
    assert item.tags["requestId"] == request_id
    sink.commit(item.index)
    watch.close()
    assert sink.attributes()["stream.length"] == "0"
    sink.put(b"left")
    sink.truncate(int(sink.attributes()["stream.lastEntry"]) + 1)
    assert sink.attributes()["stream.length"] == "0"


def test_an_empty_base_path_is_as_guarded_as_the_usual_one_and_leaves_the_page(easel: Service) -> None:
    client = easel.http
    anonymous = {"Authorization": ""}
    for method, path in (("POST", "/"), ("GET", "/?_attrs_=true"), ("GET", "/sink"), ("POST", "/sink")):
        assert client.request(method, path, headers=anonymous).status_code == 401
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/sink", headers=foreign).status_code == 403
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert client.get("/?unreserved=1").headers["content-type"].startswith("text/html")


def test_the_length_of_an_empty_queue_is_the_text_0(easel: Service) -> None:
    for sink in (False, True):
        assert GoQueue(easel, sink=sink).attributes()["stream.length"] == "0"


def test_the_first_operation_learns_the_headers_names_from_protobuf_attributes(easel: Service) -> None:
    attributes = GoQueue(easel).attributes()
    plain = easel.attributes("in")
    assert plain == {name: attributes[name] for name in plain}, "the same as in JSON"
    assert attributes.keys() == plain.keys()
    assert attributes["meta.header.user"]
    assert attributes["meta.header.group"]
    sink = GoQueue(easel, sink=True)
    sink.put(b"normal")
    sink.put(b"urgent", priority=1)
    watch = sink.watch()
    assert [watch.next().data for _ in range(2)] == [b"urgent", b"normal"]
    watch.close()


def test_get_by_request_id_without_waiting_right_after_the_put(easel: Service) -> None:
    sink = GoQueue(easel, sink=True)
    for number in range(20):
        _, request_id = sink.put(str(number).encode())
        (item,) = sink.get(requestId=request_id, timeout="0s")
        assert item.data == str(number).encode()
        assert item.tags == {"requestId": request_id}


def test_put_and_get_by_request_id_in_the_rear(store: Service) -> None:
    rear = GoQueue(store, rear=True)
    _, request_id = rear.put(b"dead")
    assert store.length("in") == 0
    assert store.call("GET", "in", params={"_count_": "true"}, headers=REAR).text == "1"
    (item,) = rear.get(requestId=request_id, timeout="0s")
    assert item.data == b"dead"
    rear.put(b"left")
    rear.truncate(int(rear.attributes()["stream.lastEntry"]) + 1)
    assert rear.attributes()["stream.length"] == "0"


@pytest.mark.parametrize("auto_commit", [True, False])
def test_the_length_is_0_within_two_seconds_after_a_watch(easel: Service, auto_commit: bool) -> None:
    sink = GoQueue(easel, sink=True)
    for number in range(30):
        sink.put(str(number).encode())
    watch = sink.watch(auto_commit=auto_commit)
    for number in range(30):
        item = watch.next()
        assert item.data == str(number).encode()
        if not auto_commit:
            sink.commit(item.index)
    watch.close()
    assert within(2, lambda: sink.attributes()["stream.length"] == "0")


def test_a_watch_that_is_cut_and_reconnects_ends_with_nothing_left_and_no_commit_error(
    easel: Service,
) -> None:
    sink, sender = GoQueue(easel, sink=True), GoQueue(easel, sink=True)
    watch = sink.watch(window=10)
    sending = threading.Thread(target=lambda: [sender.put(str(number).encode()) for number in range(100)])
    sending.start()
    seen: Counter[int] = Counter()
    for cut_at in (0, 30, 60):
        while len(seen) < cut_at:
            item = watch.next()
            seen[item.index] += 1
            sink.commit(item.index)
        # What was read ahead is not committed, so it comes again: the user sees it twice.
        until(lambda: watch.ahead > 0, "an item is read ahead")
        connections = watch.connections
        watch.interrupt()
        until(lambda before=connections: watch.connections > before, "it has reconnected")
    while len(seen) < 100 or watch.ahead:
        item = watch.next()
        seen[item.index] += 1
        sink.commit(item.index)
    sending.join()
    watch.close()
    assert len(seen) == 100
    assert max(seen.values()) > 1, "items came twice, and committing them twice was no error"
    assert sink.attributes()["stream.length"] == "0"
    assert watch.refusals == [], "the uid was free after a second"


def test_every_item_is_one_unfragmented_binary_frame_without_extensions(easel: Service) -> None:
    sink = GoQueue(easel, sink=True)
    sizes = (1, 125, 126, 65_535, 65_536, 3_000_000)
    for size in sizes:
        sink.put(b"x" * size)
    query = {"_watch_": "true", "_index_": "0", "_window_": "10", "_auto_commit_": "false"}
    offered = {"Sec-WebSocket-Extensions": "permessage-deflate", "Accept": "application/vnd.google.protobuf"}
    with WireSocket(easel, sink.path, query, offered) as socket:
        assert "sec-websocket-extensions" not in socket.headers
        for size in sizes:
            frame = socket.frame()
            assert (frame.final, frame.reserved, frame.opcode, frame.masked) == (True, 0, BINARY, False)
            assert len(frame.payload) > size


def test_empty_pings_every_second_are_answered(easel: Service) -> None:
    query = {"_watch_": "true", "_index_": "0", "_window_": "5"}
    with WireSocket(easel, easel.path("sink"), query, {}) as socket:
        for payload in (b"", b"", b"ping"):
            socket.send(PING, payload)
            frame = socket.frame()
            assert (frame.opcode, frame.payload) == (PONG, payload)
