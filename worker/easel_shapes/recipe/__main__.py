"""`python -m easel_shapes.recipe STAGE --out DIR`: makes the model from nothing, one stage or all.

Every training stage goes on from what DIR holds, so a second call is a second sitting.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from easel_shapes import model_folder
from easel_shapes.recipe import data, team, train_denoiser, train_vae
from easel_shapes.recipe.sitting import Sitting
from easel_worker.diffusion.device import pick_device

# What `all` runs, in this order. `resume` turns a finished model into training states instead, for a sitting
# on a machine that never saw the earlier ones.
STAGES = ("draw", "vae", "encode", "denoiser", "export", "evaluate")


@dataclass(frozen=True)
class Plan:
    """How much of everything: pictures drawn, optimizer steps, prompts judged (each with `seeds` seeds)."""

    pictures: int
    vae_steps: int
    denoiser_steps: int
    prompts: int
    seeds: int
    classifier_steps: int


# Two CPU cores take about three hours for it, a GPU minutes.
FULL = Plan(
    pictures=40_000, vae_steps=5_000, denoiser_steps=12_000, prompts=500, seeds=3, classifier_steps=1500
)
SMOKE = Plan(pictures=300, vae_steps=40, denoiser_steps=40, prompts=4, seeds=1, classifier_steps=60)
_CHECK_SEED = 1_000_003  # of pictures that training never sees


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; 1 where a smoke run's loss did not fall."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parse(given)
    if options.processes > 1 and not team.is_member():
        return team.start(options.processes, given)
    team.join()
    plan = SMOKE if options.smoke else FULL
    torch.set_num_threads(options.threads or torch.get_num_threads())
    device = pick_device(options.device)
    out: Path = options.out
    stages = STAGES if options.stage == "all" else (options.stage,)
    count = options.pictures or plan.pictures
    fell = True
    for stage in stages:
        if stage == "draw":
            data.load_or_draw(out, options.seed, count)
        elif stage == "resume":
            from easel_shapes.recipe.resume import resume

            resume(options.model or model_folder(), out)
        elif stage == "vae":
            pools = data.load_or_draw(out, options.seed, count)
            steps, minutes = _budget(plan.vae_steps, options.minutes)
            done = train_vae.train_vae(
                out,
                pools,
                seed=options.seed,
                steps=steps,
                minutes=minutes,
                device=device,
                decoder_only=options.decoder_only,
            )
            _report_vae(out, device)
            fell &= _fell(stage, done)
        elif stage == "encode":
            _latents(out, data.load_or_draw(out, options.seed, count), options.seed, device)
        elif stage == "denoiser":
            pools = data.load_or_draw(out, options.seed, count)
            latents = _latents(out, pools, options.seed, device)
            steps, minutes = _budget(plan.denoiser_steps, options.minutes)
            done = train_denoiser.train_denoiser(
                out,
                pools,
                latents,
                seed=options.seed,
                steps=steps,
                minutes=minutes,
                device=device,
                peak=options.rate,
                focus=options.focus,
            )
            fell &= _fell(stage, done)
        elif stage == "export":
            from easel_shapes.recipe.export import export

            pictures = _whitening_pictures(options.seed)
            export(out, options.model or out / "easel-shapes", pictures, device)
        else:
            from easel_shapes.recipe.evaluate import evaluate

            evaluate(
                options.model or out / "easel-shapes",
                out,
                prompts=options.prompts or plan.prompts,
                seeds=options.seeds or plan.seeds,
                classifier_steps=plan.classifier_steps,
                device=device,
            )
    return 0 if fell else 1


def _whitening_pictures(seed: int) -> NDArray[np.uint8]:
    return data.draw_pool(seed, 128, 128, 512).pictures


def _latents(out: Path, pools: Sequence[data.Pool], seed: int, device: torch.device) -> list[torch.Tensor]:
    vae = train_vae.load_vae(out, device)
    fingerprint = train_vae.fingerprint(vae)
    train_vae.whiten(vae, _whitening_pictures(seed), device)
    return train_denoiser.encode_pools(out, vae, fingerprint, pools, device)


def _budget(steps: int, minutes: float | None) -> tuple[int | None, float | None]:
    return (steps, None) if minutes is None else (None, minutes)


def _report_vae(out: Path, device: torch.device) -> None:
    vae = train_vae.load_vae(out, device)
    pool = data.draw_pool(_CHECK_SEED, 128, 128, 64)
    print(
        f"vae: {train_vae.psnr(vae, pool.pictures, device):.2f} dB on drawings it never saw", file=sys.stderr
    )


def _fell(stage: str, done: Sitting) -> bool:
    first, last = done.first_loss, done.loss
    if first is None:  # a sitting too short to say
        return True
    print(f"{stage}: loss {first:.4f} -> {last:.4f}", file=sys.stderr)
    return last < first


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m easel_shapes.recipe", description=__doc__)
    parser.add_argument("stage", choices=("all", *STAGES, "resume"))
    parser.add_argument("--out", type=Path, required=True, help="work folder: caches and training states")
    parser.add_argument(
        "--model",
        type=Path,
        help="the model's folder (default: OUT/easel-shapes; for resume the shipped one)",
    )
    parser.add_argument("--minutes", type=float, help="train for this long instead of the planned steps")
    parser.add_argument("--pictures", type=int, help="how many training pictures are drawn")
    parser.add_argument("--prompts", type=int, help="how many held-out prompts are judged")
    parser.add_argument("--seeds", type=int, help="pictures for each prompt")
    parser.add_argument("--rate", type=float, default=train_denoiser.PEAK_RATE, help="denoiser's peak rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number>")
    parser.add_argument(
        "--processes", type=int, default=1, help="train the denoiser in so many processes; for CPUs"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument(
        "--decoder-only", action="store_true", help="train the VAE further without changing its latents"
    )
    parser.add_argument("--focus", action="store_true", help="train mostly on single plain shapes")
    parser.add_argument("--smoke", action="store_true", help="every stage in a few minutes, for a test")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
