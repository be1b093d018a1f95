"""Networks from a request's prompt to its pictures: named, found, attached, told, and gone afterwards."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import easel_shapes
from easel_contract.errors import ContractError
from easel_worker.diffusion.errors import JobError
from easel_worker.job import Job

from ...small_models.hypernetwork import write_hypernetwork
from ...small_models.lora import write_lora
from ..desk import Answer, Desk, difference
from ..diffusion.small_models import KINDS, write_file, write_folder
from .conftest import OTHER, add_variant

PROMPT = "a red circle on a blue background"
WIDTH = 96
"""Of the shipped model's texts."""


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The shipped model, another, an SDXL; and networks for the shipped one."""
    data_dir = tmp_path_factory.mktemp("networks")
    add_variant(data_dir, OTHER, prediction_type="epsilon")
    add_variant(data_dir, easel_shapes.NAME)
    folder = data_dir / "models" / "Stable-diffusion"
    write_file(KINDS["sdxl"], write_folder(KINDS["sdxl"], data_dir / "xl"), folder / "xl.safetensors")
    desk = Desk(
        data_dir,
        default_checkpoint=easel_shapes.NAME,
        sd_dynamic_cache=True,
        checkpoint_cache=4,
        allow_pickle=True,
    )
    checkpoint = desk.handler._models.checkpoint(desk.handler._library.resolve(easel_shapes.NAME))
    loras = desk.models / "Lora"
    write_lora(loras / "ink.safetensors", checkpoint, strength=0.6, metadata={"ss_output_name": "Ink v2"})
    write_lora(loras / "styles" / "oil.safetensors", checkpoint, "loha", strength=0.6, seed=1)
    write_lora(loras / "text.safetensors", checkpoint, parts="te", strength=1.5, seed=2)
    xl = desk.handler._models.checkpoint(desk.handler._library.resolve("xl"))
    write_lora(loras / "for-xl.safetensors", xl)
    write_hypernetwork(desk.models / "hypernetworks" / "haze.pt", [WIDTH, 64], strength=3.0)
    return desk


@pytest.fixture(scope="module")
def lenient(painter: Desk) -> Desk:
    return Desk(painter.settings.data_dir, default_checkpoint=easel_shapes.NAME, strict=False)


@pytest.fixture(scope="module")
def plain(painter: Desk) -> Any:
    return painter.image(prompt=PROMPT)


def info(desk: Desk, **body: Any) -> dict[str, Any]:
    return desk.txt2img(**body).info


def body_hash(path: Path) -> str:
    """SHA-256 of what follows the header."""
    raw = path.read_bytes()
    return hashlib.sha256(raw[8 + int.from_bytes(raw[:8], "little") :]).hexdigest()[:12]


def test_weight_0_is_none_bit_for_bit_and_weight_1_changes_the_picture(painter: Desk, plain: Any) -> None:
    np.testing.assert_array_equal(painter.image(prompt=f"{PROMPT}<lora:ink:0>"), plain)
    full = painter.image(prompt=f"{PROMPT}<lora:ink:1>")
    half = painter.image(prompt=f"{PROMPT}<lora:ink:0.5>")
    assert difference(full, plain) > 2
    assert 0 < difference(half, plain) < difference(full, plain)
    np.testing.assert_array_equal(painter.image(prompt=PROMPT), plain)
    np.testing.assert_array_equal(painter.image(prompt=f"{PROMPT}<lora:ink:1>"), full)


@pytest.mark.parametrize(
    "tag",
    [
        "<lora:INK:1>",
        "<lora:Ink v2:1>",
        "<lyco:ink:1:1>",
        "<lora:ink:te=1:unet=1>",
        "<lora:ink.safetensors>",
    ],
)
def test_all_ways_to_name_it_draw_the_same(painter: Desk, tag: str) -> None:
    expected = painter.image(prompt=f"{PROMPT}<lora:ink:1>")
    np.testing.assert_array_equal(painter.image(prompt=PROMPT + tag), expected)


def test_a_file_in_a_sub_folder_is_named_with_or_without_it(painter: Desk) -> None:
    for name in ("oil", "styles/oil", "styles/oil.safetensors"):
        [use] = painter.plan(prompt=f"a <lora:{name}:0.5:0.25>").job.pictures[0].networks
        assert (use.path.name, use.te, use.unet) == ("oil.safetensors", 0.5, 0.25)


def test_the_options_default_is_the_weight_of_a_tag_without_one(painter: Desk) -> None:
    options = {"extra_networks_default_multiplier": 0.3}
    [use] = painter.plan(prompt="a <lora:ink>", override_settings=options).job.pictures[0].networks
    assert (use.te, use.unet) == (0.3, 0.3)


def test_a_text_encoders_lora_is_not_taken_from_what_was_encoded_before(painter: Desk, plain: Any) -> None:
    changed = painter.image(prompt=f"{PROMPT}<lora:text:1>")
    assert difference(changed, plain) > 1
    np.testing.assert_array_equal(painter.image(prompt=f"{PROMPT}<lora:text:0:1>"), plain)
    np.testing.assert_array_equal(painter.image(prompt=PROMPT), plain)


def test_the_infotext_keeps_the_tag_and_tells_the_hash(painter: Desk) -> None:
    told = info(painter, prompt=f"{PROMPT} <lora:ink:0.5> <lora:styles/oil:0.1>")
    loras = painter.models / "Lora"
    hashes = (
        f"ink: {body_hash(loras / 'ink.safetensors')}, "
        f"styles/oil: {body_hash(loras / 'styles' / 'oil.safetensors')}"
    )
    assert told["extra_generation_params"]["Lora hashes"] == hashes
    text = told["infotexts"][0]
    assert text.startswith(f"{PROMPT} <lora:ink:0.5> <lora:styles/oil:0.1>\n")
    assert f'Lora hashes: "{hashes}"' in text
    assert told["prompt"] == f"{PROMPT} <lora:ink:0.5> <lora:styles/oil:0.1>"
    silent = {"lora_add_hashes_to_infotext": False}
    assert "Lora hashes" not in info(painter, prompt="<lora:ink:1>", override_settings=silent)["infotexts"][0]
    assert "Lora hashes" not in info(painter, prompt=PROMPT)["infotexts"][0], "the next task's is its own"


def test_what_is_written_in_a_header_is_no_other_lora(painter: Desk) -> None:
    path = painter.models / "Lora" / "ink.safetensors"
    copy = path.with_name("renamed.safetensors")
    save_file(load_file(path), copy, {"note": "the same weights"})
    try:
        told = info(painter, prompt="<lora:renamed:1>")["extra_generation_params"]["Lora hashes"]
        assert told == f"renamed: {body_hash(path)}"
    finally:
        copy.unlink()


def test_a_task_does_not_wait_for_a_hash_before_it_answers(painter: Desk) -> None:
    path = painter.models / "Lora" / "large.safetensors"
    save_file(load_file(path.with_name("ink.safetensors")), path, {"note": "never read before"})
    try:
        with painter.handler._library.hashes._reading:  # as while another file is read
            rendered = painter.run(prompt="<lora:large:1>")[0]
            [use] = rendered.plan.job.pictures[0].networks
            assert use.sha256 is not None
            assert not use.sha256.done()
        told = Answer.of(painter.handler.publish(painter.task(), rendered)).info
        assert told["extra_generation_params"]["Lora hashes"] == f"large: {body_hash(path)}"
    finally:
        path.unlink()


def test_the_lycoris_folder_serves_too(painter: Desk, plain: Any) -> None:
    source, folder = painter.models / "Lora" / "ink.safetensors", painter.models / "LyCORIS"
    folder.mkdir(exist_ok=True)
    path = folder / "glow.safetensors"
    shutil.copyfile(source, path)
    try:
        expected = painter.image(prompt=f"{PROMPT}<lora:ink:1>")
        assert difference(expected, plain) > 2
        for tag in ("<lora:glow:1>", "<lyco:glow:1>"):
            np.testing.assert_array_equal(painter.image(prompt=PROMPT + tag), expected)
    finally:
        path.unlink()


def test_an_embedding_in_a_loras_file_is_meant_where_the_lora_is_named(painter: Desk) -> None:
    path = painter.models / "Lora" / "pivot.safetensors"
    tensors = load_file(path.with_name("text.safetensors"))
    vectors = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(3))
    save_file({**tensors, "bundle_emb.zorglub.emb_params": vectors}, path)
    try:
        prompt = f"{PROMPT} zorglub"
        told = info(painter, prompt=f"{prompt}<lora:pivot:0.5>")
        assert told["extra_generation_params"]["TI hashes"].startswith("zorglub: ")
        assert "warnings" not in told
        unhashed = {"textual_inversion_add_hashes_to_infotext": False}
        quiet = info(painter, prompt=f"{prompt}<lora:pivot:0.5>", override_settings=unhashed)
        assert "TI hashes" not in quiet["extra_generation_params"]
        worn = painter.image(prompt=f"{prompt}<lora:pivot:0.5>")
        assert difference(worn, painter.image(prompt=f"{prompt}<lora:text:0.5>")) > 0
        assert "TI hashes" not in info(painter, prompt=f"{prompt}<lora:text:0.5>")["infotexts"][0]
        named = painter.image(prompt=f"{PROMPT}<lora:pivot:0.5>", negative_prompt="zorglub")
        assert difference(named, painter.image(prompt=f"{PROMPT}<lora:pivot:0.5>")) > 0
    finally:
        path.unlink()


def test_pictures_with_networks_of_their_own_are_drawn_apart(painter: Desk, plain: Any) -> None:
    """A prompt matrix: some of its pictures name a LoRA, others none; in one batch each is as if alone."""
    matrix = {"script_name": "prompt matrix", "script_args": [False, False, "positive", "comma", 0]}
    rendered = painter.run(prompt=f"{PROMPT}|<lora:ink:1>", batch_size=2, **matrix)[0]
    images = [np.asarray(shot.image) for shot in rendered.result.shots]
    assert len(images) == 2
    assert difference(images[0], plain) < 0.5
    assert difference(images[1], images[0]) > 2
    answer = Answer.of(painter.handler.publish(painter.task(), rendered))
    without, with_ink = answer.info["infotexts"][-2:]
    assert "Lora hashes" not in without
    assert "Lora hashes: " in with_ink


def test_an_xyz_plot_varies_the_weight_by_search_and_replace(painter: Desk, plain: Any) -> None:
    args = [7, "<lora:ink:0>,<lora:ink:1>", [], 0, "", [], 0, "", [], True, True, False]
    rendered = painter.run(prompt=f"{PROMPT}<lora:ink:0>", script_name="x/y/z plot", script_args=args)[0]
    images = [np.asarray(shot.image) for shot in rendered.result.shots]
    assert len(images) == 2
    np.testing.assert_array_equal(images[0], plain)
    np.testing.assert_array_equal(images[1], painter.image(prompt=f"{PROMPT}<lora:ink:1>"))


HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}


def test_the_hires_pass_has_the_networks_of_its_own_prompt(painter: Desk) -> None:
    both = painter.image(prompt=f"{PROMPT}<lora:ink:1>", **HIRES)
    none = painter.image(prompt=PROMPT, **HIRES)
    first = painter.image(prompt=f"{PROMPT}<lora:ink:1>", hr_prompt=PROMPT, **HIRES)
    second = painter.image(prompt=PROMPT, hr_prompt=f"{PROMPT}<lora:ink:1>", **HIRES)
    pictures = [both, none, first, second]
    for place, picture in enumerate(pictures):
        assert all(difference(picture, other) > 0.1 for other in pictures[:place])
    told = info(painter, prompt=f"{PROMPT}<lora:ink:1>", hr_prompt="<lora:oil:1>", **HIRES)
    hashes = told["extra_generation_params"]["Lora hashes"]
    assert [entry.split(":")[0] for entry in hashes.split(", ")] == ["ink", "oil"]


def test_another_checkpoint_for_hires_or_refining_gets_them_too(painter: Desk) -> None:
    before = {name: painter.image(prompt=PROMPT, **body) for name, body in OTHERS.items()}
    for name, body in OTHERS.items():
        worn = painter.image(prompt=f"{PROMPT}<lora:ink:1>", **body)
        assert difference(worn, before[name]) > 0.5
    for name, body in OTHERS.items():
        np.testing.assert_array_equal(painter.image(prompt=PROMPT, **body), before[name])


OTHERS: dict[str, dict[str, Any]] = {
    "hires": {**HIRES, "hr_checkpoint_name": OTHER},
    "refiner": {"refiner_checkpoint": OTHER, "refiner_switch_at": 0.5},
}


def test_nothing_stays_behind_when_a_task_is_stopped_or_interrupted(painter: Desk, plain: Any) -> None:
    class Stop(Exception):  # noqa: N818 - a signal, not an error
        pass

    def stop(job: Job, told: Any) -> None:
        if told.stage == "sampling":
            raise Stop

    def interrupt(job: Job, told: Any) -> None:
        if told.stage == "sampling":
            job.interrupt()

    with pytest.raises(Stop):
        painter.run(on_progress=stop, prompt=f"{PROMPT}<lora:ink:1>")
    np.testing.assert_array_equal(painter.image(prompt=PROMPT), plain)
    painter.run(on_progress=interrupt, prompt=f"{PROMPT}<lora:ink:1>", n_iter=2)
    np.testing.assert_array_equal(painter.image(prompt=PROMPT), plain)


def test_memory_that_ran_out_frees_what_was_made(painter: Desk, plain: Any) -> None:
    painter.image(prompt=f"{PROMPT}<lora:ink:1>")
    checkpoint = painter.handler._models.checkpoint(painter.handler._library.resolve(easel_shapes.NAME))
    assert checkpoint.adapters.nbytes > 0
    told: Any = painter.handler.describe()["models"]
    weighs = {one["name"]: one["bytes"] for one in told if one["kind"] == "checkpoint"}
    assert weighs[easel_shapes.NAME] == checkpoint.own_nbytes + checkpoint.adapters.nbytes
    painter.handler.free_memory()
    assert checkpoint.adapters.nbytes == 0
    np.testing.assert_array_equal(painter.image(prompt=PROMPT), plain)


def test_a_lora_for_another_family_is_refused_or_left_out(painter: Desk, lenient: Desk, plain: Any) -> None:
    prompt = f"{PROMPT}<lora:for-xl:1>"
    with pytest.raises(JobError, match=r"lora 'for-xl' does not fit easel-shapes: it was made for a model"):
        painter.run(prompt=prompt)
    failure = painter.handler.explain(JobError("x"))
    assert (failure.code, failure.retry) == (422, False)
    told = info(lenient, prompt=prompt)
    assert "does not fit" in told["warnings"][0]
    assert "Lora hashes" not in told["infotexts"][0]
    np.testing.assert_array_equal(lenient.image(prompt=prompt), plain)


def test_a_broken_file_is_told_of_its_tag(painter: Desk, lenient: Desk) -> None:
    path = painter.models / "Lora" / "torn.safetensors"
    path.write_bytes(b"no weights")
    try:
        with pytest.raises(JobError, match=r"prompt: lora 'torn': torn\.safetensors cannot be read"):
            painter.run(prompt=f"{PROMPT}<lora:torn:1>")
        [warning] = info(lenient, prompt=f"{PROMPT}<lora:torn:1>")["warnings"]
        assert warning.startswith("prompt: lora 'torn': ")
    finally:
        path.unlink()


def test_an_embedding_that_does_not_fit_is_told_where_it_is_named(painter: Desk) -> None:
    folder = painter.models.parent / "embeddings"
    folder.mkdir(exist_ok=True)
    path = folder / "zorglub.safetensors"
    try:
        before = painter.image(prompt=f"{PROMPT} ZORGLUB")
        save_file({"emb_params": torch.zeros(1, 768)}, path)
        told = info(painter, prompt=f"{PROMPT} (ZORGLUB:1.0)", negative_prompt="zorglub")
        assert told["warnings"] == [
            f"{field}: embedding 'zorglub' has vectors of 768 numbers; this model's text encoder takes"
            f" {WIDTH}; its name was read as words"
            for field in ("prompt", "negative_prompt")
        ]
        np.testing.assert_array_equal(painter.image(prompt=f"{PROMPT} ZORGLUB"), before)
        assert "warnings" not in info(painter, prompt=f"{PROMPT} zorglubs <lora:ink:0.1>")
    finally:
        path.unlink()


def test_an_sdxl_draws_with_its_own(painter: Desk) -> None:
    options = {"override_settings": {"sd_model_checkpoint": "xl"}}
    worn = painter.image(prompt=f"{PROMPT}<lora:for-xl:1>", **options)
    assert difference(worn, painter.image(prompt=PROMPT, **options)) > 0


def test_too_large_a_weight_is_the_clients_fault(painter: Desk, plain: Any) -> None:
    for weight in ("1e38", "1e39", "-1e12"):
        with pytest.raises(JobError, match="use smaller multipliers"):
            painter.run(prompt=f"{PROMPT}<lora:ink:{weight}>")
    np.testing.assert_array_equal(painter.image(prompt=PROMPT), plain)


def test_a_hypernetwork_by_tag_or_by_option(painter: Desk, plain: Any) -> None:
    tagged = painter.image(prompt=f"{PROMPT}<hypernet:haze:1>")
    assert difference(tagged, plain) > 0.5
    np.testing.assert_array_equal(painter.image(prompt=f"{PROMPT}<hypernet:haze:0>"), plain)
    options = {"sd_hypernetwork": "haze"}
    told = info(painter, prompt=PROMPT, override_settings=options)
    assert told["prompt"] == f"{PROMPT}<hypernet:haze:1>"
    np.testing.assert_array_equal(painter.image(prompt=PROMPT, override_settings=options), tagged)
    own = f"{PROMPT}<hypernet:haze:0.5>"
    assert info(painter, prompt=own, override_settings=options)["prompt"] == own
    assert info(painter, prompt=PROMPT, override_settings={"sd_lora": "ink"})["prompt"].endswith(
        "<lora:ink:1>"
    )


REFUSED = [
    (
        "<lora:nobody:1>",
        r"lora 'nobody' is not in models/Lora or LyCORIS; there are: .*for-xl, ink, oil, text",
    ),
    ("<hypernet:nobody:1>", r"hypernet 'nobody' is not in models/hypernetworks; there are: haze"),
    ("<lora:ink:much>", r"te 'much' is not a number"),
    ("<lora:ink:1>" * 65, r"65 networks in one prompt; at most 64"),
]


@pytest.mark.parametrize(("tags", "said"), REFUSED)
def test_what_cannot_be_meant_is_refused_by_field(painter: Desk, tags: str, said: str) -> None:
    for field in ("prompt", "hr_prompt"):
        with pytest.raises(ContractError, match=said) as caught:
            painter.plan(**{"prompt": "a", **HIRES, field: f"a {tags}"})
        assert (caught.value.field, caught.value.status) == (field, 422)


def test_the_worker_tells_what_it_wore_last(painter: Desk) -> None:
    painter.image(prompt=f"{PROMPT} <lyco:ink:1> <hypernet:haze:0.2>")
    with_networks = f"checkpoint:{easel_shapes.NAME} hypernet:haze lora:ink"
    needs = painter.handler.at_hand()
    assert with_networks in needs
    assert needs.index(with_networks) < needs.index(f"checkpoint:{easel_shapes.NAME}")
    painter.image(prompt=PROMPT)
    assert with_networks not in painter.handler.at_hand()


def test_a_file_dropped_in_is_found_at_once(painter: Desk, plain: Any) -> None:
    folder = painter.models / "Lora"
    with pytest.raises(ContractError):
        painter.plan(prompt="<lora:fresh:1>")
    shutil.copyfile(folder / "ink.safetensors", folder / "fresh.safetensors")
    try:
        assert difference(painter.image(prompt=f"{PROMPT}<lora:fresh:1>"), plain) > 2
    finally:
        (folder / "fresh.safetensors").unlink()
