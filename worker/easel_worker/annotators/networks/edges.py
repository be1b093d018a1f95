"""Soft edges: HED (Xie and Tu, 2015), PiDiNet (Su et al., 2021) and TEED (Soria et al., 2023).

The networks and what is done with their outputs are controlnet_aux's. A picture comes padded to multiples of
64, which its detectors therefore leave as large as it is.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.canvas import three
from easel_worker.annotators.networks.library import aux
from easel_worker.annotators.networks.weights import load_into
from easel_worker.annotators.plain.lines import line_strength


class Hed:
    """Grey soft edges on black; `safe`: in three levels; `scribble`: thick white strokes."""

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        library = aux("hed")
        network = load_into(library.ControlNetHED_Apache2(), paths[0], device, allow_pickle=allow_pickle)
        self._detect = library.HEDdetector(network)

    def __call__(
        self, picture: Pixels, controls: Controls, *, safe: bool = False, scribble: bool = False
    ) -> Pixels:
        side = min(picture.shape[:2])
        made = self._detect(picture, side, side, safe=safe, scribble=scribble, output_type="np")
        return np.asarray(made, np.uint8)


class Pidinet:
    """As `Hed`; `apply_filter`: black and white, for T2I-adapters of sketches."""

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        library = aux("pidi")
        network = load_into(library.pidinet(), paths[0], device, allow_pickle=allow_pickle)
        self._detect = library.PidiNetDetector(network)

    def __call__(
        self,
        picture: Pixels,
        controls: Controls,
        *,
        safe: bool = False,
        scribble: bool = False,
        apply_filter: bool = False,
    ) -> Pixels:
        side = min(picture.shape[:2])
        made = self._detect(
            picture, side, side, safe=safe, scribble=scribble, apply_filter=apply_filter, output_type="np"
        )
        return np.asarray(made, np.uint8)


ANYLINE_SIGMA, ANYLINE_FAINT = 2.0, 3.0
"""Of the fine lines that Anyline adds to TEED's; as in controlnet_aux (``anyline/__init__.py``)."""
ANYLINE_SPECK = 36
"""Pixels; smaller groups of them are noise, and left out."""


class Teed:
    """Grey soft edges on black. Controls' a: the number of levels, less one; 0 leaves them smooth.

    `anyline`: together with the fine dark lines of the picture (TheMisto.ai's Anyline).
    """

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        library = aux("teed")
        network = load_into(library.TED(), paths[0], device, allow_pickle=allow_pickle)
        self._detect = library.TEEDdetector(network)

    def __call__(self, picture: Pixels, controls: Controls, *, anyline: bool = False) -> Pixels:
        made = self._detect(picture, min(picture.shape[:2]), safe_steps=round(controls.a), output_type="np")
        edges = np.asarray(made, np.uint8)
        return _screen(edges, _fine_lines(picture)) if anyline else edges


def _fine_lines(picture: Pixels) -> Pixels:
    lines = line_strength(picture, ANYLINE_SIGMA, ANYLINE_FAINT)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((lines > 0).astype(np.uint8), connectivity=4)
    keep = stats[:, cv2.CC_STAT_AREA] >= ANYLINE_SPECK
    return three(np.where(keep[labels], lines, 0).astype(np.uint8))


def _screen(a: Pixels, b: Pixels) -> Pixels:
    """Light of two drawings, laid over each other."""
    dark = (255.0 - a) * (255.0 - b) / 255.0
    return (255.0 - dark + 0.5).astype(np.uint8)
