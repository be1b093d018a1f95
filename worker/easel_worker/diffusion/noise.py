"""The noise of a batch, one stream per image, so that image i of a batch equals a single run of its seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import torch

from easel_worker.diffusion.brownian import BrownianTree
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.streams import Shape, open_stream

_PARALLEL_FROM = 0.9995  # the mean cosine from which two noises count as one
_FLAT = 1e-6


@dataclass(frozen=True)
class Variation:
    """How the first noise is varied.

    subseeds: one per image, or empty. subseed_strength: 0 the seed's noise, 1 the subseed's.
    seed_resize_from: (channels, height, width) of the latent whose composition is to be kept, or None.
    eta_noise_seed_delta: after the first noise every stream starts anew with its seed plus this, unless 0.

    Raises `JobError` naming the field for a value that is out of range.
    """

    subseeds: tuple[int, ...] = ()
    subseed_strength: float = 0.0
    seed_resize_from: tuple[int, int, int] | None = None
    eta_noise_seed_delta: int = 0

    def __post_init__(self) -> None:
        if not (isfinite(self.subseed_strength) and 0 <= self.subseed_strength <= 1):
            raise JobError(f"subseed_strength: {self.subseed_strength} should be from 0 to 1")
        if self.seed_resize_from and min(self.seed_resize_from) < 1:
            raise JobError("seed_resize_from: width and height should be 8 or more")


class NoiseSource:
    """The noise of a batch: each call draws `shape` from every image's own stream.

    The first call's noise is varied as `variation` says. `shape` is one image's latent, (4, H//8, W//8).
    Raises `JobError` for an unknown `rng`, and where subseeds are not one per image.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Shape,
        *,
        rng: str = "NV",
        device: torch.device,
        variation: Variation | None = None,
    ) -> None:
        self._seeds = tuple(seeds)
        self._shape = shape
        self._rng = rng
        self._device = device
        self._variation = variation or Variation()
        self._drew_first = False
        self._streams = [open_stream(seed, rng, device) for seed in seeds]
        if self._variation.subseed_strength and len(self._variation.subseeds) != len(self._seeds):
            raise JobError("subseeds: one is needed per image")

    def __call__(self) -> torch.Tensor:
        """The next noise, float32, (len(seeds), *shape), on the device."""
        if self._drew_first:
            return self._stack([stream.normal(self._shape) for stream in self._streams])
        self._drew_first = True
        first = self._stack([self._first(i) for i in range(len(self._seeds))])
        delta = self._variation.eta_noise_seed_delta
        if delta:
            self._streams = [open_stream(seed + delta, self._rng, self._device) for seed in self._seeds]
        return first

    def brownian(self, smallest: float, largest: float) -> BrownianNoise:
        """Each image's Brownian path between two sigmas."""
        return BrownianNoise(self._seeds, self._shape, smallest, largest, rng=self._rng, device=self._device)

    def _first(self, i: int) -> torch.Tensor:
        variation = self._variation
        resized = variation.seed_resize_from
        if resized == self._shape:
            resized = None
        noise = self._streams[i].normal(self._shape)
        own = noise if resized is None else self._fresh(self._seeds[i], resized)
        if variation.subseed_strength:
            other = self._fresh(variation.subseeds[i], own.shape)
            own = slerp(own, other, variation.subseed_strength)
        return own if resized is None else paste_centred(own, noise)

    def _fresh(self, seed: int, shape: Shape) -> torch.Tensor:
        return open_stream(seed, self._rng, self._device).normal(tuple(shape))

    def _stack(self, drawn: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(drawn)).to(self._device)


class BrownianNoise:
    """Unit noise from Brownian paths over sigma, one per image, seeded by it.

    Called with a level and its target it gives the path's increment between the two, divided by its standard
    deviation: the noise of a step is the sum of the noises of its parts, so a picture keeps its composition
    when the number of steps changes.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Shape,
        smallest: float,
        largest: float,
        *,
        rng: str,
        device: torch.device,
    ) -> None:
        self._trees = [
            BrownianTree(seed, shape, smallest, largest, lambda key: open_stream(key, rng, device))
            for seed in seeds
        ]
        self._device = device

    def __call__(self, sigma: float, target: float) -> torch.Tensor:
        """(images, *shape), float32, on the device."""
        low, high = sorted((sigma, target))
        increments = torch.stack([tree.increment(low, high) for tree in self._trees]).to(self._device)
        sign = 1.0 if sigma < target else -1.0
        return increments * (sign / (high - low) ** 0.5)


def slerp(first: torch.Tensor, second: torch.Tensor, strength: float) -> torch.Tensor:
    """Spherical interpolation between two noises of (channels, height, width), one angle per column.

    Where the two point the same way the interpolation is linear, and then, as in A1111, counted from the
    other end.
    """
    cosine = (_unit(first) * _unit(second)).sum(1, keepdim=True).clamp(-1.0, 1.0)
    if float(cosine.mean()) > _PARALLEL_FROM:
        return strength * first + (1.0 - strength) * second
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    flat = sine < _FLAT  # no plane to turn in, as in a latent of one row
    one = torch.where(flat, 1.0 - strength, torch.sin((1.0 - strength) * angle) / sine)
    other = torch.where(flat, strength, torch.sin(strength * angle) / sine)
    return one * first + other * second


def _unit(noise: torch.Tensor) -> torch.Tensor:
    return noise / torch.linalg.vector_norm(noise, dim=1, keepdim=True)


def paste_centred(noise: torch.Tensor, canvas: torch.Tensor) -> torch.Tensor:
    """`canvas` with `noise` in its middle, cropped where it is larger; both (channels, height, width)."""
    result = canvas.clone()
    places = []
    for have, want in zip(noise.shape[1:], canvas.shape[1:], strict=True):
        gap = (want - have) // 2  # rounded down, also where it is negative
        size = have if gap >= 0 else have + 2 * gap
        places.append((slice(max(gap, 0), max(gap, 0) + size), slice(max(-gap, 0), max(-gap, 0) + size)))
    (rows, from_rows), (columns, from_columns) = places
    result[:, rows, columns] = noise[:, from_rows, from_columns]
    return result
