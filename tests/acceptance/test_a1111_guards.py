"""What a stranger, a hostile path and a hostile address meet: every route, with tokens set, over HTTP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..e2e.running import Running, body_of
from .a1111 import (
    ALICE,
    BASE,
    BOB,
    IMG2IMG,
    TXT2IMG,
    PictureHost,
    data_uri,
    gradient,
    img2img_base,
    rendered,
)

ONE_STEP = {**BASE, "steps": 1, "seed": 1}


def test_every_route_wants_a_token(a1111: Running) -> None:
    document = a1111.http.get("/openapi.json").json()
    calls = [(method, path) for path, item in document["paths"].items() for method in item]
    calls += [("get", "/docs"), ("get", "/openapi.json"), ("get", "/redoc"), ("get", "/")]
    assert len(calls) > 80
    with httpx.Client(base_url=a1111.url) as stranger:
        for method, path in calls:
            target = re.sub(r"\{[^}]*\}", "x", path)
            for auth in (None, (ALICE[0], BOB[1]), ("", "")):
                response = stranger.request(method, target, auth=auth)
                assert response.status_code == 401, (method, path, auth)
                assert response.json()["detail"]
                assert a1111.service not in response.text
            wrong = stranger.request(method, target, headers={"Authorization": "no-such-token"})
            assert wrong.status_code == 401, (method, path)


def test_a_password_opens_what_a1111_clients_use(a1111: Running) -> None:
    with httpx.Client(base_url=a1111.url, auth=ALICE) as alice:
        for path in ("/sdapi/v1/options", "/sdapi/v1/loras", "/internal/ping", "/openapi.json"):
            assert alice.get(path).status_code == 200
        assert rendered(alice, TXT2IMG, ONE_STEP)[0]["images"]


def outside(folder: Path, before: set[Path]) -> list[Path]:
    """Files that are new beside the data directory."""
    return [path for path in folder.iterdir() if path not in before]


@pytest.mark.parametrize(
    "save_dir",
    [
        "../out",
        "outputs/../../out",
        "/etc",
        "/code/stable-diffusion-webui/data-oss/../../../etc",
        "/code/stable-diffusion-webui",
        "~/out",
        "..\\out",
        "out\x00puts",
        "",
        "x" * 600,
    ],
)
def test_save_dir_stays_in_the_storage(a1111: Running, save_dir: str) -> None:
    parent = a1111.data_dir.parent
    before = set(parent.iterdir())
    response = a1111.http.post(TXT2IMG, json={**ONE_STEP, "alwayson_scripts": {"save_dir": save_dir}})
    assert response.status_code == 422
    assert "save_dir" in response.text
    assert outside(parent, before) == []


@pytest.mark.parametrize(
    "folder", ["../out", "/etc/easel", "a/../../out", "models/Stable-diffusion/../../.."]
)
def test_output_folders_stay_in_the_storage(a1111: Running, folder: str) -> None:
    for option in ("outdir_samples", "outdir_txt2img_samples", "outdir_grids"):
        body = {**ONE_STEP, "save_images": True, "override_settings": {option: folder}}
        response = a1111.http.post(TXT2IMG, json=body)
        assert response.status_code == 422, response.text
        assert response.json()["detail"].startswith(f"override_settings.{option}: ")
        for_all = a1111.http.post("/sdapi/v1/options", json={option: folder})
        assert for_all.status_code == 422
        assert for_all.json()["detail"][0]["loc"] == ["body", option]


@pytest.mark.parametrize(
    "pattern", ["../../../[seed]", "/etc/[seed]", "..", "[prompt]", "%2e%2e/[seed]", "a/./../../[prompt]"]
)
def test_file_name_patterns_stay_in_their_folder(a1111: Running, pattern: str) -> None:
    parent = a1111.data_dir.parent
    before = set(parent.iterdir())
    outputs = a1111.data_dir / "outputs"
    known = set(outputs.rglob("*.png"))
    overrides = {"samples_filename_pattern": pattern, "directories_filename_pattern": pattern}
    body = {**ONE_STEP, "prompt": "../../x", "save_images": True, "override_settings": overrides}
    rendered(a1111.http, TXT2IMG, body)
    (new,) = set(outputs.rglob("*.png")) - known
    assert new.is_relative_to(outputs / "txt2img-images")
    assert ".." not in new.parts
    assert outside(parent, before) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1/a.png", "Request to local resource not allowed"),
        ("http://localhost/a.png", "Request to local resource not allowed"),
        ("http://127.1/a.png", "Request to local resource not allowed"),
        ("http://2130706433/a.png", "Request to local resource not allowed"),
        ("http://0.0.0.0/a.png", "Request to local resource not allowed"),
        ("http://[::1]/a.png", "Request to local resource not allowed"),
        ("http://[::ffff:127.0.0.1]/a.png", "Request to local resource not allowed"),
        ("http://169.254.169.254/latest/meta-data/", "Request to local resource not allowed"),
        ("http://10.0.0.1/a.png", "Request to local resource not allowed"),
        ("http://127.0.0.1:22/a.png", "Requests not allowed"),
        ("http://user:word@127.0.0.1/a.png", "Invalid image url"),
        ("file:///etc/passwd", "Invalid encoded image"),
        ("ftp://127.0.0.1/a.png", "Invalid encoded image"),
        ("gopher://127.0.0.1/a.png", "Invalid encoded image"),
        ("data:text/html;base64,PGI+", "Invalid encoded image"),
    ],
)
def test_addresses_inside_are_not_fetched(a1111: Running, address: str, message: str) -> None:
    without = {**img2img_base(), "steps": 1, "init_images": []}
    for body in (
        {**without, "init_images": [address]},
        {**without, "alwayson_scripts": {"image_link": address}},
        {**img2img_base(), "mask": address},
    ):
        response = a1111.http.post(IMG2IMG, json=body)
        assert response.status_code == 422
        assert message in response.text


@pytest.mark.parametrize("place", ["image_link", "init_images", "mask"])
def test_a_redirect_leads_nowhere_else(a1111: Running, pictures: PictureHost, place: str) -> None:
    leading = f"{pictures.url}/to?{a1111.url}/metrics"
    body = {**img2img_base(), "steps": 1}
    if place == "image_link":
        body |= {"init_images": [], "alwayson_scripts": {"image_link": leading}}
    else:
        body |= {place: leading if place == "mask" else [leading]}
    response = a1111.http.post(IMG2IMG, json=body)
    assert response.status_code == 422
    assert "not allowed" in response.text
    assert "easel_http" not in response.text, "nothing of what lies there is told"


def test_a_queued_task_fetches_no_more_than_a_direct_one(a1111: Running) -> None:
    # The EAS address takes any bytes, so here the worker is the first that looks.
    body = '{"alwayson_scripts": {"image_link": "http://169.254.169.254/"}, "steps": 1}'
    put = a1111.http.post(f"/api/predict/{a1111.service}{IMG2IMG}", params={"task_id": "x"}, content=body)
    assert put.status_code == 200
    (item,) = a1111.sink(1)
    assert item["tags"]["lastCode"] == "422"
    assert "Request to local resource not allowed" in body_of(item)["parameters"]["error_msg"]


def test_png_info_fetches_nothing(a1111: Running, pictures: PictureHost) -> None:
    asked = len(pictures.asked)
    response = a1111.http.post("/sdapi/v1/png-info", json={"image": f"{pictures.url}/a.png"})
    assert response.status_code == 422
    assert len(pictures.asked) == asked


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", data_uri(gradient())[:-400]),
        ("image", "data:image/png,raw"),
        ("upscaling_resize", 1e9),
        ("upscaling_resize", "NaN"),
    ],
)
def test_hostile_extras(a1111: Running, field: str, value: Any) -> None:
    body = {"image": data_uri(gradient()), "upscaler_1": "Lanczos", field: value}
    response = a1111.http.post("/sdapi/v1/extra-single-image", json=body)
    assert response.status_code == 422, response.text
    assert field in response.text
