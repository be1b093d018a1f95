"""What txt2img and img2img requests have in common."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, field_validator, model_validator

from easel_contract.controlnet import ControlUnit
from easel_contract.controlnet.combining import HiresPasses, Init
from easel_contract.limits import MAX_UNITS, MIN_SIDE, Limits
from easel_contract.options import Checked, check_options
from easel_contract.requests.alwayson import Alwayson, AlwaysonOptions, read_alwayson
from easel_contract.requests.scripts import SELECTABLE, SEVERAL, Script, read_script
from easel_contract.samplers import SamplerChoice, resolve

SEED_MAX = 2**63 - 1

NONES = frozenset({"", "none"})
"""How clients spell that they name no checkpoint, in lower case."""


class GenerationRequest(BaseModel):
    """The fields that txt2img and img2img share.

    `alwayson_scripts` holds the cloud's options and scripts; `alwayson` is their parsed form, `script` that
    of `script_name` and `script_args`.
    """

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    img2img: ClassVar[bool] = False

    _strict: bool = PrivateAttr(True)
    _max_units: int = PrivateAttr(MAX_UNITS)

    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] = Field(default_factory=list)
    seed: int = Field(-1, ge=-1, le=SEED_MAX, description="-1 is random; image i of the job uses seed + i.")
    subseed: int = Field(-1, ge=-1, le=SEED_MAX)
    subseed_strength: float = Field(0.0, ge=0, le=1)
    seed_resize_from_h: int = Field(-1, le=16384, description="With seed_resize_from_w: both above 0.")
    seed_resize_from_w: int = Field(-1, le=16384)
    sampler_name: str | None = None
    sampler_index: str | None = Field(None, description="Older name of sampler_name.")
    scheduler: str | None = None
    batch_size: int = Field(1, ge=1)
    n_iter: int = Field(1, ge=1)
    steps: int = Field(50, ge=1)
    cfg_scale: float = Field(7.0, ge=0, le=100)
    width: int = Field(512, ge=MIN_SIDE)
    height: int = Field(512, ge=MIN_SIDE)
    restore_faces: bool | None = Field(None, description="null: the option face_restoration.")
    tiling: bool | None = Field(None, description="null: the option tiling.")
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    eta: float | None = Field(None, ge=0, le=1)
    s_min_uncond: float | None = Field(None, ge=0, le=15)
    s_churn: float | None = Field(None, ge=0, le=100)
    s_tmax: float | None = Field(None, ge=0, description="0 and null are infinity.")
    s_tmin: float | None = Field(None, ge=0)
    s_noise: float | None = Field(None, ge=0, le=10)
    override_settings: dict[str, JsonValue] = Field(default_factory=dict)
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = Field(None, ge=0, le=1)
    disable_extra_networks: bool = False
    firstpass_image: str | None = None
    comments: dict[str, JsonValue] = Field(default_factory=dict)
    force_task_id: str | None = None
    script_name: str | None = None
    script_args: list[JsonValue] = Field(default_factory=list)
    alwayson_scripts: dict[str, JsonValue] = Field(default_factory=dict)
    send_images: bool = True
    save_images: bool = False
    infotext: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, body: Any) -> Any:
        if isinstance(body, dict):
            return {key: value for key, value in body.items() if value is not None}
        return body

    @field_validator("seed", "subseed", mode="before")
    @classmethod
    def _text_seed_is_random(cls, value: Any) -> Any:
        # A1111 draws a random seed for text that is not a number.
        if isinstance(value, str) and not value.strip().lstrip("-").isdigit():
            return -1
        return value

    @cached_property
    def alwayson(self) -> Alwayson:
        """What `alwayson_scripts` says. Raises ContractError for a wrong value or an unknown script."""
        return read_alwayson(
            self.alwayson_scripts,
            SELECTABLE,
            max_units=self._max_units,
            strict=self._strict,
            init=self.init,
            hires=None if isinstance(self.script, SEVERAL) else self.hires_passes,
        )

    @property
    def init(self) -> Init | None:
        """What stands in for the picture and mask of a ControlNet unit; None where there is nothing."""
        return None

    @property
    def hires_passes(self) -> HiresPasses | None:
        """What the passes of a generation with hires do, for its ControlNet units; None without hires."""
        return None

    @property
    def units(self) -> tuple[ControlUnit, ...]:
        """The enabled ControlNet units. Raises ContractError as `alwayson` does."""
        return self.alwayson.control.units

    @property
    def options(self) -> AlwaysonOptions:
        """The cloud's options. Raises ContractError as `alwayson` does."""
        return self.alwayson.options

    @cached_property
    def script(self) -> Script | None:
        """The script that was chosen. Raises ContractError for an unknown one or wrong arguments."""
        return read_script(self.script_name, self.script_args, img2img=self.img2img)

    @cached_property
    def choice(self) -> SamplerChoice:
        """Sampler and scheduler. Raises ContractError for an unknown name where the service is strict."""
        return resolve(self.sampler_name or self.sampler_index, self.scheduler, strict=self._strict)

    @cached_property
    def overrides(self) -> Checked:
        """`override_settings`, checked. Raises ContractError for a wrong value, and for an unknown key where
        the service is strict."""
        return check_options(self.override_settings, strict=self._strict)

    def obey(self, limits: Limits) -> None:
        """Take over what the operator decides about names and numbers. To be called before anything is asked
        that depends on it."""
        self._strict, self._max_units = limits.strict, limits.max_units

    @property
    def strict(self) -> bool:
        """Whether unknown names are refused."""
        return self._strict

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a service that is not strict does otherwise than asked."""
        return (*self.choice.warnings, *self.overrides.warnings, *self.alwayson.control.warnings)

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint asked for; the cloud's key wins over `override_settings`. None: the default."""
        override = self.overrides.values.get("sd_model_checkpoint")
        return self.options.sd_model_checkpoint or override or None

    @property
    def refiner(self) -> tuple[str, float] | None:
        """The refiner's checkpoint and the fraction of the steps after which it takes over; None is off."""
        name, switch = self.refiner_checkpoint, self.refiner_switch_at
        if name is None or name.strip().casefold() in NONES or switch is None or switch >= 1:
            return None
        return name, switch

    def check_kind(self, limits: Limits) -> None:
        """Raise ContractError for what is wrong with the fields that only this kind of request has."""

    @property
    def images(self) -> int:
        """How many images one generation makes, the grid not counted."""
        return self.batch_size * self.n_iter
