"""Poses as OpenPose's JSON has them: what `detect` answers, and what `render_openpose_json` draws.

Key points are flat lists of x, y and confidence, in pixels of the canvas; a missing one is 0, 0, 0.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests.body import read_json
from easel_contract.validation import from_validation

RENDER_POSE_PATH: Final = "/controlnet/render_openpose_json"

MAX_PEOPLE: Final = 256
"""In one picture."""


def _triples(values: list[float]) -> list[float]:
    if len(values) % 3:
        raise ValueError(f"has {len(values)} numbers; each point is three: x, y, confidence")
    return values


def _listed(value: Any) -> Any:
    return [] if value is None else value


Body = Annotated[list[float], Field(max_length=3 * 18), AfterValidator(_triples)]
Face = Annotated[list[float], Field(max_length=3 * 70), AfterValidator(_triples)]
Hand = Annotated[list[float], Field(max_length=3 * 21), AfterValidator(_triples)]
Animal = Annotated[list[float], Field(max_length=3 * 17), AfterValidator(_triples)]


class Person(BaseModel):
    """One person: 18 points of the body, 70 of the face, 21 of each hand; null where none were found."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    pose_keypoints_2d: Body | None
    face_keypoints_2d: Face | None = None
    hand_left_keypoints_2d: Hand | None = None
    hand_right_keypoints_2d: Hand | None = None


class Pose(BaseModel):
    """Everybody in one picture. Each animal is 17 points."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    people: Annotated[list[Person], BeforeValidator(_listed)] = Field(
        default_factory=list, max_length=MAX_PEOPLE
    )
    animals: Annotated[list[Animal], BeforeValidator(_listed)] = Field(
        default_factory=list, max_length=MAX_PEOPLE
    )
    canvas_width: int = Field(ge=1, description="Pixels.")
    canvas_height: int = Field(ge=1, description="Pixels.")


_POSES: TypeAdapter[tuple[Pose, ...]] = TypeAdapter(tuple[Pose, ...])


def parse_poses(body: bytes, limits: Limits) -> tuple[Pose, ...]:
    """Read and check the body of `render_openpose_json`: a list of poses. It may be empty.

    The answer, as JSON: ``{"images": [base64…], "info": "Success"}``, a picture for each pose, of the size of
    its canvas; for an empty list ``{"info": "No pose data detected."}``.

    Raises:
        ContractError: 422, naming the pose and the field.
    """
    loaded = read_json(body or b"[]")
    if not isinstance(loaded, list):
        raise ContractError("the body is not a list of poses", kind="list_type")
    most = limits.max_batch_size * limits.max_n_iter
    if len(loaded) > most:
        raise ContractError(f"the body has {len(loaded)} poses; send at most {most}", kind="too_large")
    try:
        poses = _POSES.validate_python(loaded)
    except ValidationError as error:
        raise from_validation(error) from None
    for number, pose in enumerate(poses):
        if pose.canvas_width * pose.canvas_height > limits.images.max_pixels:
            raise ContractError(
                f"{pose.canvas_width}x{pose.canvas_height} pixels are more than this service allows; at most "
                f"{limits.images.max_pixels} (EASEL_IMAGE_MAX_PIXELS)",
                field=f"{number}.canvas_width",
                kind="too_large",
            )
    return poses
