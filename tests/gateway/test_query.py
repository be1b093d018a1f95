"""Query strings of the EAS dialect, and the operation they choose."""

from __future__ import annotations

import pytest

from easel_gateway.eas.query import Query
from easel_gateway.eas.routes import select_operation
from easel_gateway.errors import ApiError
from easel_gateway.submit import priority_of


def test_form_rules_and_the_last_value_wins() -> None:
    query = Query.parse(b"a=1&a=2&b=x+y&c=%E4%BD%A0&empty=&_index_=1&_index_=7&_b=z&c_=w")
    assert query.tags == {"a": "2", "b": "x y", "c": "你", "empty": "", "_b": "z", "c_": "w"}
    assert query.reserved == {"_index_": "7"}


def test_what_get_looks_for() -> None:
    assert Query.parse(b"requestId=r&a=1&_b=2&_raw_=false").wanted() == ("r", {"a": "1"})
    assert Query.parse(b"requestId=").wanted() == (None, {})


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (b"", 0),
        (b"_index_=0", 0),
        (b"_index_=7", 7),
        (b"_index_=-1", -1),
        (b"_index_=18446744073709551615", -1),
    ],
)
def test_start_index(text: bytes, start: int) -> None:
    assert Query.parse(text).start() == start


def test_indexes_are_a_list_with_encoded_commas() -> None:
    assert Query.parse(b"_indexes_=1%2C2,3").indexes() == (1, 2, 3)
    assert Query.parse(b"_indexes_=18446744073709551615,0,-4,5").indexes() == (5,), (
        "never stored, so left out"
    )


@pytest.mark.parametrize(
    ("text", "read", "named"),
    [
        (b"_index_=x", Query.start, "_index_"),
        (b"_index_=-2", Query.start, "_index_"),
        (b"_index_=1_0", Query.start, "_index_"),
        (b"_index_=%D9%A3", Query.start, "_index_"),
        (b"", Query.indexes, "_indexes_"),
        (b"_indexes_=,", Query.indexes, "_indexes_"),
        (b"_indexes_=1,x", Query.indexes, "_indexes_"),
        (b"_raw_=maybe", lambda query: query.flag("_raw_"), "_raw_"),
        (b"_timeout_=-5s", lambda query: query.seconds("_timeout_", longest=9), "_timeout_"),
        (b"_priority_=-1", lambda query: priority_of(query, None), "_priority_"),
        (b"_priority_=high", lambda query: priority_of(query, None), "_priority_"),
    ],
)
def test_a_wrong_parameter_is_named(text: bytes, read: object, named: str) -> None:
    assert callable(read)
    with pytest.raises(ApiError) as refused:
        read(Query.parse(text))
    assert refused.value.status == 400
    assert named in refused.value.detail


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(ApiError, match="at most 200"):
        Query.parse(b"&".join(b"a%d=1" % number for number in range(201)))


def test_priority_comes_from_the_query_or_the_header() -> None:
    assert priority_of(Query.parse(b""), None) == 0
    assert priority_of(Query.parse(b""), "1") == 1
    assert priority_of(Query.parse(b"_priority_=2"), "1") == 2


def test_a_timeout_is_cut_to_the_longest() -> None:
    assert Query.parse(b"_timeout_=1h").seconds("_timeout_", longest=30) == 30


@pytest.mark.parametrize(
    ("method", "text", "operation"),
    [
        ("POST", b"", "put"),
        ("POST", b"task_id=1", "put"),
        ("POST", b"_eos_=true", "end_of_stream"),
        ("GET", b"", "get"),
        ("GET", b"_index_=0&_length_=1&_raw_=false", "get"),
        ("GET", b"_attrs_=true", "attrs"),
        ("GET", b"_attrs_=false", "get"),
        ("GET", b"_search_=true&_index_=1", "search"),
        ("GET", b"_count_=true", "count"),
        ("GET", b"_watch_=true", "watch"),
        ("PUT", b"_indexes_=1", "commit"),
        ("PUT", b"_indexes_=1&_negative_=true", "negative_commit"),
        ("DELETE", b"_indexes_=1", "delete"),
        ("DELETE", b"_index_=1&_trunc_=true", "truncate"),
        ("PATCH", b"", ""),
    ],
)
def test_verb_and_parameters_choose_the_operation(method: str, text: bytes, operation: str) -> None:
    assert select_operation(method, Query.parse(text)) == operation
