"""Restoring faces: found by RetinaFace, aligned, made anew by GFPGAN or CodeFormer, put back.

    FaceRestorers.restore("GFPGAN", picture)
      ├── retinaface.py   boxes and five landmarks of each face
      ├── align.py        landmarks -> a crop of 512 x 512, and back with a soft edge
      └── the restorer's network, by upscaling/architectures.py

All of it needs files under ``models/``; each that is missing is named.
"""

from __future__ import annotations
