"""Poses as drawings."""

from __future__ import annotations

import numpy as np
import pytest

from easel_contract.controlnet.poses import Person, Pose
from easel_worker.annotators.poses import draw_pose
from easel_worker.annotators.poses.skeletons import (
    ANIMAL_LIMBS,
    BODY_COLOURS,
    BODY_LIMBS,
    HAND_BONES,
    HAND_COLOURS,
)

BODY = [
    (100, 30), (100, 60), (75, 60), (60, 90), (50, 120), (125, 60), (140, 90), (150, 120), (85, 120),
    (82, 160), (80, 195), (115, 120), (118, 160), (120, 195), (93, 23), (107, 23), (85, 27), (115, 27),
]  # fmt: skip
"""A standing person, 200x200."""


def flat(points: list[tuple[int, int]], missing: tuple[int, ...] = ()) -> list[float]:
    made: list[float] = []
    for number, (x, y) in enumerate(points):
        made += [0.0, 0.0, 0.0] if number in missing else [float(x), float(y), 1.0]
    return made


def pose(**person: object) -> Pose:
    return Pose(people=[Person(**{"pose_keypoints_2d": None, **person})], canvas_width=200, canvas_height=200)


def test_each_joint_has_its_colour_and_each_limb_a_darker_one() -> None:
    drawn = draw_pose(pose(pose_keypoints_2d=flat(BODY)))
    assert drawn.shape == (200, 200, 3)
    for (x, y), colour in zip(BODY, BODY_COLOURS, strict=True):
        if y > 40:  # those of the head are too near to each other
            assert tuple(drawn[y, x]) == colour
    for (start, end), colour in list(zip(BODY_LIMBS, BODY_COLOURS, strict=False))[:12]:
        middle = np.mean([BODY[start], BODY[end]], axis=0).astype(int)
        assert tuple(drawn[middle[1], middle[0]]) == tuple(int(part * 0.6) for part in colour)
    assert tuple(drawn[5, 5]) == (0, 0, 0)


def test_eighteen_points_are_joined_by_seventeen_limbs() -> None:
    assert len(BODY_LIMBS) == 17
    assert len(BODY_COLOURS) == 18
    assert {point for limb in BODY_LIMBS for point in limb} == set(range(18))


def test_a_missing_point_takes_its_limbs_along() -> None:
    whole = draw_pose(pose(pose_keypoints_2d=flat(BODY)))
    without = draw_pose(pose(pose_keypoints_2d=flat(BODY, missing=(3,))))  # the right elbow
    for x, y in ((60, 90), (67, 75), (55, 105)):
        assert whole[y, x].any()
        assert not without[y, x].any()
    assert tuple(without[120, 50]) == BODY_COLOURS[4], "the wrist is there still"


def test_fractions_are_of_the_canvas() -> None:
    fractions = [value / 200 if number % 3 < 2 else value for number, value in enumerate(flat(BODY))]
    np.testing.assert_array_equal(
        draw_pose(pose(pose_keypoints_2d=fractions)), draw_pose(pose(pose_keypoints_2d=flat(BODY)))
    )


def test_a_hand_is_five_fingers_of_four_bones_from_the_wrist() -> None:
    assert len(HAND_BONES) == len(HAND_COLOURS) == 20
    assert [bone for bone in HAND_BONES if bone[0] == 0] == [(0, 1), (0, 5), (0, 9), (0, 13), (0, 17)]
    assert {end for _, end in HAND_BONES} == set(range(1, 21))
    hand = [(100, 180)] + [(40 + 30 * finger, 140 - 30 * joint) for finger in range(5) for joint in range(4)]
    for side in ("hand_left_keypoints_2d", "hand_right_keypoints_2d"):
        drawn = draw_pose(pose(**{side: flat(hand)}))
        assert all(tuple(drawn[y, x]) == (0, 0, 255) for x, y in hand)
        assert tuple(drawn[125, 40]) == HAND_COLOURS[1], "between the thumb's first two joints"
        assert not draw_pose(pose(**{side: flat(hand)}), hands=False).any()


def test_a_face_is_white_dots() -> None:
    face = [(10 + 20 * (number % 9), 10 + 20 * (number // 9)) for number in range(70)]
    drawn = draw_pose(pose(face_keypoints_2d=flat(face)))
    assert set(np.unique(drawn)) == {0, 255}
    assert all(drawn[y, x].all() for x, y in face)
    assert not draw_pose(pose(face_keypoints_2d=flat(face)), face=False).any()


def test_the_body_can_be_left_out() -> None:
    assert not draw_pose(pose(pose_keypoints_2d=flat(BODY)), body=False).any()


def test_animals() -> None:
    points = [(10 + 11 * number, 20 + (37 * number) % 150) for number in range(17)]
    drawn = draw_pose(Pose(animals=[flat(points)], canvas_width=200, canvas_height=200))
    assert all(drawn[y, x].all() for x, y in points)
    assert {point for limb in ANIMAL_LIMBS for point in limb[:2]} == set(range(17))


@pytest.mark.parametrize("far", [-1e9, 1e9, 1e300])
def test_points_far_outside_do_no_harm(far: float) -> None:
    values = flat(BODY)
    values[3 * 4] = far
    drawn = draw_pose(pose(pose_keypoints_2d=values))
    assert tuple(drawn[90, 60]) == BODY_COLOURS[3]


def test_fewer_points_than_a_body_has_are_drawn_as_far_as_they_go() -> None:
    drawn = draw_pose(pose(pose_keypoints_2d=flat(BODY[:3])))
    assert tuple(drawn[60, 100]) == BODY_COLOURS[1]
    assert not draw_pose(pose(pose_keypoints_2d=[])).any()
