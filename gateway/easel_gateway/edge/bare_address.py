"""EAS clients that are told to use an empty base path: ``/`` is the input queue and ``/sink`` the sink."""

from __future__ import annotations

from starlette.types import Scope

from easel_gateway.eas.query import Query

_CHANGING = {"POST", "PUT", "DELETE"}


class BareAddress:
    """Rewrite the two bare addresses to those under ``/api/predict/``.

    The Go SDK asks like this when its base path is set to nothing. ``GET /`` without a parameter of the EAS
    dialect stays the page. Outside of what guards the queue's addresses, so that the same guards hold.
    """

    def __init__(self, service: str) -> None:
        self._source = f"/api/predict/{service}"

    def __call__(self, scope: Scope) -> None:
        """The guard."""
        path = self._meant(scope)
        if path:
            scope["path"], scope["raw_path"] = path, path.encode()

    def _meant(self, scope: Scope) -> str:
        if scope["path"] in {"/sink", "/sink/"}:
            return f"{self._source}/sink"
        if scope["path"] != "/":
            return ""
        asks = scope.get("method") in _CHANGING or bool(Query.parse(scope["query_string"]).reserved)
        return self._source if asks else ""
