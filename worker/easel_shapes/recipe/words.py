"""The world that the model knows: its shapes, colours, sizes, positions, fills, and the words for them."""

from __future__ import annotations

from types import MappingProxyType

SHAPES = (
    "circle",
    "square",
    "triangle",
    "star",
    "diamond",
    "cross",
    "ring",
    "heart",
    "hexagon",
    "crescent",
)
NEW_SHAPES = ("arrow",)  # what the model does not know and a LoRA adds
PLURALS = MappingProxyType(
    {shape: f"{shape}es" if shape == "cross" else f"{shape}s" for shape in (*SHAPES, *NEW_SHAPES)}
)

# sRGB, 0 to 255. Chosen far apart: the nearest two (gray and purple) are 94 apart in Euclidean distance, so
# that a plain nearest-colour test is a fair judge.
COLOURS = MappingProxyType(
    {
        "red": (222, 36, 40),
        "green": (38, 150, 58),
        "blue": (36, 72, 222),
        "yellow": (250, 220, 40),
        "orange": (250, 132, 20),
        "purple": (128, 40, 172),
        "pink": (250, 146, 196),
        "cyan": (50, 208, 228),
        "brown": (122, 70, 32),
        "gray": (128, 128, 128),
        "black": (12, 12, 12),
        "white": (248, 248, 248),
    }
)
# Spellings and near synonyms that captions use beside the names above.
COLOUR_WORDS = MappingProxyType({"gray": ("gray", "grey"), "purple": ("purple", "violet")})

FILLS = ("plain", "striped", "outlined")

SIZE_WORDS = MappingProxyType(
    {"small": ("small", "little", "tiny"), "medium": ("medium",), "large": ("large", "big", "huge")}
)
# Radius as a part of the shorter side: lowest and highest.
SIZE_RADII = MappingProxyType({"small": (0.13, 0.16), "medium": (0.22, 0.27), "large": (0.34, 0.40)})

# Name -> the shape's centre, as parts of width and height.
POSITIONS = MappingProxyType(
    {
        "top left": (0.27, 0.27),
        "top": (0.5, 0.27),
        "top right": (0.73, 0.27),
        "left": (0.27, 0.5),
        "centre": (0.5, 0.5),
        "right": (0.73, 0.5),
        "bottom left": (0.27, 0.73),
        "bottom": (0.5, 0.73),
        "bottom right": (0.73, 0.73),
    }
)
COUNT_WORDS = MappingProxyType({1: ("a", "one"), 2: ("two", "2"), 3: ("three", "3")})
