"""Every operation with hostile values in every place: refused or served, never a failure of ours."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from easel_contract.controlnet import ControlUnit
from easel_contract.controlnet.spellings import ALIASES, IDLE
from easel_gateway.eas.codecs import PROTOBUF_TYPE

from .conftest import same_examples
from .gateways import GatewayProcess

SHORT = 150
LONG = 5000
MEMORY = 40_000_000

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(
        [
            "0",
            "-0",
            "-1",
            "1",
            "2",
            "007",
            "1e9",
            "0x10",
            " 7",
            "1_000",
            "٣",
            "NaN",
            "-inf",
            "1.5",
            str(2**63),
            str(2**64 - 1),
            str(2**53),
            str(2**53 - 1),
            "9" * 400,
        ]
    ),
)
DURATIONS = st.sampled_from(
    ["0s", "10ms", "1µs", "-5s", "1h", "1e5s", "9" * 400 + "h", "5", "s", ".", "1m1", "１s", "0.05s", ".1s"]
)
FLAGS = st.sampled_from(["true", "false", "1", "0", "TRUE", "yes", "", "2", "null", "\x00"])
TEXT = st.one_of(
    st.text(max_size=30), st.sampled_from(["", "\x00", "\u202e", "💥", "é" * 300, "a" * 5000, "{}", "*"])
)
RESERVED = {
    "_index_": NUMBERS,
    "_indexes_": st.one_of(
        st.lists(NUMBERS, max_size=5).map(",".join), st.sampled_from([",", ",,1", "1,2,3", "1;2"])
    ),
    "_length_": NUMBERS,
    "_timeout_": DURATIONS,
    "_priority_": NUMBERS,
    "_window_": NUMBERS,
    "_raw_": FLAGS,
    "_auto_delete_": FLAGS,
    "_attrs_": FLAGS,
    "_search_": FLAGS,
    "_count_": FLAGS,
    "_trunc_": FLAGS,
    "_negative_": FLAGS,
    "_eos_": st.sampled_from(["false", "0", "", "maybe"]),  # an ended queue refuses all the rest
    "_force_": FLAGS,
    "_watch_": st.sampled_from(["false", "", "maybe"]),  # `test_watches` does it
    "_": TEXT,
    "__": TEXT,
    "_unknown_": TEXT,
}
PARAMETERS = st.one_of(
    st.sampled_from(sorted(RESERVED)).flatmap(lambda name: st.tuples(st.just(name), RESERVED[name])),
    st.tuples(st.sampled_from(["requestId", "task_id", "lastCode", "", "_index", "index_", "x" * 300]), TEXT),
    st.tuples(TEXT, TEXT),
)
QUERIES = st.one_of(
    st.lists(PARAMETERS, max_size=6).map(lambda pairs: urlencode(pairs, errors="surrogatepass")),
    st.binary(max_size=40).map(quote),
    st.sampled_from(["&&&", "=", "%", "%zz", "a=%ff%fe", "&".join(f"t{n}={n}" for n in range(250)), "a;b"]),
)
HEADER_TEXT = st.one_of(
    # What our client would not send (control characters) is in `test_http_wire`.
    st.text(
        st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=40
    ).map(str.strip),
    st.sampled_from(["", "a b", "..", "{service}", "eas", "u" * 500, "\xff\xfe", "*", "%00"]),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "X-EAS-QueueService-Redis-Uid",
            "X-EAS-QueueService-Redis-Gid",
            "X-EAS-QueueService-Redis-Priority",
            "X-EAS-QueueService-Access-Rear",
            "Idempotency-Key",
            "X-Request-Id",
            "Prefer",
            "Accept",
            "Authorization",
            "Sec-Fetch-Site",
            "Content-Type",
            "Cookie",
            "Range",
        ]
    ),
    st.one_of(
        HEADER_TEXT,
        NUMBERS.filter(str.isascii),
        st.sampled_from(
            [
                "true",
                "respond-async",
                PROTOBUF_TYPE,
                "*/*;q=x",
                "application/json;q=1e400",
                "q=,;;",
                "bytes=0-",
                "application/x-www-form-urlencoded",
                "Basic AAAA",
                "Basic =",
                "Bearer",
                "EAS x",
                "EAS é",
            ]
        ),
    ),
    max_size=5,
)
BODIES = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b"",
            b"{}",
            b"null",
            b"_code_=Shutdown&_reason_=x",
            b"_code_=500",
            b"_code_=a.b.c",
            b"%",
            b"&" * 100,
            b"_reason_=" + b"r" * 70000,
            b"_code_=\xff",
            b"{" * 5000,
        ]
    ),
)
PATHS = st.one_of(
    st.sampled_from(
        ["", "/", "/sink", "/sink/", "/sink/x", "//", "/any/path", "/..", "/../x", ".sync/sdapi/v1/txt2img"]
    ),
    st.text(max_size=12).map(lambda text: "/" + quote(text, errors="replace")),
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "FOO"])


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


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**80), 2**80),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(
            ["", "NaN", "-1", "1e400", "Euler a", "../../etc", "💥", "\ud800", "\x00", "9" * 5000]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "prompt",
        "negative_prompt",
        "styles",
        "seed",
        "subseed",
        "subseed_strength",
        "sampler_name",
        "sampler_index",
        "scheduler",
        "batch_size",
        "n_iter",
        "steps",
        "cfg_scale",
        "width",
        "height",
        "eta",
        "override_settings",
        "alwayson_scripts",
        "script_name",
        "script_args",
        "force_task_id",
        "enable_hr",
        "hr_scale",
        "send_images",
        "save_images",
        "infotext",
        "s_noise",
        "comments",
        "unknown",
        "",
    ]
)
UNIT_FIELDS = st.sampled_from(
    [*ControlUnit.model_fields, "enabled", "image", "image_link", *ALIASES, *IDLE, "unknown"]
)
UNITS = st.fixed_dictionaries({"args": st.lists(st.dictionaries(UNIT_FIELDS, VALUES), max_size=3)})
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("sd_model_checkpoint", "sd_vae", "save_dir", "id_task", "uid", "presigned_url"), VALUES
        ),
        "controlnet": VALUES | UNITS,
    },
)


def as_json(value: object) -> bytes:
    """JSON as a careless client writes it: NaN, and half a surrogate pair."""
    return json.dumps(value).encode()


REQUESTS = st.one_of(
    st.builds(
        lambda base, field, value: as_json({**base, field: value}),
        st.just({"prompt": "x", "steps": 1, "width": 64, "height": 64}),
        FIELDS,
        VALUES,
    ),
    st.builds(lambda options: as_json({"prompt": "x", "alwayson_scripts": options}), OPTIONS),
    st.dictionaries(FIELDS, VALUES, max_size=5).map(as_json),
    VALUES.map(as_json),
    st.binary(max_size=100),
    st.sampled_from(
        [b"[" * 100_000, b'{"a":' * 50_000, b'{"prompt": "\\ud800"}', b'{"seed": ' + b"9" * 5000 + b"}"]
    ),
)


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
