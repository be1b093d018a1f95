"""From the tensors that a file holds for one module to what is done to its weight and bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from easel_worker.diffusion.lora.kinds import Delta, Dora, Full, Glora, Ia3, Loha, Lokr, Lora, Oft

Parts = Mapping[str, torch.Tensor]

_EXTRA = {"alpha", "dora_scale", "magnitude", "diff_b", "rescale"}
_FORMS: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    # kind, what it must have, what it may have
    ("LoRA", frozenset({"down", "up"}), frozenset({"mid"})),
    (
        "LoHa",
        frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),
        frozenset({"hada_t1", "hada_t2"}),
    ),
    (
        "LoKr",
        frozenset(),
        frozenset({f"lokr_{name}" for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")}),
    ),
    ("GLoRA", frozenset({"a1", "a2", "b1", "b2"}), frozenset()),
    ("OFT", frozenset({"oft_blocks"}), frozenset()),
    ("IA3", frozenset({"weight", "on_input"}), frozenset()),
    ("norm", frozenset({"w_norm"}), frozenset({"b_norm"})),
    ("full", frozenset({"diff"}), frozenset()),
)


class UnknownKindError(ValueError):
    """The tensors make no kind that is known; the message says which they are."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """How strong a LoRA is where its file has no alpha beside the tensors (peft's configuration).

    alpha: None is the rank. stabilised: divided by the root of the rank (rsLoRA, Kalajdzievski 2023).
    """

    alpha: float | None = None
    stabilised: bool = False

    def of(self, rank: int) -> float:
        """What up times down is multiplied with."""
        alpha = rank if self.alpha is None else self.alpha
        return float(alpha / (rank**0.5 if self.stabilised else rank))


@dataclass(frozen=True, eq=False)
class Change:
    """What a file does to one module. bias: added to the module's own, (outputs,)."""

    kind: str
    weight: Delta | None
    bias: torch.Tensor | None = None

    def fits(self, module: torch.nn.Module) -> bool:
        """Whether the module has weights of these shapes."""
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if self.bias is not None and (bias is None or bias.numel() != self.bias.numel()):
            return False
        return self.weight is None or (weight is not None and self.weight.fits(weight.shape))


def read_change(parts: Parts, scaling: Scaling = Scaling()) -> Change:
    """What the tensors of one module mean. Raises `UnknownKindError`."""
    kind = _kind(parts)
    bias = parts.get("b_norm" if kind == "norm" else "diff_b")
    if kind == "bias":
        return Change("full", None, bias)
    try:
        weight = _delta(kind, parts, scaling)
    except (IndexError, ValueError, RuntimeError) as error:
        raise UnknownKindError(f"{kind} with tensors of odd shapes: {_shapes(parts)}") from error
    magnitude = parts.get("magnitude", parts.get("dora_scale"))
    if magnitude is not None:
        # kohya-ss keeps (1, inputs, …), LyCORIS that or (outputs, 1, …), peft one per output.
        per_output = "magnitude" in parts or magnitude.ndim < 2 or magnitude.shape[0] > 1
        weight = Dora(weight, magnitude, per_output)
        kind = Dora.kind
    return Change(kind, weight, bias)


def _kind(parts: Parts) -> str:
    names = parts.keys() - _EXTRA
    if not names and "diff_b" in parts:
        return "bias"
    for kind, needed, allowed in _FORMS:
        if names and needed <= names <= needed | allowed:
            return kind
    if "oft_diag" in names:
        raise UnknownKindError("OFT as LyCORIS 1 wrote it (oft_diag); save it again with LyCORIS 2 or later")
    raise UnknownKindError(f"no kind of LoRA that is known: {_shapes(parts)}")


def _delta(kind: str, parts: Parts, scaling: Scaling) -> Delta:
    if kind == "LoRA":
        return _lora(parts, scaling)
    if kind == "LoHa":
        return _loha(parts)
    if kind == "LoKr":
        return _lokr(parts)
    if kind == "GLoRA":
        a1, a2, b1, b2 = (parts[name].flatten(1) for name in ("a1", "a2", "b1", "b2"))
        _chains((a2, a1), (b2, b1))
        return Glora(a1, a2, b1, b2, _scale(parts, len(a1)))
    if kind == "OFT":
        blocks = parts["oft_blocks"]
        if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2]:
            raise ValueError("oft_blocks")
        return Oft(blocks, float(parts["alpha"]) if "alpha" in parts else 0.0, parts.get("rescale"))
    if kind == "IA3":
        return Ia3(parts["weight"], bool(parts["on_input"].any()))
    return Full(parts["w_norm" if kind == "norm" else "diff"])


def _lora(parts: Parts, scaling: Scaling) -> Lora:
    down, up, mid = parts["down"], parts["up"], parts.get("mid")
    down, up = down.flatten(1), up.flatten(1)
    if mid is None:
        _chains((up, down))
    elif mid.shape[:2] != (up.shape[1], down.shape[0]):
        raise ValueError("lora_mid")
    rank = len(down)
    return Lora(down, up, _scale(parts, rank) if "alpha" in parts else scaling.of(rank), mid)


def _loha(parts: Parts) -> Loha:
    w1 = parts["hada_w1_a"], parts["hada_w1_b"].flatten(1)
    w2 = parts["hada_w2_a"], parts["hada_w2_b"].flatten(1)
    scale = _scale(parts, len(w1[1]))
    if "hada_t1" not in parts:
        _chains(w1, w2)
        return Loha(w1, w2, scale)
    cores = parts["hada_t1"], parts["hada_t2"]
    for (a, b), core in zip((w1, w2), cores, strict=True):
        _core(a, b, core)
    return Loha(w1, w2, scale, cores)


def _lokr(parts: Parts) -> Lokr:
    factors = {name.removeprefix("lokr_"): tensor for name, tensor in parts.items()}
    core = factors.get("t2")
    found: list[tuple[torch.Tensor, ...]] = []
    ranks = []
    for name in ("w1", "w2"):
        if name in factors:
            found.append((factors[name],))
            continue
        a, b = factors.get(f"{name}_a"), factors.get(f"{name}_b")
        if a is None or b is None:
            raise ValueError(name)
        if name == "w2" and core is not None:
            _core(a, b, core)
        else:
            b = b.flatten(1)
            _chains((a, b))
        found.append((a, b))
        ranks.append(len(b))
    w1, w2 = found
    if len(w2) == 1:
        core = None
    # Factors that are whole have no rank, and then alpha means nothing.
    return Lokr(w1, w2, _scale(parts, ranks[0]) if ranks else 1.0, core)


def _scale(parts: Parts, rank: int) -> float:
    return float(parts["alpha"]) / rank if "alpha" in parts else 1.0


def _chains(*pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Raise where two matrices cannot be multiplied."""
    if any(a.ndim != 2 or a.shape[1] != b.shape[0] for a, b in pairs):
        raise ValueError("ranks")


def _core(a: torch.Tensor, b: torch.Tensor, core: torch.Tensor) -> None:
    if (a.ndim, b.ndim) != (2, 2) or core.shape[:2] != (a.shape[0], b.shape[0]):
        raise ValueError("core")


def _shapes(parts: Parts) -> str:
    shown = (f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(parts.items()))
    return ", ".join(list(shown)[:8])
