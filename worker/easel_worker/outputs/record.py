"""What a job and its pictures were: the facts behind infotexts, `info` and file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from easel_worker import __version__

VERSION = f"Easel {__version__}"


@dataclass(frozen=True)
class ImageFacts:
    """What is told of one picture."""

    prompt: str
    """As rendered: styles applied."""
    negative_prompt: str
    seed: int
    subseed: int
    extra: Mapping[str, object] = field(default_factory=dict)
    """Parameters of this picture alone; over the record's of the same name, in the same place."""


@dataclass(frozen=True, kw_only=True)
class GenerationRecord:
    """What is told of a job. None is "does not apply"; such keys are left out of infotexts."""

    kind: str
    """``txt2img`` or ``img2img``; names the folders."""
    prompt: str
    """The main prompt, styles applied: a grid's infotext has it."""
    prompt_no_styles: str = ""
    """The prompt as the request had it; "" when that is the same."""
    negative_prompt: str = ""
    sampler: str
    schedule: str
    """The effective scheduler's label, such as ``Karras``."""
    steps: int
    cfg_scale: float
    width: int
    """Pixels of the first pass."""
    height: int
    batch_size: int = 1
    n_iter: int = 1
    model_name: str
    model_hash: str = ""
    """10 hex digits, "" when unknown."""
    vae_name: str | None = None
    """A separate VAE; None for the checkpoint's own."""
    vae_hash: str | None = None
    rng: str = "GPU"
    """``NV``, ``GPU`` or ``CPU``. NV is CUDA's generator, so neither it nor GPU is written."""
    when: datetime
    """Local time at which the job ended."""
    version: str = VERSION

    image_cfg_scale: float | None = None
    restore_faces: bool = False
    face_restoration_model: str | None = None
    fp8_weight: str | None = None
    """``Enable`` or ``Enable for SDXL`` where weights are kept in 8 bits."""
    cache_fp16_weight: bool | None = None
    subseed_strength: float = 0.0
    seed_resize_from_w: int = -1
    seed_resize_from_h: int = -1
    denoising_strength: float | None = None
    """As the request has it; infotexts tell it for img2img and with `hires`."""
    hires: bool = False
    """There was a second pass."""
    conditional_mask_weight: float | None = None
    """For inpainting checkpoints, which it makes `is_using_inpainting_conditioning`."""
    clip_skip: int = 1
    ensd: int = 0
    """0 too where the sampler draws no noise."""
    token_merging_ratio: float = 0.0
    token_merging_ratio_hr: float = 0.0
    init_image_hash: str | None = None
    tiling: bool = False
    styles: Sequence[str] = ()
    user: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    """`extra_generation_params` in the order of insertion: hires, masks, refiner, scripts, …"""

    def with_extra(self, more: Mapping[str, object]) -> GenerationRecord:
        """A copy with further parameters at the end."""
        return replace(self, extra={**self.extra, **more})
