"""From the bytes of a body to a request: what both kinds do first."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from easel_contract.images import check_image
from easel_contract.infotext import apply_infotext
from easel_contract.limits import Limits
from easel_contract.requests.alwayson import spread
from easel_contract.requests.body import from_validation, read_object
from easel_contract.requests.checks import check_request
from easel_contract.requests.generation import GenerationRequest

R = TypeVar("R", bound=GenerationRequest)


def read_request(model: type[R], body: bytes, limits: Limits) -> R:
    """Read and check a body: JSON, the scripts that stand for fields, the infotext, types, sizes, names.

    Raises:
        ContractError: 422 (400 for an unknown sampler or scheduler) naming the first wrong field, the others
            in `more`.
    """
    given = spread(read_object(body))
    text = given.get("infotext")
    if isinstance(text, str) and text.strip():
        given = apply_infotext(given, text, "img2img" if model.img2img else "txt2img")
    try:
        request = model.model_validate(given)
    except ValidationError as error:
        raise from_validation(error) from None
    request.obey(limits)
    check_request(request, limits)
    for unit in request.units:
        for field, image in unit.texts.items():
            check_image(image, field=field, rules=limits.images)
    return request
