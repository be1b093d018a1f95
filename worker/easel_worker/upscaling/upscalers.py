"""From an upscaler's name to a function that enlarges a picture to a size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from easel_contract.options import RenderOptions
from easel_contract.upscalers import LANCZOS, NEAREST, NONE, find_upscaler
from easel_worker.models.shelf import UPSCALER, OneOfEach, Shelf
from easel_worker.upscaling.tiling import Tiling, tiling_of

if TYPE_CHECKING:
    from easel_worker.upscaling.network import Network

Size = tuple[int, int]
"""Width and height, in pixels."""
Tick = Callable[[], None]
"""Called between tiles; raises to stop the work."""

MAX_PASSES = 3
"""How often a network runs over its own result to reach a size: 4x four times over is 256-fold already."""


_DEFAULTS = RenderOptions()


def _nothing() -> None:
    pass


class Upscaler(ABC):
    """Enlarges pictures to any size: ``upscaler(picture, (width, height))``."""

    name: str

    @abstractmethod
    def __call__(self, picture: Image.Image, size: Size, *, tick: Tick = _nothing) -> Image.Image:
        """A picture of exactly `size`. RGB and RGBA keep their mode."""


class FilterUpscaler(Upscaler):
    """One of Pillow's filters."""

    def __init__(self, name: str, resample: Image.Resampling) -> None:
        self.name = name
        self._resample = resample

    def __call__(self, picture: Image.Image, size: Size, *, tick: Tick = _nothing) -> Image.Image:
        tick()
        return picture.resize(size, self._resample) if picture.size != size else picture


class NetworkUpscaler(Upscaler):
    """A network: run until the size is reached, then Lanczos to exactly that size.

    Transparency, which no network knows, is enlarged with Lanczos.
    """

    def __init__(self, name: str, network: Network, tiling: Tiling) -> None:
        self.name = name
        self._network = network
        self._tiling = tiling

    def __call__(self, picture: Image.Image, size: Size, *, tick: Tick = _nothing) -> Image.Image:
        colour = picture.convert("RGB")
        for _ in range(MAX_PASSES):
            before = colour.size
            colour = self._network(colour, tick=tick, tiling=self._tiling)
            if colour.size == before or (colour.width >= size[0] and colour.height >= size[1]):
                break
        colour = _lanczos(colour, size)
        if picture.mode == "RGBA":
            colour.putalpha(_lanczos(picture.getchannel("A"), size))
        return colour


class Upscalers:
    """The upscalers of one worker. Lives on the torch thread.

    Args:
        models: The folder ``models/``.
        load: Loads a network's file.
        shelf: Keeps loaded networks; by default the last one.
    """

    def __init__(self, models: Path, load: Callable[[Path], Network], *, shelf: Shelf | None = None) -> None:
        self._models = models
        self._load = load
        self._shelf = shelf or OneOfEach()

    def get(self, name: str, *, field: str, options: RenderOptions = _DEFAULTS) -> Upscaler:
        """The upscaler of this name; loads its file. ``None`` and "" are Lanczos: a size must be reached.
        `options` tell how large its network's tiles are.

        Raises:
            ContractError: 422, no such name, or its file is missing; names `field`.
            WeightsError: its file cannot be used; names the file.
        """
        found = find_upscaler(self._models, name or NONE, field=field)
        if found.path is None:
            nearest = found.name == NEAREST
            return FilterUpscaler(
                NEAREST if nearest else LANCZOS,
                Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS,
            )
        path = found.path
        network = self._shelf.get(UPSCALER, found.name, [path], lambda: self._load(path))
        return NetworkUpscaler(found.name, network, tiling_of(options, network.architecture))

    def unload(self) -> None:
        """Forget what is loaded."""
        self._shelf.forget(UPSCALER)


def _lanczos(picture: Image.Image, size: Size) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
