"""What is told about a picture."""

from __future__ import annotations

import json
from typing import Any

import pytest

from easel_contract.infotext import KEYS, parse
from easel_contract.options import RenderOptions
from easel_worker.outputs.describe import describe, grid_infotext, infotext
from easel_worker.outputs.record import VERSION, GenerationRecord
from easel_worker.outputs.rendering import make_products

from .jobs import WHEN, facts, record, rendering


def last_line(**changes: Any) -> str:
    return infotext(record(**changes), facts()).splitlines()[-1]


def test_an_infotext_in_full() -> None:
    assert infotext(record(), facts()) == (
        "a (red:1.2) cat\nNegative prompt: ugly\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, "
        "Seed: 7, Size: 512x768, Model hash: 6ce0161689, Model: v1-5, Version: Easel 1"
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image_cfg_scale": 1.5}, ", CFG scale: 7, Image CFG scale: 1.5, Seed: 7, "),
        (
            {"restore_faces": True, "face_restoration_model": "GFPGAN"},
            ", Seed: 7, Face restoration: GFPGAN, Size: 512x768, ",
        ),
        ({"vae_name": "ft", "vae_hash": "abc"}, ", Model: v1-5, VAE hash: abc, VAE: ft, Version"),
        (
            {"fp8_weight": "Enable", "cache_fp16_weight": False},
            ", FP8 weight: Enable, Cache FP16 weight for LoRA: False, ",
        ),
        ({"subseed_strength": 0.3}, ", Variation seed: 107, Variation seed strength: 0.3, "),
        ({"seed_resize_from_w": 512, "seed_resize_from_h": 320}, ", Seed resize from: 512x320, "),
        ({"kind": "img2img", "denoising_strength": 0.75}, ", Denoising strength: 0.75, "),
        ({"hires": True, "denoising_strength": 0.0}, ", Denoising strength: 0, "),
        ({"conditional_mask_weight": 1.0}, ", Conditional mask weight: 1, "),
        ({"clip_skip": 2}, ", Clip skip: 2, "),
        ({"ensd": 31337}, ", ENSD: 31337, "),
        (
            {"token_merging_ratio": 0.5, "token_merging_ratio_hr": 0.4},
            ", Token merging ratio: 0.5, Token merging ratio hr: 0.4, ",
        ),
        ({"init_image_hash": "ff00"}, ", Init image hash: ff00, "),
        ({"rng": "CPU"}, ", RNG: CPU, "),
        ({"rng": "NV"}, ", RNG: NV, "),
        ({"tiling": True}, ", Tiling: True, "),
        ({"extra": {"Mask blur": 4, "Script": "x/y"}}, ", Model: v1-5, Mask blur: 4, Script: x/y, Version"),
        ({"extra": {"Hires prompt": "a, b: c", "Nothing": None}}, ', Hires prompt: "a, b: c", Version'),
    ],
)
def test_what_is_told_only_when_it_applies(changes: dict[str, Any], told: str) -> None:
    assert told in last_line(**changes)
    for pair in told.strip(", ").split(", "):
        key = pair.partition(":")[0]
        if key not in ("Seed", "Size", "Model", "CFG scale", "Version"):
            assert f"{key}:" not in last_line()


def test_everything_at_once_is_in_the_tables_order() -> None:
    full = last_line(
        image_cfg_scale=1.5,
        restore_faces=True,
        face_restoration_model="G",
        vae_name="v",
        vae_hash="h",
        fp8_weight="Enable",
        cache_fp16_weight=True,
        subseed_strength=1.0,
        seed_resize_from_w=8,
        seed_resize_from_h=8,
        kind="img2img",
        denoising_strength=0.5,
        conditional_mask_weight=1.0,
        clip_skip=2,
        ensd=1,
        token_merging_ratio=0.1,
        token_merging_ratio_hr=0.1,
        init_image_hash="i",
        rng="CPU",
        tiling=True,
    )
    assert [pair.partition(":")[0] for pair in full.split(", ")] == [*KEYS, "Version"]


def test_the_options_leave_keys_out_and_add_the_user() -> None:
    options = RenderOptions(
        add_model_name_to_info=False,
        add_model_hash_to_info=False,
        add_vae_name_to_info=False,
        add_vae_hash_to_info=False,
        add_version_to_infotext=False,
        add_user_name_to_info=True,
    )
    made = record(vae_name="ft", vae_hash="abc", user="ann")
    assert infotext(made, facts(), options).endswith(", Size: 512x768, User: ann")
    assert "User" not in infotext(made, facts())


def test_a_pictures_own_parameters_stand_in_the_records_place() -> None:
    made = record(extra={"Hires prompt": "main", "Script": "s"}).with_extra({"More": 1})
    one = facts(**{"Hires prompt": "mine"})
    assert ", Hires prompt: mine, Script: s, More: 1, " in infotext(made, one)


def test_a_grid_tells_the_main_prompt_and_the_first_seed() -> None:
    made = record(prompt="main")
    text = grid_infotext(made, facts(3, "variant"))
    assert text.startswith("main\n")
    assert ", Seed: 3, " in text


def test_info_has_a1111s_keys_and_one_entry_per_picture() -> None:
    made = record(
        batch_size=2, styles=["x"], denoising_strength=0.0, extra={"A": 1, "B": object(), "C": float("nan")}
    )
    told = describe(made, [facts(7, "p1"), facts(8, "p2")], ["t0", "t1", "t2"], grids=1)
    json.dumps(told, allow_nan=False)

    assert told["all_prompts"] == ["p1", "p2"]
    assert told["all_seeds"] == [7, 8]
    assert told["all_subseeds"] == [107, 108]
    assert (told["prompt"], told["seed"], told["subseed"]) == ("p1", 7, 107)
    assert (told["index_of_first_image"], told["infotexts"]) == (1, ["t0", "t1", "t2"])
    assert told["extra_generation_params"] == {"A": 1, "B": None, "C": None}
    assert told["job_timestamp"] == "20260304050607"
    assert told["denoising_strength"] == 0.0
    assert told["is_using_inpainting_conditioning"] is False
    assert told["styles"] == ["x"]


def test_the_info_and_the_files_tell_the_same() -> None:
    products = make_products(rendering(3), RenderOptions(), saving=True)
    info: Any = products.info()
    assert info["infotexts"] == [product.file.infotext for product in products.answered]
    assert [parse(text)["Seed"] for text in info["infotexts"]] == ["7", "7", "8", "9"]


def test_the_version_is_our_own() -> None:
    made = GenerationRecord(
        kind="txt2img",
        prompt="",
        sampler="Euler",
        schedule="Uniform",
        steps=1,
        cfg_scale=1,
        width=8,
        height=8,
        model_name="m",
        when=WHEN,
    )
    assert made.version == VERSION
    assert VERSION.startswith("Easel ")
