"""docs/options.md cannot drift from the options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TABLE = Path(__file__).with_name("options_table.py")


def test_its_tables_are_the_options() -> None:
    done = subprocess.run(
        [sys.executable, str(TABLE), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
