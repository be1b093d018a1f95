"""The names in a file: which module each tensor is for, and which part of its change it is.

Names end in one of a few words, whoever wrote the file; what stands before it is the module's name, in the
writer's own style (see `targets`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

_PLAIN = (
    *("alpha", "dora_scale", "diff", "diff_b", "w_norm", "b_norm", "on_input", "rescale"),
    *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
    *("oft_blocks", "oft_diag", "a1.weight", "a2.weight", "b1.weight", "b2.weight"),
    "weight",
)
_ENDINGS: tuple[tuple[re.Pattern[str], str], ...] = (
    # kohya-ss; peft, which may put its adapter's name between.
    (re.compile(r"\.lora_(?:down|A)(?:\.\w+)?\.weight$"), "down"),
    (re.compile(r"\.lora_(?:up|B)(?:\.\w+)?\.weight$"), "up"),
    (re.compile(r"\.lora_mid\.weight$"), "mid"),
    (re.compile(r"\.lora_magnitude_vector(?:\.\w+)*$"), "magnitude"),
    # diffusers before peft: `to_q.lora.down`, `processor.to_q_lora.down`, `q_proj.lora_linear_layer.down`.
    (re.compile(r"(?:\.lora|_lora|\.lora_linear_layer)\.down\.weight$"), "down"),
    (re.compile(r"(?:\.lora|_lora|\.lora_linear_layer)\.up\.weight$"), "up"),
    *((re.compile(rf"\.{re.escape(name)}$"), name.removesuffix(".weight") or name) for name in _PLAIN),
)


def split_key(key: str) -> tuple[str, str] | None:
    """A tensor's name as (module, part); None where it ends in no word that is known."""
    for ending, part in _ENDINGS:
        if found := ending.search(key):
            return key[: found.start()], part
    return None


def by_module(stored: Mapping[str, T]) -> tuple[dict[str, dict[str, T]], list[str]]:
    """The tensors of a file by module and part; and the names that mean nothing here."""
    modules: dict[str, dict[str, T]] = {}
    unknown: list[str] = []
    for key, value in stored.items():
        split = split_key(key)
        if split is None:
            unknown.append(key)
        else:
            modules.setdefault(split[0], {})[split[1]] = value
    return modules, unknown


def shorten(names: Iterable[str], at_most: int = 3) -> str:
    """Names for a message."""
    listed = sorted(names)
    more = f" and {len(listed) - at_most} more" if len(listed) > at_most else ""
    return ", ".join(name[:120] for name in listed[:at_most]) + more
