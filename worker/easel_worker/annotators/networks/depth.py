"""Depth, white is near: by transformers' models in local folders, and LeReS (Yin et al., 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.canvas import three
from easel_worker.annotators.networks.library import aux
from easel_worker.annotators.networks.pixels import IMAGENET, normalised
from easel_worker.annotators.networks.weights import load_into
from easel_worker.diffusion.libraries import transformers
from easel_worker.interrogate.blip import load_model

NORMAL_STRENGTH = 2 * np.pi
"""How long the axis towards the viewer is beside the depth's gradients (ControlNet's MiDaS normals)."""


class Depth:
    """A depth model of transformers: DPT (Ranftl et al., 2021), Depth Anything (Yang et al., 2024), ZoeDepth
    (Bhat et al., 2023).

    `metric`: it tells distances, which are turned round; the others tell nearness. `normals`: surface normals
    from the depth, instead of it; controls' a: nearness from 0 to 1 below which all is background.
    """

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        self._model = load_model(transformers.AutoModelForDepthEstimation, paths[0], device)
        self._device = device
        self._multiple = _patch(self._model.config)

    def __call__(
        self, picture: Pixels, controls: Controls, *, metric: bool = False, normals: bool = False
    ) -> Pixels:
        near = self._near(picture, metric=metric)
        return normals_of(near, controls.a) if normals else three(_bytes(near))

    @torch.inference_mode()
    def _near(self, picture: Pixels, *, metric: bool) -> NDArray[np.float32]:
        """(h, w), the nearest is 1 and the farthest 0."""
        height, width = picture.shape[:2]
        multiple = self._multiple
        size = max(multiple, height // multiple * multiple), max(multiple, width // multiple * multiple)
        values = normalised(picture, self._device, IMAGENET)
        values = torch.nn.functional.interpolate(values, size, mode="bicubic", align_corners=False)
        found: Tensor = self._model(pixel_values=values).predicted_depth
        found = torch.nn.functional.interpolate(
            found.reshape(1, 1, *found.shape[-2:]).float(), (height, width), mode="bicubic"
        )
        depth = found[0, 0].cpu().numpy()
        if metric:
            # Between the 2nd and the 85th percentile, as the authors of ControlNet's Zoe models show it.
            near, far = np.percentile(depth, (2, 85))
            return np.clip(1.0 - (depth - near) / max(far - near, 1e-6), 0, 1).astype(np.float32)
        return stretched(depth)


class Leres:
    """LeReS. Controls' a, b: percent of the depth at the near and at the far end that are left out, as
    background."""

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        network = aux("leres.leres.multi_depth_model_woauxi").RelDepthModel(backbone="resnext101")
        self._network = load_into(network, paths[0], device, allow_pickle=allow_pickle)
        self._device = device

    @torch.inference_mode()
    def __call__(self, picture: Pixels, controls: Controls) -> Pixels:
        # It was trained on pictures whose channels were exchanged (its own code reads them by OpenCV).
        values = normalised(np.ascontiguousarray(picture[..., ::-1]), self._device, IMAGENET)
        far = stretched(self._network.depth_model(values)[0, 0].float().cpu().numpy())
        if controls.a:
            far = np.where(far > controls.a / 100.0, far, 0.0).astype(np.float32)
        near = 1.0 - far
        if controls.b:
            near = np.where(near > controls.b / 100.0, near, 0.0).astype(np.float32)
        return three(_bytes(near))


def normals_of(near: NDArray[np.float32], background: float) -> Pixels:
    """(h, w, 3): the surface's direction at each pixel: x in red, y in green, towards the viewer in blue, -1
    to 1 as 0 to 255. Where `near` is below `background` the surface is flat."""
    flat = near < background
    x = np.where(flat, 0, cv2.Sobel(near, cv2.CV_32F, 1, 0, ksize=3))
    y = np.where(flat, 0, cv2.Sobel(near, cv2.CV_32F, 0, 1, ksize=3))
    direction = np.stack([x, y, np.full_like(near, NORMAL_STRENGTH)], axis=2)
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    return (direction * 127.5 + 127.5).clip(0, 255).astype(np.uint8)


def stretched(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """From its least to its greatest value as 0 to 1; all 0 where they are equal."""
    least, most = float(values.min()), float(values.max())
    if not most - least > 1e-12:
        return np.zeros_like(values)
    return ((values - least) / (most - least)).astype(np.float32)


def _bytes(values: NDArray[np.float32]) -> Pixels:
    return (values * 255.0 + 0.5).clip(0, 255).astype(np.uint8)


def _patch(config: Any) -> int:
    """What the sides of a picture must be multiples of: 14 for Depth Anything, whose backbone is a DINOv2."""
    for part in (getattr(config, "backbone_config", None), config):
        if (size := getattr(part, "patch_size", None)) is not None:
            return int(size if isinstance(size, int) else size[0])
    return 32
