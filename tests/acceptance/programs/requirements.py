"""The Python SDK's requirements, T1 to T12, one row each. Both clients keep their uid for a whole row."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from eas_prediction import QueueClient
from session import client, length, main, refusal, row


def pair() -> tuple[QueueClient, QueueClient]:
    """Input and sink."""
    return client(), client("/sink")


def first(queue: QueueClient, count: int, *, auto_commit: bool) -> list[Any]:
    """The first `count` items of a watch with a window of 5, each committed before the next is asked for."""
    items = []
    watcher = queue.watch(0, 5, auto_commit=auto_commit)
    for item in watcher.run():
        items.append(item)
        if not auto_commit:
            queue.commit(item.index)
        if len(items) == count:
            break
    watcher.close()
    return items


def numbers(items: list[Any]) -> list[int]:
    return [int(item.data) for item in items]


def assert_soon_empty(sink: QueueClient) -> None:
    """An auto-committing watch may commit a moment after it sends: a second is allowed."""
    deadline = time.monotonic() + 1
    while length(sink):
        assert time.monotonic() < deadline, "not empty within a second"


@row
def t1() -> None:
    """Attributes and truncating beyond the last entry, on both queues, filled and empty."""
    for queue in pair():
        queue.put("[{}]")
        for _ in range(2):  # the second time it is empty
            last = queue.attributes()["stream.lastEntry"]
            assert last == str(int(last)), last
            queue.truncate(int(last) + 1)
            assert length(queue) == 0


@row
def t2() -> None:
    """A client may put text into the sink."""
    _, sink = pair()
    index, request_id = sink.put("text ü")
    assert isinstance(index, str)
    (item,) = sink.get(request_id=request_id)
    assert (item.index, item.data) == (int(index), "text ü".encode())


@row
def t3() -> None:
    """A request id finds its one item among others, with the defaults of everything else."""
    _, sink = pair()
    ids = [sink.put(f"item {number}")[1] for number in range(3)]
    (item,) = sink.get(request_id=ids[1])
    assert item.data == b"item 1"
    assert item.tags["requestId"] == ids[1]
    assert length(sink) == 2, "read items are removed"


@row
def t4() -> None:
    """The index that a put answered, text as it is, finds its item, whatever lies before it."""
    _, sink = pair()
    sink.put("before")
    index, _ = sink.put("wanted")
    sink.put("after")
    (item,) = sink.get(index=index)
    assert item.data == b"wanted"


@row
def t5() -> None:
    """The length falls to 0 in the moment of truncating."""
    _, sink = pair()
    for _ in range(10):
        index, _ = sink.put("x")
    assert length(sink) == 10
    sink.truncate(int(index) + 1)
    assert length(sink) == 0


@row
def t6() -> None:
    """An auto-committing watch gets more than its window, in order, and leaves nothing within a second."""
    _, sink = pair()
    for number in range(10):
        sink.put(str(number))
    assert numbers(first(sink, 10, auto_commit=True)) == list(range(10))
    assert_soon_empty(sink)


@row
def t7() -> None:
    """After the last commit the sink is empty at once, while the socket still stands."""
    _, sink = pair()
    for number in range(10):
        sink.put(str(number))
    watcher = sink.watch(0, 5, auto_commit=False)
    for number, item in enumerate(watcher.run()):
        assert int(item.data) == number
        sink.commit(item.index)
        if number == 9:
            break
    assert length(sink) == 0
    watcher.close()


@row
def t8() -> None:
    """A hundred tasks through the service, each result committed."""
    source, sink = pair()
    for _ in range(100):
        source.put("[{}]")
    for item in first(sink, 100, auto_commit=False):
        assert len(json.loads(item.data)[0]) == 2
    assert length(sink) == 0


def flow(into: QueueClient, sink: QueueClient, count: int) -> None:
    """Put `count` items while a watch that began before takes them: what was put is what comes, each once."""
    seen: list[str] = []
    begun = threading.Event()
    watcher = sink.watch(0, 5, auto_commit=True)

    def watch() -> None:
        begun.set()
        for item in watcher.run():
            seen.append(item.tags["requestId"])
            if len(seen) == count:
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    begun.wait()
    sent = [into.put("[{}]")[1] for _ in range(count)]
    watching.join(200)
    assert not watching.is_alive(), f"{len(seen)} of {count} came"
    watcher.close()
    assert len(set(sent)) == count
    assert sorted(seen) == sorted(sent)
    assert_soon_empty(sink)


@row
def t9(count: int) -> None:
    """Puts into the sink beside an auto-committing watch."""
    _, sink = pair()
    flow(client("/sink"), sink, count)


@row
def t10(count: int) -> None:
    """The same through the service."""
    flow(*pair(), count)
    assert length(client()) == 0


@row
def t11() -> None:
    """One watch per client."""
    _, sink = pair()
    sink.put("x")
    watcher = sink.watch(0, 5, auto_commit=True)
    running = watcher.run()
    assert next(running).data == b"x"
    assert refusal(lambda: next(sink.watch(0, 5).run())).code == 400
    sink.put("y")
    assert next(running).data == b"y", "the first goes on"
    watcher.close()


@row
def t12() -> None:
    """The same uid may watch again in the moment in which it has closed."""
    _, sink = pair()
    for number in range(20):
        sink.put(str(number))
        (item,) = first(sink, 1, auto_commit=False)
        assert int(item.data) == number, "what was not committed would come again"
    assert length(sink) == 0


if __name__ == "__main__":
    main()
