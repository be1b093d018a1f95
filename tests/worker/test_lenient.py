"""What a service that is not strict does with unknown names: the request goes on, and its warnings tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from easel_contract.checkpoints import INDEX, Library
from easel_contract.errors import ContractError
from easel_contract.requests import TXT2IMG_PATH, parse_request
from easel_worker.annotators import Annotators
from easel_worker.generation.plan import Plan, Planner
from easel_worker.intake import Intake
from easel_worker.settings import WorkerSettings

HIRES = {"enable_hr": True, "hr_resize_x": 128, "hr_resize_y": 128, "width": 64, "height": 64}
UNKNOWN: list[tuple[dict[str, Any], int, str]] = [
    ({"sampler_name": "sun"}, 400, "Sampler not found: 'sun'"),
    ({"scheduler": "moon"}, 400, "Scheduler not found: 'moon'"),
    (HIRES | {"hr_sampler_name": "sun"}, 400, "Sampler not found: 'sun'"),
    (HIRES | {"hr_scheduler": "moon"}, 400, "Scheduler not found: 'moon'"),
    ({"override_settings": {"eta_dim": 1}}, 422, "override_settings.eta_dim: there is no such option"),
    ({"styles": ["Oil"]}, 422, "styles: no style 'Oil' in styles.csv; there are: Ink"),
    (
        {"prompt": "a cat <lora:fur:1>"},
        422,
        "lora 'fur' is not in models/Lora or LyCORIS; there are: none",
    ),
]


def plan(body: dict[str, Any], data_dir: Path, *, strict: bool) -> Plan:
    settings = WorkerSettings(data_dir=data_dir, strict=strict)
    folder = settings.checkpoint_dir / "any"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).write_text("{}")
    (data_dir / "styles.csv").write_text("name,prompt,negative_prompt\nInk,ink,\n")
    limits = settings.limits()
    annotators = Annotators(data_dir / "models", lambda: torch.device("cpu"), allow_pickle=False)
    planner = Planner(settings, Library(settings.checkpoint_dir), Intake(limits.images), annotators)
    request = parse_request(TXT2IMG_PATH, json.dumps({"prompt": "a cat", **body}).encode(), limits)
    assert request is not None
    return planner.plan(request, {})


@pytest.mark.parametrize(("body", "status", "says"), UNKNOWN)
def test_an_unknown_name_is_refused_or_told(
    tmp_path: Path, body: dict[str, Any], status: int, says: str
) -> None:
    with pytest.raises(ContractError) as caught:
        plan(body, tmp_path, strict=True)
    assert (caught.value.status, says in str(caught.value)) == (status, True), str(caught.value)
    made = plan(body, tmp_path, strict=False)
    assert [says in warning for warning in made.warnings] == [True], made.warnings


def test_the_hires_pass_names_its_own_field(tmp_path: Path) -> None:
    for field in ("hr_sampler_name", "hr_scheduler"):
        with pytest.raises(ContractError) as caught:
            plan(HIRES | {field: "sun"}, tmp_path, strict=True)
        assert caught.value.field == field
        assert plan({field: "sun"}, tmp_path, strict=True).warnings == (), (
            "without a second pass it is unused"
        )


def test_known_names_make_no_warning(tmp_path: Path) -> None:
    body = HIRES | {"hr_sampler_name": "Euler a", "hr_scheduler": "Use same scheduler", "styles": ["ink", ""]}
    assert plan(body, tmp_path, strict=False).warnings == ()
