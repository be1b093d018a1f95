"""The fixed words of a ControlNet unit, and the spellings that clients have for them."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

W = TypeVar("W", bound=Enum)


class ResizeMode(IntEnum):
    """How a control picture is brought to the size of the sample. Numbers are what clients may send."""

    JUST_RESIZE = 0
    """Stretched."""
    CROP_AND_RESIZE = 1
    """Scaled to cover; what is beyond is cut off."""
    RESIZE_AND_FILL = 2
    """Scaled to fit in; the rest is filled from the edges."""

    @property
    def label(self) -> str:
        """What A1111 calls it."""
        return ("Just Resize", "Crop and Resize", "Resize and Fill")[self]


class ControlMode(IntEnum):
    """Who wins where prompt and control picture disagree."""

    BALANCED = 0
    """Control counts alike in all layers."""
    PROMPT = 1
    """Layer i of n counts 0.825 ** (n - 1 - i) times."""
    CONTROL = 2
    """The same, and only the conditional half is controlled."""

    @property
    def label(self) -> str:
        """What A1111 calls it."""
        return ("Balanced", "My prompt is more important", "ControlNet is more important")[self]


class HrOption(str, Enum):
    """Which passes of a generation with hires a unit takes part in; without hires it means nothing."""

    BOTH = "Both"
    LOW = "Low res only"
    HIGH = "High res only"


class PulidMode(str, Enum):
    """How PuLID weighs the prompt against the face."""

    FIDELITY = "Fidelity"
    STYLE = "Extremely style"


class UnionControlType(str, Enum):
    """What a control picture shows to a model that was trained for several kinds at once."""

    OPENPOSE = "OpenPose"
    DEPTH = "Depth"
    SOFT_EDGE = "Soft Edge"
    HARD_EDGE = "Hard Edge"
    NORMAL_MAP = "Normal Map"
    SEGMENTATION = "Segmentation"
    TILE = "Tile"
    INPAINT = "Inpaint"
    UNKNOWN = "Unknown"


_RESIZE_SPELLINGS: dict[str, ResizeMode] = {
    **{mode.label.casefold(): mode for mode in ResizeMode},
    "inner fit (scale to fit)": ResizeMode.CROP_AND_RESIZE,
    "scale to fit (inner fit)": ResizeMode.CROP_AND_RESIZE,
    "outer fit (shrink to fit)": ResizeMode.RESIZE_AND_FILL,
    "envelope (outer fit)": ResizeMode.RESIZE_AND_FILL,
    **{str(mode.value): mode for mode in ResizeMode},
    # What img2img calls "just resize (latent upscale)".
    "3": ResizeMode.JUST_RESIZE,
}
_CONTROL_SPELLINGS: dict[str, ControlMode] = {
    **{mode.label.casefold(): mode for mode in ControlMode},
    **{str(mode.value): mode for mode in ControlMode},
}


def _spelled(value: Any, spellings: dict[str, W], labels: list[str]) -> W:
    if isinstance(value, str):
        text = value.strip().casefold()
    elif isinstance(value, int | float) and not isinstance(value, bool) and value in range(len(labels) + 1):
        text = str(int(value))
    else:
        text = ""
    if text not in spellings:
        raise ValueError(f"is none of {', '.join(f'{n} ({label!r})' for n, label in enumerate(labels))}")
    return spellings[text]


def _resize_mode(value: Any) -> ResizeMode:
    return _spelled(value, _RESIZE_SPELLINGS, [mode.label for mode in ResizeMode])


def _control_mode(value: Any) -> ControlMode:
    return _spelled(value, _CONTROL_SPELLINGS, [mode.label for mode in ControlMode])


def _word(words: type[Enum]) -> BeforeValidator:
    known = {str(word.value).casefold(): word for word in words}

    def read(value: Any) -> Enum:
        found = known.get(value.strip().casefold()) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"is none of {', '.join(repr(word.value) for word in words)}")
        return found

    return BeforeValidator(read)


AnyResizeMode = Annotated[ResizeMode, BeforeValidator(_resize_mode)]
"""A number or a label, today's or an older one, in any letter case."""

AnyControlMode = Annotated[ControlMode, BeforeValidator(_control_mode)]
"""A number or a label in any letter case."""

AnyHrOption = Annotated[HrOption, _word(HrOption)]
AnyPulidMode = Annotated[PulidMode, _word(PulidMode)]
AnyUnionControlType = Annotated[UnionControlType, _word(UnionControlType)]
