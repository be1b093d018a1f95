"""What Easel adds around the rendering: from a POST that is accepted to its result at the watcher.

A real `easel up` (gateway, private Redis with fsync before every answer, one worker) whose handler answers
its input. One task at a time, and bursts. The same run times a bare GET on the same gateway, to tell how much
of it is HTTP on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import httpx
import websockets

from harness import Spread, percentile, publish
from service import running_easel

PATH = "/api/predict/easel/easel/v1/echo"
SINK = "/api/predict/easel/sink"
BODY = json.dumps({"prompt": "a red circle on a blue background", "steps": 20}).encode()


class Client:
    """Posts tasks and watches the sink, as a program with the SDK does: commits each result by HTTP."""

    def __init__(self, http: httpx.AsyncClient, socket: websockets.ClientConnection) -> None:
        self._http = http
        self._socket = socket

    async def one(self) -> tuple[float, float]:
        """Seconds from sending the POST to its answer, and from there to the result at the watcher."""
        begin = time.perf_counter()
        response = await self._http.post(PATH, content=BODY)
        accepted = time.perf_counter()
        response.raise_for_status()
        item = json.loads(await self._socket.recv())
        arrived = time.perf_counter()
        assert item["tags"]["requestId"] == response.headers["X-Eas-Queueservice-Request-Id"]
        await self._http.put(SINK, params={"_indexes_": item["index"]})
        return accepted - begin, max(0.0, arrived - accepted)

    async def burst(self, count: int) -> float:
        """Tasks per second, from the first POST to the last commit."""
        begin = time.perf_counter()

        async def send() -> None:
            for _ in range(count):
                (await self._http.post(PATH, content=BODY)).raise_for_status()

        sending = asyncio.create_task(send())
        for _ in range(count):
            item = json.loads(await self._socket.recv())
            await self._http.put(SINK, params={"_indexes_": item["index"]})
        await sending
        return count / (time.perf_counter() - begin)

    async def bare(self) -> float:
        begin = time.perf_counter()
        (await self._http.get("/healthz")).raise_for_status()
        return time.perf_counter() - begin


async def measure(address: str, rounds: int, tasks: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in ("get", "post", "p50", "p99", "total", "rate")}
    watch = f"{address.replace('http', 'ws', 1)}{SINK}?_watch_=true&_index_=0&_window_=100"
    async with (
        httpx.AsyncClient(base_url=address, timeout=60) as http,
        websockets.connect(watch, max_size=None) as socket,
    ):
        client = Client(http, socket)
        for number in range(rounds + 1):
            bare = [await client.bare() for _ in range(tasks)]
            times = [await client.one() for _ in range(tasks)]
            rate = await client.burst(tasks)
            if number:  # round 0 warms up
                waits = [wait for _, wait in times]
                figures["get"].append(percentile(bare, 0.5) * 1000)
                figures["post"].append(percentile([post for post, _ in times], 0.5) * 1000)
                figures["p50"].append(percentile(waits, 0.5) * 1000)
                figures["p99"].append(percentile(waits, 0.99) * 1000)
                figures["total"].append(percentile([post + wait for post, wait in times], 0.5) * 1000)
                figures["rate"].append(rate)
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tasks", type=int, default=300, help="tasks per round")
    options.add_argument("--rounds", type=int, default=5)
    args = options.parse_args()
    handler = "easel_worker.handlers.echo:EchoHandler"
    with running_easel(EASEL_HANDLERS=handler) as (address, _):
        figures = asyncio.run(measure(address, args.rounds, args.tasks))
    names = {
        "post": "POST to its answer, p50, ms",
        "p50": "POST accepted to result at the watcher, p50, ms",
        "p99": "the same, p99, ms",
        "total": "POST sent to result at the watcher, p50, ms",
        "get": "for scale: a bare GET on the same gateway, p50, ms",
        "rate": "burst: tasks per second, POST to commit",
    }
    rows = [["", "median (minimum to maximum)"]]
    rows += [[text, Spread.of(figures[name]).show()] for name, text in names.items()]
    setting = (
        f"{args.rounds} rounds of {args.tasks} tasks, one at a time, then as many in a burst from one client "
        "that posts one after the other. Client, gateway, Redis and worker share this machine."
    )
    limits = "It does not show: a network, TLS, large bodies, storage, or several clients at once."
    publish("overhead", "What the service adds to a task", rows, [setting, limits])


if __name__ == "__main__":
    main()
