"""Which Stable Diffusion a file holds: told by the names of its weights, never by its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.size_ids import BASE_NUMBERS, REFINER_NUMBERS

UNET = "model.diffusion_model."
VAE = "first_stage_model."


@dataclass(frozen=True)
class EncoderPlace:
    """A text encoder in the file. openclip: in OpenCLIP's names, otherwise in transformers'. projected: its
    pooled vector is used. whole: its last layer is (SD 2.x leaves it out)."""

    prefix: str
    openclip: bool = False
    projected: bool = False
    whole: bool = True


@dataclass(frozen=True)
class Family:
    """What weights do not tell. head_size: features per attention head of the UNet, None where all levels
    have 8 heads. scaling_factor: what latents are multiplied with. sizes: how many numbers about the picture
    the UNet is told (see `size_ids`)."""

    name: str
    encoders: tuple[EncoderPlace, ...]
    head_size: int | None = 64
    scaling_factor: float = 0.18215
    sizes: int = 0


SD1 = Family("SD 1.x", (EncoderPlace("cond_stage_model.transformer."),), head_size=None)
SD2 = Family("SD 2.x", (EncoderPlace("cond_stage_model.model.", openclip=True, whole=False),))
_BIG_G = "conditioner.embedders.{}.model."
SDXL = Family(
    "SDXL",
    (
        EncoderPlace("conditioner.embedders.0.transformer."),
        EncoderPlace(_BIG_G.format(1), openclip=True, projected=True),
    ),
    scaling_factor=0.13025,
    sizes=BASE_NUMBERS,
)
SDXL_REFINER = Family(
    "SDXL refiner",
    (EncoderPlace(_BIG_G.format(0), openclip=True, projected=True),),
    scaling_factor=0.13025,
    sizes=REFINER_NUMBERS,
)
FAMILIES = (SD1, SD2, SDXL, SDXL_REFINER)

# By a part of a weight's name. The first that fits counts.
_OTHER_FILES = (
    (("lora_unet_", "lora_te", ".lora_A.", ".lora_down.", ".hada_w1_a", ".lokr_w1"), "a LoRA", "models/Lora"),
    (("control_model.", "input_hint_block.", "controlnet_"), "a ControlNet", "models/ControlNet"),
    (("adapter.body.", "body.0.block1.", "body.0.body.0."), "a T2I-adapter", "models/ControlNet"),
    (("emb_params", "clip_g", "clip_l"), "a textual inversion", "embeddings"),
    (("down_blocks.", "mid_block.attentions"), "a part of a diffusers folder", "its folder"),
    (("first_stage_model.", "encoder.conv_in.", "decoder.conv_in."), "a VAE", "models/VAE"),
)
_OTHER_NETWORKS = (
    ("joint_blocks.", "Stable Diffusion 3"),
    ("double_blocks.", "Flux"),
    ("clip_mapper", "Cascade"),
)


def find_family(names: Iterable[str]) -> Family:
    """The family of a checkpoint that has weights with these names.

    Raises:
        CheckpointError: it is something else, which the message names as far as it is known.
    """
    known = tuple(names)
    unet = [name for name in known if name.startswith(UNET)]
    if not unet:
        raise CheckpointError(_what_else(known))
    for part, network in _OTHER_NETWORKS:
        if any(part in name for name in unet):
            raise CheckpointError(f"this is a checkpoint of {network}; {_supported()}")
    # SDXL's two encoders hold the refiner's place for another kind, so the order does not matter.
    for family in FAMILIES:
        if all(any(name.startswith(place.prefix) for name in known) for place in family.encoders):
            return family
    raise CheckpointError(
        "it has a UNet but no text encoder that we know: "
        + ", ".join(sorted({place.prefix for family in FAMILIES for place in family.encoders}))
        + "* are looked for"
    )


def _what_else(names: tuple[str, ...]) -> str:
    for parts, kind, where in _OTHER_FILES:
        if any(part in name for name in names for part in parts):
            return f"this is {kind}, not a checkpoint: it belongs into {where}"
    return f"no weight is named {UNET}*: this is no checkpoint in LDM's format; {_supported()}"


def _supported() -> str:
    return f"supported are {', '.join(family.name for family in FAMILIES)}"
