"""From a host's name to addresses that may be asked: public ones, unless the operator lets it be local."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections.abc import Callable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int, float], Sequence[str]]
"""``resolve(host, port, timeout_s)``: the addresses of a name, as text. Raises OSError."""

MAX_ADDRESSES = 32
"""Of one name; more are not tried."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")  # RFC 2765
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291, deprecated
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291: all that is assigned as public

# IANA's special-purpose registries. Python's own lists differ between its versions, so they are only a
# second opinion.
_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "3fff::/20"),
    )
)


def resolve(host: str, port: int, timeout_s: float) -> list[str]:
    """Ask the system's resolver, which knows no time-out of its own: after `timeout_s` it is left alone.

    Raises:
        OSError: no such name; TimeoutError when there is no answer in time.
    """
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([str(entry[4][0]) for entry in found])
        except OSError as error:
            answers.put(error)
        except UnicodeError as error:  # a label that is too long for the DNS
            answers.put(OSError(str(error)))

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=max(timeout_s, 0))
    except queue.Empty:
        raise TimeoutError(f"no answer for the name {host}") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def is_public(address: Address) -> bool:
    """Whether anybody on the internet could have this address.

    An IPv6 address that stands for an IPv4 one (mapped, translated, NAT64, 6to4, …) is what that one is.
    """
    inner = _embedded(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not _in(address, _SPECIAL)


def is_usable_locally(address: Address) -> bool:
    """What a host that may be local may have: anything but link-local (cloud metadata), multicast, none."""
    inner = _embedded(address) or address
    return not (inner.is_link_local or inner.is_multicast or inner.is_unspecified)


def parse_address(text: str) -> Address:
    """An address as a resolver writes it. A zone (``fe80::1%eth0``) is kept, and is never public."""
    return ipaddress.ip_address(text)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or address in _TRANSLATED:
        return _last_32_bits(address)
    if address in _COMPATIBLE and int(address) > 1:  # :: and ::1 are themselves
        return _last_32_bits(address)
    return None


def _last_32_bits(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


def _in(address: Address, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
