"""Line drawings: the networks of Chan et al., "Learning to generate line drawings that convey geometry and
semantics", 2022, and one for drawn pictures, both as controlnet_aux has them."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch

from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.networks.library import aux
from easel_worker.annotators.networks.weights import load_into


class Lineart:
    """White lines on black. The file decides whether they are fine or coarse."""

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        library = aux("lineart")
        network = load_into(library.Generator(3, 1, 3), paths[0], device, allow_pickle=allow_pickle)
        self._detect = library.LineartDetector(network, network)

    def __call__(self, picture: Pixels, controls: Controls) -> Pixels:
        side = min(picture.shape[:2])
        return np.asarray(self._detect(picture, False, side, side, output_type="np"), np.uint8)


class LineartAnime:
    """White lines on black, from pictures that are drawn."""

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        library = aux("lineart_anime")
        norm = functools.partial(torch.nn.InstanceNorm2d, affine=False, track_running_stats=False)
        network = library.UnetGenerator(3, 1, 8, 64, norm_layer=norm, use_dropout=False)
        load_into(network, paths[0], device, allow_pickle=allow_pickle)
        self._detect = library.LineartAnimeDetector(network)

    def __call__(self, picture: Pixels, controls: Controls) -> Pixels:
        side = min(picture.shape[:2])
        return np.asarray(self._detect(picture, side, side, output_type="np"), np.uint8)
