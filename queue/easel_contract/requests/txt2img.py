"""The body of ``POST /sdapi/v1/txt2img``."""

from __future__ import annotations

from pydantic import Field, ValidationError

from easel_contract.limits import Limits
from easel_contract.requests.alwayson import spread
from easel_contract.requests.body import from_validation, read_object
from easel_contract.requests.checks import check_request
from easel_contract.requests.generation import GenerationRequest

HR_DENOISING = 0.75
"""`denoising_strength` of a hires pass that names none."""


class Txt2ImgRequest(GenerationRequest):
    """A txt2img request."""

    denoising_strength: float | None = Field(
        None, ge=0, le=1, description="Of the hires pass; null is 0.75 there."
    )
    enable_hr: bool = False
    firstphase_width: int = Field(0, ge=0)
    firstphase_height: int = Field(0, ge=0)
    hr_scale: float = Field(2.0, gt=0, le=8)
    hr_upscaler: str | None = Field(None, description="A latent mode or an upscaler's name; null is Latent.")
    hr_second_pass_steps: int = Field(0, ge=0, description="0: as many as the first pass.")
    hr_resize_x: int = Field(0, ge=0)
    hr_resize_y: int = Field(0, ge=0)
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""


def parse_txt2img(body: bytes, limits: Limits) -> Txt2ImgRequest:
    """Read and check a body completely: JSON, types, sizes, names, and what this version can do.

    Raises:
        ContractError: 422 (400 for an unknown sampler or scheduler) naming the first wrong field, the others
            in `more`.
    """
    try:
        request = Txt2ImgRequest.model_validate(spread(read_object(body)))
    except ValidationError as error:
        raise from_validation(error) from None
    check_request(request, limits)
    return request
