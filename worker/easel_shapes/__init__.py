"""The small Stable Diffusion that ships with Easel: it draws coloured shapes, and it obeys the prompt.

Nothing heavy is imported here; how the model was made is in `easel_shapes.recipe`.
"""

from __future__ import annotations

from pathlib import Path

NAME = "easel-shapes"

__all__ = ["NAME", "model_folder"]


def model_folder() -> Path:
    """The shipped model: a diffusers folder with fp16 safetensors weights.

    It brings no tokenizer folder: the vocabulary is CLIP's own, which the worker ships.
    """
    return Path(__file__).parent / "model"
