"""Draws poses on black, as OpenPose does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from easel_contract.controlnet.poses import Person, Pose
from easel_worker.annotators.annotation import Pixels
from easel_worker.annotators.opencv import cv2
from easel_worker.annotators.poses import skeletons

HALF_WIDTH = 4
"""Of a limb, and radius of a joint, in pixels."""
FACE_RADIUS = 3
BONE_WIDTH = 2
"""Of a hand's."""
LIMB_SHARE = 0.6
"""Of a joint's brightness that a limb has, so that the joints show."""
FAR = 1e5
"""Pixels; points are brought at least this near, because OpenCV counts in 32 bits."""

Point = tuple[int, int]


def draw_pose(pose: Pose, *, body: bool = True, hands: bool = True, face: bool = True) -> Pixels:
    """(canvas_height, canvas_width, 3): everybody of a pose.

    Coordinates are pixels of the canvas. Where all of a list are between 0 and 1, they are fractions of it.
    """
    size = pose.canvas_width, pose.canvas_height
    canvas = np.zeros((pose.canvas_height, pose.canvas_width, 3), np.uint8)
    for person in pose.people:
        _draw_person(canvas, person, size, body=body, hands=hands, face=face)
    for animal in pose.animals:
        points = _points(animal, size)
        for start, end, colour in skeletons.ANIMAL_LIMBS:
            _limb(canvas, points, start, end, colour)
        for point in points:
            _dot(canvas, point, HALF_WIDTH, skeletons.FACE_POINT)
    return canvas


def _draw_person(
    canvas: Pixels, person: Person, size: tuple[int, int], *, body: bool, hands: bool, face: bool
) -> None:
    if body:
        points = _points(person.pose_keypoints_2d, size)
        for (start, end), colour in zip(skeletons.BODY_LIMBS, skeletons.BODY_COLOURS, strict=False):
            _limb(canvas, points, start, end, _dimmed(colour))
        for point, colour in zip(points, skeletons.BODY_COLOURS, strict=False):
            _dot(canvas, point, HALF_WIDTH, colour)
    if hands:
        for flat in (person.hand_left_keypoints_2d, person.hand_right_keypoints_2d):
            points = _points(flat, size)
            for (start, end), colour in zip(skeletons.HAND_BONES, skeletons.HAND_COLOURS, strict=True):
                if (ends := _both(points, start, end)) is not None:
                    cv2.line(canvas, *ends, colour, thickness=BONE_WIDTH)
            for point in points:
                _dot(canvas, point, HALF_WIDTH, skeletons.HAND_POINT)
    if face:
        for point in _points(person.face_keypoints_2d, size):
            _dot(canvas, point, FACE_RADIUS, skeletons.FACE_POINT)


def _points(flat: Sequence[float] | None, size: tuple[int, int]) -> list[Point | None]:
    """Pixels of each point; None for one that is missing, which is told by a confidence of 0."""
    triples: NDArray[np.float64] = np.array((flat or [])[: len(flat or []) // 3 * 3], np.float64).reshape(
        -1, 3
    )
    seen = triples[:, 2] > 0
    places = np.abs(triples[seen, :2])
    if places.size and places.max() <= 1.0:
        triples = triples * (*size, 1)
    places = np.rint(np.clip(triples[:, :2], -FAR, FAR)).astype(int)
    return [(int(x), int(y)) if there else None for (x, y), there in zip(places, seen, strict=True)]


def _both(points: list[Point | None], start: int, end: int) -> tuple[Point, Point] | None:
    if max(start, end) >= len(points):
        return None
    a, b = points[start], points[end]
    return None if a is None or b is None else (a, b)


def _limb(canvas: Pixels, points: list[Point | None], start: int, end: int, colour: skeletons.Colour) -> None:
    """An ellipse from one point to the other."""
    if (ends := _both(points, start, end)) is None:
        return
    (x0, y0), (x1, y1) = ends
    middle = (x0 + x1) // 2, (y0 + y1) // 2
    axes = int(math.hypot(x1 - x0, y1 - y0) / 2), HALF_WIDTH
    angle = int(math.degrees(math.atan2(y1 - y0, x1 - x0)))
    outline = np.array(cv2.ellipse2Poly(middle, axes, angle, 0, 360, 1), np.int32)
    cv2.fillConvexPoly(canvas, outline, colour)


def _dot(canvas: Pixels, point: Point | None, radius: int, colour: skeletons.Colour) -> None:
    if point is not None:
        cv2.circle(canvas, point, radius, colour, thickness=-1)


def _dimmed(colour: skeletons.Colour) -> skeletons.Colour:
    r, g, b = (int(part * LIMB_SHARE) for part in colour)
    return r, g, b
