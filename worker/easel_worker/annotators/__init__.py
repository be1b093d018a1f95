"""Preprocessors ("annotators"): from a picture to the map that a ControlNet follows.

annotators.py   by name: which can run, and running them
  ├── canvas.py    the size that a picture is worked on in
  ├── plain/       without weights: NumPy and OpenCV, on any thread
  ├── networks/    with files in models/annotators: on the torch thread
  └── poses/       key points, drawn
geometry.py     from a map's size to the job's
scribbles.py    masks that are drawings
embeddings.py   what CLIP's image encoders see, as texts
"""

from __future__ import annotations

from easel_worker.annotators.annotation import Annotation, Controls, Pixels
from easel_worker.annotators.annotators import Annotators

__all__ = ["Annotation", "Annotators", "Controls", "Pixels"]
