"""Which device and which number format the models run on."""

from __future__ import annotations

import os
import platform

import torch

from easel_worker.diffusion.errors import DeviceError

_DTYPES = {
    "fp32": torch.float32,
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
}


def pick_device(setting: str = "auto") -> torch.device:
    """The device for a setting: "auto" (the first GPU, else the CPU), "cpu", "cuda" or "cuda:1".

    Raises `DeviceError` where the setting is unknown or names a GPU that is not there.
    """
    name = setting.strip().lower()
    if name in ("", "auto"):
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()) or (kind == "cpu" and number):
        raise DeviceError(f"device {setting!r} is unknown: use auto, cpu, cuda or cuda:<number>")
    if kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        raise DeviceError(
            f"device {setting!r} is not there: torch sees {count} CUDA device(s); use auto or cpu"
        )
    return torch.device("cuda", int(number or 0))


def pick_dtype(device: torch.device, setting: str = "auto") -> torch.dtype:
    """The weights' number format: "auto" (fp16 on CUDA, fp32 on a CPU), "fp32", "bf16" or "fp16".

    fp16 on a CPU is refused with `DeviceError`: its convolutions take minutes where bf16 takes seconds.
    """
    name = setting.strip().lower()
    if name in ("", "auto"):
        return torch.float16 if device.type == "cuda" else torch.float32
    dtype = _DTYPES.get(name)
    if dtype is None:
        raise DeviceError(f"dtype {setting!r} is unknown: use auto, fp32, bf16 or fp16")
    if dtype is torch.float16 and device.type == "cpu":
        raise DeviceError("dtype 'fp16' does not work on a CPU: use fp32 or bf16")
    return dtype


def describe(device: torch.device) -> dict[str, str | int]:
    """What logs and heartbeats say about the device: kind, name, memory in bytes, torch's version."""
    said: dict[str, str | int] = {"device": str(device), "torch": torch.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        said |= {"name": properties.name, "memory_bytes": properties.total_memory}
    else:
        said |= {"name": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
        said["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return said
