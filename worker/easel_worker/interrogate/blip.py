"""Captions by BLIP (Li et al., "BLIP: Bootstrapping Language-Image Pre-training", 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from easel_worker.diffusion.libraries import transformers
from easel_worker.interrogate.pixels import to_tensor
from easel_worker.upscaling.errors import WeightsError


class Blip:
    """A captioner on its device. Lives on the torch thread.

    Raises:
        WeightsError: the folder cannot be used.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._model: Any = load_model(transformers.BlipForConditionalGeneration, folder, device)
        self._words = (folder / "vocab.txt").read_text("utf-8").splitlines()

    @torch.inference_mode()
    def caption(self, picture: Image.Image, *, min_length: int, max_length: int, beams: int) -> str:
        """What is in the picture, in lower-case English. Lengths are in tokens."""
        side = self._model.config.vision_config.image_size
        pixels = to_tensor(picture, side, crop=False).to(self._model.device)
        ids = self._model.generate(
            pixels, do_sample=False, num_beams=beams, min_length=min_length, max_length=max_length
        )
        return self.text(ids[0].tolist())

    def text(self, ids: list[int]) -> str:
        """The words of token ids: WordPiece, whose pieces after a word's first begin with ``##``."""
        words: list[str] = []
        for number in ids:
            word = self._words[number] if number < len(self._words) else ""
            if not word or (word[0] == "[" and len(word) > 1):
                continue  # [CLS], [SEP], and what a model adds behind the list
            if word.startswith("##") and words:
                words[-1] += word[2:]
            else:
                words.append(word)
        return " ".join(words)


def load_model(kind: Any, folder: Path, device: torch.device) -> Any:
    """A transformers model from a local folder of safetensors.

    Raises:
        WeightsError: names the folder.
    """
    try:
        model, told = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except MemoryError:
        raise
    except Exception as error:  # whatever a broken config or file makes transformers stumble over
        raise WeightsError(
            f"{folder} cannot be loaded: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    if told["missing_keys"]:
        some = ", ".join(sorted(told["missing_keys"])[:3])
        raise WeightsError(f"{folder}/model.safetensors lacks weights: {some}")
    return model.to(device).eval()
