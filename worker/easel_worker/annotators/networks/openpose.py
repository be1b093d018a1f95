"""Poses: OpenPose (Cao et al., "OpenPose: Realtime Multi-Person 2D Pose Estimation using Part Affinity
Fields", 2019), by controlnet_aux's networks for body, hands and face.

OpenPose's weights and code are free for research only; whoever puts the weights here has agreed to that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from easel_contract.controlnet.poses import Person, Pose
from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.networks.library import aux
from easel_worker.annotators.networks.weights import fill, read
from easel_worker.upscaling.errors import WeightsError
from easel_worker.upscaling.weights import StateDict

BODY, HAND, FACE = "body", "hand", "face"


class OpenPose:
    """Finds people. Which of the files of body, hands and face it is given decides what it looks for."""

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        self._boxes = aux("open_pose.util")
        self._parts: dict[str, Any] = {}
        for path in paths:
            part = next(part for part in (BODY, HAND, FACE) if path.stem.startswith(part))
            library = aux(f"open_pose.{part}")
            weights = read(path, allow_pickle=allow_pickle)
            if part == FACE:
                network = library.FaceNet()
            else:
                network = getattr(aux("open_pose.model"), f"{part}pose_model")()
                weights = _staged(network, weights, path)
            self._parts[part] = _with(getattr(library, part.title()), fill(network, weights, path).to(device))

    def __call__(self, picture: Pixels, controls: Controls) -> Pose:
        """Everybody in the picture, in its pixels."""
        height, width = picture.shape[:2]
        bgr = np.ascontiguousarray(picture[..., ::-1])
        body = self._parts[BODY]
        with torch.inference_mode():
            people = [self._person(found, bgr) for found in body.format_body_result(*body(bgr))]
        return Pose(people=people, canvas_width=width, canvas_height=height)

    def _person(self, body: Any, bgr: Pixels) -> Person:
        flat = [value for point in body.keypoints for value in _triple(point)]
        hands: dict[bool, list[float]] = {}
        if HAND in self._parts:
            for x, y, side, is_left in self._boxes.handDetect(body, bgr):
                hands[is_left] = _moved(self._parts[HAND](bgr[y : y + side, x : x + side]), x, y)
        face = None
        if FACE in self._parts and (box := self._boxes.faceDetect(body, bgr)) is not None:
            x, y, side = box
            face = self._face_points(bgr[y : y + side, x : x + side], x, y)
        return Person(
            pose_keypoints_2d=flat,
            face_keypoints_2d=face,
            hand_left_keypoints_2d=hands.get(True),
            hand_right_keypoints_2d=hands.get(False),
        )

    def _face_points(self, crop: Pixels, x: int, y: int) -> list[float] | None:
        """70 points: the strongest spot of each of the network's maps, if that is strong enough at all."""
        maps: NDArray[np.float32] = self._parts[FACE](crop)[:70]
        strongest = maps.reshape(len(maps), -1).argmax(axis=1)
        rows, columns = np.unravel_index(strongest, maps.shape[1:])
        seen = maps.reshape(len(maps), -1).max(axis=1) > FACE_LEAST
        flat: list[float] = []
        for column, row, there in zip(columns, rows, seen, strict=True):
            flat += [float(column + x), float(row + y), 1.0] if there else [0.0, 0.0, 0.0]
        return flat if seen.any() else None


FACE_LEAST = 0.05
"""Of a face point's score."""


def _with(kind: Any, network: Any) -> Any:
    """An object of a detector's class around a network. Its constructor would read the file as a pickle."""
    made = kind.__new__(kind)
    made.model = network
    return made


def _staged(network: Any, weights: StateDict, path: Path) -> StateDict:
    """The file's names are those of the layers alone; the network's have their stage before them."""
    names = {name: name.partition(".")[2] for name in network.state_dict()}
    if missing := [short for name, short in names.items() if short not in weights and name not in weights]:
        raise WeightsError(f"{path} is not the file of this preprocessor: it lacks {missing[0]}")
    return {name: weights.get(short, weights.get(name)) for name, short in names.items()}


def _triple(point: Any) -> tuple[float, float, float]:
    return (0.0, 0.0, 0.0) if point is None else (float(point.x), float(point.y), 1.0)


def _moved(points: NDArray[np.float64], x: int, y: int) -> list[float]:
    """A hand's 21 points, found in a crop, in the picture; (0, 0) is one that was not found."""
    flat: list[float] = []
    for column, row in points:
        missing = column == 0 and row == 0
        flat += [0.0, 0.0, 0.0] if missing else [float(column + x), float(row + y), 1.0]
    return flat
