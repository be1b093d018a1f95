"""Running out of memory: how to tell, and what to give back."""

from __future__ import annotations

import gc

import torch

from easel_worker.host_memory import give_back_memory


def is_out_of_memory(error: BaseException) -> bool:
    """True where `error`, or what caused it, says that device or host memory ran out.

    torch raises its own class for a GPU and a plain RuntimeError from the CPU allocator, so the text decides
    there.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, MemoryError | torch.OutOfMemoryError):
            return True
        text = str(current).lower()
        if isinstance(current, RuntimeError) and ("out of memory" in text or "allocate memory" in text):
            return True
        current = current.__cause__ or current.__context__
    return False


def free_memory(device: torch.device) -> None:
    """Give back what a failed or finished job still holds: dead Python objects, torch's cached GPU blocks and
    what malloc keeps.

    Call it after the exception is handled; while its traceback lives, so do the tensors in its frames.
    """
    gc.collect()
    give_back_memory()
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
