"""Easel's queue beside those that people would pick instead: no-op jobs, one submitter, one worker process.

Rounds alternate (A B C … A B C …) on one Redis; each queue gets fresh processes and an empty Redis each time.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence

import redis

from harness import Spread, percentile, private_redis, publish
from peers.registry import EASEL, PEERS, Peer
from peers.running import PeerError, redis_cpu_s, running, stored_bytes

WARM_UP = 20
"""Jobs that run before a worker is measured: they also show that it is there."""

Figures = dict[str, float]

COLUMNS: tuple[tuple[str, str, int], ...] = (  # measure, head, digits
    ("single", "puts per second, one by one", 0),
    ("bulk", "puts per second, in bulk", 0),
    ("cycles", "cycles per second, 1 slot", 0),
    ("cycles_many", "cycles per second, {slots} slots", 0),
    ("p50", "latency p50, ms", 2),
    ("p99", "latency p99, ms", 2),
    ("bytes", "bytes per waiting job", 0),
    ("redis_cpu", "CPU of Redis, s per 1000 jobs", 2),
    ("own_cpu", "CPU of both processes, s per 1000 jobs", 2),
)
RATIOS = ("single", "bulk", "cycles", "cycles_many", "p50", "p99", "redis_cpu", "own_cpu")

NOTES = """\
Median (minimum to maximum) of {rounds} alternating rounds, {jobs} no-op jobs in each measurement; one
submitter and one worker process; Redis with an append-only file, appendfsync {fsync}.

- A cycle is: put in bulk (in hundreds), worker took it, result stored, result seen by the submitter (Easel:
  and committed, or removed where the reply is direct). A slot is a job in progress; "-": its worker has one.
- Latency is that of one job at a time at an idle worker with one slot, from the put to the result seen.
- CPU is that of the cycles with one slot.
- It does not show: several workers, large bodies, a deep backlog (see depth), jobs that take time, failures,
  a network between the parts."""


def measure(peer: Peer, url: str, jobs: int, slots: int) -> tuple[str, Figures]:
    """One round of one queue: its versions, and its figures by column."""
    figures: Figures = {}
    with redis.Redis.from_url(url) as client:
        client.flushall()
        with running(peer, "producer", url) as producer:
            versions = str(producer.answer()["versions"])
            producer.ask("single", WARM_UP)  # connections, scripts
            figures["single"] = jobs / producer.ask("single", jobs)
            before = stored_bytes(client)
            figures["bulk"] = jobs / producer.ask("bulk", jobs)
            figures["bytes"] = (stored_bytes(client) - before) / jobs
        for count in (1, slots) if peer.many else (1,):
            client.flushall()
            with running(peer, "producer", url) as producer, running(peer, "worker", url, count) as worker:
                producer.answer()
                producer.ask("latency", WARM_UP)
                if count == 1:
                    times = producer.ask("latency", max(100, jobs // 5))
                    figures["p50"] = percentile(times, 0.5) * 1000
                    figures["p99"] = percentile(times, 0.99) * 1000
                servers, own = redis_cpu_s(client), producer.cpu_s() + worker.cpu_s()
                seconds = producer.ask("cycle", jobs)
                figures["cycles" if count == 1 else "cycles_many"] = jobs / seconds
                if count == 1:
                    figures["redis_cpu"] = (redis_cpu_s(client) - servers) / jobs * 1000
                    figures["own_cpu"] = (producer.cpu_s() + worker.cpu_s() - own) / jobs * 1000
    return versions, figures


def collect(
    peers: Sequence[Peer], url: str, rounds: int, jobs: int, slots: int
) -> tuple[dict[str, list[Figures]], dict[str, str], dict[str, str]]:
    """Figures of every round, versions, and why a queue is absent, each by name."""
    found: dict[str, list[Figures]] = defaultdict(list)
    versions: dict[str, str] = {}
    absent = {peer.name: reason for peer in peers if (reason := peer.absent())}
    for number in range(rounds):
        for peer in peers:
            if peer.name in absent:
                continue
            try:
                versions[peer.name], figures = measure(peer, url, jobs, slots)
            except PeerError as error:
                absent[peer.name] = str(error)
                continue
            found[peer.name].append(figures)
            print(f"round {number + 1} of {rounds}: {peer.name}: {figures['cycles']:.0f}/s", file=sys.stderr)
    return {name: rows for name, rows in found.items() if name not in absent}, versions, absent


def spread(values: Sequence[float], digits: int) -> str:
    return Spread.of(values).show(digits) if values else "-"


def rows_of(
    names: Sequence[str],
    columns: Sequence[tuple[str, str, int]],
    values: Callable[[str, str], list[float]],
    absent: dict[str, str],
) -> list[list[str]]:
    """Table rows: one per queue; an absent one says why."""
    rows = [["", *(head for _, head, _ in columns)]]
    for name in names:
        if name in absent:
            rows.append([name, f"absent: {absent[name]}", *[""] * (len(columns) - 1)])
        else:
            rows.append([name, *(spread(values(name, key), digits) for key, _, digits in columns)])
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", type=int, default=1000, help="jobs per measurement")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--slots", type=int, default=10, help="jobs in progress at once, in the second form")
    options.add_argument("--fsync", choices=("always", "everysec", "no"), default="always")
    options.add_argument("--only", default="", help="names with commas between them; Easel is always there")
    options.add_argument("--name", default="", help="of the result; default queue_cycle[_<fsync>]")
    args = options.parse_args()
    wanted = {name.strip().lower() for name in args.only.split(",") if name.strip()}
    peers = [peer for peer in PEERS if not wanted or peer is EASEL or peer.name.lower() in wanted]

    with private_redis(args.fsync) as url:
        found, versions, absent = collect(peers, url, args.rounds, args.jobs, args.slots)

    columns = [(key, head.format(slots=args.slots), digits) for key, head, digits in COLUMNS]
    names = [peer.name for peer in peers]

    def absolute(name: str, key: str) -> list[float]:
        return [row[key] for row in found[name] if key in row]

    def ratios(name: str, key: str) -> list[float]:
        pairs = zip(found[EASEL.name], found[name], strict=False)
        return [ours[key] / theirs[key] for ours, theirs in pairs if theirs.get(key)]

    compared = [(key, head, 2) for key, head, _ in columns if key in RATIOS]
    setups = [["", "versions", "configuration", "what is promised"]]
    setups += [[peer.name, versions.get(peer.name, "-"), peer.setting, peer.durable] for peer in peers]
    more = {
        "Easel's figure divided by the other's": rows_of(names[1:], compared, ratios, absent),
        "How each is set up": setups,
    }
    notes = NOTES.format(rounds=args.rounds, jobs=args.jobs, fsync=args.fsync).splitlines()
    name = args.name or ("queue_cycle" if args.fsync == "always" else f"queue_cycle_{args.fsync}")
    rows = rows_of(names, columns, absolute, absent)
    publish(name, "One job through the queue, Easel beside others", rows, notes, more)


if __name__ == "__main__":
    main()
