"""How much a script may make of one request."""

from __future__ import annotations

from easel_contract.errors import ContractError
from easel_contract.limits import Limits


def check_count(images: int, limits: Limits, what: str = "pictures") -> None:
    """Raise ContractError for a script that would render more than the operator allows."""
    if images > limits.max_script_images:
        raise ContractError(
            f"the script would make {images} {what}, more than this service allows; at most "
            f"{limits.max_script_images}",
            field="script_args",
            kind="too_large",
        )
