"""Straight lines: M-LSD (Gu et al., "Towards Light-weight and Real-time Line Segment Detection", 2022)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.networks.library import aux
from easel_worker.annotators.networks.weights import load_into
from easel_worker.upscaling.errors import WeightsError

MOST = 200
"""Segments of a picture."""


class Mlsd:
    """White segments of one pixel's width on black. Controls' a: the least score of a segment; b: its least
    length, in cells of two pixels."""

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        network = aux("mlsd.models.mbv2_mlsd_large").MobileV2_MLSD_Large()
        self._path = paths[0]
        self._device = device
        self._network = load_into(network, paths[0], device, allow_pickle=allow_pickle)
        # Not its detector, which answers an empty map to whatever goes wrong.
        self._decode = aux("mlsd.utils").deccode_output_score_and_ptss

    def __call__(self, picture: Pixels, controls: Controls) -> Pixels:
        drawn = np.zeros_like(picture)
        for x0, y0, x1, y1 in self.segments(picture, least_score=controls.a, least_length=controls.b):
            cv2.line(drawn, (int(x0), int(y0)), (int(x1), int(y1)), (255, 255, 255), 1)
        return drawn

    @torch.inference_mode()
    def segments(self, picture: Pixels, *, least_score: float, least_length: float) -> NDArray[np.float32]:
        """(n, 4): x and y of both ends, in pixels; they may lie outside the picture.

        The network sees a fourth channel of ones, and makes one cell of every two by two pixels: the score of
        a segment with its middle there, and the ways from it to both ends.
        """
        height, width = picture.shape[:2]
        pixels = np.concatenate([picture, np.ones((height, width, 1), np.uint8)], axis=2)
        values = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self._device, torch.float32)
        middles, scores, ways = self._decode(self._network(values / 127.5 - 1.0), MOST, 3)
        if not np.isfinite(scores).all():
            raise WeightsError(f"{self._path} makes values that are not numbers; is it whole?")
        y, x = middles.T
        ends = ways[y, x] + np.stack([x, y, x, y], axis=1)
        lengths = np.linalg.norm(ends[:, :2] - ends[:, 2:], axis=1)
        kept = (scores > least_score) & (lengths > least_length)
        # OpenCV takes coordinates of 32 bits; no segment of a picture is longer than this.
        return np.asarray(np.clip(2.0 * ends[kept], -1e5, 1e5), np.float32)
