"""The SDK's surprising habits, one row each."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from eas_prediction import PredictClient, StringRequest
from eas_prediction.exception import PredictException
from session import client, length, main, refusal, row, tell, wait_for_word


def reason(error: PredictException) -> dict[str, Any]:
    """What the user of the SDK sees of a refusal."""
    return {"code": error.code, "message": str(error.message)}


@row
def empty_long_poll() -> float:
    """A get with the SDK's defaults on an empty sink; answers how long it took."""
    started = time.monotonic()
    assert client("/sink").get() == []
    return time.monotonic() - started


@row
def search_in_vain() -> dict[str, Any]:
    return client("/sink").search(99)


@row
def put(suffix: str, size: int) -> dict[str, Any]:
    """A put that must be refused, and how long the refusal took."""
    started = time.monotonic()
    error = refusal(lambda: client(suffix).put("x" * size))
    return {**reason(error), "seconds": time.monotonic() - started}


@row
def commit_delete_truncate(operation: str, index: int) -> str:
    sink = client("/sink")
    answer = getattr(sink, operation)(index)
    return answer.decode() if isinstance(answer, bytes) else answer


@row
def attributes(suffix: str) -> dict[str, str]:
    return client(suffix).attributes()


@row
def types_of_answers() -> list[str]:
    """Python's types of what put, commit and delete give."""
    sink = client("/sink")
    first, request_id = sink.put("a")
    second, _ = sink.put("b")
    return [
        type(answer).__name__ for answer in (first, request_id, sink.commit(first), sink.delete([second]))
    ]


@row
def bodies() -> None:
    """Text and bytes come back as the bytes that were sent."""
    sink = client("/sink")
    for body, wanted in (
        ("plain", b"plain"),
        ("Größe 大きさ", "Größe 大きさ".encode()),
        (bytes(range(256)), bytes(range(256))),
        ("", b""),
    ):
        (item,) = sink.get(index=sink.put(body)[0])
        assert item.data == wanted, item.data


@row
def tags() -> None:
    """Tags of every kind come back, and find their item."""
    sink = client("/sink")
    given = {"task id": "a b+c&d=e%", "größe": "大きさ", "empty": "", "repeated": "once"}
    index, request_id = sink.put("x", given)
    sink.put("y", {"task id": "another"})
    for wanted in (given, {"task id": "a b+c&d=e%"}, {"größe": "大きさ"}):
        (item,) = sink.get(tags=wanted, auto_delete=False)
        assert item.index == int(index)
        assert dict(item.tags) == {**given, "requestId": request_id}
    # A tag of a reserved name replaces the parameter: the SDK merges them.
    later, _ = sink.put("z")
    (item,) = sink.get(index=index, tags={"_index_": later})
    assert item.data == b"z"


@row
def watch(uid: str, commit: bool, gid: str = "eas") -> None:
    """Tell the index of every item of a watch, without end."""
    sink = client("/sink", uid=uid, gid=gid)
    for item in sink.watch(0, 5, auto_commit=False).run():
        if commit:
            sink.commit(item.index)
        tell(item.index)


@row
def close_while_reading(uid: str) -> None:
    """Close a watch from another thread than its reader's, which makes the SDK connect once more."""
    sink = client("/sink", uid=uid)
    watcher = sink.watch(0, 5, auto_commit=False)
    begun = threading.Event()

    def read() -> None:
        for _ in watcher.run():
            begun.set()

    threading.Thread(target=read, daemon=True).start()
    begun.wait()
    watcher.close()
    tell("closed")
    wait_for_word()


@row
def put_and_get(custom_url: str = "") -> None:
    """One round trip on the sink by whatever endpoint; `custom_url` is the whole address."""
    sink = client("/sink", custom_url=custom_url)
    index, _ = sink.put("x")
    (item,) = sink.get(index=index)
    assert item.data == b"x"
    assert length(sink) == 0


@row
def predict(path: str, body: str, token: str = "", custom_url: str = "") -> dict[str, Any]:
    """A synchronous call by the SDK's PredictClient: signed, or with the bare token to a whole address."""
    made = PredictClient(os.environ["ENDPOINT"], os.environ["SERVICE"] + path, custom_url)
    made.set_token(token or os.environ["TOKEN"])
    made.set_log_level(100)
    made.init()
    try:
        return {"code": 200, "message": made.predict(StringRequest(body)).response_data.decode()}
    except PredictException as error:
        return reason(error)


if __name__ == "__main__":
    main()
