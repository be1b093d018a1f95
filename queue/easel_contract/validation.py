"""From pydantic's errors to ours."""

from __future__ import annotations

from pydantic import ValidationError

from easel_contract.errors import ContractError


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
