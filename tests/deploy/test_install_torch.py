"""Which torch goes onto which machine."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from easel_worker import install_torch
from easel_worker.install_torch import PINNED, PUBLIC_CPU_INDEX, Machine, decide

BARE = Machine(wanted="auto", installed="", gpu="", cuda_is_default=True)
GPU = replace(BARE, gpu="nvidia-smi lists 1 GPU(s)")
SCRIPT = str(Path(install_torch.__file__))


def wanted(machine: Machine) -> list[tuple[str, str]]:
    return [(attempt.requirement, attempt.index) for attempt in decide(machine).attempts]


def test_a_gpu_gets_the_cuda_build() -> None:
    assert wanted(GPU) == [(f"torch=={PINNED}", ""), ("torch>=2.6", "")]
    assert wanted(replace(BARE, wanted="cuda")) == wanted(GPU)


def test_without_a_gpu_every_cpu_build_comes_before_cuda() -> None:
    assert wanted(BARE) == [
        (f"torch=={PINNED}+cpu", ""),
        (f"torch=={PINNED}+cpu", PUBLIC_CPU_INDEX),
        ("torch>=2.6", PUBLIC_CPU_INDEX),
        (f"torch=={PINNED}", ""),
        ("torch>=2.6", ""),
    ]
    assert all("CUDA build, several GB" in attempt.why for attempt in decide(BARE).attempts[3:])


def test_cpu_means_never_cuda() -> None:
    assert wanted(replace(GPU, wanted="cpu")) == wanted(BARE)[:3]


def test_no_cuda_packages_exist_for_other_systems() -> None:
    assert wanted(replace(BARE, cuda_is_default=False)) == [(f"torch=={PINNED}", ""), ("torch>=2.6", "")]


@pytest.mark.parametrize(
    ("machine", "done"),
    [
        (replace(BARE, installed="2.13.0+cpu"), True),
        (replace(BARE, installed="2.6.0+cpu"), True),
        (replace(BARE, installed="2.15.0"), True),  # a CUDA build serves a CPU machine too
        (replace(BARE, installed="2.5.1+cpu"), False),
        (replace(BARE, installed="1.13.1"), False),
        (replace(GPU, installed="2.13.0"), True),
        (replace(GPU, installed="2.13.0+cu130"), True),
        (replace(GPU, installed="2.13.0+cpu"), False),
        (replace(GPU, installed="2.13.0+cpu", wanted="cpu"), True),
        (replace(BARE, installed="2.13.0+cpu", wanted="cuda"), False),
    ],
)
def test_what_is_installed_is_kept_if_it_fits(machine: Machine, done: bool) -> None:
    assert bool(decide(machine).done) is done


def test_an_unknown_wish_is_named() -> None:
    with pytest.raises(ValueError, match="EASEL_TORCH=rocm: use auto, cpu or cuda"):
        decide(replace(BARE, wanted="rocm"))


def _wheel(folder: Path, version: str) -> None:
    """A torch that holds nothing but its name."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fresh virtual environment's Python, with pip and nothing else."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return str(folder / "bin/python")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """pip knows one local folder and nothing else; no GPU tool is on the PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "EASEL_"))}
    (tmp_path / "wheels").mkdir()
    return {
        **kept,
        "PATH": "/usr/bin:/bin",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_NO_INDEX": "1",
        "EASEL_TORCH_INDEX": "http://127.0.0.1:9",  # the discard port: nobody answers
    }


def run(python: str, environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [python, SCRIPT, *arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.fixture(autouse=True)
def _no_gpu(request: pytest.FixtureRequest) -> None:
    if "environment" in request.fixturenames and Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a GPU: its choice is the CUDA build")


def test_pip_s_own_sources_are_asked_first(bare_python: str, environment: dict[str, str]) -> None:
    _wheel(Path(environment["PIP_FIND_LINKS"]), f"{PINNED}+cpu")
    _wheel(Path(environment["PIP_FIND_LINKS"]), "2.99.0")  # newer, and CUDA: plain pip would take it
    status, said = run(bare_python, environment, "--dry-run")
    assert status == 0
    assert said == f"torch: torch=={PINNED}+cpu, the CPU build from pip's own sources: no NVIDIA GPU\n"


def test_only_without_any_cpu_build_cuda_is_taken(bare_python: str, environment: dict[str, str]) -> None:
    _wheel(Path(environment["PIP_FIND_LINKS"]), PINNED)
    status, said = run(bare_python, environment, "--dry-run")
    assert status == 0
    assert said.startswith(f"torch: torch=={PINNED}, the CUDA build, several GB: no GPU, but")
    assert said.count("\n") == 1


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture
def cpu_index(tmp_path: Path) -> Iterator[str]:
    """An index of CPU builds on loopback, laid out as pip wants it."""
    folder = tmp_path / "index"
    _wheel(folder / "torch", f"{PINNED}+cpu")
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_another_version_of_the_cpu_index_is_better_than_cuda(
    bare_python: str, environment: dict[str, str], cpu_index: str, tmp_path: Path
) -> None:
    del environment["PIP_NO_INDEX"]
    environment |= {"PIP_INDEX_URL": f"{cpu_index}/nothing-here", "EASEL_TORCH_INDEX": cpu_index}
    (tmp_path / "index/torch" / f"torch-{PINNED}+cpu-py3-none-any.whl").unlink()
    _wheel(tmp_path / "index/torch", "2.10.0+cpu")
    _wheel(Path(environment["PIP_FIND_LINKS"]), "2.99.0")  # must not mix in
    assert run(bare_python, environment)[0] == 0
    assert run(bare_python, environment) == (0, "torch: torch 2.10.0+cpu is installed\n")
    subprocess.run([bare_python, "-m", "pip", "uninstall", "-q", "-y", "torch"], check=True)


def test_the_cpu_index_comes_next_and_a_second_run_has_nothing_to_do(
    bare_python: str, environment: dict[str, str], cpu_index: str
) -> None:
    del environment["PIP_NO_INDEX"]
    environment |= {"PIP_INDEX_URL": f"{cpu_index}/nothing-here", "EASEL_TORCH_INDEX": cpu_index}
    _wheel(Path(environment["PIP_FIND_LINKS"]), "2.99.0")
    status, said = run(bare_python, environment)
    assert status == 0
    assert said.startswith(f"torch: torch=={PINNED}+cpu, the CPU build from {cpu_index}: no NVIDIA GPU\n")
    assert run(bare_python, environment) == (0, f"torch: torch {PINNED}+cpu is installed\n")
    subprocess.run([bare_python, "-m", "pip", "uninstall", "-q", "-y", "torch"], check=True)
