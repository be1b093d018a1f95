"""One side of the model comparison: Easel, diffusers or safetensors alone, in a process of its own.

Reads one JSON job per line from stdin and answers each with {"s": seconds, "rss": the process's largest
memory so far, in bytes}. Jobs are {"do": "load", "path", "config"} (from the file to weights in memory, in
the side's number format, every page of them read) and {"do": "switch", "paths", "times"} (from one model to
another that was used before; the seconds of one switch); {"do": "lora"} (put one on and take it off) and
{"do": "control"} (have a ControlNet ready beside the model), each with "again": whether its file was used
before.
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
    from easel_worker.diffusion.checkpoint import load_checkpoint
    from easel_worker.diffusion.control import load_control
    from easel_worker.diffusion.extra_networks import ExtraNetworks, NetworkUse
    from easel_worker.models.budget import Fixed
    from easel_worker.models.cache import Key, ModelCache
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
        models = [_model(path) for path in job["paths"]]
        for model in models:
            loader.checkpoint(model)
        began = time.perf_counter()
        for _ in range(job["times"]):
            for model in models:
                loader.checkpoint(model)
        return (time.perf_counter() - began) / job["times"] / len(models)

    networks = ExtraNetworks()

    def lora(job: Job) -> float:
        checkpoint = loader.checkpoint(_model(job["paths"][0]))
        uses = [NetworkUse("lora", "style", Path(job["lora"]))]
        if job["again"]:
            networks.attach(checkpoint, uses)
            networks.detach()
        else:
            networks.forget()
        began = time.perf_counter()
        networks.attach(checkpoint, uses)
        networks.detach()
        return time.perf_counter() - began

    def control(job: Job) -> float:
        checkpoint = loader.checkpoint(_model(job["paths"][0]))
        path = Path(job["control"])

        def load_it() -> Any:
            return load_control(path, device=cpu, dtype=torch.float32)

        if job["again"]:
            key = Key("controlnet", path.name, path)
            cache.get(key, load_it, expected=lambda: 0).attach(checkpoint.unet)
            began = time.perf_counter()
            cache.get(key, load_it, expected=lambda: 0).attach(checkpoint.unet)
            return time.perf_counter() - began
        began = time.perf_counter()
        touch(weights_of([load_it().attach(checkpoint.unet).module]))
        return time.perf_counter() - began

    return {"load": load, "switch": switch, "lora": lora, "control": control}


def _model(path: str) -> Any:
    from easel_contract.checkpoint_files import ModelFile

    return ModelFile(Path(path).stem, Path(path), (0, 0), path)


def diffusers() -> dict[str, Do]:
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
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

    kept: dict[str, Any] = {}

    def held(job: Job) -> Any:
        if "pipeline" not in kept:
            kept["pipeline"] = pipeline(job["paths"][0], job["config"])
        return kept["pipeline"]

    def lora(job: Job) -> float:
        pipe = held(job)
        if job["again"]:
            pipe.load_lora_weights(job["lora"], adapter_name="style")
            pipe.disable_lora()
            began = time.perf_counter()
            pipe.enable_lora()
            pipe.disable_lora()
            seconds = time.perf_counter() - began
            pipe.unload_lora_weights()
            return seconds
        began = time.perf_counter()
        pipe.load_lora_weights(job["lora"])
        pipe.unload_lora_weights()
        return time.perf_counter() - began

    def control(job: Job) -> float:
        pipe = held(job)
        if not job["again"]:
            kept.pop("net", None)
        elif "net" not in kept:
            kept["net"] = ControlNetModel.from_pretrained(job["control"], torch_dtype=torch.float32)
        began = time.perf_counter()
        net = kept.get("net") or ControlNetModel.from_pretrained(job["control"], torch_dtype=torch.float32)
        made = StableDiffusionControlNetPipeline(
            **pipe.components, controlnet=net, requires_safety_checker=False
        )
        if not job["again"]:
            touch(weights_of([made.controlnet]))
        return time.perf_counter() - began

    return {"load": load, "switch": switch, "lora": lora, "control": control}


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
