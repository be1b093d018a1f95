"""The VAEs of the model directory, and what a request may call them."""

from __future__ import annotations

from pathlib import Path

import pytest

from easel_contract.checkpoint_files import ModelFile, find_models
from easel_contract.errors import ContractError
from easel_contract.vae_files import VaeFolder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in (
        "VAE/ft-mse.safetensors",
        "VAE/Anime.pt",
        "VAE/xl/ft-mse.safetensors",
        "VAE/xl/sdxl.safetensors",
        "VAE/folder/config.json",
        "VAE/folder/diffusion_pytorch_model.safetensors",
        "VAE/.hidden.pt",
        "VAE/notes.txt",
        "Stable-diffusion/deep/dreamy.safetensors",
        "Stable-diffusion/deep/dreamy.vae.pt",
        "Stable-diffusion/plain.ckpt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
    return tmp_path


def test_all_there_are_with_those_beside_checkpoints(models: Path) -> None:
    assert [file.name for file in VaeFolder(models).files()] == [
        "Anime.pt", "dreamy.vae.pt", "folder", "ft-mse.safetensors", "sdxl.safetensors",
        "xl/ft-mse.safetensors",
    ]  # fmt: skip
    assert VaeFolder(models / "nowhere").files() == ()


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("ft-mse.safetensors", "VAE/ft-mse.safetensors"),
        (" FT-MSE.safetensors ", "VAE/ft-mse.safetensors"),
        ("ft-mse", "VAE/ft-mse.safetensors"),
        ("xl/ft-mse.safetensors", "VAE/xl/ft-mse.safetensors"),
        ("xl/ft-mse", "VAE/xl/ft-mse.safetensors"),
        ("xl/sdxl", "VAE/xl/sdxl.safetensors"),
        ("sdxl", "VAE/xl/sdxl.safetensors"),
        ("anime", "VAE/Anime.pt"),
        ("folder", "VAE/folder"),
        ("dreamy.vae.pt", "Stable-diffusion/deep/dreamy.vae.pt"),
    ],
)
def test_spellings(models: Path, asked: str, path: str) -> None:
    assert VaeFolder(models).resolve(asked).path == models / path


@pytest.mark.parametrize(
    "asked", ["nobody", "../VAE/ft-mse", "/etc/passwd", ".hidden.pt", "notes.txt", "\udcff"]
)
def test_no_other_file_is_reached(models: Path, asked: str) -> None:
    with pytest.raises(ContractError) as caught:
        VaeFolder(models).resolve(asked, field="override_settings.sd_vae")
    assert (caught.value.status, caught.value.field) == (422, "override_settings.sd_vae")
    assert "use one of Automatic, None, Anime.pt, dreamy.vae.pt" in caught.value.message


def test_the_one_beside_a_checkpoint_safetensors_first(models: Path) -> None:
    folder = VaeFolder(models)
    found = find_models(models / "Stable-diffusion")
    assert sorted(found) == ["deep/dreamy", "plain"], "a VAE is no checkpoint"
    beside = folder.beside(found["deep/dreamy"])
    assert beside is not None
    assert (beside.name, beside.is_pickle) == ("dreamy.vae.pt", True)
    (models / "Stable-diffusion/deep/dreamy.vae.safetensors").write_bytes(b"better")
    better = folder.beside(found["deep/dreamy"])
    assert better is not None
    assert (better.name, better.is_pickle) == ("dreamy.vae.safetensors", False)
    assert folder.beside(found["plain"]) is None
    assert folder.beside(ModelFile("folder", models / "VAE/folder", (0, 0))) is None


def test_another_version_is_another_file_and_a_broken_link_none(models: Path) -> None:
    folder = VaeFolder(models)
    before = folder.resolve("ft-mse")
    (models / "VAE/ft-mse.safetensors").write_bytes(b"other weights")
    assert folder.resolve("ft-mse") != before
    (models / "VAE/lost.pt").symlink_to(models / "gone.pt")
    (models / "VAE/loop").symlink_to(models / "VAE")
    assert "lost.pt" not in [file.name for file in folder.files()]
    assert len(folder.files()) == 6
