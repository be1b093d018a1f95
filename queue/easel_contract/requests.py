"""The body of ``POST /sdapi/v1/txt2img``, with A1111's names and defaults, and the cloud's additions.

Every field may be null, which means its default; unknown fields are ignored; numbers may come as text. What
this version cannot do is refused by name instead of being left out silently.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from easel_contract.errors import ContractError
from easel_contract.limits import MIN_SIDE, Limits
from easel_contract.samplers import SamplerChoice, resolve
from easel_contract.savedir import resolve_save_dir

SEED_MAX = 2**63 - 1


class AlwaysonOptions(BaseModel):
    """The cloud's plain keys inside `alwayson_scripts`."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    sd_model_checkpoint: str | None = Field(None, description="Checkpoint for this request.")
    sd_vae: str | None = Field(
        None, description="VAE for this request; Automatic or None for the checkpoint's own."
    )
    save_dir: str | None = Field(None, description="Store pictures here and answer paths instead of base64.")
    id_task: str | None = Field(None, description="The caller's id of the task, echoed.")
    uid: str | None = Field(None, description="The user the task is for.")
    presigned_url: bool = Field(
        False, description="With S3 storage and save_dir: also answer presigned URLs."
    )


class Txt2ImgRequest(BaseModel):
    """A txt2img request. `alwayson_scripts` holds the cloud's options; `options` is their parsed form."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] = Field(default_factory=list)
    seed: int = Field(-1, ge=-1, le=SEED_MAX, description="-1 is random; image i of the job uses seed + i.")
    subseed: int = Field(-1, ge=-1, le=SEED_MAX)
    subseed_strength: float = Field(0.0, ge=0, le=1)
    seed_resize_from_h: int = -1
    seed_resize_from_w: int = -1
    sampler_name: str | None = None
    sampler_index: str | None = Field(None, description="Older name of sampler_name.")
    scheduler: str | None = None
    batch_size: int = Field(1, ge=1)
    n_iter: int = Field(1, ge=1)
    steps: int = Field(50, ge=1)
    cfg_scale: float = Field(7.0, ge=0, le=100)
    width: int = Field(512, ge=MIN_SIDE)
    height: int = Field(512, ge=MIN_SIDE)
    restore_faces: bool = False
    tiling: bool = False
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    eta: float | None = Field(None, ge=0, le=10)
    denoising_strength: float | None = None
    s_min_uncond: float = 0.0
    s_churn: float = 0.0
    s_tmax: float = 0.0
    s_tmin: float = 0.0
    s_noise: float = 1.0
    override_settings: dict[str, JsonValue] = Field(default_factory=dict)
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool = False
    firstpass_image: str | None = None
    comments: dict[str, JsonValue] = Field(default_factory=dict)
    enable_hr: bool = False
    firstphase_width: int = 0
    firstphase_height: int = 0
    hr_scale: float = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
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

    @property
    def options(self) -> AlwaysonOptions:
        """The cloud's options. Raises ContractError for a wrong value or an unknown script."""
        return _options(self.alwayson_scripts)

    @property
    def choice(self) -> SamplerChoice:
        """Sampler and scheduler. Raises ContractError for an unknown name."""
        return resolve(self.sampler_name or self.sampler_index, self.scheduler)

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint asked for; the cloud's key wins over `override_settings`. None: the default."""
        override = self.override_settings.get("sd_model_checkpoint")
        return self.options.sd_model_checkpoint or (str(override) if override else None)

    @property
    def clip_skip(self) -> int:
        """CLIP_stop_at_last_layers of `override_settings`; 1 is the last layer."""
        value = self.override_settings.get("CLIP_stop_at_last_layers", 1)
        if isinstance(value, int) and 1 <= value <= 12:
            return value
        raise ContractError("is a number from 1 to 12", field="override_settings.CLIP_stop_at_last_layers")

    @property
    def images(self) -> int:
        """How many images the request makes, the grid not counted."""
        return self.batch_size * self.n_iter


def parse_txt2img(body: bytes, limits: Limits) -> Txt2ImgRequest:
    """Read and check a body completely: JSON, types, sizes, names, and what this version can do.

    Raises:
        ContractError: 422 (400 for an unknown sampler or scheduler) naming the first wrong field, the others
            in `more`.
    """
    try:
        loaded = json.loads(body or b"{}", parse_constant=_no_constant)
    except ContractError:
        raise
    except (ValueError, RecursionError) as error:
        raise ContractError(f"the body is not JSON: {error}", kind="json_invalid") from None
    if not isinstance(loaded, dict):
        raise ContractError("the body is not a JSON object", kind="model_attributes_type")
    if b"\\ud" in body.lower():
        _check_text(loaded)
    try:
        request = Txt2ImgRequest.model_validate(loaded)
    except ValidationError as error:
        raise from_validation(error) from None
    check_limits(request, limits)
    _check_supported(request)
    _ = request.choice, request.clip_skip
    save_dir = request.options.save_dir
    if save_dir is not None:
        resolve_save_dir(save_dir, limits.mount_paths)
    return request


def from_validation(error: ValidationError, prefix: str = "") -> ContractError:
    """A pydantic error as a ContractError. Values are not repeated: an image may be megabytes."""
    found = [
        ContractError(
            problem["msg"].removeprefix("Value error, "),
            field=prefix + ".".join(str(part) for part in problem["loc"]),
            kind=problem["type"],
        )
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    first = found[0]
    return ContractError(first.message, field=first.field, kind=first.kind, more=found[1:])


def check_limits(request: Txt2ImgRequest, limits: Limits) -> None:
    """Raise ContractError for what is larger than the operator allows."""
    for field, value, largest in (
        ("width", request.width, limits.max_side),
        ("height", request.height, limits.max_side),
        ("steps", request.steps, limits.max_steps),
        ("batch_size", request.batch_size, limits.max_batch_size),
        ("n_iter", request.n_iter, limits.max_n_iter),
        ("prompt", len(request.prompt), limits.max_prompt_chars),
        ("negative_prompt", len(request.negative_prompt), limits.max_prompt_chars),
    ):
        if value > largest:
            unit = " characters" if field.endswith("prompt") else ""
            raise ContractError(
                f"{value}{unit} is more than this service allows; at most {largest}",
                field=field,
                kind="too_large",
            )
    if request.width * request.height > limits.max_pixels:
        raise ContractError(
            f"{request.width}x{request.height} pixels are more than this service allows; "
            f"at most {limits.max_pixels} in all",
            field="width",
            kind="too_large",
        )


def _check_supported(request: Txt2ImgRequest) -> None:
    active = {
        "enable_hr": request.enable_hr,
        "restore_faces": request.restore_faces,
        "tiling": request.tiling,
        "styles": bool(request.styles),
        "subseed_strength": request.subseed_strength != 0,
        "seed_resize_from_w": request.seed_resize_from_w > 0 and request.seed_resize_from_h > 0,
        "refiner_checkpoint": request.refiner_checkpoint not in (None, "", "None"),
        "firstpass_image": bool(request.firstpass_image),
        "s_churn": request.s_churn != 0,
        "s_min_uncond": request.s_min_uncond != 0,
        "infotext": bool(request.infotext),
    }
    for field, asked in active.items():
        if asked:
            raise ContractError("is not supported by this version of Easel; leave it out", field=field)
    if request.script_name:
        raise ContractError(f"Script '{request.script_name}' not found", field="script_name")
    vae = request.options.sd_vae or request.override_settings.get("sd_vae")
    if vae not in (None, "", "Automatic", "None"):
        raise ContractError(
            f"{vae!r}: only 'Automatic' and 'None' are supported by this version of Easel", field="sd_vae"
        )


def _options(scripts: dict[str, JsonValue]) -> AlwaysonOptions:
    known = AlwaysonOptions.model_fields
    for name in scripts:
        if name not in known:
            raise ContractError(f"Script '{name}' not found", field=f"alwayson_scripts.{name}")
    try:
        return AlwaysonOptions.model_validate(
            {key: value for key, value in scripts.items() if value is not None}
        )
    except ValidationError as error:
        raise from_validation(error, "alwayson_scripts.") from None


def _check_text(loaded: dict[str, JsonValue]) -> None:
    # JSON can spell half of a surrogate pair; no text encoding can, so it would fail later and elsewhere.
    for field, value in loaded.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ContractError("has half of a surrogate pair, which is no text", field=field) from None


def _no_constant(name: str) -> float:
    raise ContractError(f"the body is not JSON: {name} is not a JSON number", kind="json_invalid")
