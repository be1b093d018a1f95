"""``POST /controlnet/detect``: preprocessing by itself, a task that a worker serves at this path."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from easel_contract.limits import Limits

DETECT_PATH: Final = "/controlnet/detect"


class DetectRequest(BaseModel):
    """Pictures to be preprocessed. `parse_detect` leaves the module's canonical name, and sliders as they are
    used.

    `controlnet_images`, which webuiapi sends, is `controlnet_input_images` by another name.
    """

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    controlnet_module: str = "none"
    controlnet_input_images: list[str] = Field(
        default_factory=list, description="Base64, data URI or address."
    )
    controlnet_masks: list[str] = Field(default_factory=list, description="One for each picture, or none.")
    controlnet_processor_res: int = -1
    controlnet_threshold_a: float = -1
    controlnet_threshold_b: float = -1
    low_vram: bool = False


def parse_detect(body: bytes, limits: Limits) -> DetectRequest:
    """Read and check a body. Whether the module's files are there is the worker's to say: `Module.require`.

    The answer, as JSON: ``{"info": "Success", "images": [base64…]}``, with ``"tensor": [base64…]`` instead
    for modules that make embeddings, and ``"poses": [pose…]`` beside the images of OpenPose's.

    Raises:
        ContractError: 422, with A1111's texts.
    """
    raise NotImplementedError
