"""How much memory this process and its device use, for the heartbeat."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""What a container may use, in cgroup versions 2 and 1."""


def memory_report(device: str = "auto") -> dict[str, Any]:
    """Bytes: `ram` of this process and what it may have, and `cuda` of `device` once CUDA is in use.

    The names are those of A1111's memory call.
    """
    report: dict[str, Any] = {"ram": _ram()}
    # Nothing is imported or begun for this: a CUDA that nobody uses yet would take some hundred megabytes.
    torch = sys.modules.get("torch")
    if torch is not None and device != "cpu" and torch.cuda.is_available() and torch.cuda.is_initialized():
        report["cuda"] = _cuda(torch, torch.device(device if device.startswith("cuda:") else "cuda:0"))
    return report


def _ram() -> dict[str, int]:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in _CGROUP_LIMITS:
        try:
            limit = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdigit():
            total = min(total, int(limit))
        break
    used = _resident()
    return {"free": max(total - used, 0), "used": used, "total": total}


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cuda(torch: Any, device: Any) -> dict[str, Any]:
    free, total = torch.cuda.mem_get_info(device)
    stats = torch.cuda.memory_stats(device)

    def pair(name: str) -> dict[str, int]:
        return {"current": stats.get(f"{name}.all.current", 0), "peak": stats.get(f"{name}.all.peak", 0)}

    return {
        # Two workers of a host may share a device, each calling it by its own number.
        "device": str(getattr(torch.cuda.get_device_properties(device), "uuid", device)),
        "system": {"free": free, "used": total - free, "total": total},
        "active": pair("active_bytes"),
        "allocated": pair("allocated_bytes"),
        "reserved": pair("reserved_bytes"),
        "inactive": pair("inactive_split_bytes"),
        "events": {"retries": stats.get("num_alloc_retries", 0), "oom": stats.get("num_ooms", 0)},
    }
