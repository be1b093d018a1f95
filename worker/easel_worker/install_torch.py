"""Installs the torch build that fits this machine. Standard library only: it runs first of all.

    .venv/bin/python worker/easel_worker/install_torch.py [--dry-run]

pip's plain ``torch`` on Linux brings 15 CUDA packages (about 5 GB), useless without an NVIDIA GPU. In order:

1. A torch that fits is installed already: nothing to do.
2. An NVIDIA GPU is here (or EASEL_TORCH=cuda): the default build, which is the CUDA one.
3. Not Linux: the default build, which is no CUDA build there.
4. A CPU build (``torch==2.13.0+cpu``) from the sources that pip is configured with.
5. A CPU build from EASEL_TORCH_INDEX, PyTorch's own index of CPU builds unless set.
6. None can be had: the default build after all.

EASEL_TORCH is ``auto`` (the default), ``cpu`` (never 2 and 6) or ``cuda``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PINNED = "2.13.0"
"""The version that Easel's tests ran with."""

OLDEST = (2, 6)
"""The oldest that the worker's code runs with, as pyproject.toml says too."""

PUBLIC_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

INDEX_TIMEOUT_S = 10
"""For one connection to an extra index: without a network it must fail soon, not hang."""

NVIDIA_SMI_TIMEOUT_S = 20


@dataclass(frozen=True)
class Machine:
    """What decides."""

    wanted: str
    """EASEL_TORCH: auto, cpu or cuda."""
    installed: str
    """Version of the torch in this environment, with its build ("2.13.0+cpu"); "" without one."""
    gpu: str
    """How an NVIDIA GPU was noticed; "" without one."""
    cuda_is_default: bool
    """Whether pip's plain torch would be the CUDA build: Linux on x86-64 and on 64-bit ARM."""


@dataclass(frozen=True)
class Attempt:
    """One thing to ask pip for. The last attempt of a plan is taken without asking first."""

    requirement: str
    why: str
    index: str = ""
    """An index to use instead of the configured one."""


@dataclass(frozen=True)
class Plan:
    """What to do: nothing (`done` says why), or the first attempt that pip can resolve."""

    done: str = ""
    attempts: tuple[Attempt, ...] = ()


def decide(machine: Machine, *, index: str = PUBLIC_CPU_INDEX) -> Plan:
    """The whole decision; needs neither network nor GPU, so that it can be tested."""
    if machine.wanted not in {"auto", "cpu", "cuda"}:
        raise ValueError(f"EASEL_TORCH={machine.wanted}: use auto, cpu or cuda")
    wants_cuda = machine.wanted == "cuda" or (machine.wanted == "auto" and bool(machine.gpu))
    why_cuda = "EASEL_TORCH=cuda" if machine.wanted == "cuda" else machine.gpu
    if _fits(machine, wants_cuda=wants_cuda):
        return Plan(done=f"torch {machine.installed} is installed")
    pinned, any_version = f"torch=={PINNED}", f"torch>={OLDEST[0]}.{OLDEST[1]}"
    if wants_cuda or not machine.cuda_is_default:
        why = f"the default build: {why_cuda}" if wants_cuda else "the default build: it has no CUDA here"
        return Plan(
            attempts=(Attempt(pinned, why), Attempt(any_version, f"{why}; {PINNED} is not to be had"))
        )
    no_gpu = "EASEL_TORCH=cpu" if machine.wanted == "cpu" else "no NVIDIA GPU"
    cpu = [
        Attempt(f"{pinned}+cpu", f"the CPU build from pip's own sources: {no_gpu}"),
        Attempt(f"{pinned}+cpu", f"the CPU build from {index}: {no_gpu}", index),
        Attempt(any_version, f"the CPU build from {index}: {no_gpu}; {PINNED} is not to be had", index),
    ]
    if machine.wanted == "cpu":
        return Plan(attempts=tuple(cpu))
    last = "the CUDA build, several GB: no GPU, but no CPU build of torch can be had here either"
    return Plan(attempts=(*cpu, Attempt(pinned, last), Attempt(any_version, last)))


def _fits(machine: Machine, *, wants_cuda: bool) -> bool:
    if not machine.installed:
        return False
    number, _, build = machine.installed.partition("+")
    parts = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
    if parts < OLDEST:
        return False
    # A CUDA build serves a CPU machine too: do not replace what somebody has already paid for.
    return not (wants_cuda and machine.cuda_is_default and build == "cpu")


def look(wanted: str) -> Machine:
    """This machine and this environment."""
    try:
        installed = version("torch")
    except PackageNotFoundError:
        installed = ""
    linux = sys.platform == "linux" and platform.machine().lower() in {"x86_64", "amd64", "aarch64", "arm64"}
    return Machine(wanted=wanted, installed=installed, gpu=find_gpu(), cuda_is_default=linux)


def find_gpu() -> str:
    """How an NVIDIA GPU shows itself, in words; "" when there is none."""
    program = shutil.which("nvidia-smi")
    if program:
        try:
            said = subprocess.run(  # noqa: S603 - the driver's own tool, no shell
                [program, "-L"], capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            pass
        else:
            if said.returncode == 0 and "GPU" in said.stdout:
                return f"nvidia-smi lists {said.stdout.count('GPU ')} GPU(s)"
    return "the NVIDIA driver is loaded" if Path("/proc/driver/nvidia/version").exists() else ""


def pip_command(attempt: Attempt, *, dry_run: bool) -> list[str]:
    """The pip call of one attempt."""
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    if dry_run:
        # --no-deps: the question is only whether this build is there.
        command += ["--dry-run", "--no-deps", "--quiet"]
    if attempt.index:
        # Instead of PyPI, not beside it, where a newer CUDA build would win; it has what torch needs, too.
        command += ["--index-url", attempt.index, "--timeout", str(INDEX_TIMEOUT_S), "--retries", "1"]
    return [*command, attempt.requirement]


def pip_environment(attempt: Attempt) -> dict[str, str]:
    """With an index of its own, pip's configured sources must not mix in: they may hold CUDA builds."""
    if not attempt.index:
        return dict(os.environ)
    # pip ignores empty values here, so the index itself stands in for the other sources.
    return {**os.environ, "PIP_EXTRA_INDEX_URL": attempt.index, "PIP_FIND_LINKS": f"{attempt.index}/torch/"}


def can_resolve(attempt: Attempt) -> bool:
    """Whether pip finds this build."""
    command, env = pip_command(attempt, dry_run=True), pip_environment(attempt)
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0  # noqa: S603 - pip


def main(argv: list[str] | None = None) -> int:
    """Decide, say it in one line, install. Returns pip's exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="say what would be installed, install nothing")
    args = parser.parse_args(argv)
    try:
        plan = decide(
            look(os.environ.get("EASEL_TORCH") or "auto"),
            index=os.environ.get("EASEL_TORCH_INDEX") or PUBLIC_CPU_INDEX,
        )
    except ValueError as exc:
        print(exc, file=sys.stderr)
        return 2
    if plan.done:
        _say(plan.done)
        return 0
    *asked, last = plan.attempts
    chosen = next((attempt for attempt in asked if can_resolve(attempt)), last)
    _say(f"{chosen.requirement}, {chosen.why}")
    if args.dry_run:
        return 0
    command = pip_command(chosen, dry_run=False)
    return subprocess.run(command, env=pip_environment(chosen), check=False).returncode  # noqa: S603 - pip


def _say(text: str) -> None:
    print(f"torch: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
