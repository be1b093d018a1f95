"""The workers' memory as ``/sdapi/v1/memory`` shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from easel_queue import Worker

NOBODY = {"error": "no worker lives"}
NO_GPU = {"error": "no worker has a CUDA device"}


def total_memory(workers: Iterable[Worker]) -> dict[str, Any]:
    """All workers' memory added up, bytes. What one host or one device has is counted once.

    `ram` and `cuda` have A1111's shape: `used` of `ram` is the workers' own. `workers` lists each by itself,
    with the `models` that it holds: kind, name, bytes, and whether on the device or in RAM.
    """
    own: list[dict[str, Any]] = []
    hosts: dict[str, int] = {}
    devices: dict[tuple[str, str], Mapping[str, int]] = {}
    used = 0
    cudas: list[Mapping[str, Any]] = []
    for worker in workers:
        host = str(worker.info.get("host", worker.id))
        memory = _mapping(worker.info.get("memory"))
        ram, cuda = _mapping(memory.get("ram")), _mapping(memory.get("cuda"))
        models = worker.info.get("models")
        own.append(
            {
                "worker": worker.id,
                "host": host,
                "ram": ram or NOBODY,
                "cuda": cuda or NO_GPU,
                "models": models if isinstance(models, list) else [],
            }
        )
        if ram:
            used += int(ram["used"])
            hosts[host] = int(ram["total"])
        if cuda:
            cudas.append(cuda)
            devices[host, str(cuda.get("device"))] = cuda["system"]
    total = sum(hosts.values())
    return {
        "ram": {"free": max(total - used, 0), "used": used, "total": total} if hosts else NOBODY,
        "cuda": _cuda(cudas, list(devices.values())) if cudas else NO_GPU,
        "workers": own,
    }


def _cuda(cudas: list[Mapping[str, Any]], systems: list[Mapping[str, int]]) -> dict[str, Any]:
    summed: dict[str, Any] = {"system": _sum(systems, ("free", "used", "total"))}
    for kind in ("active", "allocated", "reserved", "inactive"):
        summed[kind] = _sum([cuda[kind] for cuda in cudas], ("current", "peak"))
    summed["events"] = _sum([cuda["events"] for cuda in cudas], ("retries", "oom"))
    return summed


def _sum(parts: Iterable[Mapping[str, int]], names: Iterable[str]) -> dict[str, int]:
    parts = list(parts)
    return {name: sum(int(part.get(name, 0)) for part in parts) for name in names}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
