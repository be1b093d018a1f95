"""Many tasks while parts are killed at random: every accepted task ends in exactly one result.

The short run is part of every test run; `make test-slow` does the same for more tasks and kills.
The seed of a failed run is in its output; ``CHAOS_SEED=<seed>`` repeats its choices.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from .running import Running, running

SEED = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(2**32)))
ECHO = {
    "EASEL_HANDLERS": "easel_worker.handlers.echo:EchoHandler",
    "EASEL_LEASE_S": "2",
    # The supervisor's pause grows with every early death; tasks must not run out of deliveries meanwhile.
    "EASEL_MAX_DELIVERY": "100",
}


def put_until_accepted(easel: Running, request_id: str) -> None:
    """Send one task until its index comes back. A 409 says that an earlier try had been stored."""
    path = f"/api/predict/{easel.service}/easel/v1/echo"
    while True:
        try:
            response = easel.http.post(
                path,
                params={"task_id": request_id},
                json={"sleep_s": 0.02, "steps": 2},
                headers={"X-Request-Id": request_id},
            )
        except httpx.TransportError:
            continue  # the gateway was killed under us
        if response.status_code in {200, 409}:
            return
        assert response.status_code == 503, response.text


def put_all(easel: Running, ids: list[str]) -> None:
    for request_id in ids:
        put_until_accepted(easel, request_id)


def everything_in_the_sink(easel: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start = 0
    while True:
        params = {"_index_": start, "_length_": 500, "_auto_delete_": "false", "_raw_": "false"}
        response = easel.http.get(f"/api/predict/{easel.service}/sink", params=params)
        if response.status_code == 204:
            return found
        found += response.json()
        start = found[-1]["index"] + 1


def chaos(data_dir: Path, tasks: int, kills: int) -> None:
    choose = random.Random(SEED)
    print(f"chaos seed {SEED}")
    ids = [f"chaos-{number}" for number in range(tasks)]
    with running(data_dir, workers=2, **ECHO) as easel:
        sender = threading.Thread(target=put_all, args=(easel, ids))
        sender.start()
        killed: Counter[str] = Counter()
        for _ in range(kills):
            role = choose.choice(["worker-1", "worker-1", "worker-2", "gateway", "redis"])
            killed[role] += 1
            easel.kill(role)
            # The next kill comes when the supervisor has noticed this one and started the part again.
            easel.wait_for_line(rf"{role} ended")
            easel.wait_until_replaced(role)
        sender.join(timeout=300)
        assert not sender.is_alive(), "not every task was accepted"
        easel.wait_until_empty()
        results = Counter(item["tags"]["requestId"] for item in everything_in_the_sink(easel))
        print(f"{tasks} tasks, killed {dict(killed)}, {len(results)} results")
        assert results == Counter(ids), "each accepted task has exactly one result"
        assert easel.attributes("rear")["stream.length"] == "0"


def test_every_task_ends_once_whatever_is_killed(tmp_path: Path) -> None:
    chaos(tmp_path, tasks=150, kills=5)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_task_ends_once_whatever_is_killed_at_length(tmp_path: Path) -> None:
    chaos(tmp_path, tasks=3000, kills=40)
