"""EAS's second address: ``/api/predict/<service>.sync/<path>`` is ``/<path>``, always synchronous."""

from __future__ import annotations

from starlette.types import Scope

_SYNCHRONOUS_APIS = ("/sdapi/", "/controlnet/", "/internal/")


class SyncAddress:
    """Rewrite the synchronous EAS address to the API path it stands for.

    The request is marked, so that query parameters do not turn it into a queued one. Only the WebUI's APIs
    can be reached this way; anything else under the address is left as it is, and found nowhere (404).
    """

    def __init__(self, service: str) -> None:
        self._prefix = f"/api/predict/{service}.sync"

    def __call__(self, scope: Scope) -> None:
        """The guard."""
        if scope["type"] == "http" and scope["path"].startswith(self._prefix + "/"):
            path = scope["path"][len(self._prefix) :]
            if path.startswith(_SYNCHRONOUS_APIS):
                scope["path"], scope["raw_path"] = path, path.encode()
                scope.setdefault("state", {})["synchronous"] = True
