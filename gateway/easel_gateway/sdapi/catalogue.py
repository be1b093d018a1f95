"""``GET /sdapi/v1/sd-models``: the checkpoints that a request may name."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from easel_contract.checkpoints import Library, ModelFile
from easel_gateway.gateway import gateway_of

HASH_AT_MOST = 256 * 1024 * 1024
"""Bytes of weights that are read for a listing; larger checkpoints are listed without their hash."""

router = APIRouter(tags=["A1111"])


class CheckpointItem(BaseModel):
    """One checkpoint, as A1111 lists it.

    `title` is the file's or the folder's name, followed by ``[hash]`` where that is known, and one of the
    names that `override_settings.sd_model_checkpoint` takes. `hash` and `sha256` are of the file, of a
    diffusers folder's UNet.
    """

    model_config = ConfigDict(protected_namespaces=())  # A1111's field has pydantic's prefix

    title: str
    model_name: str
    hash: str | None
    sha256: str | None
    filename: str
    config: str | None = None


@router.get("/sdapi/v1/sd-models")
async def sd_models(request: Request) -> list[CheckpointItem]:
    """The checkpoints in the model directory, sorted by name; one that was copied in a moment ago too."""
    # In a thread: the first call reads weights for their hashes.
    return await asyncio.to_thread(list_checkpoints, gateway_of(request).library)


def list_checkpoints(library: Library) -> list[CheckpointItem]:
    """The library's checkpoints. Reads files."""
    items = []
    for model in library.models():
        digest = library.sha256(model, at_most=HASH_AT_MOST)
        items.append(
            CheckpointItem(
                title=title_of(library, model),
                model_name=model.name.replace("/", "_"),
                hash=digest[:10] or None,
                sha256=digest or None,
                filename=str(model.path.absolute()),
            )
        )
    return items


def title_of(library: Library, model: ModelFile) -> str:
    """A checkpoint's file or folder, followed by ``[hash]`` where that is known. May read its weights."""
    digest = library.sha256(model, at_most=HASH_AT_MOST)
    return f"{model.title} [{digest[:10]}]" if digest else model.title
