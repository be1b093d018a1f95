"""A finished job's pictures, put into the order of the answer and encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from easel_contract.options import RenderOptions
from easel_worker.outputs.describe import describe, grid_infotext, infotext
from easel_worker.outputs.encoding import Encoded, encode
from easel_worker.outputs.grid import grid_pixels, grid_shape, make_grid
from easel_worker.outputs.record import GenerationRecord, ImageFacts

Picture = NDArray[np.uint8]
"""(H, W, 3), (H, W, 4) or (H, W)."""

Role = Literal["grid", "sample", "extra", "map", "copy"]


@dataclass(frozen=True)
class Copy:
    """A picture that is stored beside a sample and not answered."""

    of: int
    """Index of the sample."""
    suffix: str
    """Behind the sample's name: ``before-highres-fix``, ``before-face-restoration``,
    ``before-color-correction``, ``mask``, ``mask-composite`` or ``init-image``."""
    image: Picture


@dataclass(frozen=True)
class Rendering:
    """What left the torch thread."""

    record: GenerationRecord
    samples: Sequence[Picture]
    facts: Sequence[ImageFacts]
    """One per sample, and at least one."""
    extras: Sequence[Picture] = ()
    """Answered behind the samples, without an infotext: masks, scripts' pictures."""
    maps: Sequence[Picture] = ()
    """Control maps: behind the extras, likewise."""
    copies: Sequence[Copy] = ()
    grids: Sequence[Picture] = ()
    """A script's own pictures of many: they are answered first, and no other grid is made."""
    unfinished: frozenset[int] = frozenset()
    """Indices of the samples that an interrupt or a skip ended on the way."""
    show_samples: bool = True
    """Whether the samples are answered beside the script's grids."""
    records: Sequence[GenerationRecord] = ()
    """One per sample, where a script made them by jobs of their own; empty: `record` holds for all."""
    script: Mapping[str, object] = field(default_factory=dict)
    """What is told of the script in its grids' infotexts."""

    def record_of(self, sample: int) -> GenerationRecord:
        """The record of one sample."""
        return self.records[sample] if self.records else self.record


@dataclass(frozen=True)
class Product:
    """One encoded picture. `index` counts the pictures of its role, from 0."""

    role: Role
    index: int
    image: Picture
    file: Encoded
    suffix: str = ""


@dataclass(frozen=True)
class Products:
    """All of them: first the grid if there is one, the samples, the extras, the maps; then copies."""

    rendering: Rendering
    options: RenderOptions
    all: tuple[Product, ...]

    @property
    def grids_answered(self) -> int:
        """How many grids the answer begins with."""
        if not self.rendering.grids and not self.options.return_grid:
            return 0
        return sum(product.role == "grid" for product in self.all)

    @property
    def answered(self) -> list[Product]:
        """The pictures of the answer, in A1111's order."""
        shown = {"extra", "map"}
        shown |= {"grid"} if self.grids_answered else set()
        shown |= {"sample"} if self.rendering.show_samples else set()
        return [product for product in self.all if product.role in shown]

    def stores(self, sample: int) -> bool:
        """Whether a sample is to be stored: one that was ended on the way only where an option says so."""
        return self.options.save_incomplete_images or sample not in self.rendering.unfinished

    def info(self) -> dict[str, object]:
        """A1111's `info`. Extras have no infotext, so there may be fewer of those than pictures."""
        told = [product.file.infotext for product in self.answered if product.role not in ("extra", "map")]
        return describe(self.rendering.record, self.rendering.facts, told, grids=self.grids_answered)


def make_products(rendering: Rendering, options: RenderOptions, *, saving: bool) -> Products:
    """Encode everything.

    Args:
        saving: Pictures are going to be stored. Only then is there a grid: of two samples or more (of one too
            where `grid_only_if_multiple` is off), if it is to be answered or stored, and no larger than
            `img_max_size_mp`.
    """
    record, facts = rendering.record, rendering.facts
    products = []
    for index, image in enumerate(rendering.grids):
        text = grid_infotext(record.with_extra(rendering.script), facts[0], options)
        products.append(Product("grid", index, image, encode(image, text, options.grid_format, options)))
    enough = len(rendering.samples) > 1 or not options.grid_only_if_multiple
    shape = grid_shape(len(rendering.samples), options, record.batch_size)
    wanted = saving and not rendering.grids and enough and (options.return_grid or options.grid_save)
    if wanted and grid_pixels(rendering.samples, shape) <= options.img_max_size_mp * 1e6:
        grid = make_grid(rendering.samples, shape, ImageColor.getrgb(options.grid_background_color))
        text = grid_infotext(record, facts[0], options)
        products.append(Product("grid", 0, grid, encode(grid, text, options.grid_format, options)))
    # An interrupted script may have drawn nothing, and `facts` is of what it would have drawn.
    drawn = range(len(rendering.samples))
    texts = [infotext(rendering.record_of(i), facts[i], options) for i in drawn]
    for index, (image, text) in enumerate(zip(rendering.samples, texts, strict=True)):
        products.append(Product("sample", index, image, encode(image, text, options.samples_format, options)))
    for index, image in enumerate(rendering.extras):
        products.append(Product("extra", index, image, encode(image, "", options.samples_format, options)))
    for index, image in enumerate(rendering.maps):
        products.append(Product("map", index, image, encode(image, "", options.samples_format, options)))
    for copy in rendering.copies if saving else ():
        file = encode(copy.image, texts[copy.of], options.samples_format, options)
        products.append(Product("copy", copy.of, copy.image, file, copy.suffix))
    return Products(rendering, options, tuple(products))
