"""What a unit's settings do: when its network runs, on which rows, and how strongly each layer counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.control import ControlArgs, ControlModel, control_hook, load_control
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.guidance_hooks import RefinerSwitch, Successor

from ...small_models.control import (
    small_adapter,
    small_controlnet,
    small_union,
    write_control_lora,
    write_diffusers_file,
    write_original_adapter,
)
from .asking import BOTH, CLOSE, CPU, ask, flat, picture, prompts, sample, unet_input

CheckpointOf = Callable[[str], Checkpoint]
SOFT, PROMPT, CONTROL = 0.825, 1, 2
FEATURES = (32, 64, 64, 128)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model(checkpoint_of: CheckpointOf, tmp_path_factory: pytest.TempPathFactory) -> ControlModel:
    """A ControlNet for sd1."""
    home = tmp_path_factory.mktemp("control")
    net = small_controlnet(checkpoint_of("sd1").unet)
    return load_control(write_diffusers_file(net, home / "c.safetensors"), device=CPU, dtype=torch.float32)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> ControlModel:
    """A T2I-adapter for sd1."""
    path = tmp_path_factory.mktemp("adapter") / "t2i.safetensors"
    return load_control(
        write_original_adapter(small_adapter(FEATURES), path), device=CPU, dtype=torch.float32
    )


def hook(model: ControlModel, checkpoint: Checkpoint, hint: torch.Tensor | None = None, **args: Any) -> Any:
    return control_hook(model, picture() if hint is None else hint, ControlArgs(**args), checkpoint)


class Counted:
    """A hook that counts the forward passes of its network and notes when they were."""

    def __init__(self, hook: Any) -> None:
        self.hook = hook
        self.runs = 0
        self.steps: list[float] = []

    def __call__(self, inputs: Any) -> Any:
        module = self.hook.model.attach(inputs.checkpoint.unet).module
        seen = module.conv_in.register_forward_pre_hook(lambda *_: self._count(inputs.progress))
        try:
            return self.hook(inputs)
        finally:
            seen.remove()

    def _count(self, progress: float) -> None:
        self.runs += 1
        self.steps.append(progress)


def test_weight_zero_is_no_control_bit_for_bit(model: ControlModel, sd1: Checkpoint) -> None:
    plain = sample(sd1)
    for args in ({"weight": 0.0}, {"advanced_weighting": [0.0] * model.layers}):
        counted = Counted(hook(model, sd1, **args))
        assert torch.equal(sample(sd1, counted), plain)
        assert counted.runs == 0
    assert float((sample(sd1, hook(model, sd1)) - plain).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("sampler", "start", "end", "active"),
    [
        ("Euler", 0.0, 1.0, [0, 0.25, 0.5, 0.75]),
        ("Euler", 0.0, 0.25, [0, 0.25]),
        ("Euler", 0.25, 0.5, [0.25, 0.5]),
        ("Euler", 0.0, 0.0, [0]),
        ("Euler", 0.3, 0.49, []),
        ("Euler", 0.75, 1.0, [0.75]),
        ("Heun", 0.25, 0.5, [0.25, 0.25, 0.5, 0.5]),
        ("DPM++ SDE", 0.5, 0.9, [0.5, 0.5, 0.75]),
    ],
)
def test_it_acts_between_two_parts_of_the_steps(
    sampler: str, start: float, end: float, active: list[float], model: ControlModel, sd1: Checkpoint
) -> None:
    counted = Counted(hook(model, sd1, guidance_start=start, guidance_end=end))
    drawn = sample(sd1, counted, sampler=sampler)
    assert counted.steps == active
    assert torch.equal(drawn, sample(sd1, sampler=sampler)) is (not active)


def test_the_window_is_judged_in_steps_and_not_in_calls(model: ControlModel, sd1: Checkpoint) -> None:
    early, late = (Counted(hook(model, sd1, guidance_end=e)) for e in (0.24, 0.26))
    sample(sd1, early, late, sampler="Heun")
    assert (early.runs, late.runs) == (2, 4)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("mode", [0, PROMPT, CONTROL])
def test_layer_weights_of_the_control_modes(
    family: str, mode: int, checkpoint_of: CheckpointOf, tmp_path: Path
) -> None:
    checkpoint = checkpoint_of(family)
    path = write_diffusers_file(small_controlnet(checkpoint.unet), tmp_path / "c.safetensors")
    model = load_control(path, device=CPU, dtype=torch.float32)
    full = ask(hook(model, checkpoint), unet_input(checkpoint))
    got = ask(hook(model, checkpoint, weight=0.5, mode=mode), unet_input(checkpoint))
    count = len(full)
    for layer, (one, other) in enumerate(zip(got, full, strict=True)):
        factor = 0.5 if mode == 0 else 0.5 * SOFT ** (count - 1 - layer)
        rows = 1 if mode == CONTROL else 2
        torch.testing.assert_close(one[:rows], other[:rows] * factor, **CLOSE)
        assert not one[rows:].any()


def test_the_published_layouts_have_thirteen_and_ten_layers() -> None:
    args = ControlArgs(mode=PROMPT)
    weights = args.layer_weights(13, adapter=False, accepts=(13,))
    assert weights[0] == pytest.approx(0.825**12)
    assert weights[11:] == (pytest.approx(0.825), 1.0)
    assert args.layer_weights(10, adapter=False, accepts=(10,))[0] == pytest.approx(0.825**9)
    assert ControlArgs().layer_weights(13, adapter=False, accepts=(13,)) == (1.0,) * 13
    assert ControlArgs(soft_second_pass=True).layer_weights(13, adapter=False, accepts=(13,)) == weights


def test_own_layer_weights_stand_in_for_the_modes(model: ControlModel, sd1: Checkpoint) -> None:
    own = [0.1 * (layer + 1) for layer in range(model.layers)]
    full = ask(hook(model, sd1), unet_input(sd1))
    for mode in (0, PROMPT):
        got = ask(hook(model, sd1, weight=2.0, advanced_weighting=own, mode=mode), unet_input(sd1))
        for one, other, factor in zip(got, full, own, strict=True):
            torch.testing.assert_close(one, other * 2.0 * factor)
    alone = ask(hook(model, sd1, advanced_weighting=own, mode=CONTROL), unet_input(sd1))
    assert alone[0][:1].any()
    assert not alone[0][1:].any()
    with pytest.raises(JobError, match=r"args\[2\]\.advanced_weighting: 4 weights, this model takes 9"):
        hook(model, sd1, advanced_weighting=[1.0] * 4, field="args[2]")


def test_only_rows_with_the_prompt_are_controlled(model: ControlModel, sd1: Checkpoint) -> None:
    kinds: Any = ("negative", "positive", "positive", "blank", "positive")
    inputs = unet_input(sd1, kinds, images=[0, 0, 1, 1, 1])
    both = torch.cat([picture(0), picture(1)])
    full = ask(hook(model, sd1, both, advanced_weighting=[1.0] * model.layers), inputs)
    some = ask(hook(model, sd1, both, advanced_weighting=[1.0] * model.layers, mode=CONTROL), inputs)
    for all_rows, controlled in zip(full, some, strict=True):
        torch.testing.assert_close(controlled[[1, 2, 4]], all_rows[[1, 2, 4]], **CLOSE)
        assert not controlled[[0, 3]].any()
    none = Counted(hook(model, sd1, mode=CONTROL))
    assert none(unet_input(sd1, ("negative",))) is None
    assert none.runs == 0


@pytest.mark.parametrize("options", [{"cfg_scale": 1.0}, {"s_min_uncond": 100.0, "s_min_uncond_all": True}])
def test_without_negative_rows_all_are_controlled(
    options: dict[str, Any], model: ControlModel, sd1: Checkpoint
) -> None:
    modes = [sample(sd1, hook(model, sd1, mode=mode), **options) for mode in (PROMPT, CONTROL)]
    torch.testing.assert_close(*modes, **CLOSE)
    guided = [sample(sd1, hook(model, sd1, mode=mode)) for mode in (PROMPT, CONTROL)]
    assert float((guided[0] - guided[1]).abs().max()) > 0.01


def test_a_region_mask_weighs_each_residual_at_its_own_size(model: ControlModel, sd1: Checkpoint) -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :, 32:] = 1.0
    full = ask(hook(model, sd1), unet_input(sd1))
    got = ask(hook(model, sd1, region_mask=mask), unet_input(sd1))
    for one, other in zip(got, full, strict=True):
        small = functional.interpolate(mask, size=other.shape[-2:], mode="bilinear", align_corners=False)
        torch.testing.assert_close(one, other * small)
    assert not got[0][..., :4].any()
    assert torch.equal(
        sample(sd1, hook(model, sd1, region_mask=torch.ones(1, 1, 8, 8))), sample(sd1, hook(model, sd1))
    )


def test_each_image_has_its_hint_and_its_mask(model: ControlModel, sd1: Checkpoint) -> None:
    hints, masks = (
        torch.cat([picture(1), picture(2)]),
        torch.stack([torch.ones(1, 8, 8), torch.zeros(1, 8, 8)]),
    )
    inputs = unet_input(sd1, ("positive", "positive", "negative", "negative"), images=[0, 1, 0, 1])
    both = ask(hook(model, sd1, hints), inputs)
    for image in range(2):
        alone = ask(hook(model, sd1, picture(image + 1)), inputs)
        for one, other in zip(both, alone, strict=True):
            torch.testing.assert_close(one[image::2], other[image::2], **CLOSE)
    masked = ask(hook(model, sd1, hints, region_mask=masks), inputs)
    assert torch.equal(masked[0][::2], both[0][::2])
    assert not masked[0][1::2].any()


def test_parts_of_a_prompt_are_controlled_alike(model: ControlModel, sd1: Checkpoint) -> None:
    hints, parts = torch.cat([picture(1), torch.zeros(1, 3, 64, 64)]), "a cat AND a dog :0.5"
    # Rounding alone tells batches apart; more steps would only enlarge it.
    together = sample(sd1, hook(model, sd1, hints), prompt=(parts, "a hat"), steps=1)
    first, second = (sample(sd1, hook(model, sd1, hint[None]), prompt=(parts,), steps=1) for hint in hints)
    torch.testing.assert_close(together[:1], first, atol=5e-3, rtol=1e-3)
    assert float((first - second).abs().max()) > 1.0


def test_the_hint_is_embedded_once_per_pass(model: ControlModel, sd1: Checkpoint) -> None:
    embedded = []
    module: Any = model.attach(sd1.unet)
    seen = module.module.controlnet_cond_embedding.register_forward_pre_hook(
        lambda _, inputs: embedded.append(len(inputs[0]))
    )
    sample(sd1, hook(model, sd1, picture(images=2)), prompt=("a cat", "a dog"))
    seen.remove()
    assert embedded == [2]


def test_adapters_weights_rows_and_window(adapter: ControlModel, sd1: Checkpoint) -> None:
    full = ask(hook(adapter, sd1), unet_input(sd1))
    soft = ask(hook(adapter, sd1, mode=CONTROL, weight=2.0), unet_input(sd1))
    for one, other, scale in zip(soft, full, (0.25, 0.62, 0.825, 1.0), strict=True):
        torch.testing.assert_close(one[:1], other[:1] * 2.0 * scale)
        assert not one[1:].any()
    five = ask(hook(adapter, sd1, advanced_weighting=[1.0, 0.5, 0.0, 2.0, 9.0]), unet_input(sd1))
    for one, other, scale in zip(five, full, (1.0, 0.5, 0.0, 2.0), strict=True):
        torch.testing.assert_close(one, other * scale)
    with pytest.raises(JobError, match="3 weights, this model takes 4 or 5"):
        hook(adapter, sd1, advanced_weighting=[1.0] * 3)
    plain = sample(sd1)
    assert torch.equal(sample(sd1, hook(adapter, sd1, weight=0.0)), plain)
    assert torch.equal(sample(sd1, hook(adapter, sd1, guidance_start=0.9)), plain)
    assert float((sample(sd1, hook(adapter, sd1)) - plain).abs().max()) > 0.01
    mask = torch.zeros(1, 1, 64, 64)
    assert torch.equal(sample(sd1, hook(adapter, sd1, region_mask=mask)), plain)


def test_a_type_for_a_model_that_is_no_union_is_refused(
    adapter: ControlModel, model: ControlModel, sd1: Checkpoint, tmp_path: Path
) -> None:
    path, _ = write_control_lora(small_controlnet(sd1.unet), sd1.unet, tmp_path / "l.safetensors")
    lora = load_control(path, device=CPU, dtype=torch.float32)
    for other, what in ((adapter, "T2I-adapter"), (model, "ControlNet"), (lora, "control-LoRA")):
        told = rf"args\[1\]\.union_control_type: is for union ControlNets; .* is a {what}"
        with pytest.raises(JobError, match=told):
            hook(other, sd1, union_type="Depth", field="args[1]")
        assert ask(hook(other, sd1, union_type="Unknown"), unet_input(sd1))


def test_adapters_and_controlnets_add_up(adapter: ControlModel, model: ControlModel, sd1: Checkpoint) -> None:
    units = (hook(adapter, sd1), hook(adapter, sd1, picture(3)), hook(model, sd1))
    together = sample(sd1, *units)
    for left_out in range(3):
        others = [unit for place, unit in enumerate(units) if place != left_out]
        assert float((sample(sd1, *others) - together).abs().max()) > 0.005
    torch.testing.assert_close(sample(sd1, *reversed(units)), together, **CLOSE)


def test_a_hint_that_an_sdxl_adapter_cannot_fold_is_resized(sdxl: Checkpoint, tmp_path: Path) -> None:
    path = write_original_adapter(
        small_adapter((32, 64, 64, 64), "full_adapter_xl"), tmp_path / "t.safetensors"
    )
    adapter = load_control(path, device=CPU, dtype=torch.float32)
    unit = hook(adapter, sdxl, picture(width=72, height=88))
    drawn = sample(sdxl, unit, width=72, height=88, steps=2)
    assert drawn.shape == (1, 4, 11, 9)
    assert float((drawn - sample(sdxl, width=72, height=88, steps=2)).abs().max()) > 0.01


def test_a_refiner_of_the_same_kind_is_controlled_and_another_is_not(
    model: ControlModel, sd1: Checkpoint, checkpoint_of: CheckpointOf, tmp_path: Path
) -> None:
    twin = dataclasses.replace(sd1, unet=checkpoint_of("sd1-twin").unet)
    unit = hook(model, sd1)
    inputs = unet_input(sd1)
    before = ask(unit, inputs)
    assert torch.equal(ask(unit, dataclasses.replace(inputs, checkpoint=twin))[-1], before[-1])
    lora_path, _ = write_control_lora(small_controlnet(sd1.unet), sd1.unet, tmp_path / "l.safetensors")
    lora = hook(load_control(lora_path, device=CPU, dtype=torch.float32), sd1)
    own = ask(lora, inputs)
    assert not torch.equal(ask(lora, dataclasses.replace(inputs, checkpoint=twin))[-1], own[-1])
    other = checkpoint_of("sd1-even")
    assert unit(dataclasses.replace(unet_input(other), checkpoint=other)) is None
    assert torch.equal(ask(unit, inputs)[-1], before[-1])


def test_a_second_order_refiner_switch_goes_on_in_a_pass(
    model: ControlModel, sd1: Checkpoint, checkpoint_of: CheckpointOf
) -> None:
    even = checkpoint_of("sd1-even")
    counted = Counted(hook(model, sd1))
    switch = RefinerSwitch(0.5, lambda: Successor(even, prompts(even, "a cat")), by_steps=True)
    sample(sd1, counted, before_call=switch)
    assert counted.steps == [0, 0.25]


def test_tiled_networks_go_around(model: ControlModel, sd1: Checkpoint) -> None:
    hint, rolled = picture(4), picture(4).roll(32, dims=-1)
    inputs = unet_input(sd1)
    moved = dataclasses.replace(inputs, sample=inputs.sample.roll(4, dims=-1))
    for tiling in (True, False):
        one = ask(hook(model, sd1, hint, tiling=tiling), inputs)[0]
        other = ask(hook(model, sd1, rolled, tiling=tiling), moved)[0]
        assert torch.allclose(one.roll(4, dims=-1), other, atol=1e-4) is tiling


def test_an_inpainting_checkpoint_is_controlled_by_its_latents_alone(
    checkpoint_of: CheckpointOf, model: ControlModel
) -> None:
    inpainting = checkpoint_of("sd1-inpainting")
    further = torch.zeros(1, 5, 8, 8)
    plain = sample(inpainting, picture=further)
    assert float((sample(inpainting, hook(model, inpainting), picture=further) - plain).abs().max()) > 0.1


def test_layouts_are_forgotten_with_the_prompts_that_made_them(model: ControlModel, sd1: Checkpoint) -> None:
    unit = hook(model, sd1)
    found = unit(unet_input(sd1))
    assert len(flat(found)) == model.layers
    assert len(unit._rows) == 0
    assert len(BOTH) == len(found.middle)


def test_everything_in_half_precision(checkpoint_of: CheckpointOf, folder_of: Any, tmp_path: Path) -> None:
    half = load_checkpoint(folder_of("sdxl"), device=CPU, dtype=torch.bfloat16)
    union = write_diffusers_file(small_union(half.unet), tmp_path / "u.safetensors")
    lora, _ = write_control_lora(
        small_controlnet(checkpoint_of("sdxl").unet), checkpoint_of("sdxl").unet, tmp_path / "l.safetensors"
    )
    adapter = write_original_adapter(
        small_adapter((32, 64, 64, 64), "full_adapter_xl"), tmp_path / "t.safetensors"
    )
    mask = torch.ones(1, 1, 32, 32)
    mask[..., :16] = 0.5
    plain = sample(half, steps=2)
    for path in (union, lora, adapter):
        model = load_control(path, device=CPU, dtype=torch.bfloat16)
        kind = {"union_type": "Depth"} if path == union else {}
        unit = hook(model, half, mode=CONTROL, region_mask=mask, **kind)
        inputs = unet_input(half)
        given = dataclasses.replace(inputs, sample=inputs.sample.bfloat16(), rows=in_half(inputs.rows))
        assert {one.dtype for one in ask(unit, given)} == {torch.bfloat16}
        drawn = sample(half, unit, steps=2)
        assert torch.isfinite(drawn).all()
        assert float((drawn - plain).abs().max()) > 0.05


def in_half(rows: Any) -> Any:
    """A layout as one of a half-precision checkpoint is."""
    added = {**rows.added, "text_embeds": rows.added["text_embeds"].bfloat16()}
    return dataclasses.replace(rows, context=rows.context.bfloat16(), added=added)
