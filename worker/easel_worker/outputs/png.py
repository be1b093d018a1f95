"""Pictures as PNG files that carry their generation parameters."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

CONTENT_TYPE = "image/png"


def encode_png(image: NDArray[np.uint8], infotext: str) -> bytes:
    """PNG of an array (H, W, 3), with `infotext` in the text chunk ``parameters`` that A1111's tools read.

    Text beyond Latin-1 goes into an iTXt chunk, as the PNG standard asks.
    """
    info = PngInfo()
    if infotext:
        info.add_text("parameters", infotext)
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG", pnginfo=info)
    return file.getvalue()
