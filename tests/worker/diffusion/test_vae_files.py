"""VAEs in files of their own: half precision, another factor, weights that are missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.decode import decode
from easel_worker.diffusion.encode import LATENT_FACTOR
from easel_worker.diffusion.errors import CheckpointError, NanError
from easel_worker.diffusion.text import Encoded
from easel_worker.diffusion.vae import Vae, load_vae, with_vae

from .small_models import KINDS, vae_weights, write_file, write_folder

CPU = torch.device("cpu")
SD1 = 0.18215


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint as folder and file."""
    home = tmp_path_factory.mktemp("made")
    write_file(KINDS["sd1"], write_folder(KINDS["sd1"], home / "sd1"), home / "sd1.safetensors")
    return home


@pytest.fixture(scope="module")
def small(made: Path) -> Checkpoint:
    return load_checkpoint(made / "sd1", device=CPU, dtype=torch.float32)


def load(path: Path, dtype: torch.dtype = torch.float32, factor: float = SD1) -> Vae:
    return load_vae(path, scaling_factor=factor, device=CPU, dtype=dtype)


@torch.inference_mode()
def test_a_named_vae_that_overflows_in_half_precision_is_run_again_in_32_bits(
    made: Path, small: Checkpoint, tmp_path: Path
) -> None:
    weights = vae_weights(made / "sd1")
    large = weights["decoder.conv_in.weight"]
    weights["decoder.conv_in.weight"] = large * (6e4 / large.abs().max())
    path = tmp_path / "loud.safetensors"
    save_file(weights, path)
    full = with_vae(small, load(path))
    half = replace(with_vae(small, load(path, torch.float16)), dtype=torch.float16)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 5

    with pytest.raises(NanError, match="the VAE"):
        decode(half, latents)
    again = decode(half, latents, fall_back=True)
    assert np.abs(again.astype(int) - decode(full, latents).astype(int)).max() <= 3, "rounded weights apart"
    assert half.vae.dtype is torch.float16, "the VAE itself is as it was"


def test_it_has_the_factor_that_it_is_loaded_for_and_convolutions_channels_last(made: Path) -> None:
    vae = load(made / "sd1" / "vae" / "diffusion_pytorch_model.safetensors", torch.bfloat16, factor=0.13025)
    assert vae.module.config.scaling_factor == 0.13025
    assert vae.module.config.use_quant_conv
    assert {parameter.dtype for parameter in vae.module.parameters()} == {torch.bfloat16}
    assert vae.module.decoder.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(parameter.requires_grad for parameter in vae.module.parameters())
    assert vae.nbytes == 2 * sum(parameter.numel() for parameter in vae.module.parameters())


def test_what_is_wrong_with_a_file_is_told_with_its_name(made: Path, tmp_path: Path) -> None:
    weights = vae_weights(made / "sd1")
    del weights["decoder.norm_out.weight"]
    save_file(weights, tmp_path / "short.safetensors")
    with pytest.raises(CheckpointError, match=r"short\.safetensors: weights are missing.*conv_norm_out"):
        load(tmp_path / "short.safetensors")
    with pytest.raises(CheckpointError, match=r"this is a checkpoint.*models/Stable-diffusion"):
        load(made / "sd1.safetensors")
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load(tmp_path)
    flat = {name: t for name, t in vae_weights(made / "sd1").items() if ".down.3." not in name}
    flat = {name: t for name, t in flat.items() if ".up.3." not in name}
    save_file(flat, tmp_path / "flat.safetensors")
    with pytest.raises(CheckpointError, match=f"4 pixels wide, {LATENT_FACTOR} are supported"):
        load(tmp_path / "flat.safetensors")


def test_a_checkpoint_moves_with_all_its_parts_and_forgets_what_it_encoded(made: Path) -> None:
    small = load_checkpoint(made / "sd1.safetensors", device=CPU, dtype=torch.float32)
    small.conditionings.put("a", Encoded(torch.zeros(1, 77, 64)))
    meta = torch.device("meta")
    small.to(meta)
    assert small.device == meta
    assert {tensor.device for module in small.modules for tensor in module.state_dict().values()} == {meta}
    assert small.text_encoder.embeddings.position_ids.device == meta
    assert len(small.conditionings) == 0


def test_the_vae_beside_a_file_is_left_out_where_its_own_is_wanted(made: Path, tmp_path: Path) -> None:
    write_folder(KINDS["sd1"], tmp_path / "other", seed=3)
    save_file(vae_weights(tmp_path / "other"), tmp_path / "m.vae.safetensors")
    whole = load_file(made / "sd1.safetensors")
    save_file(whole, tmp_path / "m.safetensors")

    def vae_of(own_vae: bool) -> torch.Tensor:
        checkpoint = load_checkpoint(
            tmp_path / "m.safetensors", device=CPU, dtype=torch.float32, own_vae=own_vae
        )
        weight: torch.Tensor = checkpoint.vae.decoder.conv_in.weight
        return weight

    own = whole["first_stage_model.decoder.conv_in.weight"]
    assert torch.equal(vae_of(True), own)
    assert not torch.equal(vae_of(False), own)
    save_file({n: t for n, t in whole.items() if "first_stage" not in n}, tmp_path / "m.safetensors")
    assert not torch.equal(vae_of(True), own), "a file without one has only the one beside"
