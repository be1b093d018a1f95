"""Loading model folders: what works, and what is said about those that do not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.random_model import build_random_checkpoint

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
Weights = dict[str, torch.Tensor]


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Checkpoint:
    return load_checkpoint(folder, device=torch.device("cpu"), dtype=dtype)


def rewrite(path: Path, change: Callable[[Weights], Weights]) -> None:
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def change_config(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    others = other.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in one.state_dict().items())


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_loaded_model(folder: Path) -> None:
    model = load(folder)
    assert (model.name, model.path, model.prediction_type) == ("model", folder, "epsilon")
    assert model.scaling_factor == 0.18215
    assert model.sigmas.largest == pytest.approx(14.6146412, abs=1e-5)
    stored = sum(tensor.nbytes for file in (UNET, VAE, TEXT) for tensor in load_file(folder / file).values())
    assert stored <= model.nbytes <= stored + 1024
    for module in (model.unet, model.vae, model.text_encoder):
        assert not module.training
        assert not any(weight.requires_grad or weight.is_meta for weight in module.parameters())
        assert not any(buffer.is_meta for buffer in module.buffers())


def test_weights_take_the_asked_dtype(folder: Path) -> None:
    half, full = load(folder, torch.bfloat16), load(folder)
    assert {weight.dtype for weight in half.unet.parameters()} == {torch.bfloat16}
    assert half.nbytes < 0.51 * full.nbytes


def test_loading_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(folder)
    assert capfd.readouterr() == ("", "")


def test_a_loaded_model_does_not_depend_on_its_files_any_more(folder: Path) -> None:
    expected, model = load(folder), load(folder)
    for file in (UNET, VAE, TEXT):
        size = (folder / file).stat().st_size
        with (folder / file).open("r+b") as overwritten:
            overwritten.write(bytes(size))
    assert same_weights(model.unet, expected.unet)
    assert float(model.unet.conv_in.weight.abs().sum()) > 0
    assert float(model.text_encoder.embeddings.token_embedding.weight.abs().sum()) > 0


def test_building_is_deterministic(model_folder: Path, tmp_path: Path) -> None:
    expected = digests(model_folder)
    assert digests(build_random_checkpoint(tmp_path / "again")) == expected
    other = digests(build_random_checkpoint(tmp_path / "other", seed=1))
    assert other.keys() == expected.keys()
    assert {name for name in other if other[name] != expected[name]} == {UNET, VAE, TEXT}


def test_text_encoder_of_either_transformers_era(folder: Path) -> None:
    expected = load(folder).text_encoder

    def rename(weights: Weights) -> Weights:
        flat = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
        ignored = {"position_ids": torch.arange(77).reshape(1, -1), "text_projection.weight": torch.eye(32)}
        return {**flat, **ignored}

    rewrite(folder / TEXT, rename)
    assert same_weights(load(folder).text_encoder, expected)


def test_vae_with_the_old_attention_names(folder: Path) -> None:
    expected = load(folder).vae
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(weights: Weights) -> Weights:
        renamed = {}
        for name, tensor in weights.items():
            for new, before in old.items():
                name = name.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
            renamed[name] = tensor
        return renamed

    rewrite(folder / VAE, rename)
    assert "decoder.mid_block.attentions.0.query.weight" in load_file(folder / VAE)
    assert same_weights(load(folder).vae, expected)


def test_sharded_weights(folder: Path) -> None:
    expected = load(folder).unet
    weights = load_file(folder / UNET)
    (folder / UNET).unlink()
    names = sorted(weights)
    index: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2])):
        shard = f"diffusion_pytorch_model-{number}.safetensors"
        save_file({name: weights[name] for name in part}, folder / "unet" / shard)
        index |= dict.fromkeys(part, shard)
    (folder / f"{UNET}.index.json").write_text(json.dumps({"weight_map": index}))
    assert same_weights(load(folder).unet, expected)


def test_an_fp16_variant_alone_is_found(folder: Path) -> None:
    rewrite(folder / UNET, lambda weights: {name: tensor.half() for name, tensor in weights.items()})
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    assert {weight.dtype for weight in load(folder).unet.parameters()} == {torch.float32}


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    return str(caught.value)


def test_not_a_folder(tmp_path: Path) -> None:
    assert "does not exist: expected a model file or a diffusers model folder" in refusal(
        tmp_path / "nowhere"
    )
    file = tmp_path / "model.safetensors"
    file.touch()
    assert "cannot be read as safetensors" in refusal(file)
    assert "scheduler_config.json is missing" in refusal(tmp_path)


def test_pickles_are_refused(folder: Path) -> None:
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.bin")
    assert "diffusion_pytorch_model.bin is a pickle" in refusal(folder)


def test_weights_that_are_not_there(folder: Path) -> None:
    (folder / TEXT).unlink()
    assert refusal(folder).endswith("text_encoder/model.safetensors is missing")


@pytest.mark.parametrize("file", [UNET, VAE, TEXT])
def test_missing_weights_are_named(file: str, folder: Path) -> None:
    names = sorted(load_file(folder / file))
    rewrite(folder / file, lambda weights: {name: weights[name] for name in names[1:]})
    assert f"missing {names[0].removeprefix('text_model.')}" in refusal(folder)


def test_many_missing_weights_are_counted(folder: Path) -> None:
    rewrite(folder / UNET, lambda weights: {"conv_in.bias": weights["conv_in.bias"]})
    count = len(load_file(folder / VAE))
    assert count > 5
    assert " more" in refusal(folder)


def test_weights_of_another_model_are_named(folder: Path) -> None:
    rewrite(folder / UNET, lambda weights: {**weights, "lora.up": torch.zeros(1)})
    assert "unexpected lora.up" in refusal(folder)
    rewrite(folder / UNET, lambda weights: {**weights, "conv_in.bias": torch.zeros(5)})
    assert "conv_in.bias has shape (5,), config.json asks for (32,)" in refusal(folder)


def test_damaged_files(folder: Path) -> None:
    (folder / VAE).write_bytes((folder / VAE).read_bytes()[:1000])
    assert "cannot be read as safetensors" in refusal(folder)
    (folder / "unet/config.json").write_text("{")
    assert "unet/config.json cannot be read as JSON" in refusal(folder)
    (folder / "unet/config.json").write_text("[]")
    assert "should hold a JSON object, not a list" in refusal(folder)


def test_configurations_that_do_not_fit(folder: Path) -> None:
    change_config(folder / "scheduler/scheduler_config.json", prediction_type="sample")
    assert "prediction_type 'sample' is unknown: epsilon or v_prediction" in refusal(folder)


def test_an_unknown_block_is_named(folder: Path) -> None:
    change_config(folder / "unet/config.json", down_block_types=["MagicBlock"] * 4)
    assert "describes no model that we can build" in refusal(folder)


def test_a_tokenizer_with_too_many_words_is_refused(folder: Path) -> None:
    rewrite(
        folder / TEXT,
        lambda weights: {
            name: tensor[:720].clone() if "token_embedding" in name else tensor
            for name, tensor in weights.items()
        },
    )
    change_config(folder / "text_encoder/config.json", vocab_size=720)
    assert "the tokenizer has 49408 tokens, the text encoder knows 720" in refusal(folder)
