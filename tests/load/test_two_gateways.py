"""Two gateways behind one address work as one: each connection goes to the other one in turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError

from easel_queue import AsyncQueue

from ..hostile.conftest import StartProcess
from ..hostile.gateways import GatewayProcess
from .balancer import round_robin
from .clients import WAIT_S, Crowd, answering_worker, crowd


@dataclass
class Pair:
    """Two gateways, and the address before them."""

    first: GatewayProcess
    second: GatewayProcess
    url: str
    client: httpx.AsyncClient
    """Opens a connection for each request, so that the next one is the other gateway's."""

    @property
    def service(self) -> str:
        return self.first.service

    @property
    def source(self) -> str:
        return self.first.source

    @property
    def sink(self) -> str:
        return self.first.sink

    async def request(self, method: str, path: str, **how: object) -> httpx.Response:
        """At whichever gateway it comes to."""
        return await self.client.request(method, path, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def gateways(
    python: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    """Two processes for all tests here."""
    folder = tmp_path_factory.mktemp("two")
    first, second = (
        GatewayProcess(python, folder / name, redis_url=redis_url, service="two", watcher_ttl_s=5)
        for name in ("first", "second")
    )
    yield first, second
    first.stop()
    second.stop()


@pytest.fixture
async def pair(gateways: tuple[GatewayProcess, GatewayProcess]) -> AsyncIterator[Pair]:
    first, second = gateways
    limits = httpx.Limits(max_keepalive_connections=0)
    async with (
        round_robin([first.port, second.port]) as url,
        httpx.AsyncClient(base_url=url, timeout=WAIT_S, limits=limits) as client,
    ):
        yield Pair(first, second, url, client)
    first.assert_well()
    second.assert_well()
    first.empty()


@pytest.fixture
async def watchers() -> AsyncIterator[Crowd]:
    async with crowd() as made:
        yield made


async def test_what_goes_in_at_one_comes_out_at_both(pair: Pair, watchers: Crowd) -> None:
    await watchers.join(pair.url, pair.sink, groups=3, each=10, _window_="100")
    indexes = [int((await pair.request("POST", pair.sink, content=b"x")).text) for _ in range(60)]
    await watchers.wait_for(180)
    assert indexes == list(range(indexes[0], indexes[0] + 60))
    for group, got in watchers.got.items():
        assert got == dict.fromkeys(indexes, 1), group
    both = [gateway.http.get("/metrics").text for gateway in (pair.first, pair.second)]
    assert all("easel_watch_sockets 15.0" in text for text in both), "the load is shared"


async def test_a_commit_at_one_makes_room_at_the_other(pair: Pair, watchers: Crowd) -> None:
    await watchers.watch(pair.first.url, pair.sink, "one", "u", {"_window_": "1"})
    group = {"X-EAS-QueueService-Redis-Gid": "one"}
    for done in range(1, 6):
        put = await asyncio.to_thread(pair.second.http.post, pair.sink, content=b"x")
        await watchers.wait_for(done)
        assert watchers.got["one"][int(put.text)] == 1
        answer = pair.second.http.put(pair.sink, params={"_indexes_": put.text}, headers=group)
        assert answer.text == "OK"
    attributes = (await pair.request("GET", pair.sink, params={"_attrs_": "true"})).json()
    assert "Id: one, Todo: 0, Pending: 0, Aside: 0" in attributes.values()


async def test_synchronous_calls_are_answered_wherever_they_wait(pair: Pair, redis_url: str) -> None:
    bodies = [{"prompt": f"picture {number}"} for number in range(40)]
    calls = [asyncio.ensure_future(pair.request("POST", "/sdapi/v1/txt2img", json=body)) for body in bodies]
    async with answering_worker(redis_url, pair.service):
        answers = await asyncio.gather(*calls)
    assert [(answer.status_code, json.loads(answer.content)) for answer in answers] == [
        (200, body) for body in bodies
    ]


async def test_a_uid_moves_to_the_other_gateway(pair: Pair) -> None:
    await pair.request("POST", pair.sink, content=b"x")
    for gateway in (pair.first, pair.second, pair.first):
        async with crowd() as one:
            await one.watch(gateway.url, pair.sink, "g", "u", {"_window_": "5"})
            await one.wait_for(1)
            refused = await pair.request(
                "GET",
                pair.sink,
                params={"_watch_": "true"},
                headers={"X-EAS-QueueService-Redis-Uid": "u", "X-EAS-QueueService-Redis-Gid": "g"},
            )
            assert refused.status_code == 409, "at either one, while it lives"


async def test_a_killed_gateways_watcher_comes_back_at_the_other(start_process: StartProcess) -> None:
    stays, dies = start_process(watcher_ttl_s=2), start_process(watcher_ttl_s=2)
    for _ in range(3):
        await asyncio.to_thread(dies.http.post, dies.sink, content=b"x")
    lost = Crowd()
    await lost.watch(dies.url, dies.sink, "g", "u", {"_window_": "5"})
    await lost.wait_for(3)
    dies.process.kill()
    with pytest.raises(ConnectionClosedError):
        await lost.close()
    # What it had comes back when its time is over: to whoever watches the group.
    async with crowd() as watchers:
        await watchers.watch(stays.url, stays.sink, "g", "other", {"_window_": "5"})
        await watchers.wait_for(3)
        assert watchers.got["g"] == dict.fromkeys(range(1, 4), 1)
    stays.assert_well()


async def test_an_idempotency_key_counts_at_both(pair: Pair) -> None:
    async def put(body: bytes) -> httpx.Response:
        return await pair.request("POST", pair.source, content=body, headers={"Idempotency-Key": "k1"})

    answers = await asyncio.gather(*(put(b"same") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert (await put(b"another")).status_code == 422
    assert (await pair.request("GET", pair.source, params={"_count_": "true"})).text == "1"


async def test_a_task_is_followed_and_cancelled_at_the_other(pair: Pair, redis_url: str) -> None:
    put = await asyncio.to_thread(pair.first.http.post, pair.source, content=b"{}")
    request_id = put.headers["x-eas-queueservice-request-id"]
    queue = AsyncQueue(redis_url, service=pair.service)
    try:
        task = await queue.run(queue.tasks.reserve(worker="w", lease_ms=60_000))
        assert task is not None
        await queue.run(queue.tasks.start(task, lease_ms=60_000))
        seen: list[tuple[str, dict[str, object]]] = []
        async with (
            httpx.AsyncClient(base_url=pair.second.url, timeout=WAIT_S) as client,
            client.stream("GET", f"/easel/v1/tasks/{request_id}/events") as response,
        ):
            name = ""
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    seen.append((name, json.loads(line.removeprefix("data: "))))
                    if name == "state" and len(seen) == 1:
                        await queue.run(queue.tasks.progress(task, {"step": 7}))
                    elif name == "progress":
                        url = f"/easel/v1/tasks/{request_id}/cancel"
                        answer = await asyncio.to_thread(pair.first.http.post, url)
                        assert answer.json()["outcome"] == "stopping"
                        await queue.run(queue.tasks.finish(task, b"stopped", tags={"lastCode": "499"}))
        assert [name for name, _ in seen][:2] == ["state", "progress"]
        assert seen[1][1] == {"step": 7}
        assert seen[-1][0] == "end"
    finally:
        await queue.close()


async def test_a_waiting_task_is_cancelled_at_the_other(pair: Pair) -> None:
    call = asyncio.ensure_future(
        asyncio.to_thread(
            pair.first.http.post, "/sdapi/v1/txt2img", json={}, headers={"X-Request-Id": "mine"}
        )
    )
    async with (
        httpx.AsyncClient(base_url=pair.second.url, timeout=WAIT_S) as client,
        client.stream("GET", "/easel/v1/tasks/mine/events?wait_s=20") as response,
    ):
        assert response.status_code == 200
        answer = await asyncio.to_thread(pair.second.http.delete, "/easel/v1/tasks/mine")
        assert answer.json() == {"request_id": "mine", "outcome": "cancelled"}
    assert (await call).status_code == 499
