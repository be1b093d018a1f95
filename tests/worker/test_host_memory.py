"""What malloc keeps of freed memory, in a process of its own: the switch is the whole process's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MB = 1 << 20

ON_A_THREAD = """
import json, sys, threading
from pathlib import Path
from easel_worker.host_memory import give_back_memory, keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def use():
    block = b"x" * {size}
    del block
    found.append(resident())
    give_back_memory()
    found.append(resident())

if {keep}:
    keep_freed_memory()
found = [resident()]
thread = threading.Thread(target=use)
thread.start()
thread.join()
print(json.dumps([after - found[0] for after in found[1:]]))
"""


def growth(size: int, *, keep: bool) -> tuple[int, int]:
    """By how many bytes a process is larger after a thread has freed a block, and after it has given back."""
    program = ON_A_THREAD.format(size=size, keep=keep)
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    freed, given_back = json.loads(told)
    return freed, given_back


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a switch of glibc's")
def test_freed_blocks_stay_until_they_are_given_back() -> None:
    freed, given_back = growth(100 * MB, keep=True)
    assert freed > 90 * MB
    assert given_back < 10 * MB
    assert growth(100 * MB, keep=False)[0] < 10 * MB, "as glibc does by itself"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a switch of glibc's")
def test_a_block_that_is_larger_than_what_is_kept_goes_back_at_once() -> None:
    assert growth(600 * MB, keep=True)[0] < 10 * MB


def test_a_worker_that_only_draws_loads_neither_opencv_nor_scipys_statistics() -> None:
    program = "import sys, easel_worker.handlers.generation; print([*sys.modules])"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "easel_worker.annotators.canvas" in told
    assert "'cv2'" not in told
    assert "'scipy.stats._" not in told, "it may be registered, but nothing of it has run"
