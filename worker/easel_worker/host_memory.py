"""What malloc does with memory that is freed: keep it for the next step, and give it back when asked.

glibc gives large blocks back to the kernel as soon as they are free, so the tensors of every step come as
fresh pages that are zeroed and faulted in again: on a CPU a tenth of the UNet's time at 256x256. Other C
libraries have no such switch, and are left as they are.
"""

from __future__ import annotations

import ctypes

KEPT_BYTES = 512 << 20
"""Free memory at the end of the heap that stays: what a step of four pictures of 256x256 needs, or of one of
512x512. Blocks that are larger still go back at once."""

# Parameters of mallopt (glibc's malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Have malloc keep up to `KEPT_BYTES` that are free. Call it before threads are started: one that has its
    own arena by then keeps it, and arenas give back whatever is free."""
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        for parameter, value in (
            (_M_ARENA_MAX, 1),
            (_M_TRIM_THRESHOLD, KEPT_BYTES),
            (_M_MMAP_THRESHOLD, KEPT_BYTES),
        ):
            mallopt(parameter, value)


def give_back_memory() -> None:
    """Return what is free to the kernel, now."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> ctypes._NamedFuncPointer | None:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # TypeError: Windows has no library of the process itself
        return None
