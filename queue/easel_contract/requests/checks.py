"""What is larger than the operator allows, or more than this version can do."""

from __future__ import annotations

from easel_contract.errors import ContractError
from easel_contract.limits import MIN_SIDE, Limits
from easel_contract.requests.generation import GenerationRequest
from easel_contract.savedir import resolve_save_dir


def check_request(request: GenerationRequest, limits: Limits) -> None:
    """Everything that pydantic cannot check field by field.

    Also for what a script makes of a client's request. Pictures are not looked at.

    Raises:
        ContractError: 422, or 400 for an unknown sampler or scheduler; names the field.
    """
    check_limits(request, limits)
    request.check_kind(limits)
    _ = request.warnings, request.script
    save_dir = request.options.save_dir
    if save_dir is not None:
        resolve_save_dir(save_dir, limits.mount_paths)


def check_limits(request: GenerationRequest, limits: Limits) -> None:
    """Raise ContractError for what is larger than the operator allows."""
    for field, largest in (
        ("width", limits.max_side),
        ("height", limits.max_side),
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
    check_size((request.width, request.height), limits, "width")
    resize = {
        "seed_resize_from_w": request.seed_resize_from_w,
        "seed_resize_from_h": request.seed_resize_from_h,
    }
    for field, side in resize.items():
        if 0 < side < MIN_SIDE and min(resize.values()) > 0:
            raise ContractError(f"should be 0, or {MIN_SIDE} or more", field=field)


def check_size(size: tuple[float, float], limits: Limits, field: str) -> None:
    """Raise ContractError, naming `field`, for a picture that is larger than the operator allows."""
    width, height = int(size[0]), int(size[1])
    if max(width, height) > limits.max_side:
        _refuse(field, f"a side of {max(width, height)} pixels", limits.max_side)
    if width * height > limits.max_pixels:
        _refuse(field, f"{width}x{height} pixels", limits.max_pixels)


def _refuse(field: str, value: str, largest: int) -> None:
    raise ContractError(
        f"{value} is more than this service allows; at most {largest}", field=field, kind="too_large"
    )
