"""How much memory models may take: what the system says is free, and what the settings leave of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from easel_contract.checkpoints import ModelFile
from easel_worker.models.budget import Fixed, Least, Reserve, free_ram
from easel_worker.models.loader import checkpoint_files, expected_nbytes
from easel_worker.models.tiers import GB, cache_of
from easel_worker.settings import WorkerSettings

KB = 1024


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       9000 kB\nMemAvailable:    800 kB\nCached: 5 kB\n")
    return path


@pytest.mark.parametrize(
    ("limit", "current", "inactive", "free"),
    [
        ("max", 100 * KB, 0, 800 * KB),
        (9000 * KB, 100 * KB, 0, 800 * KB),
        (600 * KB, 200 * KB, 0, 400 * KB),
        (600 * KB, 590 * KB, 300 * KB, 310 * KB),
    ],
    ids=["no limit", "more than there is", "less", "files that the kernel gives up"],
)
def test_a_containers_limit_counts_where_it_is_less(
    tmp_path: Path, meminfo: Path, limit: object, current: int, inactive: int, free: int
) -> None:
    cgroup = tmp_path / "cgroup"
    cgroup.mkdir()
    (cgroup / "memory.max").write_text(f"{limit}\n")
    (cgroup / "memory.current").write_text(f"{current}\n")
    (cgroup / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")
    assert free_ram(cgroup, meminfo) == free


def test_a_system_that_tells_nothing_has_half_its_memory(tmp_path: Path) -> None:
    assert free_ram(tmp_path / "none", tmp_path / "nothing") > 0
    assert free_ram() > 0


def test_budgets() -> None:
    assert Fixed(10).room(4) == 6
    assert Reserve(30, lambda: 100).room(4) == 70, "what is used is no longer free"
    assert Least((Fixed(10), Reserve(30, lambda: 100))).room(4) == 6
    assert Least((Fixed(10), Reserve(130, lambda: 100))).room(4) == -30


def test_settings_make_the_tiers() -> None:
    cuda = torch.device("cuda", 0)
    settings = WorkerSettings(device_cache_gb=2, ram_cache_gb=3, checkpoint_cache=5, min_ram_reserved=0)
    cache = cache_of(settings, cuda)
    on_device, in_ram = cache._budgets.values()
    assert isinstance(on_device, Least)
    assert isinstance(in_ram, Least)
    assert (on_device.budgets[0], in_ram.budgets[0]) == (Fixed(2 * GB), Fixed(3 * GB))
    assert cache._checkpoints == 5

    plain = cache_of(WorkerSettings(sd_dynamic_cache=False, checkpoint_cache=5), cuda)
    assert plain._checkpoints == 1
    assert list(plain._budgets.values())[1] == Fixed(0)

    reserve = next(iter(cache_of(WorkerSettings(min_ram_reserved=40), torch.device("cpu"))._budgets.values()))
    assert reserve == Reserve(40 * GB, free_ram), "on a CPU the RAM is the device"


def test_what_a_model_will_weigh_is_known_from_its_headers(tmp_path: Path) -> None:
    weights = {"a": torch.zeros(10, 3, dtype=torch.float16), "b": torch.zeros(4, dtype=torch.float16)}
    for part, name in (("unet", "x"), ("unet", "x.fp16"), ("vae", "y.fp16"), ("text_encoder", "z")):
        (tmp_path / part).mkdir(exist_ok=True)
        save_file(weights, tmp_path / part / f"{name}.safetensors")
    folder = ModelFile("m", tmp_path, (0, 0))
    files = checkpoint_files(folder)
    assert [path.name for path in files] == ["x.safetensors", "y.fp16.safetensors", "z.safetensors"]
    assert expected_nbytes(files, torch.float32) == 3 * 34 * 4
    assert expected_nbytes(files, torch.bfloat16) == 3 * 34 * 2
    (tmp_path / "old.ckpt").write_bytes(b"x" * 77)
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 77)
    odd = [tmp_path / "old.ckpt", tmp_path / "bad.safetensors", tmp_path / "gone.safetensors"]
    assert expected_nbytes(odd, torch.float32) == 77
