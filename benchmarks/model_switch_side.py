"""One side of the model comparison: Easel, diffusers or safetensors alone, in a process of its own.

Reads one JSON job per line from stdin and answers each with {"s": seconds, "rss": the process's largest
memory so far, in bytes}. Jobs are {"do": "load", "path", "config"} (from the file to weights in memory, in
the side's number format, every page of them read) and {"do": "switch", "paths", "times"} (from one model to
another that was used before; the seconds of one switch), {"do": "put_on", "path", "config", "lora"} (from a
LoRA's file to a model that draws with it), {"do": "put_on_again", …} (the same set once more) and {"do":
"take_off", …}.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

PAGE = 4096
Answer = dict[str, float]
Job = dict[str, Any]
Do = Callable[[Job], float]
"""Does a job and answers how many seconds it took."""


def touch(tensors: Iterable[torch.Tensor]) -> None:
    """Read a byte of every page: a library may hand out views of a file that nobody has read yet."""
    for tensor in tensors:
        start = tensor.storage_offset() * tensor.itemsize
        raw = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
        raw[start : start + tensor.nbytes : PAGE].sum()


def weights_of(modules: Iterable[Any]) -> list[torch.Tensor]:
    return [tensor for module in modules for tensor in module.state_dict().values()]


def easel() -> dict[str, Do]:
    from easel_contract.checkpoint_files import ModelFile
    from easel_worker.diffusion.checkpoint import load_checkpoint
    from easel_worker.diffusion.extra_networks import ExtraNetworks, NetworkUse
    from easel_worker.models.budget import Fixed
    from easel_worker.models.cache import ModelCache
    from easel_worker.models.loader import ModelLoader

    cpu = torch.device("cpu")
    room = Fixed(10**12)
    cache = ModelCache(cpu, on_device=room, in_ram=room, free=gc.collect)
    loader = ModelLoader(cache, device=cpu, dtype=torch.float32)

    def load(job: Job) -> float:
        began = time.perf_counter()
        checkpoint = load_checkpoint(Path(job["path"]), device=cpu, dtype=torch.float32)
        touch(weights_of(checkpoint.modules))
        return time.perf_counter() - began

    def switch(job: Job) -> float:
        models = [ModelFile(Path(path).stem, Path(path), (0, 0), path) for path in job["paths"]]
        for model in models:
            loader.checkpoint(model)
        began = time.perf_counter()
        for _ in range(job["times"]):
            for model in models:
                loader.checkpoint(model)
        return (time.perf_counter() - began) / job["times"] / len(models)

    def worn(job: Job) -> tuple[Any, ExtraNetworks, list[NetworkUse]]:
        path, lora = Path(job["path"]), Path(job["lora"])
        checkpoint = loader.checkpoint(ModelFile(path.stem, path, (0, 0), path.name))
        return checkpoint, ExtraNetworks(), [NetworkUse("lora", lora.stem, lora, 0.8, 0.8)]

    def put_on(job: Job) -> float:
        checkpoint, networks, uses = worn(job)
        checkpoint.adapters.drop()
        began = time.perf_counter()
        networks.attach(checkpoint, uses)
        seconds = time.perf_counter() - began
        networks.detach()
        return seconds

    def put_on_again(job: Job) -> float:
        checkpoint, networks, uses = worn(job)
        networks.attach(checkpoint, uses)
        networks.detach()
        began = time.perf_counter()
        networks.attach(checkpoint, uses)
        seconds = time.perf_counter() - began
        networks.detach()
        return seconds

    def take_off(job: Job) -> float:
        checkpoint, networks, uses = worn(job)
        networks.attach(checkpoint, uses)
        began = time.perf_counter()
        networks.detach()
        return time.perf_counter() - began

    return {
        "load": load,
        "switch": switch,
        "put_on": put_on,
        "put_on_again": put_on_again,
        "take_off": take_off,
    }


def diffusers() -> dict[str, Do]:
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()

    def pipeline(path: str, config: str) -> Any:
        return StableDiffusionPipeline.from_single_file(
            path, config=config, local_files_only=True, torch_dtype=torch.float32, safety_checker=None
        )

    def load(job: Job) -> float:
        began = time.perf_counter()
        loaded = pipeline(job["path"], job["config"])
        touch(weights_of((loaded.unet, loaded.vae, loaded.text_encoder)))
        return time.perf_counter() - began

    def switch(job: Job) -> float:
        return load({"path": job["paths"][0], "config": job["config"]})

    kept: list[Any] = []

    def wearing(job: Job) -> tuple[Any, float]:
        if not kept:
            kept.append(pipeline(job["path"], job["config"]))
        began = time.perf_counter()
        kept[0].load_lora_weights(job["lora"], adapter_name="one")
        kept[0].set_adapters(["one"], [0.8])
        return kept[0], time.perf_counter() - began

    def put_on(job: Job) -> float:
        loaded, seconds = wearing(job)
        loaded.unload_lora_weights()
        return seconds

    def put_on_again(job: Job) -> float:
        loaded, _ = wearing(job)
        loaded.disable_lora()
        began = time.perf_counter()
        loaded.enable_lora()
        seconds = time.perf_counter() - began
        loaded.unload_lora_weights()
        return seconds

    def take_off(job: Job) -> float:
        loaded, _ = wearing(job)
        began = time.perf_counter()
        loaded.unload_lora_weights()
        return time.perf_counter() - began

    return {
        "load": load,
        "switch": switch,
        "put_on": put_on,
        "put_on_again": put_on_again,
        "take_off": take_off,
    }


def safetensors() -> dict[str, Do]:
    from safetensors.torch import load_file

    def load(job: Job) -> float:
        began = time.perf_counter()
        touch(load_file(job["path"]).values())
        return time.perf_counter() - began

    return {"load": load}


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    side, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    works = {"easel": easel, "diffusers": diffusers, "safetensors": safetensors}[side]()
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        gc.collect()  # what the job before left
        seconds = works[job["do"]](job)
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"s": seconds, "rss": rss}), flush=True)


if __name__ == "__main__":
    main()
