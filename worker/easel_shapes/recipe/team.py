"""Training in several processes at once: each takes its share of a batch, and their gradients are averaged.

On a CPU, one process of one thread for each core loses less than one process with many threads, whose every
small operation waits for the slowest thread.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.multiprocessing import get_context
from torch.multiprocessing.spawn import spawn

Job = TypeVar("Job")
Done = TypeVar("Done")


def work_together(processes: int, work: Callable[[Job], Done], job: Job) -> Done:
    """`work(job)` in so many new processes of one thread each; what the first of them returned.

    Raises `torch.multiprocessing.ProcessRaisedException` where one of them fails; the others are stopped.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answers = get_context("spawn").SimpleQueue()
    spawn(  # type: ignore[no-untyped-call] # torch has no annotation here
        _member, args=(processes, port, answers, work, job), nprocs=processes
    )
    done: Done = answers.get()
    return done


def _member(
    number: int, processes: int, port: int, answers: Any, work: Callable[[Any], Any], job: object
) -> None:
    if sys.platform == "linux":
        # Else gloo asks the network for this machine's name.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=number, world_size=processes
    )
    done = work(job)
    if number == 0:
        answers.put(done)
    distributed.destroy_process_group()


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


def share_out(
    stacks: Sequence[torch.Tensor], work: Callable[[torch.Tensor], torch.Tensor]
) -> list[torch.Tensor]:
    """`work` of every stack, which treats each of the stack's entries by itself; every member does a part of
    the entries and gets all the results. All members must give the same stacks."""
    if size() == 1:
        return [work(stack) for stack in stacks]
    results = [torch.zeros_like(stack, dtype=torch.float32) for stack in stacks]
    first = 0
    for stack, result in zip(stacks, results, strict=True):
        # Counted through all stacks: many of them hold a single matrix.
        own = slice((rank() - first) % size(), None, size())
        first += len(stack)
        if len(stack[own]):
            result[own] = work(stack[own]).float()
    flat = torch.cat([result.flatten().cpu() for result in results])
    distributed.all_reduce(flat)
    parts = torch.split(flat, [result.numel() for result in results])
    return [part.view_as(stack).to(stack.device) for part, stack in zip(parts, stacks, strict=True)]
