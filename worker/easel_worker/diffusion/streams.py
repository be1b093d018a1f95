"""Random streams: the generators that a seed can mean.

"NV" is the stream of an NVIDIA GPU (Philox 4x32-10, Salmon et al. 2011, and cuRAND's Box-Muller), computed by
us: the same on every machine, and equal to what torch draws on CUDA. "CPU" is torch's Mersenne twister. "GPU"
is torch's generator of the device: CUDA's own where the device is one, and NV's numbers elsewhere, because
nothing else equals them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from easel_worker.diffusion.errors import JobError

Shape = tuple[int, ...]
_Words = NDArray[np.uint64]

# Multipliers and key increments of Philox 4x32 (Salmon et al. 2011, table 2 and section 4.3).
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


class Stream(Protocol):
    """One seed's random numbers: successive calls go on where the last one stopped."""

    def normal(self, shape: Shape) -> torch.Tensor:
        """The next standard normal numbers, float32, of `shape`, on any device."""
        ...


class PhiloxStream:
    """CUDA's normal numbers for a seed (taken modulo 2^64).

    Number j of call n comes from the counter (n, 0, j, 0) under the key `seed`: the first two output words,
    as uniforms in (0, 1), through Box-Muller's sine branch.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed & 0xFFFFFFFFFFFFFFFF
        self._calls = 0

    def normal(self, shape: Shape) -> torch.Tensor:
        count = int(np.prod(shape))
        first, second = _philox(self._seed, self._calls, count)
        self._calls += 1
        scale = 2.0**-32
        radius = np.sqrt(-2.0 * np.log((first.astype(np.float64) + 0.5) * scale))
        angle = (second.astype(np.float64) + 0.5) * (scale * 2.0 * np.pi)
        return torch.from_numpy((radius * np.sin(angle)).astype(np.float32).reshape(shape))


def _philox(seed: int, call: int, count: int) -> tuple[_Words, _Words]:
    """Words 0 and 1 of the Philox blocks (call, 0, j, 0), j = 0 … count - 1. 32-bit words kept in uint64."""
    word_0 = np.full(count, call & 0xFFFFFFFF, dtype=np.uint64)
    word_1 = np.zeros(count, dtype=np.uint64)
    word_2 = np.arange(count, dtype=np.uint64)
    word_3 = np.zeros(count, dtype=np.uint64)
    key_0, key_1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(_ROUNDS):
        product_0, product_1 = word_0 * _MULTIPLIER_0, word_2 * _MULTIPLIER_1
        word_0 = (product_1 >> _SHIFT) ^ word_1 ^ np.uint64(key_0)
        word_2 = (product_0 >> _SHIFT) ^ word_3 ^ np.uint64(key_1)
        word_1, word_3 = product_1 & _LOW, product_0 & _LOW
        key_0, key_1 = (key_0 + _WEYL_0) & 0xFFFFFFFF, (key_1 + _WEYL_1) & 0xFFFFFFFF
    return word_0, word_1


class TorchStream:
    """torch's own generator on a device; on the CPU what diffusers users know as `Generator("cpu")`."""

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        self._generator = torch.Generator(device or "cpu").manual_seed(seed & 0xFFFFFFFFFFFFFFFF)

    def normal(self, shape: Shape) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator, device=self._generator.device)


def _gpu_stream(seed: int, device: torch.device) -> Stream:
    return TorchStream(seed, device) if device.type == "cuda" else PhiloxStream(seed)


_STREAMS: dict[str, Callable[[int, torch.device], Stream]] = {
    "NV": lambda seed, device: PhiloxStream(seed),
    "CPU": lambda seed, device: TorchStream(seed),
    "GPU": _gpu_stream,
}


def open_stream(seed: int, rng: str, device: torch.device) -> Stream:
    """A fresh stream of a seed. Raises `JobError` for an unknown `rng`."""
    kind = _STREAMS.get(rng)
    if kind is None:
        raise JobError(f"rng: {rng!r} is unknown, use one of {', '.join(_STREAMS)}")
    return kind(seed, device)
