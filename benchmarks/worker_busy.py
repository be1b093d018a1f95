"""Does the torch thread ever wait? A backlog through a real worker, beside a bare diffusers loop.

Busy is the share of wall time that the torch thread spends in the handler while a backlog waits, from the
worker's own counters between two heartbeats. Images per second compares the whole service (HTTP, queue,
PNG, storage) with diffusers' pipeline doing nothing but rendering: same model, prompts, steps, size, threads;
rounds alternate, and while one side runs the other is idle.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from harness import Spread, publish
from service import running_easel

BARE = Path(__file__).with_name("bare_loop.py")


class Service:
    """Easel's side."""

    def __init__(self, address: str, steps: int, side: int) -> None:
        self._http = httpx.Client(base_url=address, timeout=300)
        self._body = {
            "steps": steps,
            "width": side,
            "height": side,
            "sampler_name": "Euler",
            "cfg_scale": 7.0,
        }

    def counters(self, after_s: float = -1.0) -> tuple[float, float]:
        """The worker's busy and up seconds from a heartbeat later than `after_s` up seconds."""
        while True:
            (worker,) = self._http.get("/easel/v1/workers").json()
            info: dict[str, Any] = worker["info"]
            if info["up_s"] > after_s:
                return info["busy_s"], info["up_s"]
            time.sleep(0.05)

    def run(self, work: list[tuple[str, int]]) -> tuple[float, float]:
        """Images per second, and the busy share while the backlog lasted."""
        begin = time.perf_counter()
        for prompt, seed in work:
            options = {"save_dir": "outputs"}
            body = {**self._body, "prompt": prompt, "seed": seed, "alwayson_scripts": options}
            self._http.post("/sdapi/v1/txt2img?bench=1", json=body).raise_for_status()
        first_busy, first_up = self.counters(self.counters()[1])
        busy, up, left = first_busy, first_up, len(work)
        while left:
            params = {"_length_": str(left), "_timeout_": "1s", "_raw_": "false"}
            response = self._http.get("/api/predict/easel/sink", params=params)
            items = response.json() if response.status_code == 200 else []
            assert all("lastCode" not in item["tags"] for item in items), items
            left -= len(items)
            if left > 2:  # a heartbeat inside the backlog
                busy, up = self.counters()
        took = time.perf_counter() - begin
        return len(work) / took, (busy - first_busy) / (up - first_up)


class BareLoop:
    """diffusers' side, in a process of its own that stays loaded."""

    def __init__(self, model: Path, steps: int, side: int, threads: int) -> None:
        argv = [sys.executable, str(BARE), str(model), str(steps), str(side), str(threads)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say()

    def _say(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def run(self, work: list[tuple[str, int]]) -> float:
        assert self._process.stdin
        print(json.dumps(work), file=self._process.stdin, flush=True)
        return len(work) / float(self._say())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tasks", type=int, default=40, help="images per round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--side", type=int, default=256)
    options.add_argument("--threads", type=int, default=1, help="torch threads, for both sides")
    args = options.parse_args()

    ours, busy, bare, ratios = [], [], [], []
    env = {"EASEL_TORCH_THREADS": str(args.threads), "EASEL_HEARTBEAT_S": "0.2"}
    with running_easel(**env) as (address, data_dir):
        (model,) = (data_dir / "models" / "Stable-diffusion").glob("*/model_index.json")
        service = Service(address, args.steps, args.side)
        loop = BareLoop(model.parent, args.steps, args.side, args.threads)
        try:
            for number in range(args.rounds + 1):
                work = [(f"picture {n} of round {number}", n) for n in range(args.tasks)]
                rate, share = service.run(work)
                plain = loop.run(work)
                if number:  # round 0 warms up
                    ours.append(rate)
                    busy.append(share)
                    bare.append(plain)
                    ratios.append(rate / plain)
        finally:
            loop.close()

    rows = [
        ["", "median (minimum to maximum)"],
        ["share of wall time the torch thread renders", Spread.of(busy).show(4)],
        ["Easel, images per second", Spread.of(ours).show()],
        ["bare diffusers loop, images per second", Spread.of(bare).show()],
        ["Easel / bare loop", Spread.of(ratios).show(3)],
    ]
    setting = (
        f"{args.rounds} alternating rounds of {args.tasks} images, {args.side}x{args.side}, {args.steps} "
        f"steps of Euler, CFG 7, batch 1, fp32, {args.threads} torch thread(s); the small model with random "
        "weights."
    )
    limits = (
        "It does not show a GPU, or a large model, where rendering takes longer and everything around it the "
        "same. The image rate counts from the first POST to the last result read."
    )
    publish("worker_busy", "A backlog through one worker", rows, [setting, limits])


if __name__ == "__main__":
    main()
