"""Describing a picture: a caption by BLIP, and after it the phrases of word lists that CLIP finds fitting.

    interrogator.py   which files are needed; caption and ranks together
      ├── blip.py     models/BLIP          a folder of transformers: config.json, model.safetensors, vocab.txt
      └── ranks.py    models/interrogate   *.txt, one phrase per line; only where there are any:
                      models/CLIP          a folder of transformers: config.json, model.safetensors

torch is imported with the first picture.
"""

from __future__ import annotations

from easel_worker.interrogate.interrogator import Interrogator

__all__ = ["Interrogator"]
