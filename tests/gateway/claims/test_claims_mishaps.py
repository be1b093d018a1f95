"""Large bodies when something is away, slow, dead or in the way: nothing is lost or left behind."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import signal
import threading
from pathlib import Path

import pytest

from easel_claims import Depot
from easel_queue import Claim, Queue
from easel_store import LocalStore, StoreError, claims_store, configured_store

from ...store.conftest import S3Server
from ..conftest import WAIT_S, RunningGateway, StartGateway
from ..eas_clients import streaming, watching
from .conftest import BODY, LARGE, PATH, Worker, files, put, until, until_empty


class BrokenStore(LocalStore):
    """A store whose disk comes and goes."""

    away = True

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self._fail()
        super().put(key, data, content_type)

    def get(self, key: str) -> bytes:
        self._fail()
        return super().get(key)

    def _fail(self) -> None:
        if self.away:
            raise StoreError("the disk is away")


@pytest.fixture
def store(gateway: RunningGateway, folder: Path) -> BrokenStore:
    """The gateway's own, in working order so far."""
    store = BrokenStore(folder)
    store.away = False
    gateway.server.app.state.gateway.claims._depot._store = store
    return store


async def test_a_store_that_is_away_loses_nothing(gateway: RunningGateway, store: BrokenStore) -> None:
    await put(gateway, gateway.sink, b"small")
    await put(gateway, gateway.sink)
    store.away = True
    refused = await gateway.client.post(gateway.sink, content=BODY)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    for params in ({"_length_": "2"}, {"_index_": "2"}):
        assert (await gateway.client.get(gateway.sink, params=params)).status_code == 503
    async with streaming(gateway) as stream:
        assert b"small" in await stream.frame()
        await stream.assert_ends()
    store.away = False
    answer = await gateway.client.get(gateway.sink, params={"_length_": "9"})
    assert [base64.b64decode(item["data"]) for item in answer.json()] == [b"small", BODY]
    assert await gateway.queue._redis.zcard(gateway.queue.keys.claims_announced) == 0


async def test_a_caller_waits_for_a_store_that_is_away(
    gateway: RunningGateway, store: BrokenStore, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("easel_gateway.submit.LOOK_AGAIN_S", 0.05)
    call = asyncio.create_task(gateway.client.post(PATH, json={"prompt": "a cat"}))
    task = await worker.begin()
    store.away = True
    await worker.answer(task, BODY)
    assert not (await asyncio.wait({call}, timeout=0.3))[0]
    store.away = False
    assert (await call).content == BODY


class SlowStore(BrokenStore):
    """A store that takes its time over every write."""

    away = False

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.writing = threading.Event()
        self.go_on = threading.Event()

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self.writing.set()
        assert self.go_on.wait(WAIT_S)
        super().put(key, data, content_type)


async def test_a_caller_who_hangs_up_while_the_body_is_stored_leaves_nothing(
    gateway: RunningGateway, folder: Path
) -> None:
    store = SlowStore(folder)
    gateway.server.app.state.gateway.claims._depot._store = store
    body = json.dumps({"prompt": "p" * 2 * LARGE})
    call = asyncio.create_task(gateway.client.post(PATH, content=body))
    assert await asyncio.to_thread(store.writing.wait, WAIT_S)
    call.cancel()
    settling = gateway.server.app.state.gateway.claims._settling
    await until(lambda: len(settling) == 1)
    store.go_on.set()
    await until(lambda: not settling)
    await until_empty(folder)
    assert (await gateway.attributes(gateway.source))["stream.length"] == "0"


def sweep_while_it_is_brought(depot: Depot, queue: Queue) -> list[str]:
    """Take the first body's name away before its put, as if an hour had passed. Answers the swept names."""
    swept: list[str] = []
    bring = depot.bring

    def brought(claim: Claim, data: bytes) -> Claim:
        if not swept:
            swept.extend(queue.run(queue.claims.sweep(bring_ms=0)))
            queue.run(queue.claims.forget(swept))
        return bring(claim, data)

    depot.bring = brought  # type: ignore[method-assign]
    return swept


async def test_a_body_that_took_too_long_is_brought_again(
    start_gateway: StartGateway, redis_url: str, service: str
) -> None:
    gateway = await start_gateway(queue_claim_bytes=LARGE, reap_interval_s=60)
    folder, queue = gateway.settings.data_dir / "claims", Queue(redis_url, service=service)
    depots = gateway.server.app.state.gateway.claims._depot, (worker := Worker(gateway)).depot
    for depot, deliver in zip(depots, (put_task, answer_task), strict=True):
        swept = sweep_while_it_is_brought(depot, queue)
        before = {path.name for path in files(folder)}
        await deliver(gateway, worker)
        (name,) = swept
        new = {path.name for path in files(folder)} - before
        assert len(new) == 1, "the late file is deleted at once"
        assert name.rpartition("/")[2] not in new
    queue.close()
    assert (await gateway.client.get(gateway.sink, params={"_raw_": "true"})).content == BODY


async def put_task(gateway: RunningGateway, worker: Worker) -> None:
    await put(gateway, gateway.source)


async def answer_task(gateway: RunningGateway, worker: Worker) -> None:
    task = await worker.begin()
    assert task.claim is not None
    assert worker.depot.fetch(task.claim) == BODY
    await worker.answer(task, BODY)


async def test_the_same_with_s3(start_gateway: StartGateway, s3_server: S3Server) -> None:
    gateway = await start_gateway(
        queue_claim_bytes=LARGE,
        claim_grace_s=0,
        reap_interval_s=0.02,
        s3_endpoint=s3_server.endpoint,
        s3_access_key=s3_server.access_key,
        s3_secret_key=s3_server.secret_key,
        s3_bucket=f"claims-{secrets.token_hex(6)}",
        s3_prefix="team-a",
    )
    worker, claims, pictures = (
        Worker(gateway),
        claims_store(gateway.settings),
        configured_store(gateway.settings),
    )
    body = json.dumps({"prompt": "p" * 2 * LARGE}).encode()
    call = asyncio.create_task(gateway.client.post(PATH, content=body))
    task = await worker.begin()
    assert await asyncio.to_thread(lambda: len(list(claims.list("")))) == 1
    assert task.claim is not None
    assert await asyncio.to_thread(worker.depot.fetch, task.claim) == body
    await worker.answer(task, BODY)
    assert (await call).content == BODY

    await put(gateway, gateway.sink)
    assert await asyncio.to_thread(lambda: list(pictures.list(""))) == [], "not shown among the pictures"
    async with watching(gateway) as watcher:
        assert await watcher.next() == (1, BODY)
    assert (await gateway.client.get(gateway.sink, params={"_raw_": "true"})).content == BODY
    await until(lambda: not list(claims.list("")))


_DIES = """
import os, signal, sys
from pathlib import Path
from easel_claims import Claims, Depot
from easel_queue import Queue
from easel_store import LocalStore

url, service, folder, when = sys.argv[1:]

def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)

if when == "half-written":
    Path.replace = die
queue = Queue(url, service=service)
depot = Depot(LocalStore(Path(folder)), service=service, threshold=10)
if when == "brought":
    bring = depot.bring
    depot.bring = lambda claim, data: die(bring(claim, data))
queue.attempt = queue.run
Claims(depot, queue.claims, queue).run(
    b"x" * 100_000, lambda body: queue.tasks.put(body, request_id="r")
)
"""


@pytest.mark.parametrize("when", ["half-written", "brought"])
async def test_a_process_that_dies_before_its_put_leaves_nothing(
    start_gateway: StartGateway,
    redis_url: str,
    service: str,
    tmp_path: Path,
    python: str,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    folder = tmp_path / "data" / "claims"
    child = await asyncio.create_subprocess_exec(python, "-c", _DIES, redis_url, service, str(folder), when)
    assert await child.wait() == -signal.SIGKILL
    assert len(files(folder)) == 1
    monkeypatch.setattr("easel_gateway.duties.claim_sweeper.BRING_S", 0.3)
    gateway = await start_gateway(queue_claim_bytes=LARGE, reap_interval_s=0.05)
    await until_empty(folder)
    assert (await gateway.attributes(gateway.source))["stream.length"] == "0"
    assert await gateway.queue._redis.zcard(gateway.queue.keys.claims_announced) == 0


async def test_nobody_reaches_the_bodies_by_the_pictures_store(gateway: RunningGateway) -> None:
    await put(gateway, gateway.sink)
    pictures = LocalStore(Path(gateway.settings.data_dir))
    assert list(pictures.list("")) == []
    (path,) = files(pictures.root / "claims")
    key = path.relative_to(pictures.root).as_posix()
    for call in (pictures.get, pictures.exists, pictures.delete):
        with pytest.raises(StoreError, match="Easel's own"):
            call(key)
