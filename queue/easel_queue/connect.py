"""Redis addresses: one server, one that Sentinel watches, or a Redis Cluster; and a client for each.

==========================  =================================================================================
one server                  ``redis://[user:password@]host[:6379][/db]``, ``rediss://`` for TLS, ``unix://``
Sentinel                    ``redis+sentinel://[user:password@]host[:26379][,host…]/master name[/db]``
Redis Cluster               ``redis+cluster://[user:password@]host[:6379][,host…]``; database 0 only
==========================  =================================================================================

With ``rediss+`` everything behind the address speaks TLS. User and password are the data servers';
``sentinel_username`` and ``sentinel_password`` in the query are the sentinels' own. Other query parameters
are redis-py's (``socket_timeout=3``, ``ssl_ca_certs=/ca.pem``). The Sentinel form is the one that Prefect,
LangChain and redis-sentinel-url read, too.

A service's keys lie in one slot. So on a cluster its client needs one node at a time, the slot's owner, and
follows it as a client of Sentinel follows the master: asks at every new connection who it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import URL_QUERY_ARGUMENT_PARSERS, parse_url
from redis.retry import Retry

from easel_queue.follow import (
    AsyncFollowingPool,
    AsyncLeader,
    FollowingPool,
    Leader,
    Question,
    WhoIsMaster,
    WhoOwnsSlot,
)
from easel_queue.packing import pack_in_c

SOCKET_TIMEOUT_S = 10.0
"""A script takes well under a millisecond; ten seconds without an answer is a hung or cut-off server."""

ASKING_TIMEOUT_S = 2.0
"""For asking a sentinel or a cluster's node who leads: the next one may know it sooner."""

SENTINEL_PORT, CLUSTER_PORT = 26379, 6379

_KINDS = {
    "redis+sentinel": ("sentinel", "redis"),
    "rediss+sentinel": ("sentinel", "rediss"),
    "redis+cluster": ("cluster", "redis"),
    "rediss+cluster": ("cluster", "rediss"),
}
_NOT_OURS = {"db", "timeout", "retry_on_timeout", "retry_on_error"}
_PARAMETERS = {*URL_QUERY_ARGUMENT_PARSERS, "username", "password", "client_name"} - _NOT_OURS
_SINGLE = ("redis", "rediss", "unix")

Node = tuple[str, int]
Greet = Callable[[Any], None]
AsyncGreet = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True)
class Address:
    """A Redis URL, read. Options are redis-py's connection arguments, without host and port."""

    kind: str
    """``server``, ``sentinel`` or ``cluster``."""
    nodes: tuple[Node, ...] = ()
    """The sentinels, or some nodes of the cluster."""
    master: str = ""
    ssl: bool = False
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    asking: dict[str, Any] = field(default_factory=dict, repr=False)
    """For asking who leads."""

    def question(self, slot: int) -> Question:
        """Who leads the service whose keys are in `slot`."""
        return WhoIsMaster(self.master) if self.kind == "sentinel" else WhoOwnsSlot(slot)


def read_address(url: str) -> Address:
    """Read a Redis URL without connecting.

    Raises:
        ValueError: what is wrong with it, without the URL itself: it may hold passwords.
    """
    scheme, _, rest = url.partition("://")
    if scheme in _SINGLE:
        _parsed(url)
        return Address("server")
    if scheme not in _KINDS or not rest:
        raise ValueError(f"use one of {', '.join(f'{name}://' for name in (*_SINGLE, *_KINDS))}")
    kind, plain = _KINDS[scheme]
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    userinfo, at, hosts = authority.rpartition("@")
    port = SENTINEL_PORT if kind == "sentinel" else CLUSTER_PORT
    nodes = tuple(_node(host, port) for host in hosts.split(","))
    master, db = _path(kind, path)

    given = dict(parse_qsl(query, keep_blank_values=True))
    own = {
        name.removeprefix("sentinel_"): given.pop(name)
        for name in ("sentinel_username", "sentinel_password")
        if kind == "sentinel" and name in given
    }
    for name in given:
        if name not in _PARAMETERS and not name.startswith("ssl_"):
            raise ValueError(f"unknown query parameter {name!r}")
    # redis-py reads what all its URLs have in common: userinfo, TLS, the query's types.
    options = _parsed(f"{plain}://{userinfo}{at}host/{db}?{urlencode(given)}")
    options.pop("host")
    ssl = options.pop("connection_class", None) is not None
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    asking = {**tls, **own} if kind == "sentinel" else options
    return Address(kind, nodes, master, ssl, options, {**asking, "ssl": ssl})


def _parsed(url: str) -> dict[str, Any]:
    try:
        read: Callable[[str], dict[str, Any]] = parse_url
        return read(url)
    except ValueError as error:
        # Python quotes a wrong port, which may be the half of a password with a '/' in it.
        raise ValueError(
            f"{error}"
            if "connection URL" in str(error)
            else "the host, port or database is no such thing; "
            "percent-encode special characters in user and password"
        ) from None


def _node(text: str, port: int) -> Node:
    """``host``, ``host:port``, ``[v6]`` or ``[v6]:port``."""
    host, colon, number = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, number = text, str(port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("write an IPv6 address in brackets, and hosts as host:port, separated by commas")
    if not host or not number.isdigit() or not 0 < int(number) < 65_536:
        raise ValueError("write the hosts as host:port, separated by commas")
    return unquote(host), int(number)


def _path(kind: str, path: str) -> tuple[str, int]:
    """Master name and database."""
    parts = [unquote(part) for part in path.split("/")] if path else []
    if kind == "cluster":
        if parts not in ([], [""], ["0"]):
            raise ValueError("a Redis Cluster has database 0 only: leave the path out")
        return "", 0
    if not 1 <= len(parts) <= 2 or not parts[0]:
        raise ValueError("name the master that the sentinels watch: redis+sentinel://host:26379/mymaster")
    db = parts[1] if len(parts) == 2 and parts[1] else "0"
    if not db.isdigit():
        raise ValueError(f"the database behind the master's name is a number, not {db!r}")
    return parts[0], int(db)


def connect(url: str, *, slot: int, greet: Greet) -> redis.Redis:
    """A client for threads. Nothing is sent yet.

    Args:
        slot: The cluster's slot of the service.
        greet: Called with every new connection in place of its `on_connect`.

    Raises:
        ValueError: see `read_address`.
    """
    address = read_address(url)
    # Repetition is decided per call, by the queue. The URL's own options win.
    usual = {**_patience(SOCKET_TIMEOUT_S, Retry(NoBackoff(), 0)), "redis_connect_func": greet}
    if address.kind == "server":
        return redis.Redis.from_url(url, **usual)
    asking = {**address.asking, **_patience(ASKING_TIMEOUT_S, Retry(NoBackoff(), 0))}
    leader = Leader(address.nodes, address.question(slot), asking)
    return redis.Redis.from_pool(FollowingPool(leader, ssl=address.ssl, **{**usual, **address.options}))


def connect_async(
    url: str, *, slot: int, greet: AsyncGreet, max_connections: int, timed: bool = True
) -> redis.asyncio.Redis:
    """The same for one event loop; a call waits while `max_connections` are in use.

    With `timed` off, and unless the URL has a ``socket_timeout``, its callers limit the time of each round
    trip themselves: redis-py starts a task of its own for every write that it limits.
    """
    address = read_address(url)
    usual = {
        **_patience(SOCKET_TIMEOUT_S, AsyncRetry(NoBackoff(), 0)),
        **({} if timed else {"socket_timeout": None}),
        "redis_connect_func": greet,
        "max_connections": max_connections,
        "timeout": SOCKET_TIMEOUT_S,  # how long a call waits for a free connection
    }
    if address.kind == "server":
        pool = redis.asyncio.BlockingConnectionPool.from_url(url, **usual)
        return redis.asyncio.Redis.from_pool(pack_in_c(pool))
    asking = {**address.asking, **_patience(ASKING_TIMEOUT_S, AsyncRetry(NoBackoff(), 0))}
    leader = AsyncLeader(address.nodes, address.question(slot), asking)
    following = AsyncFollowingPool(leader, ssl=address.ssl, **{**usual, **address.options})
    return redis.asyncio.Redis.from_pool(pack_in_c(following))


def _patience(timeout_s: float, retry: Any) -> dict[str, Any]:
    return {"retry": retry, "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
