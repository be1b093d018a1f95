"""What units remember of the pictures that they looked at."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from easel_contract.controlnet import ControlUnit
from easel_worker.annotators import Annotators
from easel_worker.generation.control.hints import hints_of
from easel_worker.generation.control.kinds import Kind
from easel_worker.generation.control.unit import Unit
from easel_worker.generation.job import Source

from ..desk import Desk


def test_a_map_is_never_taken_for_that_of_a_picture_that_is_gone(control_desk: Desk, tmp_path: Path) -> None:
    annotators = Annotators(tmp_path, lambda: torch.device("cpu"), allow_pickle=False)
    looking = Unit(ControlUnit(module="none", model="any"), Kind.MAP)
    job = control_desk.plan().job
    for shade in range(64):
        # Python gives a new object the place, and so the `id`, of one that is gone.
        source = Source((Image.new("RGB", job.rendered_size, (shade, shade, shade)),))
        [hint] = hints_of(looking, annotators, job, source, job.rendered_size, 0)
        assert hint.map.max() == shade
