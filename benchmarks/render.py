"""Images per second of the worker's own loop, beside diffusers' pipeline with the matching scheduler.

Same model (the one that ships), prompts, guidance, steps, size, batch, threads and number format; each side
in a process of its own that stays loaded, and they take turns. A round counts from the prompt to pictures as
uint8 arrays: text encoders, sampling, VAE. Prompts are encoded anew by diffusers each time, while Easel
remembers the encodings of prompts that it has seen, as it does in a worker.

The overhead of a step is what a step takes outside the UNet: the difference between two runs of many and few
steps, each without its time inside the UNet.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from easel_worker.models.starter import install_shapes
from harness import Spread, publish
from sides import Side

SIDE = Path(__file__).with_name("render_side.py")
SAMPLERS = ("Euler", "DPM++ 2M", "DDIM")
MB = 1e6
WARM_UP = 2
"""Steps of the batch before the first round."""
FEW, MANY = 10, 60


def compare(model: Path, args: argparse.Namespace) -> list[list[str]]:
    """Images per second, one row per sampler, size and batch."""
    head = [
        "",
        "Easel, images/s",
        "diffusers, images/s",
        "Easel / diffusers",
        "the same, of CPU time",
        "rounds",
    ]
    rows = [head]
    sides = [Side.start(SIDE, name, str(model), str(args.threads)) for name in ("easel", "diffusers")]
    works = [(SAMPLERS[0], side, batch) for side in args.sides for batch in args.batches]
    works += [(sampler, args.sides[0], args.batches[0]) for sampler in SAMPLERS[1:]]
    for sampler, pixels, batch in works:
        job = {"sampler": sampler, "side": pixels, "batch": batch, "steps": args.steps}
        ours, theirs = _rounds(sides, job, args)
        rows.append(
            [
                f"{sampler}, {pixels}x{pixels}, batch {batch}",
                Spread.middle([batch / one["s"] for one in ours]).show(),
                Spread.middle([batch / one["s"] for one in theirs]).show(),
                *(
                    Spread.middle([two[key] / one[key] for one, two in zip(ours, theirs, strict=True)]).show(
                        3
                    )
                    for key in ("s", "cpu_s")
                ),
                str(len(ours)),
            ]
        )
        print(" | ".join(rows[-1]), flush=True)
    for side in sides:
        side.stop()
    return rows


def _rounds(
    sides: list[Side], job: dict[str, Any], args: argparse.Namespace
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Each side's answers, round by round: one batch of the one, one of the other. Who is first changes, so
    that a machine that slows down slows both alike."""
    for side in sides:
        side.ask(**{**job, "steps": WARM_UP}, seed=0)
    answers: list[list[dict[str, float]]] = [[], []]
    until = time.monotonic() + args.seconds
    for number in range(args.most):
        if number >= args.rounds and time.monotonic() > until:
            break
        for place in (0, 1) if number % 2 == 0 else (1, 0):
            answers[place].append(sides[place].ask(**job, seed=100 * number))
    return answers[0], answers[1]


def overhead(model: Path, args: argparse.Namespace) -> list[list[str]]:
    """Microseconds of a step outside the UNet, at the smallest size, where they count most."""
    rows = [["sampler", "Easel, us per step", "diffusers, us per step"]]
    sides = [Side.start(SIDE, name, str(model), str(args.threads)) for name in ("easel", "diffusers")]
    for sampler in SAMPLERS:
        found: list[list[float]] = [[], []]
        for number in range(args.rounds + 1):
            for side, values in zip(sides, found, strict=True):
                few, many = (
                    side.ask(sampler=sampler, side=args.sides[0], batch=1, steps=steps, seed=number)
                    for steps in (FEW, MANY)
                )
                outside = (many["s"] - many["unet_s"]) - (few["s"] - few["unet_s"])
                if number:
                    values.append(outside / (many["calls"] - few["calls"]) * 1e6)
        rows.append([sampler, Spread.of(found[0]).show(0), Spread.of(found[1]).show(0)])
    for side in sides:
        side.stop()
    return rows


def memory(model: Path, args: argparse.Namespace) -> list[list[str]]:
    """Largest memory of a fresh process that renders one batch, each side in a process of its own."""
    rows = [["", "Easel, MB", "diffusers, MB"]]
    for pixels, batch in ((args.sides[0], args.batches[0]), (args.sides[-1], args.batches[-1])):
        peaks = []
        for name in ("easel", "diffusers"):
            side = Side.start(SIDE, name, str(model), str(args.threads))
            answer = side.ask(sampler=SAMPLERS[0], side=pixels, batch=batch, steps=4, seed=0)
            peaks.append(f"{answer['rss'] / MB:.0f}")
            side.stop()
        rows.append([f"{pixels}x{pixels}, batch {batch}", *peaks])
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3, help="at least so many per row")
    options.add_argument("--most", type=int, default=25, help="at most so many")
    options.add_argument("--seconds", type=float, default=30, help="per row, where the rounds are in between")
    options.add_argument("--steps", type=int, default=8)
    options.add_argument("--sides", type=int, nargs="+", default=[128, 256, 512], help="pixels")
    options.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    options.add_argument("--threads", type=int, default=2, help="torch threads, for both sides")
    args = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder:
        model = Path(folder) / "easel-shapes"
        install_shapes(model)
        rows = compare(model, args)
        more = {
            f"What a step costs outside the UNet, {args.sides[0]}x{args.sides[0]}, batch 1": overhead(
                model, args
            ),
            "Largest memory of the process": memory(model, args),
        }
    setting = (
        f"{args.rounds} to {args.most} rounds, in each a batch of either side, the first by turns; median "
        f"and quartiles, ratios round by round. {args.steps} steps, CFG 7, fp32, {args.threads} torch "
        "threads, the model that ships (4.8 million weights). Matching schedulers: EulerDiscrete (linspace), "
        "DPMSolverMultistep (Karras), DDIM. Easel's process keeps freed memory, as a "
        "worker sets malloc when it starts; diffusers' has glibc's defaults."
    )
    limits = (
        "It does not show a GPU, or a full-size model, where the UNet takes nearly all of a step and the two "
        "come closer to each other."
    )
    publish("render", "The worker's loop beside diffusers' pipeline", rows, [setting, limits], more)


if __name__ == "__main__":
    main()
