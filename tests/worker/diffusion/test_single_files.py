"""LDM-format files of every family: the same weights and the same picture as the folders they come from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.errors import CheckpointError

from .small_models import KINDS, as_pickle, beside, copy_with, vae_weights, write_file, write_folder

CPU = torch.device("cpu")
VELOCITY = 'model:\n  params:\n    parameterization: "v"\n'


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Each family's folder and file."""
    home = tmp_path_factory.mktemp("families")
    made = {}
    for name, kind in KINDS.items():
        folder = write_folder(kind, home / name)
        made[name] = folder, write_file(kind, folder, home / "files" / f"{name}.safetensors")
    return made


def load(path: Path, **more: Any) -> Checkpoint:
    return load_checkpoint(path, device=CPU, dtype=torch.float32, **more)


def modules(checkpoint: Checkpoint) -> list[torch.nn.Module]:
    all_of_them = (checkpoint.unet, checkpoint.vae, checkpoint.text_encoder, checkpoint.text_encoder_2)
    return [module for module in all_of_them if module is not None]


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    for ours, theirs in zip(modules(one), modules(other), strict=True):
        others = theirs.state_dict()
        assert ours.state_dict().keys() == others.keys()
        for name, tensor in ours.state_dict().items():
            assert torch.equal(tensor, others[name]), name
            assert tensor.is_contiguous() or tensor.ndim == 4, name


@pytest.mark.parametrize("name", KINDS)
def test_a_file_is_the_folder_that_it_was_written_from(pairs: Any, name: str) -> None:
    folder, file = (load(path) for path in pairs[name])
    assert_same(file, folder)
    assert file.name == name
    assert (file.takes, file.scaling_factor, file.size_numbers) == (
        folder.takes,
        folder.scaling_factor,
        folder.size_numbers,
    )
    np.testing.assert_array_equal(file.sigmas.table, folder.sigmas.table)
    # The same computation, not only the same weights: heads, groups, activations.
    config = folder.unet.config
    noise = torch.randn(2, config.in_channels, 16, 16, generator=torch.Generator().manual_seed(1))
    context = torch.randn(2, 77, config.cross_attention_dim, generator=torch.Generator().manual_seed(2))
    ids = torch.arange(77)[None] * 600
    outputs = []
    for checkpoint in (folder, file):
        added = {"text_embeds": torch.ones(2, 64), "time_ids": torch.full((2, checkpoint.size_numbers), 64.0)}
        more = {"added_cond_kwargs": added} if checkpoint.size_numbers else {}
        with torch.inference_mode():
            outputs.append(
                [
                    checkpoint.unet(noise, torch.tensor(500.0), context, **more).sample,
                    checkpoint.vae.decode(noise[:, :4]).sample,
                    *(encoder(ids)[0] for encoder in modules(checkpoint)[2:]),
                ]
            )
    for one, other in zip(*outputs, strict=True):
        assert torch.equal(one, other)


def test_what_families_are_told_apart_by(pairs: Any) -> None:
    seen = {name: load(file) for name, (_, file) in pairs.items()}
    assert {name: model.size_numbers for name, model in seen.items() if model.size_numbers} == {
        "sdxl": 6,
        "sdxl-refiner": 5,
        "sdxl-inpainting": 6,
    }
    assert {name for name, model in seen.items() if model.takes == "mask"} == {
        "sd1-inpainting",
        "sdxl-inpainting",
    }
    assert {name for name, model in seen.items() if model.text_encoder_2 is not None} == {
        "sdxl",
        "sdxl-inpainting",
    }


def test_weights_become_the_wanted_type_and_no_view_of_the_file(pairs: Any, tmp_path: Path) -> None:
    file = copy_with(pairs["sdxl"][1], tmp_path / "model.safetensors")
    before = load_checkpoint(file, device=CPU, dtype=torch.bfloat16)
    assert {p.dtype for module in modules(before) for p in module.parameters()} == {torch.bfloat16}
    copy = {name: tensor.clone() for name, tensor in before.unet.state_dict().items()}
    with file.open("r+b") as stream:
        stream.write(b"\0" * file.stat().st_size)
    assert all(torch.equal(tensor, copy[name]) for name, tensor in before.unet.state_dict().items())


def test_who_says_that_the_velocity_is_predicted(pairs: Any, tmp_path: Path) -> None:
    file = pairs["sd1"][1]
    assert load(file).prediction_type == "epsilon"
    marked = copy_with(file, tmp_path / "a.safetensors", v_pred=torch.zeros(1), ztsnr=torch.zeros(1))
    model = load(marked)
    assert model.prediction_type == "v_prediction"
    assert model.sigmas.largest > 4000
    plain = copy_with(file, tmp_path / "b.safetensors")
    plain.with_suffix(".yaml").write_text(VELOCITY.replace('"v"', '"eps"'))
    assert load(plain).prediction_type == "epsilon"
    plain.with_suffix(".yaml").write_text(VELOCITY)
    assert load(plain).prediction_type == "v_prediction"
    spec = write_file(
        KINDS["sd1"], pairs["sd1"][0], tmp_path / "c.safetensors", {"modelspec.prediction_type": "v"}
    )
    assert load(spec).prediction_type == "v_prediction"


def test_sd2s_unet_is_asked_what_it_predicts(pairs: Any, tmp_path: Path) -> None:
    file = pairs["sd2"][1]
    assert load(file).prediction_type == "v_prediction"
    # One that hands its input on, as a predictor of noise does at the last timestep.
    weights = {"conv_in.weight": torch.zeros(32, 4, 3, 3), "conv_out.weight": torch.zeros(4, 32, 3, 3)}
    name, out = (f"model.diffusion_model.{place}" for place in ("input_blocks.0.0", "out.2"))
    skip = "model.diffusion_model.output_blocks.7.0"
    passing = torch.zeros(32, 64, 1, 1)
    for channel in range(8):
        latent, sign = channel // 2, 1.0 - 2.0 * (channel % 2)
        weights["conv_in.weight"][channel, latent, 1, 1] = sign
        weights["conv_out.weight"][latent, channel, 1, 1] = sign
        passing[channel, 32 + channel] = 1.0
    changed = copy_with(
        file,
        tmp_path / "noise.safetensors",
        **{
            f"{name}.weight": weights["conv_in.weight"],
            f"{out}.weight": weights["conv_out.weight"],
            f"{skip}.skip_connection.weight": passing,
            f"{skip}.out_layers.3.weight": torch.zeros(32, 32, 3, 3),
            "model.diffusion_model.output_blocks.7.1.proj_out.weight": torch.zeros(32, 32),
        },
    )
    assert load(changed).prediction_type == "epsilon"


def test_a_vae_beside_stands_in(pairs: Any, tmp_path: Path) -> None:
    file = copy_with(pairs["sd1"][1], tmp_path / "model.safetensors")
    other = write_folder(KINDS["sd1"], tmp_path / "other", seed=9)
    for prefix in ("", "first_stage_model."):
        named = {prefix + name: tensor for name, tensor in vae_weights(other).items()}
        save_file(named, tmp_path / "vae.safetensors")
        beside(file, ".vae.safetensors", tmp_path / "vae.safetensors")
        got, wanted = load(file), load(other)
        assert all(
            torch.equal(tensor, got.vae.state_dict()[name])
            for name, tensor in wanted.vae.state_dict().items()
        )
    bare = copy_with(file, tmp_path / "model.safetensors", without="first_stage_model.")
    assert_same(load(bare), dataclasses.replace(load(pairs["sd1"][0]), vae=wanted.vae))
    beside(file, ".vae.safetensors", pairs["sd1"][0] / "unet/diffusion_pytorch_model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.vae\.safetensors: .*VAE"):
        load(file)


def test_pickles_are_read_when_allowed(pairs: Any, tmp_path: Path) -> None:
    folder, file = pairs["sd1"]
    pickled = as_pickle(file, tmp_path / "old.ckpt")
    with pytest.raises(CheckpointError, match="EASEL_ALLOW_PICKLE"):
        load(pickled)
    assert_same(load(pickled, allow_pickle=True), load(folder))
    oldest = as_pickle(file, tmp_path / "oldest.ckpt", archive=False)
    assert_same(load(oldest, allow_pickle=True), load(folder))


class Harm:
    def __reduce__(self) -> Any:
        return (open, ("/nonexistent/touched", "w"))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": Harm()}}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="restricted reader"):
        load(tmp_path / "evil.ckpt", allow_pickle=True)


NOT_CHECKPOINTS = {
    "a LoRA": "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
    "a ControlNet": "control_model.input_hint_block.0.weight",
    "a VAE": "first_stage_model.encoder.conv_in.weight",
    "a textual inversion": "emb_params",
    "a part of a diffusers folder": "down_blocks.0.resnets.0.conv1.weight",
    "no checkpoint in LDM's format": "whatever",
    "Stable Diffusion 3": "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight",
    "no text encoder": "model.diffusion_model.input_blocks.0.0.weight",
}


@pytest.mark.parametrize("said", NOT_CHECKPOINTS)
def test_files_that_are_something_else_are_named(tmp_path: Path, said: str) -> None:
    save_file({NOT_CHECKPOINTS[said]: torch.zeros(2, 2)}, tmp_path / "wrong.safetensors")
    with pytest.raises(CheckpointError, match=rf"wrong\.safetensors: .*{said}"):
        load(tmp_path / "wrong.safetensors")


def test_what_is_missing_is_named_by_part(pairs: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    for without, said in (
        ("model.diffusion_model.middle_block.0", r"model\.diffusion_model\.\*: mid_block\.resnets\.0"),
        ("model.diffusion_model.input_blocks.2.0.op", "missing in model"),
        ("first_stage_model.decoder.mid", r"first_stage_model\.\*: decoder\.mid_block"),
        ("first_stage_model.", "no VAE"),
        ("conditioner.embedders.1.model.transformer.resblocks.1.", r"embedders\.1\.model\.\*: text_model"),
        ("conditioner.embedders.1.model.text_projection", "text_projection"),
    ):
        copy_with(pairs["sdxl"][1], broken, without=without)
        with pytest.raises(CheckpointError, match=said):
            load(broken)


def test_shapes_that_contradict_each_other_and_damaged_files(pairs: Any, tmp_path: Path) -> None:
    name = "model.diffusion_model.middle_block.0.in_layers.2.weight"
    odd = copy_with(pairs["sd1"][1], tmp_path / "odd.safetensors", **{name: torch.zeros(3, 3)})
    with pytest.raises(CheckpointError, match=r"middle_block\.0\.in_layers\.2\.weight .*\(3, 3\)"):
        load(odd)
    (tmp_path / "cut.safetensors").write_bytes(pairs["sd1"][1].read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load(tmp_path / "cut.safetensors")


def test_a_small_vocabulary_has_no_tokenizer_in_a_file(tmp_path: Path) -> None:
    kind = dataclasses.replace(KINDS["sd1"], words=720)
    file = write_file(kind, write_folder(kind, tmp_path / "small"), tmp_path / "small.safetensors")
    with pytest.raises(CheckpointError, match="tokenizer has 49408 tokens, the text encoder knows 720"):
        load(file)


def test_a_header_may_tell_heads_and_groups_and_nothing_else(pairs: Any, tmp_path: Path) -> None:
    told = {"unet": {"attention_head_dim": 4, "in_channels": 9}, "vae": {"norm_num_groups": "x"}, "evil": 1}
    header = {"easel.config": json.dumps(told)}
    file = write_file(KINDS["sd1"], pairs["sd1"][0], tmp_path / "told.safetensors", header)
    model = load(file)
    assert (model.unet.config.attention_head_dim, model.unet.config.in_channels) == (4, 4)
    assert model.vae.config.norm_num_groups == 32
    header = {"easel.config": "[" * 100_000}
    assert_same(load(write_file(KINDS["sd1"], pairs["sd1"][0], file, header)), load(pairs["sd1"][0]))
