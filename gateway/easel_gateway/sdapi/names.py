"""Lists of ``/sdapi/v1`` that come with the program: samplers, schedulers, latent modes, scripts."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from easel_contract.options import RenderOptions
from easel_contract.samplers import SAMPLERS, SCHEDULERS
from easel_contract.upscalers import list_upscalers
from easel_gateway.gateway import gateway_of
from easel_gateway.sdapi.scripts import ScriptInfo, script_infos, script_titles

LATENT_MODES = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
)
"""A1111's names for enlarging a latent, in its order."""

router = APIRouter(tags=["A1111"])


class SamplerItem(BaseModel):
    """One sampler. The values of `options` are texts, as A1111 has them."""

    name: str
    aliases: list[str]
    options: dict[str, str]


class SchedulerItem(BaseModel):
    """One noise schedule; `default_rho` is -1 where it has none."""

    name: str
    label: str
    aliases: list[str] | None
    default_rho: float
    need_inner_model: bool


class NameItem(BaseModel):
    """A name."""

    name: str


@router.get("/sdapi/v1/samplers")
async def samplers(request: Request) -> list[SamplerItem]:
    """The samplers that `sampler_name` takes, without those that the option `hide_samplers` names."""
    hidden = RenderOptions.model_validate(gateway_of(request).options.current).hide_samplers
    return [
        SamplerItem(name=item.name, aliases=list(item.aliases), options=item.options)
        for item in SAMPLERS
        if item.name not in hidden
    ]


@router.get("/sdapi/v1/schedulers")
async def schedulers() -> list[SchedulerItem]:
    """The noise schedules that `scheduler` takes."""
    return [
        SchedulerItem(
            name=item.name,
            label=item.label,
            aliases=list(item.aliases) or None,
            default_rho=item.default_rho,
            need_inner_model=item.need_inner_model,
        )
        for item in SCHEDULERS
    ]


@router.get("/sdapi/v1/latent-upscale-modes")
async def latent_upscale_modes() -> list[NameItem]:
    """The names of `hr_upscaler` that enlarge the latent instead of the picture."""
    return [NameItem(name=name) for name in LATENT_MODES]


@router.get("/sdapi/v1/scripts")
async def scripts() -> dict[str, list[str]]:
    """Titles of the scripts for txt2img and img2img, in lower case."""
    return {"txt2img": script_titles(img2img=False), "img2img": script_titles(img2img=True)}


@router.get("/sdapi/v1/script-info")
def script_info(request: Request) -> list[ScriptInfo]:
    """Every script, once for each of txt2img and img2img that it serves, with its arguments by position."""
    upscalers = [item.name for item in list_upscalers(gateway_of(request).settings.data_dir / "models")]
    return script_infos(upscalers)


@router.get("/sdapi/v1/extensions")
async def extensions() -> list[dict[str, Any]]:
    """None: what A1111's extensions do here is part of Easel."""
    return []
