"""docs/eas.md names tests; all of them exist, and every test of the numbered rows is named."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/eas.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"\btest_\w+", PAGE))
FILES = {
    path.name: path
    for folder in ("acceptance", "e2e")
    for path in (ROOT / "tests" / folder).glob("test_*.py")
}


def functions(file: str) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", FILES[file].read_text(encoding="utf-8"), re.MULTILINE))


def test_every_test_that_it_names_exists() -> None:
    known = set(FILES) | {name for file in FILES for name in functions(file)}
    missing = {name for name in NAMED if not any(other.startswith(name) for other in known)}
    assert missing == set()


def test_it_names_every_numbered_test() -> None:
    for file in ("test_python_sdk.py", "test_surprises.py"):
        unnamed = {name for name in functions(file) if not any(name.startswith(start) for start in NAMED)}
        assert unnamed == set()
