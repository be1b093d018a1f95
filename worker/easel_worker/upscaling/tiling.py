"""How large the pieces are that an upscaler's network sees at once: A1111's options, by architecture."""

from __future__ import annotations

from dataclasses import dataclass

from easel_contract.options import RenderOptions
from easel_worker.upscaling.tiles import OVERLAP, TILE

_SWIN = ("SWIN_tile", "SWIN_tile_overlap")
_OPTIONS = {
    "DAT": ("DAT_tile", "DAT_tile_overlap"),
    "SwinIR": _SWIN,
    "Swin2SR": _SWIN,
    "SCUNet": ("SCUNET_tile", "SCUNET_tile_overlap"),
}
"""Architecture, as spandrel names it: its options."""

_OTHERS = ("ESRGAN_tile", "ESRGAN_tile_overlap")
"""Those of all other architectures, Real-ESRGAN's among them."""


@dataclass(frozen=True)
class Tiling:
    """tile: pixels of a side of the input, 0 takes the picture whole. overlap: pixels that neighbours share,
    cut to half a tile."""

    tile: int = TILE
    overlap: int = OVERLAP


DEFAULT = Tiling()


def tiling_of(options: RenderOptions, architecture: str) -> Tiling:
    """What the options say about networks of this architecture (spandrel's name).

    A1111 goes by the upscaler's folder. Here the file tells its architecture, whatever folder it is in.
    """
    tile, overlap = _OPTIONS.get(architecture, _OTHERS)
    return Tiling(getattr(options, tile), getattr(options, overlap))
