"""Small networks with random weights, saved as their authors save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from easel_worker.upscaling.architectures import library


def save_rrdb(path: Path, *, scale: int = 4, seed: int = 0, wrap: str = "") -> Any:
    """An ESRGAN of one block; the module that is returned has its weights. `wrap` nests them."""
    library()  # spandrel can be imported only through our door
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(seed)
    network = ESRGAN(num_filters=16, num_blocks=1, scale=scale)
    weights = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({wrap: weights} if wrap else weights, path)
    return network.eval()
