"""IP-Adapters in a pass: the numbers of diffusers' own code, and a UNet as it was afterwards."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from easel_worker.diffusion.attention.attach import attention_units
from easel_worker.diffusion.attention.clip_vision import ClipVision
from easel_worker.diffusion.attention.ip_adapter import ImageTokens, IPAdapter, load_ip_adapter
from easel_worker.diffusion.attention.units import ImagePrompt
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import JobError

from ...small_models.ip_adapter import Kind, Tensors, ip_adapter, write_flat
from ..diffusion.test_tiling import snapshot
from .conftest import CPU
from .small_pass import call, diffusers_call, guidance, noise

CLOSE: dict[str, Any] = {"atol": 2e-4, "rtol": 1e-4}
KINDS: tuple[Kind, ...] = ("base", "plus", "full")


def load(weights: Tensors, folder: Path, name: str = "ip-adapter") -> IPAdapter:
    return load_ip_adapter(
        write_flat(weights, folder / f"{name}.safetensors"), device=CPU, dtype=torch.float32
    )


@pytest.fixture(scope="module")
def adapter(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> IPAdapter:
    return load(ip_adapter(checkpoint.unet), tmp_path_factory.mktemp("adapters"))


@pytest.fixture
def prompt(adapter: IPAdapter, clip: ClipVision, image: NDArray[np.uint8]) -> ImagePrompt:
    return ImagePrompt(adapter, adapter.embed([clip.look(image)]))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_numbers_as_diffusers(
    kind: Kind,
    family: str,
    checkpoint: Checkpoint,
    sdxl: Checkpoint,
    clip: ClipVision,
    image: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    model = checkpoint if family == "sd1" else sdxl
    weights = ip_adapter(model.unet, kind)
    adapter = load(weights, tmp_path)
    assert adapter.kind == kind
    got = call(model, [ImagePrompt(adapter, adapter.embed([clip.look(image)]), weight=0.7)])
    expected = diffusers_call(model, [weights], [Image.fromarray(image)], [0.7])
    torch.testing.assert_close(got, expected, **CLOSE)
    assert (got - call(model)).abs().max() > 0.05


def test_several_adapters_add_up(
    checkpoint: Checkpoint, clip: ClipVision, image: NDArray[np.uint8], tmp_path: Path
) -> None:
    weights = [ip_adapter(checkpoint.unet, "plus", seed=1), ip_adapter(checkpoint.unet, "base", seed=2)]
    adapters = [load(one, tmp_path, str(n)) for n, one in enumerate(weights)]
    images = [image, image[::-1].copy()]
    units = [
        ImagePrompt(adapter, adapter.embed([clip.look(seen)]), weight=weight)
        for adapter, seen, weight in zip(adapters, images, (0.4, 0.9), strict=True)
    ]
    expected = diffusers_call(checkpoint, weights, [Image.fromarray(one) for one in images], [0.4, 0.9])
    torch.testing.assert_close(call(checkpoint, units), expected, **CLOSE)


def test_with_several_images_prompts_and_one_without_negatives(
    checkpoint: Checkpoint, prompt: ImagePrompt
) -> None:
    """Rows of a batch, of a prompt in parts and of one without guidance are the same as alone."""
    x = noise(2)
    prompts = ["a cat AND a dog :0.3", "a house"]
    together = call(checkpoint, [prompt], x, prompts=prompts)
    for i, text in enumerate(prompts):
        alone = call(checkpoint, [prompt], x[i : i + 1], prompts=[text])
        torch.testing.assert_close(together[i : i + 1], alone, **CLOSE)
    unguided = call(checkpoint, [prompt], x, prompts=["a cat", "a house"], scale=1.0)
    torch.testing.assert_close(
        unguided[:1], call(checkpoint, [prompt], x[:1], prompts=["a cat"], scale=1.0), **CLOSE
    )


def test_texts_of_different_lengths_go_apart_and_are_right(
    checkpoint: Checkpoint, prompt: ImagePrompt
) -> None:
    text = " ".join(["dog"] * 80)
    x = noise()
    got = call(checkpoint, [prompt], x, prompts=[text], scale=0.0)
    torch.testing.assert_close(got, call(checkpoint, [prompt], x, scale=0.0), **CLOSE)
    assert (got - call(checkpoint, x=x, scale=0.0)).abs().max() > 0.01


def test_weight_zero_is_none(checkpoint: Checkpoint, prompt: ImagePrompt) -> None:
    plain = call(checkpoint)
    layers = len(prompt.adapter.layers)
    for unit in (
        dataclasses.replace(prompt, weight=0.0),
        dataclasses.replace(prompt, layer_weights=(0.0,) * layers),
        dataclasses.replace(prompt, start=0.5),
    ):
        assert torch.equal(call(checkpoint, [unit]), plain)


@pytest.mark.parametrize(
    ("start", "end", "acting"), [(0, 1, range(10)), (0, 0.3, range(4)), (0.5, 0.7, (5, 6, 7))]
)
def test_it_acts_in_its_window_alone(
    start: float, end: float, acting: Any, checkpoint: Checkpoint, prompt: ImagePrompt
) -> None:
    x = noise()
    plain, changed = call(checkpoint, x=x), call(checkpoint, [prompt], x)
    model, seen = guidance(checkpoint), []
    with attention_units(model, [dataclasses.replace(prompt, start=start, end=end)]):
        for done in range(10):
            model.step_done(done, 10)
            seen.append(model(x, 3.0))
    assert [i for i, one in enumerate(seen) if not torch.equal(one, plain)] == list(acting)
    assert all(torch.equal(seen[i], changed) for i in acting)


def test_layers_are_weighed_in_the_order_they_run(checkpoint: Checkpoint, prompt: ImagePrompt) -> None:
    """Down, middle, up: only what is before a layer is the same as without."""
    unet = checkpoint.unet
    blocks = [
        unet.down_blocks[1].attentions[0],
        unet.down_blocks[2].attentions[0],
        unet.mid_block.attentions[0],
    ]
    blocks += [a for i in (1, 2) for a in unet.up_blocks[i].attentions]
    assert len(prompt.adapter.layers) == len(blocks)

    def outputs(units: list[ImagePrompt]) -> list[torch.Tensor]:
        kept: list[torch.Tensor] = []
        handles = [
            block.register_forward_hook(lambda module, inputs, output: kept.append(output[0]))
            for block in blocks
        ]
        call(checkpoint, units)
        for handle in handles:
            handle.remove()
        return kept

    plain = outputs([])
    for place in range(len(blocks)):
        weights = tuple(1.0 if i == place else 0.0 for i in range(len(blocks)))
        got = outputs([dataclasses.replace(prompt, layer_weights=weights)])
        same = [torch.equal(one, other) for one, other in zip(got, plain, strict=True)]
        assert same.index(False) == place


def test_a_region_keeps_it_to_a_part_of_the_picture(
    checkpoint: Checkpoint, prompt: ImagePrompt, image: NDArray[np.uint8]
) -> None:
    everywhere = torch.ones(64, 64)
    torch.testing.assert_close(
        call(checkpoint, [dataclasses.replace(prompt, region=everywhere)]),
        call(checkpoint, [prompt]),
        **CLOSE,
    )
    left = torch.zeros(64, 64)
    left[:, :32] = 1.0
    unit = dataclasses.replace(prompt, region=left)
    layer = checkpoint.unet.down_blocks[1].attentions[0]
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    call(checkpoint, [])
    call(checkpoint, [unit])
    handle.remove()
    difference = (seen[0] - seen[1]).abs().amax(dim=(0, 1))
    assert difference[:, : difference.shape[1] // 2].min() > 0
    assert difference[:, difference.shape[1] // 2 :].max() == 0


def test_control_modes(checkpoint: Checkpoint, prompt: ImagePrompt) -> None:
    """My prompt: layers count less the farther they are from the middle. ControlNet: so, and the negative
    prompt is without the picture, which is its own prediction then."""
    x = noise()
    soft = tuple(0.825**steps for steps in (5, 3, 0, 3, 4, 5, 6))
    ours = dataclasses.replace(prompt, mode="prompt")
    expected = call(checkpoint, [dataclasses.replace(prompt, layer_weights=soft)], x)
    torch.testing.assert_close(call(checkpoint, [ours], x), expected, **CLOSE)
    control = dataclasses.replace(prompt, mode="control")
    negative = call(checkpoint, [control], x, scale=0.0)
    torch.testing.assert_close(negative, call(checkpoint, x=x, scale=0.0), **CLOSE)
    positive = call(checkpoint, [control], x, scale=1.0)
    torch.testing.assert_close(positive, call(checkpoint, [ours], x, scale=1.0), **CLOSE)


def test_several_pictures_are_averaged(
    adapter: IPAdapter, clip: ClipVision, image: NDArray[np.uint8]
) -> None:
    one, other = clip.look(image), clip.look(image[::-1].copy())
    both = adapter.embed([one, other])
    mean = (adapter.embed([one]).shown + adapter.embed([other]).shown) / 2
    torch.testing.assert_close(both.shown, mean)
    assert torch.equal(both.blank, adapter.embed([one]).blank)


def test_each_image_may_have_its_own_picture(
    checkpoint: Checkpoint, adapter: IPAdapter, clip: ClipVision, image: NDArray[np.uint8]
) -> None:
    one, other = (adapter.embed([clip.look(seen)]) for seen in (image, image[::-1].copy()))
    own = ImageTokens(torch.cat([one.shown, other.shown]), one.blank)
    x, prompts = noise(2), ["a cat", "a house"]
    together = call(checkpoint, [ImagePrompt(adapter, own)], x, prompts=prompts)
    for i, tokens in enumerate((one, other)):
        alone = call(checkpoint, [ImagePrompt(adapter, tokens)], x[i : i + 1], prompts=[prompts[i]])
        torch.testing.assert_close(together[i : i + 1], alone, **CLOSE)
    shared = call(checkpoint, [ImagePrompt(adapter, one)], x, prompts=prompts)
    assert (together[1] - shared[1]).abs().max() > 0.01


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_the_model_is_as_before(
    fails: bool, checkpoint: Checkpoint, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(checkpoint)  # what is made at the first call is there
    before = snapshot(checkpoint.unet)
    processors = dict(checkpoint.unet.attn_processors)
    model = guidance(checkpoint)
    try:
        with attention_units(model, [prompt, prompt]):
            assert snapshot(checkpoint.unet) != before
            if fails:
                with monkeypatch.context() as patch:
                    patch.setattr(torch.nn.functional, "silu", None)  # the pass stops in its middle
                    model(noise(), 3.0)
    except TypeError:
        assert fails
    assert snapshot(checkpoint.unet) == before
    assert checkpoint.unet.attn_processors == processors
    assert not model.hooks.before_forward


def test_a_hypernetwork_on_the_texts_keys_is_kept(checkpoint: Checkpoint, prompt: ImagePrompt) -> None:
    """Others hook the same layers: what they do to the text's keys does nothing to the picture's."""
    layer = checkpoint.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    handle = layer.to_k.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
    other = call(checkpoint, [prompt])
    handle.remove()
    with torch.no_grad():
        kept = layer.to_k.weight.clone()
        layer.to_k.weight.mul_(2)  # as a LoRA would
        merged = call(checkpoint, [prompt])
        layer.to_k.weight.copy_(kept)
    torch.testing.assert_close(other, merged, **CLOSE)
    assert not torch.equal(other, call(checkpoint, [prompt]))


def test_what_does_not_fit_is_refused(checkpoint: Checkpoint, sdxl: Checkpoint, prompt: ImagePrompt) -> None:
    unit = dataclasses.replace(prompt, field="alwayson_scripts.controlnet.args[1]")
    with (
        pytest.raises(JobError, match=r"args\[1\]\.model: the IP-Adapter ip-adapter is for .*; tiny-xl is"),
        attention_units(guidance(sdxl), [unit]),
    ):
        pass
    with (
        pytest.raises(JobError, match=r"args\[1\]\.advanced_weighting: 2 weights .* takes"),
        attention_units(guidance(checkpoint), [dataclasses.replace(unit, layer_weights=(1.0, 1.0))]),
    ):
        pass
