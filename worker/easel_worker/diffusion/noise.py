"""Random streams, one per image, so that image i of a batch equals a single run with seed + i.

"NV" is the stream of an NVIDIA GPU (Philox 4x32-10, Salmon et al. 2011, and cuRAND's Box-Muller), computed on
the host in numpy: the same on every machine, and equal to what torch draws on CUDA. "CPU" is torch's Mersenne
twister.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """One image's random numbers: successive calls go on where the last one stopped."""

    def normal(self, shape: Shape) -> NDArray[np.float32]:
        """The next standard normal numbers, of `shape`."""
        ...


class PhiloxStream:
    """CUDA's normal numbers for a seed (taken modulo 2^64).

    Number j of call n comes from the counter (n, 0, j, 0) under the key `seed`: the first two output words,
    as uniforms in (0, 1), through Box-Muller's sine branch.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed & 0xFFFFFFFFFFFFFFFF
        self._calls = 0

    def normal(self, shape: Shape) -> NDArray[np.float32]:
        count = int(np.prod(shape))
        first, second = _philox(self._seed, self._calls, count)
        self._calls += 1
        scale = 2.0**-32
        radius = np.sqrt(-2.0 * np.log((first.astype(np.float64) + 0.5) * scale))
        angle = (second.astype(np.float64) + 0.5) * (scale * 2.0 * np.pi)
        return (radius * np.sin(angle)).astype(np.float32).reshape(shape)


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
    """torch's own CPU generator, which diffusers users know as `Generator("cpu")`."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def normal(self, shape: Shape) -> NDArray[np.float32]:
        drawn: NDArray[np.float32] = torch.randn(shape, generator=self._generator).numpy()
        return drawn


_STREAMS: dict[str, type[PhiloxStream] | type[TorchStream]] = {"NV": PhiloxStream, "CPU": TorchStream}
RNG_NAMES = tuple(_STREAMS)


class NoiseSource:
    """The noise of a batch: each call draws `shape` from every image's own stream.

    `shape` is one image's latent, (4, H//8, W//8). Raises `JobError` for an unknown `rng`.
    """

    def __init__(self, seeds: Sequence[int], shape: Shape, *, rng: str = "NV", device: torch.device) -> None:
        kind = _STREAMS.get(rng)
        if kind is None:
            raise JobError(f"rng: {rng!r} is unknown, use one of {', '.join(_STREAMS)}")
        self._streams: list[Stream] = [kind(seed) for seed in seeds]
        self._shape = shape
        self._device = device

    def __call__(self) -> torch.Tensor:
        """The next noise, float32, (len(seeds), *shape), on the device."""
        drawn = np.stack([stream.normal(self._shape) for stream in self._streams])
        return torch.from_numpy(drawn).to(self._device)
