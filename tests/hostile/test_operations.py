"""Every operation with hostile values in every place: refused or served, never a failure of ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import same_examples
from .gateways import GatewayProcess
from .values import BODIES, FLAGS, HEADER_TEXT, HEADERS, METHODS, NUMBERS, PATHS, QUERIES, REQUESTS, TEXT

SHORT = 150
LONG = 5000
MEMORY = 40_000_000


@pytest.fixture(params=[SHORT, pytest.param(LONG, marks=pytest.mark.slow)])
def hostile(request: pytest.FixtureRequest) -> settings:
    """So many examples, the same ones in every run: the short form and the long one."""
    return same_examples(request.param)


def encoded(headers: dict[str, str]) -> dict[str, bytes]:
    """Headers as our client can send them: without blanks at their ends."""
    return {name: value.strip().encode("latin-1") for name, value in headers.items()}


def send(target: GatewayProcess, method: str, url: str, **request: Any) -> httpx.Response:
    """Send it as it is, and hold the answer to what must be true of every one."""
    headers = encoded(request.pop("headers", {}))
    answer = target.http.request(method, url, headers=headers, **request)
    assert answer.status_code < 500 or answer.status_code in {501, 503}, answer.text
    if method == "FOO":  # the parser knows its methods
        assert answer.status_code == 400
        return answer
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400 and method != "HEAD" and answer.status_code != 404:
        assert answer.json(), "an error is explained"
    return answer


def test_the_queue_operations(target: GatewayProcess, hostile: settings) -> None:
    before = target.resident()

    @hostile
    @given(METHODS, st.sampled_from(["", "", "", "x"]), PATHS, QUERIES, HEADERS, BODIES)
    def attack(method: str, other: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
        send(target, method, f"{target.source}{other}{path}?{query}", headers=headers, content=body)

    attack()
    assert target.resident() - before < MEMORY


def test_what_a_put_took_comes_out_as_it_went_in(target: GatewayProcess, hostile: settings) -> None:
    @hostile
    @given(st.dictionaries(TEXT, TEXT, max_size=4), st.binary(max_size=100))
    def attack(tags: dict[str, str], body: bytes) -> None:
        tags = {
            name.encode("utf-8", "replace").decode(): text.encode("utf-8", "replace").decode()
            for name, text in tags.items()
        }
        query = {
            name: text for name, text in tags.items() if not (len(name) > 1 and name[0] == name[-1] == "_")
        }
        put = target.http.post(target.sink, params=query, content=body)
        assert put.status_code == 200, put.text
        got = target.http.get(f"{target.sink}?_index_={put.text}&_raw_=false")
        assert got.status_code == 200, got.text
        (item,) = got.json()
        expected = {**query, "requestId": put.headers["x-eas-queueservice-request-id"]}
        assert item["tags"] == expected

    attack()


def test_an_index_is_no_tag_and_an_almost_reserved_name_is_one(target: GatewayProcess) -> None:
    put = target.http.post(f"{target.sink}?_index_=99&_tag_=reserved&_almost=1&almost_=2&_=3&标签=值")
    assert put.status_code == 200
    (item,) = target.http.get(f"{target.sink}?_index_={put.text}&_raw_=false").json()
    del item["tags"]["requestId"]
    assert item["tags"] == {"_almost": "1", "almost_": "2", "_": "3", "标签": "值"}
    assert target.http.get(f"{target.sink}?_index_={quote('标签')}").status_code == 400


def test_txt2img(target: GatewayProcess, hostile: settings) -> None:
    before = target.resident()

    @hostile
    @given(REQUESTS, HEADERS, st.one_of(st.just("a=1"), QUERIES.filter(bool)))
    def attack(body: bytes, headers: dict[str, str], query: str) -> None:
        send(target, "POST", f"/sdapi/v1/txt2img?{query}", headers=headers, content=body)

    attack()
    assert target.resident() - before < MEMORY


def test_synchronous_txt2img(target: GatewayProcess) -> None:
    """No worker is there: what is accepted is a 408 after the time set, and its task is gone."""

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(REQUESTS)
    def attack(body: bytes) -> None:
        answer = send(target, "POST", "/sdapi/v1/txt2img", content=body)
        assert answer.status_code in {400, 408, 422}

    attack()
    assert target.http.get(f"{target.source}?_count_=true").text == "0"


def test_our_own_dialect(target: GatewayProcess, hostile: settings) -> None:
    names = st.one_of(NUMBERS, TEXT).map(lambda text: quote(text, safe="", errors="replace"))
    paths = st.one_of(
        st.builds("/easel/v1/tasks/{}".format, names),
        st.builds("/easel/v1/tasks/{}/events".format, names),
        st.builds("/easel/v1/tasks/{}/cancel".format, names),
        st.builds("/easel/v1/dead/{}".format, names),
        st.builds("/easel/v1/dead/{}/requeue".format, names),
        st.sampled_from(
            ["/easel/v1/dead", "/easel/v1/dead/requeue", "/easel/v1/workers", "/sdapi/v1/png-info"]
        ),
        st.sampled_from(
            ["/healthz", "/readyz", "/metrics", "/", "/docs", "/openapi.json", "/sdapi/v1/sd-models"]
        ),
    )
    parameters = st.tuples(
        st.sampled_from(["start", "limit", "newest_first", "tag", "before", "wait_s"]),
        st.one_of(NUMBERS.filter(lambda text: not text.lstrip("-").isdigit() or int(text) < 1), TEXT, FLAGS),
    )
    queries = st.lists(parameters, max_size=3).map(lambda pairs: urlencode(pairs, errors="surrogatepass"))
    before = target.resident()

    @hostile
    @given(METHODS, paths, queries, HEADERS, st.one_of(BODIES, REQUESTS))
    def attack(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
        answer = target.http.request(method, f"{path}?{query}", headers=encoded(headers), content=body)
        not_ours = path == "/sdapi/v1/png-info" and "Invalid encoded image" in answer.text
        assert answer.status_code < 500 or not_ours, answer.text

    attack()
    assert target.resident() - before < MEMORY


def test_tokens(start_process: Any, hostile: settings) -> None:
    gateway = start_process(tokens="ann:secret-token")
    shown = st.one_of(
        HEADER_TEXT,
        st.builds(
            lambda scheme, text: f"{scheme} {text}".strip(),
            st.sampled_from(["EAS", "Bearer", "Basic", "Digest"]),
            HEADER_TEXT,
        ),
        st.sampled_from(
            ["secret-toke", "secret-token2", "Secret-Token", "EAS secret-token", "Basic OnNlY3JldC10b2tlbg"]
        ),
    )

    @hostile
    @given(shown)
    def attack(value: str) -> None:
        headers = encoded({"Authorization": value})
        assert gateway.http.get(f"{gateway.source}?_attrs_=true", headers=headers).status_code == 401

    attack()
    allowed = {"Authorization": "secret-token"}
    assert gateway.http.get(f"{gateway.source}?_attrs_=true", headers=allowed).status_code == 200
