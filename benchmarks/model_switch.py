"""How long models take to come and go: first load, switch, LoRA, ControlNet, beside diffusers.

All sides read the same single file: SD 1.5's architecture of middle size, random weights in fp16, made for
the run; models run in fp32, as on a CPU. Each side is a process of its own that stays loaded for a row, and
they take turns. A load ends when every page of the weights was read once, because views of a mapped file cost
nothing until then.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from harness import Spread, publish
from random_files import Layout, sd15, write_config, write_control, write_ldm, write_lora
from sides import Side

SIDE = Path(__file__).with_name("model_switch_side.py")
MB = 1e6
JOBS: dict[str, dict[str, Any]] = {
    "switch to a checkpoint used before": {"do": "switch", "times": 100},
    "LoRA on and off, file not read before": {"do": "lora", "again": False},
    "LoRA on and off again": {"do": "lora", "again": True},
    "ControlNet beside the model, file not read before": {"do": "control", "again": False},
    "ControlNet beside the model again": {"do": "control", "again": True},
}
"""Row: what both sides are asked to do, in time."""
NAMES = ("easel", "diffusers", "safetensors")


def forget(path: Path) -> None:
    """Have the kernel drop what it keeps of a file in memory, as after a restart of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


class Bench:
    """The sides, and what they found."""

    def __init__(self, home: Path, layout: Layout, args: argparse.Namespace) -> None:
        self.rounds: int = args.rounds
        self.files = [write_ldm(layout, home / f"{name}.safetensors", seed=i) for i, name in enumerate("ab")]
        self.config = write_config(layout, home / "config")
        self.lora = write_lora(layout, home / "style.safetensors")
        self.control = write_control(layout, home / "control")
        self.threads: int = args.threads
        self.sides: dict[str, Side] = {}

    def ask(self, side: str, **job: Any) -> float:
        answer = self.sides[side].ask(config=str(self.config), **job)
        return float(answer["s"])

    def rows(self) -> Iterator[list[str]]:
        """One row after the other, each with sides of its own: how soon memory is had again depends on what a
        process did before."""
        yield self._with_sides(lambda: self.load(cold=True))
        yield self._with_sides(lambda: self.load(cold=False))
        for what, job in JOBS.items():
            yield self._with_sides(partial(self.times, what, **job))

    def _with_sides(self, measure: Callable[[], list[str]]) -> list[str]:
        self.sides = {name: Side.start(SIDE, name, str(self.threads)) for name in NAMES}
        try:
            return measure()
        finally:
            for side in self.sides.values():
                side.stop()

    def load(self, *, cold: bool) -> list[str]:
        """Loading one file, in MB of it per second."""
        path = self.files[0]
        size = path.stat().st_size / MB
        found: dict[str, list[float]] = {name: [] for name in NAMES}
        for number in range(self.rounds + 1):
            for name, values in found.items():
                if cold:
                    forget(path)
                seconds = self.ask(name, do="load", path=str(path))
                if number:  # round 0 warms the libraries up
                    values.append(size / seconds)
        what = "first load, file not in the page cache" if cold else "load again, file in the page cache"
        return [what, *_cells(found, "MB/s"), _against(found["easel"], found["diffusers"])]

    def times(self, what: str, **job: Any) -> list[str]:
        """A job that both sides do, in milliseconds."""
        job |= {"paths": [str(path) for path in self.files]}
        job |= {"lora": str(self.lora), "control": str(self.control)}
        found: dict[str, list[float]] = {"easel": [], "diffusers": []}
        for number in range(self.rounds + 1):
            for name, values in found.items():
                seconds = self.ask(name, **job)
                if number:
                    values.append(seconds * 1e3)
        ratios = [theirs / ours for ours, theirs in zip(found["easel"], found["diffusers"], strict=True)]
        cells = [f"{Spread.of(values).show(2)} ms" for values in found.values()]
        return [what, *cells, "", Spread.of(ratios).show(1)]


def _cells(found: dict[str, list[float]], unit: str) -> list[str]:
    return [f"{Spread.of(found[name]).show(0)} {unit}" for name in NAMES]


def _against(ours: list[float], theirs: list[float]) -> str:
    return Spread.of([one / other for one, other in zip(ours, theirs, strict=True)]).show()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--width", type=int, default=96, help="of the UNet; SD 1.5 has 320")
    options.add_argument("--threads", type=int, default=2, help="torch threads, for all sides")
    args = options.parse_args()
    layout = sd15(width=args.width, context=256, layers=6, vae_width=32)
    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder:
        bench = Bench(Path(folder), layout, args)
        size = bench.files[0].stat().st_size / MB
        rows = [["", "Easel", "diffusers", "safetensors alone", "Easel faster by"]]
        for row in bench.rows():
            rows.append(row)
            print(" | ".join(row), flush=True)
    setting = (
        f"{args.rounds} alternating rounds after one to warm up, a file of {size:.0f} MB in fp16, models in"
        f" fp32, {args.threads} torch threads. diffusers: `from_single_file` with a local configuration; it"
        " keeps no models, so its switch is a load. The LoRA is of rank 16 for all matrices of the attention"
        " blocks: `load_lora_weights` and `unload_lora_weights` with peft, again: `enable_lora` and"
        " `disable_lora`; peft puts its matrices beside the base's, which every step then pays for, Easel"
        " merges them once. The ControlNet is a diffusers folder in fp16. safetensors alone maps the file and"
        " reads every page, without a change of number format."
    )
    limits = (
        "It does not show a GPU: there a switch moves the weights from RAM to the device, and a first load is"
        " bound by the disk and the bus."
    )
    publish("model_switch", "Models coming and going, beside diffusers", rows, [setting, limits])


if __name__ == "__main__":
    main()
