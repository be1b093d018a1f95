"""docs/queue.md tells what is in Redis and in the tests."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from easel_queue import keys

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/queue.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(test_[a-z0-9_]+)(\.py)?", PAGE)))


def test_the_legend_of_keys_is_the_modules() -> None:
    legend = inspect.getdoc(keys)
    assert legend is not None
    assert f"```\n{legend.strip()}\n```" in PAGE


def test_every_script_of_a_transition_exists() -> None:
    linked = re.findall(r"\(\.\./(queue/easel_queue/scripts/\S+\.lua)\)", PAGE)
    assert len(linked) > 10
    assert [path for path in linked if not (ROOT / path).is_file()] == []


@pytest.fixture(scope="module")
def defined() -> str:
    """All names of tests, a line each, and all files of tests."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    found = [re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")) for path in files]
    return "\n".join([*(name for names in found for name in names), *(path.name for path in files), ""])


@pytest.mark.parametrize(("name", "ending"), NAMED, ids=[name for name, _ in NAMED])
def test_what_proves_a_promise_is_there(defined: str, name: str, ending: str) -> None:
    whole = f"`{name}{ending}`" in PAGE
    end = r"\n" if whole else r""
    assert re.search(rf"^{re.escape(name + ending)}{end}", defined, re.MULTILINE), "no test of that name"
