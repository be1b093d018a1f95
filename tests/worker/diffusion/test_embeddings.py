"""Textual inversion: files, names among tokens, and vectors in the place of tokens."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.embeddings import EmbeddingFolder, EmbeddingTable
from easel_worker.diffusion.text import ConditioningCache, TextModel
from easel_worker.diffusion.text_encoders import text_encoders

from .small_encoders import small_encoder, with_encoders


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    checkpoint.conditionings = ConditioningCache()
    return tmp_path


def vectors(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def table(folder: Path, checkpoint: Checkpoint, **options: Any) -> EmbeddingTable:
    return EmbeddingFolder(folder, **options).table(text_encoders(checkpoint))


def encode(checkpoint: Checkpoint, folder: Path, prompt: str) -> Any:
    with torch.inference_mode():
        return TextModel(checkpoint, embeddings=EmbeddingFolder(folder)).encode(prompt)


def test_vectors_stand_where_the_name_is(folder: Path, checkpoint: Checkpoint) -> None:
    # The vectors of known words: the prompt with the name must be the prompt with the words.
    words = checkpoint.tokenizer("red cat", add_special_tokens=False).input_ids
    learned = checkpoint.text_encoder.embeddings.token_embedding.weight[words]
    save_file({"emb_params": learned.clone()}, folder / "zorglub.safetensors")
    got = encode(checkpoint, folder, "a photo of zorglub, at night")
    plain = encode(checkpoint, folder, "a photo of red cat, at night")
    torch.testing.assert_close(got.context, plain.context)
    assert [embedding.name for embedding in got.embeddings] == ["zorglub"]
    assert plain.embeddings == ()
    for spelling in ("a photo of ZORGLUB, at night", "a photo of Zorglub , at night"):
        torch.testing.assert_close(encode(checkpoint, folder, spelling).context, plain.context)


def test_a_weight_is_for_all_vectors(folder: Path, checkpoint: Checkpoint) -> None:
    words = checkpoint.tokenizer("red cat", add_special_tokens=False).input_ids
    learned = checkpoint.text_encoder.embeddings.token_embedding.weight[words]
    save_file({"emb_params": learned.clone()}, folder / "zorglub.safetensors")
    got = encode(checkpoint, folder, "a (zorglub:1.4) x")
    torch.testing.assert_close(got.context, encode(checkpoint, folder, "a (red cat:1.4) x").context)


def test_other_prompts_are_encoded_as_before(folder: Path, checkpoint: Checkpoint) -> None:
    before = encode(checkpoint, folder, "a cat").context
    save_file({"emb_params": vectors(2, 32)}, folder / "zorglub.safetensors")
    with_name = encode(checkpoint, folder, "a zorglub").context
    assert torch.equal(encode(checkpoint, folder, "a cat").context, before)
    ids = checkpoint.tokenizer("a cat", padding="max_length", return_tensors="pt").input_ids
    with torch.inference_mode():
        assert torch.equal(checkpoint.text_encoder(ids).last_hidden_state, before)
    assert not torch.equal(with_name, before)


def test_a_changed_file_is_another_encoding(folder: Path, checkpoint: Checkpoint) -> None:
    library = EmbeddingFolder(folder)
    path = folder / "zorglub.safetensors"
    contexts = []
    for n, learned in enumerate((vectors(1, 32), vectors(2, 32))):
        save_file({"emb_params": learned}, path)
        os.utime(path, ns=(n, n))
        with torch.inference_mode():
            contexts.append(TextModel(checkpoint, embeddings=library).encode("a zorglub").context)
    path.unlink()
    with torch.inference_mode():
        contexts.append(TextModel(checkpoint, embeddings=library).encode("a zorglub").context)
    assert not torch.equal(contexts[0], contexts[1])
    assert not torch.equal(contexts[1], contexts[2])


def test_sdxl_files_have_vectors_for_both_encoders(folder: Path, checkpoint: Checkpoint) -> None:
    sdxl = with_encoders(checkpoint, small_encoder(32), small_encoder(48, act="gelu", projection=40))
    words = sdxl.tokenizer("red cat", add_special_tokens=False).input_ids
    first = sdxl.text_encoder.embeddings.token_embedding.weight[words]
    second = sdxl.text_encoder_2.text_model.embeddings.token_embedding.weight[words]
    save_file({"clip_l": first.clone(), "clip_g": second.clone()}, folder / "zorglub.safetensors")
    got, plain = (encode(sdxl, folder, f"a {name} x") for name in ("zorglub", "red cat"))
    torch.testing.assert_close(got.context, plain.context)
    torch.testing.assert_close(got.pooled, plain.pooled)


def test_what_cannot_be_used_is_listed_with_its_reason(folder: Path, checkpoint: Checkpoint) -> None:
    save_file({"emb_params": vectors(2, 32)}, folder / "good.safetensors")
    save_file({"emb_params": vectors(2, 768)}, folder / "wide.safetensors")
    save_file({"clip_l": vectors(2, 32), "clip_g": vectors(2, 48)}, folder / "xl.safetensors")
    save_file({"emb_params": vectors(80, 32)}, folder / "long.safetensors")
    save_file({"a": vectors(1, 32), "b": vectors(1, 32)}, folder / "lora.safetensors")
    save_file({"emb_params": torch.full((1, 32), float("nan"))}, folder / "nan.safetensors")
    save_file({"emb_params": vectors(1, 2, 16)}, folder / "cube.safetensors")
    save_file({"emb_params": vectors(1, 32)}, folder / " .safetensors")
    (folder / "torn.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    torch.save({"string_to_param": {"*": vectors(1, 32)}}, folder / "old.pt")
    (folder / "readme.txt").write_text("no embedding")
    (folder / "sub").mkdir()
    save_file({"emb_params": vectors(1, 32)}, folder / "sub" / "good.safetensors")
    found = table(folder, checkpoint)
    assert list(found.loaded) == ["good"]
    assert found.loaded["good"].count == 2
    reasons = {
        "wide": "has vectors of 768 numbers; this model's text encoder takes 32",
        "xl": "has vectors of 32 and 48 numbers; this model's text encoder takes 32",
        "long": "has 80 vectors; a chunk holds 75",
        "lora": "holds 2 tensors, none of them emb_params or clip_l and clip_g",
        "nan": "has values that are not finite",
        "cube": "has shape (1, 2, 16), not (vectors, width)",
        " ": "has a name without tokens",
        "torn": "cannot be read",
        "old": "is a pickle",
        "good.safetensors": "another has the same name",
    }
    assert found.skipped.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in found.skipped[name]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.pt", {"string_to_param": {"*": vectors(2, 32)}, "name": "a", "step": 500}),
        ("a.bin", {"<a>": vectors(32)}),
    ],
)
def test_pickles_are_read_where_they_are_allowed(
    name: str, stored: dict[str, Any], folder: Path, checkpoint: Checkpoint
) -> None:
    torch.save(stored, folder / name)
    found = table(folder, checkpoint, allow_pickles=True)
    assert found.skipped == {}
    assert found.loaded["a"].vectors["clip"].shape[1] == 32


class Surprise:
    def __reduce__(self) -> Any:
        return os.mkdir, ("surprise",)


def test_a_pickle_runs_no_code(folder: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    torch.save({"string_to_param": Surprise()}, folder / "a.pt")
    assert "cannot be read" in table(folder, checkpoint, allow_pickles=True).skipped["a"]
    assert not (folder / "surprise").exists()


def test_hashes_are_the_files(folder: Path, checkpoint: Checkpoint) -> None:
    path = folder / "a.safetensors"
    save_file({"anything": vectors(32)}, path)
    embedding = table(folder, checkpoint).loaded["a"]
    assert embedding.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert embedding.short_hash == embedding.sha256[:12]


def test_the_directory_is_read_again_only_where_it_changed(folder: Path, checkpoint: Checkpoint) -> None:
    save_file({"emb_params": vectors(1, 32)}, folder / "a.safetensors")
    library, encoders = EmbeddingFolder(folder), text_encoders(checkpoint)
    first = library.table(encoders)
    assert library.table(text_encoders(checkpoint)) is first
    save_file({"emb_params": vectors(2, 32)}, folder / "b.safetensors")
    second = library.table(encoders)
    assert list(second.loaded) == ["a", "b"]
    assert second.loaded["a"].vectors["clip"] is first.loaded["a"].vectors["clip"]
    assert second.version != first.version


def test_a_missing_folder_has_no_embeddings(tmp_path: Path, checkpoint: Checkpoint) -> None:
    found = table(tmp_path / "nowhere", checkpoint)
    assert (found.loaded, found.skipped, found.version) == ({}, {}, "")
