"""Brownian motion that can be asked for any interval, in any order, and always answers the same.

The tree, its seeds and its rounding are those of torchsde's `BrownianTree` (Apache-2.0; Li et al. 2020),
which the SDE samplers of k-diffusion use, so a seed gives their noise. Our own, because the numbers have to
come from the image's kind of stream: torchsde draws on the device it runs on, and so gives one picture on a
GPU and another on a CPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from easel_worker.diffusion.streams import Shape, Stream

_DIGITS = 6  # places of sigma are rounded to this, which ends the halving
_POOL = 24  # words of entropy of numpy's SeedSequence
_KEPT = 64  # increments that are remembered: about two queries' way down the tree


@dataclass(frozen=True)
class _Node:
    """An interval of the dyadic tree. `key` counts the nodes of one depth from the left, 0 at the root."""

    start: float
    end: float
    key: int
    depth: int

    @property
    def middle(self) -> float:
        return round((self.start + self.end) / 2, _DIGITS)

    def left(self) -> _Node:
        return _Node(self.start, self.middle, 2 * self.key, self.depth + 1)

    def right(self) -> _Node:
        return _Node(self.middle, self.end, 2 * self.key + 1, self.depth + 1)


class BrownianTree:
    """One path over [start, end], as increments; `shape` independent coordinates, float32.

    `open_stream` gives the stream of a node's seed.
    """

    def __init__(
        self, seed: int, shape: Shape, start: float, end: float, open_stream: Callable[[int], Stream]
    ) -> None:
        # numpy's SeedSequence knows no negative entropy.
        self._entropy = seed & 0xFFFFFFFFFFFFFFFF
        self._shape = shape
        self._open_stream = open_stream
        self._root = _Node(_rounded(start), _rounded(end), 0, 0)
        words = np.random.SeedSequence(self._entropy, pool_size=_POOL).generate_state(1)
        whole = float(np.float32(end)) - float(np.float32(start))
        self._whole = self._normal(int(words[0])) * whole**0.5
        self._known: OrderedDict[_Node, torch.Tensor] = OrderedDict()

    def increment(self, start: float, end: float) -> torch.Tensor:
        """The path's way from `start` to `end`, `start` < `end`; what lies outside the tree counts as its
        ends.
        """
        low, high = self._root.start, self._root.end
        first, last = (min(max(_rounded(place), low), high) for place in (start, end))
        pieces = self._pieces(self._root, self._whole, first, last)
        return sum(pieces, start=torch.zeros_like(self._whole))

    def _pieces(self, node: _Node, way: torch.Tensor, start: float, end: float) -> list[torch.Tensor]:
        """The increments of the largest nodes that make up [start, end], from the left."""
        if start >= end or end <= node.start or start >= node.end:
            return []
        if start <= node.start and node.end <= end:
            return [way]
        left_way = self._left(node, way)
        pieces = []
        if start < node.middle:
            pieces += self._pieces(node.left(), left_way, start, end)
        if end > node.middle:
            pieces += self._pieces(node.right(), way - left_way, start, end)
        return pieces

    def _left(self, node: _Node, way: torch.Tensor) -> torch.Tensor:
        """The left half's increment, given the whole one's: the Brownian bridge at the node's middle."""
        known = self._known.get(node)
        if known is None:
            left, right = node.middle - node.start, node.end - node.middle
            whole = 1 / (node.end - node.start)
            sequence = np.random.SeedSequence(
                self._entropy, spawn_key=(node.key, node.depth), pool_size=_POOL
            )
            noise = self._normal(int(sequence.generate_state(1)[0]))
            known = left * way * whole + (left * right * whole) ** 0.5 * noise
            self._known[node] = known
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(node)
        return known

    def _normal(self, seed: int) -> torch.Tensor:
        return self._open_stream(seed).normal(self._shape)


def _rounded(sigma: float) -> float:
    # To float32 first: the levels are such numbers where the tree comes from.
    return round(float(np.float32(sigma)), _DIGITS)
