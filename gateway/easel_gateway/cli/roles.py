"""The processes of `easel up`, as data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from easel_gateway.cli.process import ProcessSpec
from easel_queue.embedded import Fsync, ServerProgram, configuration

GIVE_BACK_S = 5.0
"""What a worker needs to stop at its next step and give the task back."""


def redis_spec(
    program: ServerProgram, *, port: int, password: str, data_dir: Path, run_dir: Path, fsync: Fsync
) -> ProcessSpec:
    """The private Redis. Its folder under `data_dir` is made by the caller."""
    folder = data_dir / "redis"
    config = configuration(port=port, password=password, data_dir=folder, fsync=fsync)
    return ProcessSpec(
        name="redis",
        argv=tuple(program.command),
        stdin=config.encode(),
        log=run_dir / "redis.log",
        lock=folder / ".lock",
    )


def gateway_spec(env: Mapping[str, str]) -> ProcessSpec:
    """The gateway, as `python -m easel_gateway` runs it anywhere else."""
    return ProcessSpec(name="gateway", argv=(sys.executable, "-m", "easel_gateway"), env=env)


def worker_specs(count: int, env: Mapping[str, str], gpus: tuple[str, ...]) -> list[ProcessSpec]:
    """The workers; with more than one of both, each sees one GPU only, in turn."""
    specs = []
    for number in range(count):
        own = dict(env)
        if count > 1 and len(gpus) > 1:
            own["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        specs.append(
            ProcessSpec(name=f"worker-{number + 1}", argv=(sys.executable, "-m", "easel_worker"), env=own)
        )
    return specs


def drain_env(stop_grace_s: float) -> dict[str, str]:
    """Let a worker give its task back (no delivery counted) before the supervisor's patience ends."""
    if "EASEL_DRAIN_S" in os.environ:
        return {}
    return {"EASEL_DRAIN_S": f"{max(stop_grace_s - GIVE_BACK_S, stop_grace_s / 2):g}"}


def visible_gpus() -> tuple[str, ...]:
    """The NVIDIA GPUs that workers may use, as CUDA_VISIBLE_DEVICES names them; empty without any."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(part.strip() for part in chosen.split(",") if part.strip())
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        said = subprocess.run(  # noqa: S603 - the driver's own tool, no shell
            [program, "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in said.stdout.splitlines() if line.strip())
