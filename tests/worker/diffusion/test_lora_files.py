"""Files in every naming, in every family; against diffusers' own loader, which is peft's."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.extra_networks import ExtraNetworks, NetworkUse
from easel_worker.diffusion.lora.file import NetworkError, Remembered, read_lora, stamp_of
from easel_worker.diffusion.lora.keys import split_key
from easel_worker.diffusion.lora.targets import Targets

from ...small_models.lora import (
    ATTENTION,
    EVERYTHING,
    KINDS,
    LINEAR,
    NORMS,
    Style,
    lora_tensors,
    modules_of,
    write_lora,
)
from .small_checkpoints import small_checkpoint, unet_output, weights_of

FAMILIES = ("sd1", "sd2", "sdxl")


@pytest.fixture
def networks() -> Any:
    made = ExtraNetworks()
    yield made
    made.forget()


def use(path: Path, te: float = 1.0, unet: float = 1.0, **more: Any) -> NetworkUse:
    return NetworkUse("lora", path.stem, path, te, unet, **more)


def changed(checkpoint: Checkpoint, networks: ExtraNetworks, *uses: NetworkUse) -> dict[str, torch.Tensor]:
    """By how much each weight differs while networks act; those that do not differ are left out."""
    before = weights_of(checkpoint)
    assert networks.attach(checkpoint, uses).problems == ()
    after = weights_of(checkpoint)
    networks.detach()
    others = {name: new for name, new in after.items() if new.data_ptr() != before[name].data_ptr()}
    differ = {name: new - before[name] for name, new in others.items()}
    return {name: delta for name, delta in differ.items() if bool(delta.any())}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("style", ["ldm", "diffusers", "peft", "dotted-ldm", "old"])
def test_all_styles_of_one_file_do_the_same(
    family: str, style: Style, tmp_path: Path, networks: ExtraNetworks
) -> None:
    checkpoint = small_checkpoint(family)
    parts = "unet" if style in ("dotted-ldm", "old") else "unet te"
    wanted = ATTENTION if style == "old" else LINEAR
    for name in ("kohya", style):
        write_lora(tmp_path / f"{name}.safetensors", checkpoint, style=name, parts=parts, wanted=wanted)  # type: ignore[arg-type]
    expected = changed(checkpoint, networks, use(tmp_path / "kohya.safetensors"))
    found = changed(checkpoint, networks, use(tmp_path / f"{style}.safetensors"))
    assert expected.keys() == found.keys()
    assert len(expected) == len(modules_of(checkpoint, "kohya", wanted, parts))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


@pytest.mark.parametrize("family", [*FAMILIES, "sdxl-refiner"])
def test_every_layer_has_ldms_name_and_diffusers(family: str) -> None:
    checkpoint = small_checkpoint(family)
    targets = Targets(checkpoint)
    # The names of SDXL's own embedding are not in the table that the others come from.
    wanted = r"^(?!add_embedding)"
    expected = list(modules_of(checkpoint, "peft", wanted, "unet"))
    for style in ("ldm", "dotted-ldm", "kohya"):
        names = modules_of(checkpoint, style, wanted, "unet")  # type: ignore[arg-type] # one of the styles
        assert [target.path for name in names if (target := targets.find(name))] == expected
    if checkpoint.size_numbers:
        for number, path in (("0", "linear_1"), ("2", "linear_2")):
            target = targets.find(f"lora_unet_label_emb_0_{number}")
            assert target is not None
            assert target.path == f"unet.add_embedding.{path}"


ENDINGS = [
    ("lora_unet_mid_block.lora_down.weight", "lora_unet_mid_block", "down"),
    ("unet.a.to_out.0.lora_A.weight", "unet.a.to_out.0", "down"),
    ("unet.a.to_q.lora_B.default_0.weight", "unet.a.to_q", "up"),
    ("unet.a.attn1.processor.to_q_lora.up.weight", "unet.a.attn1.processor.to_q", "up"),
    ("text_encoder.a.q_proj.lora_linear_layer.down.weight", "text_encoder.a.q_proj", "down"),
    ("unet.a.to_q.lora.down.weight", "unet.a.to_q", "down"),
    ("unet.a.to_q.lora_magnitude_vector", "unet.a.to_q", "magnitude"),
    ("lora_te_a.dora_scale", "lora_te_a", "dora_scale"),
    ("lora_unet_a.a1.weight", "lora_unet_a", "a1"),
    ("lora_unet_a.weight", "lora_unet_a", "weight"),
]


@pytest.mark.parametrize(("key", "module", "part"), ENDINGS)
def test_a_tensors_name_is_cut_into_module_and_part(key: str, module: str, part: str) -> None:
    assert split_key(key) == (module, part)


def test_a_name_without_a_known_ending_is_none() -> None:
    for key in ("bundle_emb.word.string_to_param.*", "lora_unet_a.lora_up.bias", "betas"):
        assert split_key(key) is None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_every_layer_of_every_family(
    family: str, kind: str, tmp_path: Path, networks: ExtraNetworks
) -> None:
    checkpoint = small_checkpoint(family)
    path = write_lora(tmp_path / "all.safetensors", checkpoint, kind, wanted=EVERYTHING)
    found = changed(checkpoint, networks, use(path))
    weights = [name for name in found if name.endswith("weight")]
    assert len(weights) == len(modules_of(checkpoint, "kohya", EVERYTHING))


@pytest.mark.parametrize("kind", ["norm", "ia3", "glora", "oft"])
def test_the_other_kinds_change_what_they_are_for(kind: str, tmp_path: Path, networks: ExtraNetworks) -> None:
    checkpoint = small_checkpoint("sd1")
    wanted = NORMS if kind == "norm" else ATTENTION
    path = write_lora(tmp_path / "some.safetensors", checkpoint, kind, wanted=wanted)
    found = changed(checkpoint, networks, use(path))
    each = 2 if kind == "norm" else 1
    assert len(found) == each * len(modules_of(checkpoint, "kohya", wanted))


def diffusers_output(checkpoint: Checkpoint, path: Path, weight: float) -> torch.Tensor:
    """The same UNet with the file as diffusers and peft attach it."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel

    logging.getLogger("peft").setLevel(logging.ERROR)
    unet = UNet2DConditionModel.from_config(checkpoint.unet.config).eval()
    unet.load_state_dict(checkpoint.unet.state_dict())
    pipeline = StableDiffusionXLPipeline if checkpoint.size_numbers else StableDiffusionPipeline
    result = pipeline.lora_state_dict(str(path), unet_config=unet.config, return_lora_metadata=True)
    state, alphas, metadata = result
    pipeline.load_lora_into_unet(
        state, network_alphas=alphas, unet=unet, adapter_name="one", metadata=metadata
    )
    unet.set_adapters(["one"], [weight])
    holder = type("Holder", (), {})()
    for name in ("dtype", "size_numbers", "text_encoder", "text_encoder_2"):
        setattr(holder, name, getattr(checkpoint, name))
    holder.unet = unet
    return unet_output(holder)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("style", "kind", "wanted", "alpha"),
    [
        ("kohya", "lora", LINEAR, 2.0),
        ("ldm", "lora", LINEAR, 2.0),
        ("peft", "dora-peft", ATTENTION, None),
        ("peft", "lora", EVERYTHING, None),
        ("diffusers", "lora", ATTENTION, None),
    ],
)
def test_the_unet_answers_as_with_diffusers_and_peft(
    family: str,
    style: Style,
    kind: str,
    wanted: str,
    alpha: float | None,
    tmp_path: Path,
    networks: ExtraNetworks,
) -> None:
    assert os.environ.get("HF_HUB_OFFLINE")
    checkpoint = small_checkpoint(family)
    path = write_lora(
        tmp_path / "a.safetensors", checkpoint, kind, style=style, wanted=wanted, parts="unet", alpha=alpha
    )
    plain = unet_output(checkpoint)
    networks.attach(checkpoint, [use(path)])
    ours = unet_output(checkpoint)
    networks.detach()
    theirs = diffusers_output(checkpoint, path, 1.0)

    moved = (ours - plain).abs().max()
    assert moved > 1e-2
    assert (ours - theirs).abs().max() < 1e-3 * moved


def test_alpha_from_pefts_configuration(tmp_path: Path, networks: ExtraNetworks) -> None:
    checkpoint = small_checkpoint("sd1")
    told = {"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"to_k": 16}}
    path = write_lora(
        tmp_path / "a.safetensors",
        checkpoint,
        style="peft",
        wanted=r"attn1\.to_[qk]$",
        parts="unet",
        alpha=None,
        metadata={"lora_adapter_metadata": json.dumps(told)},
    )
    found = changed(checkpoint, networks, use(path))
    stored = load_file(path)
    for name, delta in found.items():
        stem = name.removesuffix(".weight")
        product = stored[f"{stem}.lora_B.weight"] @ stored[f"{stem}.lora_A.weight"]
        torch.testing.assert_close(delta, product * (4 if "to_k" in name else 2), atol=1e-5, rtol=1e-4)
    assert len(found) > 8


def test_text_encoders_and_unet_have_their_own_multipliers(tmp_path: Path, networks: ExtraNetworks) -> None:
    checkpoint = small_checkpoint("sdxl")
    path = write_lora(tmp_path / "a.safetensors", checkpoint)
    whole = changed(checkpoint, networks, use(path))
    parts = {name.split(".")[0] for name in whole}
    assert parts == {"unet", "te1", "te2"}
    halved = changed(checkpoint, networks, use(path, te=0.5, unet=-2.0))
    for name in whole:
        factor = -2.0 if name.startswith("unet") else 0.5
        torch.testing.assert_close(halved[name], whole[name] * factor, atol=1e-5, rtol=1e-4)
    only_text = changed(checkpoint, networks, use(path, te=1.0, unet=0.0))
    assert {name.split(".")[0] for name in only_text} == {"te1", "te2"}


def test_several_files_add_up_whatever_their_order(tmp_path: Path, networks: ExtraNetworks) -> None:
    checkpoint = small_checkpoint("sd1")
    one = use(write_lora(tmp_path / "one.safetensors", checkpoint, seed=1), 0.5, 0.5)
    two = use(write_lora(tmp_path / "two.safetensors", checkpoint, "loha", seed=2))
    three = use(write_lora(tmp_path / "three.safetensors", checkpoint, "dora", seed=3), 0.3, 0.3)
    single = [changed(checkpoint, networks, each) for each in (one, two, three)]
    together = changed(checkpoint, networks, one, two, three)
    turned = changed(checkpoint, networks, three, one, two)
    for name in together:
        torch.testing.assert_close(together[name], sum(s[name] for s in single), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together[name], turned[name], atol=1e-6, rtol=1e-5)


def test_a_cut_rank(tmp_path: Path, networks: ExtraNetworks) -> None:
    checkpoint = small_checkpoint("sd1")
    path = write_lora(tmp_path / "a.safetensors", checkpoint, wanted=r"attn1\.to_q$", parts="unet", rank=4)
    found = changed(checkpoint, networks, use(path, dyn=1))
    assert all(torch.linalg.matrix_rank(delta, rtol=1e-4) == 1 for delta in found.values())
    loha = write_lora(tmp_path / "b.safetensors", checkpoint, "loha", wanted=r"attn1\.to_q$")
    with pytest.raises(NetworkError, match=r"'b': dyn cuts the rank of LoRA and GLoRA, this file is LoHa"):
        networks.attach(checkpoint, [use(loha, dyn=1)])


@pytest.mark.parametrize(
    ("made_for", "used_in", "said"),
    [
        ("sdxl", "sd1", r"made for a model whose UNet attends to 192 features, the checkpoint is .* 64 "),
        ("sd1", "sdxl", r"made for a model whose UNet attends to 64 features"),
        ("sd2", "sd1", r"made for a model whose UNet attends to 128 features"),
    ],
)
def test_a_file_for_another_family_is_told_or_left_out(
    made_for: str, used_in: str, said: str, tmp_path: Path, networks: ExtraNetworks
) -> None:
    path = write_lora(tmp_path / "other.safetensors", small_checkpoint(made_for))
    checkpoint = small_checkpoint(used_in)
    before = {name: weight.clone() for name, weight in weights_of(checkpoint).items()}
    with pytest.raises(NetworkError, match=rf"^prompt: lora 'other' does not fit {used_in}: it was {said}"):
        networks.attach(checkpoint, [use(path)])
    attached = networks.attach(checkpoint, [use(path)], strict=False)
    assert attached.used == ()
    assert [said.endswith("left out") for said in attached.problems] == [True]
    for name, weight in weights_of(checkpoint).items():
        assert torch.equal(weight, before[name]), name


def test_real_families_are_named(tmp_path: Path, networks: ExtraNetworks) -> None:
    shapes = {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (640, 2048)}
    path = tmp_path / "xl.safetensors"
    save_file(lora_tensors(shapes), path)
    with pytest.raises(JobError, match=r"attends to 2048 features \(SDXL\)"):
        networks.attach(small_checkpoint("sd1"), [use(path)])


def test_a_few_weights_for_nothing_are_told_and_the_others_act(
    tmp_path: Path, networks: ExtraNetworks
) -> None:
    checkpoint = small_checkpoint("sd1")
    shapes = modules_of(checkpoint, "kohya", ATTENTION) | {
        "lora_te_text_model_encoder_layers_11_mlp_fc1": (8, 8)
    }
    tensors = lora_tensors(shapes)
    path = tmp_path / "a.safetensors"
    save_file({**tensors, "bundle_emb.word.clip_l_out": torch.zeros(1, 4)}, path)
    attached = networks.attach(checkpoint, [use(path)])
    assert attached.used == (use(path),)
    [problem] = attached.problems
    assert "2 of its weights are for nothing in sd1" in problem
    assert "layers_11_mlp_fc1" in problem
    assert "bundle_emb" in problem


BROKEN: dict[str, tuple[dict[str, torch.Tensor] | bytes, str]] = {
    "rubbish": (b"\xff" * 40, "broken.safetensors cannot be read"),
    "a checkpoint": (
        {"model.diffusion_model.out.2.weight": torch.zeros(2)},
        "is no LoRA; it holds model.diff",
    ),
    "an embedding": ({"emb_params": torch.zeros(2, 4)}, "is no LoRA; it holds emb_params"),
    "half": ({"lora_unet_conv_in.lora_down.weight": torch.zeros(2, 4)}, "lora_unet_conv_in: no kind"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    content, said = BROKEN[name]
    path = tmp_path / "broken.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file(content, path)
    with pytest.raises(NetworkError, match=said):
        read_lora(path)


def test_a_pickle_is_read_only_where_it_is_allowed(tmp_path: Path) -> None:
    checkpoint = small_checkpoint("sd1")
    plain = write_lora(tmp_path / "a.safetensors", checkpoint)
    path = tmp_path / "a.pt"
    torch.save({"state_dict": load_file(plain)}, path)
    with pytest.raises(NetworkError, match="EASEL_ALLOW_PICKLE"):
        read_lora(path)
    assert read_lora(path, allow_pickle=True).modules.keys() == read_lora(plain).modules.keys()

    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(NetworkError, match=r"a\.pt cannot be read"):
        read_lora(path, allow_pickle=True)


def test_files_are_remembered_by_their_bytes_and_read_again_when_they_change(tmp_path: Path) -> None:
    checkpoint = small_checkpoint("sd1")
    paths = [write_lora(tmp_path / f"{i}.safetensors", checkpoint, seed=i) for i in range(3)]
    size = read_lora(paths[0]).nbytes
    assert size == sum(tensor.nbytes for tensor in load_file(paths[0]).values())
    remembered: Remembered[Any] = Remembered(int(size * 2.5))
    for path in paths:
        remembered.put(path, stamp_of(path), read_lora(path))
    assert [remembered.get(path) is not None for path in paths] == [False, True, True]
    assert remembered.nbytes == 2 * size
    write_lora(paths[1], checkpoint, seed=9, rank=2)
    assert remembered.get(paths[1]) is None
    small: Remembered[Any] = Remembered(1)
    small.put(paths[0], stamp_of(paths[0]), read_lora(paths[0]))
    assert len(small) == 1, "the newest stays, however large"
