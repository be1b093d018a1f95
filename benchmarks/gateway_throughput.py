"""How many requests per second the gateway accepts, beside a bare FastAPI route that does one XADD.

Both servers run in one process each, pinned to one core; the load generator and Redis share the others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from easel_queue import embedded
from harness import Spread, percentile, private_redis, publish
from http_load import post, press

BODY = b'{"prompt": "a red circle on a blue background", "steps": 20, "width": 512, "height": 512}'
SERVICE = "bench"
BARE, PUT, TXT2IMG = "bare route, one XADD", "EAS put", "txt2img?task_id="
REQUESTS = {
    BARE: post("/put", BODY),
    PUT: post(f"/api/predict/{SERVICE}?task_id=a", BODY),
    TXT2IMG: post("/sdapi/v1/txt2img?task_id=a", BODY),
}
WARM_UP_S = 0.5


def pin(cores: set[int]) -> Callable[[], None] | None:
    """What a child does before it becomes a server: stay on these cores. None where that cannot be said."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None
    return lambda: os.sched_setaffinity(0, cores)


@contextmanager
def server(command: list[str], port: int, path: str, core: set[int], **env: str) -> Iterator[int]:
    """A server process on that core, ready to answer; its port."""
    process = subprocess.Popen(command, env={**os.environ, **env}, preexec_fn=pin(core))
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                    break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"{command} ended") from None
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--connections", default="1,4,16,64,256")
    options.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--fsync", choices=("always", "everysec", "no"), default="always")
    options.add_argument("--name", default="gateway_throughput")
    args = options.parse_args()
    levels = [int(level) for level in args.connections.split(",")]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    served, others = {cores[0]}, set(cores[1:]) or {cores[0]}
    if len(cores) > 1:
        os.sched_setaffinity(0, others)  # us, and Redis after us

    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    p99s: dict[tuple[str, int], list[float]] = defaultdict(list)
    busy: list[float] = []
    bare_port, gateway_port = embedded.free_port(), embedded.free_port()
    bare_program = str(Path(__file__).with_name("bare_gateway.py"))
    with private_redis(args.fsync) as url, redis.Redis.from_url(url) as client:
        settings = {
            "EASEL_REDIS_URL": url,
            "EASEL_SERVICE": SERVICE,
            "EASEL_PORT": str(gateway_port),
            "EASEL_QUEUE_MAX_LENGTH": "0",
            "EASEL_QUEUE_MAX_BYTES": "0",
            "EASEL_LOG_LEVEL": "WARNING",
        }
        gateway = [sys.executable, "-m", "easel_gateway"]
        bare = [sys.executable, bare_program, url, str(bare_port)]
        with (
            server(bare, bare_port, "/docs", served),
            server(gateway, gateway_port, "/healthz", served, **settings),
        ):
            ports = {BARE: bare_port, PUT: gateway_port, TXT2IMG: gateway_port}
            for number in range(args.rounds):
                for level in levels:
                    for name, request in REQUESTS.items():
                        press(ports[name], request, connections=level, seconds=WARM_UP_S)
                        load = press(ports[name], request, connections=level, seconds=args.seconds)
                        client.flushall()
                        if load.refused:
                            raise RuntimeError(f"{name} refused: {load.refused[0]!r}")
                        rates[name, level].append(load.rate)
                        p99s[name, level].append(percentile(load.latencies, 0.99) * 1000)
                        busy.append(load.cpu_s / load.wall_s)
                        print(f"round {number + 1}, {level} x {name}: {load.rate:.0f}/s", file=sys.stderr)

    def share(name: str, level: int) -> str:
        pairs = zip(rates[name, level], rates[BARE, level], strict=True)
        return Spread.of([ours / theirs for ours, theirs in pairs]).show()

    heads = [f"{name}: {what}" for what in ("per second", "p99, ms") for name in REQUESTS]
    rows = [["connections", *heads]]
    shares = [["connections", *(name for name in REQUESTS if name != BARE)]]
    for level in levels:
        accepted = [Spread.of(rates[name, level]).show(0) for name in REQUESTS]
        slowest = [Spread.of(p99s[name, level]).show(1) for name in REQUESTS]
        rows.append([str(level), *accepted, *slowest])
        shares.append([str(level), *(share(name, level) for name in REQUESTS if name != BARE)])
    notes = NOTES.format(
        rounds=args.rounds, seconds=args.seconds, size=len(BODY), fsync=args.fsync, busy=max(busy) * 100
    )
    more = {"Accepted requests per second, as a share of the bare route's": shares}
    publish(args.name, "Requests accepted per second", rows, notes.splitlines(), more)


NOTES = """\
Median (minimum to maximum) of {rounds} alternating rounds of {seconds:g} s; a JSON body of {size} bytes;
Redis with an append-only file, appendfsync {fsync}. Each server is one process on a core of its own (uvloop,
httptools, no access log); Redis and the load generator share the other core, where the generator was busy for
at most {busy:.0f}% of the time.

- The bare route reads the body and does one XADD. The gateway names, measures and authorises the request,
  checks it (txt2img), keeps its limits, makes tags and meta, stores a task that can be found, cancelled and
  leased, wakes workers and tells watchers.
- It does not show: several gateways, large bodies, TLS, clients that open a connection for each request."""


if __name__ == "__main__":
    main()
