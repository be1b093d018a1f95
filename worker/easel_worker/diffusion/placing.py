"""From a mapped file to where a weight is used, in as few copies as that takes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn


def read_ahead(path: Path) -> None:
    """Have the kernel begin to read a file that is about to be mapped: alone it reads a mapped file in small
    pieces, each when it is touched, and a disk far away is waited for at each of them."""
    if not hasattr(os, "posix_fadvise"):
        return
    with contextlib.suppress(OSError), path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def place(tensor: torch.Tensor, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A copy of a weight on `device`; numbers with a fraction become `dtype`.

    Weights of convolutions, which have four dimensions, come out channels last: cuDNN and oneDNN prefer that.
    Never a view of the mapped file: that would die with the process if the file were overwritten.
    """
    wanted = dtype if tensor.is_floating_point() else tensor.dtype
    layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    if tensor.ndim == 4 and wanted.itemsize > tensor.dtype.itemsize:
        # The values change places while they are small, and then their format: half the time of both at once.
        tensor = tensor.contiguous(memory_format=layout)
    return torch.empty(tensor.shape, dtype=wanted, device=device, memory_format=layout).copy_(tensor)


def give(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Let `weights`, by their names in the state dict, be the module's parameters and buffers: shared, not
    copied, and not to be trained. What `weights` lacks stays as it is.

    As `load_state_dict(assign=True)`, in a tenth of its time: the caller has compared names and shapes.
    """
    for path, inner in module.named_modules():
        prefix = f"{path}." if path else ""
        for name in inner._parameters:
            if (weight := weights.get(prefix + name)) is not None:
                inner._parameters[name] = nn.Parameter(weight, requires_grad=False)
        for name in inner._buffers:
            if (weight := weights.get(prefix + name)) is not None:
                inner._buffers[name] = weight
