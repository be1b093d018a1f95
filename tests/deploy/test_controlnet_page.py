"""docs/controlnet.md cannot drift from the modules and units."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from easel_contract.controlnet import ControlUnit
from easel_contract.controlnet.spellings import ALIASES

TABLE = Path(__file__).with_name("modules_table.py")
PAGE = (Path(__file__).parents[2] / "docs/controlnet.md").read_text(encoding="utf-8")


def test_its_table_is_the_modules() -> None:
    done = subprocess.run(
        [sys.executable, str(TABLE), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_field_of_a_unit_is_explained() -> None:
    section = PAGE.partition("### Fields")[2].partition("\n### ")[0]
    named = set(re.findall(r"`([a-z_]+)`", section))
    made = {"index", "pictures", "warnings"}
    assert ControlUnit.model_fields.keys() - made | ALIASES.keys() <= named
