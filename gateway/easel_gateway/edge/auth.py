"""Who may come in. With tokens set, every route wants one, HTTP and WebSocket alike."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection, Mapping

from starlette.datastructures import Headers
from starlette.types import Scope

from easel_gateway.edge.guards import header
from easel_gateway.errors import ApiError

CHALLENGE = {"WWW-Authenticate": 'Basic realm="Easel"'}


class Auth:
    """Let a request pass when its ``Authorization`` shows one of our tokens.

    Accepted forms: the raw token (EAS), ``Bearer <token>``, HTTP Basic with the token as password, and
    ``EAS <signature>`` (the SDK's PredictClient: base64 HMAC-SHA1 over verb, body digest, content type,
    date and path, keyed with the token). With `passwords` (user -> password) also HTTP Basic of one of those.
    Sets ``request.state.user`` to the token's or the password's name.

    Raises:
        ApiError: 401, with the challenge that makes a browser ask.
    """

    def __init__(
        self,
        tokens: Mapping[str, str],
        public_paths: Collection[str] = (),
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        self._pairs = {f"{user}:{password}".encode(): user for user, password in (passwords or {}).items()}
        self._open = not tokens and not self._pairs
        self._tokens = {token.encode(): name for token, name in tokens.items()}
        self._public = frozenset(public_paths)

    def __call__(self, scope: Scope) -> None:
        """The guard."""
        if self._open or scope["path"] in self._public:
            return
        shown = header(scope, b"authorization")
        if not shown:
            raise ApiError(401, "Not authenticated", headers=CHALLENGE)
        user = self._user(shown, scope)
        if user is None:
            raise ApiError(401, "Incorrect username or password", headers=CHALLENGE)
        scope.setdefault("state", {})["user"] = user

    def _user(self, shown: str, scope: Scope) -> str | None:
        scheme, _, rest = shown.strip().partition(" ")
        if scheme == "EAS" and rest:
            return self._signer(rest.strip(), scope)
        if scheme.lower() == "bearer" and rest:
            return self._name(rest.strip())
        if scheme.lower() == "basic" and rest:
            pair = _basic_pair(rest.strip())
            user = _equal(pair, self._pairs)
            return self._name(pair.partition(":")[2]) if user is None else user
        return self._name(shown.strip())

    def _name(self, secret: str) -> str | None:
        """The name of the token that equals `secret`."""
        return _equal(secret, self._tokens)

    def _signer(self, signature: str, scope: Scope) -> str | None:
        """The name of the token that made an ``EAS`` signature. The date is not checked: the official client
        writes local time and calls it GMT."""
        headers = Headers(scope=scope)
        lines = (
            scope.get("method", "GET"),
            headers.get("content-md5", ""),
            headers.get("content-type", ""),
            headers.get("date", ""),
            scope["path"],
        )
        text = "\n".join(lines).encode("utf-8", "replace")
        given = signature.encode("utf-8", "replace")
        found: str | None = None
        for token, name in self._tokens.items():
            # SHA-1 is the EAS protocol's choice; as an HMAC it is still sound.
            wanted = base64.b64encode(hmac.new(token, text, hashlib.sha1).digest())
            if hmac.compare_digest(given, wanted):
                found = name
        return found


def _equal(secret: str, known: Mapping[bytes, str]) -> str | None:
    """The name of the known secret that equals `secret`; every one is compared, so time tells nothing."""
    found: str | None = None
    given = secret.encode("utf-8", "replace")
    for wanted, name in known.items():
        if hmac.compare_digest(given, wanted):
            found = name
    return found


def _basic_pair(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except ValueError:  # no base64, not even ASCII, or no UTF-8
        return ""
