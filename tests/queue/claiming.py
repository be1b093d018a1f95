"""Claims in tests of the scripts: names of bodies that nobody stores anywhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from easel_queue import INPUT, REAR, SINK, Body, Call, Claim, ClaimWantedError, Queue, Task

from .conftest import Bench

T = TypeVar("T")
SIZE = 1_000_000
_names = itertools.count(1)


def new_claim(size: int = SIZE) -> Claim:
    return Claim(f"claim-{next(_names)}", size)


def bring(queue: Queue, build: Callable[[Body], Call[T]], size: int = SIZE) -> tuple[str, T]:
    """A claim the proper way: asked for, brought, put. Answers its name and what the call answered."""
    claim = new_claim(size)
    with pytest.raises(ClaimWantedError):
        queue.run(build(claim))
    return claim.name, queue.run(build(replace(claim, brought=True)))


def put_claim(bench: Bench, rid: str, **fields: object) -> str:
    """A task whose body is a claim; answers the claim's name."""
    call = bench.queue.tasks.put
    return bring(bench.queue, lambda body: call(body, request_id=rid, **fields))[0]  # type: ignore[arg-type]


def result_claim(bench: Bench) -> str:
    """A result in the sink whose body is a claim; answers the claim's name."""
    bench.put()
    return finish_claim(bench.queue, bench.begin())


def finish_claim(queue: Queue, task: Task) -> str:
    return bring(queue, lambda body: queue.tasks.finish(task, body))[0]


def announced(queue: Queue) -> set[str]:
    return {name.decode() for name in queue._redis.zrange(queue.keys.claims_announced, 0, -1)}


def gone(queue: Queue) -> set[str]:
    return {name.decode() for name in queue._redis.zrange(queue.keys.claims_gone, 0, -1)}


def held(queue: Queue) -> list[str]:
    """The names that items refer to."""
    found = []
    for name, stream in ((INPUT, queue.source), (SINK, queue.sink), (REAR, queue.rear)):
        for entry in queue.run(stream.get(limit=1000)).entries:
            stored = queue._redis.hget(queue.keys.of(name, f"e:{entry.index}"), "claim")
            found += [stored.decode().partition(" ")[2]] if stored else []
    return found
