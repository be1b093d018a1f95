"""What there is for ControlNet: modules, models, types. From the data directory, so in threads."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from easel_contract.controlnet import Module, Slider
from easel_contract.controlnet.control_types import choices, in_order
from easel_contract.controlnet.modules import available_modules
from easel_gateway.gateway import Gateway, gateway_of

VERSION = 3
"""Of the extension's API, by which clients tell how units are sent: in `alwayson_scripts`."""

router = APIRouter(prefix="/controlnet", tags=["ControlNet"])


class _Answer(BaseModel):
    model_config = ConfigDict(protected_namespaces=())  # A1111's names have pydantic's prefix


class Version(_Answer):
    """The version of the API."""

    version: int


class ModelList(_Answer):
    """Names of models, each with its hash, as a unit's `model` takes them."""

    model_list: list[str]


class SliderItem(_Answer):
    """One number that a module takes; `value` is its default."""

    name: str
    value: float
    min: float
    max: float
    step: float


class ModuleDetail(_Answer):
    """What a module takes: sliders are `processor_res`, `threshold_a` and `threshold_b`, as far as it has
    them. `model_free`: it is used without a model."""

    model_free: bool
    sliders: list[SliderItem]


class ModuleList(_Answer):
    """The modules that can be used now, and what each takes."""

    module_list: list[str]
    module_detail: dict[str, ModuleDetail]


class TypeItem(_Answer):
    """What there is for one type, and what a page chooses of it first."""

    module_list: list[str]
    model_list: list[str]
    default_option: str
    default_model: str


class ControlTypes(_Answer):
    """Types by name, `All` first."""

    control_types: dict[str, TypeItem]


class Settings(_Answer):
    """The extension's settings that its API shows."""

    control_net_unit_count: int


@router.get("/version")
async def version() -> Version:
    """The version of the extension's API that these addresses have."""
    return Version(version=VERSION)


@router.get("/model_list")
def model_list(request: Request, update: bool = True) -> ModelList:
    """The control models in models/ControlNet. They are looked for at every call, whatever `update` says."""
    return ModelList(model_list=_models(gateway_of(request)))


@router.get("/module_list")
def module_list(request: Request, alias_names: bool = False) -> ModuleList:
    """The preprocessors that need no file, or whose files are there and may be read. `alias_names`: by their
    labels."""
    found = {
        module.label if alias_names else module.name: module
        for module in in_order(_modules(gateway_of(request)))
    }
    return ModuleList(
        module_list=list(found),
        module_detail={
            name: ModuleDetail(
                model_free=module.model_free, sliders=[_slider(item) for item in module.sliders]
            )
            for name, module in found.items()
        },
    )


@router.get("/control_types")
def control_types(request: Request) -> ControlTypes:
    """Modules (by their labels) and models for each type of control."""
    gateway = gateway_of(request)
    return ControlTypes(
        control_types={
            name: TypeItem(
                module_list=list(item.modules),
                model_list=list(item.models),
                default_option=item.default_module,
                default_model=item.default_model,
            )
            for name, item in choices(_modules(gateway), _models(gateway)).items()
        }
    )


@router.get("/settings")
async def settings(request: Request) -> Settings:
    """How many units a request may have: EASEL_CONTROLNET_UNITS."""
    return Settings(control_net_unit_count=gateway_of(request).settings.controlnet_units)


def _models(gateway: Gateway) -> list[str]:
    return [file.name for file in gateway.files.controls.files()]


def _modules(gateway: Gateway) -> list[Module]:
    settings = gateway.settings
    return available_modules(settings.data_dir / "models", allow_pickle=settings.allow_pickle)


def _slider(slider: Slider) -> SliderItem:
    return SliderItem(
        name=slider.name,
        value=slider.default,
        min=slider.minimum,
        max=slider.maximum,
        step=slider.step,
    )
