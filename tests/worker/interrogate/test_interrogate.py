"""Interrogation with real BLIP and CLIP classes, tiny and with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from easel_worker.diffusion.libraries import transformers
from easel_worker.interrogate import Interrogator
from easel_worker.interrogate.blip import Blip
from easel_worker.upscaling.errors import WeightsError

from ..intake.pictures import file_of, gradient, text_of

PATH = "/sdapi/v1/interrogate"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "##s", "dog", "on", "the", "mat", "[DEC]"]
PICTURE = text_of(file_of(gradient(40, 30)))


def save_blip(folder: Path) -> Any:
    torch.manual_seed(5)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BlipConfig(
        text_config={
            **sizes,
            "vocab_size": len(WORDS),
            "encoder_hidden_size": 16,
            "max_position_embeddings": 64,
            "bos_token_id": 12,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "sep_token_id": 3,
            "is_decoder": True,
        },
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
    )
    model = transformers.BlipForConditionalGeneration(config)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS[:-1]) + "\n")
    return model


def save_clip(folder: Path) -> None:
    torch.manual_seed(6)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**sizes, "eos_token_id": 49407, "bos_token_id": 49406, "pad_token_id": 49407},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    transformers.CLIPModel(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrogate") / "models"
    save_blip(folder / "BLIP")
    save_clip(folder / "CLIP")
    return folder


@pytest.fixture
def ask(scene: Any, local_worker: Callable[..., Any], models: Path) -> Callable[..., dict[str, Any]]:
    local_worker(
        scene,
        handlers="easel_worker.handlers.interrogate:InterrogateHandler",
        data_dir=models.parent,
        torch_threads=1,
        device="cpu",
    )

    def call(**body: object) -> dict[str, Any]:
        entry = scene.result(scene.put(body, path=PATH))
        return {"code": int(entry.tags.get("lastCode", 200)), **json.loads(entry.data)}

    return call


def test_a_caption_is_what_the_model_generates(models: Path) -> None:
    blip = Blip(models / "BLIP", torch.device("cpu"))
    caption = blip.caption(gradient(), min_length=8, max_length=12, beams=1)
    assert caption
    assert set("".join(caption.split())) <= set("".join(WORDS[5:-1]))
    assert blip.caption(gradient(), min_length=8, max_length=12, beams=1) == caption


def test_word_pieces_become_words(models: Path) -> None:
    blip = Blip(models / "BLIP", torch.device("cpu"))
    assert blip.text([12, 5, 6, 7, 9, 10, 11, 3, 0, 99]) == "a cats on the mat"


def test_phrases_are_ranked_by_clip(models: Path, tmp_path: Path) -> None:
    for name in ("BLIP", "CLIP"):
        (tmp_path / name).symlink_to(models / name)
    lists = tmp_path / "interrogate"
    lists.mkdir()
    interrogator = Interrogator(tmp_path, lambda: torch.device("cpu"))
    caption = interrogator.describe(gradient())
    (lists / "artists.txt").write_text("one painter\nanother painter\n\n  \na third\n")
    (lists / "flavors.top2.txt").write_text("sharp\nsoft\ndark\n")
    (lists / "empty.txt").write_text("\n")
    ranked = interrogator.describe(gradient())
    assert ranked.startswith(f"{caption}, ")
    artist, *flavors = ranked.removeprefix(f"{caption}, ").split(", ")
    assert artist in {"one painter", "another painter", "a third"}
    assert len(flavors) == 2
    (lists / "flavors.top2.txt").unlink()
    (lists / "flavors.top3.txt").write_text("dark\nsharp\nsoft\n")
    *others, last = interrogator.describe(gradient()).split(", ")[-3:]
    assert others == flavors  # how lines are ordered does not matter
    assert {*others, last} == {"sharp", "soft", "dark"}


def test_word_lists_are_cut_and_left_out_as_options_say(models: Path, tmp_path: Path) -> None:
    for name in ("BLIP", "CLIP"):
        (tmp_path / name).symlink_to(models / name)
    lists = tmp_path / "interrogate"
    lists.mkdir()
    (lists / "artists.txt").write_text("one painter\nanother painter\na third\n")
    (lists / "flavors.top3.txt").write_text("dark\nsharp\nsoft\n")
    interrogator = Interrogator(tmp_path, lambda: torch.device("cpu"))
    caption = interrogator.describe(gradient(), skipped=["artists", "flavors"])
    assert interrogator.describe(gradient(), skipped=["flavors"], lines=1) == f"{caption}, one painter"
    all_of_them = interrogator.describe(gradient(), skipped=["artists"], lines=0)
    assert set(all_of_them.removeprefix(f"{caption}, ").split(", ")) == {"dark", "sharp", "soft"}


def test_the_services_options_decide_how_long_a_caption_is(
    ask: Callable[..., dict[str, Any]], scene: Any
) -> None:
    long = ask(image=PICTURE)["caption"]
    options = scene.queue.options
    values = {"interrogate_clip_min_length": 2, "interrogate_clip_max_length": 4}
    assert scene.run(options.replace(scene.run(options.read()), values))
    short = ask(image=PICTURE)["caption"]
    assert len(short) < len(long)


def test_through_a_worker(ask: Callable[..., dict[str, Any]]) -> None:
    answer = ask(image=PICTURE)
    assert answer["code"] == 200, answer
    assert isinstance(answer["caption"], str)
    for body, code, told in (
        ({"image": PICTURE, "model": "foo"}, 404, "Model not found"),
        ({"image": PICTURE, "model": "deepdanbooru"}, 501, "use 'clip'"),
        ({}, 404, "Image not found"),
        ({"image": "hello, world"}, 422, "Invalid encoded image"),
    ):
        answer = ask(**body)
        assert answer["code"] == code
        assert told in answer["detail"]


def test_missing_files_are_named(ask: Callable[..., dict[str, Any]], models: Path) -> None:
    weights = models / "BLIP/model.safetensors"
    weights.rename(weights.with_suffix(".away"))
    try:
        answer = ask(image=PICTURE)
    finally:
        weights.with_suffix(".away").rename(weights)
    assert answer["code"] == 422
    assert "needs a file that is missing: models/BLIP/model.safetensors" in answer["detail"]


def test_a_broken_folder_is_named(models: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((models / "BLIP/config.json").read_text())
    (tmp_path / "vocab.txt").write_text("a\n")
    (tmp_path / "model.safetensors").write_bytes(b"junk" * 99)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Blip(tmp_path, torch.device("cpu"))
    (tmp_path / "model.safetensors").write_bytes((models / "CLIP/model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"lacks weights|cannot be loaded"):
        Blip(tmp_path, torch.device("cpu"))
