"""One side of the rendering comparison: Easel's own loop or diffusers' pipeline, in a process of its own.

Reads one JSON job per line from stdin ({"sampler", "batch", "side", "steps", "seed"}) and answers each with
{"s": seconds from prompt to uint8 pictures, "cpu_s": the process's CPU seconds in them, "unet_s": seconds
inside the UNet, "calls": of the UNet, "rss": the process's largest memory so far, in bytes}.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROMPT = "a large red circle on a blue background"
NEGATIVE = "blurry"
CFG = 7.0

Draw = Callable[[dict[str, Any]], int]
"""Renders one job and answers how many pictures there are."""


class Stopwatch:
    """Time spent inside a module's forward pass."""

    def __init__(self, module: Any) -> None:
        self.seconds, self.calls = 0.0, 0
        self._began = 0.0
        module.register_forward_pre_hook(self._start)
        module.register_forward_hook(self._stop)

    def _start(self, *_: object) -> None:
        self._began = time.perf_counter()

    def _stop(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began
        self.calls += 1

    def reset(self) -> None:
        self.seconds, self.calls = 0.0, 0


def easel(model: Path) -> tuple[Draw, Any]:
    from easel_worker.host_memory import keep_freed_memory

    keep_freed_memory()  # as a worker does when it starts

    import torch

    from easel_worker.diffusion.checkpoint import load_checkpoint
    from easel_worker.generation import drawing

    checkpoint = load_checkpoint(model, device=torch.device("cpu"), dtype=torch.float32)
    schedulers = {"Euler": "uniform", "DPM++ 2M": "karras", "DDIM": "automatic"}

    def draw(job: dict[str, Any]) -> int:
        pictures = drawing.draw(
            checkpoint,
            PROMPT,
            negative_prompt=NEGATIVE,
            seeds=range(job["seed"], job["seed"] + job["batch"]),
            steps=job["steps"],
            cfg_scale=CFG,
            width=job["side"],
            height=job["side"],
            sampler=job["sampler"],
            scheduler=schedulers[job["sampler"]],
        )
        return len(pictures)

    return draw, checkpoint.unet


def diffusers(model: Path) -> tuple[Draw, Any]:
    import torch
    from diffusers import (
        DDIMScheduler,
        DPMSolverMultistepScheduler,
        EulerDiscreteScheduler,
        StableDiffusionPipeline,
    )

    pipeline = StableDiffusionPipeline.from_pretrained(
        str(model), safety_checker=None, local_files_only=True, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    config = pipeline.scheduler.config
    schedulers = {
        "Euler": EulerDiscreteScheduler.from_config(config, timestep_spacing="linspace"),
        "DPM++ 2M": DPMSolverMultistepScheduler.from_config(config, use_karras_sigmas=True),
        "DDIM": DDIMScheduler.from_config(config),
    }

    def draw(job: dict[str, Any]) -> int:
        pipeline.scheduler = schedulers[job["sampler"]]
        pictures = pipeline(
            PROMPT,
            negative_prompt=NEGATIVE,
            num_inference_steps=job["steps"],
            guidance_scale=CFG,
            width=job["side"],
            height=job["side"],
            num_images_per_prompt=job["batch"],
            generator=[torch.Generator("cpu").manual_seed(job["seed"] + i) for i in range(job["batch"])],
            output_type="np",
        ).images
        return len((pictures * 255).round().astype("uint8"))

    return draw, pipeline.unet


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    side, model, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    draw, unet = {"easel": easel, "diffusers": diffusers}[side](model)
    import torch

    torch.set_num_threads(threads)
    watch = Stopwatch(unet)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        watch.reset()
        begin, cpu = time.perf_counter(), time.process_time()
        count = draw(job)
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
        assert count == job["batch"]
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        answer = {"s": took, "cpu_s": cpu, "unet_s": watch.seconds, "calls": watch.calls, "rss": rss}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
