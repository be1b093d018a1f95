"""File name patterns, and the folders and names that come of them."""

from __future__ import annotations

import re
import zoneinfo
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from easel_contract.options import RenderOptions
from easel_store import check_key
from easel_worker.outputs.names import CloudNames, grid_name, sample_name
from easel_worker.outputs.patterns import fill
from easel_worker.outputs.sanitising import MAX_PATTERN_BYTES, safe_parts, sanitise
from easel_worker.outputs.tokens import TOKENS

from .jobs import WHEN, subject

SHA_OF_CAT = "77af778b51abd4a3c51c5ddd97204a9c3ae614ebccb75a606c3b6865aed6744e"


@pytest.mark.parametrize(
    ("pattern", "changes", "filled"),
    [
        ("[seed]", {}, "7"),
        ("[seed_first]-[seed_last]", {"batch_size": 3}, "7-9"),
        ("[steps]x[cfg]", {}, "20x7"),
        ("[cfg]", {"cfg_scale": 6.5}, "6.5"),
        ("[width]x[height]", {}, "16x8"),
        ("[styles]", {}, "None"),
        ("[styles]", {"styles": ["a", "b/c"]}, "a, b_c"),
        ("[sampler]", {}, "DPM++_2M"),
        ("[scheduler]", {"schedule": "SGM Uniform"}, "SGM_Uniform"),
        ("[sampler_scheduler]", {}, "DPM++_2M_Karras"),
        ("[sampler_scheduler]", {"schedule": "Automatic"}, "DPM++_2M"),
        ("[model_hash]-[model_name]", {}, "6ce0161689-v1-5"),
        ("[date]", {}, "2026-03-04"),
        ("[datetime]", {}, "20260304050607"),
        ("[datetime<%H.%M>]", {}, "05.06"),
        ("[datetime<%H><No/Where>]", {}, "05"),
        ("[datetime<%H><../../etc/passwd>]", {}, "05"),
        ("[datetime<%999999999d%d>]", {}, "999999999d04"),
        ("[job_timestamp]", {}, "20260304050607"),
        ("[prompt]", {}, "a_(red_1.2)_cat"),
        ("[prompt_spaces]", {}, "a (red_1.2) cat"),
        ("[prompt_no_styles]", {"prompt_no_styles": "a cat"}, "a_cat"),
        ("[prompt_words]", {}, "a red 1 2 cat"),
        ("[prompt_words]", {"prompt": "()"}, "empty"),
        ("[prompt_words]", {"options": RenderOptions(directories_max_prompt_words=2)}, "a red"),
        ("[prompt_hash]", {"prompt": "cat"}, SHA_OF_CAT[:8]),
        ("[prompt_hash<12>]", {"prompt": "cat"}, SHA_OF_CAT[:12]),
        ("[batch_number]", {"batch_size": 2, "index": 1}, "2"),
        ("[batch_size]", {"batch_size": 2}, "2"),
        ("[generation_number]", {"n_iter": 3, "index": 2}, "3"),
        ("[hasprompt<cat><dog|none>]", {}, "catnone"),
        ("[clip_skip]", {"clip_skip": 2}, "2"),
        ("[denoising]", {"denoising_strength": 0.75}, "0.75"),
        ("[user]", {"user": "ann/../bob"}, "ann_.._bob"),
        ("[vae_filename]", {"vae_name": "ft.safetensors"}, "ft.safetensors"),
        ("a[none]b", {}, "ab"),
        ("[basename]", {}, "source"),
        ("[SEED]", {}, "7"),
        # Nothing to tell takes the text before it along.
        ("[seed]-of-[batch_number]", {}, "7"),
        ("[seed]-of-[seed_last]-[steps]", {}, "7-20"),
        ("[seed]_n[generation_number]", {}, "7"),
        ("[seed]-d[denoising]", {"denoising_strength": 0.0}, "7"),
        # What is no token is text.
        ("[foo]-[seed]", {}, "[foo]-7"),
        ("plain", {}, "plain"),
        ("[seed", {}, "[seed"),
    ],
)
def test_tokens(pattern: str, changes: dict[str, Any], filled: str) -> None:
    assert fill(pattern, subject(**changes)) == filled


@pytest.mark.skipif("Asia/Tokyo" not in zoneinfo.available_timezones(), reason="no time zones installed")
def test_a_time_zone_may_be_named() -> None:
    assert fill("[datetime<%Y-%m-%d %H><Asia/Tokyo>]", subject()) == "2026-03-04 14"


def test_hashes_differ_by_what_they_hash() -> None:
    one = subject()
    hashes = {fill(f"[{name}]", one) for name in ("prompt_hash", "negative_prompt_hash", "full_prompt_hash")}
    assert len(hashes) == 3
    assert re.fullmatch("[0-9a-f]{16}", fill("[image_hash<16>]", one))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b\\c", "a_b_c"),
        ('#<>:"|?*\n\r\t\0', "_" * 12),
        (" .. a b. ", "a b"),
        ("x" * 200, "x" * 128),
        ("a" * 127 + " b", "a" * 127),
        ("..", ""),
    ],
)
def test_sanitising(text: str, name: str) -> None:
    assert sanitise(text) == name


def test_a_pattern_makes_folders_that_lead_nowhere_else() -> None:
    assert safe_parts("a/../b/./c//d") == ["a", "b", "c", "d"]
    assert safe_parts("/etc/passwd") == ["etc", "passwd"]
    assert safe_parts("../..") == []
    assert [len(part) for part in safe_parts("a" * 300 + "/" + "b" * 90)] == [MAX_PATTERN_BYTES - 91, 90]
    assert len(safe_parts("猫" * 300)[0].encode()) <= MAX_PATTERN_BYTES


ARGUMENTS = st.lists(st.text(max_size=8).map("<{}>".format), max_size=3).map("".join)
NAMED = st.builds("[{}{}]".format, st.sampled_from(sorted(TOKENS)), ARGUMENTS)


@given(
    pattern=st.text(max_size=60)
    | st.lists(NAMED | st.sampled_from(["/", ".", "..", "[datetime<%c>]", "[datetime<%>]"])).map("".join),
    prompt=st.text(max_size=300),
)
@example(pattern="[datetime<\0%Y\ud800>]", prompt="")
def test_any_pattern_and_prompt_make_a_key_that_the_store_takes(pattern: str, prompt: str) -> None:
    options = RenderOptions.model_construct(
        **{
            **RenderOptions().model_dump(),
            "samples_filename_pattern": pattern,
            "directories_filename_pattern": pattern,
        }
    )
    name = sample_name(subject(prompt, user=prompt, options=options))
    key = f"outputs/{name.folder}/{name.stem(3)}-before-face-restoration.webp".replace("//", "/")
    assert check_key(key) == key
    assert key.startswith("outputs/")
    assert not {"..", "."} & set(key.split("/"))


@pytest.mark.parametrize(
    ("options", "folder", "stem"),
    [
        ({}, "2026-03-04", "00003-7"),
        ({"save_to_dirs": False}, "", "00003-7-a (red_1.2) cat"),
        ({"directories_filename_pattern": ""}, "a red 1 2 cat", "00003-7"),
        ({"directories_filename_pattern": "[date]/[model_name]"}, "2026-03-04/v1-5", "00003-7"),
        ({"samples_filename_pattern": "[steps]/[seed]"}, "2026-03-04/20", "00003-7"),
        ({"samples_filename_pattern": "[none]"}, "2026-03-04", "00003"),
    ],
)
def test_samples_are_named_by_number_and_pattern(options: dict[str, Any], folder: str, stem: str) -> None:
    name = sample_name(subject(options=RenderOptions(**options)))
    assert (name.folder, name.stem(3)) == (folder, stem)


def test_a_name_without_number_unless_nothing_else_is_left() -> None:
    bare = sample_name(subject(options=RenderOptions(save_images_add_number=False)))
    assert (bare.numbered, bare.stem(None)) == (False, "7")
    none = RenderOptions(save_images_add_number=False, samples_filename_pattern="[none]")
    assert sample_name(subject(options=none)).numbered


def test_grids_have_their_own_numbers() -> None:
    assert (grid_name(subject()).folder, grid_name(subject()).stem(12)) == ("2026-03-04", "grid-0012")
    extended = RenderOptions(grid_extended_filename=True, grid_save_to_dirs=False)
    name = grid_name(subject(options=extended))
    assert (name.folder, name.stem(0)) == ("", "grid-0000-7-a (red_1.2) cat")


def test_the_clouds_names_have_its_form() -> None:
    names = CloudNames("txt2img", WHEN)
    uuid4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

    assert re.fullmatch(rf"txt2img-images/2026-03-04/050607-{uuid4}-42", names.image(42))
    assert re.fullmatch(rf"txt2img-grids/2026-03-04/grid-050607-{uuid4}", names.grid())
    assert names.image(42) != names.image(42)
