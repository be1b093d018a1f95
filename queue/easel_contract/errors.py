"""What is wrong with a request, in a form that every dialect can answer with.

ContractError     the client's mistake: a status (4xx), the field, what is wrong and what would be right
└── (no others: a fault of ours is an ordinary exception and becomes a 500)
"""

from __future__ import annotations

from collections.abc import Sequence


class ContractError(Exception):
    """A request cannot be served as it is. Never worth repeating unchanged.

    Args:
        message: What is wrong and what would be right, for a person.
        field: Dotted path of the field in the body, empty when the body as a whole is wrong.
        status: HTTP status; 422 for a bad value.
        kind: Machine-readable kind, as in FastAPI's 422 (``value_error``, ``json_invalid``, …).
        more: Further problems of the same body, for a client that wants them all at once.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        status: int = 422,
        kind: str = "value_error",
        more: Sequence[ContractError] = (),
    ) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.message = message
        self.field = field
        self.status = status
        self.kind = kind
        self.more = tuple(more)

    def detail(self) -> list[dict[str, object]]:
        """The problems as FastAPI's 422 shows them: ``[{"loc": ["body", …], "msg": …, "type": …}, …]``."""
        loc: list[object] = ["body", *self.field.split(".")] if self.field else ["body"]
        mine: dict[str, object] = {"loc": loc, "msg": self.message, "type": self.kind}
        return [mine, *(item for other in self.more for item in other.detail())]
