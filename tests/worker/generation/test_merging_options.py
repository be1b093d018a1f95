"""Token merging by options: which pass has which ratio, and what is told of it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from easel_contract.infotext import parse
from easel_worker.diffusion.token_merging import merges

from ..desk import SMALL, Desk, as_text, difference, infotext_of
from .test_small_vaes import picture

HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
IMG2IMG = {"path": "/sdapi/v1/img2img", "init_images": [as_text(picture())]}
PLAIN, IN_IMG2IMG, IN_HIRES = "token_merging_ratio", "token_merging_ratio_img2img", "token_merging_ratio_hr"


@pytest.mark.parametrize(
    ("fields", "service", "own", "ratios"),
    [
        ({}, {}, {PLAIN: 0.5}, (0.5, 0.5)),
        ({}, {PLAIN: 0.5, IN_IMG2IMG: 0.2}, {IN_HIRES: 0.3}, (0.5, 0.3)),
        (IMG2IMG, {PLAIN: 0.5}, {}, (0.5, 0.5)),
        (IMG2IMG, {PLAIN: 0.5, IN_IMG2IMG: 0.2}, {}, (0.2, 0.2)),
        (IMG2IMG, {IN_IMG2IMG: 0.2}, {PLAIN: 0.4}, (0.4, 0.4)),
        (IMG2IMG, {IN_IMG2IMG: 0.2}, {PLAIN: 0.4, IN_IMG2IMG: 0.1}, (0.1, 0.1)),
    ],
)
def test_each_pass_has_its_own_ratio(
    desk: Desk,
    fields: dict[str, Any],
    service: dict[str, float],
    own: dict[str, float],
    ratios: tuple[float, float],
) -> None:
    task = desk.task(**fields, override_settings=own)
    task = dataclasses.replace(task, meta={**task.meta, "options": json.dumps(service)})
    job = desk.handler.prepare(task).job
    assert (job.merging_ratio(), job.merging_ratio(second=True)) == ratios


@pytest.mark.parametrize(
    ("fields", "options", "told"),
    [
        ({}, {PLAIN: 0.5}, {"Token merging ratio": "0.5"}),
        ({}, {IN_HIRES: 0.5}, {}),
        (HIRES, {IN_HIRES: 0.5}, {"Token merging ratio hr": "0.5"}),
        (HIRES, {PLAIN: 0.5}, {"Token merging ratio": "0.5", "Token merging ratio hr": "0.5"}),
    ],
)
def test_what_is_told_is_what_was_merged(
    desk: Desk, fields: dict[str, Any], options: dict[str, float], told: dict[str, str]
) -> None:
    answer = desk.answer(desk.task(**fields, override_settings=options))
    drawn = answer.pixels[0]
    text = infotext_of(answer.body["images"][0])
    found = parse(text)
    assert {key: found[key] for key in found if key.startswith("Token") and f"{key}: " in text} == told
    assert (difference(drawn, desk.image(**fields)) > 0.01) == bool(told)
    np.testing.assert_array_equal(desk.image(**dict.fromkeys(SMALL), infotext=text), drawn)


def test_a_model_that_merges_nothing_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("easel_worker.generation.passes.merges", lambda unet: not merges(unet))
    [warning] = desk.txt2img(steps=1, override_settings={PLAIN: 0.5}).info["warnings"]
    assert warning.endswith("has no attention at full size: no token was merged")
    assert "warnings" not in desk.txt2img(steps=1).info
