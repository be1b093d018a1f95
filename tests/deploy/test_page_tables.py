"""The tables of the docs pages cannot drift from the code that they are made from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("subject", ["modules", "options", "settings"])
def test_the_page_has_the_table_of_the_code(subject: str) -> None:
    script = Path(__file__).with_name(f"{subject}_table.py")
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
