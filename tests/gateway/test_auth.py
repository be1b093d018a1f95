"""Who may come in."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from .conftest import RunningGateway, StartGateway

TOKEN = "secret-token"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
async def guarded(start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(tokens=f"alice:{TOKEN},other-token", public_paths=("/healthz",))


@pytest.mark.parametrize(
    "shown",
    [TOKEN, f"Bearer {TOKEN}", f"bearer {TOKEN}", basic("", TOKEN), basic("anybody", TOKEN), "other-token"],
)
async def test_every_form_of_a_token_is_let_in(guarded: RunningGateway, shown: str) -> None:
    response = await guarded.client.get(guarded.sink, headers={"Authorization": shown})
    assert response.status_code == 204


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "wrong",
        "Bearer wrong",
        "Bearer",
        basic("alice", "wrong"),
        basic(TOKEN, ""),
        "Basic !!!",
        f"Basic {TOKEN}",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "EAS x",
        TOKEN[:-1],
        f"{TOKEN}x",
    ],
)
async def test_anything_else_is_refused_in_the_envelope(guarded: RunningGateway, shown: str) -> None:
    response = await guarded.client.get(guarded.sink, headers={"Authorization": shown} if shown else {})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="Easel"'
    assert set(response.json()) == {"error", "detail", "body", "errors"}
    assert response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/openapi.json", "/metrics", "/readyz", "/easel/v1/workers", "/nowhere", "/healthz/"],
)
async def test_every_route_wants_a_token(guarded: RunningGateway, path: str) -> None:
    assert (await guarded.client.get(path)).status_code == 401
    assert (await guarded.client.post(path)).status_code == 401


async def test_a_public_path_needs_none(guarded: RunningGateway) -> None:
    assert (await guarded.client.get("/healthz")).status_code == 200


async def test_a_websocket_is_refused_before_it_is_accepted(guarded: RunningGateway) -> None:
    url = f"{guarded.socket_url}{guarded.sink}?_watch_=true"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url)
    assert refused.value.response.status_code == 401
    async with connect(url, additional_headers={"Authorization": TOKEN}):
        pass


async def test_the_tokens_name_is_the_tasks_user(guarded: RunningGateway) -> None:
    for token in (TOKEN, "other-token"):
        await guarded.client.post(guarded.source, content=b"x", headers={"Authorization": token})
    tasks = [
        await guarded.queue.run(guarded.queue.tasks.reserve(worker="w", lease_ms=9000)) for _ in range(2)
    ]
    assert [task.meta["user"] for task in tasks if task] == ["alice", ""]


async def test_the_signature_of_the_sdks_predict_client_is_accepted(guarded: RunningGateway) -> None:
    body = b"payload"
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    lines = ["POST", md5, "application/octet-stream", "Mon, 01 Jan 2024 00:00:00 GMT", guarded.source]
    digest = hmac.new(TOKEN.encode(), "\n".join(lines).encode(), hashlib.sha1).digest()
    headers = {
        "Authorization": "EAS " + base64.b64encode(digest).decode(),
        "Content-MD5": md5,
        "Content-Type": lines[2],
        "Date": lines[3],
    }
    assert (await guarded.client.post(guarded.source, content=body, headers=headers)).status_code == 200
    headers["Date"] = "Tue, 02 Jan 2024 00:00:00 GMT"
    assert (await guarded.client.post(guarded.source, content=body, headers=headers)).status_code == 401


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 200), ("same-origin", 200), ("none", 200)]
)
async def test_another_sites_page_cannot_use_its_visitors_browser(
    gateway: RunningGateway, site: str, status: int
) -> None:
    marked = {"Sec-Fetch-Site": site}
    assert (await gateway.client.post(gateway.source, content=b"x", headers=marked)).status_code == status
    assert (await gateway.client.get("/", headers=marked)).status_code == 200, "a link to the page works"
    params = {"_raw_": "true"}
    assert (await gateway.client.get(gateway.source, headers=marked, params=params)).status_code == status
    url = f"{gateway.socket_url}{gateway.sink}?_watch_=true"
    if status == 200:
        async with connect(url, additional_headers=marked):
            return
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=marked)
    assert refused.value.response.status_code == status


async def test_without_tokens_nobody_is_asked(gateway: RunningGateway) -> None:
    assert (await gateway.client.get("/healthz")).status_code == 200
    shown = {"Authorization": "whatever"}  # clients send their token always
    assert (await gateway.client.get(gateway.sink, headers=shown)).status_code == 204


@pytest.fixture
async def with_passwords(start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(tokens=f"alice:{TOKEN}", api_auth="bob:bobs-secret, carol:other secret")


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (basic("bob", "bobs-secret"), 200),
        (basic("carol", "other secret"), 200),
        (basic("bob", TOKEN), 200),  # a token is a password for any name
        (TOKEN, 200),
        (basic("bob", "other secret"), 401),
        (basic("alice", "bobs-secret"), 401),
        ("bobs-secret", 401),
        ("Bearer bob:bobs-secret", 401),
        (basic("bob", ""), 401),
        ("", 401),
    ],
)
@pytest.mark.parametrize("path", ["/sdapi/v1/options", "/sdapi/v1/loras", "/easel/v1/workers"])
async def test_passwords_open_every_route_beside_the_tokens(
    with_passwords: RunningGateway, path: str, shown: str, status: int
) -> None:
    headers = {"Authorization": shown} if shown else {}
    response = await with_passwords.client.get(path, headers=headers)
    assert response.status_code == status, response.text


async def test_a_passwords_user_is_the_user_of_what_they_send(with_passwords: RunningGateway) -> None:
    headers = {"Authorization": basic("bob", "bobs-secret")}
    put = await with_passwords.client.post(with_passwords.source, content=b"x", headers=headers)
    assert put.status_code == 200
    task = await with_passwords.queue.run(with_passwords.queue.tasks.reserve(worker="w", lease_ms=1000))
    assert task is not None
    assert task.meta["user"] == "bob"


@pytest.mark.parametrize(
    "settings",
    [
        {"tokens": f"alice:{TOKEN}"},
        {"api_auth": "bob:bobs-secret"},
        {"tokens": TOKEN, "api_auth": "b:four"},
        {},
    ],
)
async def test_our_own_probes_are_let_in(start_gateway: StartGateway, settings: dict[str, str]) -> None:
    gateway = await start_gateway(**settings)
    shown = gateway.settings.own_authorization()
    response = await gateway.client.get("/readyz", headers={"Authorization": shown} if shown else {})
    assert response.status_code == 200
    assert bool(shown) == bool(settings)
