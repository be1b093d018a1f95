"""A watcher as a process of its own: WebSocket in, a little work, commit by HTTP, everything in its diary.

::

    python watcher.py UID WINDOW SEED DIARY SINK_URL…

It reads ahead as an SDK does, so its window fills up; it commits in order. When its connection breaks it
drops what it has not begun, and watches again through any of the gateways.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

sys.path.insert(0, str(Path(__file__).parent))
from diary import Diary  # type: ignore[import-not-found]  # run as a program

GROUP = "eas"
PING_S, PONG_S = 0.5, 2.0
"""How soon it notices a gateway that hangs."""
HTTP_S = 3.0
PAUSE_S = 0.05
WORK_S = 0.01


class Watcher:
    """One consumer."""

    def __init__(self, uid: str, window: int, seed: int, diary: Diary, urls: list[str]) -> None:
        self._headers = {
            "X-EAS-QueueService-Redis-Uid": uid,
            "X-EAS-QueueService-Redis-Gid": GROUP,
            "Accept": "application/json",
        }
        self._query = f"_watch_=true&_index_=0&_window_={window}"
        self._choose = random.Random(seed)
        self._diary = diary
        self._urls = urls

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            url = self._choose.choice(self._urls)
            try:
                await self._watch(url)
            except (OSError, WebSocketException, asyncio.TimeoutError) as error:
                print(f"not watching: {type(error).__name__}: {error}", flush=True)
            await asyncio.sleep(PAUSE_S)

    async def _watch(self, url: str) -> None:
        connection = os.urandom(6).hex()
        self._diary.note("open", connection)
        async with connect(
            f"ws{url.removeprefix('http')}?{self._query}",
            additional_headers=self._headers,
            compression=None,
            open_timeout=HTTP_S,
            close_timeout=PAUSE_S,
            ping_interval=PING_S,
            ping_timeout=PONG_S,
        ) as socket:
            print(f"watching {url}", flush=True)
            received: asyncio.Queue[int] = asyncio.Queue()
            committing = asyncio.create_task(self._commit_all(connection, received))
            try:
                await self._receive(connection, socket, received)
            finally:
                committing.cancel()
                await asyncio.gather(committing, return_exceptions=True)

    async def _receive(self, connection: str, socket: ClientConnection, received: asyncio.Queue[int]) -> None:
        async for frame in socket:
            item = json.loads(frame)
            tags = item["tags"]
            code = tags.get("lastCode", 200)
            self._diary.note("got", connection, item["index"], tags["requestId"], code)
            received.put_nowait(item["index"])

    async def _commit_all(self, connection: str, received: asyncio.Queue[int]) -> None:
        while True:
            index = await received.get()
            await asyncio.sleep(WORK_S)
            self._diary.note("commit", connection, index)
            await asyncio.to_thread(self._commit, index)
            self._diary.note("acked", connection, index)

    def _commit(self, index: int) -> None:
        """Commit until it is answered: a commit may be repeated."""
        while not self._sent(index):
            time.sleep(PAUSE_S)

    def _sent(self, index: int) -> bool:
        url = urlsplit(self._choose.choice(self._urls))
        http = HTTPConnection(url.netloc, timeout=HTTP_S)
        try:
            http.request("PUT", f"{url.path}?_indexes_={index}", headers=self._headers)
            answer = http.getresponse()
            if answer.status not in {200, 503}:
                print(f"unexpected: {answer.status} {answer.read()!r}", flush=True)
            return answer.status == 200 and answer.read() == b"OK"
        except (OSError, HTTPException):
            return False
        finally:
            http.close()


def main() -> None:
    """Entry of the process."""
    uid, window, seed, diary, *urls = sys.argv[1:]
    asyncio.run(Watcher(uid, int(window), int(seed), Diary(Path(diary)), urls).run())


if __name__ == "__main__":
    main()
