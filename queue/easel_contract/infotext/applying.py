"""The request field `infotext`: what a request leaves open is taken from the text of an earlier picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from easel_contract.errors import ContractError
from easel_contract.infotext.defaults import DEFAULTS, EMPHASIS
from easel_contract.infotext.reading import parse, split_sampler

FIELD = "infotext"

Read = Callable[[str], object]


def apply_infotext(
    body: Mapping[str, Any],
    text: str,
    kind: Literal["txt2img", "img2img"],
    options: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """A copy of `body` with the open fields, and `override_settings`, filled from an infotext.

    A field that the body has wins; null is as good as absent. txt2img takes every field that an infotext
    tells. img2img takes the sampler's, the seeds' and the refiner's, as A1111 does: its prompt, size and
    strength belong to the picture that comes in. `override_settings` gets the checkpoint, the VAE, clip skip
    and the like, unless the body has the same key.

    Args:
        body: A request's JSON object, not yet validated. It is not changed.
        text: The infotext.
        options: The options in force, if at hand. Then what the text leaves out, which means A1111's default,
            is an override too where the option says otherwise; and overrides that the options do not know are
            left out. Without them only what differs from A1111's default is an override.

    Raises:
        ContractError: 422, a value of the text is not what its key holds (``Steps: many``).
    """
    found = parse(text)
    filled = {key: value for key, value in body.items() if value is not None}
    fields = _SHARED if kind == "img2img" else {**_SHARED, **_TXT2IMG}
    for key, (field, read) in fields.items():
        if field not in filled and not _is_default(key, found) and not _named_otherwise(field, filled):
            _take(filled, field, key, found, read)
    if kind == "txt2img" and "enable_hr" not in filled and _had_hires(found):
        filled["enable_hr"] = True
    overrides = filled.get("override_settings", {})
    if isinstance(overrides, dict):  # else validation will say so
        filled["override_settings"] = {**_overrides(found, filled, options), **overrides}
    return filled


def _take(into: dict[str, Any], field: str, key: str, found: Mapping[str, object], read: Read) -> None:
    value = found.get(key)
    if value is None or value == "":
        return
    try:
        into[field] = read(str(value))
    except ValueError:
        raise ContractError(f"its {key!r} is {str(value)[:100]!r}, which it cannot be", field=FIELD) from None


def _is_default(key: str, found: Mapping[str, object]) -> bool:
    return key in found and found[key] == (EMPHASIS if key == "Emphasis" else DEFAULTS.get(key))


def _named_otherwise(field: str, filled: Mapping[str, Any]) -> bool:
    """Whether the body tells `field` by another name."""
    sampler = filled.get("sampler_name", filled.get("sampler_index"))
    if field == "sampler_name":
        return sampler is not None
    if field == "scheduler":
        return isinstance(sampler, str) and split_sampler(sampler)[1] is not None
    return False


def _had_hires(found: Mapping[str, object]) -> bool:
    second_pass = any(found.get(key) for key in ("Hires upscale", "Hires upscaler", "Hires resize-1"))
    return "Denoising strength" in found and second_pass


def _overrides(
    found: Mapping[str, object], filled: Mapping[str, Any], options: Mapping[str, object] | None
) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for key, (option, read) in _OPTIONS.items():
        if options is not None or not _is_default(key, found):
            _take(overrides, option, key, found, read)
    checkpoint = _checkpoint(found)
    if checkpoint:
        overrides["sd_model_checkpoint"] = checkpoint
    scripts = filled.get("alwayson_scripts")
    for option in ("sd_model_checkpoint", "sd_vae"):
        if isinstance(scripts, dict) and scripts.get(option) is not None:
            overrides.pop(option, None)  # the cloud's way to name it
    if options is None:
        return overrides
    return {key: value for key, value in overrides.items() if key in options and options[key] != value}


def _checkpoint(found: Mapping[str, object]) -> str:
    """``name [hash]``, or the one that the text has."""
    name, digest = str(found.get("Model", "")), str(found.get("Model hash", ""))
    return f"{name} [{digest}]" if name and digest else name or digest


def _whole(text: str) -> int:
    return int(text)


def _number(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return int(value) if value.is_integer() else value


def _flag(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.casefold()]
    except KeyError:
        raise ValueError(text) from None


def _present(_: str) -> bool:
    """A key that is there only for a job that had it."""
    return True


_SHARED: dict[str, tuple[str, Read]] = {
    "Steps": ("steps", _whole),
    "Sampler": ("sampler_name", str),
    "Schedule type": ("scheduler", str),
    "Seed": ("seed", _whole),
    "Variation seed": ("subseed", _whole),
    "Variation seed strength": ("subseed_strength", _number),
    # A1111 1.10 swaps these two; the text is width x height.
    "Seed resize from-1": ("seed_resize_from_w", _whole),
    "Seed resize from-2": ("seed_resize_from_h", _whole),
    "Refiner": ("refiner_checkpoint", str),
    "Refiner switch at": ("refiner_switch_at", _number),
    "Eta": ("eta", _number),
    "Eta DDIM": ("eta", _number),
    "Sigma churn": ("s_churn", _number),
    "Sigma tmin": ("s_tmin", _number),
    "Sigma tmax": ("s_tmax", _number),
    "Sigma noise": ("s_noise", _number),
    "NGMS": ("s_min_uncond", _number),
}
"""Key of the text: field of both requests, and how its text is read."""

_TXT2IMG: dict[str, tuple[str, Read]] = {
    "Prompt": ("prompt", str),
    "Negative prompt": ("negative_prompt", str),
    "CFG scale": ("cfg_scale", _number),
    "Size-1": ("width", _whole),
    "Size-2": ("height", _whole),
    "Denoising strength": ("denoising_strength", _number),
    "Face restoration": ("restore_faces", _present),
    "Tiling": ("tiling", _flag),
    "Hires upscale": ("hr_scale", _number),
    "Hires upscaler": ("hr_upscaler", str),
    "Hires steps": ("hr_second_pass_steps", _whole),
    "Hires resize-1": ("hr_resize_x", _whole),
    "Hires resize-2": ("hr_resize_y", _whole),
    "Hires checkpoint": ("hr_checkpoint_name", str),
    "Hires sampler": ("hr_sampler_name", str),
    "Hires schedule type": ("hr_scheduler", str),
    "Hires prompt": ("hr_prompt", str),
    "Hires negative prompt": ("hr_negative_prompt", str),
}
"""The same for txt2img alone."""

_OPTIONS: dict[str, tuple[str, Read]] = {
    "VAE": ("sd_vae", str),
    "Clip skip": ("CLIP_stop_at_last_layers", _whole),
    "ENSD": ("eta_noise_seed_delta", _whole),
    "RNG": ("randn_source", str),
    "Face restoration": ("face_restoration_model", str),
    "Emphasis": ("emphasis", str),
    "NGMS all steps": ("s_min_uncond_all", _flag),
    "Skip Early CFG": ("skip_early_cond", _number),
    "UniPC variant": ("uni_pc_variant", str),
    "UniPC skip type": ("uni_pc_skip_type", str),
    "UniPC order": ("uni_pc_order", _whole),
    "UniPC lower order final": ("uni_pc_lower_order_final", _flag),
    "Schedule min sigma": ("sigma_min", _number),
    "Schedule max sigma": ("sigma_max", _number),
    "Schedule rho": ("rho", _number),
    "Beta schedule alpha": ("beta_dist_alpha", _number),
    "Beta schedule beta": ("beta_dist_beta", _number),
    "Old Karras sigmas": ("use_old_karras_scheduler_sigmas", _flag),
    "SGM noise multiplier": ("sgm_noise_multiplier", _flag),
    "Discard penultimate sigma": ("always_discard_next_to_last_sigma", _flag),
    "Noise Schedule": ("sd_noise_schedule", str),
    "Noise multiplier": ("initial_noise_multiplier", _number),
    "Extra noise": ("img2img_extra_noise", _number),
    "Conditional mask weight": ("inpainting_mask_weight", _number),
    "Pad conds": ("pad_cond_uncond", _flag),
    "Pad conds v0": ("pad_cond_uncond_v0", _flag),
    "Comma backtrack": ("comma_padding_backtrack", _whole),
    "Old prompt editing timelines": ("use_old_scheduling", _flag),
    "All steps": ("img2img_fix_steps", _flag),
    "Token merging ratio": ("token_merging_ratio", _number),
    "Token merging ratio hr": ("token_merging_ratio_hr", _number),
    "VAE Encoder": ("sd_vae_encode_method", str),
    "VAE Decoder": ("sd_vae_decode_method", str),
    "Hires refiner": ("hires_fix_refiner_pass", str),
    "Refiner switch by sampling steps": ("refiner_switch_by_sample_steps", _flag),
}
"""Key of the text: option, and how its text is read."""
