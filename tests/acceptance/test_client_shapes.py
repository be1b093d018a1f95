"""Other clients: curl, the pages of the guide, the Java SDK, and programs that poll."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from typing import Any

import pytest

from .java_client import JavaQueue, read, stop
from .service import TOKEN, WAIT_S, Service, until

# -- curl and requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", None])
def test_an_authorization_header_is_all_that_a_put_needs(easel: Service, content_type: str | None) -> None:
    """`curl -d` says that everything is a form; the service gets the bytes as they are."""
    headers = {"Authorization": TOKEN, "User-Agent": "curl/8", "Accept": "*/*"}
    if content_type:
        headers["Content-Type"] = content_type
    body = b'[{"prompt": "a=b&c"}]'
    put = easel.http.post(f"{easel.path()}/sdapi/v1/txt2img", content=body, headers=headers)
    assert (put.status_code, put.text.isdigit()) == (200, True)
    assert put.json() == int(put.text), "newer samples read it as JSON"
    params = {"_timeout_": f"{WAIT_S:g}s", "requestId": put.headers["X-Eas-Queueservice-Request-Id"]}
    (item,) = easel.http.get(easel.path("sink"), params=params, headers=headers).json()
    (answer,) = json.loads(base64.b64decode(item["data"]))
    assert answer["input"] == {"prompt": "a=b&c"}


def test_a_large_body_may_wait_for_100_continue(easel: Service) -> None:
    """curl asks before it sends more than a megabyte."""
    body = b"x" * 1_500_000
    host, port = easel.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as connection:
        lines = (
            f"POST {easel.path('sink')} HTTP/1.1",
            f"Host: {easel.address}",
            f"Authorization: {TOKEN}",
            f"Content-Length: {len(body)}",
            "Expect: 100-continue",
        )
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 200
        assert response.read().isdigit()
    assert easel.call("GET", "sink", params={"_raw_": "true"}).content == body


def test_tags_in_the_address_come_back_with_the_result_and_stay_out_of_the_service(easel: Service) -> None:
    put = easel.http.post(f"{easel.path()}/easel/v1/echo?task_id=txt2img_1&x=%E5%A4%A7", content=b"body")
    params = {"_timeout_": f"{WAIT_S:g}s", "task_id": "txt2img_1"}
    (item,) = easel.call("GET", "sink", params=params).json()
    assert base64.b64decode(item["data"]) == b"body"
    request_id = put.headers["X-Eas-Queueservice-Request-Id"]
    assert item["tags"] == {"task_id": "txt2img_1", "x": "大", "requestId": request_id}
    assert "message" not in item


# -- a loop of long polls --------------------------------------------------------------------------------


def test_a_loop_of_long_polls_with_a_bare_number_of_seconds(easel: Service) -> None:
    """VideoX-Fun's client: `_timeout_=5`, again while the answer is 204."""
    put = easel.http.post(f"{easel.path()}/acceptance/turn", content=b"abc")
    query: dict[str, Any] = {
        "_index_": 0,
        "_length_": 1,
        "_timeout_": 5,
        "_raw_": "false",
        "_auto_delete_": "true",
        "requestId": put.headers["X-Eas-Queueservice-Request-Id"],
    }
    while (response := easel.http.get(easel.path("sink"), params=query)).status_code == 204:
        continue
    assert response.status_code == 200
    (item,) = response.json()
    assert base64.b64decode(item["data"]) == b"cba"
    query["_timeout_"] = 0
    assert easel.http.get(easel.path("sink"), params=query).status_code == 204


# -- the Java SDK ----------------------------------------------------------------------------------------


def test_java_put_get_count_search_commit_delete(easel: Service) -> None:
    sink = JavaQueue(easel, f"{easel.name}/sink")
    normal, request_id = sink.put(b"normal", colour="red")
    urgent, _ = sink.put(b"urgent", priority=1)
    assert (sink.count(), sink.count(priority=1), sink.count(colour="red")) == (2, 1, 1)
    assert sink.search(normal)["IsPending"] is False
    before = sink.requests
    assert sink.get(requestId="unknown", timeout="300ms") == []
    assert sink.requests - before == 1, "an empty answer is no failure"
    (item,) = sink.get(requestId=request_id)
    assert (item.index, item.data, item.tags["colour"]) == (normal, b"normal", "red")
    assert sink.commit(urgent) == "OK"
    assert sink.count() == 0


def test_java_clears_through_the_suffixed_address_of_its_sample(store: Service) -> None:
    suffixed = JavaQueue(store, f"{store.name}/sdapi/v1/txt2img")
    suffixed.put(b"x")
    assert store.length("in") == 1
    suffixed.clear()
    assert store.length("in") == 0


def test_java_watch_negative_commit_without_a_form_and_its_stop(easel: Service) -> None:
    sink = JavaQueue(easel, f"{easel.name}/sink")
    first, _ = sink.put(b"one")
    second, _ = sink.put(b"two")
    watch = sink.watch(window=1)
    assert read(watch).index == first
    assert sink.reject(first) == "OK"
    again = read(watch)
    assert again.index == first
    assert again.message.endswith("no reason given")
    assert sink.reject(first, "Busy", "über") == "OK"
    assert "Busy: über" in read(watch).message
    assert sink.commit(first) == "OK"
    assert read(watch).index == second
    stop(watch)
    until(lambda: easel.length() == 1, "what it had is there")
    with sink.watch(index_only=True) as again_watching:
        item = read(again_watching)
        assert (item.index, item.data) == (second, b"")


def test_java_ends_a_stream_and_clears_it(easel: Service) -> None:
    sink = JavaQueue(easel, f"{easel.name}/sink")
    sink.put(b"left")
    sink.end()
    with sink.watch(auto_commit=True) as watch:
        assert read(watch).data == b"left"
        with pytest.raises(EOFError):
            watch.item()
    sink.end(force=True)
    sink.clear()
    index, _ = sink.put(b"after")
    assert sink.get(index=index)[0].data == b"after"


# -- what no sink item comes from ------------------------------------------------------------------------


def test_an_empty_reply_of_the_service_commits_the_input_and_writes_nothing(easel: Service) -> None:
    easel.http.post(f"{easel.path()}/acceptance/silent", content=b"x")
    _, after = easel.put("in", b"[{}]")
    params = {"_timeout_": f"{WAIT_S:g}s", "_length_": "1"}
    (item,) = easel.call("GET", "sink", params=params).json()
    assert item["tags"]["requestId"] == after, "the one before it left none"
    assert easel.length("in") == easel.length("sink") == 0
