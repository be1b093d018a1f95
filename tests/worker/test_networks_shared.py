"""The handlers of one worker share the networks that they load."""

from __future__ import annotations

import gc
from pathlib import Path

from prometheus_client import CollectorRegistry

from easel_worker.handlers.networks import shared_networks
from easel_worker.handlers.registry import load_handlers
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats

from .upscaling.networks import save_rrdb


def test_a_file_is_loaded_once_for_all_handlers_of_a_worker(tmp_path: Path) -> None:
    save_rrdb(tmp_path / "models/ESRGAN/2x_net.safetensors", scale=2)
    settings = WorkerSettings(data_dir=tmp_path, device="cpu")
    registry = load_handlers(settings.handlers, settings, Stats(CollectorRegistry()))
    held = [networks for handler in registry if (networks := getattr(handler, "_networks", None))]
    assert len(held) == 4, "generation, extras, interrogate, detect"
    loaded = [networks.upscalers.get("2x_net", field="upscaler")._network for networks in held]
    assert all(network is loaded[0] for network in loaded)
    (kept,) = held[0].cache.held()
    assert (kept.kind, kept.name) == ("upscaler", "2x_net")
    assert kept.nbytes == sum(weight.nbytes for weight in loaded[0]._descriptor.model.parameters())

    held[0].free_memory()
    assert held[1].upscalers.get("2x_net", field="upscaler")._network is not loaded[0]


def test_another_worker_has_its_own(tmp_path: Path) -> None:
    one, other = WorkerSettings(data_dir=tmp_path), WorkerSettings(data_dir=tmp_path)
    kept = shared_networks(one)
    assert shared_networks(one) is kept
    assert shared_networks(other) is not kept
    del kept, one
    gc.collect()
    assert shared_networks(other)._settings is other
