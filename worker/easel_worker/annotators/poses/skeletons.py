"""Which points belong together, and their colours (red, green, blue)."""

from __future__ import annotations

from colorsys import hsv_to_rgb
from typing import Final, TypeAlias

Colour: TypeAlias = tuple[int, int, int]

BODY_LIMBS: Final = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7),  # neck to shoulders, arms
    (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),  # neck to hips, legs
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),  # neck to nose, eyes, ears
)  # fmt: skip
"""Of the 18 points of OpenPose's COCO model: nose, neck, right arm, left arm, right leg, left leg, eyes and
ears."""

BODY_COLOURS: Final[tuple[Colour, ...]] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""OpenPose's: of each point, and of the limb at the same place in `BODY_LIMBS`."""

HAND_BONES: Final = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1)
    for finger in range(5)
    for joint in range(4)
)
"""Of the 21 points of a hand: the wrist, then four of each finger, outwards."""

HAND_COLOURS: Final[tuple[Colour, ...]] = tuple(
    (round(r * 255), round(g * 255), round(b * 255))
    for r, g, b in (hsv_to_rgb(index / len(HAND_BONES), 1.0, 1.0) for index in range(len(HAND_BONES)))
)
"""Once around the colour wheel."""

HAND_POINT: Final[Colour] = (0, 0, 255)
FACE_POINT: Final[Colour] = (255, 255, 255)

_HEAD, _BACK, _LEFT, _RIGHT = (0, 0, 255), (0, 255, 0), (0, 255, 255), (6, 156, 250)

ANIMAL_LIMBS: Final[tuple[tuple[int, int, Colour], ...]] = (
    (0, 1, _HEAD), (0, 2, _HEAD), (1, 2, _HEAD),  # eyes, nose
    (2, 3, _BACK), (3, 4, _BACK),  # nose, neck, root of the tail
    (3, 5, _LEFT), (5, 6, _LEFT), (6, 7, _LEFT),  # front legs
    (3, 8, _RIGHT), (8, 9, _RIGHT), (9, 10, _RIGHT),
    (4, 11, _LEFT), (11, 12, _LEFT), (12, 13, _LEFT),  # hind legs
    (4, 14, _RIGHT), (14, 15, _RIGHT), (15, 16, _RIGHT),
)  # fmt: skip
"""Of the 17 points of AP-10K (Yu et al., "AP-10K: A Benchmark for Animal Pose Estimation in the Wild", 2021),
in the colours of its authors."""
