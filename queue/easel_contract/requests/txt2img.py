"""The body of ``POST /sdapi/v1/txt2img``."""

from __future__ import annotations

from pydantic import Field

from easel_contract.images import check_image
from easel_contract.limits import Limits
from easel_contract.requests.checks import check_size
from easel_contract.requests.generation import GenerationRequest
from easel_contract.requests.reading import read_request


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

    @property
    def hires_by_scale(self) -> bool:
        """Whether `hr_scale` counts: no side of the hires pass is given."""
        return not self.hr_resize_x and not self.hr_resize_y

    @property
    def hires_bounds(self) -> tuple[float, float]:
        """Width and height of the final picture, in pixels, before they are rounded down."""
        if self.hires_by_scale:
            return self.width * self.hr_scale, self.height * self.hr_scale
        return (
            self.hr_resize_x or self.hr_resize_y * self.width / self.height,
            self.hr_resize_y or self.hr_resize_x * self.height / self.width,
        )

    def check_kind(self, limits: Limits) -> None:
        if self.enable_hr:
            check_size(self.hires_bounds, limits, "hr_scale" if self.hires_by_scale else "hr_resize_x")


def parse_txt2img(body: bytes, limits: Limits) -> Txt2ImgRequest:
    """Read and check a body completely: JSON, types, sizes, names, and what this version can do.

    Raises:
        ContractError: 422 (400 for an unknown sampler or scheduler) naming the first wrong field, the others
            in `more`.
    """
    request = read_request(Txt2ImgRequest, body, limits)
    if request.enable_hr and request.firstpass_image:
        check_image(request.firstpass_image, field="firstpass_image", rules=limits.images)
    return request
