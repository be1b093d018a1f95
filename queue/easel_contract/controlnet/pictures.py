"""The forms in which a unit may bring its control pictures.

``"…"``, ``{"image": "…", "mask": "…"}``, ``["image", "mask"]`` or a list of such objects. A picture is
base64, a data URI or an address; null and an empty text are none.
"""

from __future__ import annotations

from pydantic import JsonValue

from easel_contract.controlnet.unit import UnitPicture
from easel_contract.errors import ContractError

FORMS = 'a text, {"image": …, "mask": …}, ["image", "mask"], or a list of such objects'


def read_pictures(value: JsonValue, *, field: str, name: str = "image") -> tuple[UnitPicture, ...]:
    """The pictures of one unit.

    Args:
        value: What the unit has under `name`.
        field: Where the request has the unit.

    Raises:
        ContractError: 422, it has none of the forms.
    """
    if _is_none(value):
        return ()
    if isinstance(value, str):
        return (UnitPicture(image=value, image_field=name),)
    if isinstance(value, dict):
        return (_of_object(value, field, name),)
    if isinstance(value, list):
        if value and all(isinstance(item, dict) for item in value):
            return tuple(_of_object(item, field, f"{name}.{n}") for n, item in enumerate(value))
        if (
            len(value) == 2
            and isinstance(value[0], str)
            and (_is_none(value[1]) or isinstance(value[1], str))
        ):
            image, mask = value
            return (_made(image, mask, f"{field}.{name}", f"{name}.0", f"{name}.1"),)
    raise ContractError(f"is no picture; send {FORMS}", field=f"{field}.{name}")


def _of_object(value: JsonValue, field: str, name: str) -> UnitPicture:
    given = value if isinstance(value, dict) else {}
    if unknown := given.keys() - {"image", "mask"}:
        raise ContractError(
            f"has {', '.join(sorted(unknown))[:200]!r}, which is neither image nor mask",
            field=f"{field}.{name}",
        )
    return _made(given.get("image"), given.get("mask"), f"{field}.{name}", f"{name}.image", f"{name}.mask")


def _made(image: JsonValue, mask: JsonValue, field: str, image_field: str, mask_field: str) -> UnitPicture:
    if not isinstance(image, str) or not image:
        raise ContractError("has no picture under 'image'", field=field)
    if not _is_none(mask) and not isinstance(mask, str):
        raise ContractError("has a mask that is no text", field=field)
    text = mask if isinstance(mask, str) and mask else None
    return UnitPicture(image=image, mask=text, image_field=image_field, mask_field=mask_field)


def _is_none(value: JsonValue) -> bool:
    return value is None or value == ""
