"""RetinaFace on ResNet-50: boxes and landmarks of the faces in a picture.

Deng et al., "RetinaFace: Single-stage Dense Face Localisation in the Wild" (2019). Layers carry the names of
the usual weights file (``detection_Resnet50_Final.pth``); all widths are told by the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from easel_worker.upscaling.errors import WeightsError
from easel_worker.upscaling.weights import StateDict, read_weights

STRIDES = (8, 16, 32)
ANCHORS = ((16, 32), (64, 128), (256, 512))
"""Sides of the square anchors at each stride, in pixels."""
VARIANCES = (0.1, 0.2)
MEAN_BGR = (104.0, 117.0, 123.0)
BLOCKS = (3, 4, 6, 3)
"""ResNet-50's bottlenecks per stage."""

MIN_SCORE = 0.97
"""The score from which a find counts as a face: restoring what is none does harm."""
MAX_OVERLAP = 0.4
MAX_SIDE = 1600
"""Larger pictures are searched at a smaller size."""
MAX_FACES = 64


@dataclass(frozen=True)
class Face:
    """One face, in the picture's pixels."""

    box: NDArray[np.float64]
    """Left, top, right, bottom."""
    landmarks: NDArray[np.float64]
    """(5, 2): eyes, nose, corners of the mouth."""
    score: float


class RetinaFace(nn.Module):
    """The network. `forward` answers box offsets (n, 4), scores (n,) and landmark offsets (n, 10)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.body = _Body(width)
        self.fpn = _Pyramid([width * 8, width * 16, width * 32], channels)
        self.ssh1, self.ssh2, self.ssh3 = (_Context(channels) for _ in STRIDES)
        anchors = len(ANCHORS[0])
        self.ClassHead, self.BboxHead, self.LandmarkHead = (
            nn.ModuleList(_Head(channels, anchors * size) for _ in STRIDES) for size in (2, 4, 10)
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels = self.fpn(self.body(pixels))
        features = [
            context(level) for context, level in zip((self.ssh1, self.ssh2, self.ssh3), levels, strict=True)
        ]
        classes, boxes, landmarks = (
            torch.cat([_flat(head(feature), size) for head, feature in zip(heads, features, strict=True)])
            for heads, size in ((self.ClassHead, 2), (self.BboxHead, 4), (self.LandmarkHead, 10))
        )
        return boxes, classes.softmax(-1)[:, 1], landmarks


def load_detector(path: Path, *, device: torch.device, allow_pickle: bool) -> RetinaFace:
    """Load the detector's file.

    Raises:
        WeightsError: it is not a RetinaFace on ResNet-50.
    """
    weights: StateDict = {
        key.removeprefix("module."): value
        for key, value in read_weights(path, allow_pickle=allow_pickle).items()
    }
    try:
        width = weights["body.conv1.weight"].shape[0]
        channels = weights["fpn.output1.0.weight"].shape[0]
        network = RetinaFace(width, channels)
        network.load_state_dict(weights)
    except (KeyError, RuntimeError, AttributeError, IndexError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise WeightsError(f"{path} is no RetinaFace on ResNet-50: {reason}") from error
    return network.to(device).eval().requires_grad_(False)


@torch.inference_mode()
def find_faces(network: RetinaFace, picture: Image.Image) -> list[Face]:
    """The faces in an RGB picture, the surest first."""
    shrink = min(1.0, MAX_SIDE / max(picture.size))
    small = picture
    if shrink < 1:
        size = tuple(max(1, round(side * shrink)) for side in picture.size)
        small = picture.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    device = next(network.parameters()).device
    bgr = np.asarray(small, np.float32)[..., ::-1] - np.array(MEAN_BGR, np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(bgr.transpose(2, 0, 1)))[None].to(device)
    boxes, scores, landmarks = (part.float().cpu().numpy().astype(np.float64) for part in network(tensor))
    return select(boxes, scores, landmarks, (small.height, small.width), 1 / shrink)


def select(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    landmarks: NDArray[np.float64],
    size: tuple[int, int],
    scale: float,
) -> list[Face]:
    """From the network's offsets to faces: decoded against the anchors, the best of each heap.

    Args:
        boxes, scores, landmarks: (n, 4), (n,), (n, 10), of all anchors.
        size: Height and width of what the network saw.
        scale: From there to the picture.
    """
    anchors = anchors_of(*size)
    sure = np.flatnonzero(scores > MIN_SCORE)
    sure = sure[np.argsort(-scores[sure])]
    at, side = anchors[sure, :2], anchors[sure, 2:]
    centre = at + boxes[sure, :2] * VARIANCES[0] * side
    extent = side * np.exp(np.minimum(boxes[sure, 2:] * VARIANCES[1], 10.0))
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
    points = at[:, None] + landmarks[sure].reshape(-1, 5, 2) * VARIANCES[0] * side[:, None]
    faces: list[Face] = []
    for number, index in enumerate(sure):
        if all(_overlap(corners[number], face.box / scale) <= MAX_OVERLAP for face in faces):
            faces.append(Face(corners[number] * scale, points[number] * scale, float(scores[index])))
            if len(faces) == MAX_FACES:
                break
    return faces


def anchors_of(height: int, width: int) -> NDArray[np.float64]:
    """Centre and sides (x, y, w, h) of every anchor, in the order of the network's output."""
    found = []
    for stride, sides in zip(STRIDES, ANCHORS, strict=True):
        rows, columns = -(-height // stride), -(-width // stride)
        y, x, side = np.meshgrid(
            (np.arange(rows) + 0.5) * stride, (np.arange(columns) + 0.5) * stride, sides, indexing="ij"
        )
        found.append(np.stack([x, y, side, side], axis=-1).reshape(-1, 4))
    return np.concatenate(found).astype(np.float64)


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Intersection over union."""
    shared = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(shared.clip(0)))
    total = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - common
    return common / total if total > 0 else 0.0


def _flat(output: Tensor, size: int) -> Tensor:
    return output[0].permute(1, 2, 0).reshape(-1, size)


class _Head(nn.Module):
    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Conv2d(channels, outputs, 1)

    def forward(self, feature: Tensor) -> Tensor:
        made: Tensor = self.conv1x1(feature)
        return made


def _convolution(inputs: int, outputs: int, kernel: int = 3, *, slope: float | None = 0.0) -> nn.Sequential:
    """Convolution and norm; then a leaky ReLU, unless `slope` is None."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([] if slope is None else [nn.LeakyReLU(slope)]))


def _slope(channels: int) -> float:
    return 0.1 if channels <= 64 else 0.0


class _Pyramid(nn.Module):
    """Feature pyramid: each level with what the coarser ones know."""

    def __init__(self, inputs: list[int], channels: int) -> None:
        super().__init__()
        slope = _slope(channels)
        self.output1, self.output2, self.output3 = (
            _convolution(size, channels, 1, slope=slope) for size in inputs
        )
        self.merge1, self.merge2 = (_convolution(channels, channels, slope=slope) for _ in range(2))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = self.output1(levels[0]), self.output2(levels[1]), self.output3(levels[2])
        middle = self.merge2(middle + functional.interpolate(coarse, size=middle.shape[2:]))
        fine = self.merge1(fine + functional.interpolate(middle, size=fine.shape[2:]))
        return [fine, middle, coarse]


class _Context(nn.Module):
    """Context module of SSH: three receptive fields side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, quarter, slope = channels // 2, channels // 4, _slope(channels)
        self.conv3X3 = _convolution(channels, half, slope=None)
        self.conv5X5_1 = _convolution(channels, quarter, slope=slope)
        self.conv5X5_2 = _convolution(quarter, quarter, slope=None)
        self.conv7X7_2 = _convolution(quarter, quarter, slope=slope)
        self.conv7x7_3 = _convolution(quarter, quarter, slope=None)

    def forward(self, feature: Tensor) -> Tensor:
        shared = self.conv5X5_1(feature)
        parts = [self.conv3X3(feature), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared))]
        return functional.relu(torch.cat(parts, dim=1))


class _Body(nn.Module):
    """ResNet-50 (He et al., 2015) without its classifier: the outputs of its last three stages."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        stages: list[Any] = []
        for number, blocks in enumerate(BLOCKS):
            inner = width * 2**number
            first = _Bottleneck(inputs, inner, stride=1 if number == 0 else 2)
            inputs = inner * 4
            stages.append(nn.Sequential(first, *(_Bottleneck(inputs, inner) for _ in range(blocks - 1))))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, pixels: Tensor) -> list[Tensor]:
        feature = functional.relu(self.bn1(self.conv1(pixels)))
        feature = self.layer1(functional.max_pool2d(feature, 3, stride=2, padding=1))
        levels = []
        for stage in (self.layer2, self.layer3, self.layer4):
            feature = stage(feature)
            levels.append(feature)
        return levels


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, inner: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, inner * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(inner * 4)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != inner * 4:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, inner * 4, 1, stride=stride, bias=False), nn.BatchNorm2d(inner * 4)
            )

    def forward(self, feature: Tensor) -> Tensor:
        made = functional.relu(self.bn1(self.conv1(feature)))
        made = functional.relu(self.bn2(self.conv2(made)))
        return functional.relu(self.bn3(self.conv3(made)) + self.downsample(feature))
