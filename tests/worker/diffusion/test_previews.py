"""Live previews: colours from latents, TAESD's files, and which steps are shown."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from easel_shapes.recipe.fit_previews import fit
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.latent_rgb import (
    FILE,
    SD1,
    SDXL,
    LatentRgb,
    fit_latent_rgb,
    latent_rgb_of,
    read_latent_rgb,
    write_latent_rgb,
)
from easel_worker.diffusion.previews import (
    CHEAP,
    FULL,
    TAESD,
    Previewer,
    Previews,
    PreviewSettings,
    preview,
)
from easel_worker.diffusion.taesd import TaesdFiles
from easel_worker.previews import PreviewImage

from .small_taesd import tiny_vae, write_taesd

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@torch.inference_mode()
def latents_of(checkpoint: Any, picture: NDArray[np.uint8]) -> torch.Tensor:
    """The picture as the UNet would have it."""
    colours = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    encoded: torch.Tensor = checkpoint.vae.encode(colours).latent_dist.mean
    return encoded * checkpoint.scaling_factor


def averaged(picture: NDArray[np.uint8], factor: int = 8) -> NDArray[np.float64]:
    height, width, _ = picture.shape
    blocks = picture.reshape(height // factor, factor, width // factor, factor, 3)
    return blocks.mean(axis=(1, 3))


@pytest.mark.parametrize(
    "prompt", ["a red circle on a blue background", "a yellow star on a black background"]
)
def test_a_preview_of_the_shipped_model_has_the_pictures_colours(
    shapes_checkpoint: Any, render: Any, prompt: str
) -> None:
    picture = render(prompt, seed=1)
    decoder = Previews(TaesdFiles(Path("nowhere"))).decoder(shapes_checkpoint, CHEAP)
    assert decoder is not None
    shown = preview(latents_of(shapes_checkpoint, picture), decoder)
    assert shown.shape == (16, 16, 3)
    assert shown.dtype == np.uint8
    right = np.abs(shown - averaged(picture)).mean()
    stock = np.abs(SD1(latents_of(shapes_checkpoint, picture))[0] - averaged(picture)).mean()
    assert right < 40, "a glimpse: the colours are clearly those of the picture"
    assert right < stock / 2, "the matrix of another VAE is far off"


def test_the_stored_matrix_is_what_the_fit_finds(shapes_checkpoint: Any) -> None:
    stored, found = latent_rgb_of(shapes_checkpoint), fit(shapes_checkpoint, 64)
    assert stored is not None
    np.testing.assert_allclose(np.array(found.matrix), np.array(stored.matrix), atol=0.05)
    np.testing.assert_allclose(found.bias, stored.bias, atol=0.05)


def test_a_fit_of_linear_colours_is_exact(tmp_path: Path) -> None:
    matrix = ((0.5, 0.25, -0.125), (-0.5, 0.75, 0.0))
    wanted = LatentRgb(matrix, (0.1, -0.2, 0.3))
    latents = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    colours = torch.einsum("nchw,cr->nrhw", latents, torch.tensor(matrix))
    colours += torch.tensor(wanted.bias)[:, None, None]
    found = fit_latent_rgb(latents, colours)
    assert found == wanted
    write_latent_rgb(tmp_path / FILE, found)
    assert read_latent_rgb(tmp_path / FILE) == wanted


def test_the_known_matrices_are_those_of_their_sources() -> None:
    zero = torch.zeros(1, 4, 1, 1)
    assert SD1(zero).ravel().tolist() == [128, 128, 128]
    assert SDXL(zero).ravel().tolist() == [150, 140, 130]
    one = torch.zeros(1, 4, 1, 1)
    one[0, 1] = 1.0
    assert SDXL(one).ravel().tolist() == [90, 135, 140]
    assert SD1(one).ravel().tolist() == [round((1 + value) * 127.5) for value in (0.187, 0.286, 0.173)]


def test_colours_beyond_the_range_are_cut_off_and_no_number_is_grey() -> None:
    latents = torch.tensor([100.0, -100.0, float("nan")])[None, None, None].repeat(1, 4, 1, 1)
    same = LatentRgb(((0.25,) * 3,) * 4)
    assert same(latents)[0, 0, :, 0].tolist() == [255, 0, 128]
    with pytest.raises(ValueError, match="16 channels"):
        same(torch.zeros(1, 16, 2, 2))


def test_the_family_is_told_by_the_vae(shapes_checkpoint: Any, tmp_path: Path) -> None:
    def with_vae(**config: float) -> Any:
        vae = torch.nn.Module()
        vae.config = type("Config", (), {"latent_channels": 4, "scaling_factor": 0.18215, **config})
        return dataclasses.replace(shapes_checkpoint, path=tmp_path, vae=vae)

    assert latent_rgb_of(with_vae()) is SD1
    assert latent_rgb_of(with_vae(scaling_factor=0.13025)) is SDXL
    assert latent_rgb_of(with_vae(latent_channels=16)) is None


@pytest.mark.parametrize(
    "text", ["{}", '{"matrix": [[1, 2]], "bias": [0, 0, 0]}', '{"matrix": 1, "bias": "x"}']
)
def test_a_broken_matrix_is_named_and_costs_the_previews_only(
    shapes_checkpoint: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / FILE).write_text(text)
    broken = dataclasses.replace(shapes_checkpoint, path=tmp_path)
    with pytest.raises(CheckpointError, match=FILE):
        latent_rgb_of(broken)
    with caplog.at_level(logging.WARNING):
        assert Previews(TaesdFiles(tmp_path)).decoder(broken, CHEAP) is None
    assert FILE in caplog.text


@pytest.fixture
def taesd_folder(tmp_path: Path) -> Path:
    write_taesd(tmp_path)
    return tmp_path


@torch.inference_mode()
def test_taesd_draws_what_diffusers_draws_from_the_same_weights(
    shapes_checkpoint: Any, taesd_folder: Path
) -> None:
    latents = torch.randn(2, 4, 6, 4, generator=torch.Generator().manual_seed(1)) * 3
    ours = TaesdFiles(taesd_folder).decoder(shapes_checkpoint)(latents)
    theirs = tiny_vae().decoder(latents).permute(0, 2, 3, 1).add(1).mul(127.5).round().clamp(0, 255)
    assert ours.shape == (2, 48, 32, 3)
    assert np.abs(ours.astype(int) - theirs.numpy()).max() <= 1
    assert ours.std() > 1, "and not one flat colour"


@torch.inference_mode()
def test_taesd_encodes_as_diffusers_does(shapes_checkpoint: Any, taesd_folder: Path) -> None:
    pixels = torch.rand(2, 3, 48, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    ours = TaesdFiles(taesd_folder).encoder(shapes_checkpoint)(pixels)
    theirs = tiny_vae().encode(pixels).latents
    assert ours.shape == (2, 4, 6, 4)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert ours.std() > 1e-3


def test_taesd_without_its_file_shows_the_cheap_preview_and_names_the_file(
    shapes_checkpoint: Any, taesd_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    latents = torch.zeros(1, 4, 8, 8)
    loaded = Previews(TaesdFiles(taesd_folder)).decoder(shapes_checkpoint, TAESD)
    assert loaded is not None
    assert preview(latents, loaded).shape == (64, 64, 3)
    previews = Previews(TaesdFiles(tmp_path / "empty"))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            cheap = previews.decoder(shapes_checkpoint, TAESD)
    assert cheap == latent_rgb_of(shapes_checkpoint)
    assert caplog.text.count("taesd_decoder.safetensors") == 1


def test_full_is_the_vaes_own_picture(shapes_checkpoint: Any, render: Any) -> None:
    picture = render("a red circle on a blue background", seed=1)
    decoder = Previews(TaesdFiles(Path("nowhere"))).decoder(shapes_checkpoint, FULL)
    assert decoder is not None
    shown = preview(latents_of(shapes_checkpoint, picture), decoder)
    assert shown.shape == picture.shape
    assert np.abs(shown.astype(int) - picture).mean() < 12


def grey(latents: torch.Tensor) -> NDArray[np.uint8]:
    return SD1(latents)


def shown_steps(settings: PreviewSettings, steps: int, **how: Any) -> list[int]:
    shown: list[int] = []
    current = 0
    previewer = Previewer(grey, settings, lambda image: shown.append(current), min_interval_s=0, **how)
    for current in range(1, steps + 1):
        previewer.offer(current, lambda: torch.zeros(1, 4, 2, 2), last=current == steps)
    return shown


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (PreviewSettings(), [10, 20]),
        (PreviewSettings(every_n_steps=8), [8, 16, 24]),
        (PreviewSettings(every_n_steps=-1), [25]),
        (PreviewSettings(every_n_steps=0), []),
        (PreviewSettings(enable=False, every_n_steps=1), []),
    ],
)
def test_the_options_say_which_steps_are_shown(settings: PreviewSettings, steps: list[int]) -> None:
    assert shown_steps(settings, 25) == steps


def test_a_batch_is_shown_as_a_grid_in_the_format_that_was_asked_for() -> None:
    shown: list[PreviewImage] = []
    settings = PreviewSettings(every_n_steps=1, format="webp")
    Previewer(grey, settings, shown.append, min_interval_s=0).offer(1, lambda: torch.zeros(4, 4, 3, 5))
    (image,) = shown
    assert (image.rgb.shape, image.format) == ((6, 10, 3), "webp")


def test_a_batch_is_shown_by_its_first_picture_where_no_grid_is_wanted() -> None:
    shown: list[PreviewImage] = []
    settings = PreviewSettings.from_options({"show_progress_every_n_steps": 1, "show_progress_grid": False})
    Previewer(grey, settings, shown.append, min_interval_s=0).offer(1, lambda: torch.zeros(4, 4, 3, 5))
    assert shown[0].rgb.shape == (3, 5, 3)


def test_a_quick_task_is_not_shown() -> None:
    shown: list[PreviewImage] = []
    previewer = Previewer(grey, PreviewSettings(every_n_steps=1), shown.append, min_interval_s=3600)
    for step in range(1, 20):
        previewer.offer(step, lambda: torch.zeros(1, 4, 2, 2))
    assert shown == []


def test_a_preview_that_fails_is_the_last_and_fails_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def broken(latents: torch.Tensor) -> NDArray[np.uint8]:
        calls.append(1)
        raise RuntimeError("no memory left")

    previewer = Previewer(broken, PreviewSettings(every_n_steps=1), lambda image: None, min_interval_s=0)
    with caplog.at_level(logging.WARNING):
        for step in (1, 2, 3):
            previewer.offer(step, lambda: torch.zeros(1, 4, 2, 2))
    assert len(calls) == 1
    assert "no memory left" in caplog.text


def test_options_by_their_names_in_a1111() -> None:
    assert PreviewSettings.from_options({}) == PreviewSettings()
    options = {
        "live_previews_enable": False,
        "show_progress_every_n_steps": -1,
        "show_progress_type": "TAESD",
        "live_previews_image_format": "JPG",
        "samples_format": "png",
    }
    assert PreviewSettings.from_options(options) == PreviewSettings(False, -1, "TAESD", "jpeg")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("show_progress_every_n_steps", -2),
        ("show_progress_every_n_steps", "often"),
        ("show_progress_every_n_steps", True),
        ("show_progress_type", "Sketch"),
        ("live_previews_image_format", "gif"),
    ],
)
def test_a_wrong_option_is_named(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=option):
        PreviewSettings.from_options({option: value})
