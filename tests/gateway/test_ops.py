"""Health, metrics, request ids, and what happens when Redis is away."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Protocol

import pytest

from .conftest import Consumer, RunningGateway, StartGateway


class KillableRedis(Protocol):
    """What the shared fixture `own_redis` can do."""

    url: str

    def kill(self) -> None: ...

    def start(self) -> None: ...


async def test_alive_and_ready(gateway: RunningGateway) -> None:
    assert (await gateway.client.get("/healthz")).json() == {"status": "ok"}
    ready = await gateway.client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "redis": "ok", "store": "ok"})


async def test_readiness_names_a_store_that_cannot_be_written(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    gateway = await start_gateway(data_dir=blocked)
    response = await gateway.client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["redis"] == "ok"
    assert response.json()["store"] != "ok"


async def test_without_redis_everything_is_a_503_that_asks_to_retry(
    start_gateway: StartGateway, own_redis: KillableRedis
) -> None:
    gateway = await start_gateway(redis_url=own_redis.url)
    stored = await gateway.client.post(gateway.source, content=b"before")
    own_redis.kill()
    for response in (
        await gateway.client.post(gateway.source, content=b"x"),
        await gateway.client.get(gateway.sink),
        await gateway.client.post("/sdapi/v1/txt2img", json={"prompt": "x"}),
        await gateway.client.get("/easel/v1/workers"),
    ):
        assert response.status_code == 503, response.text
        assert int(response.headers["Retry-After"]) > 0
        assert response.json()["error"] == "RedisUnavailable"
        assert response.headers["X-Request-Id"]
    ready = await gateway.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["redis"] != "ok"
    assert (await gateway.client.get("/healthz")).status_code == 200
    assert "easel_redis_up 0.0" in (await gateway.client.get("/metrics")).text
    own_redis.start()
    status = await gateway.client.get(f"/easel/v1/tasks/{stored.headers['X-Request-Id']}")
    assert status.json()["status"] == "waiting", "what was accepted is still there"
    assert (await gateway.client.get("/readyz")).status_code == 200


async def test_a_waiting_caller_outlives_a_restart_of_redis(
    start_gateway: StartGateway, own_redis: KillableRedis
) -> None:
    url = own_redis.url
    gateway = await start_gateway(redis_url=url)
    headers = {"X-Request-Id": "patient"}
    call = asyncio.create_task(
        gateway.client.post("/sdapi/v1/txt2img", json={"prompt": "x"}, headers=headers, timeout=60)
    )
    await gateway.wait_stored("patient")
    own_redis.kill()
    own_redis.start()
    consumer = Consumer(gateway.queue, url)
    await consumer.finish(await consumer.begin(), b'{"images":["late"]}')
    assert (await call).json() == {"images": ["late"]}


async def test_metrics_count_by_route_and_show_the_queue(gateway: RunningGateway, consumer: Consumer) -> None:
    await gateway.client.post(gateway.source, content=b"x")
    await gateway.client.post(gateway.source, content=b"x")
    await gateway.put_result()
    await consumer.begin()
    await gateway.client.get("/nowhere")
    text = (await gateway.client.get("/metrics")).text
    lines = set(text.splitlines())
    assert {
        "easel_tasks_waiting 1.0",
        "easel_tasks_leased 1.0",
        "easel_sink_length 1.0",
        "easel_dead_letters 0.0",
        "easel_watchers 0.0",
        "easel_watch_sockets 0.0",
        "easel_redis_up 1.0",
        'easel_http_requests_total{method="POST",route="/api/predict/{rest:path}",status="200"} 3.0',
        'easel_http_requests_total{method="GET",route="unknown",status="404"} 1.0',
    } <= lines
    assert "easel_http_request_seconds_bucket" in text


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-1_2.3", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("with space", False),
        ("a/b", False),
        ("..", False),
    ],
)
async def test_a_sane_request_id_is_kept(gateway: RunningGateway, given: str, kept: bool) -> None:
    response = await gateway.client.get("/healthz", headers={"X-Request-Id": given})
    assert (response.headers["X-Request-Id"] == given) is kept
    assert response.headers["X-Process-Time"]


async def test_an_unknown_route_and_a_wrong_verb(gateway: RunningGateway) -> None:
    missing = await gateway.client.get("/sdapi/v1/nowhere")
    assert (missing.status_code, missing.json()["detail"]) == (404, "Not Found")
    assert missing.headers["X-Request-Id"]
    assert (await gateway.client.get("/sdapi/v1/txt2img")).status_code == 405


async def test_nothing_is_redirected(gateway: RunningGateway) -> None:
    assert (await gateway.client.post("/sdapi/v1/txt2img/")).status_code == 404
    assert (await gateway.client.get(f"{gateway.sink}/")).status_code == 204


async def test_a_bug_is_a_500_without_its_traceback(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.server.app.state.gateway.metrics, "render", None)
    response = await gateway.client.get("/metrics")
    assert response.status_code == 500
    assert response.json()["error"] == "TypeError"
    assert "NoneType" not in response.text
    assert response.headers["X-Request-Id"]


async def test_the_page_asks_nobody_else(gateway: RunningGateway) -> None:
    page = await gateway.client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    for address in ("/webui/easel.css", "/webui/easel.js"):
        assert address in page.text
        file = await gateway.client.get(address)
        assert file.status_code == 200
        assert "://" not in file.text
    assert "://" not in page.text


async def test_the_page_takes_samplers_from_the_service(gateway: RunningGateway) -> None:
    page, script = [await gateway.client.get(at) for at in ("/", "/webui/easel.js")]
    names = {sampler["name"] for sampler in (await gateway.client.get("/sdapi/v1/samplers")).json()}
    standing = re.findall(r"<option>([^<]+)</option>", page.text)
    assert standing, "the page works before the list is there"
    assert set(standing) < names
    assert 'fetch("/sdapi/v1/samplers")' in script.text


async def test_a_stopping_gateway_ends_long_polls_and_streams(gateway: RunningGateway) -> None:
    await gateway.client.post(gateway.source, content=b"x", headers={"X-Request-Id": "t"})
    events = gateway.follow("t")
    await anext(events)
    poll = asyncio.create_task(gateway.client.get(gateway.sink, params={"_timeout_": "60s"}, timeout=60))
    await asyncio.wait({poll}, timeout=0.2)
    await asyncio.wait_for(gateway.stop(), 10)
    assert (await poll).status_code == 204
    assert [name async for name, _ in events] == []


async def test_the_api_page_needs_no_other_server(gateway: RunningGateway) -> None:
    page = await gateway.client.get("/docs")
    assert page.status_code == 200
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert any(link.endswith("swagger-ui-bundle.js") for link in links)
    for link in links:
        assert link.startswith("/"), link
        assert (await gateway.client.get(link)).status_code == 200, link
