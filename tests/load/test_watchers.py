"""A thousand watchers and two hundred waiting callers on one gateway: nobody is lost, memory is bounded."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from ..hostile.conftest import StartProcess
from ..hostile.wire import open_watch
from .clients import WAIT_S, allow_files, answering_worker, crowd

MB = 1024 * 1024
KIB_PER_WATCHER = 130
"""About twice what one takes; what is measured is in benchmarks/results/watchers.md."""


@pytest.mark.parametrize(
    ("groups", "each", "puts", "callers"),
    [(10, 100, 100, 200), pytest.param(20, 150, 1000, 1000, marks=pytest.mark.slow)],
)
async def test_each_group_gets_each_item_and_each_caller_its_answer(
    start_process: StartProcess,
    redis_url: str,
    service: str,
    groups: int,
    each: int,
    puts: int,
    callers: int,
) -> None:
    allow_files(3 * (groups * each + callers) + 500)
    gateway = start_process()
    limits = httpx.Limits(max_connections=callers + 10)
    async with (
        crowd() as watchers,
        httpx.AsyncClient(base_url=gateway.url, timeout=WAIT_S, limits=limits) as client,
    ):
        await client.get("/healthz")
        before = gateway.resident()
        # A window of 1000, and no commit: what is missing or comes twice would be seen.
        await watchers.join(gateway.url, gateway.sink, groups=groups, each=each, _window_="1000")
        assert (gateway.resident() - before) / (groups * each) < KIB_PER_WATCHER * 1024

        bodies = [{"prompt": f"picture {number}"} for number in range(callers)]
        calls = [asyncio.ensure_future(client.post("/sdapi/v1/txt2img", json=body)) for body in bodies]
        indexes = [int((await client.post(gateway.sink, content=b"x" * 1000)).text) for _ in range(puts)]
        await watchers.wait_for(groups * puts)
        async with answering_worker(redis_url, service):
            answers = await asyncio.gather(*calls)
        assert [answer.status_code for answer in answers] == [200] * callers
        assert [json.loads(answer.content) for answer in answers] == bodies, "each its own"

        once = dict.fromkeys(indexes, 1)
        assert set(watchers.got) == {f"group{number}" for number in range(groups)}
        for group, got in watchers.got.items():
            assert got == once, group
        # How evenly depends on how much gathers before one of them looks; but one alone does not get most.
        assert max(watchers.shares.values()) < puts / 2, "a group's watchers share its items"
        assert gateway.resident() - before < 64 * MB + groups * each * KIB_PER_WATCHER * 1024
    gateway.assert_well()


async def test_a_slow_watcher_hurts_only_itself(start_process: StartProcess) -> None:
    gateway = start_process()
    with open_watch(
        gateway.port, f"{gateway.sink}?_watch_=true&_window_=1000", b"X-EAS-QueueService-Redis-Gid: group0"
    ):
        async with crowd() as watchers, httpx.AsyncClient(base_url=gateway.url, timeout=WAIT_S) as client:
            for _ in range(8):  # the stuck one fetches some of them, and reads none
                await client.post(gateway.sink, content=b"x" * MB)
            await watchers.join(
                gateway.url, gateway.sink, groups=2, each=20, _window_="50", _index_only_="true"
            )
            for _ in range(100):
                await client.post(gateway.sink, content=b"small")
            # Another group gets all, its own one what it has not taken.
            await watchers.wait_until(
                lambda: len(watchers.got["group1"]) == 108 and len(watchers.got["group0"]) >= 100
            )
            assert max(watchers.got["group0"].values()) == 1
    gateway.assert_well()


async def test_full_windows_are_filled_again_by_a_commit(start_process: StartProcess) -> None:
    gateway = start_process(watcher_ttl_s=60)  # nobody looks by itself within the test
    async with crowd() as watchers, httpx.AsyncClient(base_url=gateway.url, timeout=WAIT_S) as client:
        await watchers.join(gateway.url, gateway.sink, groups=1, each=20, _window_="1")
        group = {"X-EAS-QueueService-Redis-Gid": "group0"}
        committed: set[int] = set()
        for _ in range(100):
            await client.post(gateway.sink, content=b"x")
        for done in range(20, 101, 20):
            await watchers.wait_for(done)
            new = set(watchers.got["group0"]) - committed
            assert len(new) == 20, "all windows, and never more"
            indexes = ",".join(map(str, sorted(new)))
            await client.put(gateway.sink, params={"_indexes_": indexes}, headers=group)
            committed |= new
        assert watchers.got["group0"] == dict.fromkeys(range(1, 101), 1)
        assert set(watchers.shares.values()) == {5}, "fair: every one had its turn"
    gateway.assert_well()


async def test_what_a_leaving_watcher_had_goes_to_one_who_waits(start_process: StartProcess) -> None:
    gateway = start_process(watcher_ttl_s=60)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=WAIT_S) as client, crowd() as stay:
        async with crowd() as leave:
            await leave.join(gateway.url, gateway.sink, groups=1, each=1, _window_="100")
            for _ in range(30):
                await client.post(gateway.sink, content=b"x")
            await leave.wait_for(30)
            await stay.watch(gateway.url, gateway.sink, "group0", "other", {"_window_": "10"})
            await stay.watch(gateway.url, gateway.sink, "group0", "third", {"_window_": "20"})
        await stay.wait_for(30)
        assert stay.got["group0"] == dict.fromkeys(range(1, 31), 1)
    gateway.assert_well()
