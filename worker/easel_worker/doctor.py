"""`python -m easel_worker doctor`: facts about torch and the models, for `easel doctor`."""

from __future__ import annotations

import json
import sys

from easel_contract.checkpoints import Library
from easel_contract.settings import load
from easel_worker import __version__
from easel_worker.settings import WorkerSettings


def examine(settings: WorkerSettings) -> dict[str, object]:
    """What the worker would find at start. Key ``error`` says what is wrong; absent when all is well."""
    folder = settings.checkpoint_dir
    facts: dict[str, object] = {
        "version": __version__,
        "model_dir": str(folder.resolve()),
        "model_dir_exists": folder.is_dir(),
        "checkpoints": len(Library(folder).names()),
    }
    try:
        import torch

        from easel_worker.diffusion.device import describe, pick_device, pick_dtype
    except ImportError as error:
        return {**facts, "error": f"torch cannot be imported ({error}): install easel[worker]"}
    facts |= {"torch": torch.__version__, "cuda_build": torch.version.cuda}
    try:
        device = pick_device(settings.device)
        dtype = pick_dtype(device, settings.dtype)
        facts |= {"dtype": str(dtype).removeprefix("torch."), **describe(device)}
    except Exception as error:  # noqa: BLE001 - whatever a driver raises is the finding
        facts["error"] = f"{type(error).__name__}: {error}"
    return facts


def main() -> int:
    """Print the facts as one JSON line; exit status 1 when there is an error."""
    facts = examine(load(WorkerSettings))
    sys.stdout.write(json.dumps(facts) + "\n")
    return 1 if "error" in facts else 0
