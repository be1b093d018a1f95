"""Writing an infotext."""

from __future__ import annotations

from collections.abc import Mapping

from easel_contract.infotext.values import quote

NEGATIVE = "Negative prompt:"

KEYS = (
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Image CFG scale",
    "Seed",
    "Face restoration",
    "Size",
    "Model hash",
    "Model",
    "FP8 weight",
    "Cache FP16 weight for LoRA",
    "VAE hash",
    "VAE",
    "Variation seed",
    "Variation seed strength",
    "Seed resize from",
    "Denoising strength",
    "Conditional mask weight",
    "Clip skip",
    "ENSD",
    "Token merging ratio",
    "Token merging ratio hr",
    "Init image hash",
    "RNG",
    "Tiling",
)
"""The keys with a fixed place, in A1111's order (1.10). Everything else follows in the order of insertion."""

LAST_KEYS = ("Version", "User")
"""The keys that end the line."""


def in_order(parameters: Mapping[str, object]) -> dict[str, object]:
    """`parameters` in the order in which an infotext lists them, those that are None left out."""
    others = [key for key in parameters if key not in KEYS and key not in LAST_KEYS]
    return {key: parameters[key] for key in (*KEYS, *others, *LAST_KEYS) if parameters.get(key) is not None}


def build(prompt: str, negative_prompt: str, parameters: Mapping[str, object]) -> str:
    """Infotext of one picture.

    `parse` gives back what was written, except for what the layout cannot hold: blanks around each line of
    the prompts, and a line of the prompt that itself begins with ``Negative prompt:``. It takes three
    parameters or more for it to see them.

    Args:
        prompt: As it was rendered, styles included. Any number of lines.
        negative_prompt: Its line is left out when it is empty.
        parameters: What `KEYS` and `LAST_KEYS` name is put into its place; those that are None are left out.
    """
    lines = [prompt]
    if negative_prompt:
        lines.append(f"{NEGATIVE} {negative_prompt}")
    lines.append(", ".join(f"{key}: {quote(value)}" for key, value in in_order(parameters).items()))
    return "\n".join(lines)
