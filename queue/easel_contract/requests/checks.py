"""What is larger than the operator allows, or more than this version can do."""

from __future__ import annotations

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests.generation import GenerationRequest
from easel_contract.savedir import resolve_save_dir


def check_request(request: GenerationRequest, limits: Limits) -> None:
    """Everything that pydantic cannot check field by field.

    Raises:
        ContractError: 422, or 400 for an unknown sampler or scheduler; names the field.
    """
    check_limits(request, limits)
    _check_supported(request)
    _ = request.choice, request.clip_skip, request.script
    save_dir = request.options.save_dir
    if save_dir is not None:
        resolve_save_dir(save_dir, limits.mount_paths)


def check_limits(request: GenerationRequest, limits: Limits) -> None:
    """Raise ContractError for what is larger than the operator allows."""
    for field, largest in (
        ("width", limits.max_side),
        ("height", limits.max_side),
        ("hr_resize_x", limits.max_side),
        ("hr_resize_y", limits.max_side),
        ("steps", limits.max_steps),
        ("hr_second_pass_steps", limits.max_steps),
        ("batch_size", limits.max_batch_size),
        ("n_iter", limits.max_n_iter),
    ):
        value = getattr(request, field, 0)
        if value > largest:
            _refuse(field, str(value), largest)
    for field in ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt"):
        size = len(getattr(request, field, ""))
        if size > limits.max_prompt_chars:
            _refuse(field, f"{size} characters", limits.max_prompt_chars)
    if request.width * request.height > limits.max_pixels:
        _refuse("width", f"{request.width}x{request.height} pixels", limits.max_pixels)


def _refuse(field: str, value: str, largest: int) -> None:
    raise ContractError(
        f"{value} is more than this service allows; at most {largest}", field=field, kind="too_large"
    )


def _check_supported(request: GenerationRequest) -> None:
    active = {
        "enable_hr": getattr(request, "enable_hr", False),
        "restore_faces": request.restore_faces,
        "tiling": request.tiling,
        "styles": bool(request.styles),
        "subseed_strength": request.subseed_strength != 0,
        "seed_resize_from_w": request.seed_resize_from_w > 0 and request.seed_resize_from_h > 0,
        "refiner_checkpoint": request.refiner is not None,
        "firstpass_image": bool(request.firstpass_image),
        "s_churn": bool(request.s_churn),
        "s_min_uncond": bool(request.s_min_uncond),
        "infotext": bool(request.infotext),
        "script_name": request.script is not None,
    }
    for field, asked in active.items():
        if asked:
            raise ContractError("is not supported by this version of Easel; leave it out", field=field)
    vae = request.options.sd_vae or request.override_settings.get("sd_vae")
    if vae not in (None, "", "Automatic", "None"):
        raise ContractError(
            f"{vae!r}: only 'Automatic' and 'None' are supported by this version of Easel", field="sd_vae"
        )
