"""The process around an adapter: ``python -m peers.serve producer|worker <adapter> <url> <slots>``.

A producer reads one JSON command per line and answers with one JSON line. It measures itself, so that the
pipe to the driver costs nothing.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
import os
import sys
import time
from importlib.metadata import version
from typing import Any, TextIO, cast

from peers.protocol import Adapter, Producer

CHUNK = 100
"""Jobs in one call of `put_many`."""


async def _now(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def _put_many(producer: Producer, count: int) -> list[Any]:
    jobs: list[Any] = []
    while len(jobs) < count:
        jobs.extend(await _now(producer.put_many(min(CHUNK, count - len(jobs)))))
    return jobs


async def single(producer: Producer, count: int) -> float:
    """Seconds for so many puts, one after the other."""
    begin = time.perf_counter()
    for _ in range(count):
        await _now(producer.put())
    return time.perf_counter() - begin


async def bulk(producer: Producer, count: int) -> float:
    """Seconds for so many puts in the documented bulk way."""
    begin = time.perf_counter()
    await _put_many(producer, count)
    return time.perf_counter() - begin


async def cycle(producer: Producer, count: int) -> float:
    """Seconds from the first put to the last result, with a worker running."""
    begin = time.perf_counter()
    await _now(producer.results(await _put_many(producer, count)))
    return time.perf_counter() - begin


async def latency(producer: Producer, count: int) -> list[float]:
    """Seconds from put to result of each job, one at a time."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        await _now(producer.results([await _now(producer.put())]))
        times.append(time.perf_counter() - begin)
    return times


MEASURES = {"single": single, "bulk": bulk, "cycle": cycle, "latency": latency}


async def produce(adapter: Adapter, url: str, answers: TextIO) -> None:
    """Carry out the commands of stdin until it ends."""
    producer = await _now(adapter.connect(url))
    versions = ", ".join(f"{name} {version(name)}" for name in adapter.DISTRIBUTIONS)
    print(json.dumps({"versions": versions}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        seconds = await MEASURES[command["do"]](producer, command["count"])
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


def main() -> None:
    role, name, url, slots = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")  # whatever a library prints must not mix with the answers
    sys.stdout = sys.stderr
    logging.basicConfig(level=logging.ERROR)
    adapter = cast("Adapter", importlib.import_module(f"peers.{name}_peer"))
    if role == "worker":
        adapter.work(url, int(slots))
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(produce(adapter, url, answers))


if __name__ == "__main__":
    main()
