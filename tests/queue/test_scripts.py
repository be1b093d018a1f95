"""The loader refuses scripts that contradict their name, and callers that contradict the script."""

from __future__ import annotations

import dataclasses
import re

import pytest

from easel_queue import Queue, ScriptMismatchError
from easel_queue.scripts import assemble, load_scripts


def test_every_call_matches_its_script(queue: Queue) -> None:
    scripts = load_scripts()
    assert scripts
    for script in scripts.values():
        assert "@include" not in script.source
        script.check(script.keys)
        with pytest.raises(ScriptMismatchError, match=script.name):
            script.check(script.keys + 1)


def test_a_key_beyond_the_count_is_refused() -> None:
    with pytest.raises(ScriptMismatchError, match="uses KEYS"):
        assemble("bad", 1, "return KEYS[2]", {})


def test_an_unknown_include_is_refused() -> None:
    with pytest.raises(ScriptMismatchError, match="nowhere"):
        assemble("bad", 0, "-- @include nowhere", {})


def test_a_call_with_a_missing_key_never_reaches_redis(queue: Queue) -> None:
    call = queue.tasks.reserve(worker="w", lease_ms=1)
    with pytest.raises(ScriptMismatchError, match="takes 5 keys"):
        queue.run(dataclasses.replace(call, keys=call.keys[:-1]))


def test_scripts_are_sent_again_after_redis_forgot_them(queue: Queue) -> None:
    queue.run(queue.sink.count())
    queue._redis.script_flush()
    assert queue.run(queue.sink.count()) == 0


def test_a_script_carries_only_the_functions_that_it_uses() -> None:
    library = """\
-- used, last and unused are words here, not uses
local function last()
  return 1
end

local function used()
  return last()
end

local function unused()
  return used()
end
"""
    script = assemble("lean", 0, "-- @include library\nreturn used()", {"library": library})
    assert "function used" in script.source
    assert "function last" in script.source
    assert "unused" not in script.source


def test_every_function_that_a_script_calls_is_there() -> None:
    # Redis compiles a script whatever it calls; what is missing shows only when its line is reached.
    calls = re.compile(r"(?<![\w.:])(\w+)\(")
    for script in load_scripts().values():
        code = re.sub(r"--.*|'[^']*'", "", script.source)
        defined = {*re.findall(r"function (\w+)\(", code), "function"}
        known = {"tonumber", "tostring", "pairs", "ipairs", "unpack", "type", "error", "pcall", "next"}
        keywords = {"if", "elseif", "while", "and", "or", "not", "return", "in"}
        assert set(calls.findall(code)) <= defined | known | keywords, script.name
