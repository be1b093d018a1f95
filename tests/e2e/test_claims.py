"""Fifty megabytes through a whole Easel: gateway, private Redis, worker, sink."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import redis

from .running import TASK_S, running

ECHO = "easel_worker.handlers.echo:EchoHandler"
BODY = secrets.token_bytes(50 * 1024 * 1024)


def test_a_body_of_fifty_megabytes_goes_through_and_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path, EASEL_CLAIM_GRACE_S="0", EASEL_HANDLERS=ECHO) as easel:
        service = f"/api/predict/{easel.service}"
        put = easel.http.post(f"{service}/easel/v1/echo", content=BODY, params={"task_id": "big"})
        assert put.status_code == 200, put.text
        polled = easel.http.get(f"{service}/sink", params={"_raw_": "true", "_timeout_": "60s"})
        assert polled.content == BODY

        with redis.Redis.from_url(easel.record["redis_url"]) as server:
            assert server.info("memory")["used_memory_peak"] < 20 * 1024 * 1024, "it never went through Redis"
        log = sum(path.stat().st_size for path in (tmp_path / "redis").rglob("*") if path.is_file())
        assert log < 1024 * 1024, "nor into its file"

        deadline = time.monotonic() + TASK_S
        while left := [path for path in (tmp_path / "claims").rglob("*") if path.is_file()]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)  # what the sweeper deletes has no event
