"""The scripts keep the model's promises, and the model notices when one does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from easel_queue import QueueError, embedded, sending
from easel_queue.scripts import assemble, load_scripts

from ..conftest import RedisServer
from .machine import drive


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that does not wait for its disk: these are many thousand calls, and nobody kills it."""
    server = RedisServer(
        tmp_path_factory.mktemp("redis"), embedded.free_port(), embedded.new_password(), fsync="no"
    )
    server.start()
    yield server.url
    server.stop()


def test_the_scripts_keep_the_promises(redis_url: str) -> None:
    drive(redis_url, examples=40, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_scripts_keep_the_promises_at_length(redis_url: str) -> None:
    drive(redis_url, examples=1000, steps=80)


@pytest.mark.parametrize(
    ("script", "right", "wrong"),
    [
        ("deliver_entries", "record.window - ", "record.window + 1 - "),
        ("reap_tasks", ">= max_delivery", "> max_delivery"),
        ("reserve_task", "key('in', 'levels'), 0, 0", "key('in', 'levels'), -1, -1"),
        ("reserve_task", "tonumber(at) + SHARE / share", "tonumber(at)"),
        ("finish_task", "redis.call('HDEL', person(user), 'parked') == 1", "false"),
        ("requeue_dead", "  remove_entry('rear', member)\n", ""),
        ("put_task", "if redis.call('EXISTS', KEYS[8]) == 1", "if false"),
        ("put_task", "local before = put_before(KEYS[9], print)", "local before = nil"),
        ("release_task", "tonumber(head) < tonumber(member)", "tonumber(head) > 0"),
        ("finish_task", "'working', -1)", "'working', 0)"),
        ("release_task", "'dlv', -1", "'dlv', 0"),
        ("commit_entries", "not held(queue, member, others)", "false"),
        ("cancel_task", "if f[1] == 'running'", "if f[1] == 'reserved'"),
        ("reject_entries", "if times + 1 < max_delivery", "if times < max_delivery"),
        ("reject_entries", "ARGV[5] == uid)", "ARGV[5] ~= '')"),
        ("reject_entries", "if deliveries < max_delivery", "if deliveries <= max_delivery"),
        ("reject_entries", "'state') == 'running'", "'state') == 'finished'"),
        ("deliver_entries", "if record.leaving", "if record.leaves"),
    ],
)
def test_a_broken_script_is_found(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, script: str, right: str, wrong: str
) -> None:
    """The model is no decoration: each of these small mistakes makes Redis and the model differ."""
    scripts = dict(load_scripts())
    source = scripts[script].source
    assert source.count(right) == 1
    scripts[script] = assemble(script, scripts[script].keys, source.replace(right, wrong), {})
    monkeypatch.setattr(sending, "load_scripts", lambda: scripts)
    with pytest.raises((AssertionError, QueueError, pytest.fail.Exception)):
        drive(redis_url, examples=1500, steps=50, shrink=False)
