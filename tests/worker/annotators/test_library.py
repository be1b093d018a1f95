"""controlnet_aux without what it declares: where it is absent, and where something that it imports is."""

from __future__ import annotations

import subprocess
import sys

import pytest

ALONE = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise {error}("no " + name)
sys.meta_path.insert(0, Absent())
from easel_contract.errors import ContractError
from easel_worker.annotators.networks.library import aux
try:
    aux({module!r})
except ContractError as error:
    print(error.status, error)
else:
    print("imported", sorted(name for name in sys.modules if name.startswith("torchvision")))
"""


def outcome(module: str, *absent: str, error: str = "ModuleNotFoundError") -> str:
    """What a fresh Python says that has none of `absent`."""
    program = ALONE.format(module=module, absent=set(absent), error=error)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", ["open_pose.face", "hed", "normalbae.nets.NNET"])
def test_neither_torchvision_nor_timm_is_needed_or_left_behind(module: str) -> None:
    assert outcome(module, "timm", "mediapipe").strip().endswith("imported []")


def test_what_is_not_installed_is_named() -> None:
    told = outcome("hed", "einops")
    assert told.startswith("501 ")
    assert "einops" in told
    told = outcome("hed", "einops", error="RuntimeError")
    assert told.startswith("501 ")
    assert "RuntimeError" in told
