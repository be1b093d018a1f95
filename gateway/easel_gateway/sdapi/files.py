"""Lists of ``/sdapi/v1`` that come from the data directory. All read files, so all run in threads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from easel_contract.model_files import SUFFIX, WeightsFile, embedding_size, lora_alias, lora_metadata
from easel_contract.text_width import text_width
from easel_contract.upscalers import KNOWN, RESTORERS, list_upscalers
from easel_gateway.edge.schema import answers
from easel_gateway.gateway import Gateway, gateway_of

REALESRGAN = "RealESRGAN/"
"""Folder of the upscalers that A1111 lists a second time, by themselves."""

router = APIRouter(tags=["A1111"])


class _Item(BaseModel):
    model_config = ConfigDict(protected_namespaces=())  # A1111's names have pydantic's prefix


class UpscalerItem(_Item):
    """One upscaler; a path only where it has a file."""

    name: str
    model_name: str | None
    model_path: str | None
    model_url: None = None
    scale: float


class VaeItem(_Item):
    """One VAE; `model_name` is what the option `sd_vae` takes."""

    model_name: str
    filename: str


class HypernetworkItem(_Item):
    """One hypernetwork."""

    name: str
    path: str | None


class RestorerItem(_Item):
    """One face restorer, and the folder of its weights."""

    name: str
    cmd_dir: str | None


class RealesrganItem(_Item):
    """One Real-ESRGAN model; without a path its file is missing."""

    name: str
    path: str | None
    scale: int | None


class StyleItem(_Item):
    """One style of styles.csv."""

    name: str
    prompt: str | None
    negative_prompt: str | None


class EmbeddingItem(_Item):
    """One embedding: the width and number of its vectors; 0 where the file holds none, or is a pickle, which
    workers alone open."""

    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    shape: int
    vectors: int


class Embeddings(_Item):
    """Embeddings by name. Those in `skipped` are for another kind of checkpoint than the current one, hold no
    vectors, or are pickles where those are not allowed."""

    loaded: dict[str, EmbeddingItem]
    skipped: dict[str, EmbeddingItem]


@router.get("/sdapi/v1/upscalers")
def upscalers(request: Request) -> list[UpscalerItem]:
    """The upscalers that can be used: the built-in ones, and one for each file below models/."""
    return [
        UpscalerItem(
            name=item.name,
            model_name=item.path.stem if item.path else None,
            model_path=str(item.path.absolute()) if item.path else None,
            scale=item.scale,
        )
        for item in list_upscalers(gateway_of(request).settings.data_dir / "models")
    ]


@router.get("/sdapi/v1/realesrgan-models")
def realesrgan_models(request: Request) -> list[RealesrganItem]:
    """A1111's Real-ESRGAN models. Nothing is fetched: the path is null until the file is put there."""
    models = gateway_of(request).settings.data_dir / "models"
    there = {item.name: item for item in list_upscalers(models)}
    items = []
    for name, stem in KNOWN.items():
        if stem.startswith(REALESRGAN):
            found = there.get(name)
            path = str(found.path.absolute()) if found and found.path else None
            items.append(RealesrganItem(name=name, path=path, scale=found.scale if found else None))
    return items


@router.get("/sdapi/v1/sd-vae")
def sd_vae(request: Request) -> list[VaeItem]:
    """The VAEs in models/VAE, and those that lie beside a checkpoint."""
    files = gateway_of(request).files.vaes.files()
    return [VaeItem(model_name=item.name, filename=str(item.path.absolute())) for item in files]


@router.get("/sdapi/v1/hypernetworks")
def hypernetworks(request: Request) -> list[HypernetworkItem]:
    """The hypernetworks in models/hypernetworks. Workers take ``.pt`` where EASEL_ALLOW_PICKLE is set."""
    files = gateway_of(request).files.hypernetworks.files()
    return [HypernetworkItem(name=item.name, path=str(item.path.absolute())) for item in files]


@router.get("/sdapi/v1/face-restorers")
async def face_restorers(request: Request) -> list[RestorerItem]:
    """The names that `face_restoration_model` takes; each needs its file in the folder named."""
    models = gateway_of(request).settings.data_dir / "models"
    return [
        RestorerItem(name=name, cmd_dir=str((models / stem).parent.absolute()))
        for name, stem in RESTORERS.items()
    ]


@router.get("/sdapi/v1/prompt-styles")
def prompt_styles(request: Request) -> list[StyleItem]:
    """The styles of styles.csv in the data directory."""
    found = gateway_of(request).files.styles.styles().values()
    return [
        StyleItem(name=item.name, prompt=item.prompt, negative_prompt=item.negative_prompt) for item in found
    ]


@router.get("/sdapi/v1/embeddings")
def embeddings(request: Request) -> Embeddings:
    """The textual inversions in embeddings/, by whether requests that name no checkpoint can use them."""
    gateway = gateway_of(request)
    width = _text_width(gateway)
    found = Embeddings(loaded={}, skipped={})
    for item in gateway.files.embeddings.files():
        pickled = item.path.suffix.lower() != SUFFIX
        size = embedding_size(item.header) if item.header else None
        fits = gateway.settings.allow_pickle if pickled else size is not None and width in (None, size[0])
        shape, vectors = size or (0, 0)
        (found.loaded if fits else found.skipped)[item.name] = EmbeddingItem(shape=shape, vectors=vectors)
    return found


def _text_width(gateway: Gateway) -> int | None:
    """Of the checkpoint that requests get which name none; None where there is none, or nothing tells."""
    library = gateway.library
    models = {model.name: model for model in library.models()}
    if not models:
        return None
    name = gateway.options.current.get("sd_model_checkpoint")
    asked = str(name or library.default(gateway.settings.default_checkpoint))
    model = models.get(library.canonical(asked))
    return text_width(model) if model else None


_LORAS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("name", "alias", "path")}
        | {"metadata": {"type": "object"}, "hash": {"type": ["string", "null"]}},
        "required": ["name", "alias", "path", "metadata"],
    },
}


@router.get("/sdapi/v1/loras", response_class=Response, responses=answers({"application/json": _LORAS}))
async def loras(request: Request) -> Response:
    """The LoRAs in models/Lora, then those in models/LyCORIS: a prompt names them by `name` or `alias`."""
    body = await asyncio.to_thread(_lora_list, gateway_of(request))
    return Response(body, media_type="application/json")


def _lora_list(gateway: Gateway) -> bytes:
    # Made here, in a thread: the metadata of a folder full of LoRAs may be megabytes.
    files = gateway.files.networks.listed("lora")
    return json.dumps([_lora(item, gateway) for item in files], ensure_ascii=False).encode("utf-8", "replace")


def _lora(file: WeightsFile, gateway: Gateway) -> dict[str, Any]:
    return {
        "name": file.name,
        "alias": lora_alias(file),
        "path": str(file.path.absolute()),
        "metadata": lora_metadata(file),
        # As infotexts have it, once a task has named the file: a list must not read gigabytes.
        "hash": gateway.files.networks.known_hash(file.path) or None,
    }


@router.post("/sdapi/v1/refresh-checkpoints")
@router.post("/sdapi/v1/refresh-vae")
@router.post("/sdapi/v1/refresh-embeddings")
@router.post("/sdapi/v1/refresh-loras")
async def refresh() -> None:
    """Nothing to be done: every list and every task looks at the files that are there."""
