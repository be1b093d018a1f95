"""Full-size Stable Diffusion 1.5 and SDXL: random weights in one fp16 file each, loaded and rendered offline.

Nobody can tell anything from the pictures; what counts is that files of the published sizes load without a
hub, and what that takes. Each model has a process of its own. Needs 2.1 and 7 GB of disk in the folder given,
and as much memory as the last column says.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from harness import publish
from random_files import sd15, sdxl, write_ldm

LAYOUTS = {"SD 1.5": sd15, "SDXL": sdxl}
GB = 1e9


def render(path: Path, side: int, steps: int, threads: int) -> dict[str, object]:
    """Load a file and draw one picture, in this process. Seconds, and the largest memory in bytes."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    began = time.perf_counter()
    import torch

    from easel_worker.diffusion.checkpoint import load_checkpoint
    from easel_worker.generation.drawing import draw

    if threads:
        torch.set_num_threads(threads)
    imported = time.perf_counter()
    checkpoint = load_checkpoint(path, device=torch.device("cpu"), dtype=torch.bfloat16)
    loaded = time.perf_counter()
    after_load = _peak()
    pictures = draw(checkpoint, "a lighthouse in the evening", steps=steps, width=side, height=side)
    assert pictures.shape == (1, side, side, 3)
    return {
        "import_s": imported - began,
        "load_s": loaded - imported,
        "render_s": time.perf_counter() - loaded,
        "weights": checkpoint.nbytes,
        "rss_load": after_load,
        "rss": _peak(),
        "spread": float(pictures.std()),
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def check(name: str, args: argparse.Namespace) -> list[str]:
    """One model's row. The file is made if it is not there, and stays."""
    path = args.folder / f"{name.lower().replace(' ', '')}.safetensors"
    if not path.is_file():
        print(f"{name}: writing {path}", flush=True)
        unfinished = write_ldm(LAYOUTS[name](), path.with_suffix(".part"))
        unfinished.replace(path)
    argv = [sys.executable, __file__, str(args.folder), "--render", str(path)]
    argv += ["--side", str(args.side), "--steps", str(args.steps), "--threads", str(args.threads)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    size = path.stat().st_size
    return [
        name,
        f"{size / GB:.2f}",
        f"{found['load_s']:.1f}",
        f"{size / 1e6 / found['load_s']:.0f}",
        f"{found['render_s']:.1f}",
        f"{found['weights'] / GB:.2f}",
        f"{found['rss_load'] / GB:.2f}",
        f"{found['rss'] / GB:.2f}",
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, help="where the files are made; they stay there")
    options.add_argument("--models", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    options.add_argument("--side", type=int, default=256, help="pixels")
    options.add_argument("--steps", type=int, default=2)
    options.add_argument("--threads", type=int, default=0, help="torch threads; 0 is torch's own choice")
    options.add_argument("--render", type=Path, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.render is not None:
        print(json.dumps(render(args.render, args.side, args.steps, args.threads)))
        return
    rows = [
        [
            "", "file, GB", "load, s", "load, MB/s", "render, s", "weights, GB", "memory after load, GB",
            "largest memory, GB",
        ]
    ]  # fmt: skip
    rows += [check(name, args) for name in args.models]
    setting = (
        f"Random weights in fp16, loaded as bf16 on the CPU; one picture of {args.side}x{args.side},"
        f" {args.steps} steps, with guidance. The file may be in the page cache. Memory is the process's"
        " largest resident set: pages of the mapped file count in it while they are read."
    )
    limits = "It shows that and how these sizes load and render offline; no picture's quality, and no GPU."
    publish("full_size", "Full-size single files, loaded and rendered offline", rows, [setting, limits])


if __name__ == "__main__":
    main()
