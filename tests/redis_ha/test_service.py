"""Gateway and workers ride through a failover; what was accepted under WAIT has one result each."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from easel_queue.keys import Keys

from ..e2e.running import Running, running
from .servers import Cluster, Watched, until

ECHO = {
    "EASEL_HANDLERS": "easel_worker.handlers.echo:EchoHandler",
    "EASEL_LEASE_S": "5",
    "EASEL_MAX_DELIVERY": "100",
    "EASEL_REDIS_WAIT_REPLICAS": "1",
    "EASEL_REDIS_WAIT_MS": "500",
}


def put(easel: Running, key: str) -> str:
    """Send one task under an idempotency key until it is accepted; answers its request id."""
    refusals = Counter[str]()
    while True:
        response = easel.http.post(
            f"/api/predict/{easel.service}/easel/v1/echo",
            json={"sleep_s": 0.02, "steps": 2},
            headers={"Idempotency-Key": key},
        )
        if response.status_code == 200:
            return response.headers["X-Eas-Queueservice-Request-Id"]
        refusals[response.text] += 1
        assert response.status_code == 503, response.text
        assert response.headers["Retry-After"].isdigit()
        assert sum(refusals.values()) < 1000, refusals


def results(easel: Running) -> list[str]:
    """Request ids of everything in the sink."""
    params = {"_length_": 1000, "_auto_delete_": "false", "_raw_": "false"}
    response = easel.http.get(f"/api/predict/{easel.service}/sink", params=params)
    assert response.status_code == 200, response.text
    return [item["tags"]["requestId"] for item in response.json()]


def through_a_failover(data_dir: Path, url: str, tasks: int, fail_over: Callable[[], None]) -> None:
    accepted: list[str] = []
    begun = threading.Event()
    failed_over = threading.Event()

    def send(easel: Running) -> None:
        number = 0
        # On until the failover is over, so that some are sent before, some during and some after it.
        while number < tasks or not failed_over.is_set():
            accepted.append(put(easel, f"key-{number}"))
            number += 1
            if number == tasks // 4:
                begun.set()
        accepted.extend(put(easel, f"late-{number}") for number in range(5))

    with running(data_dir, workers=2, EASEL_REDIS_URL=url, **ECHO) as easel:
        sender = threading.Thread(target=send, args=(easel,))
        sender.start()
        assert begun.wait(60)
        try:
            fail_over()
        finally:
            failed_over.set()
        sender.join(60)
        assert not sender.is_alive()

        def all_done() -> bool:
            try:
                return len(set(results(easel))) >= len(accepted)
            except httpx.TransportError:
                return False

        until("every result", all_done)
        assert Counter(results(easel)) == Counter(accepted), "each accepted task has one result"
        log = "".join(easel.log)
        assert "ended:" not in log, "no process died of it"
        assert "Traceback" not in log


def test_behind_sentinel(own_watched: Watched, tmp_path: Path) -> None:
    def fail_over() -> None:
        old = own_watched.master
        old.kill()
        own_watched.wait_promoted(old)
        own_watched.bring_back(old)

    through_a_failover(tmp_path / "data", own_watched.url, 60, fail_over)


@pytest.mark.slow
def test_on_a_cluster(own_cluster: Cluster, tmp_path: Path) -> None:
    slot = Keys("easel").slot
    owner = own_cluster.owner(slot)
    own_cluster.add_replica(tmp_path / "replica", owner)

    def fail_over() -> None:
        owner.kill()
        successor = own_cluster.wait_promoted(slot, owner)
        owner.start()
        with successor.client() as client:
            until("the old owner follows", lambda: client.info("replication")["connected_slaves"] == 1)

    through_a_failover(tmp_path / "data", own_cluster.url, 60, fail_over)
