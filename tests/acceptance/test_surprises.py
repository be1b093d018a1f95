"""Surprising habits of the official clients, and what Easel makes of them; numbered as in docs/eas.md."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import uuid
from pathlib import Path

import httpx
import pytest

from ..conftest import RedisServer
from ..e2e.running import running
from .cutting_proxy import CuttingProxy
from .frames import read_item
from .sdk import Sdk
from .service import TOKEN, WAIT_S, Service, until
from .wire import BINARY, PING, PONG, TEXT, RefusedError, WireSocket

PROGRAM = "surprises"
TRIES = 6
PROTOBUF = {"Accept": "application/vnd.google.protobuf"}
WATCH = {"_watch_": "true", "_index_": "0", "_window_": "5"}


def uid(name: str) -> dict[str, str]:
    return {"X-EAS-QueueService-Redis-Uid": name, "X-EAS-QueueService-Redis-Gid": "eas"}


# -- 1: the client's timeout equals its long poll's ------------------------------------------------------


def test_1_a_long_poll_is_answered_before_the_client_gives_up(sdk: Sdk, easel: Service) -> None:
    before = easel.answered("GET")
    assert sdk.run(PROGRAM, "empty_long_poll") > 1, "it did wait"
    assert easel.answered("GET") - before == 1, "one request: a late answer would be asked for again"


def test_1_who_hung_up_while_polling_takes_nothing(easel: Service) -> None:
    host, port = easel.address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as poll:
        lines = (
            f"GET {easel.path('sink')}?_timeout_=30s HTTP/1.1",
            "Host: x",
            f"Authorization: {TOKEN}",
            "",
            "",
        )
        poll.sendall("\r\n".join(lines).encode())
        time.sleep(0.2)  # long enough that it waits; what follows holds in any case
    easel.put("sink")
    assert easel.length() == 1


# -- 2: every refusal is tried six times -----------------------------------------------------------------


def test_2_a_search_in_vain_is_six_quick_requests(sdk: Sdk, easel: Service) -> None:
    before = easel.answered("GET", 404)
    assert sdk.run(PROGRAM, "search_in_vain") == {}
    assert easel.answered("GET", 404) - before == TRIES


def test_2_a_refused_put_stores_nothing_in_any_of_its_six_tries(store_sdk: Sdk, store: Service) -> None:
    before = store.answered("POST", 413)
    seen = store_sdk.run(PROGRAM, "put", suffix="/sink", size=8193)
    assert seen["code"] == 413
    assert "EASEL_SINK_MAX_PAYLOAD_BYTES" in seen["message"]
    assert store.answered("POST", 413) - before == TRIES
    assert store.attributes()["stream.length"] == "0"


# -- 3: a connection that is cut in place of the answer --------------------------------------------------


def test_3_a_put_whose_answer_is_cut_is_stored_once(sdk: Sdk, easel: Service) -> None:
    before = easel.answered("POST", 200)
    with CuttingProxy(easel.address, cut=1) as proxy:
        seen = sdk.at(proxy.endpoint).run(PROGRAM, "put", suffix="/sink", size=1)
    assert seen["code"] == 502
    assert easel.answered("POST", 200) - before == 1
    assert easel.length() == 1


@pytest.mark.parametrize(
    ("operation", "verb", "index", "left"),
    [("commit", "PUT", 2, "1,3"), ("delete", "DELETE", 2, "1,3"), ("truncate", "DELETE", 3, "3")],
)
def test_3_what_removes_may_be_repeated(
    sdk: Sdk, easel: Service, operation: str, verb: str, index: int, left: str
) -> None:
    first = easel.put("sink")[0]
    for _ in range(2):
        easel.put("sink")
    before = easel.answered(verb, 200)
    with CuttingProxy(easel.address, cut=2) as proxy:
        answer = sdk.at(proxy.endpoint).run(
            PROGRAM, "commit_delete_truncate", operation=operation, index=first - 1 + index
        )
    assert answer == "OK"
    assert easel.answered(verb, 200) - before == 3, "two answers were lost on the way"
    params = {"_length_": "9", "_auto_delete_": "false"}
    found = [item["index"] - first + 1 for item in easel.call("GET", "sink", params=params).json()]
    assert found == [int(number) for number in left.split(",")]


# -- 4: Retry-After is obeyed for GET, not for POST ------------------------------------------------------


def test_4_a_full_queue_says_when_to_come_back_and_refuses_quickly(store_sdk: Sdk, store: Service) -> None:
    full = int(store.attributes("in")["stream.approxMaxLength"])
    for _ in range(full):
        store.put("in")
    refused = store.call("POST", content=b"x")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    before = store.answered("POST", 503)
    seen = store_sdk.run(PROGRAM, "put", suffix="", size=1)
    assert (seen["code"], store.answered("POST", 503) - before) == (503, TRIES)
    assert seen["seconds"] < 2, "the SDK does not wait before it repeats a put"
    assert store.length("in") == full


@pytest.mark.slow
def test_4_reading_outlives_a_restart_of_redis(
    tmp_path: Path, sdk_python: Path, own_redis: RedisServer
) -> None:
    environment = {"EASEL_SERVICE": "restarted", "EASEL_REDIS_URL": own_redis.url}
    with running(tmp_path / "data", workers=0, token=TOKEN, **environment) as easel:
        service = Service(easel)
        own_redis.kill()
        with Sdk(sdk_python, service).started(PROGRAM, "attributes", suffix="/sink") as reader:
            until(lambda: service.answered("GET", 503) > 0, "a read is refused")
            own_redis.start()
            assert reader.told()["stream.length"] == "0"


# -- 5: redirects make POST a second put -----------------------------------------------------------------


def test_5_nothing_redirects_for_a_trailing_slash(easel: Service) -> None:
    for path in (f"{easel.path()}/", f"{easel.path('sink')}/", f"{easel.path()}/acceptance/turn/"):
        for method, params in (
            ("POST", {}),
            ("GET", {"_attrs_": "true"}),
            ("PUT", {"_indexes_": "1"}),
            ("DELETE", {"_indexes_": "1"}),
        ):
            response = easel.http.request(method, path, params=params, follow_redirects=False)
            assert response.status_code == 200, (method, path)


# -- 6: a put without the request id is an error ---------------------------------------------------------


def test_6_every_put_answers_a_request_id(store: Service) -> None:
    rear = {"X-EAS-QueueService-Access-Rear": "true"}
    suffixed = f"{store.path()}/sdapi/v1/txt2img"
    for path, which in ((store.path(), {}), (suffixed, {}), (store.path("sink"), {}), (store.path(), rear)):
        key = {"Idempotency-Key": str(uuid.uuid4())}
        seen = []
        for headers in ({}, {"X-Request-Id": str(uuid.uuid4())}, key, key):
            store.clear()
            answer = store.http.post(path, content=b"x", headers={**which, **headers})
            assert answer.status_code == 200, answer.text
            seen.append(answer.headers["X-Eas-Queueservice-Request-Id"])
        assert all(seen)
        assert len(set(seen)) == 3, "the repeated put has its first answer"


# -- 7: Java takes 200 only, the others want 204 ---------------------------------------------------------


def test_7_an_empty_get_is_200_in_protobuf_and_204_in_json(easel: Service) -> None:
    for params in ({}, {"_timeout_": "400ms"}, {"requestId": "unknown", "_raw_": "false"}):
        binary = easel.call("GET", "sink", params=params, headers=PROTOBUF)
        assert (binary.status_code, binary.content) == (200, b"")
        plain = easel.call("GET", "sink", params=params)
        assert (plain.status_code, plain.content) == (204, b"")


# -- 8: Java never tells that a truncate or an end of stream failed --------------------------------------


@pytest.mark.parametrize(
    ("verb", "params", "named"),
    [
        ("DELETE", {"_trunc_": "true"}, "truncate of queue 'sink' was refused: _index_"),
        (
            "POST",
            {"_eos_": "true", "_force_": "perhaps"},
            "end_of_stream of queue 'sink' was refused: _force_",
        ),
    ],
)
def test_8_a_refused_truncate_or_end_is_in_the_log(
    easel: Service, verb: str, params: dict[str, str], named: str
) -> None:
    assert easel.call(verb, "sink", params=params).status_code == 400
    easel.easel.wait_for_line(named)


# -- 9, 10, 11: bodies, tags, indexes --------------------------------------------------------------------


def test_9_bodies_are_stored_untouched(sdk: Sdk) -> None:
    sdk.run(PROGRAM, "bodies")


def test_10_tags_are_form_text_and_a_reserved_name_is_a_parameter(sdk: Sdk, easel: Service) -> None:
    sdk.run(PROGRAM, "tags")
    first, second = easel.put("sink")[0], easel.put("sink")[0]
    answer = easel.http.get(f"{easel.path('sink')}?_index_={first}&_index_={second}")
    assert answer.json()[0]["index"] == second, "the last value wins"


def test_11_the_index_is_digits_and_nothing_else(easel: Service) -> None:
    for queue in ("in", "sink"):
        body = easel.call("POST", queue, content=b"[{}]").content
        assert body == str(int(body)).encode()


# -- 12, 13: what may be on the socket -------------------------------------------------------------------


def test_12_pings_are_control_frames_and_get_their_payload_back(easel: Service) -> None:
    with WireSocket(easel, easel.path("sink"), WATCH, {**PROTOBUF, **uid("pinging")}) as watch:
        for number in range(3):
            watch.send(PING, b"ping")
            frame = watch.frame()
            assert (frame.opcode, frame.payload) == (PONG, b"ping")
            index, _ = easel.put("sink", str(number).encode())
            assert read_item(watch.item()).index == index


@pytest.mark.parametrize("accept", [PROTOBUF, {}], ids=["protobuf", "json"])
def test_13_the_server_never_sends_text_and_passes_over_it(easel: Service, accept: dict[str, str]) -> None:
    with WireSocket(easel, easel.path("sink"), WATCH, {**accept, **uid("texting")}) as watch:
        watch.send(TEXT, b"ping")
        watch.send(BINARY, b"ping")
        for _ in range(3):
            easel.put("sink")
            assert watch.item(), "whole, binary and not empty"


def test_13_a_stale_socket_of_the_same_uid_keeps_the_place_until_it_is_gone(easel: Service) -> None:
    """The SDK that was confused by a text frame leaves its old socket open beside the new one."""
    index, _ = easel.put("sink")
    how = (easel, easel.path("sink"), WATCH, {**PROTOBUF, **uid("twice")})
    with WireSocket(*how) as stale:
        assert read_item(stale.item()).index == index
        with pytest.raises(RefusedError) as refused:
            WireSocket(*how)
        assert refused.value.status == 409
        stale.abort()
        with WireSocket(*how) as fresh:
            assert read_item(fresh.item()).index == index


# -- 14: clients reconnect after any close ---------------------------------------------------------------


def test_14_a_watch_outlives_the_gateways_restart(sdk: Sdk, easel: Service) -> None:
    with sdk.started(PROGRAM, "watch", uid="survivor", commit=True) as watcher:
        for _ in range(5):
            assert easel.put("sink")[0] == watcher.told()
        gone = easel.easel.pid("gateway")
        os.kill(gone, signal.SIGTERM)
        until(lambda: _serves(easel, gone), "another gateway serves")
        for _ in range(5):
            assert easel.put("sink")[0] == watcher.told(), "each once: they were committed"


def _serves(easel: Service, gone: int) -> bool:
    try:
        return easel.easel.pid("gateway") != gone and easel.http.get("/readyz").status_code == 200
    except (httpx.TransportError, KeyError, json.JSONDecodeError):
        return False


def test_14_an_ended_stream_refuses_at_the_handshake_so_that_clients_come_once_a_second(
    sdk: Sdk, easel: Service
) -> None:
    with (
        CuttingProxy(easel.address) as proxy,
        sdk.at(proxy.endpoint).started(PROGRAM, "watch", uid="patient", commit=True) as watcher,
    ):
        index, _ = easel.put("sink")
        assert watcher.told() == index
        assert easel.call("POST", "sink", params={"_eos_": "true"}).status_code == 200
        until(lambda: "Complete" in easel.consumer("patient").get("Status", ""), "it is finished")
        before = proxy.connections
        time.sleep(2)  # what is measured is a rate
        assert 1 <= proxy.connections - before <= 4
        easel.clear()
        index, _ = easel.put("sink")
        assert watcher.told() == index, "it is in again as soon as the queue is open"


# -- 15: closing is an end of TCP ------------------------------------------------------------------------


def test_15_what_a_killed_client_had_goes_to_another_at_once(sdk: Sdk, easel: Service) -> None:
    indexes = [easel.put("sink")[0] for _ in range(3)]
    with sdk.started(PROGRAM, "watch", uid="killed", commit=False) as victim:
        assert [victim.told() for _ in indexes] == indexes
        with sdk.started(PROGRAM, "watch", uid="heir", commit=True) as heir:
            until(lambda: easel.consumer("heir").get("Status") == "Running", "the other one watches")
            victim.kill()
            assert [heir.told() for _ in indexes] == indexes
    until(lambda: easel.length() == 0, "everything is committed")


def test_15_a_client_that_closed_beside_its_reader_leaves_nothing_behind(sdk: Sdk, easel: Service) -> None:
    index, _ = easel.put("sink")
    with sdk.started(PROGRAM, "close_while_reading", uid="zombie") as zombie:
        assert zombie.told() == "closed"
        # Its reader has connected again, which nobody wanted: the uid is in use until the process ends.
        zombie.kill()
        with sdk.started(PROGRAM, "watch", uid="zombie", commit=True) as again:
            assert again.told() == index
    until(lambda: easel.length() == 0, "it is committed")


# -- 17, 18: endpoints -----------------------------------------------------------------------------------


def test_17_every_endpoint_that_the_sdk_makes_plain_http_of_works(sdk: Sdk, easel: Service) -> None:
    for endpoint in (easel.address, easel.url, f"{easel.url}/"):
        sdk.at(endpoint).run(PROGRAM, "put_and_get")


def test_18_a_custom_url_is_a_whole_address(sdk: Sdk, easel: Service) -> None:
    for custom in (f"{easel.url}{easel.path('sink')}", f"{easel.url}/sink"):
        sdk.at("http://nowhere.invalid").run(PROGRAM, "put_and_get", custom_url=custom)


# -- 16, 19, 20: answers ---------------------------------------------------------------------------------


def test_19_commit_and_delete_answer_ok_in_their_python_types(sdk: Sdk) -> None:
    assert sdk.run(PROGRAM, "types_of_answers") == ["str", "str", "bytes", "str"]


def test_20_all_attributes_are_text(sdk: Sdk, easel: Service) -> None:
    for suffix, queue in (("", "in"), ("/sink", "sink")):
        seen = sdk.run(PROGRAM, "attributes", suffix=suffix)
        assert seen.keys() == easel.attributes(queue).keys()
        assert all(isinstance(value, str) for value in seen.values())


# -- 21: signed calls ------------------------------------------------------------------------------------


def test_21_signed_and_bare_tokens_are_taken_and_wrong_ones_are_not(sdk: Sdk, easel: Service) -> None:
    call = {"path": ".sync/sdapi/v1/txt2img", "body": json.dumps({"prompt": "größer"})}
    done = sdk.run(PROGRAM, "predict", **call)
    assert done["code"] == 200, done
    assert json.loads(done["message"])[0]["input"]["prompt"] == "größer"
    assert sdk.run(PROGRAM, "predict", token="wrong-token", **call)["code"] == 401
    custom = f"{easel.url}{easel.path()}{call['path']}"
    assert sdk.run(PROGRAM, "predict", custom_url=custom, **call) == done
    queued = sdk.run(PROGRAM, "predict", path="", body="[{}]")
    assert queued["message"].isdigit(), "to the bare address it is a put"
    assert easel.call("GET", "sink", params={"_timeout_": f"{WAIT_S:g}s"}).status_code == 200
