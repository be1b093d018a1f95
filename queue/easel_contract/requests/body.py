"""From bytes to a JSON object, and from pydantic's errors to ours."""

from __future__ import annotations

import json
from typing import Any

from pydantic import JsonValue, ValidationError

from easel_contract.errors import ContractError


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; nothing at all is an empty one.

    Raises:
        ContractError: 422, not JSON (NaN and infinity are not), not an object, or text that is none.
    """
    try:
        loaded = json.loads(body or b"{}", parse_constant=_no_constant)
    except ContractError:
        raise
    except (ValueError, RecursionError) as error:
        raise ContractError(f"the body is not JSON: {error}", kind="json_invalid") from None
    if not isinstance(loaded, dict):
        raise ContractError("the body is not a JSON object", kind="model_attributes_type")
    if b"\\ud" in body or b"\\uD" in body:
        _check_text(loaded)
    return loaded


def from_validation(error: ValidationError, prefix: str = "") -> ContractError:
    """A pydantic error as a ContractError. Values are not repeated: an image may be megabytes."""
    found = [
        ContractError(
            problem["msg"].removeprefix("Value error, "),
            field=prefix + ".".join(str(part) for part in problem["loc"]),
            kind=problem["type"],
        )
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    first = found[0]
    return ContractError(first.message, field=first.field, kind=first.kind, more=found[1:])


def _check_text(loaded: dict[str, JsonValue]) -> None:
    # JSON can spell half of a surrogate pair; no text encoding can, so it would fail later and elsewhere.
    for field, value in loaded.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ContractError("has half of a surrogate pair, which is no text", field=field) from None


def _no_constant(name: str) -> float:
    raise ContractError(f"the body is not JSON: {name} is not a JSON number", kind="json_invalid")
