"""Textual inversions inside a LoRA's file: learned in the same training, and meant by name in its prompts.

OneTrainer writes them, and A1111 reads them. For models with one text encoder:
``bundle_emb.<name>.emb_params``, or ``bundle_emb.<name>.string_to_param.*`` where a ``.pt`` was taken in as
it was. For SDXL: ``bundle_emb.<name>.clip_l`` and ``.clip_g``. What ends in ``_out`` is none of them: it is
OneTrainer's addition to the encoder's output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from easel_worker.diffusion.embeddings import StoredEmbedding, stored_part

# A name may have dots of its own, so the tensor's is what stands last.
_KEY = re.compile(r"bundle_emb\.(.+?)\.(?:(string_to_param)\..+|([^.]+)(?<!_out))", re.DOTALL)


def parted(
    tensors: Mapping[str, torch.Tensor], place: str
) -> tuple[tuple[StoredEmbedding, ...], dict[str, torch.Tensor]]:
    """The embeddings among a file's tensors, by name, and the other tensors. place: the file's name."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    others: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            others[key] = tensor
        else:
            name, whole, part = match.groups()
            found.setdefault(name, {})["emb_params" if whole else part] = tensor
    return tuple(
        stored_part(name, f"{place}: {name}", parts) for name, parts in sorted(found.items())
    ), others
