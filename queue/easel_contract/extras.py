"""The bodies of ``POST /sdapi/v1/extra-single-image``, ``extra-batch-images`` and ``interrogate``.

Lenient as the other requests: null is the default, unknown fields are ignored, numbers may come as text.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from easel_contract.errors import ContractError
from easel_contract.images import check_image
from easel_contract.limits import Limits
from easel_contract.requests.body import from_validation, read_object

SINGLE_PATH = "/sdapi/v1/extra-single-image"
BATCH_PATH = "/sdapi/v1/extra-batch-images"
INTERROGATE_PATH = "/sdapi/v1/interrogate"

MAX_FACTOR = 64
"""Largest `upscaling_resize`; the result's pixels are limited as well, by EASEL_IMAGE_MAX_PIXELS."""

NO_UPSCALER = "None"


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, body: Any) -> Any:
        if isinstance(body, dict):
            return {key: value for key, value in body.items() if value is not None}
        return body


class ExtrasRequest(_Lenient):
    """What both calls have in common: how a picture is enlarged and faces are restored."""

    resize_mode: int = Field(0, ge=0, le=1, description="0 by `upscaling_resize`, 1 to the given size.")
    show_extras_results: bool = Field(True, description="Taken and ignored: the pictures are the answer.")
    gfpgan_visibility: float = Field(0.0, ge=0, le=1, description="How much of GFPGAN's result is seen.")
    codeformer_visibility: float = Field(0.0, ge=0, le=1, description="The same for CodeFormer.")
    codeformer_weight: float = Field(0.0, ge=0, le=1, description="0 restores most, 1 changes least.")
    upscaling_resize: float = Field(2.0, gt=0, le=MAX_FACTOR, description="Factor for both sides.")
    upscaling_resize_w: int = Field(512, ge=1, description="Width for resize_mode 1, in pixels.")
    upscaling_resize_h: int = Field(512, ge=1, description="Height for resize_mode 1, in pixels.")
    upscaling_crop: bool = Field(True, description="resize_mode 1: cut what is beyond the given size.")
    upscaler_1: str = Field(NO_UPSCALER, description="None leaves the picture's size as it is.")
    upscaler_2: str = Field(NO_UPSCALER, description="A second upscaler, blended over the first.")
    extras_upscaler_2_visibility: float = Field(0.0, ge=0, le=1, description="How much of it is seen.")
    upscale_first: bool = Field(False, description="Enlarge before faces are restored, not after.")


class ExtrasSingleRequest(ExtrasRequest):
    """One picture: base64, data URI or address."""

    image: str = ""


class NamedImage(_Lenient):
    """A picture of a batch. A1111's clients send its name as well; nothing is saved under it."""

    data: str = ""
    name: str = ""


class ExtrasBatchRequest(ExtrasRequest):
    """Several pictures, all treated alike."""

    imageList: list[NamedImage] = Field(default_factory=list)  # noqa: N815 - A1111's name

    @field_validator("imageList", mode="before")
    @classmethod
    def _bare_texts(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [{"data": item} if isinstance(item, str) else item for item in value]
        return value


class InterrogateRequest(_Lenient):
    """A picture to be described, and by what: ``clip`` (BLIP, and CLIP's ranks) or ``deepdanbooru``."""

    image: str = ""
    model: str = "clip"


R = TypeVar("R", bound=_Lenient)


def parse_extras_single(body: bytes, limits: Limits) -> ExtrasSingleRequest:
    """Read and check a body, except for what only decoding tells.

    Raises:
        ContractError: 422, naming the first wrong field.
    """
    request = _parse(ExtrasSingleRequest, body)
    check_image(request.image, field="image", rules=limits.images)
    _check_sizes(request, limits)
    return request


def parse_extras_batch(body: bytes, limits: Limits) -> ExtrasBatchRequest:
    """As `parse_extras_single`, for all pictures of the list."""
    request = _parse(ExtrasBatchRequest, body)
    most = limits.max_batch_size * limits.max_n_iter
    if not 1 <= len(request.imageList) <= most:
        raise ContractError(
            f"has {len(request.imageList)} pictures; send 1 to {most}", field="imageList", kind="too_large"
        )
    for number, picture in enumerate(request.imageList):
        check_image(picture.data, field=f"imageList.{number}.data", rules=limits.images)
    _check_sizes(request, limits)
    return request


def parse_interrogate(body: bytes, limits: Limits) -> InterrogateRequest:
    """Read and check a body, except for what only decoding and the models tell.

    Raises:
        ContractError: 404, no picture; 422, a wrong field.
    """
    request = _parse(InterrogateRequest, body)
    if not request.image:
        raise ContractError("Image not found", status=404, kind="not_found")
    check_image(request.image, field="image", rules=limits.images)
    return request


def _parse(model: type[R], body: bytes) -> R:
    try:
        return model.model_validate(read_object(body))
    except ValidationError as error:
        raise from_validation(error) from None


def _check_sizes(request: ExtrasRequest, limits: Limits) -> None:
    pixels = request.upscaling_resize_w * request.upscaling_resize_h
    if request.resize_mode == 1 and pixels > limits.images.max_pixels:
        raise ContractError(
            f"{request.upscaling_resize_w}x{request.upscaling_resize_h} pixels are more than this service "
            f"allows; at most {limits.images.max_pixels} (EASEL_IMAGE_MAX_PIXELS)",
            field="upscaling_resize_w",
            kind="too_large",
        )
