"""The loop that Easel is compared with: diffusers' own pipeline, one prompt after the other, nothing else.

Reads rounds from stdin (one JSON list of [prompt, seed] per line) and answers each with its seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    model, steps, side, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

    torch.set_num_threads(threads)
    pipeline = StableDiffusionPipeline.from_pretrained(model, safety_checker=None, local_files_only=True)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    print("ready", flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        for prompt, seed in json.loads(line):
            generator = torch.Generator("cpu").manual_seed(seed)
            pipeline(
                prompt,
                num_inference_steps=steps,
                guidance_scale=7.0,
                width=side,
                height=side,
                generator=generator,
            )
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()
