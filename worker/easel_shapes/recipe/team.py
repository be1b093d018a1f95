"""Training in several processes at once: each takes its share of a batch, and their gradients are averaged.

On a CPU, one process of one thread for each core loses less than one process with many threads, whose every
small operation waits for the slowest thread.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed

_VARIABLE = "EASEL_SHAPES_TEAM"  # set in members only, so that they start no members of their own


def start(processes: int, arguments: Sequence[str]) -> int:
    """Run `python -m easel_shapes.recipe` with these arguments in so many processes; the first one's status
    if it failed, else the first failure of another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {**os.environ, _VARIABLE: "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "easel_shapes.recipe", *arguments]
    members = [
        subprocess.Popen(command, env={**common, "RANK": str(rank), "WORLD_SIZE": str(processes)})  # noqa: S603 - our own module
        for rank in range(processes)
    ]
    return next((status for status in [member.wait() for member in members] if status), 0)


def join() -> None:
    """Meet the other members; nothing to do in a process that works alone."""
    if os.environ.get(_VARIABLE):
        distributed.init_process_group("gloo")


def is_member() -> bool:
    """Whether `start` started this process."""
    return bool(os.environ.get(_VARIABLE))


def rank() -> int:
    """This member's number; member 0 is the one that writes files and tells the progress."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """How many members there are; 1 for a process that works alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def average_gradients(module: torch.nn.Module, value: float) -> float:
    """Replace every gradient by the members' mean, and return the mean of their `value`s."""
    if size() == 1:
        return value
    gradients: list[Any] = [tensor.grad for tensor in module.parameters() if tensor.grad is not None]
    flat = torch.cat([*(gradient.flatten().cpu() for gradient in gradients), torch.tensor([value])])
    distributed.all_reduce(flat)
    flat /= size()
    means = torch.split(flat[:-1], [gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))
    return float(flat[-1])
