"""Pictures that clients send: which text forms they may have, and what an operator allows.

A picture is raw base64, a ``data:…;base64,…`` URI, or an http(s) URL. What can be told without decoding it
and without the network is told here, so that a gateway refuses it before anything is queued; the worker
decodes and fetches (`easel_worker.intake`).

A1111 answers 500 for what is wrong with a picture. Here it is 422 with the field's name, as for any other
value; the message begins with A1111's own words, which is what its clients show and match.
"""

from __future__ import annotations

import base64
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, quote, urlsplit

from easel_contract.errors import ContractError

BAD_IMAGE = "Invalid encoded image"
BAD_URL = "Invalid image url"
URLS_OFF = "Requests not allowed"
LOCAL_URL = "Request to local resource not allowed"

FORMATS = ("PNG", "JPEG", "WebP", "AVIF", "GIF", "BMP")
"""What may be sent, for messages. TIFF, SVG, PSD and others are refused: large decoders, few users."""

MAX_URL_CHARS = 8192
DEFAULT_PORTS = {"http": 80, "https": 443}

_HEAD_CHARS = 64
_PNG_HEAD_CHARS = 36
_PNG_COLOUR = 25
_PNG_ALPHA = (b"\x04", b"\x06")
"""Where the first chunk, IHDR, has the kind of colours: grey with alpha, RGB with alpha (PNG, 11.2.1)."""
_URL_SAFE = str.maketrans("-_", "+/")
_PATH_SAFE = "/%:=&?~#+!$,;'@()*[]"


@dataclass(frozen=True)
class ImageRules:
    """What is accepted as a picture. The operator sets it; gateway and worker apply the same rules.

    Hosts are written ``name``, ``*.name`` (anything below it) or ``name:port``.
    """

    max_bytes: int = 32 * 1024 * 1024
    """Largest file, in bytes after base64."""
    max_pixels: int = 50_000_000
    """Largest width x height that is decoded, whatever the file's size."""
    urls: bool = True
    """Whether pictures may be named by URL."""
    hosts: tuple[str, ...] = ()
    """Only these hosts may be fetched from; empty is any."""
    local_hosts: tuple[str, ...] = ()
    """Hosts that may be fetched from although their addresses are not public."""
    ports: tuple[int, ...] = (80, 443)
    """Ports that any host may be asked at; one that is written with a host is allowed for that host too."""
    timeout_s: float = 30.0
    """Seconds for all of one fetch: names, connections, redirects, body."""
    user_agent: str = "Easel"


@dataclass(frozen=True)
class ImageUrl:
    """A picture's address, taken apart once: what was checked is what is asked for."""

    scheme: Literal["http", "https"]
    host: str
    """Lower case, ASCII (IDNA); an IPv6 address without its brackets."""
    port: int
    target: str
    """Path and query, percent-encoded."""

    @property
    def authority(self) -> str:
        """What the ``Host`` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def is_url(text: str) -> bool:
    """Whether a picture is named by its address. Base64 has no colon, so nothing else looks like one."""
    return text.lstrip()[:8].lower().startswith(("http://", "https://"))


def check_image(text: str, *, field: str, rules: ImageRules) -> None:
    """Look at a picture's form: nothing is fetched, and of base64 only its beginning is read.

    Raises:
        ContractError: 422 naming `field`.
    """
    if is_url(text):
        check_url(parse_url(text, field=field), field=field, rules=rules)
        return
    encoded = base64_part(text, field=field, max_bytes=rules.max_bytes)
    head = "".join(encoded[: 2 * _HEAD_CHARS].split())[:_HEAD_CHARS]
    if not any(sniff(decode_base64(head[: len(head) // 4 * 4], field=field))):
        raise ContractError(f"{BAD_IMAGE}: not one of {', '.join(FORMATS)}", field=field)


def sniff(data: bytes) -> str:
    """The picture format of `FORMATS` that a file begins like; "" for none of them. Needs 16 bytes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":  # ISO base media: HEIC begins so as well, and has no free decoder
        return "AVIF" if data[8:12] in (b"avif", b"avis", b"mif1", b"msf1") else ""
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return "BMP" if data.startswith(b"BM") else ""


def has_alpha(text: str) -> bool:
    """Whether a picture is a PNG with an alpha channel, as its header says. Of one that is named by its
    address, and of other formats, that is not known here: False."""
    encoded = text.partition(",")[2] if text.lstrip()[:5].lower() == "data:" else text
    head = "".join(encoded[: 2 * _HEAD_CHARS].split())[:_PNG_HEAD_CHARS]
    try:
        data = decode_base64(head, field="")
    except ContractError:
        return False
    return sniff(data) == "PNG" and data[_PNG_COLOUR : _PNG_COLOUR + 1] in _PNG_ALPHA


def base64_part(text: str, *, field: str, max_bytes: int) -> str:
    """The base64 of a picture, without the head of a data URI.

    Raises:
        ContractError: it is empty, too large, or a data URI that is not base64.
    """
    text = text.lstrip()
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ContractError(
                f"{BAD_IMAGE}: a data URI is 'data:image/png;base64,' and then base64", field=field
            )
    if not text.strip():
        raise ContractError(
            f"{BAD_IMAGE}: it is empty; send base64, a data URI or an http(s) URL", field=field
        )
    if len(text) * 3 // 4 > max_bytes * 1.05:  # line ends of wrapped base64 are no part of the file
        raise too_large(field, max_bytes)
    return text


def decode_base64(encoded: str, *, field: str) -> bytes:
    """The bytes of standard or URL-safe base64; white space and missing padding are forgiven.

    Raises:
        ContractError: other characters, or a length that nothing encodes to.
    """
    encoded = encoded.translate(_URL_SAFE)
    if any(space in encoded for space in string.whitespace):
        encoded = "".join(encoded.split())
    encoded = encoded.rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:  # binascii.Error is one; so is what it raises for text that is not ASCII
        raise ContractError(f"{BAD_IMAGE}: it is neither base64 nor an http(s) URL", field=field) from None


def too_large(field: str, max_bytes: int) -> ContractError:
    """The refusal of a file of more than `max_bytes`."""
    return ContractError(
        f"is larger than this service allows; at most {max_bytes} bytes (EASEL_IMAGE_MAX_BYTES)",
        field=field,
        kind="too_large",
    )


def parse_url(text: str, *, field: str) -> ImageUrl:
    """Take an address apart.

    Raises:
        ContractError: it is no http(s) URL with a host, or carries a user name.
    """
    text = text.strip()
    if len(text) > MAX_URL_CHARS:
        raise ContractError(f"{BAD_URL}: longer than {MAX_URL_CHARS} characters", field=field)
    try:
        parts = urlsplit(text)
        port = parts.port
        host = _ascii_host(parts)
    except ValueError:  # also UnicodeError, from a host that IDNA cannot spell
        raise ContractError(f"{BAD_URL}: it cannot be read", field=field) from None
    if parts.scheme not in DEFAULT_PORTS or not host:
        raise ContractError(f"{BAD_URL}: use http:// or https:// and a host", field=field)
    if parts.username is not None or parts.password is not None:
        raise ContractError(f"{BAD_URL}: user names and passwords are not sent; leave them out", field=field)
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    query = f"?{quote(parts.query, safe=_PATH_SAFE)}" if parts.query else ""
    target = (quote(parts.path, safe=_PATH_SAFE) or "/") + query
    return ImageUrl(scheme, host, DEFAULT_PORTS[scheme] if port is None else port, target)


def check_url(url: ImageUrl, *, field: str, rules: ImageRules) -> None:
    """Whether the operator allows this address, as far as its name and port tell.

    Raises:
        ContractError: says which setting would allow it.
    """
    if not rules.urls:
        raise ContractError(
            f"{URLS_OFF}: this service fetches no URLs (EASEL_IMAGE_URLS); send base64", field=field
        )
    if rules.hosts and not _listed(url, rules.hosts):
        raise ContractError(
            f"{URLS_OFF}: pictures are not fetched from {url.host} (EASEL_IMAGE_URL_HOSTS)", field=field
        )
    if url.port not in rules.ports and not _listed(url, (*rules.hosts, *rules.local_hosts), exact=True):
        known = ", ".join(str(port) for port in rules.ports)
        raise ContractError(
            f"{URLS_OFF}: port {url.port} is not one of {known} (EASEL_IMAGE_URL_PORTS)", field=field
        )


def may_be_local(url: ImageUrl, rules: ImageRules) -> bool:
    """Whether the operator lets this host have a private address."""
    return _listed(url, rules.local_hosts)


def _listed(url: ImageUrl, hosts: Sequence[str], *, exact: bool = False) -> bool:
    """Whether an entry fits; with `exact` only entries that name the port count."""
    for entry in hosts:
        pattern, colon, port = entry.lower().rpartition(":")
        if not colon or not port.isdigit():
            pattern, port = entry.lower(), ""
        if (exact and not port) or (port and int(port) != url.port):
            continue
        pattern = pattern.strip("[]")
        if url.host == pattern or (pattern.startswith("*.") and url.host.endswith(pattern[1:])):
            return True
    return False


def _ascii_host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if any(letter in host for letter in "%\\ ") or not host.isprintable():
        raise ValueError(host)
    return host.lower()
