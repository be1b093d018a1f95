"""Which phrases of word lists fit a picture, by CLIP (Radford et al., 2021)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from easel_worker.diffusion.libraries import transformers
from easel_worker.diffusion.tokenizer import load_tokenizer
from easel_worker.interrogate.blip import load_model
from easel_worker.interrogate.pixels import to_tensor

BATCH = 256
"""Phrases encoded at once."""

_TOP = re.compile(r"\.top(\d+)\.txt\Z", re.IGNORECASE)


class Ranks:
    """CLIP on its device, with the phrases that were encoded before. Lives on the torch thread."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._model: Any = load_model(transformers.CLIPModel, folder, device)
        self._tokenizer: Any = load_tokenizer(folder)
        self._encoded: dict[tuple[Path, int, int], tuple[list[str], Tensor]] = {}

    @torch.inference_mode()
    def best(self, picture: Image.Image, lists: list[Path], most: int) -> list[str]:
        """The best phrase of each list, or the best n where its name ends in ``.topN.txt``. Of each list
        `most` lines are read, or all with 0."""
        side = self._model.config.vision_config.image_size
        pixels = to_tensor(picture, side, crop=True).to(self._model.device)
        features = _unit(self._model.get_image_features(pixel_values=pixels))
        found: list[str] = []
        for path in lists:
            phrases, encoded = self._phrases(path, most)
            if phrases:
                count = int(top[1]) if (top := _TOP.search(path.name)) else 1
                order = (encoded @ features[0]).argsort(descending=True, stable=True)
                found += [phrases[int(index)] for index in order[:count]]
        return found

    def _phrases(self, path: Path, most: int) -> tuple[list[str], Tensor]:
        key = path, path.stat().st_mtime_ns, most
        if key not in self._encoded:
            lines = path.read_text("utf-8", "replace").splitlines()[: most or None]
            phrases = [line.strip() for line in lines if line.strip()]
            parts = [self._encode(phrases[start : start + BATCH]) for start in range(0, len(phrases), BATCH)]
            self._encoded[key] = phrases, torch.cat(parts) if parts else torch.empty(0)
        return self._encoded[key]

    def _encode(self, phrases: list[str]) -> Tensor:
        length = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            phrases, padding=True, truncation=True, max_length=length, return_tensors="pt"
        ).to(self._model.device)
        return _unit(self._model.get_text_features(**tokens))


def _unit(features: Any) -> Tensor:
    """Feature vectors (n, d) of length 1. Newer transformers wrap them in an output object."""
    vectors = getattr(features, "pooler_output", features).float()
    unit: Tensor = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return unit
