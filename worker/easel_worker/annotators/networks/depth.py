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
from easel_worker.annotators.networks.pixels import HALF, IMAGENET, normalised, statistics_of
from easel_worker.annotators.networks.weights import load_into
from easel_worker.diffusion.libraries import transformers
from easel_worker.interrogate.blip import load_model

ZOE_MULTIPLE = 32
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
        self._statistics = statistics_of(paths[0], IMAGENET if _is_anything(self._model.config) else HALF)

    def __call__(
        self, picture: Pixels, controls: Controls, *, metric: bool = False, normals: bool = False
    ) -> Pixels:
        near = self._near(picture, metric=metric)
        return normals_of(near, controls.a) if normals else three(_bytes(near))

    @torch.inference_mode()
    def _near(self, picture: Pixels, *, metric: bool) -> NDArray[np.float32]:
        """(h, w), the nearest is 1 and the farthest 0."""
        height, width = picture.shape[:2]
        values = normalised(picture, self._device, self._statistics)
        values = torch.nn.functional.interpolate(
            values, _input_size(self._model.config, height, width), mode="bicubic", align_corners=False
        )
        found: Tensor = self._model(pixel_values=values).predicted_depth
        found = torch.nn.functional.interpolate(
            found.reshape(1, 1, *found.shape[-2:]).float(), (height, width), mode="bicubic"
        )
        depth = found[0, 0].cpu().numpy()
        if metric:
            # Between the 2nd and the 85th percentile, as the authors of ControlNet's Zoe models show it.
            near, far = np.percentile(depth, (2, 85))
            return np.asarray(np.clip(1.0 - (depth - near) / max(far - near, 1e-6), 0, 1), np.float32)
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
        # As its authors' code; controlnet_aux's exchanges red and blue, and does not divide by 255.
        values = normalised(picture, self._device, IMAGENET)
        far = stretched(self._network.depth_model(values)[0, 0].float().cpu().numpy())
        if controls.a:
            far = np.where(far > controls.a / 100.0, far, 0.0).astype(np.float32)
        near = 1.0 - far
        if controls.b:
            near = np.where(near > controls.b / 100.0, near, 0.0).astype(np.float32)
        return three(_bytes(near))


def normals_of(near: NDArray[np.float32], background: float) -> Pixels:
    """(h, w, 3): the surface's direction at each pixel, -1 to 1 as 0 to 255: towards the viewer in red, y in
    green, x in blue, the order that controlnet_aux shows ControlNet's MiDaS normals in. Where `near` is below
    `background` the surface is flat."""
    flat = near < background
    x = np.where(flat, 0, cv2.Sobel(near, cv2.CV_32F, 1, 0, ksize=3))
    y = np.where(flat, 0, cv2.Sobel(near, cv2.CV_32F, 0, 1, ksize=3))
    direction = np.stack([np.full_like(near, NORMAL_STRENGTH), y, x], axis=2)
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


def _is_anything(config: Any) -> bool:
    return bool(config.model_type == "depth_anything")


def _input_size(config: Any, height: int, width: int) -> tuple[int, int]:
    """Height and width that the model is shown: DPT's square; of the others, the picture's, rounded down to
    multiples of the patch (14 pixels of Depth Anything, 32 of Zoe)."""
    if config.model_type == "dpt":
        side = config.image_size
        return (side, side) if isinstance(side, int) else (side[0], side[1])
    multiple = int(config.backbone_config.patch_size) if _is_anything(config) else ZOE_MULTIPLE
    return max(multiple, height // multiple * multiple), max(multiple, width // multiple * multiple)
