"""A1111's own API tests, request by request: T1 to T12, I1 to I4, E1 to E3, U1 to U13.

They send pictures of 64 x 64 in three steps and ask for a 200. Here the pictures are looked at as well.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..e2e.running import Running
from .a1111 import BASE, IMG2IMG, TXT2IMG, data_uri, gradient, half_mask, img2img_base, pixels, rendered

EDITED = "((emphasis)), (emphasis1:1.1), [to:1], [from::2], [from:to:0.3], [alt|alt1]"
MISSING = "'CodeFormer' needs a file that is missing"
EXTRAS = "/sdapi/v1/extra-single-image"
OPTIONS = "/sdapi/v1/options"


@pytest.mark.parametrize(
    ("change", "sizes"),
    [
        pytest.param({}, [(64, 64)], id="T1"),
        pytest.param({"negative_prompt": "example negative prompt"}, [(64, 64)], id="T2"),
        pytest.param({"prompt": EDITED}, [(64, 64)], id="T3"),
        pytest.param({"height": 128}, [(64, 128)], id="T4"),
        pytest.param({"enable_hr": True}, [(128, 128)], id="T5"),
        pytest.param({"tiling": True}, [(64, 64)], id="T6"),
        pytest.param({"sampler_index": "PLMS"}, [(64, 64)], id="T8"),
        pytest.param({"sampler_index": "DDIM"}, [(64, 64)], id="T9"),
        pytest.param({"sampler_index": "UniPC"}, [(64, 64)], id="T10"),
        pytest.param({"n_iter": 2}, [(64, 64)] * 2, id="T11"),
        pytest.param({"batch_size": 2}, [(64, 64)] * 2, id="T12"),
    ],
)
def test_txt2img(a1111: Running, change: dict[str, Any], sizes: list[tuple[int, int]]) -> None:
    answer, info = rendered(a1111.http, TXT2IMG, {**BASE, **change})
    assert [pixels(image).shape[1::-1] for image in answer["images"]] == sizes
    # Three steps at this size may leave an even surface; a picture that is no number would be black.
    assert all(pixels(image).any() for image in answer["images"]), "something is drawn"
    assert len(info["infotexts"]) == len(sizes)
    for key, value in change.items():
        assert answer["parameters"][key] == value


def test_t7_restore_faces_without_the_files_is_refused_where_the_service_is_strict(a1111: Running) -> None:
    response = a1111.http.post(TXT2IMG, json={**BASE, "restore_faces": True})
    assert response.status_code == 422
    assert response.json()["detail"].startswith(f"restore_faces: {MISSING}: ")
    assert "codeformer-v0.1.0" in response.json()["detail"]


def test_t7_restore_faces_without_the_files_is_left_out_where_it_is_lenient(lenient: Running) -> None:
    answer, info = rendered(lenient.http, TXT2IMG, {**BASE, "restore_faces": True})
    assert len(answer["images"]) == 1
    (warning,) = info["warnings"]
    assert MISSING in warning
    assert info["restore_faces"] is False
    assert "Face restoration" not in info["infotexts"][0]


def test_what_a_lenient_service_does_otherwise_is_told(lenient: Running) -> None:
    """Where A1111 silently renders something else: a sampler, a scheduler, a style, a LoRA, an option."""
    odd = {
        "prompt": "a circle <lora:absent:0.8>",
        "sampler_name": "no such sampler",
        "scheduler": "no such scheduler",
        "styles": ["no such style"],
        "override_settings": {"no_such_option": 1},
    }
    _, info = rendered(lenient.http, TXT2IMG, {**BASE, **odd, "steps": 1})
    told = "\n".join(info["warnings"])
    for name in ("no such sampler", "no such scheduler", "no such style", "absent", "no_such_option"):
        assert name in told
    assert info["prompt"] == "a circle <lora:absent:0.8>"


@pytest.mark.parametrize(
    ("change", "size"),
    [
        pytest.param({}, 64, id="I1"),
        pytest.param({"mask": data_uri(half_mask())}, 64, id="I2"),
        pytest.param({"mask": data_uri(half_mask()), "inpainting_mask_invert": True}, 64, id="I3"),
        pytest.param(
            {"script_name": "sd upscale", "script_args": ["", 8, "Lanczos", 2.0]}, 128, id="I4"
        ),
    ],
)  # fmt: skip
def test_img2img(a1111: Running, change: dict[str, Any], size: int) -> None:
    answer, info = rendered(a1111.http, IMG2IMG, {**img2img_base(), **change})
    (image,) = answer["images"]
    assert pixels(image).shape == (size, size, 3)
    assert answer["parameters"]["init_images"] is None
    assert answer["parameters"]["mask"] is None
    assert info["denoising_strength"] == 0.75


FULL = {
    "resize_mode": 0,
    "show_extras_results": True,
    "gfpgan_visibility": 0,
    "codeformer_visibility": 0,
    "codeformer_weight": 0,
    "upscaling_resize": 2,
    "upscaling_resize_w": 128,
    "upscaling_resize_h": 128,
    "upscaling_crop": True,
    "upscaler_1": "Lanczos",
    "upscaler_2": "None",
    "extras_upscaler_2_visibility": 0,
}


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        pytest.param(FULL, 128, id="E1"),
        pytest.param({}, 64, id="E2"),
        pytest.param({"model": "clip"}, 64, id="E3"),
    ],
)
def test_extras(a1111: Running, fields: dict[str, Any], size: int) -> None:
    response = a1111.http.post(EXTRAS, json={**fields, "image": data_uri(gradient())})
    assert response.status_code == 200, response.text
    assert pixels(response.json()["image"]).shape == (size, size, 3)


def test_u1_to_u4_an_option_is_read_set_and_set_back(a1111: Running) -> None:
    before = a1111.http.get(OPTIONS).json()["send_seed"]
    assert isinstance(before, bool)
    for value in (not before, before):
        assert a1111.http.post(OPTIONS, json={"send_seed": value}).json() is None
        assert a1111.http.get(OPTIONS).json()["send_seed"] is value


@pytest.mark.parametrize(
    "name",
    [
        "cmd-flags",
        "samplers",
        "upscalers",
        "sd-models",
        "hypernetworks",
        "face-restorers",
        "realesrgan-models",
        "prompt-styles",
        "embeddings",
    ],
)
def test_u5_to_u13_lists(a1111: Running, name: str) -> None:
    response = a1111.http.get(f"/sdapi/v1/{name}")
    assert response.status_code == 200
    assert isinstance(response.json(), dict if name in ("cmd-flags", "embeddings") else list)


def test_the_flags_show_no_secret(a1111: Running) -> None:
    shown = json.dumps(a1111.http.get("/sdapi/v1/cmd-flags").json())
    for secret in ("alices-word", "bobs-word", str(a1111.token)):
        assert secret not in shown


def test_every_answer_tells_how_long_it_took(a1111: Running) -> None:
    for path in ("/sdapi/v1/samplers", "/sdapi/v1/no-such-route"):
        assert float(a1111.http.get(path).headers["X-Process-Time"]) >= 0


def test_a_result_may_be_asked_for_without_its_pictures(a1111: Running) -> None:
    answer, info = rendered(a1111.http, TXT2IMG, {**BASE, "send_images": False})
    assert answer["images"] == []
    assert len(info["all_seeds"]) == 1
