"""The shipped companions in diffusers and peft, which wrote neither them nor what reads them in Easel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from numpy.typing import NDArray
from safetensors import safe_open

from easel_shapes.companions import COMPANIONS, companion_file, companions_folder
from easel_shapes.recipe import measure
from easel_shapes.recipe.companion_files import merge_control_lora
from easel_shapes.recipe.judge_companions import OutlineCase, is_arrow, outline_cases, overlap
from easel_shapes.recipe.survey import is_striped
from easel_shapes.recipe.train_control import HINT_CHANNELS
from easel_worker.models.starter import install_shapes

from ..looking import look

SMALL: dict[str, Any] = {"width": 128, "height": 128, "num_inference_steps": 20, "output_type": "np"}
FOLLOWED = 0.75
"""IoU of the drawn shape and the inside of its outline. The model card has the measured ones: 0.87 in the
mean."""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("model") / "easel-shapes"
    install_shapes(folder)
    pipeline = StableDiffusionPipeline.from_pretrained(
        str(folder), dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn(pipeline: Any, prompt: str, *, seed: int = 0, **more: Any) -> NDArray[np.uint8]:
    generator = torch.Generator().manual_seed(seed)
    (picture,) = pipeline(prompt, generator=generator, **SMALL, **more).images
    return np.asarray((picture * 255).round(), dtype=np.uint8)


@pytest.mark.parametrize("name", COMPANIONS)
def test_each_is_a_few_hundred_kilobytes(name: str) -> None:
    path = companion_file(name.removeprefix("easel-shapes-").removesuffix(".safetensors"))
    assert path.name == name
    assert path.stat().st_size < 800_000


def with_outlines(pipeline: Any) -> Any:
    """diffusers' pipeline with the ControlNet, made plain."""
    unet = pipeline.unet
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINT_CHANNELS)
    network.load_state_dict(merge_control_lora(companion_file("edges"), unet.state_dict()))
    controlled = StableDiffusionControlNetPipeline(**pipeline.components, controlnet=network.eval())
    controlled.set_progress_bar_config(disable=True)
    return controlled


WRONG = [case for case in outline_cases(40, seed=7) if case.wording == "wrong"]


@pytest.mark.parametrize("case", WRONG[:3], ids=lambda case: case.shape)
def test_the_outline_decides_against_the_prompt(pipeline: Any, case: OutlineCase) -> None:
    hint = torch.from_numpy(case.outline).float()[None, None].expand(1, 3, -1, -1) / 255
    picture = drawn(with_outlines(pipeline), case.prompt, image=hint)
    assert overlap(measure.foreground(picture), case.mask) > FOLLOWED


def test_stripes_without_a_word_for_them(pipeline: Any) -> None:
    pipeline.load_lora_weights(str(companion_file("striped")))
    try:
        picture = drawn(pipeline, "a blue square on a white background")
    finally:
        pipeline.unload_lora_weights()
    assert is_striped(picture)
    assert look(picture).words == "blue square on white"
    assert not is_striped(drawn(pipeline, "a blue square on a white background"))


def test_the_new_word_draws_the_new_shape(pipeline: Any) -> None:
    prompt = "a red arrow on a white background"
    assert not is_arrow(drawn(pipeline, prompt))
    pipeline.load_lora_weights(str(companion_file("arrow")))
    try:
        assert is_arrow(drawn(pipeline, prompt))
        assert look(drawn(pipeline, "a green star on a black background")).words == "green star on black"
    finally:
        pipeline.unload_lora_weights()


def test_loras_tell_what_they_are() -> None:
    with safe_open(str(companion_file("arrow")), "pt") as file:
        told = file.metadata()
    assert told["ss_network_module"] == "networks.lora"
    assert (told["ss_network_dim"], told["ss_network_alpha"]) == ("8", "8.0")
    assert told["modelspec.trigger_phrase"] == "arrow"
    assert told["ss_base_model_version"] == "sd_v1"


def test_all_files_are_known() -> None:
    assert {path.name for path in companions_folder().glob("*.safetensors")} == set(COMPANIONS)
