"""What each kind of file does to a weight W0, as a difference that is 0 where its multiplier is.

| kind | difference | source |
|---|---|---|
| LoRA | up down | Hu et al. 2021; for convolutions, and in Tucker's form, Yeh et al. 2024 (LyCORIS) |
| LoHa | (w1a w1b) * (w2a w2b), elementwise | Hyeon-Woo et al. 2022 (FedPara) |
| LoKr | w1 (x) w2, Kronecker's product | Yeh et al. 2024 |
| full, norm | as it is stored | |
| IA3 | W0 * w, per output or input | Liu et al. 2022 |
| GLoRA | W0 a2 a1 + b2 b1 | Chavan et al. 2023 |
| OFT | (R - 1) W0 with R orthogonal by Cayley's transform | Qiu et al. 2023 |

Weights are seen as matrices (outputs, inputs * kernel). All but the last three are scaled by alpha / rank.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

Size = tuple[int, int]
"""Rows and columns of a weight as a matrix."""


@dataclass(frozen=True, eq=False)
class Delta(ABC):
    """A change of one weight, its tensors as they were stored. Shapes are checked by who makes one."""

    kind: ClassVar[str]
    cuts: ClassVar[bool] = False
    """Whether its rank can be cut (`dyn`)."""

    def fits(self, shape: torch.Size) -> bool:
        """Whether it is for a weight of this shape."""
        return self.size == (shape[0], math.prod(shape[1:]))

    @property
    @abstractmethod
    def size(self) -> Size | None:
        """What it changes; None where that can be anything that `fits`."""

    @abstractmethod
    def of(self, base: torch.Tensor, rank: int | None = None) -> torch.Tensor:
        """The difference for `base`, a float32 matrix, as such a matrix. rank: cut to this, None for all."""

    def add_to(self, total: torch.Tensor, base: torch.Tensor, factor: float, rank: int | None = None) -> None:
        """Add `factor` times the difference to `total`, in place."""
        total.add_(self.of(base, rank), alpha=within_float32(factor))


@dataclass(frozen=True, eq=False)
class Lora(Delta):
    """down: (r, columns). up: (rows, r). With `mid`, (r, r, kernel…), down is (r, inputs)."""

    kind: ClassVar[str] = "LoRA"
    cuts: ClassVar[bool] = True
    down: torch.Tensor
    up: torch.Tensor
    scale: float
    mid: torch.Tensor | None = None

    @property
    def size(self) -> Size:
        kernel = 1 if self.mid is None else math.prod(self.mid.shape[2:])
        return self.up.shape[0], self.down.shape[1] * kernel

    def of(self, base: torch.Tensor, rank: int | None = None) -> torch.Tensor:
        up, down = self._factors(base, rank)
        return up @ down * self.scale

    def add_to(self, total: torch.Tensor, base: torch.Tensor, factor: float, rank: int | None = None) -> None:
        up, down = self._factors(base, rank)
        total.addmm_(up, down, alpha=within_float32(factor * self.scale))

    def _factors(self, base: torch.Tensor, rank: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        up, down = _like(base, self.up[:, :rank]), _like(base, self.down[:rank])
        if self.mid is not None:
            core = _like(base, self.mid[:rank, :rank])
            down = torch.einsum("pq...,qi->pi...", core, down).flatten(1)
        return up, down


@dataclass(frozen=True, eq=False)
class Loha(Delta):
    """a: (rows, r), b: (r, columns), twice. With cores, (r, r, kernel…), a is (r, rows) and b (r, inputs)."""

    kind: ClassVar[str] = "LoHa"
    w1: tuple[torch.Tensor, torch.Tensor]
    w2: tuple[torch.Tensor, torch.Tensor]
    scale: float
    cores: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def size(self) -> Size:
        a, b = self.w1
        if self.cores is None:
            return a.shape[0], b.shape[1]
        return a.shape[1], b.shape[1] * math.prod(self.cores[0].shape[2:])

    def of(self, base: torch.Tensor, rank: int | None = None) -> torch.Tensor:
        first, second = (
            _product(_like(base, a), _like(base, b), None if core is None else _like(base, core))
            for (a, b), core in zip((self.w1, self.w2), self.cores or (None, None), strict=True)
        )
        return first.mul_(second).mul_(self.scale)


@dataclass(frozen=True, eq=False)
class Lokr(Delta):
    """Each factor is a matrix, or two that multiply; w2 may have a kernel, or a core as `Loha`'s."""

    kind: ClassVar[str] = "LoKr"
    w1: tuple[torch.Tensor, ...]
    w2: tuple[torch.Tensor, ...]
    scale: float
    core: torch.Tensor | None = None

    @property
    def size(self) -> Size:
        rows = self.w1[0].shape[0]
        columns = self.w1[-1].shape[1]
        if self.core is not None:
            a, b = self.w2
            return rows * a.shape[1], columns * b.shape[1] * math.prod(self.core.shape[2:])
        return rows * self.w2[0].shape[0], columns * math.prod(self.w2[-1].shape[1:])

    def of(self, base: torch.Tensor, rank: int | None = None) -> torch.Tensor:
        w1 = _joined(base, self.w1)
        if self.core is None:
            w2 = _joined(base, self.w2)
        else:
            a, b = self.w2
            w2 = _product(_like(base, a), _like(base, b), _like(base, self.core))
        # Kronecker's product is of outputs and inputs; the kernel, the fastest of w2's columns, stays.
        return torch.kron(w1, w2).mul_(self.scale)


@dataclass(frozen=True, eq=False)
class Full(Delta):
    """The whole difference. `kind` of a normalisation's is the same arithmetic."""

    kind: ClassVar[str] = "full"
    diff: torch.Tensor

    def fits(self, shape: torch.Size) -> bool:
        return self.diff.numel() == math.prod(shape) and self.diff.shape[0] == shape[0]

    @property
    def size(self) -> Size:
        return self.diff.shape[0], math.prod(self.diff.shape[1:])

    def of(self, base: torch.Tensor, rank: int | None = None) -> torch.Tensor:
        return _like(base, self.diff).reshape(base.shape)


@dataclass(frozen=True, eq=False)
class Ia3(Delta):
    """weight: one factor per output, or per input where `on_input`."""

    kind: ClassVar[str] = "IA3"
    weight: torch.Tensor
    on_input: bool

    def fits(self, shape: torch.Size) -> bool:
        return self.weight.numel() == (shape[1] if self.on_input else shape[0]) and len(shape) > 1

    @property
    def size(self) -> None:
        return None

    def of(self, base: torch.Tensor, rank: int | None = None) -> torch.Tensor:
        factors = _like(base, self.weight).flatten()
        if not self.on_input:
            return base * factors[:, None]
        per_input = base.reshape(base.shape[0], len(factors), -1)
        return (per_input * factors[:, None]).reshape(base.shape)


@dataclass(frozen=True, eq=False)
class Glora(Delta):
    """a2: (inputs, r), a1: (r, inputs), b2: (outputs, r), b1: (r, inputs)."""

    kind: ClassVar[str] = "GLoRA"
    cuts: ClassVar[bool] = True
    a1: torch.Tensor
    a2: torch.Tensor
    b1: torch.Tensor
    b2: torch.Tensor
    scale: float

    @property
    def size(self) -> Size:
        return self.b2.shape[0], self.b1.shape[1]

    def of(self, base: torch.Tensor, rank: int | None = None) -> torch.Tensor:
        a1, b1 = (_like(base, one[:rank]) for one in (self.a1, self.b1))
        a2, b2 = (_like(base, one[:, :rank]) for one in (self.a2, self.b2))
        return (b2 @ b1).add_(base @ a2 @ a1).mul_(self.scale)


@dataclass(frozen=True, eq=False)
class Oft(Delta):
    """blocks: (n, b, b) with n b outputs; their antisymmetric part Q makes R = (1 + Q)(1 - Q)^-1.

    constraint: the most that Q's norm may be, per output; 0 is any. rescale: a factor per output.
    """

    kind: ClassVar[str] = "OFT"
    blocks: torch.Tensor
    constraint: float = 0.0
    rescale: torch.Tensor | None = None

    def fits(self, shape: torch.Size) -> bool:
        rows = self.blocks.shape[0] * self.blocks.shape[1]
        return len(shape) > 1 and rows == shape[0] and (self.rescale is None or self.rescale.numel() == rows)

    @property
    def size(self) -> None:
        return None

    def of(self, base: torch.Tensor, rank: int | None = None) -> torch.Tensor:
        blocks = _like(base, self.blocks)
        count, width, _ = blocks.shape
        skew = blocks - blocks.mT
        if self.constraint > 0:
            norm = skew.norm() + 1e-8
            skew = skew * (self.constraint * count * width / norm).clamp(max=1.0)
        one = torch.eye(width, dtype=base.dtype, device=base.device)
        rotation = torch.linalg.solve(one - skew, one + skew, left=False)
        # Trainers turn each block's outputs n to m by R[n, m].
        turned = torch.einsum("knm,kn...->km...", rotation, base.reshape(count, width, -1))
        turned = turned.reshape(base.shape)
        if self.rescale is not None:
            turned = turned * _like(base, self.rescale).flatten()[:, None]
        return turned - base


@dataclass(frozen=True, eq=False)
class Dora(Delta):
    """Weight-decomposed (Liu et al. 2024): W = magnitude * (W0 + inner) / |W0 + inner|.

    magnitude: one number per input (kohya-ss) or per output (peft, LyCORIS); the norm is over the other.
    """

    kind: ClassVar[str] = "DoRA"
    inner: Delta
    magnitude: torch.Tensor
    per_output: bool

    def fits(self, shape: torch.Size) -> bool:
        wanted = shape[0] if self.per_output else shape[1]
        return self.inner.fits(shape) and self.magnitude.numel() == wanted

    @property
    def size(self) -> Size | None:
        return self.inner.size

    def of(self, base: torch.Tensor, rank: int | None = None) -> torch.Tensor:
        merged = self.inner.of(base, rank) + base
        magnitude = _like(base, self.magnitude).flatten()
        tiny = torch.finfo(base.dtype).eps
        if self.per_output:
            rows: torch.Tensor = magnitude / (torch.linalg.vector_norm(merged, dim=1) + tiny)
            return merged * rows[:, None] - base
        per_input = merged.reshape(len(base), len(magnitude), -1)
        factors: torch.Tensor = magnitude / (torch.linalg.vector_norm(per_input, dim=(0, 2)) + tiny)
        return (per_input * factors[:, None]).reshape(base.shape) - base


def within_float32(factor: float) -> float:
    """A factor as torch takes it for float32: infinite where it is too large."""
    return factor if abs(factor) <= torch.finfo(torch.float32).max else math.copysign(math.inf, factor)


def _like(base: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
    return stored.to(device=base.device, dtype=base.dtype)


def _product(a: torch.Tensor, b: torch.Tensor, core: torch.Tensor | None) -> torch.Tensor:
    if core is None:
        return a @ b
    joined: torch.Tensor = torch.einsum("pq...,qi,po->oi...", core, b, a)
    return joined.flatten(1).contiguous()


def _joined(base: torch.Tensor, factors: tuple[torch.Tensor, ...]) -> torch.Tensor:
    first, *rest = (_like(base, one).flatten(1) for one in factors)
    return torch.matmul(first, rest[0]) if rest else first


def size_of(parts: Mapping[str, torch.Tensor]) -> int:
    """Bytes of stored tensors."""
    return sum(tensor.nbytes for tensor in parts.values())
