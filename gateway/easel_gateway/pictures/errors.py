"""What can be wrong with a picture.

PictureError
├── BrokenPictureError  it is none, or damaged
└── TextTooLargeError   its texts are larger than is read; a small file can hold gigabytes of them, compressed
"""

from __future__ import annotations


class PictureError(Exception):
    """A picture that cannot be read."""


class BrokenPictureError(PictureError):
    """The bytes are no picture of a known format, or a damaged one."""


class TextTooLargeError(PictureError):
    """The texts in the picture are larger than is read."""
