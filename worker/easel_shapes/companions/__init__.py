"""The small files that ship beside the model: a ControlNet for outlines, and two LoRAs.

Nothing heavy is imported here; how they were made is in `easel_shapes.recipe`.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from easel_shapes import NAME

COMPANIONS: MappingProxyType[str, str] = MappingProxyType(
    {
        f"{NAME}-edges.safetensors": "ControlNet",
        f"{NAME}-striped.safetensors": "Lora",
        f"{NAME}-arrow.safetensors": "Lora",
    }
)
"""File -> the folder below the data directory's models that it belongs in."""


def companions_folder() -> Path:
    """Where the shipped companions are."""
    return Path(__file__).parent


def companion_file(name: str, folder: Path | None = None) -> Path:
    """The file of "edges", "striped" or "arrow" in `folder`, the shipped one unless another is named."""
    return (folder or companions_folder()) / f"{NAME}-{name}.safetensors"
