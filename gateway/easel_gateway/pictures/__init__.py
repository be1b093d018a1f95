"""Texts in pictures, read from the file's structure: no pixel is decoded, so no picture is too large."""

from __future__ import annotations

from easel_gateway.pictures.errors import BrokenPictureError, TextTooLargeError
from easel_gateway.pictures.reading import PictureTexts, read_texts

__all__ = ["BrokenPictureError", "PictureTexts", "TextTooLargeError", "read_texts"]
