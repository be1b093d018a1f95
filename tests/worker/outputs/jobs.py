"""Jobs to name, describe and save."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easel_contract.options import RenderOptions
from easel_worker.outputs.record import GenerationRecord, ImageFacts
from easel_worker.outputs.rendering import Rendering
from easel_worker.outputs.tokens import Subject

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.utc)


def picture(value: int = 0, *, width: int = 16, height: int = 8) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, dtype=np.uint8)


def record(**changes: Any) -> GenerationRecord:
    values: dict[str, Any] = {
        "kind": "txt2img",
        "prompt": "a (red:1.2) cat",
        "negative_prompt": "ugly",
        "sampler": "DPM++ 2M",
        "schedule": "Karras",
        "steps": 20,
        "cfg_scale": 7.0,
        "width": 512,
        "height": 768,
        "model_name": "v1-5",
        "model_hash": "6ce0161689",
        "when": WHEN,
        "version": "Easel 1",
    }
    return GenerationRecord(**{**values, **changes})


def facts(seed: int = 7, prompt: str = "a (red:1.2) cat", **extra: object) -> ImageFacts:
    return ImageFacts(prompt, "ugly", seed, seed + 100, extra)


def rendering(count: int = 1, **changes: Any) -> Rendering:
    return Rendering(
        record(**{"batch_size": count, **changes}),
        [picture(10 + index) for index in range(count)],
        [facts(7 + index) for index in range(count)],
    )


def subject(prompt: str = "a (red:1.2) cat", index: int = 0, **changes: Any) -> Subject:
    options = changes.pop("options", RenderOptions())
    made = record(**changes)
    seeds = tuple(range(7, 7 + made.batch_size * made.n_iter))
    return Subject(made, facts(seeds[index], prompt), seeds, index, picture(), options, "source")
