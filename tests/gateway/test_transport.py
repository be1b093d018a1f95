"""What every answer has: its time, compression, and the origins that may read it."""

from __future__ import annotations

import re

import httpx
import pytest

from easel_gateway.settings import GatewaySettings

from .conftest import RunningGateway, StartGateway

HOME = "https://app.example.com"
PUT = "/sdapi/v1/options"


async def raw(gateway: RunningGateway, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """An answer and its body as it was on the wire."""
    headers = {"Accept-Encoding": "identity", **headers}
    async with gateway.client.stream("GET", path, headers=headers) as response:
        return response, b"".join([chunk async for chunk in response.aiter_raw()])


async def test_every_answer_says_how_long_it_took(gateway: RunningGateway) -> None:
    for path in ("/healthz", "/nothing", "/sdapi/v1/samplers"):
        taken = (await gateway.client.get(path)).headers["X-Process-Time"]
        assert re.fullmatch(r"\d+\.\d{4}", taken)


@pytest.mark.parametrize("accepted", ["gzip", "deflate, gzip;q=0.5", "GZIP", "br, gzip"])
async def test_a_long_answer_is_compressed_for_who_takes_it(gateway: RunningGateway, accepted: str) -> None:
    plain, text = await raw(gateway, "/sdapi/v1/options")
    packed, body = await raw(gateway, "/sdapi/v1/options", **{"Accept-Encoding": accepted})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert int(packed.headers["Content-Length"]) == len(body) < len(text)
    assert "Content-Encoding" not in plain.headers
    decoded = await gateway.client.get("/sdapi/v1/options", headers={"Accept-Encoding": accepted})
    assert decoded.content == text


@pytest.mark.parametrize(
    ("path", "accepted"),
    [
        ("/healthz", "gzip"),  # too short
        ("/sdapi/v1/options", "identity"),
        ("/sdapi/v1/options", "gzip;q=0"),
        ("/sdapi/v1/options", "gzip;q=0.0, *"),
        ("/sdapi/v1/options", "gzipped"),
    ],
)
async def test_others_are_not(gateway: RunningGateway, path: str, accepted: str) -> None:
    response, _ = await raw(gateway, path, **{"Accept-Encoding": accepted})
    assert "Content-Encoding" not in response.headers


async def test_a_very_long_answer_is_compressed_whole(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    gateway.settings.data_dir.mkdir(parents=True)
    rows = "".join(f"style{number},prompt {number},negative\n" for number in range(5000))
    (gateway.settings.data_dir / "styles.csv").write_text("name,prompt,negative_prompt\n" + rows)
    response, body = await raw(gateway, "/sdapi/v1/prompt-styles", **{"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert len(body) > 32 * 1024 / 4
    assert len((await gateway.client.get("/sdapi/v1/prompt-styles")).json()) == 5000


async def test_a_part_of_a_file_is_the_part_that_was_asked_for(gateway: RunningGateway) -> None:
    path = "/docs-assets/swagger-ui.css"
    whole, _ = await raw(gateway, path, **{"Accept-Encoding": "gzip"})
    part, body = await raw(gateway, path, **{"Accept-Encoding": "gzip", "Range": "bytes=0-1999"})
    assert (part.status_code, len(body)) == (206, 2000)
    assert "Content-Encoding" not in part.headers
    assert whole.status_code == 200


async def test_stored_bodies_go_out_as_they_came_in(gateway: RunningGateway) -> None:
    await gateway.put_result("x" * 5000)
    response, body = await raw(gateway, gateway.sink, **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in response.headers
    assert len(body) > 5000


@pytest.fixture(params=[{"cors_origins": (HOME,)}, {"cors_origins_regex": r"https://\w+\.example\.com"}])
async def open_to_one(request: pytest.FixtureRequest, start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(tokens="secret-token", **request.param)


async def test_a_page_of_an_allowed_origin_may_call(open_to_one: RunningGateway) -> None:
    asked = await open_to_one.client.options(
        PUT,
        headers={
            "Origin": HOME,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert asked.status_code == 200, "the browser asks before it shows a token"
    assert asked.headers["Access-Control-Allow-Origin"] == HOME
    assert asked.headers["Access-Control-Allow-Credentials"] == "true"
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    browser = {"Origin": HOME, "Sec-Fetch-Site": "cross-site"}
    done = await open_to_one.client.post(PUT, json={}, headers={**browser, "Authorization": "secret-token"})
    assert (done.status_code, done.headers["Access-Control-Allow-Origin"]) == (200, HOME)
    refused = await open_to_one.client.post(PUT, json={}, headers=browser)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, HOME)


@pytest.mark.parametrize("origin", ["https://evil.com", "https://app.example.com.evil.com", "null", ""])
async def test_a_page_of_another_may_not(open_to_one: RunningGateway, origin: str) -> None:
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Authorization": "secret-token"}
    response = await open_to_one.client.post(PUT, json={}, headers=headers)
    assert response.status_code == 403
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_no_origin_is_allowed_by_default(gateway: RunningGateway) -> None:
    response = await gateway.client.get(PUT, headers={"Origin": HOME})
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    "wrong",
    [
        {"cors_origins": "app.example.com"},
        {"cors_origins": "https://app.example.com/page"},
        {"cors_origins_regex": "("},
        {"api_auth": "bob"},
        {"api_auth": "bob:"},
        {"api_auth": ":secret"},
        {"api_auth": "bob:a:b:c"},
        {"api_auth": "bob:abc"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GatewaySettings(**wrong)  # type: ignore[arg-type]


def test_a_password_is_enough_to_be_reachable() -> None:
    settings = GatewaySettings(host="0.0.0.0", api_auth="bob:secret")  # noqa: S104 - that is the point
    assert settings.passwords() == {"bob": "secret"}
