"""Hypernetworks: the format, and what they do to attention, against attention written out."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from easel_worker.diffusion.extra_networks import ExtraNetworks, NetworkUse
from easel_worker.diffusion.hypernetwork import read_hypernetwork
from easel_worker.diffusion.lora.adapters import Adapters
from easel_worker.diffusion.lora.file import NetworkError

from ...small_models.hypernetwork import hypernetwork_states, write_hypernetwork
from ...small_models.lora import write_lora
from .small_checkpoints import small_checkpoint, unet_output

WIDTHS = (32, 64, 128)


@pytest.fixture
def networks() -> Iterator[ExtraNetworks]:
    made = ExtraNetworks(allow_pickle=True)
    yield made
    made.forget()


def use(path: Path, multiplier: float = 1.0) -> NetworkUse:
    return NetworkUse("hypernet", path.stem, path, multiplier, multiplier)


def applied(state: Any, x: torch.Tensor, multiplier: float, *, layer_norm: bool) -> torch.Tensor:
    """x + m(x) * multiplier, with two layers and ReLU between."""
    hidden = functional.relu(x @ state["linear.0.weight"].T + state["linear.0.bias"])
    last = 2
    if layer_norm:
        wide = hidden.shape[-1:]
        hidden = functional.layer_norm(hidden, wide, state["linear.2.weight"], state["linear.2.bias"])
        last = 3
    return x + (hidden @ state[f"linear.{last}.weight"].T + state[f"linear.{last}.bias"]) * multiplier


class Written:
    """Attention with a hypernetwork's networks before keys and values, for diffusers' modules."""

    def __init__(self, states: Any, multiplier: float, *, layer_norm: bool) -> None:
        self.states, self.multiplier, self.layer_norm = states, multiplier, layer_norm

    def __call__(self, attn: Any, hidden: Any, encoder_hidden_states: Any = None, **more: Any) -> Any:
        context = hidden if encoder_hidden_states is None else encoder_hidden_states
        width = context.shape[-1]
        contexts = [
            applied(state, context, self.multiplier, layer_norm=self.layer_norm)
            for state in self.states.get(width, ())
        ] or [context, context]

        def heads(x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        out = functional.scaled_dot_product_attention(
            heads(attn.to_q(hidden)), heads(attn.to_k(contexts[0])), heads(attn.to_v(contexts[1]))
        )
        return attn.to_out[0](out.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_attention_reads_what_the_hypernetwork_makes(
    family: str, layer_norm: bool, suffix: str, tmp_path: Path, networks: ExtraNetworks
) -> None:
    checkpoint = small_checkpoint(family)
    widths = (*WIDTHS, 192)
    path = write_hypernetwork(tmp_path / f"h{suffix}", widths, layer_norm=layer_norm)
    plain = unet_output(checkpoint)
    networks.attach(checkpoint, [use(path, 0.7)])
    found = unet_output(checkpoint)
    networks.detach()
    assert torch.equal(unet_output(checkpoint), plain)

    before = dict(checkpoint.unet.attn_processors)
    states = hypernetwork_states(widths, layer_norm=layer_norm)
    checkpoint.unet.set_attn_processor(Written(states, 0.7, layer_norm=layer_norm))
    expected = unet_output(checkpoint)
    checkpoint.unet.set_attn_processor(before)

    moved = (expected - plain).abs().max()
    assert moved > 1e-3
    torch.testing.assert_close(found, expected, atol=float(moved) * 1e-3, rtol=1e-3)


def test_it_takes_the_checkpoints_number_format(tmp_path: Path, networks: ExtraNetworks) -> None:
    checkpoint = small_checkpoint("sd1")
    unet = copy.deepcopy(checkpoint.unet).to(torch.bfloat16)
    half = dataclasses.replace(checkpoint, unet=unet, dtype=torch.bfloat16, adapters=Adapters())
    plain = unet_output(half)
    with torch.inference_mode():  # as a task asks
        networks.attach(half, [use(write_hypernetwork(tmp_path / "h.safetensors", WIDTHS))])
    assert not torch.equal(unet_output(half), plain)


def test_only_the_widths_that_it_has_are_changed(tmp_path: Path, networks: ExtraNetworks) -> None:
    checkpoint = small_checkpoint("sd2")
    attentions = [m for n, m in checkpoint.unet.named_modules() if n.endswith(("attn1", "attn2"))]
    path = write_hypernetwork(tmp_path / "h.safetensors", [128])
    networks.attach(checkpoint, [use(path)])
    changed = {m.to_k.in_features for m in attentions if m.to_k._forward_pre_hooks}
    assert changed == {128}
    networks.detach()
    assert not any(m.to_k._forward_pre_hooks or m.to_v._forward_pre_hooks for m in attentions)


def test_multiplier_0_is_none_bit_for_bit(tmp_path: Path, networks: ExtraNetworks) -> None:
    checkpoint = small_checkpoint("sd1")
    plain = unet_output(checkpoint)
    path = write_hypernetwork(tmp_path / "h.safetensors", [64])
    attached = networks.attach(checkpoint, [use(path, 0.0)])
    assert (attached.text_key, len(attached.used)) == ((), 1)
    assert torch.equal(unet_output(checkpoint), plain)


def test_several_act_one_after_the_other_and_beside_a_lora(tmp_path: Path, networks: ExtraNetworks) -> None:
    checkpoint = small_checkpoint("sd1")
    plain = unet_output(checkpoint)
    one = use(write_hypernetwork(tmp_path / "one.safetensors", WIDTHS, seed=1))
    two = use(write_hypernetwork(tmp_path / "two.safetensors", WIDTHS, seed=2))
    lora = NetworkUse("lora", "l", write_lora(tmp_path / "l.safetensors", checkpoint))
    outputs = []
    for some in ([one], [one, two], [two, one], [lora], [lora, one]):
        networks.attach(checkpoint, some)
        outputs.append(unet_output(checkpoint))
    for place, output in enumerate(outputs):
        assert not any(torch.equal(output, other) for other in outputs[:place])
    networks.attach(checkpoint, [])
    assert torch.equal(unet_output(checkpoint), plain)


def test_the_first_files_had_two_layers_of_other_names(tmp_path: Path) -> None:
    state = {
        "linear1.weight": torch.eye(4),
        "linear1.bias": torch.zeros(4),
        "linear2.weight": 2 * torch.eye(4),
        "linear2.bias": torch.ones(4),
    }
    path = tmp_path / "old.pt"
    torch.save({4: (state, state), "name": "old"}, path)
    network = read_hypernetwork(path, allow_pickle=True)
    keys, _ = network.layers[4]
    x = torch.tensor([[-1.0, 0.0, 1.0, 2.0]])
    torch.testing.assert_close(keys(x), 2 * x + 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"activation_func": "magic"}, r"activation 'magic'; known are linear, celu")],
)
def test_an_unknown_activation_is_named(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write_hypernetwork(tmp_path / "h.safetensors", [8], settings=settings)
    with pytest.raises(NetworkError, match=said):
        read_hypernetwork(path)


def test_activations_are_those_of_the_file(tmp_path: Path) -> None:
    x = torch.randn(3, 8)
    outputs = []
    for name in ("linear", "relu", "swish", "tanh", None):
        path = write_hypernetwork(tmp_path / "h.safetensors", [8], settings={"activation_func": name})
        outputs.append(read_hypernetwork(path).layers[8][0](x))
    assert torch.equal(outputs[0], outputs[4])
    assert len({output.sum().item() for output in outputs}) == 4
    path = write_hypernetwork(tmp_path / "h.safetensors", [8], settings={"activate_output": True})
    assert read_hypernetwork(path).layers[8][0](x).min() >= 0


def test_what_cannot_be_used_is_told(tmp_path: Path, networks: ExtraNetworks) -> None:
    checkpoint = small_checkpoint("sd1")
    pickle = write_hypernetwork(tmp_path / "h.pt", [64])
    with pytest.raises(NetworkError, match=r"h\.pt is a pickle: set EASEL_ALLOW_PICKLE"):
        read_hypernetwork(pickle)
    other = write_hypernetwork(tmp_path / "wide.safetensors", [7])
    with pytest.raises(NetworkError, match=r"'wide' does not fit sd1: it is for widths 7, and no attention"):
        networks.attach(checkpoint, [use(other)])
    lora = write_lora(tmp_path / "lora.safetensors", checkpoint)
    with pytest.raises(NetworkError, match=r"lora\.safetensors is no hypernetwork"):
        read_hypernetwork(lora)
    torch.save({8: ({"linear.0.weight": torch.zeros(4, 8), "linear.0.bias": torch.zeros(4)},) * 2}, pickle)
    with pytest.raises(NetworkError, match="the network for width 8 gives something else"):
        read_hypernetwork(pickle, allow_pickle=True)
