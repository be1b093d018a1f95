"""A generation with every name resolved and every default filled in.

One request is one job, except where a script makes several of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby

from PIL import Image

from easel_contract.checkpoints import ModelFile
from easel_contract.options import RenderOptions
from easel_contract.requests import SoftInpainting
from easel_contract.samplers import SamplerChoice
from easel_contract.vae_files import VaeFile
from easel_worker.diffusion.extra_networks import NetworkUse
from easel_worker.generation.control.unit import Unit
from easel_worker.imaging.inpainting import MaskFields
from easel_worker.imaging.resize import Size


@dataclass(frozen=True)
class Picture:
    """What one picture of a job has for itself. networks: what the prompt's tags ask for."""

    prompt: str
    negative_prompt: str
    seed: int
    subseed: int
    networks: tuple[NetworkUse, ...] = ()


@dataclass(frozen=True)
class Steps:
    """How a latent is sampled. cfg_scale 1 is no guidance; steps are those of the request, of a whole run."""

    choice: SamplerChoice
    steps: int
    cfg_scale: float


@dataclass(frozen=True)
class Refiner:
    """A checkpoint that takes over after the fraction `switch_at` of the noise levels."""

    model: ModelFile
    switch_at: float


@dataclass(frozen=True)
class Hires:
    """The second pass of txt2img.

    scale, resize_x, resize_y: see `easel_worker.imaging.hires_size`. upscaler: a latent mode's name or an
    upscaler's, as they are listed. model, choice: None takes the first pass's. prompt, negative_prompt: empty
    takes each picture's own. networks: what its own prompt asks for.
    """

    steps: int
    scale: float = 2.0
    resize_x: int = 0
    resize_y: int = 0
    upscaler: str = "Latent"
    denoising_strength: float = 0.75
    model: ModelFile | None = None
    choice: SamplerChoice | None = None
    prompt: str = ""
    negative_prompt: str = ""
    networks: tuple[NetworkUse, ...] = ()


@dataclass(frozen=True)
class Source:
    """What img2img starts from.

    images: "RGB", one for all pictures or one per picture of a batch. mask: as the client sent it, any mode,
    or None. latent_mask: "L", for the latent alone, or None.
    """

    images: tuple[Image.Image, ...]
    resize_mode: int = 0
    mask: Image.Image | None = None
    latent_mask: Image.Image | None = None
    fields: MaskFields = field(default_factory=MaskFields)
    noise_multiplier: float = 1.0
    image_cfg_scale: float = 1.5
    soft: SoftInpainting | None = None


@dataclass(frozen=True)
class Job:
    """What is to be rendered.

    width, height: pixels; what is rendered is rounded down to multiples of 8. seed_resize_from: (width,
    height) in pixels that the noise is made for, or None. source: img2img's, None for txt2img;
    denoising_strength is img2img's. vaes: which of the job's checkpoints draw with the VAE of another file
    than their own.
    """

    model: ModelFile
    pictures: tuple[Picture, ...]
    batch_size: int
    width: int
    height: int
    steps: Steps
    options: RenderOptions
    subseed_strength: float = 0.0
    seed_resize_from: Size | None = None
    tiling: bool = False
    restore_faces: bool = False
    networks: bool = True
    """Whether tags such as ``<lora:name>`` are networks; otherwise they are words."""
    strict_networks: bool = True
    """Whether a network that does not fit the checkpoint is an error; otherwise it is left out, and said."""
    refiner: Refiner | None = None
    hires: Hires | None = None
    source: Source | None = None
    denoising_strength: float = 0.75
    firstpass: Image.Image | None = None
    """Stands in for the first pass's picture: only the hires pass runs."""
    units: tuple[Unit, ...] = ()
    """ControlNet's."""
    vaes: Mapping[ModelFile, VaeFile] = field(default_factory=dict)

    @property
    def models(self) -> tuple[ModelFile, ...]:
        """The checkpoints that it is rendered with, its own first."""
        others = (self.hires and self.hires.model, self.refiner and self.refiner.model)
        return (self.model, *(model for model in others if model))

    @property
    def kind(self) -> str:
        """``txt2img`` or ``img2img``, as folders and progress name it."""
        return "txt2img" if self.source is None else "img2img"

    @property
    def batches(self) -> list[tuple[Picture, ...]]:
        """What each forward pass draws: at most `batch_size` pictures, all with the same networks."""
        size = self.batch_size
        whole = [self.pictures[start : start + size] for start in range(0, len(self.pictures), size)]
        return [
            tuple(alike)
            for batch in whole
            for _, alike in groupby(batch, key=lambda picture: picture.networks)
        ]

    @property
    def rendered_size(self) -> Size:
        """Width and height in pixels of what is really rendered: multiples of 8."""
        return self.width // 8 * 8, self.height // 8 * 8

    @property
    def refines_first(self) -> bool:
        """Whether its refiner takes part in the first of two passes, or in the only one."""
        return self.hires is None or self.options.hires_fix_refiner_pass in ("first pass", "both passes")

    @property
    def first_pass_alone(self) -> Job:
        """What is left of it where the hires pass never began: no more than that is told of its pictures."""
        return replace(self, hires=None, refiner=self.refiner if self.refines_first else None)

    def merging_ratio(self, *, second: bool = False) -> float:
        """The part of the tokens that is merged in a pass, 0 for none; `second`: in the hires pass."""
        options = self.options
        own = options.token_merging_ratio_hr if second else 0.0
        if self.source is not None:
            own = options.token_merging_ratio_img2img
        return own or options.token_merging_ratio

    def with_pictures(self, pictures: Iterable[Picture]) -> Job:
        """The same job for other pictures."""
        return replace(self, pictures=tuple(pictures))
