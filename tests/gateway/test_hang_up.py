"""Work that is broken off because its caller is gone or its time is over."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from easel_gateway.edge.hang_up import HangUp


class Stubborn:
    """Swallows its first cancellation, as redis-py does while it connects."""

    def __init__(self) -> None:
        self.cancels = 0
        self.begun = asyncio.Event()

    async def work(self) -> None:
        while True:
            try:
                self.begun.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancels += 1
                if self.cancels == 2:
                    raise


async def never() -> None:
    await asyncio.Event().wait()


async def test_a_time_out_ends_work_that_swallowed_its_cancellation() -> None:
    stubborn, here = Stubborn(), asyncio.create_task(never())
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(HangUp(here).race(stubborn.work()), 0.05)
    assert stubborn.cancels == 2
    here.cancel()


async def test_a_hang_up_ends_it_too() -> None:
    stubborn, gone = Stubborn(), asyncio.create_task(never())
    race = asyncio.create_task(HangUp(gone).race(stubborn.work()))
    await stubborn.begun.wait()
    gone.cancel()
    assert await asyncio.wait_for(race, 20) is None
    assert stubborn.cancels == 2
    with contextlib.suppress(asyncio.CancelledError):
        await gone
