"""What hostile clients send: queries, headers, bodies and requests with any value in any place."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from easel_contract.controlnet import ControlUnit
from easel_contract.controlnet.spellings import ALIASES, IDLE
from easel_gateway.eas.codecs import PROTOBUF_TYPE

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
