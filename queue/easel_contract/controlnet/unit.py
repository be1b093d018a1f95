"""One ControlNet unit as everything behind the request's reader sees it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from easel_contract.controlnet.words import (
    AnyControlMode,
    AnyHrOption,
    AnyPulidMode,
    AnyResizeMode,
    AnyUnionControlType,
    ControlMode,
    HrOption,
    PulidMode,
    ResizeMode,
    UnionControlType,
)

UNITS = "alwayson_scripts.controlnet.args"
"""Where a request has its units, for messages; however its client spells the script's name."""

MAX_WEIGHTS = 64
"""Most entries of `advanced_weighting`. Which number a model takes is told by its file: 13 for SD1's
ControlNets, 10 for SDXL's, 5 and 4 for T2I-adapters, 16 and 11 for IP-adapters, fewer for smaller models."""

Fraction = Annotated[float, Field(ge=0, le=1)]


class UnitPicture(BaseModel):
    """A control picture: base64, a data URI or an address, and the mask that goes with it.

    `image_field` and `mask_field` are where the unit has them, for messages.
    """

    model_config = ConfigDict(frozen=True)

    image: str = Field(min_length=1)
    mask: str | None = None
    image_field: str = "image"
    mask_field: str = "mask"


class ControlUnit(BaseModel):
    """An enabled unit: names are today's, aliases and spellings are resolved, sliders are what will be used.

    `read_units` makes it from what a client sends. `index` is its place in the request's list.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="forbid")

    index: int = Field(0, ge=0)
    module: str = Field("none", description="Canonical name of the preprocessor, a key of `MODULES`.")
    model: str | None = Field(None, description="The model as the client spells it; None is none.")
    weight: float = Field(1.0, ge=0, le=2)
    pictures: tuple[UnitPicture, ...] = Field(
        (), description="None: img2img's picture is meant. Several are for IP-adapters alone."
    )
    mask: str | None = Field(
        None, description="The unit's own mask: that of its one picture, or of img2img's where it has none."
    )
    resize_mode: AnyResizeMode = ResizeMode.CROP_AND_RESIZE
    low_vram: bool = False
    processor_res: int = Field(
        -1, description="Pixels of the shorter side that the preprocessor works at; -1 where it has no such."
    )
    threshold_a: float = Field(-1, description="The module's first slider; -1 where it has none.")
    threshold_b: float = Field(-1, description="Its second.")
    guidance_start: Fraction = 0.0
    guidance_end: Fraction = 1.0
    pixel_perfect: bool = Field(False, description="`processor_res` follows from picture and target size.")
    control_mode: AnyControlMode = ControlMode.BALANCED
    inpaint_crop_input_image: bool = True
    hr_option: AnyHrOption = HrOption.BOTH
    save_detected_map: bool = True
    advanced_weighting: tuple[float, ...] | None = Field(None, min_length=1, max_length=MAX_WEIGHTS)
    effective_region_mask: str | None = None
    pulid_mode: AnyPulidMode = PulidMode.FIDELITY
    union_control_type: AnyUnionControlType = UnionControlType.UNKNOWN
    ipadapter_input: tuple[str, ...] | None = Field(
        None, min_length=1, description="Embeddings from `detect`, in base64, instead of pictures."
    )
    warnings: tuple[str, ...] = Field((), description="What is done otherwise than the unit asks for.")

    @field_validator("guidance_end")
    @classmethod
    def _after_the_start(cls, value: float, info: ValidationInfo) -> float:
        start = info.data.get("guidance_start", 0.0)
        if value < start:
            raise ValueError(f"{value:g} lies before guidance_start, {start:g}")
        return value

    @property
    def field(self) -> str:
        """Where the request has it, for messages."""
        return f"{UNITS}[{self.index}]"

    @property
    def texts(self) -> dict[str, str]:
        """Every picture that the unit brings or names, by its dotted field."""
        found: dict[str, str | None] = {}
        for picture in self.pictures:
            found[picture.image_field] = picture.image
            found[picture.mask_field] = picture.mask
        if not self.pictures:
            found["mask"] = self.mask
        found["effective_region_mask"] = self.effective_region_mask
        return {f"{self.field}.{name}": text for name, text in found.items() if text}
