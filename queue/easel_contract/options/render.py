"""All options that a worker looks at, in one frozen object."""

from __future__ import annotations

from easel_contract.options.answering import (
    InfotextOptions,
    InterrogateOptions,
    PreviewOptions,
    SavingOptions,
)
from easel_contract.options.rendering import (
    ControlOptions,
    HiresOptions,
    Img2ImgOptions,
    MergingOptions,
    ModelOptions,
    NoiseOptions,
    PictureOptions,
    SamplerOptions,
    TextOptions,
    UpscalerOptions,
)


class RenderOptions(
    ModelOptions,
    TextOptions,
    NoiseOptions,
    SamplerOptions,
    MergingOptions,
    Img2ImgOptions,
    HiresOptions,
    PictureOptions,
    UpscalerOptions,
    ControlOptions,
    SavingOptions,
    InfotextOptions,
    PreviewOptions,
    InterrogateOptions,
):
    """The options of one task: attributes are A1111's keys. `effective` makes one."""
