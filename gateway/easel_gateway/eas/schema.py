"""The EAS operations in the OpenAPI schema: one address, whose parameters choose the operation."""

from __future__ import annotations

from typing import Any

from easel_gateway.eas.codecs import JSON_TYPE, PROTOBUF_TYPE
from easel_gateway.eas.negative import FORM_TYPE
from easel_gateway.eas.reading import MAX_LENGTH
from easel_gateway.eas.target import GID_HEADER, MAX_NAME, PRIORITY_HEADER, REAR_HEADER, UID_HEADER
from easel_gateway.eas.watch import MAX_WINDOW
from easel_gateway.edge.schema import TEXT, Responses, answers, parameter
from easel_gateway.idempotency import HEADER as KEY_HEADER
from easel_gateway.idempotency import MAX_LENGTH as MAX_KEY
from easel_gateway.submit import MAX_PRIORITY

_TEXT = {"type": "string"}
_BYTES = {"type": "string", "format": "binary"}
_FLAG = {"type": "string", "enum": ["true", "false", "1", "0"]}
_DURATION = {
    "type": "string",
    "pattern": r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$",
    "examples": ["5s", "1m30s"],
}
_NAME = {"type": "string", "maxLength": MAX_NAME}
_START = {"type": "integer", "minimum": -1}
_INDEXES = {"type": "string", "pattern": r"^[0-9]{1,16}(,[0-9]{1,16}){0,99}$", "examples": ["1,2,3"]}
INDEX = {"type": "string", "pattern": r"^(0|[1-9][0-9]*|OK)$"}
"""A bare decimal number; the end of a stream answers OK."""

TAGS = {
    "name": "tags",
    "in": "query",
    "required": False,
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "description": "Any other parameter: a tag of what is put, or a condition on what is read.",
}
_GROUP = parameter(GID_HEADER, _NAME, "Consumer group; `eas` when absent.", place="header")
_UID = parameter(UID_HEADER, _NAME, "Consumer id; a random one when absent.", place="header")
_REAR = parameter(REAR_HEADER, {"type": "string"}, "`true`: the dead letters.", place="header")
_PRIORITY = {"type": "integer", "minimum": 0, "maximum": MAX_PRIORITY}
PUT_HEADERS = [
    parameter(
        KEY_HEADER,
        {"type": "string", "pattern": rf"^[!-~]{{1,{MAX_KEY}}}$"},
        "Repeated under the same key, nothing is stored and the same is answered.",
        place="header",
    ),
    parameter(PRIORITY_HEADER, _PRIORITY, "As `_priority_`, which wins.", place="header"),
    _UID,
]

GET_PARAMETERS = [
    parameter("_attrs_", _FLAG, "Attributes of the queue."),
    parameter("_search_", _FLAG, "Where `_index_` is in the line."),
    parameter("_count_", _FLAG, "How many items there are."),
    parameter("_watch_", _FLAG, "An endless answer: per item its length in four bytes, and the item."),
    parameter("_index_", _START, "First index; 0 the head, -1 the newest."),
    parameter("_length_", {"type": "integer", "minimum": 1, "maximum": MAX_LENGTH}, "Most items."),
    parameter("_timeout_", _DURATION, "How long to wait for them."),
    parameter("_raw_", _FLAG, "One item's bytes instead of a list."),
    parameter("_auto_delete_", _FLAG, "Remove what is read; true when absent."),
    parameter("_window_", {"type": "integer", "minimum": 1, "maximum": MAX_WINDOW}, "Of a watch."),
    parameter("_index_only_", _FLAG, "Of a watch: leave the data out."),
    parameter("_auto_commit_", _FLAG, "Of a watch: commit what was sent."),
    TAGS,
    _GROUP,
    _UID,
    _REAR,
    parameter("Accept", {"type": "string", "enum": [JSON_TYPE, PROTOBUF_TYPE, "*/*"]}, place="header"),
]
PUT_PARAMETERS = [
    parameter("_priority_", _PRIORITY, "More goes first."),
    parameter("_eos_", _FLAG, "End the stream instead."),
    parameter("_force_", _FLAG, "End it at once."),
    TAGS,
    *PUT_HEADERS,
    _REAR,
]
COMMIT_PARAMETERS = [
    {**parameter("_indexes_", _INDEXES, "Numbers with commas between them."), "required": True},
    parameter("_negative_", _FLAG, "The caller has failed with them."),
    _GROUP,
    _UID,
    _REAR,
]
DELETE_PARAMETERS = [
    parameter("_indexes_", _INDEXES, "What to remove."),
    parameter("_trunc_", _FLAG, "Remove everything before `_index_`."),
    parameter("_index_", {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}),
    _REAR,
]

_FRAME = {
    "type": "object",
    "properties": {
        "index": {"type": "integer"},
        "message": _TEXT,
        "tags": {"type": "object", "additionalProperties": _TEXT},
        "data": {"type": "string", "contentEncoding": "base64"},
    },
    "required": ["index", "tags", "data"],
}
_SEARCH = {
    "type": "object",
    "properties": {
        "ConsumerId": _TEXT,
        "IsPending": {"type": "boolean"},
        "WaitCount": {"type": "integer"},
    },
    "required": ["ConsumerId", "IsPending", "WaitCount"],
    "additionalProperties": False,
}
_ATTRIBUTES = {"type": "object", "additionalProperties": _TEXT, "required": ["meta.name", "stream.length"]}
_READ = {
    JSON_TYPE: {"anyOf": [{"type": "array", "items": _FRAME}, _ATTRIBUTES, _SEARCH]},
    PROTOBUF_TYPE: _BYTES,
    "application/octet-stream": _BYTES,
    TEXT: {"type": "string", "pattern": "^[0-9]+$"},
}


def _with_missing_text(responses: Responses) -> Responses:
    """A search that finds nothing says so in the SDKs' own words, as text."""
    responses[404]["content"] = {TEXT: {"schema": {"type": "string", "const": "no data in stream"}}}
    return responses


GET_ANSWERS: Responses = {
    **_with_missing_text(answers(_READ, 404, 409, 410, description="What was asked for")),
    204: {"description": "Nothing is there"},
}
PUT_ANSWERS = answers({TEXT: INDEX}, 404, 408, 409, 410, 413, 422, 429, description="The index")
OK = {TEXT: {"type": "string", "const": "OK"}}
COMMIT_ANSWERS = answers(OK, 404, 408, 413, 415)
DELETE_ANSWERS = answers(OK, 404)

PUT_BODY: dict[str, Any] = {"required": False, "content": {"application/octet-stream": {"schema": _BYTES}}}
COMMIT_BODY: dict[str, Any] = {
    "required": False,
    "content": {
        FORM_TYPE: {
            "schema": {
                "type": "object",
                "properties": {
                    "_code_": {
                        "type": "string",
                        "pattern": r"^([A-Z][a-z]{0,8}(\.[A-Z][a-z]{0,8})?|[0-9]{1,20})$",
                    },
                    "_reason_": _TEXT,
                },
                "additionalProperties": False,
            }
        }
    },
}
