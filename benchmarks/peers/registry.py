"""The rows of the comparison: how each queue is started, how it is configured, and what it promises."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALLED = REPOSITORY / "build" / "bench-peers"
"""Where `make bench-peers` puts them."""

_SHARED, _ARQ, _NODE = "python", "python-arq", "node_modules"


@dataclass(frozen=True)
class Peer:
    """One queue.

    Attributes:
        home: The environment below `INSTALLED`; "" is the one that this process runs in.
        many: Whether one worker process can have several jobs in progress.
        setting: How it is configured, bulk puts included.
        durable: What happens to a job and its result when its worker or its submitter dies.
    """

    name: str
    adapter: str
    home: str
    many: bool
    setting: str
    durable: str

    def absent(self) -> str:
        """Why it cannot run here; "" when it can."""
        if self.home == _NODE:
            if shutil.which("node") is None:
                return "no node on this machine"
            missing = not (INSTALLED / _NODE / self.adapter).is_dir()
        else:
            missing = bool(self.home) and not _python(self.home).exists()
        return "not installed: make bench-peers" if missing else ""

    def command(self, role: str, url: str, slots: int) -> list[str]:
        """The process in one of its roles, ``producer`` or ``worker``."""
        if self.home == _NODE:
            script = Path(__file__).with_name(f"{self.adapter}_peer.cjs")
            return [shutil.which("node") or "node", str(script), role, url, str(slots)]
        python = str(_python(self.home)) if self.home else sys.executable
        return [python, "-m", "peers.serve", role, self.adapter, url, str(slots)]

    def environment(self) -> dict[str, str]:
        """The variables of its processes."""
        env = dict(os.environ)
        paths = [str(REPOSITORY / "benchmarks")]
        if not self.home:  # ours; the others must not find our packages in place of theirs
            paths += [str(REPOSITORY / "queue"), *filter(None, [env.get("PYTHONPATH")])]
        return {**env, "PYTHONPATH": os.pathsep.join(paths), "NODE_PATH": str(INSTALLED / _NODE)}


def _python(home: str) -> Path:
    return INSTALLED / home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


EASEL = Peer(
    "Easel",
    "easel",
    "",
    True,
    "One task in work and one reserved per slot, as its worker does. Bulk: Queue.run_many (a pipeline). "
    "Results: a watcher looks when one is announced; at those of many jobs every 2 ms while they come.",
    "Fenced lease, delivery counted at the start, result and removal in one step, result kept until a "
    "watcher commits it.",
)

PEERS = (
    EASEL,
    Peer(
        "Easel (direct reply)",
        "easel_reply",
        "",
        True,
        "The same, but each result goes to its submitter alone, as that of a synchronous call.",
        "Fenced lease, delivery counted at the start, result and removal in one step; the result is removed "
        "when it is read, or after ten minutes.",
    ),
    Peer(
        "RQ",
        "rq",
        _SHARED,
        False,
        "SimpleWorker: no fork per job, its fastest worker; one job at a time. Bulk: enqueue_many. Results: "
        "Job.latest_result (blocks).",
        "A dead worker's job is found by a later maintenance and marked failed; the result expires.",
    ),
    Peer(
        "Celery",
        "celery",
        _SHARED,
        True,
        "Redis broker and result backend; pool solo for one job, threads for more; prefetch multiplier "
        "4 (default), without gossip, mingle and heartbeat. Bulk: group. Results: AsyncResult.get (Pub/Sub).",
        "Default: acknowledged before the job runs, so a dead worker loses it; the result expires.",
    ),
    Peer(
        "dramatiq",
        "dramatiq",
        _SHARED,
        True,
        "Redis broker, default middleware and Results with the Redis backend. Bulk: group, which sends one "
        "by one. Results: get_result(block=True).",
        "Acknowledged after the job; a dead worker's jobs come back after its heartbeat; the result expires.",
    ),
    Peer(
        "arq",
        "arq",
        _ARQ,
        True,
        "uvloop, hiredis; polls for jobs and results every millisecond (default 500). Bulk: asyncio.gather "
        "of enqueue_job.",
        "A dead worker's job runs again when its job time-out has passed; the result expires.",
    ),
    Peer(
        "taskiq",
        "taskiq",
        _SHARED,
        True,
        "uvloop, hiredis; RedisStreamBroker and RedisAsyncResultBackend; polls for results every millisecond "
        "(default 200). Bulk: asyncio.gather of kiq.",
        "Acknowledged when the result is stored; a dead worker's jobs are claimed after 10 minutes; the "
        "result expires.",
    ),
    Peer(
        "huey",
        "huey",
        _SHARED,
        True,
        "RedisHuey with thread workers and notify_result (waiting blocks). Bulk: map, which puts one by one.",
        "Popped before the job runs, so a dead worker loses it; the result is removed when it is read.",
    ),
    Peer(
        "BullMQ",
        "bullmq",
        _NODE,
        True,
        "Worker with an async processor; a finished job's script hands out the next one. Bulk: addBulk. "
        "Results: QueueEvents (a Redis stream, read once for all jobs).",
        "Locked while it runs; a dead worker's job comes back after the stalled check (30 s); jobs and "
        "results are kept.",
    ),
)
