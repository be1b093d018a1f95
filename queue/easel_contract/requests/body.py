"""From bytes to JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic import JsonValue

from easel_contract.errors import ContractError
from easel_contract.validation import from_validation

__all__ = ["from_validation", "read_json", "read_object"]


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; nothing at all is an empty one.

    Raises:
        ContractError: 422, not JSON (NaN and infinity are not), not an object, or text that is none.
    """
    loaded = read_json(body or b"{}")
    if not isinstance(loaded, dict):
        raise ContractError("the body is not a JSON object", kind="model_attributes_type")
    if b"\\ud" in body or b"\\uD" in body:
        _check_text(loaded)
    return loaded


def read_json(body: bytes) -> Any:
    """Whatever JSON `body` is.

    Raises:
        ContractError: 422, it is none; NaN and infinity are not.
    """
    try:
        return json.loads(body, parse_constant=_no_constant)
    except ContractError:
        raise
    except (ValueError, RecursionError) as error:
        raise ContractError(f"the body is not JSON: {error}", kind="json_invalid") from None


def _check_text(loaded: dict[str, JsonValue]) -> None:
    # JSON can spell half of a surrogate pair; no text encoding can, so it would fail later and elsewhere.
    for field, value in loaded.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ContractError("has half of a surrogate pair, which is no text", field=field) from None


def _no_constant(name: str) -> float:
    raise ContractError(f"the body is not JSON: {name} is not a JSON number", kind="json_invalid")
