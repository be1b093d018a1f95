"""Pictures by URL, so that no client can make the worker talk to what only the worker can reach.

Every hop is treated alike: the address is taken apart, its name and port are checked against the rules, the
name is resolved once, all its addresses must be public (or the host be one that may be local), and the
connection goes to one of exactly these addresses. An answer of the DNS that changes in between therefore
changes nothing. Redirects are followed by hand, each as a new hop; they lead to http(s) only.
"""

from __future__ import annotations

import http.client
import logging
import ssl
from urllib.parse import urljoin

import certifi

from easel_contract.errors import ContractError
from easel_contract.images import (
    BAD_URL,
    LOCAL_URL,
    ImageRules,
    ImageUrl,
    check_url,
    may_be_local,
    parse_url,
    too_large,
)
from easel_worker.intake.addresses import (
    MAX_ADDRESSES,
    Resolver,
    is_public,
    is_usable_locally,
    parse_address,
    resolve,
)
from easel_worker.intake.connection import Deadline, PinnedConnection

log = logging.getLogger(__name__)

MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_CHUNK = 64 * 1024


class Fetcher:
    """Fetches files under one set of rules. Threads may share it.

    Args:
        rules: What may be fetched.
        resolver: From names to addresses; the system's.
        context: TLS settings; by default the system's authorities and certifi's.
    """

    def __init__(
        self, rules: ImageRules, *, resolver: Resolver = resolve, context: ssl.SSLContext | None = None
    ) -> None:
        self._rules = rules
        self._resolve = resolver
        self._context = context or _tls()

    def fetch(self, text: str, *, field: str) -> bytes:
        """The file at an address.

        Raises:
            ContractError: naming `field`: it may not be fetched, cannot be, or is too large.
        """
        deadline = Deadline(self._rules.timeout_s)
        url = parse_url(text, field=field)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                check_url(url, field=field, rules=self._rules)
                found = self._get(url, field, deadline)
                if isinstance(found, bytes):
                    return found
                url = _follow(url, found, field)
        except TimeoutError:
            raise ContractError(
                f"{BAD_URL}: not fetched within {self._rules.timeout_s:g} s (EASEL_IMAGE_URL_TIMEOUT_S)",
                field=field,
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The reason stays in our log: it may tell about a network that the client cannot see.
            log.info("%s: fetching %s failed: %s: %s", field, url.host, type(error).__name__, error)
            reason = "its certificate is not valid" if _is_certificate(error) else "the host does not answer"
            raise ContractError(f"{BAD_URL}: {reason}", field=field) from None
        raise ContractError(f"{BAD_URL}: more than {MAX_REDIRECTS} redirects", field=field)

    def _get(self, url: ImageUrl, field: str, deadline: Deadline) -> bytes | str:
        """The body, or where a redirect leads."""
        failed: OSError | None = None
        for address in self._addresses(url, field, deadline):
            connection = PinnedConnection(url, address, self._context, deadline)
            try:
                connection.connect()
            except ssl.SSLError:
                connection.close()
                raise
            except OSError as error:
                deadline.left()
                failed = error
                continue
            try:
                return self._ask(connection, url, field)
            finally:
                connection.close()
        raise failed or OSError("the name has no address")

    def _ask(self, connection: PinnedConnection, url: ImageUrl, field: str) -> bytes | str:
        connection.putrequest("GET", url.target, skip_host=True, skip_accept_encoding=True)
        for name, value in (
            ("Host", url.authority),
            ("User-Agent", self._rules.user_agent),
            ("Accept", "image/*"),
            ("Accept-Encoding", "identity"),  # what is compressed twice may be a bomb
            ("Connection", "close"),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as response:
            target = response.getheader("Location")
            if response.status in _REDIRECTS and target:
                return target
            if response.status != 200:
                raise ContractError(f"{BAD_URL}: the host answers {response.status}", field=field)
            if response.getheader("Content-Encoding", "identity").lower() != "identity":
                raise ContractError(f"{BAD_URL}: the host sends it compressed, unasked", field=field)
            return self._body(response, field)

    def _body(self, response: http.client.HTTPResponse, field: str) -> bytes:
        limit = self._rules.max_bytes
        if response.length is not None and response.length > limit:
            raise too_large(field, limit)
        parts: list[bytes] = []
        size = 0
        while part := response.read(_CHUNK):
            size += len(part)
            if size > limit:
                raise too_large(field, limit)
            parts.append(part)
        if response.length:  # what Content-Length promised and never came
            raise ContractError(f"{BAD_URL}: the host sends only a part of it", field=field)
        return b"".join(parts)

    def _addresses(self, url: ImageUrl, field: str, deadline: Deadline) -> list[str]:
        local = may_be_local(url, self._rules)
        found = list(dict.fromkeys(self._resolve(url.host, url.port, deadline.left())))[:MAX_ADDRESSES]
        for text in found:
            address = parse_address(text)
            # One that is not public spoils all: which one is taken must not be a matter of luck.
            if not (is_public(address) or (local and is_usable_locally(address))):
                raise ContractError(
                    f"{LOCAL_URL}: {url.host} is not a public host (EASEL_IMAGE_URL_LOCAL_HOSTS)", field=field
                )
        return found


def _follow(url: ImageUrl, target: str, field: str) -> ImageUrl:
    try:
        joined = urljoin(str(url), target)
    except ValueError:
        joined = target
    return parse_url(joined, field=field)


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _is_certificate(error: Exception) -> bool:
    return isinstance(error, ssl.SSLCertVerificationError)
