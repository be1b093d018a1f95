"""``/sdapi/v1/options``: A1111's options, shared by all gateways and workers of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from easel_contract.checkpoints import ModelFile
from easel_contract.errors import ContractError
from easel_contract.options import COMPUTED, OPTIONS, check_options, defaults
from easel_contract.requests import read_object
from easel_contract.savedir import resolve_save_dir
from easel_contract.upscalers import find_upscaler
from easel_contract.vae_files import AUTOMATIC, NONE
from easel_gateway.edge.body import read_body
from easel_gateway.edge.schema import answers
from easel_gateway.errors import RETRY_AFTER_S, ApiError
from easel_gateway.gateway import Gateway, gateway_of
from easel_gateway.sdapi.catalogue import HASH_AT_MOST, title_of

MAX_BODY_BYTES = 1024 * 1024
"""All options at their longest are less."""

MAX_TRIES = 20
"""Others' changes that one change may meet."""

CHECKPOINT = "sd_model_checkpoint"

FOLDERS = frozenset(key for key in OPTIONS if key.startswith("outdir_"))
"""Options that name a folder of the storage."""

router = APIRouter(tags=["A1111"])
_OBJECT = {"type": "object", "description": "Option by option; docs/options.md lists them."}


@router.get("/sdapi/v1/options", response_model=None, responses=answers({"application/json": _OBJECT}))
async def get_options(request: Request) -> dict[str, Any]:
    """All options with their values. `sd_model_checkpoint` is the title of the checkpoint that requests
    which name none are rendered with."""
    gateway = gateway_of(request)
    stored = await gateway.queue.run(gateway.queue.options.read())
    return await asyncio.to_thread(_shown, gateway, stored.values)


@router.post(
    "/sdapi/v1/options",
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": _OBJECT}}}},
    responses=answers({"application/json": {"type": "null"}}, 408, 413, 422, 503),
)
async def set_options(request: Request) -> None:
    """Set any part of the options: all of what is sent, or nothing. Null is an option's default.
    A service that is not strict passes unknown ones over.

    Tasks that are accepted from now on, by any gateway, render with them; those before do not."""
    gateway = gateway_of(request)
    given = read_object(await read_body(request, MAX_BODY_BYTES, setting=""))
    for _ in range(MAX_TRIES):
        old = await gateway.queue.run(gateway.queue.options.read())
        shown = await asyncio.to_thread(_shown, gateway, old.values)
        # What repeats an answer changes nothing: clients read all options, change one and send all.
        news = {key: value for key, value in given.items() if key not in shown or value != shown[key]}
        changes = check_options(news, field="", strict=gateway.settings.strict).values
        await asyncio.to_thread(_check_names, gateway, changes)
        merged = {**old.values, **changes}
        values = {key: value for key, value in merged.items() if value != OPTIONS[key].default}
        if values == old.values or await gateway.queue.run(gateway.queue.options.replace(old, values)):
            gateway.options.current = values
            return
    retry = {"Retry-After": str(RETRY_AFTER_S)}
    raise ApiError(503, "Others change the options all the time; nothing was set.", headers=retry)


def _shown(gateway: Gateway, stored: Mapping[str, Any]) -> dict[str, Any]:
    """All options as clients read them. Reads files."""
    rules = gateway.settings.image_rules()
    shown = defaults() | {
        **{key: value for key, value in stored.items() if key in OPTIONS},
        "api_enable_requests": rules.urls,
        "api_forbid_local_requests": not rules.local_hosts,
        "api_useragent": rules.user_agent,
        "control_net_unit_count": gateway.settings.controlnet_units,
    }
    model = _checkpoint(gateway, shown[CHECKPOINT])
    if model is not None:
        shown[CHECKPOINT] = title_of(gateway.library, model)
        shown[COMPUTED] = gateway.library.sha256(model, at_most=HASH_AT_MOST)
    return shown


def _checkpoint(gateway: Gateway, name: str | None) -> ModelFile | None:
    try:
        return gateway.library.resolve(name or gateway.library.default(gateway.settings.default_checkpoint))
    except ContractError:
        return None  # it was removed, or there is none at all: tasks say so


def _check_names(gateway: Gateway, changes: dict[str, Any]) -> None:
    """Refuse names of files that are not there and folders outside the storage; put a checkpoint's own name
    in the place of the client's spelling. Reads files."""
    if changes.get(CHECKPOINT):
        changes[CHECKPOINT] = gateway.library.resolve(changes[CHECKPOINT]).name
    vae = changes.get("sd_vae")
    if vae is not None and vae not in (AUTOMATIC, NONE):
        changes["sd_vae"] = gateway.files.vaes.resolve(vae).name
    for key in FOLDERS & changes.keys():
        if changes[key]:
            resolve_save_dir(changes[key], gateway.settings.mount_paths, field=key)
    upscaler = changes.get("upscaler_for_img2img")
    if upscaler is not None:
        models = gateway.settings.data_dir / "models"
        found = find_upscaler(models, upscaler, field="upscaler_for_img2img")
        changes["upscaler_for_img2img"] = found.name
