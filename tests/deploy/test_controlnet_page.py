"""docs/controlnet.md cannot drift from the modules and units."""

from __future__ import annotations

import re
from pathlib import Path

from easel_contract.controlnet import ControlUnit
from easel_contract.controlnet.spellings import ALIASES

PAGE = (Path(__file__).parents[2] / "docs/controlnet.md").read_text(encoding="utf-8")


def test_every_field_of_a_unit_is_explained() -> None:
    section = PAGE.partition("### Fields")[2].partition("\n### ")[0]
    named = set(re.findall(r"`([a-z_]+)`", section))
    made = {"index", "pictures", "warnings"}
    assert ControlUnit.model_fields.keys() - made | ALIASES.keys() <= named
