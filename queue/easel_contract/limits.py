"""How large a request may be. The operator sets it; gateway and worker apply the same rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from easel_contract.images import ImageRules

DEFAULT_MOUNTS = ("/code/stable-diffusion-webui/data-oss", "/code/stable-diffusion-webui/data")
"""Where the cloud's images mount storage; requests written for it name these in `save_dir`."""

MAX_UNITS = 10
"""ControlNet units of one request; A1111's own default is 3, and it drops what is beyond without a word."""


@dataclass(frozen=True)
class Limits:
    """Largest accepted values, sides in pixels; where `save_dir` may lead; what is done about unknown names.

    strict: An unknown sampler, option, network or style is refused. Otherwise the request is rendered as far
    as it can be, and the result's `info` says what was left out.
    """

    max_side: int = 2048
    max_pixels: int = 2048 * 2048
    max_steps: int = 150
    max_batch_size: int = 8
    max_n_iter: int = 16
    max_script_images: int = 256
    max_prompt_chars: int = 20_000
    max_units: int = MAX_UNITS
    mount_paths: tuple[str, ...] = DEFAULT_MOUNTS
    images: ImageRules = field(default_factory=ImageRules)
    strict: bool = True


MIN_SIDE = 8
"""One latent pixel; A1111 takes anything from here and floors to multiples of 8."""
