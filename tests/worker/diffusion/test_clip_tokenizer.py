"""The shipped tokenizer is CLIP's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.tokenizer import (
    MERGES_PATH,
    clip_tokenizer,
    derive_vocabulary,
    load_tokenizer,
    read_merges,
)


def test_merges_are_the_published_ones() -> None:
    assert MERGES_PATH.stat().st_size == 524_619
    assert len(read_merges()) == 48_894


def test_vocabulary_has_clips_size_and_special_tokens() -> None:
    vocabulary = derive_vocabulary(read_merges())
    assert len(vocabulary) == 49_408
    assert vocabulary["<|startoftext|>"] == 49_406
    assert vocabulary["<|endoftext|>"] == 49_407
    assert len(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")).encode()) == 862_328


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("A  PHOTO of\na cat", [320, 1125, 539, 320, 2368]),
        ("", []),
        (",", [267]),
        ("hello, world!", [3306, 267, 1002, 256]),
        ("it's 123", [585, 568, 272, 273, 274]),
    ],
)
def test_known_strings(text: str, ids: list[int]) -> None:
    assert clip_tokenizer()(text).input_ids == [49_406, *ids, 49_407]


def test_two_tokenizers_agree_on_text_in_many_scripts() -> None:
    text = "Ein Bär, 猫 im Schnee 🐱 — naïve café (masterpiece:1.2) <lora:x:0.5> İstanbul"
    first, second = clip_tokenizer(), clip_tokenizer()
    assert first(text).input_ids == second(text).input_ids
    assert first.model_max_length == 77
    assert first.pad_token_id == 49_407


def test_a_models_own_tokenizer_is_used_and_equals_the_shipped_one(model_folder: Path) -> None:
    own = load_tokenizer(model_folder / "tokenizer")
    assert own.model_max_length == 77
    assert own("a red, round house").input_ids == clip_tokenizer()("a red, round house").input_ids


def test_a_model_without_tokenizer_gets_the_shipped_one(tmp_path: Path) -> None:
    assert load_tokenizer(tmp_path / "tokenizer")("cat").input_ids == [49_406, 2368, 49_407]


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a CLIP tokenizer"):
        load_tokenizer(tmp_path)


def test_a_merge_with_three_symbols_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "merges.txt"
    path.write_text("#version: 0.2\na b\na b c\n")
    with pytest.raises(CheckpointError, match="line 3"):
        read_merges(path)
