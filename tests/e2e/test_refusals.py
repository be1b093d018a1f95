"""Bad input: a clear refusal that names the field, and nothing stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from .running import Running, body_of, running

SMALL = {"prompt": "x", "steps": 2, "width": 64, "height": 64}


@pytest.mark.parametrize(
    ("change", "status", "field", "says"),
    [
        ({"width": 100_000}, 422, "width", "at most"),
        ({"sampler_name": "no such sampler"}, 400, "sampler_name", "Sampler not found"),
        ({"alwayson_scripts": {"save_dir": "../../etc"}}, 422, "save_dir", "'..'"),
        ({"alwayson_scripts": {"save_dir": "/etc"}}, 422, "save_dir", "mounted path"),
        ({"steps": "many"}, 422, "steps", "integer"),
        ({"alwayson_scripts": {"no such script": {}}}, 422, "no such script", "not found"),
    ],
)
@pytest.mark.parametrize("query", ["", "?task_id=1"])
def test_refused_before_anything_is_stored(
    easel: Running, change: dict[str, Any], status: int, field: str, says: str, query: str
) -> None:
    response = easel.http.post(f"/sdapi/v1/txt2img{query}", json={**SMALL, **change})
    assert response.status_code == status
    assert field in response.text
    assert says in response.text
    assert response.headers["X-Request-Id"]
    assert easel.attributes("in")["stream.length"] == "0"


@pytest.mark.parametrize("body", [b"{broken", b"", b"[1, 2]", b'{"cfg_scale": NaN}', b"\xff\xfe\x00"])
def test_broken_json_is_refused(easel: Running, body: bytes) -> None:
    response = easel.http.post("/sdapi/v1/txt2img?task_id=1", content=body)
    if body == b"":
        # An empty body is every field at its default, as A1111 takes it: only a queued one is tried here.
        assert response.status_code == 200
        easel.http.post(f"/easel/v1/tasks/{response.headers['X-Request-Id']}/cancel")
        easel.sink(1)
        return
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"{broken", "422", "not JSON"),
        (b'{"width": 100000}', "422", "width"),
        (b'{"sampler_name": "nonsense"}', "400", "Sampler not found"),
        (b'{"alwayson_scripts": {"save_dir": "../../etc"}}', "422", "save_dir"),
        (b"\x89PNG\r\n", "422", "not JSON"),
    ],
)
def test_what_is_wrong_with_a_stored_body_is_told_in_the_sink(
    easel: Running, body: bytes, code: str, says: str
) -> None:
    put = easel.http.post(f"/api/predict/{easel.service}/sdapi/v1/txt2img?task_id=bad", content=body)
    assert put.status_code == 200
    (item,) = easel.sink(1)
    assert item["tags"] == {
        "task_id": "bad",
        "requestId": put.headers["X-Eas-Queueservice-Request-Id"],
        "lastCode": code,
    }
    answer = body_of(item)
    assert says in answer["parameters"]["error_msg"]
    assert answer["parameters"]["status"] == int(code)
    assert answer["images"] == []


def test_an_unknown_path_is_told_in_the_sink(easel: Running) -> None:
    easel.http.post(f"/api/predict/{easel.service}/no/such/path", content=b"{}")
    (item,) = easel.sink(1)
    assert item["tags"]["lastCode"] == "404"


def test_tokens_guard_every_route(tmp_path: Path) -> None:
    with running(tmp_path / "data", workers=0, token="alice:right-token") as easel:
        anonymous = httpx.Client(base_url=easel.url)
        paths = [
            "/",
            "/docs",
            "/openapi.json",
            "/metrics",
            "/healthz",
            "/easel/v1/workers",
            "/api/predict/easel/sink",
        ]
        for path in paths:
            assert anonymous.get(path).status_code == 401, path
        assert anonymous.post("/sdapi/v1/txt2img", json=SMALL).status_code == 401
        wrong = anonymous.get("/healthz", headers={"Authorization": "wrong-token"})
        assert wrong.status_code == 401
        assert wrong.json()["error"]
        assert wrong.headers["WWW-Authenticate"].startswith("Basic")
        for header in ("right-token", "Bearer right-token"):
            assert anonymous.get("/healthz", headers={"Authorization": header}).status_code == 200
        assert anonymous.get("/healthz", auth=("anyone", "right-token")).status_code == 200
        assert "right-token" not in "".join(easel.log)
