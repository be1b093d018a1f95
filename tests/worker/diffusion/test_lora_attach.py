"""Networks put on a checkpoint and taken off: by reference, without drift, however it ends."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from easel_worker.diffusion import extra_networks
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.extra_networks import NOTHING, ExtraNetworks, NetworkUse
from easel_worker.diffusion.lora.adapters import Adapters, Replacement
from easel_worker.diffusion.lora.file import NetworkError

from ...small_models.lora import CONVOLUTIONS, EVERYTHING, LINEAR, write_lora
from .small_checkpoints import small_checkpoint, unet_output, weights_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loras")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return small_checkpoint("sd1")


@pytest.fixture(scope="module")
def uses(folder: Path, checkpoint: Checkpoint) -> list[NetworkUse]:
    made = []
    for number, (kind, wanted) in enumerate([("lora", LINEAR), ("loha", EVERYTHING), ("dora", CONVOLUTIONS)]):
        path = write_lora(folder / f"{kind}.safetensors", checkpoint, kind, wanted=wanted, seed=number)
        made.append(NetworkUse("lora", kind, path, 0.7, 0.7))
    return made


@pytest.fixture
def networks() -> Iterator[ExtraNetworks]:
    made = ExtraNetworks()
    yield made
    made.forget()


@pytest.fixture
def untouched(checkpoint: Checkpoint) -> Iterator[None]:
    """After the test every parameter is the same object with the same bits, at the same place in memory."""
    before = {name: (weight, weight.clone()) for name, weight in weights_of(checkpoint).items()}
    yield
    after = weights_of(checkpoint)
    assert after.keys() == before.keys()
    for name, weight in after.items():
        there, copy = before[name]
        assert weight.data_ptr() == there.data_ptr(), name
        assert torch.equal(weight.view(torch.int32), copy.view(torch.int32)), name


@pytest.mark.usefixtures("untouched")
def test_a_thousand_times_on_and_off_leaves_the_base_as_it_was(
    checkpoint: Checkpoint, uses: list[NetworkUse], networks: ExtraNetworks
) -> None:
    chosen = random.Random(3)
    outputs = {}
    plain = unet_output(checkpoint)
    for turn in range(1000):
        # Mostly the same set again, as people do; now and then another, which is computed.
        some = tuple(uses[: 1 + turn // 50 % 3]) if turn % 40 else tuple(chosen.sample(uses, 2))
        networks.attach(checkpoint, some)
        if turn % 250 == 1:
            outputs.setdefault(some, unet_output(checkpoint))
            assert torch.equal(unet_output(checkpoint), outputs[some])
            assert not torch.equal(outputs[some], plain)
        networks.detach()
    assert torch.equal(unet_output(checkpoint), plain)


@pytest.mark.usefixtures("untouched")
def test_the_same_set_again_computes_nothing(
    checkpoint: Checkpoint, uses: list[NetworkUse], networks: ExtraNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = networks.attach(checkpoint, uses)
    worn = weights_of(checkpoint)
    networks.detach()
    networks.attach(checkpoint, [])
    for name in ("merge", "read_lora", "Targets"):
        monkeypatch.setattr(extra_networks, name, None)
    assert networks.attach(checkpoint, uses) is first
    assert networks.attach(checkpoint, uses) is first, "also while it is on"
    for name, weight in weights_of(checkpoint).items():
        assert weight.data_ptr() == worn[name].data_ptr(), name


@pytest.mark.usefixtures("untouched")
def test_a_file_that_was_replaced_is_another_set(
    checkpoint: Checkpoint, folder: Path, networks: ExtraNetworks
) -> None:
    path = write_lora(folder / "changing.safetensors", checkpoint, seed=1)
    use = NetworkUse("lora", "changing", path)
    networks.attach(checkpoint, [use])
    first = unet_output(checkpoint)
    write_lora(path, checkpoint, seed=2, rank=2)
    networks.attach(checkpoint, [use])
    assert not torch.equal(unet_output(checkpoint), first)


@pytest.mark.usefixtures("untouched")
def test_multiplier_0_is_none_bit_for_bit(
    checkpoint: Checkpoint, uses: list[NetworkUse], networks: ExtraNetworks
) -> None:
    plain = unet_output(checkpoint)
    before = weights_of(checkpoint)
    attached = networks.attach(checkpoint, [NetworkUse("lora", "a", uses[0].path, 0.0, 0.0)])
    assert (attached.text_key, len(attached.used)) == ((), 1)
    assert {n: w.data_ptr() for n, w in weights_of(checkpoint).items()} == {
        name: weight.data_ptr() for name, weight in before.items()
    }
    assert torch.equal(unet_output(checkpoint), plain)


def test_what_changes_texts_has_a_key_of_its_own(
    checkpoint: Checkpoint, uses: list[NetworkUse], networks: ExtraNetworks
) -> None:
    path = uses[0].path
    keys = [
        networks.attach(checkpoint, some).text_key
        for some in (
            [],
            [NetworkUse("lora", "a", path, 0.0, 1.0)],
            [NetworkUse("lora", "a", path, 1.0, 1.0)],
            [NetworkUse("lora", "a", path, 1.0, 0.5)],
            [NetworkUse("lora", "a", path, 0.5, 0.5)],
        )
    ]
    assert keys[0] == keys[1] == ()
    assert keys[2] == keys[3] != ()
    assert len({str(key) for key in keys}) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_new_weights_have_the_old_ones_format_and_layout(
    dtype: torch.dtype, checkpoint: Checkpoint, folder: Path, networks: ExtraNetworks
) -> None:
    other = Checkpoint(**{**vars(checkpoint), "adapters": Adapters(), "unet": _copy(checkpoint.unet, dtype)})
    path = write_lora(folder / "conv.safetensors", checkpoint, "lora", wanted=EVERYTHING, parts="unet")
    before = weights_of(other)
    with torch.inference_mode():
        networks.attach(other, [NetworkUse("lora", "conv", path)])
    changed = 0
    for name, weight in weights_of(other).items():
        assert (weight.dtype, weight.device, weight.shape) == (
            before[name].dtype,
            before[name].device,
            before[name].shape,
        )
        assert weight.stride() == before[name].stride(), name
        assert not weight.is_inference(), name
        changed += weight.data_ptr() != before[name].data_ptr()
    assert changed > 50
    convolution = other.unet.down_blocks[0].resnets[0].conv1.weight
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    # The sum is rounded once, from float32.
    name = "unet.mid_block.resnets.0.conv1.weight"
    networks.detach()
    full = networks.attach(checkpoint, [NetworkUse("lora", "conv", path)])
    assert full.problems == ()
    exact = weights_of(checkpoint)[name] - weights_of_base(checkpoint, networks)[name]
    networks.attach(other, [NetworkUse("lora", "conv", path)])
    rounded = (before[name].float() + exact).to(dtype)
    torch.testing.assert_close(weights_of(other)[name], rounded, rtol=2e-2, atol=1e-3)


def weights_of_base(checkpoint: Checkpoint, networks: ExtraNetworks) -> dict[str, torch.Tensor]:
    networks.detach()
    return weights_of(checkpoint)


def _copy(unet: Any, dtype: torch.dtype) -> Any:
    import copy

    return copy.deepcopy(unet).to(dtype).to(memory_format=torch.channels_last)


@pytest.mark.usefixtures("untouched")
def test_a_failure_on_the_way_leaves_the_base(
    checkpoint: Checkpoint, uses: list[NetworkUse], networks: ExtraNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = unet_output(checkpoint)
    networks.attach(checkpoint, uses[:1])

    def out_of_memory(wanted: Any) -> list[Replacement]:
        next(iter(wanted))
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(extra_networks, "merge", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        networks.attach(checkpoint, uses[1:])
    assert torch.equal(unet_output(checkpoint), plain)
    assert checkpoint.adapters.nbytes == 0, "what was made before is free, too"
    monkeypatch.undo()
    networks.attach(checkpoint, uses[1:])
    assert not torch.equal(unet_output(checkpoint), plain)


@pytest.mark.usefixtures("untouched")
def test_multipliers_beyond_the_number_format_are_refused(
    checkpoint: Checkpoint, uses: list[NetworkUse], networks: ExtraNetworks
) -> None:
    huge = NetworkUse("lora", "a", uses[0].path, 1.0, 1e39)
    with pytest.raises(NetworkError, match=r"weights overflow: a \(1e\+39\); use smaller multipliers"):
        networks.attach(checkpoint, [huge])


@pytest.mark.usefixtures("untouched")
def test_two_checkpoints_wear_their_own(
    checkpoint: Checkpoint, uses: list[NetworkUse], folder: Path, networks: ExtraNetworks
) -> None:
    xl = small_checkpoint("sdxl")
    use = NetworkUse("lora", "xl", write_lora(folder / "xl.safetensors", xl))
    plain, plain_xl = unet_output(checkpoint), unet_output(xl)
    networks.attach(checkpoint, uses)
    networks.attach(xl, [use])
    worn, worn_xl = unet_output(checkpoint), unet_output(xl)
    assert not torch.equal(worn, plain)
    assert not torch.equal(worn_xl, plain_xl)
    assert xl.adapters.nbytes > 0
    networks.detach()
    assert torch.equal(unet_output(checkpoint), plain)
    assert torch.equal(unet_output(xl), plain_xl)


@pytest.mark.usefixtures("untouched")
def test_a_refiner_goes_without_what_does_not_fit_it(
    checkpoint: Checkpoint, folder: Path, networks: ExtraNetworks
) -> None:
    path = write_lora(folder / "for-xl.safetensors", small_checkpoint("sdxl"))
    attached = networks.attach(checkpoint, [NetworkUse("lora", "for-xl", path)], secondary=True)
    assert attached.used == ()
    assert "'for-xl' does not fit sd1" in attached.problems[0]


def test_moving_a_checkpoint_takes_everything_off(
    checkpoint: Checkpoint, uses: list[NetworkUse], networks: ExtraNetworks
) -> None:
    plain = unet_output(checkpoint)
    networks.attach(checkpoint, uses)
    checkpoint.to(torch.device("cpu"))
    assert (checkpoint.adapters.worn, checkpoint.adapters.nbytes, checkpoint.adapters.key) == (False, 0, None)
    assert torch.equal(unet_output(checkpoint), plain)


def test_no_networks_are_nothing(checkpoint: Checkpoint, networks: ExtraNetworks) -> None:
    assert networks.attach(checkpoint, []) is NOTHING


def test_putting_on_half_way_is_taken_off_whole() -> None:
    """A hook that cannot be registered must not leave weights behind."""
    layer = torch.nn.Linear(2, 2)
    base = layer.weight
    adapters = Adapters()

    def fail() -> Any:
        raise RuntimeError("no hooks today")

    adapters.keep("key", None, [Replacement(layer, "weight", torch.zeros(2, 2))], [fail])
    with pytest.raises(RuntimeError):
        adapters.put_on()
    assert layer.weight is not base
    adapters.take_off()
    assert layer.weight is base


def test_room_is_made_before_the_weights_are(checkpoint: Checkpoint, uses: list[NetworkUse]) -> None:
    asked: list[tuple[int, int]] = []
    networks = ExtraNetworks(make_room=lambda nbytes: asked.append((nbytes, checkpoint.nbytes)))
    try:
        for _ in range(2):
            networks.attach(checkpoint, uses[:1])
        (room, before) = asked[0]
        assert len(asked) == 1, "the same set again makes nothing"
        assert before == checkpoint.own_nbytes
        assert 0 < checkpoint.nbytes - before <= room
    finally:
        networks.forget()
    assert checkpoint.nbytes == checkpoint.own_nbytes
