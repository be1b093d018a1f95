"""The body of ``POST /sdapi/v1/txt2img``."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field

from easel_contract.controlnet.combining import HiresPasses
from easel_contract.errors import ContractError
from easel_contract.images import check_image
from easel_contract.infotext.reading import split_sampler
from easel_contract.limits import MIN_SIDE, Limits
from easel_contract.requests.checks import check_size
from easel_contract.requests.generation import GenerationRequest
from easel_contract.requests.reading import read_request
from easel_contract.samplers import SamplerChoice, resolve

SAME = frozenset({"", "none", "use same checkpoint", "use same sampler", "use same scheduler"})
"""How clients say that the hires pass has no choice of its own, in lower case."""
HIRES_ONLY = "is for the hires pass: set enable_hr"


class Txt2ImgRequest(GenerationRequest):
    """A txt2img request."""

    denoising_strength: float | None = Field(
        None, ge=0, le=1, description="Of the hires pass; null is 0.75 there."
    )
    enable_hr: bool = False
    firstphase_width: int = Field(0, ge=0, le=16384)
    firstphase_height: int = Field(0, ge=0, le=16384)
    hr_scale: float = Field(2.0, gt=0, le=8)
    hr_upscaler: str | None = Field(None, description="A latent mode or an upscaler's name; null is Latent.")
    hr_second_pass_steps: int = Field(0, ge=0, description="0: as many as the first pass.")
    hr_resize_x: int = Field(0, ge=0, le=16384)
    hr_resize_y: int = Field(0, ge=0, le=16384)
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""

    @cached_property
    def hires_choice(self) -> SamplerChoice | None:
        """Sampler and scheduler of the hires pass; None is the first pass's.

        A sampler without a scheduler gets the one that the request asks for, if it does. Raises
        ContractError for an unknown name where the service is strict.
        """
        name, scheduler = own_choice(self.hr_sampler_name), own_choice(self.hr_scheduler)
        if name is None and scheduler is None:
            return None
        if name is not None and scheduler is None and split_sampler(name)[1] is None:
            scheduler = self.scheduler or split_sampler(self.sampler_name or self.sampler_index or "")[1]
        try:
            return resolve(name or self.choice.sampler, scheduler, strict=self._strict)
        except ContractError as error:
            raise ContractError(
                error.message, field=f"hr_{error.field}", status=error.status, kind=error.kind
            ) from None

    @property
    def warnings(self) -> tuple[str, ...]:
        if self.enable_hr:
            own = self.hires_choice.warnings if self.hires_choice else ()
        else:
            own = (f"firstpass_image: {HIRES_ONLY}; it is not looked at",) if self.firstpass_image else ()
        return (*super().warnings, *own)

    @property
    def first_size(self) -> tuple[int, int]:
        """Width and height of the first pass under the option `use_old_hires_fix_width_height`, 0 x 0 where
        it is to be found."""
        given = self.firstphase_width, self.firstphase_height
        return given if min(given) > 0 else (0, 0)

    @property
    def hires_by_scale(self) -> bool:
        """Whether `hr_scale` counts: no side of the hires pass is given."""
        return not self.hr_resize_x and not self.hr_resize_y

    @property
    def hires_bounds(self) -> tuple[float, float]:
        """Width and height that the first picture is enlarged to, in pixels, before they are rounded down and
        anything is cut off."""
        if self.overrides.values.get("use_old_hires_fix_width_height"):
            return self.width, self.height
        scale = self.hr_scale
        if not self.hires_by_scale:
            scale = max(self.hr_resize_x / self.width, self.hr_resize_y / self.height)
        return self.width * scale, self.height * scale

    @property
    def hires_passes(self) -> HiresPasses | None:
        if not self.enable_hr:
            return None
        return HiresPasses(first=not self.firstpass_image, second=self.denoising_strength != 0)

    def check_kind(self, limits: Limits) -> None:
        if self.options.image_link:
            raise ContractError(
                "is img2img's; txt2img has no init image", field="alwayson_scripts.image_link"
            )
        if not self.enable_hr:
            if self.firstpass_image and self.strict:
                raise ContractError(HIRES_ONLY, field="firstpass_image")
            return
        check_size(self.hires_bounds, limits, "hr_scale" if self.hires_by_scale else "hr_resize_x")
        if max(self.first_size) > 0:
            check_size(self.first_size, limits, "firstphase_width")
            if min(self.first_size) < MIN_SIDE:
                raise ContractError(f"should be 0, or {MIN_SIDE} or more", field="firstphase_width")


def own_choice(name: str | None) -> str | None:
    """A name that the hires pass has for itself, None for the ways to say that it has none."""
    return None if name is None or name.strip().casefold() in SAME else name


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
