"""The errors of A1111's API, row by row, as docs/compatibility.md promises them: status and message.

A row whose status is not A1111's says so. Easel answers 422 wherever the client can mend its request, where
A1111 has 500 or renders something else without a word.
"""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from ..e2e.running import Running
from .a1111 import ALICE, BASE, IMG2IMG, TXT2IMG, data_uri, gradient, img2img_base, rendered

URL = {"init_images": ["http://127.0.0.1:80/a.png"]}
EXTRA_ARGS = [True, 1, 0.5, 4, 0, 0.5, 2, "beyond", {}]
SINGLE = "/sdapi/v1/extra-single-image"
INTERROGATE = "/sdapi/v1/interrogate"
OPTIONS = "/sdapi/v1/options"
PNG_INFO = "/sdapi/v1/png-info"
PICTURE = data_uri(gradient())
ABSENT = "no upscaler 'no such'"
NO_CHECKPOINT = "no checkpoint 'no such'"


def told(response: httpx.Response) -> str:
    """The message, of either shape: FastAPI's list for what is wrong with a field, else A1111's envelope."""
    detail = response.json()["detail"]
    return "; ".join(f"{problem['loc']} {problem['msg']}" for problem in detail) if isinstance(
        detail, list
    ) else str(detail)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "change", "status", "message"),
    [
        pytest.param(TXT2IMG, {"script_name": "no such"}, 422, "Script 'no such' not found", id="script"),
        pytest.param(
            TXT2IMG, {"script_name": "SD upscale"}, 422, "'SD upscale' not found", id="script of img2img"
        ),
        pytest.param(
            TXT2IMG,
            {"alwayson_scripts": {"no such": {"args": []}}},
            422,
            "Script 'no such' not found",
            id="always-on script",
        ),
        pytest.param(
            TXT2IMG,
            {"alwayson_scripts": {"no such": None}},
            422,
            "Script 'no such' not found",
            id="always-on script without arguments",
        ),
        pytest.param(
            TXT2IMG,
            {"alwayson_scripts": {"X/Y/Z plot": {"args": []}}},
            422,
            "Cannot have a selectable script in the always on scripts params",
            id="selectable script as always-on",
        ),
        pytest.param(IMG2IMG, {"init_images": None}, 404, "Init image not found", id="init image missing"),
        pytest.param(IMG2IMG, {"init_images": []}, 404, "Init image not found", id="init images empty"),
        # 500 in A1111
        pytest.param(IMG2IMG, {"init_images": ["nonsense"]}, 422, "Invalid encoded image", id="not base64"),
        pytest.param(
            IMG2IMG,
            {"init_images": [base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()]},
            422,
            "Invalid encoded image",
            id="broken picture",
        ),
        pytest.param(IMG2IMG, {"mask": "nonsense"}, 422, "Invalid encoded image", id="mask"),
        pytest.param(IMG2IMG, URL, 422, "Request to local resource not allowed", id="local address"),
        pytest.param(
            IMG2IMG,
            {"init_images": [PICTURE, PICTURE]},
            422,
            "2 images for a batch_size of 1",
            id="more init images than batch_size",
        ),
        pytest.param(
            TXT2IMG, {"enable_hr": True, "hr_upscaler": "no such"}, 422, ABSENT, id="hr_upscaler"
        ),
        pytest.param(
            TXT2IMG,
            {"enable_hr": True, "hr_upscaler": "R-ESRGAN 4x+"},
            422,
            "needs a file that is missing",
            id="hr_upscaler without its file",
        ),
        pytest.param(
            TXT2IMG,
            {"enable_hr": True, "hr_checkpoint_name": "no such"},
            422,
            "hr_checkpoint_name: no checkpoint 'no such'",
            id="hr_checkpoint_name",
        ),
        pytest.param(
            TXT2IMG,
            {"refiner_checkpoint": "no such", "refiner_switch_at": 0.5},
            422,
            "refiner_checkpoint: no checkpoint 'no such'",
            id="refiner_checkpoint",
        ),
        pytest.param(SINGLE, {"upscaler_1": "no such"}, 422, ABSENT, id="extras' upscaler"),
        pytest.param(OPTIONS, {"sd_model_checkpoint": "no such"}, 422, NO_CHECKPOINT, id="options"),
        pytest.param(OPTIONS, {"no_such": 1}, 422, "there is no such option", id="unknown option"),
        pytest.param(
            TXT2IMG,
            {"override_settings": {"no_such": 1}},
            422,
            "there is no such option",
            id="unknown option in override_settings",
        ),
        # 200 in A1111, which renders something else
        pytest.param(TXT2IMG, {"sampler_name": "no such"}, 400, "Sampler not found", id="sampler"),
        pytest.param(TXT2IMG, {"scheduler": "no such"}, 400, "Scheduler not found", id="scheduler"),
        pytest.param(
            TXT2IMG,
            {"override_settings": {"sd_model_checkpoint": "no such"}},
            422,
            "no checkpoint 'no such'",
            id="checkpoint in override_settings",
        ),
        pytest.param(OPTIONS, {"api_enable_requests": False}, 422, "operator may", id="restricted option"),
        pytest.param(TXT2IMG, {"prompt": "a <lora:absent:1>"}, 422, "is not in models/Lora", id="LoRA"),
        pytest.param(TXT2IMG, {"styles": ["no such"]}, 422, "no style 'no such'", id="style"),
        # as A1111
        pytest.param(INTERROGATE, {"model": "no such"}, 404, "Model not found", id="interrogate's model"),
        pytest.param(INTERROGATE, {"image": None}, 404, "Image not found", id="interrogate's image"),
        pytest.param(PNG_INFO, {"image": "nonsense"}, 500, "Invalid encoded image", id="png-info"),
        pytest.param(TXT2IMG, {"width": "wide"}, 422, "width", id="type"),
        pytest.param("/sdapi/v1/no-such", {}, 404, "Not Found", id="route"),
        pytest.param("/sdapi/v1/samplers", {}, 405, "Method Not Allowed", id="verb"),
        pytest.param("/sdapi/v1/train/embedding", {}, 501, "does not train", id="training"),
    ],
)  # fmt: skip
def test_errors(a1111: Running, path: str, change: dict[str, Any], status: int, message: str) -> None:
    base: dict[str, Any] = {TXT2IMG: BASE, IMG2IMG: img2img_base()}.get(path, {})
    if path in (SINGLE, INTERROGATE):
        base = {"image": PICTURE}
    response = a1111.http.post(path, json={**base, **change})
    assert response.status_code == status, response.text
    assert message in told(response)
    if not isinstance(response.json()["detail"], list):
        assert {"error", "detail", "body", "errors"} <= response.json().keys(), "A1111's envelope"


def test_a_refusal_names_the_field_and_what_there_is(a1111: Running) -> None:
    response = a1111.http.post(
        TXT2IMG, json={**BASE, "override_settings": {"sd_model_checkpoint": "no such"}}
    )
    assert "deliberate_v2, easel-shapes" in told(response)
    wrong = a1111.http.post(TXT2IMG, json={**BASE, "steps": "many", "width": "wide"})
    assert [problem["loc"] for problem in wrong.json()["detail"]] == [["body", "steps"], ["body", "width"]]


@pytest.mark.parametrize(
    ("auth", "message"),
    [(None, "Not authenticated"), ((ALICE[0], "wrong"), "Incorrect username or password")],
)
def test_who_shows_no_password_is_told_how_to(
    a1111: Running, auth: tuple[str, str] | None, message: str
) -> None:
    response = httpx.get(f"{a1111.url}/sdapi/v1/options", auth=auth)
    assert (response.status_code, response.json()["detail"]) == (401, message)
    assert response.headers["WWW-Authenticate"].startswith("Basic"), "A1111 loses this header"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            {"enable_hr": True, "denoising_strength": None}, id="hires without a strength: 500 there"
        ),
        pytest.param({"sampler_name": "dpm++ 2m karras"}, id="an old sampler name, in small letters"),
        pytest.param({"width": 70, "height": 67}, id="sides that are no multiple of 8"),
        pytest.param({"seed": "", "steps": "3", "restore_faces": None}, id="numbers as text, null"),
        pytest.param({"seed_enable_extras": False, "no_such_field": {}}, id="unknown fields"),
        pytest.param({"alwayson_scripts": {}, "script_args": [], "script_name": None}, id="no scripts"),
        pytest.param({"alwayson_scripts": {"Soft Inpainting": {"args": EXTRA_ARGS}}}, id="arguments beyond"),
        pytest.param({"prompt": "((( [a:b", "negative_prompt": "):"}, id="broken prompt syntax"),
        pytest.param({"refiner_checkpoint": "None", "refiner_switch_at": 1}, id="refiner off"),
    ],
)
def test_what_a1111_takes_is_taken(a1111: Running, change: dict[str, Any]) -> None:
    answer, _ = rendered(a1111.http, TXT2IMG, {**BASE, "denoising_strength": 0.5, **change})
    assert len(answer["images"]) == 1


def test_a_picture_without_parameters_has_none(a1111: Running) -> None:
    answer = a1111.http.post(PNG_INFO, json={"image": PICTURE}).json()
    assert (answer["info"], answer["items"]) == ("", {})


def test_the_worker_serves_on_after_all_that(a1111: Running) -> None:
    rendered(a1111.http, TXT2IMG, BASE)
    log = "".join(a1111.log)
    assert "Traceback" not in log
    assert "ERROR" not in log
