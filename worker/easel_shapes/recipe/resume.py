"""Turns a finished model back into training states: the next sitting needs nothing but the repository.

Lost on the way are the optimizer's momentum, which comes back within a few hundred steps, and half of the
weights' digits.
"""

from __future__ import annotations

from pathlib import Path

import torch

from easel_shapes.recipe import sitting
from easel_shapes.recipe.networks import CLIP_TOKENS, Vocabulary, find_vocabulary
from easel_worker.diffusion.libraries import load_file

# Steps that a finished model counts as: its planned ones are over, and its running mean moves slowly.
_MANY = 1_000_000
_TABLE = "embeddings.token_embedding.weight"


def resume(model: Path, work: Path) -> None:
    """Write `work`/vae.pt and `work`/denoiser.pt from the diffusers folder `model`.

    Raises `FileExistsError` where `work` holds states already: they know more than a model does.
    """
    for name in ("vae.pt", "denoiser.pt"):
        if (work / name).exists():
            raise FileExistsError(f"{work / name} is there already: train on with it, or name another folder")
    vae = _weights(model / "vae" / "diffusion_pytorch_model.safetensors")
    sitting.save(work / "vae.pt", {"vae": vae, "optimizer": None, "steps": _MANY, "decoder_steps": _MANY})
    networks = {
        f"unet.{name}": tensor
        for name, tensor in _weights(model / "unet" / "diffusion_pytorch_model.safetensors").items()
    }
    vocabulary = find_vocabulary()
    for name, tensor in _weights(model / "text_encoder" / "model.safetensors").items():
        plain = name.removeprefix("text_model.")
        networks[f"text_encoder.{plain}"] = _rows(tensor, vocabulary) if plain == _TABLE else tensor
    state = {
        "networks": networks,
        "mean": {name: tensor.clone() for name, tensor in networks.items()},
        "optimizer": None,
        "tokens": list(vocabulary.tokens),
        "steps": _MANY,
        "reading_steps": _MANY,
    }
    sitting.save(work / "denoiser.pt", state)


def _rows(table: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
    """The full table -> the training's. Words that are new to the captions begin as unknown ones."""
    used = set(vocabulary.tokens)
    unused = next(token for token in range(CLIP_TOKENS) if token not in used)
    return torch.cat([table[list(vocabulary.tokens)], table[[unused]]])


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in load_file(str(path)).items()}
