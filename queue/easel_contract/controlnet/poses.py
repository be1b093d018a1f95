"""Poses as OpenPose's JSON has them: what `detect` answers, and what `render_openpose_json` draws.

Key points are flat lists of x, y and confidence, in pixels of the canvas; a missing one is 0, 0, 0.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from easel_contract.limits import Limits

RENDER_POSE_PATH: Final = "/controlnet/render_openpose_json"


class Person(BaseModel):
    """One person: 18 points of the body, 70 of the face, 21 of each hand; null where none were found."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    pose_keypoints_2d: list[float] | None
    face_keypoints_2d: list[float] | None = None
    hand_left_keypoints_2d: list[float] | None = None
    hand_right_keypoints_2d: list[float] | None = None


class Pose(BaseModel):
    """Everybody in one picture. Each animal is 17 points."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    people: list[Person] = Field(default_factory=list)
    animals: list[list[float]] = Field(default_factory=list)
    canvas_width: int = Field(ge=1, description="Pixels.")
    canvas_height: int = Field(ge=1, description="Pixels.")


def parse_poses(body: bytes, limits: Limits) -> tuple[Pose, ...]:
    """Read and check the body of `render_openpose_json`: a list of poses. It may be empty.

    The answer, as JSON: ``{"images": [base64…], "info": "Success"}``, a picture for each pose, of the size of
    its canvas; for an empty list ``{"info": "No pose data detected."}``.

    Raises:
        ContractError: 422, naming the pose and the field.
    """
    raise NotImplementedError
