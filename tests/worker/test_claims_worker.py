"""Large bodies through a real worker process: tasks whose body lies in the store, results that go there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from easel_claims import Claims, Depot
from easel_queue import State
from easel_store import LocalStore

LARGE = 4096
BODY = secrets.token_bytes(3_000_000)


class Client:
    """What a gateway would do beside the worker: bring bodies, fetch results."""

    def __init__(self, scene: Any, folder: Path) -> None:
        self.scene = scene
        self.folder = folder
        self.depot = Depot(LocalStore(folder), service=scene.service, threshold=LARGE)
        queue = scene.queue
        queue.attempt = queue.run
        self.claims = Claims(self.depot, queue.claims, queue)

    def put(self, body: bytes, rid: str, path: str = "/easel/v1/echo") -> str:
        calls = self.scene.queue.tasks
        self.claims.run(body, lambda data: calls.put(data, request_id=rid, meta={"path": path}))
        return rid

    def body(self, entry: Any) -> bytes:
        return self.depot.fetch(entry.claim) if entry.claim else entry.data

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture
def client(scene: Any, tmp_path: Path) -> Client:
    return Client(scene, tmp_path / "data" / "claims")


def test_a_large_body_goes_through_and_its_result_comes_back_whole(
    scene: Any, spawn: Callable[..., Any], client: Client
) -> None:
    spawn(scene, queue_claim_bytes=LARGE)
    small, large = client.put(b"small", "r1"), client.put(BODY, "r2")
    assert scene.result(small).data == b"small"
    result = scene.result(large)
    assert (result.data, client.body(result)) == (b"", BODY)
    assert result.claim.size == len(BODY)
    # the task's own body is the sweeper's; the result's is the result's
    (due,) = scene.run(scene.queue.claims.sweep(grace_ms=0))
    assert due != result.claim.name
    assert {path.name for path in client.files()} == {
        name.rpartition("/")[2] for name in (due, result.claim.name)
    }


def test_a_large_failed_result_comes_back_whole(
    scene: Any, local_worker: Callable[..., Any], client: Client, tmp_path: Path
) -> None:
    local_worker(
        scene,
        handlers="easel_worker.handlers.echo:EchoHandler,breaking_handlers:LongNameHandler",
        queue_claim_bytes=LARGE,
        max_delivery=1,
    )
    result = scene.result(client.put(b"runtime", "r", "/long-name"))
    assert result.claim is not None
    assert json.loads(client.body(result))["parameters"]["id_task"] == "n" * 3 * LARGE
    assert result.tags["lastCode"] == "500"
    assert scene.status("r").state is State.DEAD


def test_a_task_whose_body_is_missing_becomes_a_dead_letter_that_says_why(
    scene: Any, spawn: Callable[..., Any], client: Client
) -> None:
    lost = client.put(BODY, "lost")
    for path in client.files():
        path.unlink()
    spawn(scene, queue_claim_bytes=LARGE)
    result = scene.result(lost)
    assert result.tags["lastCode"] == "500"
    body = json.loads(result.data)
    assert body["error"] == "ClaimMissingError"
    assert "missing from the store" in body["parameters"]["error_msg"]
    letter = scene.run(scene.queue.dead.show(lost))
    assert letter.deliveries == 3
    client.depot.bring(letter.claim, BODY)  # the operator has found it
    scene.run(scene.queue.dead.requeue(lost))
    scene.until(lambda: len(scene.results(lost)) == 1 and "requeued" in scene.results(lost)[0].tags)
    assert client.body(scene.results(lost)[0]) == BODY
    assert scene.result(client.put(b"next", "r2")).data == b"next"


def test_a_store_that_cannot_be_written_costs_no_result(
    scene: Any, spawn: Callable[..., Any], client: Client, tmp_path: Path
) -> None:
    """Its own store is broken, so the result goes through Redis after all."""
    elsewhere = tmp_path / "broken"
    elsewhere.mkdir()
    (elsewhere / "claims").write_text("a file in the way")
    worker = spawn(scene, queue_claim_bytes=LARGE, data_dir=elsewhere)
    request_id = scene.put(BODY)
    assert scene.result(request_id).data == BODY
    worker.wait_log("goes through Redis")
    assert scene.run(scene.queue.claims.sweep(grace_ms=0)) != (), "the name that was announced is dropped"
