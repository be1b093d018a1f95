"""Surface normals: Bae et al., "Estimating and Exploiting the Aleatoric Uncertainty in Surface Normal
Estimation", 2021, by controlnet_aux's network."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.networks.library import aux
from easel_worker.annotators.networks.pixels import IMAGENET, normalised
from easel_worker.annotators.networks.weights import load_into

_TRAINED_AS = {"architecture": "BN", "sampling_ratio": 0.4, "importance_ratio": 0.7}
"""Of the published file."""


class NormalBae:
    """Red, green and blue are x, y and z of the normal, -1 to 1 as 0 to 255."""

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        with redirect_stdout(StringIO()):  # it prints what it does
            network = aux("normalbae.nets.NNET").NNET(SimpleNamespace(**_TRAINED_AS))
        self._network = load_into(network, paths[0], device, allow_pickle=allow_pickle)
        self._device = device

    @torch.inference_mode()
    def __call__(self, picture: Pixels, controls: Controls) -> Pixels:
        scales, *_ = self._network(normalised(picture, self._device, IMAGENET))
        direction = scales[-1][0, :3].float().cpu().numpy().transpose(1, 2, 0)
        return np.asarray(((direction + 1.0) * 127.5).clip(0, 255), np.uint8)
