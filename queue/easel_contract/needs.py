"""What a request needs, said so that equal needs are equal text: the queue only compares."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from easel_contract.requests import GenerationRequest

_NETWORK = re.compile(r"<(lora|lyco|hypernet):([^:>]+)", re.IGNORECASE)

_SAME = {"lyco": "lora"}

OPTION_NETWORKS: Mapping[str, str] = {"sd_lora": "lora", "sd_hypernetwork": "hypernet"}
"""Options that name a network for all prompts, and its kind; "None" is none."""

_OWN = {
    *("prompt", "negative_prompt", "styles", "seed", "subseed"),
    *("force_task_id", "send_images", "save_images", "do_not_save_samples", "do_not_save_grid", "comments"),
    "alwayson_scripts",
}
"""What requests that are rendered together may have each for itself."""

_OWN_OPTIONS = {"save_dir", "id_task", "uid", "presigned_url"}


@dataclass(frozen=True)
class Needs:
    """What `needs_of` finds."""

    models: tuple[str, ...]
    """The checkpoint with the networks of the prompt, then the checkpoint alone."""
    batch: str
    """Equal for requests that differ only in what each image of a batch may have for itself: prompt, seed.
    Empty for one that shares with none."""


def checkpoint_need(name: str | None) -> str:
    """The need of one checkpoint by its own name; None is the service's default one."""
    return f"checkpoint:{name or ''}"


def networks_need(request: GenerationRequest, options: Mapping[str, Any] | None = None) -> str:
    """What joins the need of a checkpoint where a request asks for networks, ControlNets too: their kinds and
    names as it spells them, sorted; empty for none."""
    found = {("controlnet", unit.model.casefold()) for unit in request.units if unit.model}
    if not request.disable_extra_networks:
        found |= {(kind.lower(), name.strip()) for kind, name in _NETWORK.findall(request.prompt)}
        for option, kind in OPTION_NETWORKS.items():
            name = str(request.override_settings.get(option, (options or {}).get(option, "None")))
            if name not in ("", "None"):
                found.add((kind, name))
    return " ".join(sorted(f"{_SAME.get(kind, kind)}:{name}" for kind, name in found))


def needs_of(
    request: GenerationRequest, canonical: Callable[[str], str], options: Mapping[str, Any] | None = None
) -> Needs:
    """The needs of a request. `canonical` turns a client's spelling of a checkpoint into its name; `options`
    are the service's that are set."""
    options = options or {}
    asked = request.checkpoint or options.get("sd_model_checkpoint")
    checkpoint = checkpoint_need(canonical(asked) if asked else None)
    networks = networks_need(request, options)
    models = (f"{checkpoint} {networks}", checkpoint) if networks else (checkpoint,)
    if request.img2img or request.script is not None or request.firstpass_image or request.units:
        # Pictures that come in would have to be equal too, and a script makes batches of its own.
        return Needs(models, "")
    if request.n_iter > 1:
        return Needs(models, "")  # a skip cuts one of its batches, which has to be its own
    shared = request.model_dump(exclude=_OWN, exclude_defaults=True)
    cloud = request.options.model_dump(exclude=_OWN_OPTIONS, exclude_defaults=True)
    text = json.dumps([models[0], shared, cloud, dict(options)], sort_keys=True, separators=(",", ":"))
    return Needs(models, hashlib.sha256(text.encode()).hexdigest()[:24])
