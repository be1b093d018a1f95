"""Items on the wire, against bytes written by hand from the protobuf encoding's definition."""

from __future__ import annotations

import json

import pytest

from easel_gateway.eas.codecs import JSON, PROTOBUF, Codec, negotiate
from easel_queue import Entry

ENTRY = Entry(index=300, request_id="r", tags={"k": "v"}, data=b"\x00\xff")

# field 1 varint 300 | field 2 (5 + 1 bytes: key field 1 "k", value field 2 "v") | field 3 two bytes
FRAME = b"\x08\xac\x02" + b"\x12\x06\x0a\x01k\x12\x01v" + b"\x1a\x02\x00\xff"
FRAME_WITHOUT_DATA = b"\x08\xac\x02" + b"\x12\x06\x0a\x01k\x12\x01v"


def test_a_protobuf_frame() -> None:
    assert PROTOBUF.frame(ENTRY) == FRAME
    assert PROTOBUF.frame(ENTRY, index_only=True) == FRAME_WITHOUT_DATA


def test_a_protobuf_list_is_repeated_field_one() -> None:
    one = b"\x0a" + bytes([len(FRAME)]) + FRAME
    assert PROTOBUF.frames([ENTRY, ENTRY]) == one + one
    assert PROTOBUF.frames([]) == b""


def test_protobuf_attributes() -> None:
    assert PROTOBUF.attributes({"a": "1"}) == b"\x0a\x06\x0a\x01a\x12\x011"


def test_a_json_frame_has_a_number_an_object_and_base64() -> None:
    assert JSON.frame(ENTRY) == b'{"index":300,"tags":{"k":"v"},"data":"AP8="}'
    assert json.loads(JSON.frame(ENTRY, index_only=True))["data"] == ""


def test_a_json_list_is_a_plain_array() -> None:
    assert [item["index"] for item in json.loads(JSON.frames([ENTRY, ENTRY]))] == [300, 300]


def test_json_attributes_are_a_flat_object() -> None:
    assert json.loads(JSON.attributes({"stream.length": "0"})) == {"stream.length": "0"}


@pytest.mark.parametrize(
    ("accept", "codec"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("text/html, image/*", JSON),
        ("application/json", JSON),
        ("application/vnd.google.protobuf", PROTOBUF),
        ("Application/Vnd.Google.Protobuf; charset=x", PROTOBUF),
        ("application/json;q=0.5, application/vnd.google.protobuf", PROTOBUF),
        ("application/vnd.google.protobuf;q=0.1, application/json;q=0.2", JSON),
        ("application/vnd.google.protobuf;q=0", JSON),
        ("application/vnd.google.protobuf;q=nonsense", JSON),
        ("application/x-flatbuffers", JSON),
    ],
)
def test_accept_chooses_the_codec(accept: str | None, codec: Codec) -> None:
    assert negotiate(accept) is codec
