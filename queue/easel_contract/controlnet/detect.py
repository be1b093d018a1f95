"""``POST /controlnet/detect``: preprocessing by itself, a task that a worker serves at this path."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from easel_contract.controlnet.modules import find_module
from easel_contract.controlnet.settling import settle_sliders
from easel_contract.errors import ContractError
from easel_contract.images import check_image
from easel_contract.limits import Limits
from easel_contract.requests.body import read_object
from easel_contract.validation import from_validation

DETECT_PATH: Final = "/controlnet/detect"

UNFIT: Final = frozenset({"clip_vision", "revision_clipvision", "revision_ignore_prompt", "ip-adapter-auto"})
"""Modules that make nothing by themselves."""

REFUSED: Final = "refused"
"""Kind of the refusals whose text clients know; it is the whole `detail` of the gateway's answer."""


class DetectRequest(BaseModel):
    """Pictures to be preprocessed. `parse_detect` leaves the module's canonical name, and sliders as they are
    used.

    `controlnet_images`, which webuiapi sends, is `controlnet_input_images` by another name.
    """

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    _warnings: list[str] = PrivateAttr(default_factory=list)

    controlnet_module: str = Field("none", description="Name or label of a preprocessor.")
    controlnet_input_images: list[str] = Field(
        default_factory=list, description="Base64, data URI or address."
    )
    controlnet_masks: list[str] = Field(
        default_factory=list, description="The inpaint modules need one for each picture, white where masked."
    )
    controlnet_processor_res: int = Field(-1, description="-1: the module's default, as for the thresholds.")
    controlnet_threshold_a: float = -1
    controlnet_threshold_b: float = -1
    low_vram: bool = Field(False, description="Taken and ignored: one network is loaded at a time.")

    @model_validator(mode="before")
    @classmethod
    def _older_forms(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        found = {key: value for key, value in body.items() if value is not None}
        other = found.pop("controlnet_images", None)
        if other and not found.get("controlnet_input_images"):
            found["controlnet_input_images"] = other
        for name in ("controlnet_input_images", "controlnet_masks"):
            if isinstance(found.get(name), str):
                found[name] = [found[name]]
        return found

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a service that is not strict does otherwise than asked."""
        return tuple(self._warnings)


def parse_detect(body: bytes, limits: Limits) -> DetectRequest:
    """Read and check a body. Whether the module's files are there is the worker's to say: `Module.require`.

    The answer, as JSON: ``{"info": "Success", "images": [base64…]}``, with ``"poses": [pose…]`` beside the
    images of OpenPose's, and ``"warnings": [text…]`` where there are any.

    Raises:
        ContractError: 422; of the kind `REFUSED` with A1111's text.
    """
    try:
        request = DetectRequest.model_validate(read_object(body))
    except ValidationError as error:
        raise from_validation(error) from None
    module = find_module(request.controlnet_module)
    if module is None:
        raise ContractError("Module not available", kind=REFUSED)
    if module.name in UNFIT:
        raise ContractError("Module not supported", kind=REFUSED)
    if not module.supported:
        raise ContractError(module.refusal, field="controlnet_module", kind="not_supported")
    _check_pictures(request, limits)
    if module.needs_mask and len(request.controlnet_masks) < len(request.controlnet_input_images):
        raise ContractError(f"Preprocessor {module.name} requires `controlnet_masks` param.", kind=REFUSED)
    warnings: list[str] = []
    settled = settle_sliders(
        module,
        request.model_dump(include=_SLIDERS),
        field="",
        strict=limits.strict,
        warnings=warnings,
        prefix="controlnet_",
    )
    made = request.model_copy(update={**settled, "controlnet_module": module.name})
    made._warnings = warnings
    return made


_SLIDERS = {"controlnet_processor_res", "controlnet_threshold_a", "controlnet_threshold_b"}


def _check_pictures(request: DetectRequest, limits: Limits) -> None:
    pictures, masks = request.controlnet_input_images, request.controlnet_masks
    if not pictures:
        raise ContractError("No image selected", kind=REFUSED)
    most = limits.max_batch_size * limits.max_n_iter
    if len(pictures) > most:
        raise ContractError(
            f"has {len(pictures)} pictures; send 1 to {most}",
            field="controlnet_input_images",
            kind="too_large",
        )
    if len(masks) > len(pictures):
        raise ContractError(f"has {len(masks)} masks for {len(pictures)} pictures", field="controlnet_masks")
    for name, texts in (("controlnet_input_images", pictures), ("controlnet_masks", masks)):
        for number, text in enumerate(texts):
            check_image(text, field=f"{name}.{number}", rules=limits.images)
