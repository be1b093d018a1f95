"""What a watcher costs: time from a put to its delivery, memory and CPU time of one gateway.

All watchers are in one group and idle, so each item is one watcher's. Items are put one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx
from websockets.asyncio.client import ClientConnection, connect

from harness import Spread, percentile, private_redis, publish

SERVICE = "bench"
SINK = f"/api/predict/{SERVICE}/sink"
TICKS = os.sysconf("SC_CLK_TCK")
JOINING = 50
"""Watchers that connect at the same time."""


@contextmanager
def running_gateway(redis_url: str) -> Iterator[tuple[str, int]]:
    """One gateway process; answers its address and process id."""
    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EASEL_")}
        environment |= {
            "EASEL_REDIS_URL": redis_url,
            "EASEL_SERVICE": SERVICE,
            "EASEL_PORT": "0",
            "EASEL_DATA_DIR": folder,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "easel_gateway"], env=environment, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"listens on (http://\S+)", line):
                    yield found[1], process.pid
                    return
            raise RuntimeError("the gateway did not start")
        finally:
            process.terminate()
            process.communicate(timeout=60)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def cpu_s(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def watch(url: str, number: int) -> ClientConnection:
    headers = {"X-EAS-QueueService-Redis-Uid": f"u{number}"}
    address = f"{url.replace('http:', 'ws:')}{SINK}?_watch_=true&_window_=10"
    return await connect(address, additional_headers=headers, compression=None, ping_interval=None)


class Group:
    """Watchers of one group, and what came to any of them."""

    def __init__(self, sockets: list[ClientConnection]) -> None:
        self._came: asyncio.Queue[float] = asyncio.Queue()
        self._readers = [asyncio.create_task(self._read(socket)) for socket in sockets]

    async def _read(self, socket: ClientConnection) -> None:
        async for _ in socket:
            self._came.put_nowait(time.perf_counter())

    async def measure(self, client: httpx.AsyncClient, puts: int) -> list[float]:
        """Seconds from each put's beginning to its delivery."""
        times = []
        for _ in range(puts):
            began = time.perf_counter()
            answer = await client.post(SINK, content=b"result")
            times.append(await asyncio.wait_for(self._came.get(), 30) - began)
            await client.put(SINK, params={"_indexes_": answer.text})
        return times

    def close(self) -> None:
        for reader in self._readers:
            reader.cancel()


async def one_round(redis_url: str, watchers: int, puts: int) -> tuple[list[float], float, float]:
    """Latencies in seconds, gateway memory in bytes per watcher, gateway CPU seconds per put."""
    with running_gateway(redis_url) as (url, pid):
        async with AsyncExitStack() as stack, httpx.AsyncClient(base_url=url, timeout=60) as client:
            first = await watch(url, -1)  # what the first one makes the process load is no watcher's cost
            await first.close()
            before = resident(pid)
            sockets: list[ClientConnection] = []
            for start in range(0, watchers, JOINING):
                numbers = range(start, min(start + JOINING, watchers))
                sockets += await asyncio.gather(*(watch(url, number) for number in numbers))
            for socket in sockets:
                stack.push_async_callback(socket.close)
            memory = (resident(pid) - before) / watchers
            group = Group(sockets)
            await group.measure(client, 20)
            used = cpu_s(pid)
            times = await group.measure(client, puts)
            used = cpu_s(pid) - used
            group.close()
        return times, memory, used / puts


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--watchers", type=int, nargs="+", default=[10, 100, 1000])
    options.add_argument("--puts", type=int, default=300, help="puts of one round")
    options.add_argument("--rounds", type=int, default=5)
    args = options.parse_args()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    p50: dict[int, list[float]] = {count: [] for count in args.watchers}
    p99: dict[int, list[float]] = {count: [] for count in args.watchers}
    memory: dict[int, list[float]] = {count: [] for count in args.watchers}
    used: dict[int, list[float]] = {count: [] for count in args.watchers}
    with private_redis() as redis_url:
        for _ in range(args.rounds):
            for count in args.watchers:
                times, per_watcher, per_put = asyncio.run(one_round(redis_url, count, args.puts))
                p50[count].append(percentile(times, 0.5) * 1000)
                p99[count].append(percentile(times, 0.99) * 1000)
                memory[count].append(per_watcher / 1024)
                used[count].append(per_put * 1000)

    rows = [["watchers", "put to delivery p50, ms", "p99, ms", "KiB per watcher", "gateway CPU per put, ms"]]
    for count in args.watchers:
        spreads = [Spread.of(values[count]) for values in (p50, p99, memory, used)]
        rows.append([str(count), *(spread.show(2 if at != 2 else 0) for at, spread in enumerate(spreads))])
    setting = (
        f"Median (minimum to maximum) of {args.rounds} alternating rounds of {args.puts} puts, one after the "
        "other; watchers of one group, one gateway, one client process, fsync before every answer. "
        "CPU time includes the put, the delivery, the commit and the watchers' signs of life."
    )
    limits = "It does not show: watchers that are all busy, large items, a network between the parts."
    publish("watchers", "Watchers on one gateway", rows, [setting, limits])


if __name__ == "__main__":
    main()
