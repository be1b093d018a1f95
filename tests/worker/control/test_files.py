"""Every spelling of a control network's file: the same weights, so the same residuals bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from easel_contract.controlnet import ControlFile
from easel_contract.errors import ContractError
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.control import (
    ControlArgs,
    ControlModel,
    control_hook,
    file_kind,
    load_control,
)
from easel_worker.diffusion.errors import CheckpointError, JobError
from easel_worker.generation.control.models import ControlModels
from easel_worker.models.budget import Fixed
from easel_worker.models.cache import ModelCache
from easel_worker.models.loader import ModelLoader

from ...small_models.control import (
    as_pickle,
    original_weights,
    small_adapter,
    small_controlnet,
    small_union,
    write_control_lora,
    write_diffusers_file,
    write_folder,
    write_original_adapter,
    write_original_file,
)
from .asking import BOTH, CLOSE, CPU, ask, picture, unet_input

CheckpointOf = Callable[[str], Checkpoint]
FEATURES = (32, 64, 64, 64)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def load(path: Path, **more: Any) -> ControlModel:
    return load_control(path, device=CPU, dtype=torch.float32, **more)


def residuals(model: ControlModel, checkpoint: Checkpoint, **args: Any) -> list[torch.Tensor]:
    return ask(control_hook(model, picture(), ControlArgs(**args), checkpoint), unet_input(checkpoint))


def assert_equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> None:
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert torch.equal(one, other)
        assert float(one.abs().max()) > 0


def by_diffusers(net: Any, checkpoint: Checkpoint, hint: torch.Tensor, **more: Any) -> list[torch.Tensor]:
    """diffusers' own forward pass."""
    inputs = unet_input(checkpoint)
    down, middle = net(
        inputs.sample,
        inputs.timesteps,
        inputs.rows.context,
        controlnet_cond=more.pop("cond", hint.expand(len(BOTH), -1, -1, -1)),
        added_cond_kwargs=inputs.rows.added,
        return_dict=False,
        **more,
    )
    return [*down, middle]


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_controlnet_in_every_spelling(family: str, checkpoint_of: CheckpointOf, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(family)
    net = small_controlnet(checkpoint.unet)
    files = [
        write_original_file(net, tmp_path / "with prefix.safetensors"),
        write_original_file(net, tmp_path / "without.safetensors", prefix=""),
        write_diffusers_file(net, tmp_path / "diffusers.safetensors"),
        write_folder(net, tmp_path / "folder"),
        as_pickle(original_weights(net), tmp_path / "classic.pth"),
    ]
    expected = by_diffusers(net, checkpoint, picture())
    first: list[torch.Tensor] = []
    for path in files:
        model = load(path, allow_pickle=True)
        assert (model.name, model.kind, model.family) == (path.stem, "controlnet", family)
        assert model.layers == len(expected)
        assert model.nbytes == sum(weight.nbytes for weight in net.state_dict().values())
        assert file_kind(path, allow_pickle=True) == "controlnet"
        found = residuals(model, checkpoint)
        assert_equal(found, first or found)
        first = found
    for mine, theirs in zip(first, expected, strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)


def test_union_models(sdxl: Checkpoint, tmp_path: Path) -> None:
    net = small_union(sdxl.unet)
    file, folder = write_diffusers_file(net, tmp_path / "u.safetensors"), write_folder(net, tmp_path / "u")
    seen = []
    for place, name in ((0, "OpenPose"), (3, "Hard Edge"), (5, "Segmentation")):
        found = residuals(load(file), sdxl, union_type=name)
        assert_equal(found, residuals(load(folder), sdxl, union_type=name))
        types = torch.zeros(len(BOTH), 6)
        types[:, place] = 1
        cond = [picture().expand(len(BOTH), -1, -1, -1)]
        expected = by_diffusers(net, sdxl, picture(), cond=cond, control_type=types, control_type_idx=[place])
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, theirs, **CLOSE)
        seen.append(found)
    seen.append(residuals(load(file), sdxl))
    assert load(file).kind == "union"
    for one, other in zip(seen, [*seen[1:], seen[0]], strict=True):
        assert not torch.equal(one[-1], other[-1])
    with pytest.raises(
        JobError, match=r"args\[1\]\.union_control_type: 'Tile' is unknown to this model.*Depth"
    ):
        residuals(load(file), sdxl, union_type="Tile", field="args[1]")
    larger = write_diffusers_file(small_union(sdxl.unet, types=8), tmp_path / "promax.safetensors")
    assert residuals(load(larger), sdxl, union_type="Tile")


def test_pictures_of_a_batch_do_not_see_each_other_in_a_union_model(sdxl: Checkpoint, tmp_path: Path) -> None:
    model = load(write_diffusers_file(small_union(sdxl.unet), tmp_path / "u.safetensors"))
    inputs = unet_input(sdxl, ("positive", "positive"), images=[0, 1])
    hints = torch.cat([picture(1), picture(2)])
    args = ControlArgs(union_type="Depth")
    both = ask(control_hook(model, hints, args, sdxl), inputs)
    for image in range(2):
        alone = ask(control_hook(model, hints[[image]], args, sdxl), inputs)
        torch.testing.assert_close(both[0][image], alone[0][image], **CLOSE)
        assert not torch.allclose(both[0][1 - image], alone[0][1 - image], **CLOSE)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_control_loras_are_built_from_the_checkpoint(
    family: str, checkpoint_of: CheckpointOf, tmp_path: Path
) -> None:
    checkpoint = checkpoint_of(family)
    net = small_controlnet(checkpoint.unet)
    path, twin = write_control_lora(net, checkpoint.unet, tmp_path / "lora.safetensors")
    model = load(path)
    assert (model.kind, model.family) == ("lora", family)
    expected = by_diffusers(twin, checkpoint, picture())
    assert model.layers == len(expected)
    assert model.nbytes < sum(weight.nbytes for weight in twin.state_dict().values())
    for mine, theirs in zip(residuals(model, checkpoint), expected, strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)
    # It has no copy of what it takes from the checkpoint, and nothing of it between two passes.
    attached: Any = model.attach(checkpoint.unet)
    name = "down_blocks.0.resnets.0.conv1.weight"
    with attached.running():
        lent, base = (dict(net.named_parameters())[name] for net in (attached.module, checkpoint.unet))
        assert lent is base
    assert dict(attached.module.named_parameters())[name].is_meta


def test_a_control_lora_follows_its_checkpoint(
    sd1: Checkpoint, checkpoint_of: CheckpointOf, tmp_path: Path
) -> None:
    net = small_controlnet(sd1.unet)
    model = load(write_control_lora(net, sd1.unet, tmp_path / "lora.safetensors")[0])
    inpainting = checkpoint_of("sd1-inpainting")
    first = residuals(model, sd1)
    other = residuals(model, inpainting)
    assert not torch.equal(first[-1], other[-1])
    assert_equal(residuals(model, sd1), first)
    with torch.inference_mode(False), torch.no_grad():  # as a LoRA would change the checkpoint
        weight = sd1.unet.down_blocks[0].resnets[0].conv1.weight
        before = weight.data.clone()
        weight.data.mul_(1.5)
        changed = residuals(model, sd1)
        weight.data.copy_(before)
    assert not torch.equal(changed[-1], first[-1])
    assert_equal(residuals(model, sd1), first)


@pytest.mark.parametrize("inputs", [1, 3])
@pytest.mark.parametrize("kind", ["full_adapter", "light_adapter", "full_adapter_xl"])
def test_adapters_in_every_spelling(
    kind: str, inputs: int, checkpoint_of: CheckpointOf, tmp_path: Path
) -> None:
    checkpoint = checkpoint_of("sdxl" if kind == "full_adapter_xl" else "sd1-even")
    # The light kind repeats the last level by itself.
    adapter = small_adapter(FEATURES[:3] if kind == "light_adapter" else FEATURES, kind, inputs=inputs)
    expected = adapter(picture()[:, :inputs])
    files = [
        write_original_adapter(adapter, tmp_path / "original.safetensors"),
        write_diffusers_file(adapter, tmp_path / "diffusers.safetensors"),
        write_folder(adapter, tmp_path / "folder"),
        as_pickle(load_file(tmp_path / "original.safetensors"), tmp_path / "classic.pth"),
    ]
    for path in files:
        model = load(path, allow_pickle=True)
        assert (model.kind, model.layers) == ("t2i", 4)
        assert model.family == ("sdxl" if kind == "full_adapter_xl" else "sd1")
        for mine, theirs in zip(residuals(model, checkpoint), expected, strict=True):
            torch.testing.assert_close(mine, theirs.expand(2, -1, -1, -1), **CLOSE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("difference", "of differences to its checkpoint"),
        ("style_embedding", "T2I style adapter"),
        ("lllite_unet_input_blocks_1.down.0.weight", "ControlNet-LLLite"),
        ("double_blocks.0.weight", "Flux"),
        ("lora_unet_down.lora_up.weight", "models/Lora"),
        ("model.diffusion_model.input_blocks.0.0.weight", "models/Stable-diffusion"),
        ("image_proj.proj.weight", "IP-adapter"),
        ("something.weight", "no weight has a name of a ControlNet"),
        ("body.0.skep.weight", "not supported"),
        ("controlnet_down_blocks.0.weight", "no down blocks"),
        ("control_model.zero_convs.0.0.weight", "no downsampling blocks"),
    ],
)
def test_what_is_no_control_network_is_named(name: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file({name: torch.zeros(2, 2)}, path)
    with pytest.raises(CheckpointError, match=f"file.safetensors: .*{message}"):
        load(path)


def test_broken_files_name_what_is_wrong(sd1: Checkpoint, tmp_path: Path) -> None:
    net = small_controlnet(sd1.unet)
    path = write_original_file(net, tmp_path / "c.safetensors")
    weights = load_file(path)
    gone = "control_model.middle_block.0.in_layers.2.weight"
    save_file({name: tensor for name, tensor in weights.items() if name != gone}, path)
    with pytest.raises(CheckpointError, match=r"c lacks the weight mid_block\.resnets\.0\.conv1\.weight"):
        residuals(load(path), sd1)
    save_file({**weights, gone: torch.zeros(2, 2, 3, 3)}, path)
    with pytest.raises(
        CheckpointError, match=r"c: mid_block\.resnets\.0\.conv1\.weight has shape \(2, 2, 3, 3\)"
    ):
        residuals(load(path), sd1)
    save_file({**weights, "control_model.input_hint_block.0.weight": torch.zeros(8, 5, 3, 3)}, path)
    with pytest.raises(CheckpointError, match="pictures of 5 channels"):
        load(path)
    save_file({**weights, "control_model.input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)}, path)
    with pytest.raises(CheckpointError, match="latents of 9 channels"):
        load(path)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load(tmp_path / "absent.safetensors")
    pickled = as_pickle(weights, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match="EASEL_ALLOW_PICKLE"):
        load(pickled)


def test_broken_control_loras_name_what_is_wrong(sd1: Checkpoint, tmp_path: Path) -> None:
    path, _ = write_control_lora(small_controlnet(sd1.unet), sd1.unet, tmp_path / "lora.safetensors")
    weights = load_file(path)
    up = "input_blocks.1.1.transformer_blocks.0.attn1.to_q.up"
    save_file({**weights, up: torch.zeros(32, 3)}, path)
    with pytest.raises(
        CheckpointError, match=r"lora is a control-LoRA whose factors .*attn1\.to_q\.up and \.down"
    ):
        residuals(load(path), sd1)
    save_file({name: tensor for name, tensor in weights.items() if name != "zero_convs.2.0.bias"}, path)
    with pytest.raises(
        CheckpointError, match=r"lora is a control-LoRA that lacks controlnet_down_blocks\.2\.bias"
    ):
        residuals(load(path), sd1)


@pytest.mark.parametrize("made_for", ["sd1", "sd2", "sdxl"])
def test_another_family_is_refused(made_for: str, checkpoint_of: CheckpointOf, tmp_path: Path) -> None:
    names = {"sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x", "sdxl": "SDXL"}
    unet = checkpoint_of(made_for).unet
    model = load(write_original_file(small_controlnet(unet), tmp_path / "mine.safetensors"))
    lora = load(write_control_lora(small_controlnet(unet), unet, tmp_path / "lora.safetensors")[0])
    for name in names.keys() - {made_for}:
        for refused, what in ((model, "mine is a ControlNet"), (lora, "lora is a control-LoRA")):
            with pytest.raises(JobError) as caught:
                residuals(refused, checkpoint_of(name), field="controlnet.args[0]")
            assert str(caught.value) == (
                f"controlnet.args[0].model: {what} for {names[made_for]}, the checkpoint is of {names[name]}"
            )
            assert not refused.fits(checkpoint_of(name))


def test_other_widths_of_the_same_family_are_refused(
    sd1: Checkpoint, checkpoint_of: CheckpointOf, tmp_path: Path
) -> None:
    model = load(write_original_file(small_controlnet(sd1.unet), tmp_path / "mine.safetensors"))
    with pytest.raises(
        JobError, match=r"block_out_channels \(32, 64, 64, 128\) instead of \(32, 64, 64, 64\)"
    ):
        residuals(model, checkpoint_of("sd1-even"))
    adapter = load(write_original_adapter(small_adapter(FEATURES), tmp_path / "t2i.safetensors"))
    with pytest.raises(
        JobError, match=r"t2i is a T2I-adapter for Stable Diffusion 1\.x with features of 32 at 1/1"
    ):
        residuals(adapter, checkpoint_of("sdxl"))


def test_heads_and_groups_are_the_checkpoints_or_the_files_own(sd1: Checkpoint, tmp_path: Path) -> None:
    other = {"attention_head_dim": 2, "norm_num_groups": 8}
    net = small_controlnet(sd1.unet, **other)
    plain = write_diffusers_file(net, tmp_path / "plain.safetensors")
    told = tmp_path / "told.safetensors"
    save_file(load_file(plain), told, {"easel.config": json.dumps({"unet": other})})
    folder = write_folder(net, tmp_path / "folder")
    assert_equal(residuals(load(told), sd1), residuals(load(folder), sd1))
    assert not torch.equal(residuals(load(told), sd1)[-1], residuals(load(plain), sd1)[-1])
    torch.testing.assert_close(residuals(load(told), sd1), by_diffusers(net, sd1, picture()), **CLOSE)


def test_pooled_residuals_and_channel_order_are_asked_for_beside_the_weights(
    sd1: Checkpoint, tmp_path: Path
) -> None:
    more = {"global_pool_conditions": True, "controlnet_conditioning_channel_order": "bgr"}
    net = small_controlnet(sd1.unet, **more)
    found = residuals(load(write_folder(net, tmp_path / "folder")), sd1)
    for mine, theirs in zip(found, by_diffusers(net, sd1, picture()), strict=True):
        assert mine.shape[-2:] == (1, 1)
        torch.testing.assert_close(mine[:1], theirs[:1], **CLOSE)
        assert not mine[1:].any()  # as diffusers' pipelines do with such a model: the prompt's rows alone
    file = write_original_file(net, tmp_path / "shuffle.safetensors")
    yaml = "model:\n  params:\n    global_average_pooling: True\n"
    file.with_suffix(".yaml").write_text(yaml)
    assert residuals(load(file), sd1)[0].shape == (2, 32, 1, 1)
    file.with_suffix(".yaml").unlink()
    assert residuals(load(file), sd1)[0].shape == (2, 32, 8, 8)
    assert residuals(load(file), sd1, pooled=True)[0].shape == (2, 32, 1, 1)


def test_a_controlnet_without_attention_fits_any_text(sdxl: Checkpoint, tmp_path: Path) -> None:
    plain = ["DownBlock2D"] * 3
    net = small_controlnet(sdxl.unet, down_block_types=plain, mid_block_type="UNetMidBlock2D")
    model = load(write_diffusers_file(net, tmp_path / "small.safetensors"))
    torch.testing.assert_close(residuals(model, sdxl), by_diffusers(net, sdxl, picture()), **CLOSE)


def test_weights_are_cast_and_moved(sd1: Checkpoint, tmp_path: Path) -> None:
    path = write_diffusers_file(small_controlnet(sd1.unet), tmp_path / "c.safetensors")
    whole, half = load(path), load_control(path, device=CPU, dtype=torch.bfloat16)
    assert half.nbytes * 2 == whole.nbytes
    assert {weight.dtype for weight in half.weights.values()} == {torch.bfloat16}
    before = residuals(whole, sd1)
    assert_equal(residuals(whole.to(CPU), sd1), before)


def test_a_pickle_is_read_once_and_one_of_another_kind_is_refused_by_the_unit(
    checkpoint_of: CheckpointOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = as_pickle(original_weights(small_controlnet(checkpoint_of("sd1").unet)), tmp_path / "classic.pth")
    read: list[Path] = []
    opened = torch.load

    def counted(file: Any, **more: Any) -> Any:
        read.append(Path(file))
        return opened(file, **more)

    monkeypatch.setattr(torch, "load", counted)
    room = Fixed(10**9)
    cache = ModelCache(CPU, on_device=room, in_ram=room, free=lambda: None)
    loader = ModelLoader(cache, device=CPU, dtype=torch.float32, allow_pickle=True)
    models = ControlModels(tmp_path, loader, allow_pickle=True, keep=2)
    file = ControlFile("classic", path, "")

    assert models.network(file, "args[0].model").kind == "controlnet"
    assert read == [path]
    with pytest.raises(ContractError, match="is not an IP-Adapter") as caught:
        models.adapter(file, "args[0].model")
    assert caught.value.field == "args[0].model"
