"""Labels around a grid of pictures: for the prompt matrix and the x/y/z plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from easel_worker.imaging.resize import Size

BACKGROUND = (255, 255, 255)
ACTIVE = (0, 0, 0)
INACTIVE = (153, 153, 153)

MAX_CHARACTERS = 1000
"""A longer caption is cut: nobody reads it, and measuring a megabyte of text would take minutes."""

# Cell sides (width + height) per unit of font size, and the smallest font that can be read.
_SIDES_PER_FONT_SIZE = 25
_MIN_FONT_SIZE = 6
# Row captions get this part of a cell's width.
_LEFT_SHARE = 3 / 4


@dataclass(frozen=True)
class Caption:
    """One caption of a row or column. An inactive one is grey and struck through: its option is off there."""

    text: str
    active: bool = True


Captions = Sequence[Caption]
"""What stands at one row or column, from top to bottom."""


def annotate(
    grid: Image.Image, cell: Size, columns: Sequence[Captions], rows: Sequence[Captions], margin: int = 0
) -> Image.Image:
    """`grid` ("RGB", cells of size `cell` without gaps) with captions above its columns and left of its rows.

    `columns` and `rows` hold one sequence of captions per column and row, possibly empty; with no caption at
    all at a side no room is made there. `margin` pixels of white go between the cells. Text is wrapped
    between words (and inside a word too long for a line), and set smaller where it would not fit. Pillow's
    built-in font is used, which knows Latin letters only. Raises `ValueError` when the numbers of captions
    and cells differ.
    """
    width, height = cell
    shape = grid.width // width, grid.height // height
    if (len(columns), len(rows)) != shape:
        raise ValueError(
            f"captions: {len(columns)} x {len(rows)} for a grid of {shape[0]} x {shape[1]} cells"
        )
    if margin < 0:
        raise ValueError(f"margin: {margin} should be 0 or more")
    size = max(_MIN_FONT_SIZE, (width + height) // _SIDES_PER_FONT_SIZE)
    above = [_Block.fitted(captions, (width, height), size) for captions in columns]
    room = max(1, int(width * _LEFT_SHARE))
    beside = [_Block.fitted(captions, (room, height), size) for captions in rows]

    left = room if any(block.lines for block in beside) else 0
    top = max((block.height for block in above), default=0)
    top += 2 * size if top else 0  # a line's room above and below
    canvas = Image.new(
        "RGB",
        (left + grid.width + margin * (shape[0] - 1), top + grid.height + margin * (shape[1] - 1)),
        BACKGROUND,
    )
    xs = [left + column * (width + margin) for column in range(shape[0])]
    ys = [top + row * (height + margin) for row in range(shape[1])]
    for row, y in enumerate(ys):
        for column, x in enumerate(xs):
            source = (column * width, row * height, (column + 1) * width, (row + 1) * height)
            canvas.paste(grid.crop(source), (x, y))

    draw = ImageDraw.Draw(canvas)
    for x, block in zip(xs, above, strict=True):
        block.draw(draw, x + width // 2, top // 2)
    for y, block in zip(ys, beside, strict=True):
        block.draw(draw, left // 2, y + height // 2)
    return canvas


@dataclass(frozen=True)
class _Block:
    """Captions broken into lines, each with its width."""

    lines: tuple[tuple[str, float, bool], ...]
    font: Any
    line_height: int

    @property
    def height(self) -> int:
        return len(self.lines) * self.line_height

    @classmethod
    def fitted(cls, captions: Captions, room: Size, size: int) -> _Block:
        """Set in the largest font, from `size` down, whose lines fit the height."""
        while True:
            block = cls._set(captions, room[0], size)
            if block.height <= room[1] or size <= _MIN_FONT_SIZE:
                return block
            size = max(_MIN_FONT_SIZE, size * 4 // 5)

    @classmethod
    def _set(cls, captions: Captions, width: int, size: int) -> _Block:
        font = _font(size)
        lines = [
            (line, font.getlength(line), caption.active)
            for caption in captions
            if caption.text.strip()
            for line in _wrapped(caption.text[:MAX_CHARACTERS], font, width)
        ]
        return cls(tuple(lines), font, size * 5 // 4)

    def draw(self, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        """Centred on (x, y)."""
        middle = y - self.height / 2 + self.line_height / 2
        for text, width, active in self.lines:
            draw.text((x, middle), text, font=self.font, fill=ACTIVE if active else INACTIVE, anchor="mm")
            if not active:
                thickness = max(1, self.line_height // 16)
                draw.line((x - width / 2, middle, x + width / 2, middle), fill=INACTIVE, width=thickness)
            middle += self.line_height


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    lines = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if font.getlength(longer) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            line = word
            while font.getlength(line) > width and len(line) > 1:
                head = _fitting(line, font, width)
                lines.append(line[:head])
                line = line[head:]
        if line:
            lines.append(line)
    return lines


def _fitting(word: str, font: Any, width: int) -> int:
    """How many letters of `word` fit into `width`, at least one."""
    count = 1
    while count < len(word) and font.getlength(word[: count + 1]) <= width:
        count += 1
    return count


@lru_cache(maxsize=32)
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
