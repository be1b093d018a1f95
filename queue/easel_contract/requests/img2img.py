"""The body of ``POST /sdapi/v1/img2img``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, field_validator

from easel_contract.controlnet.combining import Init
from easel_contract.errors import ContractError
from easel_contract.images import check_image
from easel_contract.limits import Limits
from easel_contract.requests.generation import GenerationRequest
from easel_contract.requests.reading import read_request
from easel_contract.requests.scripts import UNMASKED, OutpaintingMk2, PoorMansOutpainting, SDUpscale

FILL = 2
"""The `resize_mode` that fills what the picture leaves of the sample's size."""


class Img2ImgRequest(GenerationRequest):
    """An img2img request. Images are base64, data URIs or addresses."""

    img2img: ClassVar[bool] = True

    init_images: list[str] = Field(default_factory=list, description="One for all, or one per image.")
    resize_mode: int = Field(
        0,
        ge=0,
        le=3,
        description="0 stretch, 1 cover and crop, 2 contain and fill, 3 stretch in latent space.",
    )
    denoising_strength: float = Field(0.75, ge=0, le=1)
    image_cfg_scale: float | None = Field(None, ge=0, le=100, description="InstructPix2Pix; null is 1.5.")
    mask: str | None = Field(None, description="White is painted anew; alpha counts where there is one.")
    mask_blur: int | None = Field(None, ge=0, le=256, description="Sets both directions.")
    mask_blur_x: int = Field(4, ge=0, le=256)
    mask_blur_y: int = Field(4, ge=0, le=256)
    mask_round: bool = True
    inpainting_fill: int = Field(
        0, ge=0, le=3, description="0 fill, 1 original, 2 latent noise, 3 latent nothing."
    )
    inpaint_full_res: bool = Field(True, description="Only the masked region, at full resolution.")
    inpaint_full_res_padding: int = Field(0, ge=0, le=4096, description="Pixels around the masked region.")
    inpainting_mask_invert: bool = Field(False, description="Paint what the mask leaves out.")
    initial_noise_multiplier: float | None = Field(None, ge=0, le=10)
    latent_mask: str | None = Field(None, description="A mask for the latent alone; null is `mask`.")
    include_init_images: bool = False

    @field_validator("inpaint_full_res", "inpainting_mask_invert", mode="before")
    @classmethod
    def _number_is_truth(cls, value: Any) -> Any:
        return bool(value) if isinstance(value, int | float) else value

    @property
    def pictures(self) -> dict[str, str]:
        """Every picture that the request brings or names, by its field."""
        found = {f"init_images.{i}": text for i, text in enumerate(self.init_images)}
        if not found and self.image_link:
            found["alwayson_scripts.image_link"] = self.image_link
        found |= {"mask": self.mask} if self.mask else {}
        return found | ({"latent_mask": self.latent_mask} if self.latent_mask else {})

    @property
    def init(self) -> Init:
        if isinstance(self.script, SDUpscale):  # its tiles have no mask, and nothing to fill
            return Init()
        drawn = isinstance(self.script, OutpaintingMk2 | PoorMansOutpainting)  # these draw a mask themselves
        return Init(mask=bool(self.mask) or drawn, fill=self.resize_mode == FILL)

    @property
    def image_link(self) -> str | None:
        """The cloud's address of the init image, used where `init_images` has none."""
        return self.options.image_link

    @property
    def blur(self) -> tuple[int, int]:
        """The mask's blur along x and y, in pixels."""
        if self.mask_blur is not None:
            return self.mask_blur, self.mask_blur
        return self.mask_blur_x, self.mask_blur_y

    @property
    def unused(self) -> dict[str, str]:
        """What the request asks for in vain: field -> why, and what would be right.

        Fields that clients send with every request (`resize_mode`, and how a mask is used) are not among
        them.
        """
        if not isinstance(self.script, UNMASKED):
            alone = self.latent_mask and not self.mask
            return {"latent_mask": "says nothing without mask; send that beside it"} if alone else {}
        why = (
            "SD upscale draws every tile as a whole; leave it out"
            if isinstance(self.script, SDUpscale)
            else "the script paints what it adds, by a mask of its own; leave it out"
        )
        found = {name: why for name in ("mask", "latent_mask") if getattr(self, name)}
        if len(self.init_images) > 1:
            found["init_images"] = (
                f"the script begins with one picture, {len(self.init_images)} are given; send one"
            )
        return found

    @property
    def warnings(self) -> tuple[str, ...]:
        unused = (f"{field}: {why}; it is not looked at" for field, why in self.unused.items())
        return (*super().warnings, *unused)

    def check_kind(self, limits: Limits) -> None:
        if not self.init_images and not self.image_link:
            raise ContractError("Init image not found", field="init_images", status=404, kind="not_found")
        count = len(self.init_images)
        if count > 1 and (count > self.batch_size or self.batch_size % count):
            raise ContractError(
                f"{count} images for a batch_size of {self.batch_size}: give one for all, or as many that "
                "batch_size is a multiple",
                field="init_images",
            )
        for field, why in self.unused.items() if self.strict else ():
            raise ContractError(why, field=field)


def parse_img2img(body: bytes, limits: Limits) -> Img2ImgRequest:
    """Read and check a body completely, except for the images themselves.

    Raises:
        ContractError: 422 naming the first wrong field, the others in `more`; 400 for an unknown sampler or
            scheduler; 404 where there is no init image.
    """
    request = read_request(Img2ImgRequest, body, limits)
    for field, image in request.pictures.items():
        check_image(image, field=field, rules=limits.images)
    return request
