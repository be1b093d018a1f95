"""Textual inversions inside LoRA files: read, attached with their LoRA, and gone with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.embeddings import EmbeddingFolder, StoredEmbedding
from easel_worker.diffusion.extra_networks import Attached, ExtraNetworks, NetworkUse
from easel_worker.diffusion.lora.file import read_lora
from easel_worker.diffusion.text import Encoded, TextModel

from ...small_models.lora import write_lora
from .small_checkpoints import small_checkpoint


@pytest.fixture(scope="module")
def sd1() -> Checkpoint:
    return small_checkpoint("sd1")


@pytest.fixture(scope="module")
def sdxl() -> Checkpoint:
    return small_checkpoint("sdxl")


def bundle(path: Path, checkpoint: Checkpoint, tensors: Mapping[str, torch.Tensor]) -> Path:
    """A LoRA that changes the UNet alone, with further tensors."""
    write_lora(path, checkpoint, parts="unet")
    save_file({**load_file(path), **tensors}, path)
    return path


def words_of(checkpoint: Checkpoint, words: str, *, second: bool = False) -> torch.Tensor:
    """The vectors of known words: a prompt with an embedding of them must be the prompt with the words."""
    encoder: Any = checkpoint.text_encoder_2 if second else checkpoint.text_encoder
    ids = checkpoint.tokenizer(words, add_special_tokens=False).input_ids
    table: torch.Tensor = encoder.get_input_embeddings().weight
    return table[ids].detach().clone()


def attach(checkpoint: Checkpoint, *paths: Path, weight: float = 1.0) -> Attached:
    networks = ExtraNetworks()
    try:
        return networks.attach(
            checkpoint, [NetworkUse("lora", path.stem, path, weight, weight) for path in paths]
        )
    finally:
        networks.forget()


def encode(
    checkpoint: Checkpoint, folder: Path, prompt: str, bundled: tuple[StoredEmbedding, ...] = ()
) -> Encoded:
    with torch.inference_mode():
        return TextModel(checkpoint, embeddings=EmbeddingFolder(folder), bundled=bundled).encode(prompt)


@pytest.mark.parametrize(
    "key",
    ["string_to_param.*", "emb_params", "clip_l"],
    ids=["from a .pt", "from a .safetensors", "OneTrainer's"],
)
@pytest.mark.parametrize("name", ["zorglub", "zorg.lub"])
def test_a_name_means_the_files_vectors(tmp_path: Path, sd1: Checkpoint, key: str, name: str) -> None:
    learned = words_of(sd1, "red cat")
    path = bundle(tmp_path / "a.safetensors", sd1, {f"bundle_emb.{name}.{key}": learned})
    attached = attach(sd1, path)
    assert attached.problems == ()
    empty = tmp_path / "embeddings"
    got = encode(sd1, empty, f"a photo of {name}, at night", attached.embeddings)
    plain = encode(sd1, empty, "a photo of red cat, at night")
    torch.testing.assert_close(got.context, plain.context)
    [used] = got.embeddings
    assert (used.name, used.count, len(used.short_hash)) == (name, len(learned), 12)
    without = encode(sd1, empty, f"a photo of {name}, at night")
    assert without.embeddings == ()
    assert not torch.equal(without.context, got.context), "without the LoRA it is a word"


def test_sdxls_have_vectors_for_both_encoders(tmp_path: Path, sdxl: Checkpoint) -> None:
    parts = {
        "bundle_emb.zorglub.clip_l": words_of(sdxl, "red cat"),
        "bundle_emb.zorglub.clip_g": words_of(sdxl, "red cat", second=True),
    }
    attached = attach(sdxl, bundle(tmp_path / "a.safetensors", sdxl, parts))
    got = encode(sdxl, tmp_path, "a zorglub x", attached.embeddings)
    plain = encode(sdxl, tmp_path, "a red cat x")
    torch.testing.assert_close(got.context, plain.context)
    torch.testing.assert_close(got.pooled, plain.pooled)


def test_a_files_own_wins_over_the_folders_and_the_first_file_over_the_next(
    tmp_path: Path, sd1: Checkpoint
) -> None:
    key = "bundle_emb.zorglub.emb_params"
    one = bundle(tmp_path / "one.safetensors", sd1, {key: words_of(sd1, "red cat")})
    two = bundle(tmp_path / "two.safetensors", sd1, {key: words_of(sd1, "blue")})
    folder = tmp_path / "embeddings"
    folder.mkdir()
    save_file({"emb_params": words_of(sd1, "dog")}, folder / "zorglub.safetensors")
    attached = attach(sd1, one, two)
    [problem] = attached.problems
    assert problem.startswith("prompt: lora 'two': its embedding 'zorglub' was left out")
    for prompt, bundled in (
        ("red cat", attached.embeddings),
        ("blue", attach(sd1, two).embeddings),
        ("dog", ()),
    ):
        got = encode(sd1, folder, "a zorglub", bundled)
        torch.testing.assert_close(got.context, encode(sd1, folder, f"a {prompt}").context)


def test_what_cannot_be_used_says_why_and_a_folders_may_stand_in(tmp_path: Path, sd1: Checkpoint) -> None:
    broken = {
        "wide": torch.zeros(1, 768),
        "cube": torch.zeros(1, 2, 2),
        "nan": torch.full((1, 64), float("nan")),
    }
    path = bundle(
        tmp_path / "a.safetensors", sd1, {f"bundle_emb.{name}.emb_params": t for name, t in broken.items()}
    )
    bundled = attach(sd1, path).embeddings
    folder = tmp_path / "embeddings"
    folder.mkdir()
    table = TextModel(sd1, embeddings=EmbeddingFolder(folder), bundled=bundled).embeddings
    assert table is not None
    assert table.loaded == {}
    assert "has vectors of 768 numbers" in table.skipped["wide"]
    assert "has shape (1, 2, 2)" in table.skipped["cube"]
    assert "not finite" in table.skipped["nan"]
    save_file({"emb_params": words_of(sd1, "red")}, folder / "wide.safetensors")
    table = TextModel(sd1, embeddings=EmbeddingFolder(folder), bundled=bundled).embeddings
    assert table is not None
    assert list(table.loaded) == ["wide"]
    assert "wide" not in table.skipped


def test_they_are_read_once_and_named_also_at_weight_0(tmp_path: Path, sd1: Checkpoint) -> None:
    path = bundle(
        tmp_path / "a.safetensors", sd1, {"bundle_emb.zorglub.emb_params": words_of(sd1, "red cat")}
    )
    [embedding] = attach(sd1, path, weight=0).embeddings
    assert (embedding.name, embedding.place) == ("zorglub", "a.safetensors: zorglub")
    [again] = attach(sd1, path, path).embeddings
    assert again.name == "zorglub"
    file = read_lora(path)
    assert file.unknown == ()
    assert not any("bundle" in name for name in file.modules)
