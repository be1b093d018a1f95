"""`python -m easel_shapes.recipe STAGE --out DIR`: makes the model from nothing, one stage or all, or the
companions of a finished one.

What was interrupted goes on at its last checkpoint when it is called again.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from easel_shapes.recipe.companion_stages import COMPANION_STAGES
from easel_shapes.recipe.sitting import Sitting
from easel_shapes.recipe.stages import FULL, SMOKE, STAGES, Run, take_up
from easel_shapes.recipe.train_denoiser import PEAK_RATE
from easel_worker.diffusion.device import pick_device

_SEVERAL = {"all": tuple(STAGES), "companions": tuple(COMPANION_STAGES)}
_MOST_PROCESSES = 8  # a step of 48 pictures does not divide into more


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 where a smoke run's loss did not fall."""
    options = _parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    run = _run(options)
    if options.stage == "resume":
        take_up(run)
        return 0
    fell = True
    stages = {**STAGES, **COMPANION_STAGES}
    for stage in _SEVERAL.get(options.stage, (options.stage,)):
        done = stages[stage](run)
        if done is not None:
            fell &= _fell(stage, done)
    return 0 if fell or not options.smoke else 1


def _run(options: argparse.Namespace) -> Run:
    given = {name: getattr(options, name) for name in ("pictures", "prompts", "seeds")}
    if options.stage == "survey":
        given["survey_prompts"] = given.pop("prompts")
    plan = dataclasses.replace(
        SMOKE if options.smoke else FULL, **{name: value for name, value in given.items() if value}
    )
    device = pick_device(options.device)
    processes = options.processes or (_cores() if device.type == "cpu" else 1)
    return Run(
        out=options.out,
        model=options.model,
        plan=plan,
        seed=options.seed,
        device=device,
        minutes=options.minutes,
        rate=options.rate,
        processes=min(processes, _MOST_PROCESSES),
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _fell(stage: str, done: Sitting) -> bool:
    first, last = done.first_loss, done.loss
    if first is None:  # a sitting too short to say
        return True
    print(f"{stage}: loss {first:.4f} -> {last:.4f}", file=sys.stderr)
    return last < first


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m easel_shapes.recipe", description=__doc__)
    parser.add_argument("stage", choices=(*_SEVERAL, *STAGES, *COMPANION_STAGES, "resume"))
    parser.add_argument("--out", type=Path, required=True, help="work folder: caches and training states")
    parser.add_argument(
        "--model",
        type=Path,
        help="the model's folder (default: OUT/easel-shapes; for resume and companions the shipped one)",
    )
    parser.add_argument("--minutes", type=float, help="train for this long, whatever was planned")
    parser.add_argument("--pictures", type=int, help="how many training pictures are drawn")
    parser.add_argument("--prompts", type=int, help="how many held-out prompts are judged")
    parser.add_argument("--seeds", type=int, help="pictures for each prompt")
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="the denoiser's highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number>")
    parser.add_argument(
        "--processes", type=int, help="train the denoiser in so many (default: one for each core of a CPU)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads of all else (default: torch's choice)")
    parser.add_argument("--smoke", action="store_true", help="every stage in a few minutes, for a test")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
