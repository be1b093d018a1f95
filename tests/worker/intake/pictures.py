"""Picture files of every odd kind, made on the spot."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    """RGB: red grows to the right, green downwards."""
    values = np.zeros((height, width, 3), np.uint8)
    values[..., 0] = np.linspace(0, 255, width)[None, :]
    values[..., 1] = np.linspace(0, 255, height)[:, None]
    return Image.fromarray(values)


def file_of(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=kind, **options)
    return file.getvalue()


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png_claiming(width: int, height: int) -> bytes:
    """A small PNG file whose header claims a size that its data has not."""
    file = bytearray(file_of(gradient()))
    head = struct.pack(">II", width, height) + bytes(file[24:29])
    file[16:29] = head
    file[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return bytes(file)


def webp_claiming(width: int, height: int) -> bytes:
    """An animated WebP file whose canvas is larger than the frames in it."""
    other = gradient().rotate(180)
    file = bytearray(file_of(gradient(), "WEBP", save_all=True, append_images=[other], duration=50))
    assert file[12:16] == b"VP8X"
    file[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(file)
