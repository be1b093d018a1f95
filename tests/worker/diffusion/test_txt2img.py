"""From a job to pictures, on the random model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from numpy.typing import NDArray

from easel_contract.errors import ContractError
from easel_worker.diffusion.checkpoint import load_checkpoint
from easel_worker.diffusion.errors import JobError, NanError
from easel_worker.diffusion.noise import NoiseSource
from easel_worker.diffusion.samplers.registry import SAMPLERS
from easel_worker.generation.studio import QuietWatch, Shown

Draw = Callable[..., NDArray[np.uint8]]
CPU = torch.device("cpu")


def mean_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def largest_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_job_gives_the_same_picture_bit_for_bit(sampler: str, draw: Draw) -> None:
    first = draw(sampler=sampler, seeds=(3,))
    np.testing.assert_array_equal(draw(sampler=sampler, seeds=(3,)), first)
    assert first.shape == (1, 64, 64, 3)
    assert first.dtype == np.uint8
    assert first.std() > 10


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "DPM++ SDE", "Euler a", "DDIM CFG++", "UniPC", "LCM"])
def test_prompt_seed_and_steps_change_the_picture(sampler: str, draw: Draw) -> None:
    picture = draw(sampler=sampler)
    assert mean_difference(picture, draw(sampler=sampler, prompt="a red house")) > 1
    assert mean_difference(picture, draw(sampler=sampler, negative_prompt="blurry")) > 1
    assert mean_difference(picture, draw(sampler=sampler, seeds=(1,))) > 1
    assert mean_difference(picture, draw(sampler=sampler, steps=5)) > 0.2


@pytest.mark.parametrize(
    "change",
    [
        {"cfg_scale": 3.0},
        {"cfg_scale": 1.0},
        {"CLIP_stop_at_last_layers": 2},
        {"randn_source": "CPU"},
        {"scheduler": "exponential"},
    ],
    ids=str,
)
def test_other_fields_change_the_picture(change: dict[str, Any], draw: Draw) -> None:
    assert mean_difference(draw(), draw(**change)) > 0.2


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "DPM adaptive", "UniPC"])
def test_an_image_of_a_batch_equals_a_single_run(sampler: str, draw: Draw) -> None:
    batch = draw(sampler=sampler, seeds=(7, 8, 9))
    assert batch.shape == (3, 64, 64, 3)
    for i, seed in enumerate((7, 8, 9)):
        assert largest_difference(batch[i], draw(sampler=sampler, seeds=(seed,))[0]) <= 1


def test_automatic_is_the_samplers_own_schedule(draw: Draw) -> None:
    automatic = draw(sampler="DPM++ 2M", scheduler="automatic")
    np.testing.assert_array_equal(automatic, draw(sampler="DPM++ 2M", scheduler="karras"))
    assert mean_difference(automatic, draw(sampler="DPM++ 2M", scheduler="uniform")) > 0.2


def test_eta_is_for_samplers_that_add_noise(draw: Draw) -> None:
    np.testing.assert_array_equal(draw(sampler="Euler", eta_ancestral=0.0), draw(sampler="Euler"))
    assert mean_difference(draw(sampler="Euler a"), draw(sampler="Euler a", eta_ancestral=0.0)) > 1
    np.testing.assert_array_equal(draw(sampler="Euler a", eta_ancestral=0.0), draw(sampler="Euler"))
    assert mean_difference(draw(sampler="DDIM"), draw(sampler="DDIM", eta_ddim=1.0)) > 1


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [(72, 96, (96, 72)), (64, 8, (8, 64)), (71, 65, (64, 64)), (136, 40, (40, 136))],
)
def test_any_size_is_rounded_down_to_eights(
    width: int, height: int, shape: tuple[int, int], draw: Draw
) -> None:
    assert draw(width=width, height=height, steps=2).shape == (1, *shape, 3)


@pytest.mark.parametrize(
    ("prediction", "cfg_scale"), [("epsilon", 7.0), ("v_prediction", 3.0), ("epsilon", 1.0)]
)
def test_draws_what_the_diffusers_pipeline_draws(
    prediction: str, cfg_scale: float, model_folder: Path, tmp_path: Path, draw: Draw
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    config_path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(config_path.read_text())
    config_path.write_text(json.dumps({**config, "prediction_type": prediction}))
    checkpoint = load_checkpoint(folder, device=CPU, dtype=torch.float32)
    ours = draw(
        checkpoint=checkpoint,
        prompt="a red house",
        negative_prompt="blurry",
        seeds=(21,),
        steps=8,
        cfg_scale=cfg_scale,
        width=96,
        height=64,
        sampler="Euler",
        scheduler="uniform",
    )

    pipeline = StableDiffusionPipeline.from_pretrained(str(folder), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="linspace", steps_offset=0
    )
    theirs = pipeline(
        "a red house",
        negative_prompt="blurry",
        num_inference_steps=8,
        guidance_scale=cfg_scale,
        width=96,
        height=64,
        latents=NoiseSource((21,), (4, 8, 12), device=CPU)(),
        output_type="np",
    ).images
    assert largest_difference(ours, (theirs * 255).round().astype(np.uint8)) <= 2


class Steps(QuietWatch):
    """Writes down every step, and raises at `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.seen: list[tuple[int, int]] = []
        self._stop = stop

    def step(self, done: int, steps: int, shown: Shown) -> None:
        self.seen.append((done, steps))
        if done == self._stop:
            raise StopNowError


class StopNowError(Exception):
    pass


@pytest.mark.parametrize(
    ("sampler", "steps", "seen"),
    [("Euler", 3, [(1, 3), (2, 3), (3, 3)]), ("DDIM", 5, [(1, 4), (2, 4), (3, 4), (4, 4)])],
)
def test_every_step_that_runs_is_reported(
    sampler: str, steps: int, seen: list[tuple[int, int]], draw: Draw
) -> None:
    watch = Steps()
    draw(sampler=sampler, steps=steps, watch=watch)
    assert watch.seen == seen


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ SDE", "DPM fast", "DPM adaptive", "PLMS"])
def test_what_a_watch_raises_stops_the_drawing(sampler: str, draw: Draw) -> None:
    watch = Steps(stop=2)
    with pytest.raises(StopNowError):
        draw(steps=8, sampler=sampler, watch=watch)
    assert [done for done, _ in watch.seen] == [1, 2]


@pytest.mark.parametrize(("part", "named"), [("unet", "the UNet"), ("vae", "the VAE")])
def test_numbers_that_overflow_are_named(part: str, named: str, model_folder: Path, draw: Draw) -> None:
    checkpoint = load_checkpoint(model_folder, device=CPU, dtype=torch.float32)
    next(getattr(checkpoint, part).parameters()).fill_(float("nan"))
    if part == "vae":
        checkpoint.vae.post_quant_conv.weight.fill_(float("inf"))
    with pytest.raises(NanError, match=f"{named} of tiny-random produced values that are not finite"):
        draw(checkpoint=checkpoint, steps=1)


def test_bf16_draws_nearly_the_same(model_folder: Path, draw: Draw) -> None:
    checkpoint = load_checkpoint(model_folder, device=CPU, dtype=torch.bfloat16)
    other = mean_difference(draw(), draw(seeds=(1,)))
    assert mean_difference(draw(), draw(checkpoint=checkpoint)) < 0.5 * other


def test_what_cannot_be_drawn_is_named(draw: Draw) -> None:
    with pytest.raises(JobError, match="steps: 0 should be 1 or more"):
        draw(steps=0)
    with pytest.raises(ContractError, match="Sampler not found: 'Eul'"):
        draw(sampler="Eul")
