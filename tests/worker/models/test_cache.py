"""The model cache's two tiers from outside: what is loaded, moved and thrown out, and in which order."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from easel_worker.models.budget import Budget, Fixed
from easel_worker.models.cache import CHECKPOINT, Key, ModelCache, Tier

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


@dataclass
class Model:
    """Says into the log where it goes."""

    name: str
    nbytes: int
    log: list[str]
    stuck: bool = False

    def to(self, device: torch.device) -> None:
        if self.stuck:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.log.append(f"{self.name} to {device.type}")


@dataclass
class Shelf:
    """A cache with a log. Sizes are a few bytes."""

    on_device: int = 10
    in_ram: int = 10
    device: torch.device = CUDA
    checkpoints: int = 0
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cache = ModelCache(
            self.device,
            on_device=Fixed(self.on_device),
            in_ram=Fixed(self.in_ram),
            free=lambda: self.log.append("free"),
            checkpoints=self.checkpoints,
        )

    def get(
        self, name: str, nbytes: int = 4, *, kind: str = CHECKPOINT, stamp: int = 0, movable: bool = True
    ) -> Model:
        def load() -> Model:
            if name == "broken":
                raise ValueError("broken")
            self.log.append(f"load {name}")
            return Model(name, nbytes, self.log)

        key = Key(kind, name, Path("/models") / name, stamp)
        return self.cache.get(key, load, expected=lambda: nbytes, movable=movable)

    def said(self) -> list[str]:
        """What happened since the last look."""
        said, self.log[:] = list(self.log), []
        return said

    @property
    def held(self) -> dict[str, str]:
        return {one.name: one.tier.value for one in self.cache.held()}


def test_what_does_not_fit_beside_a_new_model_moves_to_ram_before_that_is_loaded() -> None:
    shelf = Shelf()
    first = shelf.get("a")
    shelf.get("b")
    assert shelf.get("a") is first
    shelf.said()

    shelf.get("c")

    assert shelf.said() == ["b to cpu", "free", "load c"], "the one used longest ago"
    assert shelf.held == {"b": "ram", "a": "device", "c": "device"}


def test_two_models_change_places_without_being_read_again() -> None:
    shelf = Shelf(on_device=4, in_ram=4)
    one, other = shelf.get("a"), shelf.get("b")
    shelf.said()

    for _ in range(2):
        assert shelf.get("a") is one
        assert shelf.get("b") is other

    assert shelf.said() == ["b to cpu", "free", "a to cuda", "a to cpu", "free", "b to cuda"] * 2
    assert shelf.held == {"a": "ram", "b": "device"}


def test_ram_gives_up_what_was_used_longest_ago() -> None:
    shelf = Shelf(on_device=4, in_ram=8)
    for name in "abcd":
        shelf.get(name)
    assert shelf.held == {"b": "ram", "c": "ram", "d": "device"}

    shelf.get("large", 9)
    assert shelf.held == {"c": "ram", "d": "ram", "large": "device"}, "larger than the tier, and alone there"
    shelf.get("a")
    assert shelf.held == {"c": "ram", "d": "ram", "a": "device"}, "what fits nowhere is dropped"


def test_on_a_cpu_there_is_one_tier_and_nothing_moves() -> None:
    shelf = Shelf(device=CPU, in_ram=8)
    for name in "abca":
        shelf.get(name)
    assert shelf.said() == ["load a", "load b", "free", "load c", "free", "load a"]
    assert shelf.held == {"c": "device", "a": "device"}


def test_what_a_task_uses_stays_until_it_ends() -> None:
    shelf = Shelf(on_device=8, in_ram=8)
    shelf.get("idle")
    with shelf.cache.job():
        shelf.get("base")
        shelf.said()
        shelf.get("vae", 1, kind="vae")
        shelf.get("refiner")
        assert shelf.said() == ["idle to cpu", "free", "load vae", "load refiner"], "too much, but all in use"
        shelf.get("base")
        assert shelf.held["base"] == shelf.held["vae"] == shelf.held["refiner"] == "device"
    shelf.get("base")
    assert shelf.held == {"idle": "ram", "vae": "ram", "refiner": "device", "base": "device"}


def test_what_grows_while_a_task_uses_it_has_others_leave_and_is_told_by_its_new_weight() -> None:
    shelf = Shelf(on_device=10, in_ram=20)
    shelf.get("idle")
    with shelf.cache.job():
        base = shelf.get("base")
        shelf.said()
        shelf.cache.make_room(4)
        assert shelf.said() == ["idle to cpu", "free"], "before the memory is asked for"
        base.nbytes += 4
        shelf.get("vae", 1, kind="vae")
        base.nbytes += 4
    assert shelf.held == {"idle": "ram", "base": "device", "vae": "device"}, "all else is in use"
    assert {one.name: one.nbytes for one in shelf.cache.held()}["base"] == 12

    shelf.get("vae", 1, kind="vae")
    assert shelf.held == {"idle": "ram", "base": "ram", "vae": "device"}


def test_what_cannot_be_moved_is_thrown_out_in_its_turn() -> None:
    shelf = Shelf(on_device=8, in_ram=100)
    shelf.get("annotator", kind="annotator", movable=False)
    shelf.get("a")
    shelf.get("annotator", kind="annotator", movable=False)
    shelf.get("b")
    assert shelf.held == {"a": "ram", "annotator": "device", "b": "device"}
    shelf.get("c")
    assert shelf.held == {"a": "ram", "b": "device", "c": "device"}


def test_a_number_of_checkpoints_holds_for_both_tiers_and_for_checkpoints_only() -> None:
    shelf = Shelf(on_device=4, in_ram=100, checkpoints=2)
    for name in "abc":
        shelf.get(name)
        shelf.get(f"vae-{name}", 1, kind="vae")
    assert [name for name in shelf.held if "vae" not in name] == ["b", "c"]
    assert [name for name in shelf.held if "vae" in name] == ["vae-a", "vae-b", "vae-c"]


def test_a_replaced_file_is_loaded_again_and_a_failed_load_leaves_nothing() -> None:
    shelf = Shelf()
    shelf.get("a", stamp=1)
    shelf.get("a", stamp=2)
    with pytest.raises(ValueError, match="broken"):
        shelf.get("broken")

    assert shelf.said() == ["load a", "free", "load a"]
    assert shelf.held == {"a": "device"}


def test_a_model_that_gets_stuck_on_its_way_is_read_anew() -> None:
    shelf = Shelf(on_device=4)
    model = shelf.get("a")
    shelf.get("b")
    model.stuck = True
    with pytest.raises(torch.OutOfMemoryError):
        shelf.get("a")
    assert "a" not in shelf.held
    assert shelf.get("a") is not model


def test_when_memory_is_out_only_the_newest_checkpoint_stays() -> None:
    shelf = Shelf()
    for name in "abc":
        shelf.get(name)
    shelf.get("control", 1, kind="controlnet")

    shelf.cache.shrink_to_newest()
    assert shelf.held == {"c": "device"}

    shelf.cache.clear()
    assert shelf.held == {}


def test_memory_that_others_took_is_given_back_at_the_next_look() -> None:
    @dataclass
    class Shared(Budget):
        free: int = 100

        def room(self, used: int) -> int:
            return self.free

    memory = Shared()
    shelf = Shelf(device=CPU)
    shelf.cache = ModelCache(CPU, on_device=Fixed(0), in_ram=memory, free=lambda: None)
    for name in "abc":
        shelf.get(name)
    memory.free = -5
    shelf.get("c")
    assert shelf.held == {"c": "device"}, "two of 4 bytes went for the 5"


def test_models_are_loaded_so_that_they_may_be_changed_later() -> None:
    """A task runs in inference mode, whose tensors nobody could write to outside of it."""
    shelf = Shelf(device=CPU)

    @dataclass
    class Weight:
        tensor: torch.Tensor
        nbytes: int = 1

        def to(self, device: torch.device) -> None:
            """Nowhere to go."""

    with torch.inference_mode():
        got = shelf.cache.get(Key("vae", "v", Path("v")), lambda: Weight(torch.zeros(1)), expected=lambda: 1)
    got.tensor.add_(1)
    assert got.tensor.item() == 1


def test_tiers_are_told_by_words_that_json_has() -> None:
    assert [tier.value for tier in Tier] == ["device", "ram"]
